"""What a layout tells of a folder: its pictures with their boxes, before any picture is decoded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labwright import LabwrightError
from labwright_tasks.parts import part_named

from labwright_vision.data.archive import Archived, archived
from labwright_vision.data.folders import Found, Tally, found, name_below

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Record:
    """A picture: its file, its name below the root, the part it belongs to, and its boxes with their classes.

    Boxes are left, top, right and bottom in pixels, or with `relative` in shares of the sides. `crowd` are those in
    which nothing is right or wrong. `size` is the width and height that the annotation gives, if it does. `outlines`
    are COCO's segmentations of the boxes; other layouts have none.
    """

    path: Found
    name: str
    part: str | None
    boxes: list[Box] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    size: tuple[int, int] | None = None
    relative: bool = False
    outlines: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Passed:
    """What a layout passes over, such as "annotation", and why, by their names."""

    what: str
    why: str
    names: list[str]


@dataclass(frozen=True)
class Annotations:
    """All that a layout tells: the classes in the order of their labels, the pictures, and what it passes over."""

    names: tuple[str, ...]
    records: list[Record]
    passed: Sequence[Passed] = ()


class Pictures:
    """The pictures below a folder, in zip archives that lie in it as well, found by what annotations call them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        zips = [archived(path) for path in sorted(root.glob("*.zip"))]
        self.all = [*found(root, Tally()), *(path for one in zips for path in found(one, Tally()))]
        self._called: dict[str, list[Found]] = defaultdict(list)
        self._stems: dict[str, list[Found]] = defaultdict(list)
        for path in self.all:
            self._called[path.name].append(path)
            self._stems[path.name.rpartition(".")[0] or path.name].append(path)

    def called(self, name: str, near: Path, part: str | None, source: str) -> Found:
        """The picture that an annotation in the folder `near` calls `name`, perhaps with folders before it.

        Raises LabwrightError, which names the `source`, where there is none, or several of which none is nearer.
        """
        name = name.removeprefix("./")
        named = [path for path in self._called[name.rpartition("/")[2]] if f"/{path}".endswith(f"/{name}")]
        return self._one(named, name, near, part, source)

    def with_stem(self, stem: str, near: Path, part: str | None, source: str) -> Found:
        """The picture of that name, whatever its suffix."""
        return self._one(self._stems[stem], stem, near, part, source)

    def _one(self, candidates: Sequence[Found], name: str, near: Path, part: str | None, source: str) -> Found:
        for nearer in (
            [path for path in candidates if isinstance(path, Path) and near in path.parents],
            [path for path in candidates if part is not None and part_of(path, self.root) == part],
            candidates,
        ):
            if len(nearer) == 1:
                return nearer[0]
        if not candidates:
            raise LabwrightError(f"{source}: there is no picture {name!r} anywhere below {self.root}.")
        raise LabwrightError(
            f"{source}: {len(candidates)} pictures are called {name!r}, such as {candidates[0]} and {candidates[1]}: "
            "which is meant? Give the folders before its name, or keep one."
        )


def part_of(path: Found, root: Path) -> str | None:
    """The part that a file is in by the nearest folder or archive above it: `train2017` and `val/images` are some."""
    inner = name_below(path, root).split("/")[:-1]
    archive = [path.path.stem] if isinstance(path, Archived) else []
    return next((part for name in [*reversed(inner), *archive] if (part := part_within(name))), None)


def part_within(name: str) -> str | None:
    """The part that a name such as `instances_val2017` speaks of."""
    return next((part for word in re.findall(r"[a-z]+", name.casefold()) if (part := part_named(word))), None)


def below(root: Path, *suffixes: str) -> Iterator[Path]:
    """The files with these suffixes anywhere below a folder, sorted, without hidden ones."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.name.endswith(suffixes) and path.is_file() and not hidden:
            yield path


def numbers(values: object, source: str) -> Box:
    """Four numbers. Raises LabwrightError, which names the source, for anything else."""
    if (
        isinstance(values, list | tuple)
        and len(values) == 4
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    ):
        return float(values[0]), float(values[1]), float(values[2]), float(values[3])
    raise LabwrightError(f"{source}: a box is four numbers, given {values!r}.")
