"""The updates of several trials by their stacked gradients. N trials.

Every trial has its own optimizer, so that whatever differs between them costs nothing extra. The built-in ones call
PyTorch's fused kernel once for each trial, on the rows of the stacks: on a CPU one pass over the memory at 8 us a call,
where the formulas over whole stacks take ten passes. What else there is goes through `Update.apply`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from labwright.builtin.optimizers import SGD, Adam, AdamW
from labwright.interfaces.optimizer import factor
from labwright.train.phase_step import PhaseStep
from torch import Tensor


def apply(phase_steps: Sequence[PhaseStep], gradients: Mapping[str, Tensor], step: int, total: int) -> None:
    """Update each trial's parameters of one phase by its row of the gradients: clip, step, average."""
    recording = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        clip(gradients, [phase_step.clip for phase_step in phase_steps])
        rows = {name: gradient.unbind() for name, gradient in gradients.items()}
        factors: dict[tuple[object, ...], float] = {}
        for number, phase_step in enumerate(phase_steps):
            optimizer = phase_step.optimizer
            if isinstance(optimizer, SGD | Adam | AdamW):
                shape = (optimizer.schedule, optimizer.warmup, optimizer.end)
                if shape not in factors:
                    factors[shape] = factor(step, total, *shape)
                if optimizer.step_planned(rows, number, optimizer.lr * factors[shape]):
                    phase_step.follow(step)
                    continue
            for name, parts in rows.items():
                optimizer.parameters[name].grad = parts[number]
            optimizer.step(optimizer.lr_at(step, total))
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
