"""The devices the core knows: the processor, NVIDIA and AMD GPUs, Apple GPUs, and the first of them that is there."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.interfaces.device import Device

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


class CPU(Device):
    """The processor. Every precision runs; bf16 and fp16 are fast only where its instructions include them."""

    def find(self) -> torch.device:
        _keep_memory()
        return torch.device("cpu")


@dataclass(eq=False, kw_only=True)
class CUDA(Device):
    """An NVIDIA or AMD GPU.

    Args:
        index: its number among those that CUDA_VISIBLE_DEVICES leaves visible.
    """

    index: Annotated[int, Field(ge=0)] = 0

    def find(self) -> torch.device:
        if not torch.cuda.is_available():
            raise LabwrightError(f"device 'cuda': {_why_no_cuda()}. {_what_is_there()}")
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        # of the processes of a machine each has its own, unless it sees no other
        index = self.index + (ranks.local() if len(names) > 1 else 0)
        if index >= len(names):
            shared = f" and process {ranks.local()} of this machine" if ranks.local() else ""
            there = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
            raise LabwrightError(f"device 'cuda', index: given {self.index}{shared}; there are {there}.")
        if self.precision == "bf16" and not _computes_bf16(index):
            raise LabwrightError(
                f"device 'cuda', precision: {names[index]} has no bf16 arithmetic; use 'fp16' or 'fp32'."
            )
        return torch.device("cuda", index)


class MPS(Device):
    """An Apple GPU, through Metal Performance Shaders."""

    def find(self) -> torch.device:
        if not torch.backends.mps.is_available():
            why = "needs macOS 12.3" if torch.backends.mps.is_built() else "is not part of this build of torch"
            raise LabwrightError(f"device 'mps' {why}. {_what_is_there()}")
        if self.precision == "bf16" and not torch.backends.mps.is_macos_or_newer(14, 0):
            raise LabwrightError("device 'mps', precision: bf16 needs macOS 14; use 'fp16' or 'fp32'.")
        return torch.device("mps")


class Auto(Device):
    """The first of cuda, mps and cpu that is there."""

    def find(self) -> torch.device:
        apple = MPS if torch.backends.mps.is_available() else CPU
        return (CUDA if torch.cuda.is_available() else apple)(precision=self.precision).find()


def _keep_memory() -> None:
    """Let glibc keep large blocks that were freed: given back, each costs a page fault per 4 KiB when used again.

    A step of a small CNN takes a tenth less time for it (docs/explanation/speed.md).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, -1)  # never


def _computes_bf16(index: int) -> bool:
    # from Ampere on; before it torch only emulates bf16, more slowly than fp32
    return torch.version.hip is not None or torch.cuda.get_device_capability(index) >= (8, 0)


def _why_no_cuda() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without it"
    return f"torch {torch.__version__} finds no GPU it can use; `labwright doctor` looks at driver and versions"


def _what_is_there() -> str:
    present = ["'cuda'"] * torch.cuda.is_available() + ["'mps'"] * torch.backends.mps.is_available() + ["'cpu'"]
    return f"There is {' and '.join(present)}; device 'auto' takes what is there."
