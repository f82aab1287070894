"""Object detection. A anchor points, B batch, C classes, K detections of a picture, N boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from labwright import (
    LEFT_OUT,
    Attachment,
    Batch,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Metric,
    Part,
    Task,
    evaluating,
)
from pydantic import Field
from torch import Tensor, nn

from labwright_vision.detection.data.letterbox import Origin
from labwright_vision.detection.drawing import Found, png
from labwright_vision.detection.losses import DetectionCriterion, size
from labwright_vision.detection.metrics import MOST, AveragePrecision, SharedFigure
from labwright_vision.detection.ports import Boxes

if TYPE_CHECKING:
    from labwright import Section

_LEAST = 0.001  # the score from which on a detection counts in an average precision
_BEFORE = 1000  # the most likely pairs of point and class of a picture, of which the overlapping ones are left out
_AT_ONCE = 16  # pictures the model sees together for a report


class Detection(Task):
    """Find objects: a box around each, its class, and a score. Higher is better: map50.

    `map50` is the mean over classes of the average precision at an overlap of one half, `map` that over overlaps of .5,
    .55 to .95, as COCO measures both (by pycocotools; boxes of any size, 100 of a picture); `ap/CLASS` and
    `ap50/CLASS` are those of each class. `goal` is `map50` or `map`.

    Of boxes of one class that overlap by more than `overlap`, the best stays (non-maximum suppression). A prediction
    has the boxes whose score is `score` at least, in pixels of the picture as it was given, and the picture with them.
    """

    goal = Goal("map50", "maximize")
    contract = DetectionCriterion

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        score: Annotated[float, Field(ge=0, le=1, description="least score that is predicted")] = 0.3,
        overlap: Annotated[float, Field(gt=0, le=1, description="most overlap within a class")] = 0.6,
        goal: Literal["map50", "map"] = "map50",
    ) -> None:
        if not issubclass(data.target, Boxes):
            raise LabwrightError(
                f"task.data: detection needs boxes; {type(data).__name__} has targets {data.target.__name__}, not "
                "Boxes. Task 'classification' takes Classes."
            )
        self.data, self.score, self.overlap = data, score, overlap
        self.goal = Goal(goal, "maximize")
        self.closely = False  # whether intervals are measured as well

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their labels."""
        outputs = self.data.ports()[1]
        assert isinstance(outputs, Boxes)
        return outputs.names

    def weight(self, batch: Batch) -> float:
        """The boxes that count, and one for each picture."""
        return int(size(batch.targets))

    def loss(self, model: nn.Module, batch: Batch, criterion: DetectionCriterion, phase: str) -> dict[str, Tensor]:  # noqa: ARG002 - one phase
        return criterion(self._output(model, batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Each picture's detections, `boxes` (B, K, 4), `scores` and `labels` (B, K), and its true boxes.

        These are `true_boxes` (B, N, 4), `true_labels` and `crowd` (B, N). Labels are -100 where there is no box.
        """
        targets = batch.targets
        true = {"true_boxes": targets["boxes"], "true_labels": targets["labels"], "crowd": targets["crowd"]}
        return self.detections(model, batch.inputs, _LEAST) | true

    def metrics(self) -> dict[str, Metric]:
        whole, computed = AveragePrecision(self.names, self.closely), dict[str, Any]()
        names = ["map", "map50", "ap", "ap50", *(["map_95", "map50_95", "ap50_95"] if self.closely else [])]
        return {name: SharedFigure(whole, name, computed) for name in names}

    def on(self, path: Path) -> Self:
        """Over other data, with intervals over pictures drawn anew."""
        other = super().on(path)
        other.closely = True
        return other

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each picture its boxes, the best first, how many of each class, and a PNG with them drawn."""
        results = self.detections(model, inputs, self.score)
        shown = self.data.show(inputs)
        answers = []
        for row, origin in enumerate(origins):
            there = results["labels"][row] != LEFT_OUT
            boxes_K4, scores, labels = (results[name][row][there].cpu() for name in ("boxes", "scores", "labels"))
            known = isinstance(origin, Origin)
            boxes_K4 = origin.to_picture(boxes_K4) if known else boxes_K4
            picture = origin.picture() if known else torch.as_tensor(shown[row])
            columns = zip(boxes_K4.tolist(), labels.tolist(), scores.tolist(), strict=True)
            found = [Found((box[0], box[1], box[2], box[3]), self.names[label], score) for box, label, score in columns]
            answers.append(
                {
                    "found": ", ".join(_counts([one.name for one in found], self.names)) or "nothing",
                    "boxes": {"xyxy": boxes_K4.tolist(), "score": scores.tolist(), "class": [f.name for f in found]},
                    "picture": Attachment(png(picture, found, self.names), ".png"),
                }
            )
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """The average precisions, curves of precision and recall, and pictures with their boxes, the worst first."""
        from labwright_vision.detection.report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        results = []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                found = self.evaluate(model, batch.to(device))
                results.append({name: tensor.cpu() for name, tensor in found.items()})
        return sections(results, self.names, part, self.data, self.score)

    def detections(self, model: nn.Module, inputs: tuple[Tensor, ...], least: float) -> dict[str, Tensor]:
        """The boxes whose score is `least` at least: `boxes` (B, K, 4), `scores` and `labels` (B, K), best first."""
        given = self._output(model, inputs)
        height, width = inputs[0].shape[2:]
        limit = torch.tensor([width, height, width, height], device=inputs[0].device)
        boxes_BA4 = torch.minimum(given["boxes"].float().clamp(min=0), limit)
        scores_BAC = given["logits"].float().sigmoid()
        rows = [
            _suppressed(boxes_A4, scores_AC, least, self.overlap)
            for boxes_A4, scores_AC in zip(boxes_BA4, scores_BAC, strict=True)
        ]
        fills = {"boxes": 0.0, "scores": 0.0, "labels": LEFT_OUT}
        return {
            name: nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True, padding_value=fill)
            for name, fill in fills.items()
        }

    def _output(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        given: dict[str, Tensor] = model(*inputs)
        self.data.ports()[1].check(given, None)  # type: ignore[arg-type]
        return given


def _suppressed(boxes_A4: Tensor, scores_AC: Tensor, least: float, overlap: float) -> Mapping[str, Tensor]:
    """The detections of one picture: each class by itself, the best of those that overlap, `MOST` at most."""
    from torchvision.ops import batched_nms

    scores_P, pairs_P = scores_AC.flatten().topk(min(_BEFORE, scores_AC.numel()))
    pairs_P = pairs_P[scores_P >= least]
    scores_P = scores_P[: len(pairs_P)]
    points_P, labels_P = pairs_P // scores_AC.shape[1], pairs_P % scores_AC.shape[1]
    boxes_P4 = boxes_A4[points_P]
    kept = batched_nms(boxes_P4, scores_P, labels_P, overlap)[:MOST]
    return {"boxes": boxes_P4[kept], "scores": scores_P[kept], "labels": labels_P[kept]}


def _counts(found: Sequence[str], names: Sequence[str]) -> list[str]:
    return [f"{found.count(name)} {name}" for name in names if name in found]
