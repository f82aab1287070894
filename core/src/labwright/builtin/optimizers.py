"""SGD, Adam and AdamW: PyTorch's fused kernels where there are any, the plain formulas elsewhere; and torch's others.

There is no `maximize`: a loss is minimised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor

from labwright.base.errors import LabwrightError
from labwright.base.search import PerTrial, Uniform, When
from labwright.builtin.elementwise import Elementwise, State, Together
from labwright.interfaces.optimizer import Group

Beta = Annotated[float, Field(ge=0, lt=1)]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SGD(Elementwise):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, section 2), in the form of torch.optim.SGD.

    The first momentum is the gradient itself, undampened.

    Args:
        weight_decay: the factor of the weights that is added to their gradient.
        momentum: the share of the last update that goes on.
        dampening: the share of a gradient that momentum leaves out.
        nesterov: look ahead by the momentum, which must then be above 0, without dampening.
    """

    counted = False

    lr: Annotated[float, Field(gt=0), Uniform(1e-3, 1.0, log=True), PerTrial()] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.99), PerTrial()] = 0.0
    dampening: Annotated[float, Field(ge=0, le=1), PerTrial(), When("momentum", but=(0,))] = 0.0
    nesterov: bool = False

    def __post_init__(self, groups: dict[str, Group] | None, layer_decay: float | None) -> None:
        super().__post_init__(groups, layer_decay)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise LabwrightError(
                f"optimizer.nesterov: given momentum {self.momentum!r} and dampening {self.dampening!r}; Nesterov's "
                "method needs a momentum above 0 and no dampening."
            )

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def _update_fused(self, part: Together, gradients: list[Tensor], lr: float, found: Tensor | None) -> None:
        if part.step is not None and self.dampening:
            self._update_plain(part, gradients, lr, found)
            return
        buffers = part.lists["momentum_buffer"] if self.momentum else []
        # the kernel fills the buffers itself in the first step, with the gradients
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
        # the formula has made the first buffers: from now on they are state, and the plan knows of them
        if self.momentum and part.names[0] not in self._state:
            self._state |= dict(zip(part.names, part.states, strict=True))
            self._plan = None

    def _formula(self, part: Together, parameter: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        if part.decay:
            gradient = torch.add(gradient, parameter, alpha=part.decay)
        if self.momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = torch.empty_like(parameter).copy_(gradient)
            else:
                # a buffer of zeros whose first step is under way is undampened, as one that isn't there yet
                begun = 1 if part.step is None else (part.step > 1).to(parameter.dtype)
                dampening = self.dampening and self.dampening * begun
                _add_(buffer.mul_(self.momentum), gradient, 1 - dampening)
            gradient = torch.add(gradient, buffer, alpha=self.momentum) if self.nesterov else buffer
        parameter.add_(gradient, alpha=-lr)


@dataclass(eq=False, repr=False, kw_only=True)
class Adam(Elementwise):
    """Adam (Kingma & Ba 2015, algorithm 1), its weight decay added to the gradient.

    Args:
        weight_decay: the factor of the weights that is added to their gradient.
        betas: decay of the running means of gradients and of their squares.
        eps: added to the root of the mean square.
        amsgrad: divide by the largest mean square so far, taken before the bias correction, as torch.optim.Adam does
            (Reddi et al. 2018, algorithm 2).
    """

    counted = True
    decoupled = False  # the weight decay, from the gradient

    betas: Annotated[tuple[Beta, Beta], PerTrial()] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0), PerTrial()] = 1e-8
    amsgrad: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if self.amsgrad else ("exp_avg", "exp_avg_sq")

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
        if parameter.is_complex():
            parameter, gradient = torch.view_as_real(parameter), torch.view_as_real(gradient)
            state = {slot: torch.view_as_real(tensor) for slot, tensor in state.items()}
        if part.decay and self.decoupled:
            parameter.mul_(1 - lr * part.decay)
        elif part.decay:
            gradient = torch.add(gradient, parameter, alpha=part.decay)
        beta1, beta2 = self.betas
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).add_(gradient * gradient, alpha=1 - beta2)
        if self.amsgrad:
            square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        # in float64, as 1 - beta**step loses digits in float32; mps has none
        step = part.step.item() if part.step.is_cpu else part.step
        step = step.double() if isinstance(step, Tensor) and step.device.type != "mps" else step
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        scale = square.sqrt().div_(correction2**0.5).add_(self.eps)
        _add_(parameter, mean / scale, -(lr / correction1))


@final
@dataclass(eq=False, repr=False, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

    Args:
        weight_decay: the share of the weights, times the rate, that a step takes away.

    Example: `lw.AdamW(dict(model.named_parameters()), lr=3e-3)`
    """

    decoupled = True
    weight_decay: Annotated[float, Field(ge=0), Uniform(1e-4, 1e-1, log=True), PerTrial()] = 0.01


def _add_(target: Tensor, other: Tensor, factor: float | Tensor) -> None:
    """target += other * factor, in place; a factor that lies on the device isn't read."""
    if isinstance(factor, Tensor):
        target.addcmul_(other, factor.to(target.dtype))
    else:
        target.add_(other, alpha=factor)
