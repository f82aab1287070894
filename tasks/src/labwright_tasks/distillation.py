"""A teacher: a finished run, from whose answers another model learns beside the labels. B batch, C classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Annotated, Any, ClassVar, Literal

import torch
from labwright import (
    Batch,
    Classes,
    Data,
    LabwrightError,
    Plugins,
    Port,
    listed,
    load,
    normalizer,
)
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_tasks.learned import NAMED, TEACHER, differing
from labwright_tasks.model_output import output
from labwright_tasks.weights import weights_in


@dataclass(frozen=True)
class Teacher:
    """A finished run of the same classes and inputs, whose probabilities are learned beside the labels.

    The loss is (1 - weight) * the loss of the labels + weight * T**2 * KL(teacher || student), of probabilities by
    logits / T, T the `temperature`.

    Args:
        run: its folder, of which this run keeps a copy.
        checkpoint: which of its weights.
        temperature: T, by which logits are divided; above 1 it shows what the teacher thinks of the other classes.
        weight: share of the teacher's part in the loss; 1 learns from the teacher alone.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    run: Path
    checkpoint: Literal["final", "last", "best"] = "final"
    temperature: Annotated[float, Field(gt=0)] = 4.0
    weight: Annotated[float, Field(gt=0, le=1)] = 0.9


class Teaching:
    """A teacher's part in a task: it is taken up, kept beside what the task learned, and asked in each step."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.folder = teacher.run.expanduser()
        self.model: nn.Module | None = None  # frozen; taken up when it is first needed
        self.same_samples = True  # as far as is known

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": None}  # loader workers have no use for it

    def take_up(self, data: Data) -> None:
        """Take the teacher's model, for data that is prepared.

        Raises LabwrightError if there is none, if it isn't as its run left it, or if it takes other inputs or tells
        other classes apart.
        """
        folder = self.folder
        try:
            run = load(folder, checkpoint=self.teacher.checkpoint, plugins=Plugins.discover())
        except LabwrightError as error:
            raise LabwrightError(f"task.teacher.run: {error}") from error
        if run.notes:
            raise LabwrightError(f"task.teacher.run: {' '.join(run.notes)} A teacher is a run as it ended.")
        theirs, ours = run.task.ports(), data.ports()
        if theirs != ours:
            raise LabwrightError(
                f"task.teacher.run: {folder} goes from {_words(theirs[0])} to {_words(theirs[1])}, and this data from "
                f"{_words(ours[0])} to {_words(ours[1])}{_differing(theirs[1], ours[1])}. A teacher has the same "
                "inputs and classes, in the same order: train it on this data."
            )
        self._compare(data)
        self.model = run.model.eval().requires_grad_(False)

    def _compare(self, data: Data) -> None:
        """Raises LabwrightError where the teacher's data was made into other numbers, as by another vocabulary."""
        learned, self.same_samples = differing(data, self.folder)
        if learned:
            raise LabwrightError(
                f"task.teacher.run: what {self.folder} has learned of its data is not what is learned of this data "
                f"({listed(learned)} in its task/), so that the teacher would be given other numbers for the same "
                "things. Train it on this data, with the same settings of task.data."
            )

    def resume(self, folder: Path) -> None:
        """Go on with the copy that a run keeps. Raises LabwrightError if another teacher is asked for."""
        kept = folder / NAMED
        was = json.loads(kept.read_text(encoding="utf-8"))["run"] if kept.is_file() else None
        if was != str(self.teacher.run):
            had = "was begun without one" if was is None else f"keeps a copy of its teacher, {was!r}"
            raise LabwrightError(
                f"task.teacher.run: given {str(self.teacher.run)!r}; this run {had}. Leave task.teacher as it was, or "
                "begin a new run."
            )
        self.folder = folder / TEACHER

    def save(self, folder: Path) -> None:
        """Keep what is needed of the teacher's run, so that this one can be gone on with when that is gone."""
        copy = folder / TEACHER
        copy.mkdir()
        copyfile(self.folder / "recipe.toml", copy / "recipe.toml")
        for part in ("task", "checkpoints"):
            copytree(self.folder / part, copy / part)
        (folder / NAMED).write_text(json.dumps({"run": str(self.teacher.run)}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Stand by with the copy: who only answers never asks the teacher."""
        self.folder = folder / TEACHER

    def added(self, loss: Any, logits_BC: Tensor, batch: Batch, criterion: Any) -> dict[str, Tensor]:
        """The loss of the labels and that of the teacher, as named parts.

        Raises LabwrightError for a loss that weighs classes, beside which the teacher's would weigh otherwise in each
        micro-batch.
        """
        if normalizer(criterion, torch.zeros(1, dtype=torch.int64)) is not None:
            raise LabwrightError(
                "loss.weights: a teacher has its own probabilities of rare classes, and its part isn't weighed by "
                'class. Leave the weights out; task.sampling = "balanced" shows rare classes more often.'
            )
        share = self.teacher.weight
        parts: Mapping[str, Tensor] = loss if isinstance(loss, Mapping) else {"labels": loss}
        parts = {name: (1 - share) * part for name, part in parts.items()}
        return {**parts, "teacher": share * self._distance(logits_BC, batch)}

    def _distance(self, logits_BC: Tensor, batch: Batch) -> Tensor:
        """T**2 * KL(teacher || student), the mean over samples, by their weights if they have any."""
        temperature, model = self.teacher.temperature, self._model_on(batch.inputs[0].device)
        with torch.no_grad():
            taught_BC = (output(model, batch).float() / temperature).log_softmax(-1)
        student_BC = (logits_BC.float() / temperature).log_softmax(-1)
        each_B = functional.kl_div(student_BC, taught_BC, reduction="none", log_target=True).sum(-1)
        weights_B = weights_in(batch)
        if weights_B is None:
            return temperature**2 * each_B.mean(-1)
        total = weights_B.sum()
        return temperature**2 * (weights_B * each_B).sum() / total.where(total > 0, 1.0)

    def _model_on(self, device: torch.device) -> nn.Module:
        if self.model is None:
            run = load(self.folder, checkpoint=self.teacher.checkpoint, plugins=Plugins.discover())
            self.model = run.model.eval().requires_grad_(False)
        first = next((tensor.device for tensor in self.model.state_dict().values()), device)
        return self.model if first == device else self.model.to(device)


def _words(port: Port) -> str:
    if isinstance(port, Classes):
        return f"the classes {listed(port.names, 12)}"
    fields = ", ".join(f"{name} {value}" for name, value in vars(port).items() if isinstance(value, int | tuple))
    return f"{type(port).__name__} ({fields})" if fields else type(port).__name__


def _differing(theirs: Port, ours: Port) -> str:
    """The first class that they don't share."""
    if not (isinstance(theirs, Classes) and isinstance(ours, Classes)) or theirs == ours:
        return ""
    if alone := next((name for name in ours.names if name not in theirs.names), ""):
        return f"; {alone!r} it has never seen"
    alone = next((name for name in theirs.names if name not in ours.names), "")
    return f"; {alone!r} isn't here" if alone else "; their order is another"
