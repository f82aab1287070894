"""Tables of the parts of data as they are published: in files of their own, named by a column, or listed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed, nearest

from labwright_tasks.delimited import Written
from labwright_tasks.opening import Source, members, opened, sources_of
from labwright_tasks.parts import NAMES, part_named
from labwright_tasks.tables import SUFFIXES, Table, name_of, read_table, told

_PART = "the part"  # no setting is called so
_SHARD = re.compile(r"([a-z]+)([-_.]?\d+(?:-of-\d+)?)?")  # train, train-00000-of-00004, test_1
_HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what systems leave in folders, besides names with a dot
_NAMED = 3  # files that aren't used


@dataclass(frozen=True)
class Parts:
    """A split that was published, a setting of data that reads tables.

    `valid` and `test` are files with the rows of that part. With `column` these, and `train`, are lists instead: texts
    with an identifier in each line, that stand in that column. A `column` alone says of each row which part it is of.
    """

    column: str | None = None
    train: Path | None = None
    valid: Path | None = None
    test: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        named = {part.name: getattr(self, part.name) for part in fields(self) if part.name in NAMES}
        return {part: path for part, path in named.items() if path is not None}


@dataclass(frozen=True)
class Published:
    """The table of each part that there is, `train` always; what was left out; and what to know of it."""

    tables: dict[str, Table]
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_parts(
    path: Path,
    columns: Mapping[str, str],
    *,
    optional: Mapping[str, str] | None = None,
    every: bool = False,
    written: Written,
    parts: Parts | None = None,
    setting: str = "task.data.path",
    lists: Collection[str] = (),
) -> Published:
    """The tables of all parts: those of a folder's or an archive's files that are called like parts, or as `parts` say.

    The other arguments are those of `read_table`. Raises LabwrightError as that does, and where nothing is left for
    `train`, files are no parts, or two are the same one.
    """

    def read(some: Path | Sequence[Path], more: Mapping[str, str], where: str = setting) -> Table:
        wanted = {**(optional or {}), **more}
        return read_table(some, columns, optional=wanted, every=every, written=written, setting=where, lists=lists)

    path = path.expanduser()
    parts = parts or Parts()
    files, left_out = files_of_parts(path, setting)
    if files and (parts.column or parts.files):
        raise LabwrightError(f"task.data.parts: the files in {path} are parts already; leave it out, or name one file.")
    if not parts.column:
        if "train" in parts.files:
            raise LabwrightError(
                f"task.data.parts.train: {setting} is the file to learn from; a list of what to learn from goes with "
                "task.data.parts.column."
            )
        tables = {part: read(paths, {}) for part, paths in (files or {"train": [path]}).items()}
        tables |= {part: read(file, {}, f"task.data.parts.{part}") for part, file in parts.files.items()}
        return _with_remarks(tables, left_out)
    table = read(path, {_PART: parts.column})
    key = parts.column if every else _PART
    if key not in table:
        _missing(path, parts.column, written, setting)
    names = _listed(table.names(key), parts.files, table) if parts.files else _named(table, key, parts.column)
    tables = {}
    for part in dict.fromkeys(["train", *NAMES]):
        rows = [row for row, name in enumerate(names.parts) if name == part]
        if rows or part == "train":
            tables[part] = table.take(rows)
    if not len(tables["train"]):
        raise LabwrightError(f"task.data.parts: no row of {table.origin} is one to learn from.")
    return _with_remarks(tables, [*left_out, *names.left_out], [*table.remarks, *names.remarks])


def part_of(cell: str, column: str, where: str) -> str:
    """The part that a cell of a column names, "" for none. Raises LabwrightError for what is no part's name."""
    part = part_named(cell.strip())
    if cell.strip() and part is None:
        known = [name for names in NAMES.values() for name in names]
        raise LabwrightError(
            f"{where}: column {column!r} says {cell!r}{nearest(cell, known)} It is one of {listed(known)}."
        )
    return part or ""


