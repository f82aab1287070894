"""From what clients have changed to the step of the server: a pseudo-gradient, and the buffers' mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from labwright import Update
from torch import Tensor

from labwright_privacy.federated import secure_sum
from labwright_privacy.federated.local_training import ClientUpdate, averaged_buffers


def apply(update: Update, updates: Sequence[ClientUpdate], means: Sequence[Tensor]) -> dict[str, Tensor]:
    """Leave the mean changes as gradients, move the buffers by theirs, and return the mean losses.

    Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 1: with plain descent at rate 1 it is FedAvg.
    """
    trained = [parameter for parameter in update.parameters if parameter.requires_grad]
    buffers = averaged_buffers(update)
    with torch.no_grad():
        for parameter, change in zip(trained, means, strict=False):
            parameter.grad = change.to(parameter)
        for buffer, change in zip(buffers, means[len(trained) :], strict=True):
            buffer.sub_(change.to(buffer))
    whole = sum(each.samples for each in updates)
    names = [name for name in updates[0].losses if all(name in each.losses for each in updates)]
    device = trained[0].device  # what came over a network is on the CPU
    return {
        name: torch.stack([each.losses[name] * (each.samples / whole) for each in updates]).sum().to(device)
        for name in names
    }


def weighted_means(updates: Sequence[ClientUpdate]) -> list[Tensor]:
    """The mean change of each parameter and then of each buffer, by how many samples a client has."""
    whole = sum(each.samples for each in updates)
    shares = [each.samples / whole for each in updates]
    columns = zip(*([*each.parameters, *each.buffers] for each in updates), strict=True)
    means = []
    for column in columns:
        mean = column[0] * shares[0]
        for change, share in zip(column[1:], shares[1:], strict=True):
            mean = mean + change * share
        means.append(mean)
    return means


def secure_means(updates: Mapping[int, ClientUpdate], chosen: Sequence[int], seed: int) -> list[Tensor]:
    """The same mean of fixed-point numbers, of which the server sees the sum alone: see `secure_sum`."""
    shapes = [change.shape for each in list(updates.values())[:1] for change in (*each.parameters, *each.buffers)]
    sent = {}
    for client, each in updates.items():
        changes = [change.double().flatten() * each.samples for change in (*each.parameters, *each.buffers)]
        # how many samples a client has is as much its own as what it learned of them
        values = torch.cat([*changes, torch.tensor([float(each.samples)], dtype=torch.float64).to(changes[0].device)])
        words = secure_sum.encoded(values.cpu().numpy(), len(chosen))
        sent[client] = secure_sum.masked(words, client, chosen, seed)
    sums = secure_sum.decoded(secure_sum.total(sent, chosen, seed))
    flat = torch.from_numpy(np.ascontiguousarray(sums[:-1] / sums[-1]))
    pieces = torch.split(flat, [shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
