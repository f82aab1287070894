"""Which parameters go into one kernel call, and the state by parameter name: what SGD and Adam share.

They are no `torch.optim.Optimizer`: its first instance imports torch._dynamo (3 s), and it holds one rate for all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from labwright.base.errors import LabwrightError
from labwright.base.search import Choice, PerTrial, Uniform, When
from labwright.interfaces.optimizer import Group, Optimizer, Schedule

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")  # where PyTorch has the kernels since 2.5
FUSED_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

State = dict[str, Tensor]


@dataclass(eq=False)
class Together:
    """Parameters that one kernel call updates: of one group, device and dtype, and with one history.

    `wholes` are the same parameters; where they are sharded, `parameters`, `states` and `lists` are what this process
    holds of them. `strides` are those of their gradients when the plan was made. `lists` has each slot's tensors in the
    parameters' order. `step` counts their updates, a float32 scalar on the device; None where the count isn't needed.
    """

    names: list[str]
    wholes: list[Tensor]
    parameters: list[Tensor]
    strides: list[tuple[int, ...] | None]
    states: list[State]
    lists: dict[str, list[Tensor]]
    fused: bool
    factor: float
    decay: float
    step: Tensor | None


Due = list[tuple[Together, list[Tensor]]]  # what a step updates, by which gradients


@dataclass(eq=False, repr=False, kw_only=True)
class Elementwise(Optimizer):
    """What SGD and Adam share: which parameters go into one kernel call, and the state by parameter name.

    The plan is kept from step to step and made anew when other parameters have a gradient than last time.
    """

    counted: ClassVar[bool]  # whether the state has `step`; if not, the count only tells a skipped first update

    lr: Annotated[float, Field(gt=0), Uniform(1e-5, 1e-1, log=True), PerTrial()] = 1e-3
    weight_decay: Annotated[float, Field(ge=0), PerTrial()] = 0.0
    schedule: Annotated[Schedule, Choice("constant", "cosine", "one-cycle"), PerTrial()] = "constant"
    warmup: Annotated[float, Field(ge=0, lt=1), PerTrial()] = 0.0
    end: Annotated[float, Field(gt=0, le=1), PerTrial(), When("schedule", but=("constant", "step", "torch/*"))] = 1e-3

    def __post_init__(self, groups: dict[str, Group] | None, layer_decay: float | None) -> None:
        super().__post_init__(groups, layer_decay)
        self._state: dict[str, State] = {}
        self._steps: dict[str, Tensor] = {}  # one tensor for all parameters with the same history
        self._plan: list[Together] | None = None
        self._idle: list[nn.Parameter] = []  # the parameters without a gradient when the plan was made
        self._counts: list[tuple[Tensor, Tensor]] = []  # the plan's steps, each once, beside a 1 to add

    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        recording = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # what torch.no_grad() does, in a fifth of its time
        try:
            self._update(self._due(found_inf is not None), lr, found_inf)
        finally:
            torch._C._set_grad_enabled(recording)

    def step_planned(self, rows: Mapping[str, Sequence[Tensor]], number: int, lr: float) -> bool:
        """Update as `step` does by gradients given: of each parameter that has one, by name, that of this number.

        False, and nothing is done, where they aren't those the plan was made for. Gradients aren't recorded.
        """
        plan = self._plan
        if plan is None or not all(part.fused for part in plan) or sum(len(part.names) for part in plan) != len(rows):
            return False
        due = [(part, [rows[name][number] for name in part.names if name in rows]) for part in plan]
        if not _as_planned(due):
            return False
        self._update(due, lr, None)
        return True

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The state in use, not a copy (`step` apart); parameters that were never updated have none."""
        begun = {id(count): bool(count > 0) for count in self._steps.values()}
        state = {name: dict(slots) for name, slots in self._state.items() if begun.get(id(self._steps.get(name)), True)}
        if self.counted:
            for name, slots in state.items():
                slots["step"] = self._steps[name].clone()
        return state

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, slots in state.items():
            self.check_parameter(name)
            shapes = dict.fromkeys(self.slots, self.parameters[name].shape)
            self.check_slots(name, slots, shapes | ({"step": torch.Size(())} if self.counted else {}))
        self._state, self._steps, self._plan = {}, {}, None
        counts: dict[tuple[torch.device, float], Tensor] = {}
        for name, slots in state.items():
            parameter = self.parameters[name].detach()
            self._state[name] = {slot: torch.empty_like(parameter).copy_(slots[slot]) for slot in self.slots}
            if self.counted:
                self._count(name, float(slots["step"]), counts)

    def _due(self, skippable: bool) -> Due:
        """The parts of the plan, each with its gradients. Raises LabwrightError if one is sparse."""
        if (due := self._gathered()) is None:
            # a state that would begin in the first step would begin with what this process holds of sharded gradients
            self._make_plan(skippable or any(hasattr(one, "_local_tensor") for one in self.parameters.values()))
            due = self._gathered()
            assert due is not None
        return due

    def _gathered(self) -> Due | None:
        """The gradients for each part of the plan; None if there is no plan for them."""
        if self._plan is None:
            return None
        due = [(part, [cast("Tensor", parameter.grad) for parameter in part.wholes]) for part in self._plan]
        return due if _as_planned(due) and all(parameter.grad is None for parameter in self._idle) else None

    def _update(self, due: Due, lr: float, found_inf: Tensor | None) -> None:
        for count, one in self._counts:
            count.add_(one)
        for part, gradients in due:
            found = found_inf if found_inf is None else found_inf.reshape(()).to(part.parameters[0].device)
            update = self._update_fused if part.fused else self._update_plain
            own = gradients if part.parameters[0] is part.wholes[0] else _held(gradients)
            update(part, own, lr * part.factor, found)
        if found_inf is not None:
            for count, _ in self._counts:
                count.sub_(found_inf.reshape(()).to(count.device))

    def _make_plan(self, skippable: bool) -> None:
        active = {name: parameter.grad for name, parameter in self.parameters.items() if parameter.grad is not None}
        for name, gradient in active.items():
            if gradient.layout != torch.strided:
                raise LabwrightError(
                    f"optimizer: the gradient of parameter {name!r} is sparse; {type(self).__name__} updates dense "
                    "ones only. Build its layer with sparse=False."
                )
        self._count_apart(active)
        # without a count, a buffer of zeros stands for none if a first step may be skipped: the count tells which
        if self.counted or (skippable and self.slots):
            self._begin_counted(active)
        members: dict[tuple[Any, ...], list[str]] = {}
        for number, (names, _, _) in enumerate(self.groups):
            for name in names:
                if name in active:
                    parameter = self.parameters[name]
                    kind = (parameter.device, parameter.dtype, _fits_kernel(parameter, active[name]))
                    history = (name in self._state, id(self._steps.get(name)))
                    members.setdefault((number, *kind, *history), []).append(name)
        self._plan = [self._part(names, group=key[0], fused=key[3]) for key, names in members.items()]
        self._idle = [parameter for name, parameter in self.parameters.items() if name not in active]
        counts = {id(part.step): part.step for part in self._plan if part.step is not None}
        self._counts = [(count, torch.ones_like(count)) for count in counts.values()]

    def _part(self, names: list[str], *, group: int, fused: bool) -> Together:
        states = [self._state.get(name, {}) for name in names]
        states = [dict(zip(state, _held(state.values()), strict=True)) for state in states]
        _, factor, decay = self.groups[group]
        wholes: list[Tensor] = [self.parameters[name] for name in names]
        return Together(
            names=names,
            wholes=wholes,
            parameters=_held(wholes),
            strides=_strides(parameter.grad for parameter in wholes),
            states=states,
            lists={slot: [state[slot] for state in states if state] for slot in self.slots},
            fused=fused,
            factor=factor,
            decay=decay,
            step=self._steps.get(names[0]),
        )

    def _count_apart(self, active: Mapping[str, Tensor]) -> None:
        """Parameters with a gradient get a count of their own where they share one with others that have none."""
        resting = {id(count) for name, count in self._steps.items() if name not in active}
        own: dict[int, Tensor] = {}
        for name, count in self._steps.items():
            if name in active and id(count) in resting:
                self._steps[name] = own.setdefault(id(count), count.clone())

    def _begin_counted(self, names: Iterable[str]) -> None:
        """Give parameters without a state one of zeros and a count; those that lack the count alone one of 1."""
        counts: dict[tuple[torch.device, float], Tensor] = {}
        for name in names:
            if name in self._steps:
                continue
            begun = name in self._state
            if not begun:
                self._state[name] = {slot: torch.zeros_like(self.parameters[name].detach()) for slot in self.slots}
            self._count(name, float(begun), counts)

    def _count(self, name: str, step: float, counts: dict[tuple[torch.device, float], Tensor]) -> None:
        """Begin a parameter's count at a step, one with all those in `counts` on its device that begin there, too."""
        device = self.parameters[name].device
        count = torch.full((), step, dtype=torch.float32, device=device)
        self._steps[name] = counts.setdefault((device, step), count)

    def _update_plain(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        for parameter, gradient, state in zip(part.parameters, gradients, part.states, strict=True):
            if found is None:
                self._formula(part, parameter, gradient, state, lr)
                continue
            before = [(tensor, tensor.clone()) for tensor in (parameter, *state.values())]
            self._formula(part, parameter, gradient, state, lr)
            for tensor, old in before:
                tensor.copy_(torch.where(found == 1, old, tensor))

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """The state's tensors of the parameter's shape."""

    @abstractmethod
    def _update_fused(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        """Update a part by the kernel; its `step` has been counted up."""

    @abstractmethod
    def _formula(self, part: Together, parameter: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        """Update one parameter by the plain formula; the part's `step` has been counted up."""


# ---------------------------------------------------------------------------------------------------------- helpers


def _strides(gradients: Iterable[Tensor | None]) -> list[tuple[int, ...] | None]:
    return [None if gradient is None else gradient.stride() for gradient in gradients]


def _held(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this process holds of each tensor, in its memory: its own part of one that is sharded (a DTensor)."""
    return [getattr(tensor, "_local_tensor", tensor) for tensor in tensors]


def _as_planned(due: Due) -> bool:
    """Whether each parameter of a plan has a gradient, laid out as when the plan was made."""
    try:
        return all(_strides(gradients) == part.strides for part, gradients in due)
    except RuntimeError:  # a sparse gradient has no strides
        return False


def _fits_kernel(parameter: Tensor, gradient: Tensor) -> bool:
    """Whether the fused kernels update this parameter rightly.

    They run over memory in its order without looking at strides: an expanded gradient would be read beyond its end.
    """
    if parameter.device.type not in FUSED_DEVICES or parameter.dtype not in FUSED_DTYPES:
        return False
    like = torch.empty_like(parameter)  # has other strides if the parameter's memory has gaps
    steps = zip(parameter.shape, parameter.stride(), gradient.stride(), like.stride(), strict=True)
    return gradient.dtype == parameter.dtype and all(size == 1 or a == b == c for size, a, b, c in steps)
