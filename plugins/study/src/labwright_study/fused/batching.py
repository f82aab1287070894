"""The few functions of torch.func's own implementation that rules for layers need, in one place.

Within `torch.vmap` a tensor of one trial stands for a *stack*: a tensor with one row for each of N trials. These
functions go from one to the other, which `torch.autograd.Function.vmap` does too, at 300 us a call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

functorch: Any = torch._C._functorch  # what torch.vmap is made of


def over_trials(function: Callable[[int], Any], count: int) -> Any:
    """Call a function for `count` trials at once, with the level of torch.func it runs at; its results as stacks.

    What has no way over stacks is done row by row, without the warning: how long it takes is measured.
    """
    functorch._set_vmap_fallback_warning_enabled(False)
    try:
        return torch.vmap(lambda one: function(functorch.maybe_get_level(one)), randomness="error")(torch.empty(count))
    finally:
        functorch._set_vmap_fallback_warning_enabled(True)


def at_level(level: int) -> bool:
    """Whether the innermost transform is the one of that level: no gradient is being taken inside of it."""
    return bool(functorch.maybe_current_level() == level)


def as_trial(stack: Tensor, level: int) -> Tensor:
    """One trial's view of a stack (N, ...), without the first axis."""
    one: Tensor = functorch._add_batch_dim(stack, 0, level)
    return one


def as_stack(one: Tensor, level: int, count: int) -> Tensor:
    """The stack (N, ...) behind one trial's tensor; of one that is the same for all, a view repeated N times."""
    if functorch.is_batchedtensor(one) and functorch.maybe_get_level(one) == level:
        stack: Tensor = functorch.get_unwrapped(one)
        return stack.movedim(functorch.maybe_get_bdim(one), 0)
    return one.expand(count, *one.shape)


def outside() -> AbstractContextManager[Any]:
    """Within it no transform is in force."""
    guard: AbstractContextManager[Any] = torch._C._DisableFuncTorch()
    return guard
