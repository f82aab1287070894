"""The schedules of torch.optim.lr_scheduler, as shares of `optimizer.lr` that are a function of the step."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from labwright import Family, LabwrightError, Stretch, listed, nearest
from torch.optim import lr_scheduler

from labwright_tasks.schedules import Placed

OURS = ("optimizer", "last_epoch", "verbose")  # what a library's constructor is given here, or has no use for
_RATES = {"cycle_momentum": False}  # they would change the optimizer's momentum beside the rate

# What can't be had by its name, and why.
REFUSED = {
    "ReduceLROnPlateau": "it follows a metric, and no function of the step is known of it beforehand: take "
    "'reduce-on-plateau', whose state is kept with each checkpoint",
    "LambdaLR": "it is made of a function, which no recipe can hold: derive a schedule of your own from lw.LRSchedule",
    "MultiplicativeLR": "it is made of a function, which no recipe can hold: derive a schedule of your own from "
    "lw.LRSchedule",
    "SequentialLR": "it is made of other schedulers: optimizer.warmup goes before every schedule; for others derive "
    "one of your own from lw.LRSchedule",
    "ChainedScheduler": "it is made of other schedulers: derive a schedule of your own from lw.LRSchedule, which "
    "multiplies theirs",
}


class LibrarySchedule(Placed):
    """A class of torch.optim.lr_scheduler, stepped beside a parameter of no meaning whose rate begins at 1.

    Rates in its options are shares of `optimizer.lr`: `eta_min = 0.01` is a hundredth of it. It begins after a warm-up,
    and `optimizer.end` means nothing to it. The momentum is left alone, so that `cycle_momentum` is false.

    Args:
        options: the scheduler's own settings, by the names that PyTorch has for them.
        every: how often it steps: "1 step" or, as in most examples of PyTorch, "1 epoch".

    Raises LabwrightError for an option that PyTorch doesn't know, for one that it has to be given, and for shares that
    are no numbers from 0 on.

    Example: `schedule = { name = "torch/StepLR", every = "1 epoch", options = { step_size = 30, gamma = 0.1 } }`
    """

    label: ClassVar[str]
    library: ClassVar[Callable[..., lr_scheduler.LRScheduler]]
    defaults: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A library's own settings are said where `options` is."""
        super().__init_subclass__(**kwargs)
        taken = [one for one in inspect.signature(cls.library).parameters.values() if one.name not in OURS]
        own = [one.name if one.default is one.empty else f"{one.name} = {one.default!r}" for one in taken]
        head = inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\nArgs:\n")[0]
        said = f"the library's own settings, rates as shares of `optimizer.lr`: {', '.join(own)}."
        cls.__doc__ = f"{head}\n\nArgs:\n    options: {said}\n"

    def __init__(self, *, options: dict[str, Any] | None = None, every: Stretch = "1 step") -> None:
        known = inspect.signature(self.library).parameters
        takes = [name for name in known if name not in OURS]
        for key in options or {}:
            if key not in takes:
                raise LabwrightError(
                    f"optimizer.schedule.options: {self.label!r} has no option {key!r}{nearest(key, takes)} "
                    f"It takes {listed(takes, most=40)}."
                )
        if (options or {}).get("cycle_momentum"):
            raise LabwrightError(
                "optimizer.schedule.options: cycle_momentum would change the optimizer's momentum, and a schedule is "
                "of its rate alone; leave it out."
            )
        self.every = every
        self._shares = self._begun({**self.defaults, **(options or {})}, takes)

    def factor(self, step: int, start: int, total: int, end: float) -> float:  # noqa: ARG002 - the options say it
        return self._shares.at((step - start) // self.steps(self.every, total))

    def _begun(self, options: Mapping[str, Any], takes: Sequence[str]) -> _Shares:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        try:
            scheduler = self.library(optimizer, **options)
        except Exception as error:
            raise LabwrightError(
                f"optimizer.schedule: {self.label!r} refuses its options: {error}. It takes {listed(takes, most=40)}."
            ) from error
        optimizer.step()  # as PyTorch wants the optimizer's first step before the scheduler's
        return _Shares(self.label, scheduler, [])


@dataclass(eq=False)
class _Shares:
    """The shares that a scheduler has come to, one a step of its own."""

    label: str
    scheduler: lr_scheduler.LRScheduler
    known: list[float]

    def at(self, number: int) -> float:
        """The share after `number` steps. Raises LabwrightError where there is none."""
        while len(self.known) <= number:
            if self.known:
                self._step()
            share = float(self.scheduler.optimizer.param_groups[0]["lr"])
            if not math.isfinite(share) or share < 0:
                raise LabwrightError(
                    f"optimizer.schedule: {self.label!r} gives {share} of optimizer.lr after {len(self.known)} of its "
                    "steps; a rate is a number from 0 on."
                )
            self.known.append(share)
        return self.known[number]

    def _step(self) -> None:
        try:
            with warnings.catch_warnings():  # of its own deprecated ways
                warnings.simplefilter("ignore")
                self.scheduler.step()
        except Exception as error:
            raise LabwrightError(
                f"optimizer.schedule: {self.label!r} can't take step {len(self.known)}: {error}"
            ) from error


class Schedulers(Family):
    """The family, which says of some why they aren't in it."""

    def __getitem__(self, name: str) -> type[Any]:
        if name in REFUSED:
            raise LabwrightError(f"'torch/{name}' can't be an optimizer's schedule: {REFUSED[name]}.")
        return super().__getitem__(name)


def _torch_names() -> list[str]:
    base = lr_scheduler.LRScheduler
    exported = {name: getattr(lr_scheduler, name) for name in lr_scheduler.__all__ if name not in REFUSED}
    return [
        name for name, one in exported.items() if inspect.isclass(one) and issubclass(one, base) and one is not base
    ]


def _found(name: str) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    library = getattr(lr_scheduler, name)
    return library, {key: one for key, one in _RATES.items() if key in inspect.signature(library).parameters}


TORCH: Mapping[str, type[LibrarySchedule]] = Schedulers("torch", _torch_names, _found, LibrarySchedule)
