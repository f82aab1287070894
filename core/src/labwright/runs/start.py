"""The weights a run begins with: those of another run, or of safetensors files, copied once into its new model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from safetensors.torch import load_file
from torch import Tensor, nn

from labwright.base.errors import LabwrightError, listed, located, nearest, words
from labwright.config.resolve import Where
from labwright.train.checkpoints import Checkpoints, Which, digest

SOME = 5  # names in a note or a message; `labwright show --start` has all


@dataclass(frozen=True)
class Start:
    """The weights a run begins with; they are copied once, and its folder needs their source no more.

    `run` is a run folder, a folder of safetensors (model.safetensors, or the parts an index names), or one such file.
    `checkpoint` is which weights of a run: those it ended with (`final`), its last or its best ones; averaged weights
    where it kept an average. `take` maps names there to names here, `{"encoder.*" = "backbone.*"}`: a `*` stands for
    the same on both sides, the first pattern that a name matches counts, and what none matches isn't taken. Left out,
    all is taken under its own name. `strict` refuses what is taken and has no place in this model; without it that is
    left out and said. Other sizes are refused always.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    run: Path
    checkpoint: Which = "final"
    take: dict[str, str] | None = None
    strict: bool = True

    @property
    def path(self) -> Path:
        return self.run.expanduser()

    @property
    def of_run(self) -> bool:
        return (self.path / "recipe.toml").is_file()

    @property
    def learned(self) -> Path:
        """Where lies what belongs to the weights: what a run's task learned, or what is beside the files."""
        return self.path / "task" if self.of_run else self.path.parent if self.path.is_file() else self.path


@dataclass(frozen=True)
class Started:
    """What a model was given. `taken`: name there -> name here; `kept` are names of the model that keep their initial
    values, `unused` those of the source that weren't taken; `files` have the SHA-256 of each file that was read.
    """

    source: str
    files: dict[str, str]
    taken: dict[str, str]
    kept: list[str]
    unused: list[str]

    def line(self) -> str:
        """It all in one line."""
        kept = f"; {listed(self.kept, SOME)} here keep their initial values" if self.kept else ""
        unused = f"; {listed(self.unused, SOME)} there aren't used" if self.unused else ""
        return f"{len(self.taken)} tensors were taken from {self.source}{kept}{unused}."


def begin(model: nn.Module, start: Start, where: Where) -> Started:
    """Copy a source's weights into a model.

    Raises LabwrightError for a source that can't be read, a pattern that matches nothing, and tensors of other sizes or
    without a place here.
    """
    source, files, there = _read(start, where)
    # with the parameters themselves, so that tied ones are known by being the same
    here = {name: one for name, one in model.state_dict(keep_vars=True).items() if isinstance(one, Tensor)}
    named = _named(start.take, there, here, where / "take", source)
    _check(named, there, here, start.strict, where, source)
    taken = {name: to for name, to in named.items() if to in here}
    with torch.no_grad():
        for name, to in taken.items():
            here[to].copy_(there[name])
    given = {id(here[to]) for to in taken.values()}
    kept = [name for name, tensor in here.items() if id(tensor) not in given]
    return Started(source, files, taken, kept, [name for name in there if name not in taken])


def _read(start: Start, where: Where) -> tuple[str, dict[str, str], dict[str, Tensor]]:
    """What the source is called, the checksums of its files, and its tensors by name."""
    path = start.path
    if not path.exists():
        beside = map(str, path.parent.glob("*"))
        raise LabwrightError(
            f"{where / 'run'}: there is no run folder or file {located(path)}{nearest(str(path), beside)}"
        )
    if start.of_run:
        checkpoints = Checkpoints(path / "checkpoints")
        try:
            checkpoint, faults = checkpoints.chosen(start.checkpoint)
        except LabwrightError as error:
            raise LabwrightError(f"{where / 'run'}: {error}") from error
        folder = checkpoints.path(checkpoint.state["step"])
        averages = {
            key.partition("/average/")[2]: one for key, one in checkpoint.training.items() if "/average/" in key
        }
        # by the tensor, as tied ones have one average and several names
        averaged = {id(checkpoint.model[name]): one for name, one in averages.items() if name in checkpoint.model}
        tensors = {name: averaged.get(id(tensor), tensor) for name, tensor in checkpoint.model.items()}
        source = " ".join([f"{path} ({start.checkpoint}, step {checkpoint.state['step']})", *faults])
        return source, _sums([folder / "model.safetensors", folder / "training.safetensors"]), tensors
    if start.checkpoint != "final":
        raise LabwrightError(
            f"{where / 'checkpoint'}: {path} is no run folder, so that it has no {start.checkpoint!r}."
        )
    files = _files(path, where / "run")
    tensors = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except Exception as error:  # safetensors has an exception of its own
            raise LabwrightError(f"{where / 'run'}: {file} can't be read as safetensors: {words(error)}.") from error
    return str(path), _sums(files), tensors


