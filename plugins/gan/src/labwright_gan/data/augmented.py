"""Pictures and generated ones beside them, to train on: what a generator is good for where pictures are few."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from labwright import (
    Augmented,
    Batch,
    Classes,
    Data,
    Image,
    Labelled,
    LabwrightError,
    Part,
    Plugins,
    Split,
    TensorSplit,
    generator,
    load,
)
from labwright_tasks.around import Around
from labwright_tasks.learned import TEACHER
from pydantic import Field
from torch import Tensor

from labwright_gan.generative import Generative, classes_of, digest

_SEED = 33
_AT_ONCE = 256  # pictures


class WithGenerated(Around):
    """Other data of pictures by class, with generated ones in its training part, each class that it has alike.

    The generator must have learned from the very training pictures that are here, and so must its judge: what it has
    seen of others would reach the classifier through what it draws. A generator that started from another run is
    refused for the same reason, and so are folds of this data. The parts that measure are as they were.

    Args:
        data: pictures with classes.
        run: folder of a run of a conditional generator; it has to stay where it is for as long as runs that use it are
            resumed.
        count: how many generated pictures are added.
    """

    item = Image
    target = Classes
    source = "the data it adds to, and a run's generator"
    licence = "that of the data it adds to"
    no_folds = (
        "folds of it would be measured on generated pictures, drawn by what has seen those that are held out. The fold "
        'goes inside, with a generator of its own: { name = "gan/augmented", data = { name = '
        '"fold", ... }, run = ... }.'
    )

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        run: Path,
        count: Annotated[int, Field(ge=1)],
    ) -> None:
        if not issubclass(data.item, Image) or not issubclass(data.target, Classes):
            raise LabwrightError(
                f"task.data.data: generated pictures of classes are added to such; {type(data).__name__} offers "
                f"{data.item.__name__} and has targets {data.target.__name__}."
            )
        super().__init__(data)
        self.run, self.count = run.expanduser(), count
        self._train: Mixed | None = None

    def prepare(self) -> None:
        self.data.prepare()
        train = self.data.split("train")
        if train is not None:
            self._train = Mixed(train, self._generated(train))

    def _generated(self, train: Split) -> TensorSplit:
        """The run's pictures. Raises LabwrightError for a run that isn't of these training pictures alone."""
        try:
            # with plugins of its own, or what is amiss with those of no concern would be among its notes
            loaded = load(self.run, plugins=Plugins.discover())
        except LabwrightError as error:
            raise LabwrightError(f"task.data.run: {error}") from error
        task, where = loaded.task, f"task.data.run: the run {self.run}"
        if loaded.notes:
            raise LabwrightError(f"{where}: {' '.join(loaded.notes)} What is added is drawn by a run as it ended.")
        if not isinstance(task, Generative) or not task.conditional or task.scaling is None:
            raise LabwrightError(f"{where} makes no pictures of a class asked for (task.conditional=true).")
        if task.data.ports() != self.data.ports():
            raise LabwrightError(f"{where} makes other pictures, or of other classes, than {type(self.data).__name__}.")
        self._check_origin(train, where, started=bool(loaded.experiment.table().get("start")))
        classes = torch.tensor(classes_of(train))  # of one without a picture the generator has learned nothing
        labels = classes[torch.arange(self.count) % len(classes)]
        latents = torch.randn(self.count, *task.latent_shape, generator=generator(_SEED))
        with torch.no_grad():
            made = [
                task.scaling.data(task.sampled(loaded.model, *some).float())
                for some in zip(torch.split(latents, _AT_ONCE), torch.split(labels, _AT_ONCE), strict=True)
            ]
        return TensorSplit((torch.cat(made),), labels)

    def _check_origin(self, train: Split, where: str, *, started: bool) -> None:
        learned = self.run / "task"
        kept = _json(learned / "facts.json").get("training")
        if kept != digest(train):
            had = "other training pictures than these" if kept else "training pictures that it doesn't tell"
            raise LabwrightError(
                f"{where} has learned from {had}: it would bring in what it knows of others. Train a generator on the "
                "training part of this data, with the same settings."
            )
        if started:
            raise LabwrightError(f"{where} started from the weights of another, which may have seen other pictures.")
        if (learned / "judge").is_dir() and _may_have_seen_others(learned / "judge", learned):
            raise LabwrightError(
                f"{where} was judged by a classifier of other pictures than these, or one that began with another's "
                "weights or was taught by another, by which its best weights and its settings may have been chosen. "
                "Leave task.judge out: the run then trains one on these alone."
            )

    def split(self, name: str) -> Split | None:
        return self._train if name == "train" else self.data.split(name)

    def remarks(self) -> Sequence[str]:
        return [*self.data.remarks(), f"{self.count:,} of the training pictures were drawn by {self.run}."]

    def place(self, split: str, index: int) -> str:
        real = len(self._train.real) if split == "train" and self._train is not None else index + 1
        return self.data.place(split, index) if index < real else f"generated {index - real}"

    def identity(self, split: str) -> Iterable[str] | None:
        return None if split == "train" else self.data.identity(split)


class Mixed:
    """Real samples and generated ones after them."""

    def __init__(self, real: Split, generated: TensorSplit) -> None:
        self.real, self.generated = real, generated
        if isinstance(real, Labelled):
            self.labels = torch.cat([real.labels, generated.labels])

    def __len__(self) -> int:
        return len(self.real) + len(self.generated)

    def plain(self) -> Mixed:
        return Mixed(self.real.plain() if isinstance(self.real, Augmented) else self.real, self.generated)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        generated = indices >= len(self.real)
        parts = [
            part.fetch(some, epoch, seed)
            for part, some in (
                (self.real, indices[~generated]),
                (self.generated, indices[generated] - len(self.real)),
            )
            if len(some)
        ]
        back = torch.cat([(~generated).nonzero()[:, 0], generated.nonzero()[:, 0]]).argsort()
        x, labels = (
            torch.cat(both)[back] for both in zip(*((part.inputs[0], part.targets) for part in parts), strict=True)
        )
        return Batch((x,), labels)


def _may_have_seen_others(judge: Path, learned: Path) -> bool:
    """Whether the copy of a judge's run has, or comes of what may have, other training pictures than a run's own."""
    of_judge, own = (_json(task / "read.json").get("digests", {}).get("train") for task in (judge / "task", learned))
    recipe = tomllib.loads((judge / "recipe.toml").read_text(encoding="utf-8"))
    return of_judge is None or of_judge != own or "start" in recipe or (judge / "task" / TEACHER).is_dir()


def _json(file: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return kept
