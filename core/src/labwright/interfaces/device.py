"""The interface of a device: where and how it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(eq=False, kw_only=True)
class Device(ABC):
    """Where and how it is computed; nothing here changes what is computed, precision apart.

    Args:
        precision: bf16 and fp16 compute in autocast and keep float32 weights; fp16 scales the loss.
        compile: use torch.compile.
        accumulate: cut each batch into that many micro-batches, one after another; the loss is the same mean.
        workers: processes that fetch data which isn't in memory; 0 is this one.
        threads: of this process on the CPU; left out, as many as PyTorch takes.
        sync_batch_norm: where several processes train together, BatchNorm's statistics are of the whole batch.

    Example: `class TPU(lw.Device): ...`
    """

    precision: Precision = "fp32"
    compile: bool = False
    accumulate: Annotated[int, Field(ge=1)] = 1
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] | None = None
    sync_batch_norm: bool = False

    @abstractmethod
    def find(self) -> torch.device:
        """The device. Raises LabwrightError if it isn't there, saying what is."""

    def shard(self, model: nn.Module, criterion: Any) -> Sharding | None:
        """Let each of several processes hold a part of the parameters alone; None, as here: each holds all of them.

        The model and the criterion are on the host still; what is made of them is on the device.
        """
        return None

    def writer(self, tell: Callable[[str], None]) -> Writer | None:
        """What writes the tensors of a run's checkpoints; None, as here: the first process, before the next step.

        What the run's person should know of it, it may `tell`: a sentence becomes a note of the run.
        """
        return None

    def autocast(self, device: torch.device) -> AbstractContextManager[Any] | None:
        """The context a forward pass runs in, made anew for each; None for full precision."""
        if self.precision == "fp32":
            return None
        return torch.autocast(device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)


class Sharding(Protocol):
    """Parameters of which each of several processes holds a part, as tensors that know of the whole (DTensors)."""

    def around(self, objective: Any, parameters: Iterable[Tensor]) -> tuple[Any, Any]:
        """The objective, and what makes the context of an update's last backward pass.

        While the objective is called, and then goes backward, it finds parameters whole. After the context these
        parameters, and no others, have gradients, which are sums over all processes.
        """

    def evaluating(self) -> AbstractContextManager[None]:
        """Within it, where no gradient is recorded, the model and each child of it find their parameters whole."""

    def mixed(self) -> AbstractContextManager[None]:
        """Within it a tensor that all processes hold alike goes with one of which each has a part."""

    def read(self, files: Sequence[Path]) -> dict[str, Tensor]:
        """The tensors of a checkpoint's safetensors files, in whose order the parts of one follow one another.

        Of one that goes with a parameter, whose name its own has between slashes, this process's part; of others all.
        """


class Writer(Protocol):
    """How the tensors of checkpoints reach the disk; every process has one."""

    def write(self, folder: Path, tables: Mapping[str, Mapping[str, Tensor]], finish: Callable[[], None]) -> None:
        """Write what this process has of a table called NAME to files `NAME*.safetensors`, now or beside what follows.

        Once all have, the first process calls `finish`.
        """

    def wait(self) -> None:
        """Until what was written is finished; all call it. Raises what went wrong."""
