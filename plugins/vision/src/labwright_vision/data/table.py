"""The user's own pictures, named by a table with what is to be said of each. N pictures."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from labwright import Classes, Heads, LabwrightError, LeftOut, Port, Values, When
from labwright import Image as ImagePort
from labwright_tasks import other_data
from labwright_tasks.answers import Answers, answers_of, several
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.other_data import drift, none_known, unknown
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.sample_columns import Group
from labwright_tasks.tables import Table, read_table
from pydantic import Field
from torch import Tensor

from labwright_vision.data.archive import Archived
from labwright_vision.data.augment import Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.checking import examined
from labwright_vision.data.folders import Found, Tally, existing, expanded
from labwright_vision.data.own_pictures import Background, Channels, Files, OnDamaged, OwnPictures, Reader, Size, White
from labwright_vision.data.pictures import Share, held_out
from labwright_vision.data.policies import Erase, Policy
from labwright_vision.data.reading import Facts
from labwright_vision.data.seen import Picture, of_pictures, readable, remarks

Column = Annotated[str, Field(min_length=1)]


class PictureTable(OwnPictures):
    """Pictures that a table names, and what is to be said of each: CSV, TSV, JSON Lines, Parquet, as published.

    Parts are tables of their own, or what `parts` says. What is held out for one that isn't there is of each class in
    proportion, where pictures have one; with `group`, such as a column of patients, of whole groups. Settings of
    pictures are those of `vision/image-folder`.

    Args:
        path: the table, several by a pattern, or a folder with tables called `train`, `valid` and `test`.
        picture: column of the pictures' names, as paths below `folder`.
        label: column of what is to be said of a picture, or several columns, which are heads for the task `multi`.
        targets: what a cell of `label` is: a class; a number, for the task `regression`; or any number of labels, a
            list or texts with the `separator` between them, each of which is a head, yes or no, for the task `multi`.
        separator: what stands between the labels of a cell.
        folder: folder or zip archive of the pictures; left out: where the table is.
        suffix: ending that is added to names without one, such as .jpg.
        parts: which rows are held out: a `column` of parts, or files `valid` and `test` with the rows of these, or with
            identifiers that stand in `column`.
    """

    source = "files of yours"
    licence = "yours"
    kept = "picture_table.json"

    def __init__(
        self,
        *,
        path: Path,
        picture: Column = "path",
        label: Column | Annotated[tuple[Column, ...], Field(min_length=1)] = "label",
        targets: Literal["classes", "numbers", "several"] = "classes",
        separator: Annotated[str, Field(min_length=1), When("targets", "several")] = ";",
        folder: Path | None = None,
        suffix: Annotated[str, Field(pattern=r"(\.\w+)?")] = "",
        parts: Parts | None = None,
        group: Group = None,
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        size: Size = 64,
        channels: Channels = 3,
        background: Background = "white",
        white: White | None = None,
        on_damaged: OnDamaged = "refuse",
        valid: Share = 0.1,
        test: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
        crop: Crop = 0.0,
        jitter: Jitter = 0.0,
        grey: Grey = 0.0,
        policy: Policy = None,
        erase: Erase = 0.0,
    ) -> None:
        moved: dict[str, Any] = {"rotate": rotate, "shift": shift, "scale": scale, "flip": flip, "crop": crop}
        shown: dict[str, Any] = {"jitter": jitter, "grey": grey, "policy": policy, "erase": erase}
        super().__init__(size=size, channels=channels, background=background, white=white, **moved, **shown)
        if targets == "several" and isinstance(label, tuple):
            raise LabwrightError(
                f"task.data.targets: several labels stand in one column, and task.data.label names {len(label)}; "
                "columns of a label each are classes."
            )
        if valid + test >= 1:
            raise LabwrightError(f"task.data: valid {valid} and test {test} leave nothing to learn from.")
        self.path, self.folder, self.suffix, self.parts, self.group = path, folder, suffix, parts, group
        self.format = Written(delimiter, columns, quote, encoding)
        self.said = {f"label {name}": name for name in label} if isinstance(label, tuple) else {"label": label}
        self.columns = {"picture": picture, **self.said}
        self.targets, self.separator = targets, separator if targets == "several" else None
        self.on_damaged, self.valid, self.test = on_damaged, valid, test
        alone = Values if targets == "numbers" else Classes
        self.target = Heads if isinstance(label, tuple) or targets == "several" else alone  # type: ignore[misc, assignment]
        self.answers = Answers({"label": ()})
        self._tables: dict[str, Table] = {}

    def prepare(self) -> None:
        more = {} if self.group is None else {"group": self.group}
        published = read_parts(
            self.path, {**self.columns, **more}, written=self.format, parts=self.parts, lists=self._lists()
        )
        tables, left_out = {}, list(published.left_out)
        for part, table in published.tables.items():
            tables[part], bare = self._usable(table)
            left_out += bare
        root, tally = self._root(), Tally()
        whole = self._looked_at(root, tables, tally)
        tables = {part: tables[part].take(picture.label for picture in some) for part, some in whole.items()}
        shared = self._shared_groups(tables)  # those that are held out are none
        chosen = self._held_out(tables)
        self.answers = answers_of(
            chosen["train"], [*self.said], numbers=self.targets == "numbers", separator=self.separator
        )
        self.names = tuple(self.answers.names.get("label") or ())
        augment = self.augment(len(chosen["train"]))
        by_name = {picture.name: picture for some in whole.values() for picture in some}
        pictures = {part: [by_name[name] for name in table["picture"]] for part, table in chosen.items()}
        for part, table in chosen.items():
            self._splits[part] = self._files(pictures[part], table, augment if part == "train" else ())
            self._identities[part] = _identity(pictures[part], table)
        self._tables = {part: replace(table, columns={}) for part, table in chosen.items()}
        self.facts = self.facts_of(self._splits["train"])
        self._left_out = [*left_out, *self.answers.unknown(chosen.values()), *tally.left_out()]
        listed = self._as_listed(pictures, chosen)
        said = "under two classes" if self.target is Classes else "with different labels"
        seen = remarks(listed, background=self.background, white=self.white, channels=self.channels, torn=said)
        self._remarks = [*published.remarks, *shared, *seen]

    def ports(self) -> tuple[Port, Port]:
        return ImagePort(self.channels, self.size, self.size), self.answers.port()

    def on(self, path: Path) -> Self:
        """The pictures and labels of another table."""
        other, tally = copy(self), Tally()
        table, left_out = self._usable(read_table(path, self.columns, written=self.format, lists=self._lists()))
        names, strange = self.answers.names.get("label"), list[str]()
        if names is not None and self.answers.alone:
            strange = [label for label in table["label"] if label not in names]
            if len(strange) == len(table):
                raise none_known(path, table["label"], names, "label")
            table = table.take(row for row, label in enumerate(table["label"]) if label in names)
        other.path = path
        root = other._root()
        part = self._looked_at(root, {"test": table}, tally)["test"]
        table = table.take(picture.label for picture in part)
        split = self._files(part, table, ())
        other._splits, other._identities = {"test": split}, {"test": _identity(part, table)}
        other._tables = {"test": replace(table, columns={})}
        other._left_out = [*left_out, *unknown(strange, "pictures"), *self.answers.unknown([table]), *tally.left_out()]
        other._remarks = [
            *table.remarks,
            *of_pictures(part, background=self.background, white=self.white, channels=self.channels),
            *drift(self.facts_of(split), self.facts, len(split)),
        ]
        return other

    def _as_listed(
        self, pictures: Mapping[str, Sequence[Picture]], tables: Mapping[str, Table]
    ) -> dict[str, list[Picture]]:
        """The pictures of each part by the rows that name them; the same `label` is all that is said being the same."""
        number: dict[tuple[Any, ...], int] = {}
        listed: dict[str, list[Picture]] = {}
        for part, some in pictures.items():
            rows = zip(*(map(str, tables[part][column]) for column in self.said), strict=True)
            listed[part] = [
                replace(picture, label=number.setdefault(said, len(number)), name=f"{picture.name} ({where})")
                for picture, said, where in zip(some, rows, map(tables[part].where, range(len(some))), strict=True)
            ]
        return listed

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The pictures that a table names, with labels or without."""
        return self._named(path) if path.is_file() and path.suffix.lower() not in self.suffixes else None

    def _named(self, path: Path) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        other = copy(self)
        other.path = path
        root, reader = other._root(), self.reader()
        table = read_table(path, {"picture": self.columns["picture"]}, written=self.format)
        for row, name in enumerate(table["picture"]):
            yield f"{name} ({table.where(row)})", partial(self._pictured, reader, root, name)

    def _pictured(self, reader: Reader, root: Found, name: str) -> tuple[Tensor, ...]:
        place = root / self._file(name)
        if not _is_there(place):
            raise LabwrightError(f"{place}: there is no such file.")
        return (reader([place]),)

    def _file(self, name: str) -> str:
        """What a picture is called, with its ending."""
        name = name.strip()
        return f"{name}{'' if Path(name).suffix else self.suffix}"

    def place(self, split: str, index: int) -> str:
        return f"{self._splits[split].paths[index]} ({self._tables[split].where(index)})"

    def save(self, folder: Path) -> None:
        kept = {"answers": self.answers.names, "size": self.size, "channels": self.channels}
        (folder / self.kept).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / self.kept).read_text(encoding="utf-8"))
        names = {column: of if of is None else tuple(of) for column, of in kept["answers"].items()}
        self.answers, self.size, self.channels = Answers(names, self.separator), kept["size"], kept["channels"]
        self.names = tuple(names.get("label") or ())
        self.facts = other_data.kept(folder)

    def _lists(self) -> list[str]:
        return [*self.said.values()] if self.separator is not None else []

    def _root(self) -> Found:
        """Where the pictures are: `folder`, or where the table is."""
        if self.folder is not None:
            return existing(expanded(self.folder), "task.data.folder")
        path = expanded(self.path)
        return path if path.is_dir() else path.parent

    def _usable(self, table: Table) -> tuple[Table, list[LeftOut]]:
        """The rows that name a picture and say something of it, in the usual spelling; and how many don't."""
        table, left_out = table.filled(*(["picture"] if self.separator is not None else ["picture", tuple(self.said)]))
        names = Cells(map(self._file, table["picture"]))
        columns = {**table.columns, "picture": names}
        if self.separator is not None:
            columns["label"] = Cells(cell if several(cell, self.separator) else "[]" for cell in table["label"])
        elif self.targets == "classes":
            columns |= {name: table.names(name) for name in self.said}
        return replace(table, columns=columns), left_out

    def _looked_at(self, root: Found, tables: Mapping[str, Table], tally: Tally) -> dict[str, list[Picture]]:
        """The pictures of each table that can be read, whose `label` is their row."""
        parts = {}
        for part, table in tables.items():
            places = [root / name for name in table["picture"]]
            there = [_is_there(place) for place in places]
            seen = iter(examined(root, [place for place, known in zip(places, there, strict=True) if known]))
            parts[part] = [
                Picture(place, row, next(seen) if known else Facts("", "there is no such file"), name, 0)
                for row, (place, known, name) in enumerate(zip(places, there, table["picture"], strict=True))
            ]
        whole = readable(root, parts, tally, leave_out=self.on_damaged == "leave-out", white=self.white)
        for part, some in whole.items():
            if not some:
                raise LabwrightError(f"{tables[part].origin}: no picture of {part} can be read in {root}.")
        return whole

    def _shared_groups(self, tables: Mapping[str, Table]) -> list[str]:
        """A sentence for each part with groups of `train`. Raises LabwrightError for a row without a group."""
        if self.group is None:
            return []
        groups = {part: table.names("group") for part, table in tables.items()}
        for part, cells in groups.items():
            if "" in cells:
                raise LabwrightError(f"{tables[part].where(cells.index(''))}: task.data.group: the row has no group.")
        sentences = []
        for part in ("valid", "test"):
            both = sorted({*groups.get(part, ())} & {*groups["train"]})
            if both:
                sentences.append(
                    f"{len(both):,} groups of {part} are in train as well, such as {both[0]!r}: {part} flatters."
                )
        return sentences

    def _held_out(self, tables: dict[str, Table]) -> dict[str, Table]:
        """The tables, with shares of `train` for parts that are wanted and aren't there."""
        rest, tables, left = tables["train"], dict(tables), 1.0
        for name in ("test", "valid"):
            share = 0.0 if name in tables else getattr(self, name)
            if not share:
                continue
            mask = self._chosen(rest, share / left)
            if not mask.any() or mask.all():
                what = "rows are too few" if self.group is None else "rows are in groups too large"
                raise LabwrightError(
                    f"{rest.origin}: {len(rest):,} {what} to hold out {share} of them: change task.data.{name}, or set "
                    "it to 0."
                )
            tables[name], rest = rest.take(np.flatnonzero(mask)), rest.take(np.flatnonzero(~mask))
            left -= share
        return tables | {"train": rest}

    def _chosen(self, rows: Table, share: float) -> np.ndarray:
        """Which rows are held out: of each class in proportion, by a hash of their names; or whole groups."""
        if self.group is not None:
            groups = rows.names("group")
            counts = Counter(groups)
            order = sorted(counts, key=_key)
            sizes = np.cumsum([counts[group] for group in order])
            out = set(order[: int(np.searchsorted(sizes, share * len(rows), side="right"))])
            return np.array([group in out for group in groups])
        by = rows["label"] if self.target is Classes else [""] * len(rows)
        number = {label: index for index, label in enumerate(sorted(set(by)))}
        return held_out([number[label] for label in by], share, [_key(name) for name in rows["picture"]])

    def _files(self, part: Sequence[Picture], table: Table, augment: Sequence[object]) -> Files:
        labels: Tensor | dict[str, Tensor] = self.answers.of(table)
        return Files([picture.path for picture in part], labels, self.reader(), augment)  # type: ignore[arg-type]


def _is_there(place: Found) -> bool:
    if isinstance(place, Archived):
        above, _, name = place.inner.rpartition("/")
        return place.archive.inside.get(above, {}).get(name) is False
    return place.is_file()


def _identity(pictures: Sequence[Picture], table: Table) -> list[str]:
    said = zip(*(cells for column, cells in table.columns.items() if column != "picture"), strict=True)
    return [f"{picture.name} {picture.facts.digest} {cells}" for picture, cells in zip(pictures, said, strict=True)]


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8])
