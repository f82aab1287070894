"""A column of a table in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload


class Cells(Sequence[str]):
    """Texts end to end in one stretch of memory, as UTF-8: many short ones take little more than in their file."""

    def __init__(self, cells: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])
        for cell in cells:
            self.append(cell)

    def append(self, cell: str) -> None:
        self._bytes += cell.encode()
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[index] for index in range(len(self))[place]]
        index = range(len(self))[place]
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        for start, end in pairwise(self._ends):
            yield self._bytes[start:end].decode()

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(cell == its for cell, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Cells({list(self)!r})"

    def chosen(self, rows: Iterable[int]) -> Cells:
        """The cells of some rows."""
        taken = Cells()
        for row in rows:
            taken._bytes += self._bytes[self._ends[row] : self._ends[row + 1]]
            taken._ends.append(len(taken._bytes))
        return taken

    def extend(self, other: Iterable[str]) -> None:
        """Put cells behind these."""
        if not isinstance(other, Cells):
            for cell in other:
                self.append(cell)
            return
        before = len(self._bytes)
        self._bytes += other._bytes
        self._ends.extend(before + end for end in other._ends[1:])
