"""What it takes to divide a batch among processes: what can't be divided is refused, what isn't the same is said.

B batch, C channels, N values of a channel over all processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.interfaces.closed_form import ClosedForm
from labwright.interfaces.loss import separable
from labwright.interfaces.method import Method, Stateful
from labwright.train.built import Built
from labwright.train.settings import Train


def divide(built: Built, train: Train) -> None:
    """Prepare what was built for several processes; notes say what isn't as with one.

    Raises LabwrightError for what can't be divided.
    """
    count, method = ranks.count(), built.method
    # those that a task holds lie within the recipe's
    losses = [built.criterion, *(built.criterion.modules() if isinstance(built.criterion, nn.Module) else ())]
    own = type(method).gradients is not Method.gradients or type(method).feed is not Method.feed
    sparse = [name for name, module in built.model.named_modules() if getattr(module, "sparse", False) is True]
    reasons = {
        f"a batch of train.batch_size={train.batch_size} has too few samples": train.batch_size < count,
        f"model {type(built.model).__name__} is computed in closed form": isinstance(built.model, ClosedForm),
        f"loss {type(built.criterion).__name__} compares the samples of a batch with one another": (
            not all(map(separable, losses))
        ),
        f"method {type(method).__name__} doesn't say that it is `divisible`": own and not method.divisible,
        f"{'task' if isinstance(built.task, Stateful) else 'method'} keeps a state of its own, which each process "
        "would have another of": isinstance(built.task, Stateful) or isinstance(method, Stateful),
        f"method {type(method).__name__} takes gradients of sharded parameters": own and bool(built.sharding),
        f"gradients of {', '.join(map(repr, sparse))} are sparse": bool(sparse),
    }
    for reason, holds in reasons.items():
        if holds:
            raise LabwrightError(f"{count} processes can't divide the batches of this run: {reason}. Use one process.")
    built.notes.append(f"{count} processes train together; each batch of {train.batch_size} is divided among them.")
    norms = [module for module in built.model.modules() if isinstance(module, _BatchNorm)]
    if norms and built.device_settings.sync_batch_norm:
        for module in norms:
            module.__class__ = _SYNCED.setdefault(type(module), type("Synced", (_Synced, type(module)), {}))
    elif norms:
        built.notes.append(
            "BatchNorm takes its statistics from each process's share of a batch, and keeps the first one's: not the "
            "same update as with one process. device.sync_batch_norm=true takes them from the whole batch."
        )


class _Synced(_BatchNorm):
    """Batch normalisation whose statistics are those of all processes; see `divide`.

    PyTorch's is for GPUs alone. Two passes, as the mean of squares less the square of the mean would lose digits.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        x = input if input.dtype == torch.float64 else input.float()
        shape = [1, -1] + [1] * (x.dim() - 2)
        dims = [0, *range(2, x.dim())]
        values = x.numel() // x.shape[1]
        count = _summed(torch.full((), values, dtype=x.dtype, device=x.device))
        mean_C = _summed(x.sum(dims)) / count
        centred = x - mean_C.view(shape)
        var_C = _summed(centred.square().sum(dims)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean_C.detach().to(self.running_mean.dtype), share)
            self.running_var.lerp_((var_C * count / (count - 1)).detach().to(self.running_var.dtype), share)
        y = centred * (var_C + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)


_SYNCED: dict[type, type] = {}


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - nothing is kept
        total = x.clone()
        with ranks.guarded():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _summed(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total
