"""Data: a dataset behind a task, its splits, and the batches they give. B batch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from labwright.base.errors import LabwrightError, listed
from labwright.data.ports import Image, Port


@dataclass(frozen=True)
class Batch:
    """Samples side by side: `inputs` are the model's positional arguments, each with B rows; `targets` has B rows.

    Of several heads `targets` is a dict of such tensors by name. A task that needs more fields derives its own frozen
    dataclass; every tensor, also in a tuple or a dict, is moved along.
    One whose tensors don't all have a row for each sample, or that counts something, has its own `rows`.

    Example: `lw.Batch(inputs=(x_BCHW,), targets=labels_B)`
    """

    inputs: tuple[Tensor, ...]
    targets: Any

    def __len__(self) -> int:
        return len(self.inputs[0])

    def rows(self, some: slice) -> Self:
        """Some of the samples: what accumulation cuts an update's batch into."""
        count = len(self)
        return replace(
            self, **{field.name: _cut(getattr(self, field.name), some, count, field.name) for field in fields(self)}
        )

    def to(self, device: torch.device) -> Self:
        """The same batch on a device; the copy doesn't wait where the memory is pinned."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory; called by loader workers when the device is a GPU."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{field.name: with_tensors(getattr(self, field.name), change) for field in fields(self)})


class Input(tuple[Tensor, ...]):
    """One input as a model's arguments with one row each, and its `origin`: what `Task.predict` needs beside them.

    Such as a picture's size for boxes in it, or a text's words for a span of them.

    Example: `lw.Input((x_1CHW,), origin=(height, width))`
    """

    origin: Any

    def __new__(cls, arguments: Iterable[Tensor], origin: Any = None) -> Self:
        made = super().__new__(cls, arguments)
        made.origin = origin
        return made


@runtime_checkable
class Split(Protocol):
    """A part of a dataset: `train`, `valid` or `test`.

    Example: `split.fetch(torch.tensor([4, 2]), epoch=0, seed=0)`
    """

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        """The samples at `indices` (int64, shape (B,)) as one batch.

        Augmentation depends on (seed, epoch, index) alone: neither on the order of calls nor on what else is asked for.
        """
        ...


@runtime_checkable
class Labelled(Protocol):
    """A split of classes that knows its labels, (N,) int64, without fetching its inputs.

    Example: `counts_C = split.labels.bincount() if isinstance(split, lw.Labelled) else None`
    """

    labels: Tensor


@runtime_checkable
class Ragged(Protocol):
    """A split of sequences that knows how long each is, (N,) int64: batches of `train` hold those of like length.

    Example: `longest = int(split.lengths.max()) if isinstance(split, lw.Ragged) else None`
    """

    lengths: Tensor


@runtime_checkable
class Sharded(Protocol):
    """A split of shards, one after another, that are best read a few at a time: how many samples each has, (S,) int64.

    `train` goes through `window` shards drawn at random, whose samples are mixed, then through the next so many.

    Example: `most = int(split.shards.max()) * split.window if isinstance(split, lw.Sharded) else len(split)`
    """

    shards: Tensor
    window: int


@runtime_checkable
class Augmented(Protocol):
    """A split that changes its samples from epoch to epoch.

    Example: `part = part.plain() if isinstance(part, lw.Augmented) else part`
    """

    def plain(self) -> Split:
        """The same samples as they are: what is measured, and looked at."""
        ...


@dataclass(frozen=True)
class LeftOut:
    """Something of the data that isn't used: how many of what, and why; read as "10 files left out: .jfif".

    Example: `lw.LeftOut(10, "files", ".jfif")`
    """

    count: int
    what: str
    why: str


@dataclass(frozen=True)
class Finding:
    """Something about samples that a person should look at, as `labwright check-data` tells it in a sentence.

    `samples` are the split and the index of each, the worst first; `details` say something of each, or are none at all.
    `wrong` sets what spoils training or its measure apart from what is only odd.

    Example: `lw.Finding("recordings", "1 recording is silent.", (("train", 4),), wrong=True)`
    """

    check: str
    sentence: str
    samples: tuple[tuple[str, int], ...] = ()
    details: tuple[str, ...] = ()
    wrong: bool = False


@dataclass(frozen=True)
class TensorSplit:
    """A split that lies in memory: each of `inputs`, and `labels`, has a row for each sample. Nothing is augmented.

    Of several heads `labels` is a dict of tensors by name.

    Example: `lw.TensorSplit((x_NF,), labels_N)`
    """

    inputs: tuple[Tensor, ...]
    labels: Any

    def __len__(self) -> int:
        return len(self.inputs[0])

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        return Batch(*(with_tensors(value, lambda tensor: tensor[indices]) for value in (self.inputs, self.labels)))


class Data(ABC):
    """A dataset: embedded, local files, or a hub.

    `item` and `target` are the port types it offers, known without reading anything. `in_memory` says that `fetch` is
    a matter of indexing; other data is fetched by the device's loader workers. `suffixes` are the endings of the files
    that `read` understands, in lower case; none: any. `line` names what `parse` understands: `--LINE TEXT`.
    `independent` says that samples are, as those aren't which are of one person, or windows of one series: of these
    no metric has an interval.

    Example: `class Points(lw.Data): item, target, source, licence = lw.Features, lw.Classes, "made here", "CC0-1.0"`
    """

    item: ClassVar[type[Port]]
    target: ClassVar[type[Port]]
    source: ClassVar[str]
    licence: ClassVar[str]
    in_memory: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = ()
    line: ClassVar[str] = "file"
    independent: bool = True

    def starts_from(self, folder: Path) -> None:
        """Called before `prepare()` where a run starts from other weights: see `Task.starts_from`."""

    @abstractmethod
    def prepare(self) -> None:
        """Read what is there, once. Raises LabwrightError naming the file that can't be used."""

    @abstractmethod
    def ports(self) -> tuple[Port, Port]:
        """The input and the target, after `prepare()` or `load()`."""

    @abstractmethod
    def split(self, name: str) -> Split | None:
        """The split of that name, or None if there is none; after `prepare()`."""

    def read(self, path: Path) -> tuple[Tensor, ...]:
        """One input from a file, as a model's arguments with one row; after `prepare()` or `load()`.

        An Input, if `Task.predict` needs to know its origin.
        """
        raise LabwrightError(f"{type(self).__name__} can't read an input from a file, given {str(path)!r}.")

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """One input from a line of text: by default the file of that name."""
        return self.read(Path(line))

    def decode(self, content: bytes, suffix: str) -> tuple[Tensor, ...]:
        """One input from the bytes of a file whose name ends in `suffix`, as a server gets them; as `read` does.

        Raises LabwrightError for a suffix that `read` doesn't understand.
        """
        if not re.fullmatch(r"(\.\w+)+", suffix) or (self.suffixes and suffix.lower() not in self.suffixes):
            known = listed(self.suffixes or ["files of any ending"])
            raise LabwrightError(f"{type(self).__name__} can't read {suffix!r}; it reads {known}.")
        with TemporaryDirectory(prefix="labwright-") as scratch:
            file = Path(scratch) / f"input{suffix}"
            file.write_bytes(content)
            return self.read(file)

    def files(self, folder: Path) -> list[Path]:
        """The files of a folder that `read` understands, sorted."""
        # at any depth, as classes are often sub-folders
        files = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path for path in files if not self.suffixes or path.suffix.lower() in self.suffixes)

    def on(self, path: Path) -> Self:
        """Other data of this kind, all of whose samples at `path` are its `test` part; after `prepare()` or `load()`.

        Its classes, vocabulary, scaling and settings are this one's; nothing is held out, and nothing augmented.
        Samples of classes that this one doesn't know are counted and named in its `left_out`.
        """
        raise LabwrightError(
            f"{type(self).__name__} can't read other data, such as {str(path)!r}, by what it has learned of its own."
        )

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:  # noqa: ARG002 - a default
        """Each input in a file or folder, with labels or without: where it stands, and what reads it.

        None: a file is one input, as `read` takes it, and of a folder each of its `files`.
        """
        return None

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        """How a report shows inputs, one for each row: texts, or pictures of shape (C, H, W); nothing: it doesn't."""
        return list(inputs[0]) if isinstance(self.ports()[0], Image) else []

    def left_out(self) -> Sequence[LeftOut]:
        """What was found and isn't used, after `prepare()`; said at the start of a run."""
        return ()

    def remarks(self) -> Sequence[str]:
        """What to know about what was read, after `prepare()`: a sentence each, with the setting to change."""
        return ()

    def checks(self) -> Iterable[Finding]:
        """What is amiss with samples that this kind of data alone can tell, after `prepare()`: for `check-data`."""
        return ()

    def place(self, split: str, index: int) -> str:
        """Where a person finds a sample, after `prepare()`: its file, or its line of a table."""
        return f"{split} {index}"

    def noticed(self) -> Sequence[str]:
        """What to know about the inputs that `read` and `parse` gave since this was asked last; `predict` says it."""
        return ()

    def identity(self, split: str) -> Iterable[str] | None:  # noqa: ARG002 - a default
        """What tells a split's samples from others, cheaply and in order: names and sizes of files, rows of a table.

        A digest of it is kept with a run, which refuses to go on with other samples. None: a digest of samples fetched.
        """
        return None

    def save(self, folder: Path) -> None:
        """Keep what `prepare()` learned: JSON, safetensors or tokenizer files in an empty folder.

        A run refuses to go on with data of which something else is learned. `facts.json` alone isn't compared: what the
        training samples are like, for `on` to say how other data differs.
        """

    def load(self, folder: Path) -> None:
        """Take up what `save` kept, instead of `prepare()` and without the data."""


def _cut(value: Any, some: slice, count: int, name: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_cut(tensor, some, count, name) for tensor in value)
    if isinstance(value, Mapping):
        return {key: _cut(tensor, some, count, f"{name}.{key}") for key, tensor in value.items()}
    if isinstance(value, Tensor) and value.dim() and len(value) == count:
        return value[some]
    raise LabwrightError(
        f"a batch's {name!r} has no row for each of its {count} samples, so that it can't be cut into micro-batches "
        "for device.accumulate; its class needs a method `rows` of its own."
    )


def with_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """A field with its tensors changed, those of a tuple or dict too; anything else is left as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: with_tensors(tensor, change) for key, tensor in value.items()}
    return tuple(with_tensors(tensor, change) for tensor in value) if isinstance(value, tuple) else value
