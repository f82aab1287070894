"""The interface of an optimizer, the schedule of its rate included."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import KW_ONLY, InitVar, dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from labwright.base.durations import Stretch
from labwright.base.elsewhere import brought
from labwright.base.errors import LabwrightError, listed, nearest
from labwright.base.search import Choice, Part, PerTrial, Uniform, When
from labwright.interfaces.task import Goal


class LRSchedule:
    """How the learning rate goes over a run. This is the constant one, which others derive from.

    A schedule overrides `shape`, or `factor` where the length of the run alone doesn't tell. One that follows what is
    measured keeps what it has heard: it has `state` and `load_state` (see Stateful), and what `factor` says of a step
    that was taken doesn't change any more. A warm-up is the optimizer's, and goes before every schedule.

    Example: `class Root(lw.LRSchedule): shape = lambda self, share, end: max(end, (1 - share) ** 0.5)`
    """

    def begin(self, per_epoch: int, goal: Goal) -> None:
        """Called once, before a run's first step or its resumption: the steps of an epoch, and what the task is after.

        Raises LabwrightError for what can't be followed.
        """

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation of `valid`, on every process, with the number of steps done until then."""

    def factor(self, step: int, start: int, total: int, end: float) -> float:
        """The share of `lr` that update number `step` uses, of `total`, from 0; at least 0.

        Args:
            step: at least `start`.
            start: the first update after the warm-up; before it the rate rises to what the schedule has there.
            total: the updates of the run.
            end: what the optimizer's setting of that name says.
        """
        return self.shape(min(max((step - start) / max(total - start - 1, 1), 0.0), 1.0), end)

    def shape(self, share: float, end: float) -> float:
        """The share of `lr` where `share` of what follows the warm-up is done: 0 for its first update, 1 for the last.

        `end` is what the last update is to use.
        """
        return 1.0


Schedule = Annotated[LRSchedule | str, Part("schedule")]
"""How the learning rate goes over a run: the annotation of an optimizer's setting; see `LRSchedule`.

Example: `schedule: Annotated[lw.Schedule, lw.Choice("constant", "cosine")] = "constant"`
"""
LayerDecay = Annotated[float, Field(gt=0, le=1), PerTrial()]


@dataclass(frozen=True)
class Group:
    """How parameters whose names match a pattern differ: in a factor on the rate, in weight decay, in being frozen.

    `frozen` ones have no gradient and no state, and a module all of whose parameters are frozen is in evaluation mode:
    BatchNorm stands still, dropout does nothing. `unfreeze`, "500 steps" or "2 epochs", is when they begin to learn
    (gradual unfreezing: Howard & Ruder 2018, section 3.3).

    Example: `groups = {"*.bias": lw.Group(weight_decay=0.0), "backbone.*": lw.Group(frozen=True)}`
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    lr_factor: Annotated[float, Field(ge=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    frozen: bool = False
    unfreeze: Stretch | None = None


class _Grouped(ABC):
    """What becomes of an optimizer's setting `groups`: see `grouped`."""

    groups: list[tuple[list[str], float, float]]


