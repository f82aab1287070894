"""A task: what is learned from a batch, and how success is measured. B batch, N points, P all points, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from torch import Tensor, nn

from labwright_geometry.ports import CloudBatch, PointClasses

AT_ONCE = 256  # clouds that a report looks at together


class Criterion(Protocol):
    """What a loss is called with: logits (P, C) and labels (P,) int64, -100 for what doesn't count."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...


class Points(lw.Task):
    """Tell of each point of a cloud which class it is. Higher is better: accuracy, of all points alike.

    Args:
        data: clouds of points, each point of one of several classes.
    """

    goal = lw.Goal("accuracy", "maximize")
    contract = Criterion

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        if not issubclass(data.target, PointClasses):
            raise lw.LabwrightError(
                f"task.data: this task needs a class for each point; {type(data).__name__} has targets "
                f"{data.target.__name__}."
            )
        self.data = data

    @property
    def port(self) -> PointClasses:
        outputs = self.data.ports()[1]
        assert isinstance(outputs, PointClasses)
        return outputs

    def weight(self, batch: CloudBatch) -> float:
        """The loss is a mean over points, so that a batch counts by its points."""
        points: int = batch.points
        return points

    def loss(self, model: nn.Module, batch: CloudBatch, criterion: Criterion, phase: str) -> Tensor:
        return criterion(self._logits(model, batch).flatten(0, 1), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: CloudBatch) -> tuple[Tensor, Tensor]:
        """Logits (P, C) and labels (P,) of the points that are there, which the metrics are updated with."""
        there_BN = batch.targets != lw.LEFT_OUT
        return self._logits(model, batch)[there_BN], batch.targets[there_BN]

    def metrics(self) -> dict[str, lw.Metric]:
        return {"accuracy": lw.Accuracy(), "cross_entropy": lw.LogLoss()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each cloud the classes of its points as a text, and by what each is called in the line it came from."""
        labels = model(*inputs).argmax(-1).tolist()
        counts = inputs[1].tolist()
        answers = []
        for labels_N, count, words in zip(labels, counts, origins, strict=True):
            names = [self.port.names[label] for label in labels_N[:count]]
            points = dict(zip(words or map(str, range(count)), names, strict=True))
            answers.append({"classes": ", ".join(names), "points": points})
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        """How many points of each class are found."""
        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        right_C, all_C = torch.zeros(2, len(self.port.names), dtype=torch.int64)
        with lw.evaluating(model):
            for batch in lw.IndexedBatches.in_order(part, AT_ONCE):
                logits_PC, labels_P = (result.cpu() for result in self.evaluate(model, batch.to(device)))
                all_C += labels_P.bincount(minlength=len(all_C))
                right_C += labels_P[logits_PC.argmax(-1) == labels_P].bincount(minlength=len(all_C))
        rows: list[tuple[object, ...]] = [
            (name, of_all, f"{right / max(of_all, 1):.1%}")
            for name, right, of_all in zip(self.port.names, right_C.tolist(), all_C.tolist(), strict=True)
        ]
        return [lw.Table("Points by class", ("class", "points", "found"), rows)]

    def _logits(self, model: nn.Module, batch: CloudBatch) -> Tensor:
        logits_BNC: Tensor = model(*batch.inputs)
        self.port.check(logits_BNC, batch.targets)
        return logits_BNC
