"""Federated averaging with differential privacy of whole clients: what one of them changes is bounded and hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from labwright import Batch, LabwrightError, Steps, Task, Uniform, Update
from pydantic import Field
from torch import Tensor, nn

from labwright_privacy.differential import refusals
from labwright_privacy.differential.accounting import Accountant
from labwright_privacy.differential.method import DifferentiallyPrivate
from labwright_privacy.differential.units import Units
from labwright_privacy.federated.clients import Division
from labwright_privacy.federated.local_training import train
from labwright_privacy.federated.method import (
    Alpha,
    Clients,
    FederatedAveraging,
    LocalEpochs,
    LocalRate,
    LocalSteps,
    Proximal,
)


class PrivateFederatedAveraging(DifferentiallyPrivate):
    """Rounds of clients, and (epsilon, delta)-differential privacy of each client with all its samples.

    It is `privacy/federated` with the accounting and the secret of `privacy/dp-sgd`, whose unit is a client: a round
    draws each client by chance; what it changed is cut to length `bound` at most, whatever its number of samples; the
    sum gets normal noise of `noise` times `bound` and is divided by `per_round`. The server is trusted to add it. Few
    clients can't hide one of them: hundreds at least make a small epsilon.

    Args:
        bound: length that what a client changed is cut to, the norm over all parameters together.
        per_round: clients that are drawn for a round on average, each by chance; left out, all take part in each.

    Source: McMahan et al. 2018, "Learning Differentially Private Recurrent Language Models", algorithm 1 (the fixed
    denominator, and each client counting alike).
    """

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Field(gt=0)] | None = None,
        noise: Annotated[float, Field(gt=0)] | None = None,
        delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5,
        bound: Annotated[float, Field(gt=0), Uniform(0.1, 10.0, log=True)] = 1.0,
        accountant: Accountant = "prv",
        secret: str | None = None,
        clients: Clients | None = None,
        division: Division = "even",
        alpha: Alpha = 1.0,
        per_round: Annotated[int, Field(ge=1)] | None = None,
        local_lr: LocalRate = 0.1,
        local_epochs: LocalEpochs = 1,
        local_steps: LocalSteps | None = None,
        proximal: Proximal = 0.0,
    ) -> None:
        super().__init__(epsilon=epsilon, noise=noise, delta=delta, bound=bound, accountant=accountant, secret=secret)
        self.averaging = FederatedAveraging(
            clients=clients, division=division, alpha=alpha, per_round=per_round,
            local_lr=local_lr, local_epochs=local_epochs, local_steps=local_steps, proximal=proximal,
        )  # fmt: skip

    def check(self, task: Task, model: nn.Module) -> None:
        self.averaging.check(task, model)
        # running statistics would be averaged without noise
        refusals.refuse_model(model)

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        about_clients = self.averaging.begin(task, model, criterion, recipe)
        refusals.refuse_loss(criterion, task)
        refusals.refuse_recipe(recipe)
        settings = recipe["train"]
        batches = task.batches("train", size=settings["batch_size"], seed=0, epoch=0)
        count = len(self.averaging.members)
        if batches is None or not count:
            return about_clients  # which is refused by itself
        self.units = Units("client", torch.arange(count), torch.ones(count, dtype=torch.int64), 1)
        self.rate = (self.averaging.per_round or count) / count
        self.total = settings.get("steps") or (settings.get("epochs") or 1) * len(batches)
        every, _, what = settings["save_every"].partition(" ")
        self.between = math.ceil(float(every) * (len(batches) if what.startswith("epoch") else 1))
        if self.delta >= 1 / count:
            raise LabwrightError(
                f"method.delta: {self.delta:g} allows for as much as publishing one of the {count:,} clients whole; it "
                f"has to be well below {1 / count:.2g}."
            )
        noise = self._noise((), self.total)
        return [*about_clients, *self._notes(task, noise, recipe)]

    def feed(self, steps: Steps) -> Iterator[Any]:
        self.averaging.feed(steps)
        return super().feed(steps)

    def _bounded(
        self,
        update: Update,
        batch: Batch,  # noqa: ARG002 - clients have their own samples
        parameters: Sequence[Tensor],
    ) -> tuple[list[Tensor], Mapping[str, Tensor]]:
        """The sum of what the drawn clients have changed, each of length `bound` at most, and their mean losses."""
        random = self.ledger.generator(self.drawn_from, "units", str(self.step))
        clients, _ = self.units.drawn(self.rate, random)
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        losses: dict[str, Tensor] = {}
        averaging = self.averaging
        assert averaging.steps is not None
        for client in clients.tolist():
            samples = averaging.members[client]
            changed = train(update, averaging.steps.task, samples, client, averaging.round(), averaging.local)
            self._add_bounded(sums, [change[None] for change in changed.parameters])
            for name, loss in changed.losses.items():
                losses[name] = losses.get(name, torch.zeros_like(loss)) + loss / len(clients)
        return sums, losses
