"""Columns of a table in little memory. N cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Self, overload

import numpy as np

_AT_ONCE = 4096  # cells that are put together, or taken apart
_WIDE = 1 << 32  # bytes, whose number 4 bytes can't tell


class Column(Sequence[str], ABC):
    """Texts of some rows, of which copies of a part can be made."""

    @abstractmethod
    def chosen(self, rows: Iterable[int]) -> Self:
        """The cells of some rows."""

    @abstractmethod
    def _cell(self, index: int) -> str: ...

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self._cell(index) for index in range(len(self))[place]]
        return self._cell(range(len(self))[place])

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(cell == its for cell, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Cells(Column):
    """Texts end to end in one stretch of memory, as UTF-8: many short ones take little more than in their file."""

    def __init__(self, cells: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("I", [0])
        self.extend(cells)

    def append(self, cell: str) -> None:
        self._bytes += cell.encode()
        self._widen()
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            ends = self._ends[first : first + _AT_ONCE + 1]
            start, stretch = ends[0], self._bytes[ends[0] : ends[-1]]
            if stretch.isascii():  # where a byte is a letter it is enough to decode once
                text = stretch.decode()
                yield from [text[begin - start : end - start] for begin, end in pairwise(ends)]
            else:
                yield from [stretch[begin - start : end - start].decode() for begin, end in pairwise(ends)]

    def _cell(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode()

    def chosen(self, rows: Iterable[int]) -> Cells:
        taken, content, ends, rest = Cells(), memoryview(self._bytes), self._ends, iter(rows)
        while some := list(islice(rest, _AT_ONCE)):
            pieces = [content[ends[row] : ends[row + 1]] for row in some]
            taken._put(b"".join(pieces), [len(piece) for piece in pieces])
        return taken

    def extend(self, cells: Iterable[str]) -> None:
        """Put cells behind these."""
        if isinstance(cells, Cells):
            self._put(cells._bytes, np.diff(np.array(cells._ends)))
            return
        rest = iter(cells)
        while some := list(islice(rest, _AT_ONCE)):
            text = "".join(some)
            lengths = map(len, some) if text.isascii() else (len(cell.encode()) for cell in some)
            self._put(text.encode(), [*lengths])

    def _put(self, content: bytes | bytearray, lengths: Sequence[int] | np.ndarray) -> None:
        ends = np.cumsum(lengths, dtype=np.int64) + len(self._bytes)
        self._bytes += content
        self._widen()
        self._ends.frombytes(ends.astype(self._ends.typecode).tobytes())

    def _widen(self) -> None:
        if len(self._bytes) >= _WIDE and self._ends.typecode == "I":
            self._ends = array("Q", self._ends)


class Coded(Column):
    """Texts of which few differ: the different `names`, and for each cell the number of its own, (N,) int32.

    Names come in the order of the cells, and each is some cell's.
    """

    def __init__(self, names: Sequence[str], codes_N: np.ndarray) -> None:
        self.names, self.codes_N = names, codes_N

    @classmethod
    def of(cls, cells: Sequence[str]) -> Coded:
        """The same cells."""
        if isinstance(cells, Coded):
            return cells
        number: dict[str, int] = {}
        codes = (number.setdefault(cell, len(number)) for cell in cells)
        codes_N = np.fromiter(codes, np.int32, len(cells))
        return cls([*number], codes_N)

    def renamed(self, names: Sequence[str]) -> Coded:
        """The cells with another name for each of theirs; what has the same name then becomes one."""
        other = Coded.of(names)
        merged = len(other.names) < len(names)
        return Coded(other.names, other.codes_N[self.codes_N] if merged else self.codes_N)

    def __len__(self) -> int:
        return len(self.codes_N)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from map(self.names.__getitem__, self.codes_N[first : first + _AT_ONCE].tolist())

    def _cell(self, index: int) -> str:
        return self.names[self.codes_N[index]]

    def chosen(self, rows: Iterable[int]) -> Coded:
        codes_N = self.codes_N[np.fromiter(rows, np.int64)]
        used, first, codes_N = np.unique(codes_N, return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they come now
        return Coded([self.names[used[place]] for place in order], np.argsort(order).astype(np.int32)[codes_N])