@dataclass(eq=False, repr=False)
class Optimizer(_Grouped):
    """Updates a phase's parameters by name; the schedule of its rate is part of it.

    `frozen` has the names of the parameters that groups freeze, and when each is to learn; None: never.

    Args:
        lr: learning rate, the highest of the run.
        weight_decay: the share of a weight that is taken away, or its penalty's factor, a step.
        schedule: how the rate goes: constant, linear, cosine or another name of `labwright list schedules`, or a table
            with one and its settings.
        warmup: the share of the run in which the rate first rises linearly from 0.
        end: the share of `lr` that falling schedules end with.
        groups: what differs for parameters whose names match a pattern such as "*.bias"; the first pattern wins.
        layer_decay: multiplies the rate once for each layer below the top.

    Example: `class Lion(lw.Optimizer): ...`
    """

    parameters: Mapping[str, nn.Parameter]
    _: KW_ONLY
    lr: Annotated[float, Field(gt=0), Uniform(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Annotated[Schedule, Choice("constant", "cosine", "one-cycle")] = "constant"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1), When("schedule", but=("constant", "step", "torch/*"))] = 1e-3
    groups: InitVar[dict[str, Group] | None] = None
    layer_decay: InitVar[LayerDecay | None] = None

    def __post_init__(self, groups: dict[str, Group] | None, layer_decay: float | None) -> None:
        self.parameters = dict(self.parameters)
        self.lr_schedule = _own(self.schedule)
        self.groups = grouped(list(self.parameters), groups or {}, self.weight_decay, layer_decay)
        of_names = {name: group_of(name, groups or {}) for name in self.parameters}
        self.frozen = {name: group.unfreeze for name, group in of_names.items() if group.frozen or group.unfreeze}

    def lr_at(self, step: int, total: int) -> float:
        """The rate of update number `step`, counted from 0, in a run of `total` steps."""
        # (step + 1) / (rising + 1): no update is wasted on a rate of 0, and the schedule's first is full
        rising = round(self.warmup * total)
        factor = self.lr_schedule.factor(max(step, rising), rising, total, self.end)
        return self.lr * (factor * (step + 1) / (rising + 1) if step < rising else factor)

    @abstractmethod
    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        """Update every parameter that has a gradient; where `found_inf` (on the device) is 1, change nothing."""

    @abstractmethod
    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The state: parameter name -> slot -> tensor. Reading it doesn't change it."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up a state that `state_dict` gave. Raises LabwrightError naming what doesn't fit."""

    def check_parameter(self, name: str) -> None:
        """Raises LabwrightError if a state's parameter is none of this optimizer's."""
        if name not in self.parameters:
            raise LabwrightError(
                f"optimizer state: {name!r} is no parameter of this optimizer{nearest(name, self.parameters)} It has "
                f"{listed(self.parameters)}."
            )

    def check_slots(self, name: str, slots: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> None:
        """Raises LabwrightError if a parameter's state hasn't exactly these slots in these shapes.

        It is asked before anything is changed, so that a state that doesn't fit leaves the optimizer as it was.
        """
        if slots.keys() != shapes.keys():
            raise LabwrightError(
                f"optimizer state: parameter {name!r} has the slots {listed(slots)}; this optimizer keeps "
                f"{listed(shapes)}. The state is of another optimizer or of other settings."
            )
        for slot, shape in shapes.items():
            if tuple(slots[slot].shape) != tuple(shape):
                raise LabwrightError(
                    f"optimizer state: {slot!r} of parameter {name!r} has shape {tuple(slots[slot].shape)}; here it "
                    f"has {tuple(shape)}. The state is of another model."
                )


def _own(given: LRSchedule | str) -> LRSchedule:
    """A schedule for one optimizer, as it may keep what it hears: a copy, or by a name of first-party ones."""
    if isinstance(given, LRSchedule):
        return copy(given)
    own: LRSchedule = LRSchedule() if given == "constant" else brought("tasks", "schedule", f"schedule {given}")(given)
    return own


def group_of(name: str, groups: Mapping[str, Group]) -> Group:
    """The group of the first pattern that a parameter's name matches; one that changes nothing if there is none."""
    return next((group for pattern, group in groups.items() if fnmatchcase(name, pattern)), Group())


def layer_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """The factor on each parameter's rate under layer-wise decay: `decay` once for each layer between it and the top.

    Layers are told by the names in their order: `encoder.layer.3.` is one, up to the first number; so is what stands
    together between numbered ones, such as embeddings below and a head on top. It is ELECTRA's rule (Clark et al. 2020)
    and discriminative fine-tuning (Howard & Ruder 2018, section 3.1). Raises LabwrightError if no name has a number.
    """
    layers: dict[str, int] = {}
    numbered: set[str] = set()
    depths = {}
    for name in names:
        block = re.match(r"(.*?\.)??\d+\.", name)
        numbered |= {block[0]} if block else set()
        depths[name] = layers.setdefault(block[0] if block else str(len(numbered)), len(layers))
    if not numbered and decay != 1:
        raise LabwrightError(
            f"optimizer.layer_decay: no parameter's name has a number that tells its layer: {listed(names)}. "
            "optimizer.groups with lr_factor give parts of the model rates of their own."
        )
    return {name: decay ** (len(layers) - 1 - depth) for name, depth in depths.items()}


def grouped(
    names: Sequence[str], groups: Mapping[str, Group], weight_decay: float, layer_decay: float | None = None
) -> list[tuple[list[str], float, float]]:
    """Parameter names by what they share: (names, factor on the rate, weight decay). The first pattern wins.

    Raises LabwrightError for a pattern that matches no name.
    """
    # a pattern that matches nothing is a slip: nobody means to change no parameter
    for pattern in groups:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise LabwrightError(
                f"optimizer.groups: no parameter matches {pattern!r}{nearest(pattern, names)} "
                f"The parameters are {listed(names, most=40)}."
            )
    found: dict[tuple[float, float], list[str]] = {}
    factors = {} if layer_decay is None else layer_factors(names, layer_decay)
    for name in names:
        group = group_of(name, groups)
        decay = weight_decay if group.weight_decay is None else group.weight_decay
        # by what they share and not by pattern, so that fewer kernels are called
        found.setdefault((group.lr_factor * factors.get(name, 1.0), decay), []).append(name)
    return [(members, *key) for key, members in found.items()]
