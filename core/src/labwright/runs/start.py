"""The weights a run begins with: those of another run, or of safetensors files, copied once into its new model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
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

    Tensors of other sizes are refused always.

    Args:
        run: a run folder, a folder of safetensors (one file, or all the parts that an index names), or one such file.
        checkpoint: which weights of a run: those it ended with (`final`), its last or its best ones; averaged weights
            where it kept an average.
        take: names there to names here, `{"encoder.*" = "backbone.*"}`: a `*` stands for the same on both sides, the
            first pattern that a name matches counts, and what none matches isn't taken. Left out, all is taken under
            its own name.
        strict: refuse what is taken and has no place in this model; without it that is left out and said.

    Example: `lw.Experiment(..., start={"run": "runs/first", "take": {"encoder.*": "backbone.*"}})`
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
    if start.of_run:
        source, files, there = _of_run(start, where / "run")
    else:
        source, files, there = str(start.path), *_of_files(start, where)
    # with the parameters themselves, so that tied ones are known by being the same
    here = {name: one for name, one in model.state_dict(keep_vars=True).items() if isinstance(one, Tensor)}
    named = _named(start, there, here, where / "take", source)
    taken = {name: to for name, to in named.items() if to in here}
    with torch.no_grad():
        for name, to in taken.items():
            here[to].copy_(there[name])
    given = {id(here[to]) for to in taken.values()}
    kept = [name for name, tensor in here.items() if id(tensor) not in given]
    unused = [name for name in there if name not in taken]
    return Started(source, {str(file): digest(file) for file in files}, taken, kept, unused)


def _of_run(start: Start, where: Where) -> tuple[str, list[Path], dict[str, Tensor]]:
    """What a run's checkpoint is called, its files, and its tensors: averaged ones where the run kept an average."""
    checkpoints = Checkpoints(start.path / "checkpoints")
    try:
        checkpoint, faults = checkpoints.chosen(start.checkpoint)
    except LabwrightError as error:
        raise LabwrightError(f"{where}: {error}") from error
    step, tensors = checkpoint.state["step"], checkpoint.model
    averages = {key.partition("/average/")[2]: one for key, one in checkpoint.training.items() if "/average/" in key}
    # by the tensor, as tied ones have one average and several names
    averaged = {id(tensors[name]): average for name, average in averages.items() if name in tensors}
    source = " ".join([f"{start.path} ({start.checkpoint}, step {step})", *faults])
    files = sorted(checkpoints.path(step).glob("*.safetensors"))
    return source, files, {name: averaged.get(id(tensor), tensor) for name, tensor in tensors.items()}


def _of_files(start: Start, where: Where) -> tuple[list[Path], dict[str, Tensor]]:
    """The safetensors files that a source is, or has, and their tensors."""
    path = start.path
    if start.checkpoint != "final":
        raise LabwrightError(
            f"{where / 'checkpoint'}: {path} is no run folder, so that it has no {start.checkpoint!r}."
        )
    files = [path] if path.suffix == ".safetensors" else sorted(path.glob("*.safetensors"))
    if not files:
        beside = nearest(str(path), map(str, path.parent.glob("*")))
        has = "is another file." if path.exists() else f"isn't there{beside}"
        has = f"has {listed(file.name for file in path.iterdir())}." if path.is_dir() else has
        raise LabwrightError(
            f"{where / 'run'}: no run folder and no safetensors: {located(path)} {has} Nothing is downloaded, and "
            "other files of weights, which may run code, aren't read."
        )
    tensors: dict[str, Tensor] = {}
    try:
        for file in files:
            tensors |= load_file(file)
        parts = [json.loads(index.read_text(encoding="utf-8")) for index in path.glob("*.safetensors.index.json")]
        lacking = {name for index in parts for name in index["weight_map"]} - tensors.keys()
    except Exception as error:  # of the file system, of JSON, of safetensors
        raise LabwrightError(f"{where / 'run'}: {path} can't be read as safetensors: {words(error)}.") from error
    if lacking:
        raise LabwrightError(f"{where / 'run'}: {path} lacks {listed(lacking, SOME)}, which its index names.")
    return files, tensors


def _named(
    start: Start, there: Mapping[str, Tensor], here: Mapping[str, Tensor], where: Where, source: str
) -> dict[str, str]:
    """The name here of each tensor there that is taken. Raises LabwrightError for patterns that don't fit both."""
    named: dict[str, str] = {}
    for pattern, target in (start.take or {"*": "*"}).items():
        if pattern.count("*") != target.count("*"):
            raise LabwrightError(
                f"{where / pattern}: given {target!r}; it has as many * as {pattern!r}, for the same parts of a name."
            )
        matches = [match for name in there if (match := re.fullmatch(re.escape(pattern).replace(r"\*", "(.*)"), name))]
        if not matches:
            hint = nearest(pattern, [*there, *(f"{name.partition('.')[0]}.*" for name in there)])
            raise LabwrightError(
                f"{where / pattern}: no tensor of {source} matches {pattern!r}{hint} It has {listed(there, SOME)}."
                f"{_advice(there, here)}"
            )
        for match in matches:
            # the parts that the stars stand for, between those that are written
            parts = zip(target.split("*"), (*match.groups(), ""), strict=True)
            named.setdefault(match[0], "".join(written + same for written, same in parts))
    lost = sorted(name for name, to in named.items() if to not in here)
    if lost and (start.strict or len(lost) == len(named)):
        some = len(lost) < len(named)
        which = f"{listed(lost, SOME)} have no" if some else "no tensor has a"
        to = named[lost[0]]
        example = repr(to) if to == lost[0] else f"{lost[0]!r} would be {to!r}"
        raise LabwrightError(
            f"{where}: of {source} {which} place in this model: {example}{nearest(to, here)} "
            f"The model has {listed(here, SOME)}.{_advice(there, here)}"
            f"{' start.strict=false leaves them out.' if some else ''}"
        )
    first = {to: name for name, to in reversed(named.items())}
    for name, to in named.items():
        if first[to] != name:
            raise LabwrightError(f"{where}: both {first[to]!r} and {name!r} of {source} are taken as {to!r}.")
        if to in here and _kind(there[name]) != _kind(here[to]):
            raise LabwrightError(
                f"{where}: {name!r} of {source} has {_kind(there[name])}, and {to!r} here {_kind(here[to])}. Take the "
                f'others alone, by patterns such as {{ "body.*" = "body.*" }}.'
            )
    return named


def _kind(tensor: Tensor) -> str:
    """What one tensor has to have in common with another to be copied to it; a float of another size does."""
    return f"shape {tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {tensor.dtype}")


def _advice(there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str:
    """The pattern that would give most tensors a place, a sentence: where names end alike, what stands before that."""
    fronts = {(end, tensor.shape): front for name, tensor in here.items() for front, end in _cuts(name)}
    cuts = [(front, (end, tensor.shape)) for name, tensor in there.items() for front, end in _cuts(name)]
    votes = Counter((front, fronts[end]) for front, end in cuts if fronts.get(end, front) != front)
    (mine, yours), count = max(votes.items(), key=lambda vote: vote[1], default=(("", ""), 0))
    if count <= len(there.keys() & here.keys()):  # their own names do as well
        return ""
    return f' start.take = {{ "{mine}*" = "{yours}*" }} has a place for {count} of them.'


def _cuts(name: str) -> list[tuple[str, str]]:
    """A dotted name in two, at every dot."""
    parts = re.split(r"(?<=\.)", name)
    return [("".join(parts[:cut]), "".join(parts[cut:])) for cut in range(len(parts))]
