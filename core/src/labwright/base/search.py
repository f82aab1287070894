"""Marks that stand beside a setting and say where to look for a good value.

A field's type and `Field` say what is valid; a mark says what a study tries. The two are independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NONE = "none"  # how a setting that is left out is written


@dataclass(frozen=True)
class Uniform:
    """A real number between `low` and `high`, ends included; `log` looks at orders of magnitude evenly.

    Raises ValueError unless `low` lies below `high`, and above 0 with `log`, which no `step` goes with.

    Example: `dropout: Annotated[float, lw.Uniform(0.0, 0.5)] = 0.1`
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check_range(self)
        if self.log and self.step is not None:
            raise ValueError("Uniform: a step and log=True exclude each other")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + _manner(self.log, self.step)


@dataclass(frozen=True)
class Integers:
    """A whole number between `low` and `high`, ends included, in steps of `step` from `low`.

    Raises ValueError unless `low` lies below `high`, and above 0 with `log`, which no `step` goes with.

    Example: `width: Annotated[int, lw.Integers(64, 512, step=64)] = 256`
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check_range(self)
        if self.log and self.step != 1:
            raise ValueError("Integers: a step and log=True exclude each other")

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + _manner(self.log, self.step if self.step != 1 else None)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the options given, without an order between them; None is the setting left out.

    Raises ValueError for fewer than two options, and for two that are equal.

    Example: `activation: Annotated[str, lw.Choice("relu", "gelu")] = "relu"`
    """

    options: tuple[bool | int | float | str | None, ...]

    def __init__(self, *options: bool | int | float | str | None) -> None:
        if len(options) < 2:
            raise ValueError(f"Choice needs two options or more, given {options!r}")
        twice = [one for place, one in enumerate(options) if one in options[:place]]  # 1 and 1.0 are one value
        if twice:
            raise ValueError(f"Choice needs options that differ, given {options!r}: {twice[0]!r} stands there twice")
        object.__setattr__(self, "options", options)

    def __str__(self) -> str:
        return " | ".join(map(said, self.options))


Mark = Uniform | Integers | Choice


@dataclass(frozen=True)
class PerTrial:
    """Says that a setting leaves every shape and every branch alone, so that fused trials may differ in it.

    A model's or a loss's setting must end up in float attributes of modules, which become tensors with one value per
    trial; an optimizer's may be anything. A setting without this mark is structural.

    Example: `smoothing: Annotated[float, lw.Uniform(0.0, 0.3), lw.PerTrial()] = 0.0`
    """


def said(value: Any) -> str:
    """A value as people read it."""
    return NONE if value is None else str(value)


def _manner(log: bool, step: float | None) -> str:
    return ", log" if log else f", in steps of {step:g}" if step else ""


def _check_range(mark: Uniform | Integers) -> None:
    kind = type(mark).__name__
    if not mark.low < mark.high:
        raise ValueError(f"{kind}: low must lie below high, given {mark.low} and {mark.high}")
    if mark.log and mark.low <= 0:
        raise ValueError(f"{kind}: log=True needs a low above 0, given {mark.low}")
    if mark.step is not None and mark.step <= 0:
        raise ValueError(f"{kind}: the step must be above 0, given {mark.step}")
