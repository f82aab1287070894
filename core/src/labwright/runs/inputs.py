"""Inputs that a run's model is asked about, each with what reads it: files, rows of other data, lines, tensors.

Nothing is read here: an input that can't be read spoils no other.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labwright.base.errors import LabwrightError, nearest
from labwright.base.files import printable
from labwright.base.seeding import generator
from labwright.interfaces.task import Task

Reader = Callable[[], tuple[Tensor, ...]]
Say = Callable[[str], None]


def of_path(task: Task, given: str, say: Say, hint: str = "") -> Iterator[tuple[str, Reader]]:
    """The input of a file, or those of a folder, in the order of their names.

    Args:
        task: says which files are read, and reads them.
        given: the path, which is also the name of the file's input.
        say: takes a sentence about what of a folder is left out.
        hint: what else than a path could have been given, for the message where there is none.
    """
    path = Path(given)
    if not path.is_dir():
        yield given, partial(_read, task, path, hint)
        return
    files = task.data.files(path)
    left_out = _left_out(path, files)
    if not files:
        reads = f"it has no file that {type(task.data).__name__} reads"
        yield given, partial(_refuse, f"{reads}; it has {left_out}." if left_out else f"{reads}: it is empty.")
    elif left_out:
        say(f"{printable(given)}: {len(files):,} files read; left out: {left_out}.")
    yield from ((str(file), partial(task.data.read, file)) for file in files)


def of_rows(task: Task, path: Path, say: Say, hint: str = "") -> Iterable[tuple[str, Reader]]:
    """An input for each row of other data, labelled or not; of data without rows, as `of_path`."""
    rows = task.inputs(path)
    return of_path(task, str(path), say, hint) if rows is None else rows


def of_line(task: Task, line: str) -> tuple[str, Reader]:
    """The input that a line of text is to the task."""
    return line.strip(), partial(_parsed, task, line)


def of_tensors(task: Task, given: Any) -> list[tuple[str, Reader]]:
    """An input for each row of a tensor, an array, or a tuple of them: the model's arguments, named by its number.

    Raises LabwrightError for other types and shapes than the model was made for.
    """
    port = task.ports()[0]
    tensors = [torch.as_tensor(one) for one in (given if isinstance(given, tuple) else (given,))]
    rows = tensors[0].shape[:1]
    came = [f"{x.dtype} {tuple(x.shape)}" for x in tensors]
    takes = [f"{x.dtype} {(*rows, *x.shape[1:])}" for x in port.example(1, generator(0))]
    if came != takes:
        raise LabwrightError(
            f"given {' and '.join(came)}; this run's model takes {' and '.join(takes)}, with a row for each input, and "
            f"numbers as the run's data has them: {port}. A file is read as that data is: give its path."
        )
    return [(str(n), partial(tuple, row)) for n, row in enumerate(zip(*(x[:, None] for x in tensors), strict=True))]


def _refuse(why: str) -> tuple[Tensor, ...]:
    raise LabwrightError(why)


def _read(task: Task, path: Path, hint: str) -> tuple[Tensor, ...]:
    _check_file(path, hint)
    return task.data.read(path)


def _parsed(task: Task, line: str) -> tuple[Tensor, ...]:
    if task.line == "file":
        _check_file(Path(line))
    return task.parse(line)


def _check_file(path: Path, hint: str = "") -> None:
    """Raises LabwrightError if there is no file, or one that never ends: a device, pipe or socket."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        beside = (
            map(str, path.parent.iterdir()) if isinstance(error, FileNotFoundError) and path.parent.is_dir() else ()
        )
        near = nearest(str(path), beside)
        raise LabwrightError(f"there is no file or folder {str(path)!r} to read: {reason}{near}{hint}") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket; `-` reads lines from stdin"
        raise LabwrightError(f"{str(path)!r} is no file but {what}.")


def _left_out(folder: Path, files: Iterable[Path]) -> str:
    """What of a folder isn't among the files that are read: endings, hidden files, links to folders, in words."""
    # a link to a folder counts as followed where one of the files was reached through it
    read = set(files)
    followed = {parent for file in read for parent in file.parents}
    found: Counter[str] = Counter()
    for place, folders, names in os.walk(folder, onerror=lambda _: found.update(["folders that can't be read"])):
        links = (path for name in folders if (path := Path(place, name)).is_symlink())
        found.update("links to folders" for path in links if path not in followed)
        for path in (Path(place, name) for name in names):
            if path not in read:
                hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
                found["hidden" if hidden else path.suffix.lower() or "without an ending"] += 1
    return ", ".join(f"{count:,} {printable(what)}" for what, count in found.most_common())
