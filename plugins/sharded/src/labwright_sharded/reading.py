"""Of a checkpoint what one process holds, however many processes wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor


def own_parts(files: Sequence[Path], parameters: Mapping[str, DTensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint's files, see `Sharding.read` of the core's device.py; parts stay on the host.

    `parameters` are those that are sharded, by their names.
    """
    holders: dict[str, list[Any]] = {}  # name -> the files that have some of its rows, in their order
    for file in files:
        opened: Any = safe_open(file, framework="pt")
        for name in opened.keys():  # noqa: SIM118 - it is no dict
            holders.setdefault(name, []).append(opened)
    tensors: dict[str, Tensor] = {}
    for name, some in holders.items():
        slices = [file.get_slice(name) for file in some]
        lengths = [(piece.get_shape() or [1])[0] for piece in slices]
        shape = (sum(lengths), *slices[0].get_shape()[1:])
        like = next((parameters[piece] for piece in name.split("/") if piece in parameters), None)
        if like is not None and tuple(like.shape) == shape:
            own = _rows(slices, lengths, _first_row(like), like.to_local().shape[0])
            tensors[name] = DTensor(own, like._spec, requires_grad=False)  # type: ignore[no-untyped-call]
        else:
            parts = [file.get_tensor(name) for file in some]
            tensors[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return tensors


def _first_row(tensor: Any) -> int:
    """Where in the whole the rows begin that this process holds."""
    return int(tensor.__create_chunk_list__()[0].offsets[0])


def _rows(slices: Sequence[Any], lengths: Sequence[int], first: int, count: int) -> Tensor:
    """So many rows from the first on, of slices that follow one another."""
    parts, begin = [], 0
    for piece, length in zip(slices, lengths, strict=True):
        start, stop = max(first - begin, 0), min(first + count - begin, length)
        if start < stop:
            parts.append(piece[start:stop])
        begin += length
    return torch.cat(parts) if parts else slices[0][:0]
