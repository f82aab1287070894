"""Pairs of texts in two files, of which a line of one belongs to that line of the other, as Moses has them."""

from __future__ import annotations

from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from labwright import LabwrightError, located
from labwright_tasks.opening import PACKED, no_file, opened
from labwright_tasks.parts import NAMES, part_named
from labwright_tasks.tables import Table

_ENDED = ("", *PACKED)  # a file as it is, or packed


def read_moses(path: Path, endings: Sequence[str], encoding: str | None) -> dict[str, Table]:
    """The pairs of each part that there is, `train` always: those of PATH.en and PATH.de, or of a folder's `train.en`,
    `train.de` and the like.

    Args:
        path: what both files are called up to their endings, or a folder.
        endings: of the sources' files, and of the translations'.
        encoding: of files that aren't in UTF-8.

    Raises LabwrightError for a file that isn't there, and for two whose numbers of lines differ.
    """
    path = path.expanduser()
    if endings[0] == endings[1]:
        raise LabwrightError(
            f"task.data.endings: given {endings[0]!r} twice; the first is of sources, then translations."
        )
    if not path.is_dir():
        return {"train": _pairs(path, endings, encoding)}
    suffixes = {f".{endings[0]}{packed}" for packed in _ENDED}
    stems: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        suffix = next((one for one in suffixes if file.name.endswith(one)), None)
        part = None if suffix is None else part_named(file.name.removesuffix(suffix))
        if suffix is None or part is None:
            continue
        if part in stems:
            raise LabwrightError(f"{path} has two files of sources for {part!r}: {stems[part].name} and {file.name}.")
        stems[part] = path / file.name.removesuffix(suffix)
    if "train" not in stems:
        names = " or ".join(f"{name}.{endings[0]}" for name in NAMES["train"])
        raise LabwrightError(f"task.data.path: {located(path)} has no file {names}, the sources to learn from.")
    return {part: _pairs(stem, endings, encoding) for part, stem in stems.items()}


def _pairs(stem: Path, endings: Sequence[str], encoding: str | None) -> Table:
    files, remarks = [_file(stem, ending) for ending in endings], list[str]()
    sides = [_lines(opened(file, encoding, remarks)) for file in files]
    if len(sides[0]) != len(sides[1]):
        raise LabwrightError(
            f"task.data.endings: {files[0]} has {len(sides[0]):,} lines and {files[1].name} {len(sides[1]):,}: a line "
            "of one belongs to that line of the other, so that they have as many."
        )
    columns = {"text": sides[0], "translation": sides[1]}
    return Table(str(files[0]), columns, range(1, len(sides[0]) + 1), remarks=tuple(remarks))


def _lines(text: TextIO) -> list[str]:
    """Lines as Moses and `wc -l` count them: a carriage return within one ends none."""
    assert isinstance(text, TextIOWrapper)
    text.reconfigure(newline="\n")
    return [line.rstrip("\r\n") for line in text]


def _file(stem: Path, ending: str) -> Path:
    named = [stem.with_name(f"{stem.name}.{ending}{packed}") for packed in _ENDED]
    there = next((file for file in named if file.is_file()), None)
    if there is None:
        raise no_file(named[0], "task.data.endings: there is no file")
    return there
