"""What a client does in a round: some steps on its own samples, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from labwright import Split, Task, Update, derived_seed, generator
from torch import Tensor


@dataclass(frozen=True)
class Local:
    """How clients train: plain descent at rate `lr`, through their samples `epochs` times or for so many `steps`.

    `proximal` pulls the weights towards those that the round began with, by proximal / 2 * |w - w_round|**2 in the loss
    (FedProx: Li et al. 2020, equation 2).
    """

    lr: float
    epochs: int
    steps: int | None
    proximal: float


@dataclass(frozen=True)
class Round:
    """A round: its number, from 0, the seed of the run, and how many samples a batch has."""

    number: int
    seed: int
    batch_size: int


@dataclass(frozen=True)
class ClientUpdate:
    """What a client sends: how many samples it has, its change of each parameter and buffer, and its mean losses.

    A change is what the round began with minus what the client ends with, so that it points where a gradient does.
    """

    samples: int
    parameters: list[Tensor]
    buffers: list[Tensor]
    losses: dict[str, Tensor]


def averaged_buffers(update: Update) -> list[Tensor]:
    """The buffers that clients change and a mean can be taken of, such as running statistics."""
    return [buffer for buffer in update.model.buffers() if buffer.is_floating_point()]


def train(update: Update, task: Task, samples: Split, client: int, round_: Round, local: Local) -> ClientUpdate:
    """Train on a client's samples, from the weights there are, which are as before when it returns.

    What is drawn is a function of seed, round and client; the first client draws what training without clients would.
    """
    trained = [parameter for parameter in update.parameters if parameter.requires_grad]
    buffers = averaged_buffers(update)
    kept = [tensor.detach().clone() for tensor in (*trained, *update.model.buffers())]
    begun, begun_buffers = kept[: len(trained)], [buffer.clone() for buffer in buffers]
    several = [client] if client else []
    torch.manual_seed(derived_seed(round_.seed, round_.number, 5, *several))
    random = generator(round_.seed, round_.number, 6, *several)
    sums: dict[str, Tensor] = {}
    count, device = 0, trained[0].device
    for batch in _batches(task, samples, round_, local):
        losses = update.backward([task.draw(batch, random).to(device)], [1.0])
        _descend(trained, begun, local)
        for name, loss in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(loss)) + loss
        count += 1
    with torch.no_grad():
        changes = [before - after.detach() for before, after in zip(begun, trained, strict=True)]
        # what stays is no change, also where it is infinite, as masks may be
        of_buffers = [
            torch.where(before == after, 0.0, before - after)
            for before, after in zip(begun_buffers, buffers, strict=True)
        ]
        # copies, as what was subtracted and added again would not be the same in its last bits
        torch._foreach_copy_([*trained, *update.model.buffers()], kept)
    return ClientUpdate(len(samples), changes, of_buffers, {name: value / count for name, value in sums.items()})


def _batches(task: Task, samples: Split, round_: Round, local: Local) -> Iterator[Any]:
    """The batches of a client's round: each goes on where it was, as if it had taken part in every round."""

    def order(epoch: int) -> Sequence[Tensor]:
        return task.order("train", samples, size=round_.batch_size, seed=round_.seed, epoch=epoch)

    per_epoch = len(order(0))
    steps = local.epochs * per_epoch if local.steps is None else local.steps
    begun, batches = -1, order(0)
    for step in range(round_.number * steps, (round_.number + 1) * steps):
        epoch, place = divmod(step, per_epoch)
        if epoch != begun:
            begun, batches = epoch, order(epoch)
        yield samples.fetch(batches[place], epoch, round_.seed)


def _descend(trained: list[Tensor], begun: list[Tensor], local: Local) -> None:
    """One step of plain descent by the gradients, which are then gone."""
    with torch.no_grad():
        for parameter, start in zip(trained, begun, strict=True):
            if parameter.grad is None:
                continue
            if local.proximal:
                parameter.grad.add_(parameter - start, alpha=local.proximal)
            parameter.sub_(parameter.grad, alpha=local.lr)
            parameter.grad = None
