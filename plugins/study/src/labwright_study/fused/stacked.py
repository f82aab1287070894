"""Stacks: the parameters and buffers of N like models as rows of common tensors, of which each model has its views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from labwright_study.fused.fuse_key import CannotFuse

_PLAIN = (bool, int, float, str, tuple, type(None))  # attributes that are compared


class Rows:
    """The state of several models, one row each, and a shell of their class that is given all rows at once.

    A model's parameters and buffers become views of its row, so that whatever is done to the model is done to the row.
    The shell's own tensors are on `meta`: what should be a row and isn't can't pass unnoticed. Buffers that aren't
    saved and have equal values are left as they are and shared. Floats that differ between the models, in any module,
    become stacks too: `values`, shape (N,).

    Raises CannotFuse for models that differ in anything else.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = list(models)
        first = self.models[0]
        _check_alike(self.models)
        self.shell = shell_of(first)
        self.values = differing(self.models)
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self.shared: dict[str, Tensor] = {}
        self.names = _places(first, parameters=True)
        self.buffer_names = _places(first, parameters=False)
        for name in dict.fromkeys(self.names.values()):
            self.parameters[name] = self._stacked([model.get_parameter(name).detach() for model in self.models])
            self.parameters[name].requires_grad_(first.get_parameter(name).requires_grad)
        saved = first.state_dict(keep_vars=True).keys()
        for name in dict.fromkeys(self.buffer_names.values()):
            own = [model.get_buffer(name) for model in self.models]
            same = all(one is own[0] or (one.layout == torch.strided and torch.equal(one, own[0])) for one in own)
            if name not in saved and same:
                self.shared[name] = own[0]
            else:
                self.buffers[name] = self._stacked(own)
        self._bind()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the models; the others keep what they have, apart."""
        gone = [model for number, model in enumerate(self.models) if number not in rows]
        self.models = [self.models[row] for row in rows]
        chosen = torch.tensor(rows, dtype=torch.long)
        with torch.no_grad():
            for stacks in (self.parameters, self.buffers):
                for name, stack in stacks.items():
                    kept = _empty_like(stack, len(rows))
                    stacks[name] = torch.index_select(stack, 0, chosen.to(stack.device), out=kept).requires_grad_(
                        stack.requires_grad
                    )
        self.values = {place: [values[row] for row in rows] for place, values in self.values.items()}
        self._bind()
        for model in gone:
            release(model)

    def release(self) -> None:
        """Give every model memory of its own."""
        for model in self.models:
            release(model)

    def _stacked(self, own: Sequence[Tensor]) -> Tensor:
        """A stack with the values of one tensor of each model, whose rows have the strides of the first one."""
        stack = _rows_like(own[0], len(own))
        for row, tensor in zip(stack, own, strict=True):
            row.copy_(tensor)
        return stack

    def _bind(self) -> None:
        with torch.no_grad():
            for name, stack in self.parameters.items():
                for model, row in zip(self.models, stack.detach(), strict=True):
                    model.get_parameter(name).data = row
            for name, stack in self.buffers.items():
                places = [place for place, first in self.buffer_names.items() if first == name]
                for model, row in zip(self.models, stack, strict=True):
                    for place in places:
                        owner, _, key = place.rpartition(".")
                        model.get_submodule(owner)._buffers[key] = row


def shell_of(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers are on `meta`, everything else as it is."""
    tensors = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors}  # not copied, then replaced
    copy = deepcopy(model, memo)
    return copy.to("meta")


def differing(models: Sequence[nn.Module]) -> dict[tuple[str, str], list[float]]:
    """The floats in which modules differ: (path of the module, attribute) -> one value for each.

    Raises CannotFuse for plain attributes of another kind that differ.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for path, module in models[0].named_modules():
        others = [model.get_submodule(path) for model in models]
        for key, value in vars(module).items():
            if not isinstance(value, _PLAIN):
                continue
            values = [vars(other).get(key) for other in others]
            if all(type(one) is type(value) and one == value for one in values):
                continue
            if not all(type(one) is float for one in values):
                raise CannotFuse(f"trials differ in {path or type(module).__name__}.{key}, which is no float")
            found[path, key] = [float(one) for one in values]  # type: ignore[arg-type]
    return found


def release(model: nn.Module) -> None:
    """Give a model memory of its own."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        places = _places(model, parameters=False)
        own = {name: model.get_buffer(name).clone() for name in dict.fromkeys(places.values())}
        for place, name in places.items():
            owner, _, key = place.rpartition(".")
            model.get_submodule(owner)._buffers[key] = own[name]


def _places(model: nn.Module, *, parameters: bool) -> dict[str, str]:
    """Every name of a parameter or buffer, and the first of those that are the same tensor."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    named: Iterator[tuple[str, Tensor]]
    named = (model.named_parameters if parameters else model.named_buffers)(remove_duplicate=False)
    for name, tensor in named:
        found[name] = first.setdefault(id(tensor), name)
    return found


def _check_alike(models: Sequence[nn.Module]) -> None:
    first = models[0]
    kinds = _kinds(first)
    for model in models[1:]:
        if _kinds(model) != kinds:
            raise CannotFuse("trials have models of different modules")
        for parameters in (True, False):
            if _places(first, parameters=parameters) != _places(model, parameters=parameters):
                raise CannotFuse("trials have models with different parameters or buffers")
    for name, tensor in [*first.named_parameters(), *first.named_buffers()]:
        for model in models[1:]:
            owner, _, key = name.rpartition(".")
            other: Tensor = getattr(model.get_submodule(owner), key)
            if (
                other.shape != tensor.shape
                or other.dtype != tensor.dtype
                or other.requires_grad != tensor.requires_grad
            ):
                has, had = (f"{tuple(one.shape)} {one.dtype}" for one in (tensor, other))
                raise CannotFuse(f"trials differ in {name!r}: {has}, {had}")


def _kinds(model: nn.Module) -> list[tuple[str, str, bool]]:
    """Each module's path, the name of its class (a parametrised one has a class of its own), and its mode."""
    modules = model.named_modules(remove_duplicate=False)
    return [(path, f"{type(one).__module__}.{type(one).__qualname__}", one.training) for path, one in modules]


def _rows_like(tensor: Tensor, count: int) -> Tensor:
    """An empty stack whose rows have the strides of `tensor` where these leave no gaps, else plain ones."""
    if tensor.layout != torch.strided:
        raise CannotFuse(f"a tensor of layout {tensor.layout} can't be stacked")
    strides = torch.empty_like(tensor).stride()
    return torch.empty_strided(
        (count, *tensor.shape), (tensor.numel(), *strides), dtype=tensor.dtype, device=tensor.device
    )


def _empty_like(stack: Tensor, count: int) -> Tensor:
    return _rows_like(stack.detach()[0], count)
