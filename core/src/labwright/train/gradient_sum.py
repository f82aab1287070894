"""Gradients summed over all processes while the backward pass goes on, and buffers that follow the first process's.

Source: Li et al. 2020 (PyTorch Distributed), section 3.2: buckets, in the reverse order of the parameters. Here their
layout is a function of the parameters alone, never of the order gradients came in, so that a restarted run adds up in
the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from labwright.base import ranks
from labwright.base.errors import LabwrightError

_BYTES = 25 * 2**20  # of a bucket, PyTorch's
_FIRST_BYTES = 2**20  # of the first, so that the first sum begins early


class GradientSum:
    """Makes each parameter's gradient the sum over all processes.

    A bucket's sum begins once its last gradient is there and the buckets before it have begun, so that it travels
    while the others are computed. A parameter that no process uses keeps no gradient.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.armed = False
        self._numbers = {parameter: number for number, parameter in enumerate(parameters)}
        for parameter in parameters:
            free = parameter.requires_grad
            parameter.requires_grad_()  # a hook needs that; one that is frozen may learn later
            parameter.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]
            parameter.requires_grad_(free)

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """The last backward pass of an update goes in here; after it gradients are sums."""
        self._buckets = _buckets(self.parameters)
        self._bucket_of = {number: at for at, bucket in enumerate(self._buckets) for number in bucket}
        self._missing = [set(bucket) for bucket in self._buckets]
        self._under_way: list[tuple[Any, Tensor]] = []
        self.armed = True
        try:
            yield
        finally:
            self.armed = False
        while len(self._under_way) < len(self._buckets):
            self._send()
        for bucket, (work, flat) in zip(self._buckets, self._under_way, strict=True):
            with ranks.guarded():
                work.wait()
            self._take(bucket, flat)
        self._under_way = []

    def _arrived(self, parameter: Tensor) -> None:
        if not self.armed:
            return
        number = self._numbers[parameter]
        missing = self._missing[self._bucket_of[number]]
        if number not in missing:
            raise LabwrightError(
                "a parameter's gradient came twice in one backward pass, as with a checkpoint that is reentrant: part "
                "of it would be left out of the sum over the processes. Use use_reentrant=False."
            )
        missing.remove(number)
        while len(self._under_way) < len(self._buckets) and not self._missing[len(self._under_way)]:
            self._send()

    def _send(self) -> None:
        """Begin the sum of the next bucket: its gradients, and of how many processes each is."""
        bucket = [self.parameters[number] for number in self._buckets[len(self._under_way)]]
        used = torch.tensor([parameter.grad is not None for parameter in bucket], dtype=bucket[0].dtype)
        gradients = [
            (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).detach().reshape(-1)
            for parameter in bucket
        ]
        flat = torch.cat([*gradients, used.to(bucket[0].device, non_blocking=True)])
        with ranks.guarded():
            self._under_way.append((dist.all_reduce(flat, async_op=True), flat))

    def _take(self, bucket: Sequence[int], flat: Tensor) -> None:
        members = [self.parameters[number] for number in bucket]
        *sums, used = torch.split(flat, [*(parameter.numel() for parameter in members), len(members)])
        # only where one has none here is it asked whether another has: a GPU would be waited for
        unused = [parameter.grad is None for parameter in members]
        somewhere = used.tolist() if any(unused) else [1.0] * len(members)
        for parameter, total, count in zip(members, sums, somewhere, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(total.view_as(parameter))
            elif count:
                parameter.grad = torch.empty_like(parameter).copy_(total.view_as(parameter))


def _buckets(parameters: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of the parameters that learn, in buckets of one type, from the last to the first."""
    buckets: list[list[int]] = []
    room, dtype = 0, None
    for number in reversed(range(len(parameters))):
        parameter = parameters[number]
        if not parameter.requires_grad:
            continue
        size = parameter.numel() * parameter.element_size()
        if not buckets or size > room or parameter.dtype != dtype:
            room = _BYTES if buckets else _FIRST_BYTES
            dtype = parameter.dtype
            buckets.append([])
        buckets[-1].append(number)
        room -= size
    return buckets


class Buffers:
    """The buffers of some modules, such as running statistics: a checkpoint holds the first process's alone."""

    def __init__(self, modules: Iterable[Any]) -> None:
        self.modules = [part for module in modules if isinstance(module, nn.Module) for part in module.modules()]
        self._seen: dict[tuple[nn.Module, str], tuple[Tensor, int]] = {}
        self._changed()

    def follow_first(self) -> None:
        """Give all processes the first one's values of those that changed."""
        for buffer in self._changed():
            with ranks.guarded():
                dist.broadcast(buffer, src=0)
        self._changed()  # by what was just received

    def _changed(self) -> list[Tensor]:
        changed = []
        for module in self.modules:
            # batch normalisation's kernels write without counting it as a change
            moving = isinstance(module, _NormBase) and module.training
            for name, buffer in module._buffers.items():
                if buffer is None:
                    continue
                tensor, version = self._seen.get((module, name), (None, -1))
                if moving or tensor is not buffer or version != buffer._version:
                    changed.append(buffer)
                self._seen[module, name] = buffer, buffer._version
        return changed


def summed_gradients(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """The sum over all processes of each gradient, None where no process has one."""
    counts = torch.tensor([gradient is not None for gradient in gradients], dtype=torch.float64)
    with ranks.guarded():
        dist.all_reduce(counts)
    sums: list[Tensor | None] = []
    for gradient, parameter, used in zip(gradients, parameters, counts.tolist(), strict=True):
        total = None if not used else torch.zeros_like(parameter) if gradient is None else gradient.contiguous()
        if total is not None:
            with ranks.guarded():
                dist.all_reduce(total)
        sums.append(total)
    return sums
