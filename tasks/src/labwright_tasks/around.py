"""Data around other data: what a fold, masked texts and added pictures have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self, cast

from labwright import Data, Finding, LeftOut, Port, Split
from torch import Tensor


class Around(Data, ABC):
    """Other data, of which a derived class changes something: whatever it doesn't define is the other data's.

    The other data is `data`; a derived class has it as a part, `Annotated[Data, Part("data")]`, and gives it on. One
    that changes which samples a split has defines `split`, `place`, `identity` and `checks`, which count them.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.item, self.target = data, data.item, data.target  # type: ignore[misc]
        self.suffixes, self.line, self.in_memory = data.suffixes, data.line, data.in_memory  # type: ignore[misc]
        self.independent = data.independent

    def starts_from(self, folder: Path) -> None:
        self.data.starts_from(folder)

    def prepare(self) -> None:
        self.data.prepare()

    def ports(self) -> tuple[Port, Port]:
        return self.data.ports()

    def split(self, name: str) -> Split | None:
        return self.data.split(name)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.data.read(path)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return self.data.parse(line)

    def decode(self, content: bytes, suffix: str) -> tuple[Tensor, ...]:
        return self.data.decode(content, suffix)

    def files(self, folder: Path) -> list[Path]:
        return self.data.files(folder)

    def on(self, path: Path) -> Self:
        return cast(Self, self.data.on(path))  # all of what is measured is the other data's

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        return self.data.inputs(path)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return self.data.show(inputs)

    def left_out(self) -> Sequence[LeftOut]:
        return self.data.left_out()

    def remarks(self) -> Sequence[str]:
        return self.data.remarks()

    def checks(self) -> Iterable[Finding]:
        return self.data.checks()

    def place(self, split: str, index: int) -> str:
        return self.data.place(split, index)

    def noticed(self) -> Sequence[str]:
        return self.data.noticed()

    def identity(self, split: str) -> Iterable[str] | None:
        return self.data.identity(split)

    def save(self, folder: Path) -> None:
        self.data.save(folder)

    def load(self, folder: Path) -> None:
        self.data.load(folder)
