"""SGD, Adam and AdamW: one elementwise formula each, and PyTorch's fused kernels for it.

`sgd` and `adam` below are the formulas. Their hyper-parameters are numbers, or tensors with one value per trial that
go along the first axis of stacked parameters. The classes call the fused kernel of the same formula where there is one
and the formula elsewhere. Neither needs `torch.optim.Optimizer`, whose first instance imports torch._dynamo (3 s).

There is no `maximize`: a loss is minimised.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from labwright.errors import LabwrightError, listed, nearest
from labwright.interfaces import Group, Optimizer, Schedule
from labwright.search import Choice, Uniform

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")  # where PyTorch has the kernels since 2.5

Value = float | Tensor
State = dict[str, Tensor]

Rate = Annotated[float, Field(gt=0), Uniform(1e-5, 1e-1, log=True)]
Decay = Annotated[float, Field(ge=0)]
Scheduled = Annotated[Schedule, Choice("constant", "cosine", "one-cycle")]
Warmup = Annotated[float, Field(ge=0, lt=1)]
End = Annotated[float, Field(gt=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0)]

# --------------------------------------------------------------------------------------------------------- formulas


def sgd(
    parameter: Tensor,
    gradient: Tensor,
    state: State,
    *,
    lr: Value,
    weight_decay: Value = 0.0,
    momentum: Value = 0.0,
    dampening: Value = 0.0,
    nesterov: bool = False,
) -> None:
    """One update of stochastic gradient descent; `parameter` and `state` change in place.

    `state` is empty before the first update and then holds `momentum_buffer`, of the parameter's shape, if there is a
    momentum. The first buffer is the gradient itself, undampened. A hyper-parameter is a number, a scalar tensor, or
    one value per trial, shape (N,), for a parameter of shape (N, ...); a trial whose momentum is 0 is not dampened.

    Source: Sutskever et al. 2013, section 2, in the form of torch.optim.SGD.
    """
    if isinstance(momentum, Tensor) and _counts(dampening):
        dampening = torch.where(momentum == 0, 0.0, dampening)
    if _counts(weight_decay):
        gradient = _add(gradient.clone(), parameter, weight_decay)
    if _counts(momentum):
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = state["momentum_buffer"] = gradient.clone(memory_format=torch.preserve_format)
        else:
            _add(buffer.mul_(_along(momentum, buffer)), gradient, 1 - dampening)
        gradient = _add(gradient.clone(), buffer, momentum) if nesterov else buffer
    _add(parameter, gradient, -lr)


def adam(
    parameter: Tensor,
    gradient: Tensor,
    state: State,
    *,
    step: Value,
    lr: Value,
    weight_decay: Value = 0.0,
    betas: tuple[Value, Value] = (0.9, 0.999),
    eps: Value = 1e-8,
    amsgrad: bool = False,
    decoupled: bool = False,
) -> None:
    """Update number `step`, counted from 1, of Adam; `parameter` and `state` change in place.

    `state` is empty before the first update and then holds `exp_avg` and `exp_avg_sq`, with `amsgrad` also
    `max_exp_avg_sq`, of the parameter's shape. `decoupled` takes the weight decay from the parameter instead of adding
    it to the gradient. A hyper-parameter is a number, a scalar tensor, or one value per trial, shape (N,), for a
    parameter of shape (N, ...); give tensors in float64, since 1 - beta**step loses digits in float32.

    Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2 (decoupled); Reddi et al. 2018,
    algorithm 2 (amsgrad), in the form of torch.optim.Adam: the maximum is taken before the bias correction.
    """
    if not state:
        state.update({slot: torch.zeros_like(parameter) for slot in _adam_slots(amsgrad)})
    if parameter.is_complex():
        parameter, gradient = torch.view_as_real(parameter), torch.view_as_real(gradient)
        state = {slot: torch.view_as_real(value) for slot, value in state.items()}
    beta1, beta2 = betas
    if _counts(weight_decay):
        if decoupled:
            parameter.mul_(_along(1 - lr * weight_decay, parameter))
        else:
            gradient = _add(gradient.clone(), parameter, weight_decay)
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(gradient, cast(Any, _along(1 - beta1, mean)))
    _add(square.mul_(_along(beta2, square)), gradient * gradient, 1 - beta2)
    if amsgrad:
        square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    scale = square.sqrt().div_(_along(correction2**0.5, square)).add_(_along(eps, square))
    _add(parameter, mean / scale, -(lr / correction1))


def _add(target: Tensor, other: Tensor, factor: Value) -> Tensor:
    """target += other * factor, in place."""
    if isinstance(factor, Tensor):
        return target.addcmul_(other, cast(Tensor, _along(factor, target)))
    return target.add_(other, alpha=factor)


def _along(value: Value, like: Tensor) -> Value:
    """A hyper-parameter so that it goes along the first axis of `like`."""
    if not isinstance(value, Tensor):
        return value
    value = value.to(like.dtype)
    return value.reshape(-1, *(1,) * (like.dim() - 1)) if value.dim() else value


def _counts(value: Value) -> bool:
    """Whether a term with this factor is computed: a tensor's values are not looked at."""
    return isinstance(value, Tensor) or value != 0


