"""The gradient of each sample alone, by torch.func over the objective that every task has. B samples, P parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from itertools import groupby
from typing import Any

import torch
from labwright import Batch, Update
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

Losses = Mapping[str, Tensor]


class PerSample:
    """Gives each sample's gradient, as if its batch held nothing else.

    All of a batch go through the model together (`vmap`) where every operation knows how; where one doesn't, such as
    a recurrent layer over packed sequences, they go one by one, and `why` says so.
    """

    def __init__(self) -> None:
        self.why = ""

    def __call__(self, update: Update, batch: Batch, at_once: int) -> Iterator[tuple[slice, list[Tensor], Losses]]:
        """For some of the samples at a time, at most `at_once`: which, their gradients (b, ...), their losses (b,).

        Gradients are of the parameters of `trained`, in order; losses are by the names that `Update.backward` gives.
        """
        for start in range(0, len(batch), at_once):
            some = slice(start, min(start + at_once, len(batch)))
            with _batchable():
                found = self._of(update, batch.rows(some) if len(batch) > at_once else batch)
            yield some, *found

    def _of(self, update: Update, batch: Batch) -> tuple[list[Tensor], Losses]:
        if not self.why and any(isinstance(module, nn.RNNBase) for module in update.model.modules()):
            self.why = "recurrent layers have no batching rule"
        if not self.why:
            try:
                return _together(update, batch)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                # what fails one by one as well is raised there
                self.why = str(error).strip().partition("\n")[0]
        return _one_by_one(update, batch)


class _Objective(nn.Module):
    """The loss of a batch as a function of the model's parameters, which `functional_call` replaces."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.model = update.model
        self.update = update

    def forward(self, batch: Batch) -> tuple[Tensor, Losses]:
        return named(self.update, self.update.losses(batch))


def named(update: Update, loss: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, Losses]:
    """What is minimised, and the losses as `Update.backward` names them."""
    if isinstance(loss, Tensor):
        return loss, {update.name: loss}
    whole = torch.stack(tuple(loss.values())).sum()
    return whole, {update.name: whole, **{f"{update.name}/{part}": value for part, value in loss.items()}}


def trained(update: Update) -> dict[str, Tensor]:
    """The parameters that aren't frozen, by their names in the model."""
    wanted = {id(parameter) for parameter in update.parameters if parameter.requires_grad}
    return {name: parameter for name, parameter in update.model.named_parameters() if id(parameter) in wanted}


def _together(update: Update, batch: Batch) -> tuple[list[Tensor], Losses]:
    objective = _Objective(update)
    parameters = {f"model.{name}": parameter.detach() for name, parameter in trained(update).items()}
    samples = [batch] if type(batch).rows is Batch.rows else _alike(batch)
    parts = []
    for group in samples:
        rows, rebuilt = _taken_apart(group)

        def loss(given: dict[str, Tensor], row: list[Tensor], rebuilt: Any = rebuilt) -> tuple[Tensor, Losses]:
            one = rebuilt([tensor[None] for tensor in row])
            whole, parts = functional_call(objective, given, (one,), tie_weights=True)
            return whole, {name: part.detach() for name, part in parts.items()}

        each = vmap(grad(loss, has_aux=True), in_dims=(None, 0), randomness="different")
        gradients, losses = each(parameters, rows)
        parts.append((list(gradients.values()), losses))
    return _joined(parts)


def _one_by_one(update: Update, batch: Batch) -> tuple[list[Tensor], Losses]:
    parameters = list(trained(update).values())
    parts = []
    for number in range(len(batch)):
        whole, losses = named(update, update.losses(batch.rows(slice(number, number + 1))))
        found = torch.autograd.grad(whole, parameters, allow_unused=True)
        row = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        parts.append(([g[None] for g in row], {name: part.detach()[None] for name, part in losses.items()}))
    return _joined(parts)


def _joined(parts: Sequence[tuple[list[Tensor], Losses]]) -> tuple[list[Tensor], Losses]:
    if len(parts) == 1:
        return parts[0]
    gradients = [torch.cat(column) for column in zip(*(gradients for gradients, _ in parts), strict=True)]
    return gradients, {name: torch.cat([losses[name] for _, losses in parts]) for name in parts[0][1]}


def _alike(batch: Batch) -> list[Batch]:
    """A batch whose class cuts itself, in batches of samples that are alike but for their tensors, in order."""
    rows = [batch.rows(slice(number, number + 1)) for number in range(len(batch))]
    return [_stacked(list(group)) for _, group in groupby(rows, key=_form)]


def _form(value: Any) -> Any:
    """All of a value but what is in its tensors."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if is_dataclass(value):
        return type(value), tuple(_form(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, Mapping):
        return tuple((key, _form(inner)) for key, inner in value.items())
    return tuple(map(_form, value)) if isinstance(value, tuple | list) else value


def _stacked(rows: list[Batch]) -> Batch:
    def together(*values: Any) -> Any:
        first = values[0]
        if isinstance(first, Tensor):
            return torch.cat(values) if first.dim() and len(first) == 1 else first
        if isinstance(first, Mapping):
            return {key: together(*(value[key] for value in values)) for key in first}
        return tuple(map(together, *values)) if isinstance(first, tuple) else first

    own = {one.name: together(*(getattr(row, one.name) for row in rows)) for one in fields(rows[0])}
    return replace(rows[0], **own)


def _taken_apart(batch: Batch) -> tuple[list[Tensor], Any]:
    """The tensors of a batch that have a row for each sample, and what makes a batch of others in their place."""
    count, rows = len(batch), []

    def take(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim() and len(value) == count:
            rows.append(value)
            return _Place(len(rows) - 1)
        if isinstance(value, Mapping):
            return {key: take(inner) for key, inner in value.items()}
        return tuple(map(take, value)) if isinstance(value, tuple) else value

    def put(value: Any, tensors: Sequence[Tensor]) -> Any:
        if isinstance(value, _Place):
            return tensors[value]
        if isinstance(value, dict):
            return {key: put(inner, tensors) for key, inner in value.items()}
        return tuple(put(inner, tensors) for inner in value) if isinstance(value, tuple) else value

    places = {one.name: take(getattr(batch, one.name)) for one in fields(batch)}
    return rows, lambda tensors: replace(batch, **{name: put(value, tensors) for name, value in places.items()})


class _Place(int):
    """Where a tensor belongs."""


@contextmanager
def _batchable() -> Iterator[None]:
    """Within it attention is computed by the kernel that torch.func can batch, and what it does slowly isn't told."""
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield
