"""Both ends of a real federation: a method whose clients are other processes, and what such a client does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from labwright import RunFailed, Split, Steps, Task, Update, listed
from labwright.cli.shared import say
from pydantic import Field
from torch import Tensor, nn

from labwright_privacy.federated import averaging, messages
from labwright_privacy.federated.client import Client
from labwright_privacy.federated.local_training import Local, averaged_buffers, train
from labwright_privacy.federated.method import Federated, round_of
from labwright_privacy.federated.server import RoundServer

_HERE = ("127.0.0.1", "localhost", "::1")


class FederatedServer(Federated):
    """Rounds whose clients are other processes, `labwright federate join`; this one is `labwright federate serve`.

    The first round waits for all clients. A round ends when all have answered who answered the last one or asked since,
    or `timeout` seconds after a client took it up: whoever is gone is left out until it asks again. What is sent is
    weights, changes of weights, numbers of samples and losses, as safetensors over HTTP, which isn't encrypted: on
    other hosts than this one put a proxy with TLS before it. The server reads data too, by which it measures.

    Args:
        token: file with the token that clients have to know.
        clients: how many clients there are.
        host: address that it listens at; 127.0.0.1 is reached from this machine alone.
        port: port that it listens at; 0 takes a free one.
        timeout: seconds from when a client took up a round, after which it ends without those who haven't answered.
    """

    def __init__(
        self,
        *,
        token: Path,
        clients: Annotated[int, Field(ge=1, le=200)],
        host: str = "127.0.0.1",
        port: Annotated[int, Field(ge=0, le=65535)] = 0,
        timeout: Annotated[float, Field(gt=0)] = 600.0,
    ) -> None:
        self.token, self.clients, self.host, self.port, self.timeout = token, clients, host, port, timeout
        self.server: RoundServer | None = None
        self.exchanged: dict[str, list[Tensor]] = {}  # what the model has in common with the clients'
        self.missing: set[int] = set()  # who didn't answer the last round

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        self.server = RoundServer(self.clients, messages.token_in(self.token), messages.learned_by(task))
        return super().begin(task, model, criterion, recipe)

    def feed(self, steps: Steps) -> Iterator[Any]:
        return self._listening(super().feed(steps))

    def _listening(self, batches: Iterator[Any]) -> Iterator[Any]:
        assert self.server is not None
        with self.server.listening(self.host, self.port) as address:
            say(f"serving {self.clients} clients at {address}: labwright federate join RECIPE --server {address}")
            if self.host not in _HERE:
                say("warning: HTTP isn't encrypted: whoever is between can read the token; put TLS before it.")
            yield from batches
            self.server.end(self.exchanged)

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:  # noqa: ARG002 - theirs
        assert self.steps is not None
        assert self.server is not None
        number = self.steps.run.step
        self.exchanged = _exchanged(update)
        updates = self.server.answers(number, self.exchanged, self.timeout)
        if not updates:
            raise RunFailed(f"no client answered round {number + 1} within {self.timeout:g} s.")
        missing = set(range(self.clients)) - updates.keys()
        if missing - self.missing:
            note = f"round {number + 1} ended without clients {listed(map(str, missing), 20)}."
            say(note)
            self.steps.run.notes.append(note)
        self.missing = missing
        answers = list(updates.values())
        return averaging.apply(update, answers, averaging.weighted_means(answers))


def take_part(client: Client, steps: Steps, update: Update, samples: Split, local: Local) -> tuple[int, int]:
    """Train in every round until the run is over, and keep the last weights in the model.

    Returns in how many rounds it took part, and how many answers came too late.
    """
    after, taken, late = "", 0, 0
    while True:
        weights = client.next_round(after, _exchanged(update))
        with torch.no_grad():
            for name, tensors in _exchanged(update).items():
                for tensor, sent in zip(tensors, weights.tensors[name], strict=True):
                    tensor.copy_(sent)
        if weights.last:
            return taken, late
        after = weights.ticket
        changed = train(update, steps.task, samples, client.number, round_of(steps, weights.number), local)
        in_time = client.send(after, changed)
        taken, late = taken + in_time, late + (not in_time)


def _exchanged(update: Update) -> dict[str, list[Tensor]]:
    """What server and clients have in common: the parameters that are trained, and running statistics."""
    trained = [parameter.detach() for parameter in update.parameters if parameter.requires_grad]
    return {"parameters": trained, "buffers": averaged_buffers(update)}