def _adam_slots(amsgrad: bool) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")


# ---------------------------------------------------------------------------------------------------------- classes


@dataclass(eq=False)
class _Part:
    """Parameters that one kernel call updates: of one group, device and dtype, and with one history.

    `strides` are those of their gradients when the plan was made. `lists` has the slots' tensors in the parameters'
    order. `step` counts their updates, and `waiting` is 1 as long as every one of them was skipped; both are
    scalars on the device, None where they are not needed.
    """

    names: list[str]
    parameters: list[nn.Parameter]
    strides: list[tuple[int, ...]]
    states: list[State]
    lists: dict[str, list[Tensor]]
    fused: bool
    factor: float
    decay: float
    device: torch.device
    step: Tensor | None
    waiting: Tensor | None


class _Elementwise(Optimizer):
    """What SGD and Adam share: which parameters go into one kernel call, and the state by parameter name.

    The plan is kept from step to step and made anew when other parameters have a gradient than last time.
    """

    slots: tuple[str, ...] = ()  # the state's tensors of the parameter's shape
    counted: ClassVar[bool]  # whether the state has `step`

    def __init__(self, parameters: Mapping[str, nn.Parameter], **shared: Any) -> None:
        super().__init__(parameters, **shared)
        self._state: dict[str, State] = {}
        self._steps: dict[str, Tensor] = {}  # one tensor for all parameters with the same history
        self._waiting: dict[str, Tensor] = {}  # as `_Part.waiting`, likewise
        self._plan: list[_Part] | None = None
        self._idle: list[nn.Parameter] = []

    def step(self, rate: float, found_inf: Tensor | None = None) -> None:
        recording = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # `torch.no_grad()` does the same in 5 times the time
        try:
            for part, gradients in self._due():
                found = found_inf if found_inf is None else found_inf.to(part.device)
                if part.step is not None:
                    part.step.add_(1)
                if part.fused:
                    self._update_fused(part, gradients, rate * part.factor, found)
                else:
                    self._update_plain(part, gradients, rate * part.factor, found)
                if found is not None and part.step is not None:
                    part.step.sub_(found.reshape(()))
                if found is not None and part.waiting is not None:
                    part.waiting.mul_(found.reshape(()))
        finally:
            torch._C._set_grad_enabled(recording)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The state in use, not a copy (`step` apart); parameters that were never updated have none."""
        state = {}
        begun = {id(step): bool(step > 0) for step in self._steps.values()}
        begun |= {id(waiting): not waiting for waiting in self._waiting.values()}
        for name in self.parameters:
            step, waiting = self._steps.get(name), self._waiting.get(name)
            if name in self._state and begun.get(id(step), True) and begun.get(id(waiting), True):
                state[name] = self._state[name] | ({} if step is None else {"step": step.clone()})
        return state

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, slots in state.items():
            self._check(name, slots)
        self._state = {}
        self._steps, self._waiting, self._plan = {}, {}, None
        shared: dict[tuple[torch.device, float], Tensor] = {}
        for name, slots in state.items():
            parameter = self.parameters[name].detach()
            self._state[name] = {slot: torch.empty_like(parameter).copy_(slots[slot]) for slot in self.slots}
            if self.counted:
                key = (parameter.device, float(slots["step"]))
                shared.setdefault(key, torch.tensor(key[1], dtype=torch.float32, device=key[0]))
                self._steps[name] = shared[key]

    def _check(self, name: str, slots: Mapping[str, Tensor]) -> None:
        check_parameter(name, self.parameters)
        expected = dict.fromkeys(self.slots, self.parameters[name].shape)
        if self.counted:
            expected["step"] = torch.Size(())
        check_slots(type(self).__name__, name, slots, expected)

    def _due(self) -> list[tuple[_Part, list[Tensor]]]:
        """The parts of the plan, each with its gradients. Raises LabwrightError if one is sparse."""
        if self._plan is not None:
            due: list[tuple[_Part, list[Tensor]]] = []
            try:
                for part in self._plan:
                    gradients = [parameter.grad for parameter in part.parameters]
                    for gradient, stride in zip(gradients, part.strides, strict=True):
                        if gradient is None or gradient.stride() != stride:
                            raise _PlanIsOld
                    due.append((part, cast(list[Tensor], gradients)))
                for parameter in self._idle:
                    if parameter.grad is not None:
                        raise _PlanIsOld
            except (_PlanIsOld, RuntimeError):  # a sparse gradient has no strides: RuntimeError
                pass
            else:
                return due
        self._make_plan()
        return [(part, [cast(Tensor, parameter.grad) for parameter in part.parameters]) for part in self._plan or ()]

    def _make_plan(self) -> None:
        for name, parameter in self.parameters.items():
            if parameter.grad is not None and parameter.grad.layout != torch.strided:
                raise LabwrightError(
                    f"optimizer: the gradient of parameter {name!r} is sparse; {type(self).__name__} updates dense ones "
                    "only. Build its layer with `sparse=False`."
                )
        active = [name for name, parameter in self.parameters.items() if parameter.grad is not None]
        self._idle = [parameter for parameter in self.parameters.values() if parameter.grad is None]
        self._part_ways(self._steps, active)
        self._part_ways(self._waiting, active)
        fresh_steps: dict[torch.device, Tensor] = {}
        due = set(active)
        members: dict[tuple[Any, ...], list[str]] = {}
        for number, (names, _, _) in enumerate(self.groups):
            for name in names:
                if name not in due:
                    continue
                parameter = self.parameters[name]
                if self.counted and name not in self._state:
                    self._state[name] = {slot: torch.zeros_like(parameter) for slot in self.slots}
                    fresh = torch.zeros((), device=parameter.device)
                    self._steps[name] = fresh_steps.setdefault(parameter.device, fresh)
                key = (number, parameter.device, parameter.dtype, _fits_kernel(parameter), name in self._state)
                history = (id(self._steps.get(name)), id(self._waiting.get(name)))
                members.setdefault((*key, *history), []).append(name)
        self._plan = [self._part(names, *key[:4]) for key, names in members.items()]

    def _part(self, names: list[str], group: int, device: torch.device, _: torch.dtype, fused: bool) -> _Part:
        parameters = [self.parameters[name] for name in names]
        states = [self._state.get(name, {}) for name in names]
        return _Part(
            names=names,
            parameters=parameters,
            strides=[cast(Tensor, parameter.grad).stride() for parameter in parameters],
            states=states,
            lists={slot: [state[slot] for state in states if slot in state] for slot in self.slots},
            fused=fused,
            factor=self.groups[group][1],
            decay=self.groups[group][2],
            device=device,
            step=self._steps.get(names[0]),
            waiting=self._waiting.get(names[0]),
        )

    @staticmethod
    def _part_ways(shared: dict[str, Tensor], active: Sequence[str]) -> None:
        """Give the parameters that are updated now a count of their own where the others of it are not."""
        resting = {id(count) for name, count in shared.items() if name not in set(active)}
        own: dict[int, Tensor] = {}
        for name in active:
            if name in shared and id(shared[name]) in resting:
                shared[name] = own.setdefault(id(shared[name]), shared[name].clone())

    def _update_plain(self, part: _Part, gradients: list[Tensor], rate: float, found: Tensor | None) -> None:
        for parameter, gradient, state in zip(part.parameters, gradients, part.states, strict=True):
            tensors = [parameter, *state.values()]
            before = [] if found is None else [tensor.clone() for tensor in tensors]
            self._formula(part, parameter, gradient, state, rate)
            if found is not None:
                skipped = found.reshape(()) == 1
                for tensor, old in zip(tensors, before, strict=True):
                    tensor.copy_(torch.where(skipped, old, tensor))

    @abstractmethod
    def _update_fused(self, part: _Part, gradients: list[Tensor], rate: float, found: Tensor | None) -> None:
        """Update a part by the kernel; its `step` has been counted up."""

    @abstractmethod
    def _formula(self, part: _Part, parameter: Tensor, gradient: Tensor, state: State, rate: float) -> None:
        """Update one parameter by the plain formula; the part's `step` has been counted up."""
