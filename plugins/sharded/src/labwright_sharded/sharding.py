"""Parameters sharded by PyTorch's fully_shard: each process holds rows of each, as DTensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import labwright as lw
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Partial, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from labwright_sharded.reading import own_parts


class _Root(nn.Module):
    """What all passes go through: a task may call the model, or any child of it.

    Parameters that are in no other unit are this one's.
    """

    def __init__(self, model: nn.Module, criterion: Any) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion if isinstance(criterion, nn.Module) else None

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


class FullySharded:
    """A model and a loss whose parameters are sharded; the core's `Sharding` says what its methods are for.

    Scalars aren't: every process holds them, and their gradients are summed here.

    Args:
        model: to be sharded.
        criterion: its loss; the parameters of one that is a module are sharded with the model's.
        units: modules whose parameters come and go together.
        device: where to; each unit in turn, so that it need not have room for all of them.
        dtype: in which they come, to be computed with; gradients are summed in their own. None: in their own, too.
        recompute: units compute their activations again in the backward pass.
        offload: what a process holds lies on the host, where it is updated, too.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Any,
        units: Sequence[nn.Module],
        device: torch.device,
        *,
        dtype: torch.dtype | None = None,
        recompute: bool = False,
        offload: bool = False,
    ) -> None:
        self.root = cast(Any, _Root(model, criterion))  # fully_shard makes another class of it
        parameters = list(self.root.parameters())
        kinds = {parameter.dtype for parameter in parameters}
        if len(kinds) > 1:
            raise lw.LabwrightError(
                f"device 'sharded/parameters': the parameters are of several types, {lw.listed(map(str, kinds))}; "
                "they travel together, as one. Convert the model to one of them."
            )
        mesh = init_device_mesh(device.type, (lw.ranks.count(),))
        scalars = {parameter for parameter in parameters if not parameter.dim()}
        for parameter in scalars:
            parameter.data = parameter.data.to(device)
        # forward passes run in autocast anyway: inputs stay as they are
        precision = MixedPrecisionPolicy(dtype, dtype and parameters[0].dtype, None, cast_forward_inputs=False)
        place = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
        for unit in units if recompute else ():
            unit.forward = partial(checkpoint, unit.forward, use_reentrant=False)
        try:
            for module in (*units, self.root):
                sharded: Any = fully_shard(
                    module, mesh=mesh, mp_policy=precision, offload_policy=place, ignored_params=scalars
                )
                sharded.set_gradient_divide_factor(1.0)  # a sum: each process's loss is its share of the mean
                sharded.set_force_sum_reduction_for_comms(True)
            self.root(lambda: None)  # so that it is the root, whatever is called first
            self.root.reshard()
        except (ValueError, NotImplementedError) as error:  # tied parameters of two units, one that has gaps
            raise lw.LabwrightError(
                f"device 'sharded/parameters': PyTorch can't shard {type(model).__name__}: {error}"
            ) from error
        self.root.set_reduce_scatter_unused_params(True)
        self.units: list[Any] = [module for module in self.root.modules() if isinstance(module, FSDPModule)]
        if isinstance(criterion, lw.Loss):
            criterion.penalty = _of_wholes(criterion.penalty)  # type: ignore[method-assign]
        self.used: set[Tensor] = set()  # of the update that is under way, by some backward pass of this process
        self._watched: set[Tensor] = set()
        for parameter in self.root.parameters():  # itself: a scalar, or a part by which a penalty is differentiated
            self._watch(parameter, parameter)
        self._last(False)

    def around(
        self, objective: Callable[..., Any], parameters: Iterable[Tensor]
    ) -> tuple[Callable[..., Any], Callable[[], AbstractContextManager[None]]]:
        def forward(batch: Any) -> Any:
            with _talking():
                loss = self.root(partial(objective, batch))
            for unit in self.units:
                for group in _state(unit)._fsdp_param_groups:
                    for parameter in group.fsdp_params:
                        if hasattr(parameter, "_unsharded_param"):  # what it is while it is whole
                            self._watch(parameter._unsharded_param, parameter.sharded_param)
            return loss

        return forward, partial(self.arriving, list(parameters))

    def _watch(self, leaf: Tensor, parameter: Tensor) -> None:
        """Note from now on that a parameter is used, by what gradients accumulate in."""
        if leaf in self._watched:
            return
        self._watched.add(leaf)
        learns = leaf.requires_grad
        leaf.requires_grad_()  # a hook needs that; one that is frozen may learn later
        # not one for after accumulation: fully_shard itself calls that, for all parameters
        leaf.register_hook(lambda _: self.used.add(parameter))  # type: ignore[no-untyped-call]
        leaf.requires_grad_(learns)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        # a task's evaluation may call any child, which then finds here what is in no other unit
        with _talking():
            self.root.unshard()
            try:
                yield
            finally:
                self.root.reshard()

    @contextmanager
    def arriving(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        self._last(True)
        try:
            with _talking():
                yield
        finally:
            self._last(False)
        # a parameter that no process used has a gradient of zeros, by which an optimizer would still change it
        counts = lw.ranks.summed([float(parameter in self.used) for parameter in parameters])
        self.used.clear()
        used = {parameter for parameter, count in zip(parameters, counts, strict=True) if count}
        for parameter in self.root.parameters():
            if parameter not in used:
                parameter.grad = None
            elif not isinstance(parameter, DTensor):
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                with lw.ranks.guarded():
                    dist.all_reduce(parameter.grad)

    def _last(self, last: bool) -> None:
        """Whether gradients are summed after the next backward pass; until then parameters stay whole after one."""
        self.root.set_requires_gradient_sync(last)
        self.root.set_reshard_after_backward(last)
        self.root.set_is_last_backward(last)

    @contextmanager
    def mixed(self) -> Iterator[None]:
        with _talking(), implicit_replication(), _Copying():
            yield

    def read(self, files: Sequence[Path]) -> dict[str, Tensor]:
        own = [self.root.model, *([self.root.criterion] if self.root.criterion is not None else [])]
        parameters = dict(pair for module in own for pair in module.named_parameters(remove_duplicate=False))
        parameters |= {f"loss.{name}": one for name, one in own[-1].named_parameters()} if len(own) > 1 else {}
        return own_parts(files, {name: one for name, one in parameters.items() if isinstance(one, DTensor)})


@contextmanager
def _talking() -> Iterator[None]:
    """Within it collectives may be called, and others' code, whose own errors pass: see `labwright.ranks.guarded`."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        with lw.ranks.guarded():
            raise


class _Copying(TorchFunctionMode):
    """Within it what is whole, or a part that lies elsewhere, can be copied into a tensor that is sharded.

    Torch's own way fails for few rows, and asks for parts on the device of the processes.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.copy_ and isinstance(args[0], DTensor):
            target, source = args[:2]
            if not isinstance(source, DTensor):
                source = distribute_tensor(
                    source.to(target.device), target.device_mesh, target.placements, src_data_rank=None
                )
            if source.placements == target.placements:
                target.to_local().copy_(source.to_local())
                return target
        return func(*args, **(kwargs or {}))


def _of_wholes(penalty: Callable[..., Any]) -> Callable[..., Any]:
    """A penalty that is given parameters as they are whole; each process has its share of the gradient by them."""
    return lambda parameters: penalty(
        {name: _whole(parameter, grad_placements=[Partial()]) for name, parameter in parameters.items()}
    )


def _state(unit: nn.Module) -> Any:
    return fully_shard.state(unit)  # type: ignore[attr-defined]


def _whole(tensor: Tensor, **given: Any) -> Tensor:
    return tensor.full_tensor(**given) if isinstance(tensor, DTensor) else tensor
