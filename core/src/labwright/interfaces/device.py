"""The interface of a device: where and how it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

Precision = Literal["fp32", "bf16", "fp16"]


class Device(ABC):
    """Where and how it is computed; nothing here changes what is computed, precision apart.

    `precision`: bf16 and fp16 compute in autocast and keep float32 weights; fp16 scales the loss. `compile`: use
    torch.compile. `accumulate`: cut each batch into that many micro-batches, one after another; the loss is the
    same mean. `workers`: processes that fetch data which isn't in memory. `threads`: CPU threads of this process.
    `sync_batch_norm`: where several processes train together, BatchNorm's statistics are of the whole batch.

    Example: `class TPU(lw.Device): ...`
    """

    def __init__(
        self,
        *,
        precision: Precision = "fp32",
        compile: bool = False,  # noqa: A002 - the field's name in a recipe
        accumulate: Annotated[int, Field(ge=1)] = 1,
        workers: Annotated[int, Field(ge=0)] = 0,
        threads: Annotated[int, Field(ge=1)] | None = None,
        sync_batch_norm: bool = False,
    ) -> None:
        self.precision = precision
        self.compile = compile
        self.accumulate = accumulate
        self.workers = workers
        self.threads = threads
        self.sync_batch_norm = sync_batch_norm

    @abstractmethod
    def find(self) -> torch.device:
        """The device. Raises LabwrightError if it isn't there, saying what is."""

    def autocast(self, device: torch.device) -> AbstractContextManager[Any] | None:
        """The context a forward pass runs in, made anew for each; None for full precision."""
        if self.precision == "fp32":
            return None
        return torch.autocast(device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)
