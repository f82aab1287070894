"""Checkpoints in parts, one of each process, and in the background."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path
from secrets import token_hex
from typing import Any

import labwright as lw
import torch
from safetensors.torch import save_file
from torch import Tensor

_HEADER = "DCP_SHARDING_INFO"  # by which torch.distributed.checkpoint's HuggingFaceStorageReader reads the files, too


class Parts:
    """Writes what each process holds to files of its own; in the `background` from copies, while training goes on.

    The memory of the copies is kept from one checkpoint to the next; how much it is, `tell` is told. See `Writer` of
    the core's device.py.
    """

    def __init__(self, tell: Callable[[str], None], *, background: bool) -> None:
        self.tell, self.background = tell, background
        self.copies: dict[tuple[str, str], Tensor] = {}
        self.name = lw.ranks.shared(token_hex(8))  # by which the processes know what was written
        self.written = 0
        self._under_way: AsyncResult[None] | None = None

    def write(self, folder: Path, tables: Mapping[str, Mapping[str, Tensor]], finish: Callable[[], None]) -> None:
        several = lw.ranks.count() > 1
        tensors = {
            (kind, name): tensor
            for kind, table in tables.items()
            for name, tensor in table.items()
            # what all have alike is the first one's to write
            if lw.ranks.first() or (_begin(tensor) is not None and _held(tensor).numel())
        }
        own = self._copied({key: _held(tensor) for key, tensor in tensors.items()})
        headers = {key: {"saved_offsets": _begin(tensor) or [0] * tensor.dim()} for key, tensor in tensors.items()}
        ending = f"-{lw.ranks.number() + 1:05d}-of-{lw.ranks.count():05d}" if several else ""
        files = {}
        for kind in tables:
            names = [name for table, name in own if table == kind]
            header = {_HEADER: json.dumps({name: headers[kind, name] for name in sorted(names)})} if several else None
            files[folder / f"{kind}{ending}.safetensors"] = {name: own[kind, name] for name in names}, header
        write = partial(self._write, files, finish)
        if not self.background:
            write()
            return
        thread = ThreadPool(1)  # whose thread doesn't keep a process that fails from ending
        self._under_way = thread.apply_async(write)
        thread.close()

    def wait(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.get()

    def _write(
        self, files: Mapping[Path, tuple[dict[str, Tensor], dict[str, str] | None]], finish: Callable[[], None]
    ) -> None:
        for file, (tensors, header) in files.items():
            save_file(tensors, file, header)
        # not by a collective, as training may call others at the same time
        self.written += 1
        lw.ranks.met(f"{self.name}/{self.written}/parts")
        if lw.ranks.first():
            finish()
        lw.ranks.met(f"{self.name}/{self.written}/whole")

    def _copied(self, tensors: Mapping[tuple[str, str], Tensor]) -> dict[tuple[str, str], Tensor]:
        """Tensors on the host. Raises RunFailed if there is no memory for the copies that the background needs."""
        tensors = {key: tensor.detach() for key, tensor in tensors.items()}
        if not self.background:
            # on the host each has to have its memory alone, which a part shares with what fills the last one up
            return {
                key: torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format).copy_(tensor)
                for key, tensor in tensors.items()
            }
        like = {key: (copy.shape, copy.dtype) for key, copy in self.copies.items()}
        new = {key: tensor for key, tensor in tensors.items() if like.get(key) != (tensor.shape, tensor.dtype)}
        needed, free = sum(tensor.nbytes for tensor in new.values()), lw.free_memory()
        if free is not None and needed > free:
            raise lw.RunFailed(
                f"device.save_async keeps a copy of what a checkpoint holds: {needed / 1e9:,.2f} GB of memory "
                f"are needed and {free / 1e9:,.2f} GB are free. Leave device.save_async out"
            )
        for key, tensor in new.items():
            # a GPU copies faster to memory that stays where it is
            self.copies[key] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        if new:  # at the first checkpoint, and where parameters learn only later
            taken, count = sum(copy.nbytes for copy in self.copies.values()), lw.ranks.count()
            where = f", on the first of {count} processes and about as much on each" if count > 1 else ""
            self.tell(
                f"checkpoints are written from copies that take {taken / 1e6:,.3f} MB of the host's memory{where}."
            )
        return {key: self.copies[key].copy_(tensor) for key, tensor in tensors.items()}


def _held(tensor: Any) -> Tensor:
    return getattr(tensor, "_local_tensor", tensor)  # type: ignore[no-any-return]


def _begin(tensor: Any) -> list[int] | None:
    """Where in the whole this process's part of a tensor begins; None if it has all of it."""
    return list(tensor.__create_chunk_list__()[0].offsets) if hasattr(tensor, "_local_tensor") else None
