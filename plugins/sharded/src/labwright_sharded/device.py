"""The device `sharded/parameters`: another device, where each of several processes holds a part of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import labwright as lw
import torch
from pydantic import Field
from torch import nn

from labwright_sharded.units import units

if TYPE_CHECKING:
    from labwright_sharded.sharding import FullySharded
    from labwright_sharded.writing import Parts


class Sharded(lw.Device):
    """Another device, on which each of several processes holds a part of the parameters, of their gradients, of the
    optimizer's state and of averages; the rest of them it has only while it computes with them.

    The result is that of one process to rounding. With one process it is the other device,
    whose checkpoints may be written in the background.

    Args:
        on: the device, with its own settings.
        blocks: names of classes, such as `TransformerBlock`: the parameters of each module of such a class come and go
            together. All others come with the first and stay for the whole pass.
        smallest: modules with so many parameters come and go together as well, the innermost first; each has to be
            called, as a module is whose weight others read has it not. None: only `blocks` do.
        recompute: blocks compute their activations again in the backward pass, and keep none of them until then.
        offload: what each process holds of parameters, averages and the optimizer's state lies on the host, and is
            updated there.
        save_async: checkpoints are written while training goes on, with one process too, from copies of what each
            process holds. They take as much memory on the host as a checkpoint on the disk; a note says how much.

    Source: fully_shard of PyTorch (FSDP2), after Rajbhandari et al. 2020 (ZeRO), stage 3.

    Example: `device = { name = "sharded/parameters", on = "cuda", blocks = ["TransformerBlock"] }`
    """

    def __init__(
        self,
        *,
        on: Annotated[lw.Device, lw.Part("device")] = "auto",  # type: ignore[assignment] # a part's default is its name
        blocks: tuple[str, ...] = (),
        smallest: Annotated[int, Field(ge=1)] | None = None,
        recompute: bool = False,
        offload: bool = False,
        save_async: bool = False,
    ) -> None:
        super().__init__(
            precision=on.precision,
            compile=on.compile,
            accumulate=on.accumulate,
            workers=on.workers,
            threads=on.threads,
            sync_batch_norm=on.sync_batch_norm,
        )
        self.on, self.blocks, self.smallest = on, blocks, smallest
        self.recompute, self.offload, self.save_async = recompute, offload, save_async

    def find(self) -> torch.device:
        return self.on.find()

    def writer(self, tell: Callable[[str], None]) -> Parts:
        from labwright_sharded.writing import Parts

        return Parts(tell, background=self.save_async)

    def shard(self, model: nn.Module, criterion: Any) -> FullySharded:
        from labwright_sharded.sharding import FullySharded  # torch's part of it takes two seconds to import

        if self.compile:
            raise lw.LabwrightError("device.on: compile doesn't go with parameters that come and go; leave it out.")
        modules = units(model, self.blocks, self.smallest)
        if self.recompute and not modules:
            raise lw.LabwrightError("device.recompute: there are no blocks to compute again; device.blocks names them.")
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        options: dict[str, Any] = {"dtype": dtype, "recompute": self.recompute, "offload": self.offload}
        return FullySharded(model, criterion, modules, self.find(), **options)