def _files(path: Path, where: Where) -> list[Path]:
    """The safetensors files of a source that is no run."""
    if path.is_file() and path.suffix == ".safetensors":
        return [path]
    if (path / "checksums.json").is_file() and path.parent.name == "checkpoints":
        raise LabwrightError(
            f"{where}: {path} is a checkpoint; give its run, {path.parent.parent}, and start.checkpoint."
        )
    indices = list(path.glob("*.safetensors.index.json"))
    if indices:
        try:
            named = {
                Path(path / name) for name in json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"].values()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabwrightError(f"{where}: {indices[0]} names no files: {words(error)}.") from error
        astray = [file for file in sorted(named) if file.parent != path or not file.is_file()]
        if astray:
            raise LabwrightError(f"{where}: {indices[0]} names {astray[0]}, which isn't there beside it.")
        return sorted(named)
    whole = [path / "model.safetensors"] if (path / "model.safetensors").is_file() else list(path.glob("*.safetensors"))
    if len(whole) != 1:
        has = listed(file.name for file in path.iterdir()) if path.is_dir() else "something else"
        raise LabwrightError(
            f"{where}: {path} is no run folder and has no model.safetensors; it has {has}. Weights are read as "
            "safetensors alone: files of other kinds may run code."
        )
    return whole


def _sums(files: Iterable[Path]) -> dict[str, str]:
    return {str(file): digest(file) for file in files}


def _named(
    take: Mapping[str, str] | None, there: Mapping[str, Tensor], here: Mapping[str, Tensor], where: Where, source: str
) -> dict[str, str]:
    """The name here of every tensor there that a pattern takes. Raises LabwrightError for a pattern that takes none."""
    patterns = {"*": "*"} if take is None else take
    named: dict[str, str] = {}
    for pattern, target in patterns.items():
        if pattern.count("*") != target.count("*"):
            raise LabwrightError(
                f"{where / pattern}: given {target!r}; it has as many * as {pattern!r}, for the same parts of a name."
            )
        matches = {name: found for name in there if (found := re.fullmatch(_groups(pattern), name))}
        if not matches:
            hint = nearest(pattern, [*there, *map(_top, there)])
            raise LabwrightError(
                f"{where / pattern}: no tensor of {source} matches {pattern!r}{hint} It has {listed(there, SOME)}."
                f"{_advice(there, here)}"
            )
        for name, found in matches.items():
            parts = iter(found.groups())
            named.setdefault(name, re.sub(r"\*", lambda _: next(parts), target))  # noqa: B023 - used at once
    return named


def _groups(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", "(.*)")


def _check(
    named: Mapping[str, str],
    there: Mapping[str, Tensor],
    here: Mapping[str, Tensor],
    strict: bool,
    where: Where,
    source: str,
) -> None:
    """Raises LabwrightError for what is taken and doesn't fit the model."""
    lost = [name for name, to in named.items() if to not in here]
    if len(lost) == len(named):
        raise LabwrightError(
            f"{where / 'take'}: no tensor of {source} has a place in this model: {lost[0]!r} would be "
            f"{named[lost[0]]!r}, and here are {listed(here, SOME)}.{_advice(there, here)}"
        )
    if lost and strict:
        to = named[lost[0]]
        raise LabwrightError(
            f"{where / 'take'}: {listed(lost, SOME)} of {source} have no place in this model, which has no {to!r}"
            f"{nearest(to, here)}{_advice(there, here)} start.strict=false leaves them out."
        )
    origin: dict[str, str] = {}
    for name, to in named.items():
        if to not in here:
            continue
        first = origin.setdefault(to, name)
        if first != name:
            raise LabwrightError(f"{where / 'take'}: both {first!r} and {name!r} of {source} are taken as {to!r}.")
        given, own = there[name], here[to]
        if given.shape != own.shape:
            fitting = _fitting(named, there, here)
            advice = f": start.take = {_written(fitting)}." if fitting else "."
            raise LabwrightError(
                f"{where / 'take'}: {name!r} has shape {tuple(given.shape)} in {source}, and {to!r} has "
                f"{tuple(own.shape)} here. Take the others alone{advice}"
            )
        if given.is_floating_point() != own.is_floating_point():
            raise LabwrightError(
                f"{where / 'take'}: {name!r} is {given.dtype} in {source}, and {to!r} is {own.dtype} here: these are "
                "other numbers, such as quantised ones."
            )


def _advice(there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str:
    """The pattern that would give most tensors a place, a sentence: by the longest ending that two names share."""
    fronts: dict[tuple[str, torch.Size], str] = {}
    for name, tensor in here.items():
        for ending, front in _cuts(name):
            fronts.setdefault((ending, tensor.shape), front)
    votes: Counter[tuple[str, str]] = Counter()
    for name, tensor in there.items():
        pairs = [
            (front, fronts[ending, tensor.shape]) for ending, front in _cuts(name) if (ending, tensor.shape) in fronts
        ]
        votes.update(pair for pair in pairs[:1] if pair[0] != pair[1])
    if not votes:
        return ""
    (mine, yours), count = votes.most_common(1)[0]
    return f" start.take = {_written({f'{mine}*': f'{yours}*'})} has a place for {count} of them."


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """The endings of a dotted name with what stands before them, the longest first."""
    parts = name.split(".")
    for cut in range(len(parts)):
        yield ".".join(parts[cut:]), "".join(f"{part}." for part in parts[:cut])


def _fitting(named: Mapping[str, str], there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> dict[str, str]:
    """Patterns for the parts of a source all of whose tensors have a place here, of their size."""
    unlike = {_top(name) for name, to in named.items() if to not in here or here[to].shape != there[name].shape}
    ends = {name: name.removeprefix(_top(name).removesuffix(".*")) for name in named}
    return {
        _top(name): f"{to.removesuffix(ends[name])}{'.*' if ends[name] else ''}"
        for name, to in named.items()
        if _top(name) not in unlike and to.endswith(ends[name])
    }


def _top(name: str) -> str:
    """The pattern of the part of a model that a tensor is in: `encoder.*`."""
    top, dot, _ = name.partition(".")
    return f"{top}.*" if dot else top


def _written(take: Mapping[str, str]) -> str:
    """As a recipe has it."""
    return "{ " + ", ".join(f'"{name}" = "{to}"' for name, to in take.items()) + " }"
