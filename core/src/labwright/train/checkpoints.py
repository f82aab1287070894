"""Checkpoints: tensors as safetensors, everything else as JSON; written whole or not at all; nothing is ever unpickled.

    checkpoints/step-00000120/
        model.safetensors       parameters and buffers; tied tensors once
        training.safetensors    optimizer state, weight averages, loss scale
        state.json              step, best value, aliases of tied tensors, losses not yet logged
        checksums.json          SHA-256 of each of the others, written last
    checkpoints/tables/NAME/    rows of tables that grow (see Appended), written once for all checkpoints that hold them

A device may have a writer of its own. Where each of several processes holds a part of the parameters, each writes files
of its own, `model-00001-of-00004.safetensors` and so on, and state.json says how large the wholes are: in the order of
the files the parts follow one another.

A folder appears under its name only when every file in it has reached the disk.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from labwright.base import ranks
from labwright.base.errors import LabwrightError, RunFailed, listed, nearest
from labwright.base.files import numbers, sync, write_json
from labwright.data.summary import FILE as SUMMARY
from labwright.data.summary import SPLITS, DataSummary, read_summary, summarised
from labwright.interfaces.device import Writer
from labwright.interfaces.method import Appended
from labwright.interfaces.task import Task

Which = Literal["final", "last", "best"]
CHECKSUMS = "checksums.json"
_DESCRIBED = {CHECKSUMS, SUMMARY, "facts.json"}  # what tells of the data, and changes nothing that is learned
MOST_NAMED = 3  # damaged checkpoints; there may be thousands


class Damaged(LabwrightError):
    """A checkpoint that isn't what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run. `model` and `training` are flat names -> tensors; `state` is ready for JSON."""

    state: dict[str, Any]
    model: dict[str, Tensor]
    training: dict[str, Any]  # tables that are Appended, too


# reads what this process holds of the tensors in some files
Read = Callable[[Sequence[Path]], dict[str, Tensor]]


