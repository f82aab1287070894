"""The updates of several trials by their stacked gradients. N trials.

Every trial has its own optimizer, so that whatever differs between them costs nothing extra. The built-in ones call
PyTorch's fused kernel once for each trial, on the rows of the stacks: on a CPU one pass over the memory at 8 us a call,
where the formulas over whole stacks take ten passes. What else there is goes through `step`, as in a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from labwright.engine import PhaseStep
from torch import Tensor


@runtime_checkable
class Planned(Protocol):
    """An optimizer that may be given its gradients: the built-in ones, and any that has this method."""

    def step_planned(self, rows: Mapping[str, Sequence[Tensor]], number: int, lr: float) -> bool:
        """Update by the gradients given: of each parameter by name, that of this number among those of all trials.

        False, and nothing is done, where these gradients aren't such as it can take. Nothing is recorded.
        """
        ...


def apply(phase_steps: Sequence[PhaseStep], gradients: Mapping[str, Tensor], step: int, total: int) -> None:
    """Update each trial's parameters of one phase by its row of the gradients: clip, step, average."""
    recording = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        clip(gradients, [phase_step.clip for phase_step in phase_steps])
        rows = {name: gradient.unbind() for name, gradient in gradients.items()}
        for number, phase_step in enumerate(phase_steps):
            optimizer = phase_step.optimizer
            lr = optimizer.lr_at(step, total)
            if not (isinstance(optimizer, Planned) and optimizer.step_planned(rows, number, lr)):
                for name, parts in rows.items():
                    optimizer.parameters[name].grad = parts[number]
                optimizer.step(lr)
                for parameter in phase_step.parameters:
                    parameter.grad = None
            phase_step.follow(step)
    finally:
        torch._C._set_grad_enabled(recording)


def clip(gradients: Mapping[str, Tensor], most: Sequence[float | None]) -> None:
    """Scale each trial's gradients, in place, to a norm of at most its own `most`, as clip_grad_norm_ does."""
    if not gradients or all(one is None for one in most):
        return
    each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients.values()]
    norms_N = torch.linalg.vector_norm(torch.stack(each), dim=0)
    bounds_N = torch.tensor([0.0 if one is None else one for one in most], dtype=norms_N.dtype, device=norms_N.device)
    scale_N = (bounds_N / (norms_N + 1e-6)).clamp(max=1.0)
    if None in most:
        free_N = torch.tensor([one is None for one in most], device=norms_N.device)
        scale_N = torch.where(free_N, 1.0, scale_N)
    for gradient in gradients.values():
        gradient.mul_(scale_N.view(-1, *(1,) * (gradient.dim() - 1)).to(gradient.dtype))
