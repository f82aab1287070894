"""SGD, Adam and AdamW: PyTorch's fused kernels where there are any, the formulas of formulas.py elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from labwright.base.errors import LabwrightError
from labwright.base.search import Choice, PerTrial, Uniform
from labwright.builtin.elementwise import Elementwise, Together
from labwright.builtin.formulas import State, Value, adam, adam_slots, sgd
from labwright.interfaces.optimizer import Group, Schedule

Rate = Annotated[float, Field(gt=0), Uniform(1e-5, 1e-1, log=True), PerTrial()]
Decay = Annotated[float, Field(ge=0), PerTrial()]
Scheduled = Annotated[Schedule, Choice("constant", "cosine", "one-cycle"), PerTrial()]
Warmup = Annotated[float, Field(ge=0, lt=1), PerTrial()]
End = Annotated[float, Field(gt=0, le=1), PerTrial()]
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Beta, Beta], PerTrial()]
Epsilon = Annotated[float, Field(gt=0), PerTrial()]


@final
class SGD(Elementwise):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013); see `sgd`.

    `nesterov` looks ahead by the momentum, which must then be above 0, without dampening.
    """

    counted = False

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Annotated[float, Field(gt=0), Uniform(1e-3, 1.0, log=True), PerTrial()] = 0.1,
        weight_decay: Decay = 0.0,
        schedule: Scheduled = "constant",
        warmup: Warmup = 0.0,
        end: End = 1e-3,
        groups: dict[str, Group] | None = None,
        momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.99), PerTrial()] = 0.0,
        dampening: Annotated[float, Field(ge=0, le=1), PerTrial()] = 0.0,
        nesterov: bool = False,
    ) -> None:
        shared = {"schedule": schedule, "warmup": warmup, "end": end, "groups": groups}
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, **shared)
        if nesterov and (momentum == 0 or dampening != 0):
            raise LabwrightError(
                f"optimizer.nesterov: given momentum {momentum!r} and dampening {dampening!r}; Nesterov's method needs "
                "a momentum above 0 and no dampening."
            )
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def _begin(self, names: Iterable[str], skippable: bool) -> None:
        # If a first step may be skipped, a buffer of zeros stands for none, and the count tells whether to dampen.
        if self.momentum and skippable:
            self._begin_counted(names)

    def _update_fused(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        if part.step is not None and self.dampening:
            self._update_plain(part, gradients, lr, found)
            return
        buffers = part.lists["momentum_buffer"] if self.momentum else []
        first = self.momentum != 0 and not buffers
        if first:
            buffers = [torch.empty_like(parameter) for parameter in part.parameters]
            self._state |= {n: {"momentum_buffer": one} for n, one in zip(part.names, buffers, strict=True)}
            self._plan = None
        torch._fused_sgd_(
            part.parameters,
            gradients,
            buffers,
            weight_decay=part.decay,
            momentum=self.momentum,
            lr=lr,
            dampening=self.dampening,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=first,
            grad_scale=None,
            found_inf=found,
        )

    def _update_plain(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        super()._update_plain(part, gradients, lr, found)
        if self.momentum and part.names[0] not in self._state:
            self._state |= dict(zip(part.names, part.states, strict=True))
            self._plan = None

    def _formula(self, part: Together, parameter: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        begun = 1 if part.step is None else (part.step > 1).to(parameter.dtype)
        sgd(
            parameter,
            gradient,
            state,
            lr=lr,
            weight_decay=part.decay,
            momentum=self.momentum,
            dampening=self.dampening * begun,
            nesterov=self.nesterov,
        )


class _AnyAdam(Elementwise):
    """Adam with the weight decay in the gradient, or decoupled from it."""

    counted = True
    decoupled: ClassVar[bool]
    betas: tuple[float, float]
    eps: float
    amsgrad: bool

    @property
    def slots(self) -> tuple[str, ...]:
        return adam_slots(self.amsgrad)

    def _begin(self, names: Iterable[str], skippable: bool) -> None:  # noqa: ARG002 - its zeros stand for no state
        self._begin_counted(names)

    def _update_fused(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        assert part.step is not None
        kernel = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
        lists = part.lists
        kernel(
            part.parameters,
            gradients,
            lists["exp_avg"],
            lists["exp_avg_sq"],
            lists["max_exp_avg_sq"] if self.amsgrad else [],
            [part.step] * len(gradients),
            amsgrad=self.amsgrad,
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=part.decay,
            eps=self.eps,
            maximize=False,
            grad_scale=None,
            found_inf=found,
        )

    def _formula(self, part: Together, parameter: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        assert part.step is not None
        if part.step.is_cpu:
            step: Value = part.step.item()
        else:  # mps has no float64
            step = part.step if part.step.device.type == "mps" else part.step.double()
        adam(
            parameter,
            gradient,
            state,
            step=step,
            lr=lr,
            weight_decay=part.decay,
            betas=self.betas,
            eps=self.eps,
            amsgrad=self.amsgrad,
            decoupled=self.decoupled,
        )


@final
class Adam(_AnyAdam):
    """Adam (Kingma & Ba 2015), its weight decay added to the gradient; see `adam`."""

    decoupled = False

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Rate = 1e-3,
        weight_decay: Decay = 0.0,
        schedule: Scheduled = "constant",
        warmup: Warmup = 0.0,
        end: End = 1e-3,
        groups: dict[str, Group] | None = None,
        betas: Betas = (0.9, 0.999),
        eps: Epsilon = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        shared = {"schedule": schedule, "warmup": warmup, "end": end, "groups": groups}
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, **shared)
        self.betas, self.eps, self.amsgrad = betas, eps, amsgrad


@final
class AdamW(_AnyAdam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); see `adam`."""

    decoupled = True

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Rate = 1e-3,
        weight_decay: Annotated[float, Field(ge=0), Uniform(1e-4, 1e-1, log=True), PerTrial()] = 0.01,
        schedule: Scheduled = "constant",
        warmup: Warmup = 0.0,
        end: End = 1e-3,
        groups: dict[str, Group] | None = None,
        betas: Betas = (0.9, 0.999),
        eps: Epsilon = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        shared = {"schedule": schedule, "warmup": warmup, "end": end, "groups": groups}
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, **shared)
        self.betas, self.eps, self.amsgrad = betas, eps, amsgrad
