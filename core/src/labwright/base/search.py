"""Marks that stand beside a setting: where to look for a good value, where it counts at all, that it is a component.

A field's type and `Field` say what is valid; a mark says what a study tries. The two are independent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

NONE = "none"  # how a setting that is left out is written


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not self.low < self.high:
            raise ValueError(f"{kind}: low must lie below high, given {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{kind}: log=True needs a low above 0, given {self.low}")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"{kind}: the step must be above 0, given {self.step}")
        if self.log and self.step != type(self).step:
            raise ValueError(f"{kind}: a step and log=True exclude each other")

    def __str__(self) -> str:
        low, high = (f"{end}" if isinstance(end, int) else f"{end:g}" for end in (self.low, self.high))
        steps = f", in steps of {self.step:g}" if self.step != type(self).step else ""
        return f"{low} to {high}{', log' if self.log else steps}"


@dataclass(frozen=True)
class Uniform(_Range):
    """A real number between `low` and `high`, ends included; `log` looks at orders of magnitude evenly.

    Raises ValueError unless `low` lies below `high`, and above 0 with `log`, which no `step` goes with.

    Example: `dropout: Annotated[float, lw.Uniform(0.0, 0.5)] = 0.1`
    """


@dataclass(frozen=True)
class Integers(_Range):
    """A whole number between `low` and `high`, ends included, in steps of `step` from `low`.

    Raises ValueError unless `low` lies below `high`, and above 0 with `log`, which no `step` goes with.

    Example: `width: Annotated[int, lw.Integers(64, 512, step=64)] = 256`
    """

    low: int
    high: int
    step: int = 1


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
        return " | ".join(NONE if option is None else str(option) for option in self.options)


Mark = Uniform | Integers | Choice


@dataclass(frozen=True)
class PerTrial:
    """Says that a setting leaves every shape and every branch alone, so that fused trials may differ in it.

    A model's or a loss's setting must end up in float attributes of modules, which become tensors with one value per
    trial; an optimizer's may be anything. A setting without this mark is structural.

    Example: `smoothing: Annotated[float, lw.Uniform(0.0, 0.3), lw.PerTrial()] = 0.0`
    """


@dataclass(frozen=True)
class Part:
    """Marks a setting that is itself a component: `data: Annotated[Data, Part("data")]`.

    Within a list or a table it marks several: `metrics: list[Annotated[lw.Metric, lw.Part("metric")]]`,
    `losses: dict[str, Annotated[Any, lw.Part("loss")]]`. `contract` is the Protocol that a loss must fit there. A
    metric arrives as a callable that makes one, as each evaluation has its own.

    Example: `data: Annotated[lw.Data, lw.Part("data")]`
    """

    kind: str
    contract: type | None = None


class When:
    """Says that a setting counts only where another one of its component has one of these values, or none of `but`.

    A recipe that sets it elsewhere, to anything but its default, is refused, and a study doesn't search it there. Of
    several beside one setting all have to hold. A setting that is left out has the value None, a component that of its
    name, for which a value may have a `*`.

    Example: `sigma: Annotated[float, Field(gt=0), lw.When("numbers", "periodic")] = 0.1`
    """

    def __init__(self, setting: str, *values: Any, but: tuple[Any, ...] = ()) -> None:
        self.setting, self.values, self.but = setting, values, but

    def holds(self, value: Any) -> bool:
        """Whether the other setting's value is one under which this one counts."""
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", value)
        values = self.but or self.values
        return bool(self.but) != any(name == one or fnmatchcase(str(name), str(one)) for one in values)

    def __str__(self) -> str:
        words = ("left out" if value is None else json.dumps(value, default=str) for value in self.but or self.values)
        return f"{self.setting} is {'not ' * bool(self.but)}{' or '.join(words)}"