@dataclass(frozen=True)
class _Rows:
    """The part of each row, "" for none."""

    parts: list[str]
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _named(table: Table, key: str, column: str) -> _Rows:
    parts = [part_of(cell, column, table.where(row)) for row, cell in enumerate(table[key])]
    bare = parts.count("")
    remarks = [f"{bare:,} rows have no part in column {column!r}: taken for training."] if bare else []
    return _Rows([part or "train" for part in parts], remarks=remarks)


def _listed(identifiers: Sequence[str], lists: Mapping[str, Path], table: Table) -> _Rows:
    """Rows by lists of identifiers; those on none are `train`, unless that has a list."""
    part_by_name: dict[str, str] = {}
    for part, file in lists.items():
        for name in _names_in(file, f"task.data.parts.{part}"):
            other = part_by_name.setdefault(name, part)
            if other != part:
                raise LabwrightError(f"task.data.parts: {name!r} is on the list of {other} and on that of {part}.")
    known = set(identifiers)
    missing = [name for name in part_by_name if name not in known]
    if len(missing) == len(part_by_name):
        raise LabwrightError(
            f"task.data.parts: none of the {len(missing):,} names on the lists, such as {missing[0]!r}, stands in the "
            f"column of {table.origin}, which has {identifiers[0]!r}."
        )
    rest = "" if "train" in lists else "train"
    parts = [part_by_name.get(name, rest) for name in identifiers]
    bare = parts.count("")
    return _Rows(
        parts,
        [LeftOut(bare, "row" if bare == 1 else "rows", "on no list of task.data.parts")] if bare else [],
        [f"lists name {len(missing):,} that no row has, such as {missing[0]!r}."] if missing else [],
    )


def _names_in(file: Path, setting: str) -> Iterator[str]:
    for source in sources_of(file, setting):
        for line in opened(source):
            name = name_of(line)
            if name:
                yield name


def _missing(path: Path, column: str, written: Written, setting: str) -> None:
    """Raise what is said of a column that isn't there."""
    read_table(path, {"parts.column": column}, written=written, setting=setting)


def _with_remarks(tables: dict[str, Table], left_out: list[LeftOut], remarks: Sequence[str] | None = None) -> Published:
    return Published(tables, left_out, told(tables.values()) if remarks is None else [*remarks])


def files_of_parts(path: Path, setting: str) -> tuple[dict[str, list[Path]], list[LeftOut]]:
    """The files of each part, by their names, if they are in a folder or several in an archive; else none.

    Raises LabwrightError for two files of a part, and where none is for training.
    """
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".zip"):
        return {}, []
    archive = not path.is_dir()
    inside = members(path) if archive else [Source(file) for file in sorted(path.iterdir())]
    files: dict[str, list[Path]] = {}
    whole: dict[str, bool] = {}  # whether one of them has no number
    others: list[str] = []
    hidden = 0
    for source in inside:
        file = source.path / source.member
        shard = _SHARD.fullmatch(source.name.removesuffix(source.suffix)) if source.suffix in SUFFIXES else None
        part = part_named(shard[1]) if shard else None
        if file.name.startswith(".") or file.name in _HIDDEN:
            hidden += 1
        elif shard is None or part is None or not (archive or file.is_file()):
            others.append(file.name)
        else:
            files.setdefault(part, []).append(file)
            whole[part] = whole.get(part, False) or not shard[2]
    for part, paths in files.items():
        if len(paths) > 1 and whole[part]:
            raise LabwrightError(
                f"{path} has two files for {part!r}: {' and '.join(file.name for file in paths)}. Put their rows "
                "together, or move one of them away."
            )
    if "train" not in files:
        if archive:
            return {}, []
        names = ", or ".join(f"`{name}`" for name in NAMES["train"])
        found = [file.name for paths in files.values() for file in paths]
        raise LabwrightError(
            f"{path} has no file {names} with an ending of {listed(SUFFIXES)}; it has {listed([*found, *others])}. One "
            f"file is given by its name, several by a pattern: {setting}={path}/*.csv."
        )
    reasons = [(len(others), f"no part's name: {listed(others, _NAMED)}"), (hidden, "hidden")]
    return files, [LeftOut(count, "file" if count == 1 else "files", why) for count, why in reasons if count]