class Checkpoints:
    """The checkpoints of a run folder. Without a `writer` the first of several processes writes them whole."""

    def __init__(self, folder: Path, writer: Writer | None = None) -> None:
        self.folder, self.writer = folder, writer
        self._building = folder / ".step-building"  # only whole ones have a name without a dot
        self._last = 0  # the step of what was written last
        self.parts: dict[str, list[dict[str, Any]]] = {}  # of each table, what this process has written of it

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps there is a checkpoint of, whole or damaged, ascending."""
        try:
            names = [entry.name for entry in os.scandir(self.folder)]
        except OSError:
            return []
        return sorted(int(name[5:]) for name in names if re.fullmatch(r"step-(\d{8}|[1-9]\d{8,17})", name, re.ASCII))

    def write(self, step: int, checkpoint: Checkpoint, *, keep: int, best: int | None) -> None:
        """Write a checkpoint, then drop all but the `keep` newest and that of step `best`; all processes call it.

        Raises RunFailed if the disk doesn't take it; what was there before stays.
        """
        self.wait()
        self._last = step
        tables, aliases, shapes = {}, {}, {}
        grown = {name: table for name, table in checkpoint.training.items() if isinstance(table, Appended)}
        training = {name: tensor for name, tensor in checkpoint.training.items() if name not in grown}
        for kind, tensors in (("model", checkpoint.model), ("training", training)):
            tables[kind], aliases[kind] = untied(tensors)
            shapes[kind] = {name: list(one.shape) for name, one in tables[kind].items() if one is not held(one)}
        # a copy: it may be written beside the next steps
        state = deepcopy(checkpoint.state) | {"aliases": aliases, "shapes": shapes}
        finish = partial(self._finish, step, state, keep, best)
        with self._told():
            state["tables"] = ranks.by_first(lambda: {name: self._append(name, grown[name]) for name in grown})
            if self.writer is None:
                ranks.by_first(partial(self._write_whole, tables, finish))
            else:
                ranks.by_first(self._begin)
                self.writer.write(self._building, tables, finish)

    def wait(self) -> None:
        """Until what was written last is there; all processes call it. Raises RunFailed as `write` does."""
        if self.writer is not None:
            with self._told():
                self.writer.wait()

    def _begin(self) -> None:
        for pattern in (".step-*", "tables/*/*.part"):  # of a process that was killed
            for unfinished in self.folder.glob(pattern):
                _remove(unfinished)
        self._building.mkdir(parents=True)

    def _write_whole(self, tables: Mapping[str, Mapping[str, Tensor]], finish: Callable[[], None]) -> None:
        self._begin()
        for kind, tensors in tables.items():
            on_host = {}
            for name, tensor in tensors.items():
                copied = tensor.detach().contiguous().cpu()
                whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
                on_host[name] = copied if whole else copied.clone()  # a view would share memory with another
            save_file(on_host, self._building / f"{kind}.safetensors")
        finish()

    def _finish(self, step: int, state: Mapping[str, Any], keep: int, best: int | None) -> None:
        """Give a checkpoint whose tensors are written its name."""
        target = self.path(step)
        before = self.folder / f".{target.name}.before"
        write_json(self._building / "state.json", state)
        seal(self._building)
        if target.exists():  # of the same step, when less was known of it
            # a folder can't be renamed onto one that isn't empty
            target.rename(before)
        self._building.rename(target)
        sync(self.folder)
        _remove(before)
        for old in self.steps()[:-keep]:
            if old not in (best, step):
                _remove(self.path(old))
        if state["tables"]:
            try:
                kept = [json.loads((self.path(one) / "state.json").read_text(encoding="utf-8")) for one in self.steps()]
                needed = {
                    part["file"] for one in kept for table in one.get("tables", {}).values() for part in table["parts"]
                }
            except (OSError, ValueError, TypeError, LookupError, AttributeError):
                return  # a damaged one doesn't say what it needs: nothing is deleted until it is gone
            for file in self.folder.glob(f"tables/*/{'[0-9]' * 12}-{'[0-9]' * 12}.safetensors"):
                if str(file.relative_to(self.folder)) not in needed:
                    file.unlink()

    def _append(self, name: str, table: Appended) -> dict[str, Any]:
        """Write the rows of a table that haven't been written yet. Returns where all of them are."""
        first = table.count - len(table.rows)
        parts = [part for part in self.parts.get(name, ()) if part["stop"] > first]
        start = parts[-1]["stop"] if parts else first
        if table.count > start:
            file = self.folder / "tables" / name.replace("/", ".") / f"{start:012d}-{table.count:012d}.safetensors"
            unfinished = file.with_suffix(".part")
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({"rows": table.rows[start - table.count :].detach().cpu().clone()}, unfinished)
            sync(unfinished)
            unfinished.rename(file)
            sync(file.parent)
            where = {
                "file": str(file.relative_to(self.folder)),
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            parts.append({"stop": table.count, **where})
        self.parts[name] = parts
        return {"count": table.count, "rows": len(table.rows), "parts": list(parts)}

    def _table(self, kept: Mapping[str, Any]) -> Appended:
        """A table as it was at a checkpoint. Raises Damaged naming the file that isn't what was written."""
        rows = []
        for part in kept["parts"]:
            file = self.folder / part["file"]
            content = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(content).hexdigest() != part["sha256"]:
                raise Damaged(f"{file} is damaged: it isn't what was written.")
            rows.append(load(content)["rows"])
        return Appended(torch.cat(rows)[-kept["rows"] :] if kept["rows"] else torch.empty(0), kept["count"])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Within it a disk that takes no more is RunFailed, with what is kept."""
        try:
            yield
        except Exception as error:  # safetensors has an exception of its own for a full disk
            if ranks.first():
                shutil.rmtree(self._building, ignore_errors=True)
            if not _is_io(error):
                raise
            target, older = self.path(self._last), [other for other in self.steps() if other != self._last]
            kept = f"The checkpoint of step {older[-1]} is kept." if older else "There is none before it."
            raise RunFailed(f"can't write the checkpoint {target}: {error.__cause__ or error}. {kept}") from error

    def read(self, step: int, read: Read | None = None) -> Checkpoint:
        """The checkpoint of a step. Raises Damaged naming the file that isn't what was written.

        A process that holds parts of it `read`s those alone. Then all call it, and the first looks at the checksums.
        """
        folder = self.path(step)
        if not folder.exists():
            known = listed(map(str, self.steps()))
            raise Damaged(f"there is no checkpoint {folder}; there are those of steps {known}.")
        # checksums first, so that no library parses bytes that were damaged
        if read is None:
            verify(folder)
        else:
            ranks.by_first(partial(verify, folder))
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            aliases, shapes = state.pop("aliases"), state.pop("shapes", {})  # older ones have no shapes
            model, training = (_load(folder, kind, shapes.get(kind, {}), read) for kind in ("model", "training"))
            for tensors, names in ((model, aliases["model"]), (training, aliases["training"])):
                tensors.update({name: tensors[stored] for name, stored in names.items()})
            state |= {"best": numbers(state["best"]), "metrics": numbers(state["metrics"])}
            training |= {name: self._table(kept) for name, kept in state.pop("tables", {}).items()}
            steps = state["step"], state["best_step"], state["steps_per_epoch"], state["log"], state["recipe"]
        except Damaged:
            raise
        except Exception as error:  # the checksums are right: it was made so by something else
            kind = Damaged if read is None else RunFailed  # where one process alone would look for an older one
            raise kind(f"{folder} was not written by labwright: {type(error).__name__}: {error}.") from error
        if steps[0] != step:
            raise Damaged(f"{folder} holds the checkpoint of step {steps[0]}.")
        return Checkpoint(state, model, training)

    def newest(self, read: Read | None = None) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that is whole, and notes for the person: what is wrong with the newer ones."""
        faults: list[str] = []
        for step in reversed(self.steps()):
            try:
                return self.read(step, read), _some(faults, f"The checkpoint of step {step} is used instead.")
            except Damaged as damage:
                faults.append(str(damage))
        return None, _some(faults, "")

    def chosen(self, which: Which, final: str | None = None, read: Read | None = None) -> tuple[Checkpoint, list[str]]:
        """The checkpoint of a name, and notes: `final` is `best` or `last`, as the run's own `train.final` says.

        Raises LabwrightError if there is none.
        """
        folder = self.folder.parent
        checkpoint, faults = self.newest(read)
        if checkpoint is None:
            raise LabwrightError(f"{folder} has no whole checkpoint. {' '.join(faults)}".strip())
        final = final or checkpoint.state["recipe"]["train"]["final"]
        if which == "best" or (which == "final" and final == "best"):
            best = checkpoint.state["best_step"]
            if best is None and which == "best":
                raise LabwrightError(f"{folder} has no best checkpoint: nothing was evaluated on a `valid` split.")
            checkpoint = checkpoint if best is None else self.read(best, read)
        return checkpoint, faults


class MemoryCheckpoints(Checkpoints):
    """The best checkpoint and the newest, in memory: for a trial, of which nothing but its figures is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: dict[int, Checkpoint] = {}  # the newest too: what an evaluation after it finds may make it the best

    def steps(self) -> list[int]:
        return []

    def write(self, step: int, checkpoint: Checkpoint, *, keep: int, best: int | None) -> None:  # noqa: ARG002
        model = {name: tensor.clone() for name, tensor in checkpoint.model.items()}
        training = {name: tensor.clone() for name, tensor in checkpoint.training.items()}
        self._kept = {other: kept for other, kept in self._kept.items() if other == best}
        self._kept[step] = Checkpoint(deepcopy(checkpoint.state), model, training)

    def read(self, step: int, read: Read | None = None) -> Checkpoint:  # noqa: ARG002 - it holds what it took
        return self._kept[step]


def held(tensor: Tensor) -> Tensor:
    """What this process has of a tensor in its memory: itself, but of one that is sharded (a DTensor) a part."""
    return getattr(tensor, "_local_tensor", tensor)


def untied(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that are stored, each once, and the names that stand for another's tensor."""
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise LabwrightError(f"the state {name!r} is a {type(tensor).__name__}; a checkpoint holds tensors only.")
        own = held(tensor)
        key = (own.device, own.untyped_storage().data_ptr(), own.storage_offset(), tensor.shape, own.stride())
        # empty tensors share a null pointer without being tied
        if own.numel() and key in first:
            aliases[name] = first[key]
            continue
        first[key] = name
        stored[name] = tensor
    return stored, aliases


def _load(folder: Path, kind: str, shapes: Mapping[str, list[int]], read: Read | None) -> dict[str, Tensor]:
    """The tensors of a checkpoint's files of a kind. Raises ValueError if parts of one are missing."""
    tensors = (read or _whole)(sorted(folder.glob(f"{kind}*.safetensors")))
    if torn := [name for name, shape in shapes.items() if name not in tensors or list(tensors[name].shape) != shape]:
        raise ValueError(f"parts of {listed(torn)} are missing")
    return tensors


def _whole(files: Sequence[Path]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    for file in files:
        for name, tensor in load_file(file).items():
            parts.setdefault(name, []).append(tensor)
    return {name: some[0] if len(some) == 1 else torch.cat(some) for name, some in parts.items()}


def split_state(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A module's state: its tensors, and what `get_extra_state` of its parts gives beside them, ready for JSON.

    Raises LabwrightError for extra state that is neither a tensor nor JSON.
    """
    return split_tensors(module.state_dict(), type(module).__name__)


def split_tensors(state: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors and tables of a state, and the rest, which JSON can hold. Raises LabwrightError if it can't."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor | Appended)}
    rest = {name: value for name, value in state.items() if name not in tensors}
    for name, value in rest.items():
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise LabwrightError(
                f"the state {name!r} of {owner} is a {type(value).__name__} that JSON can't hold as it is; what a "
                "checkpoint keeps is a tensor, or text, numbers, lists and tables with names as keys."
            )
    return tensors, rest


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def load_model(model: nn.Module, checkpoint: Checkpoint, origin: Path) -> None:
    """Give a model a checkpoint's state. Raises LabwrightError if it is that of another model."""
    tensors, extra = checkpoint.model, checkpoint.state["extra"]
    own = model.state_dict()
    missing, surplus = own.keys() - tensors.keys() - extra.keys(), (tensors.keys() | extra.keys()) - own.keys()
    if missing or surplus:
        name = min(missing or surplus)
        fault = f"lacks {name!r}" if missing else f"has {name!r}, which this model lacks"
        raise LabwrightError(
            f"{origin} is a checkpoint of another model: it {fault}{nearest(name, surplus if missing else own)}"
        )
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise LabwrightError(
                f"{origin} is a checkpoint of another model: {name!r} has shape {tuple(tensor.shape)} there and "
                f"{tuple(own[name].shape)} here."
            )
    model.load_state_dict({**tensors, **extra})


def seal(folder: Path) -> None:
    """Write the checksums of a folder's files and see that everything has reached the disk."""
    for name in _files(folder):
        sync(folder / name)
    write_json(folder / CHECKSUMS, {str(name): digest(folder / name) for name in _files(folder)})


def verify(folder: Path) -> None:
    """Raises Damaged if a file of a sealed folder is missing, torn, changed or was added."""
    if not folder.is_dir():
        raise Damaged(f"{folder} is {'no folder' if folder.exists() else 'missing'}.")
    try:
        sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        expected = {Path(name): str(checksum) for name, checksum in sums.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise Damaged(f"{folder / CHECKSUMS} is missing or torn.") from error
    present = set(_files(folder))
    for name in sorted(present ^ expected.keys()):
        raise Damaged(f"{folder / name} {'is missing' if name in expected else 'was not written by labwright'}.")
    for name, checksum in expected.items():
        try:
            same = digest(folder / name) == checksum
        except OSError as error:
            raise Damaged(f"{folder / name} can't be read: {error.strerror}.") from error
        if not same:
            raise Damaged(f"{folder / name} is torn or was changed: its checksum differs.")


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def compared_data(task: Task, kept: Path, splits: Iterable[str] = SPLITS) -> tuple[DataSummary, list[str]]:
    """What was read of a task's data, and how some splits differ from those a run's folder tells of, in words.

    Raises LabwrightError if the task has learned something else of its data than the run's had: other samples may be a
    person's choice, while another vocabulary or scale would make the weights nonsense.
    """
    with TemporaryDirectory(prefix="labwright-") as scratch:
        task.save(Path(scratch))
        names = {
            str(path.relative_to(top)) for top in (kept, Path(scratch)) for path in top.rglob("*") if path.is_file()
        }
        _, differing, missing = filecmp.cmpfiles(kept, scratch, names - _DESCRIBED, shallow=False)
    if differing or missing:
        raise LabwrightError(
            f"task.data: the task learns something else of this data than the run did "
            f"({listed(sorted(differing + missing))} in {kept}): the run's model would be given other numbers for the "
            "same things. Put the data back as it was, or begin a new run; `labwright predict` answers for any input."
        )
    now, then = summarised(task.data), read_summary(kept)
    return now, now.differences(then, splits) if then else []


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            yield path.relative_to(folder)


def _remove(path: Path) -> None:
    """Remove what lies under the name of a checkpoint, be it a folder or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _some(faults: list[str], instead: str) -> list[str]:
    """The first few faults, how many more there are, and what is used instead."""
    more = len(faults) - MOST_NAMED
    notes = faults if more <= 0 else [*faults[:MOST_NAMED], f"{more} more checkpoints are damaged."]
    return [*notes[:-1], f"{notes[-1]} {instead}".strip()] if notes else []


def _is_io(error: Exception) -> bool:
    return isinstance(error, OSError | RunFailed) or type(error).__name__ == "SafetensorError"
