"""Object detection. A anchor points, B batch, C classes, H height, W width, K detections of a picture, N boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from labwright import (
    LEFT_OUT,
    Attachment,
    Batch,
    Data,
    Goal,
    Image,
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
from labwright_vision.detection.data.split import BoxSplit
from labwright_vision.detection.drawing import Found, png
from labwright_vision.detection.losses import DetectionCriterion, OwnLosses, size
from labwright_vision.detection.metrics import MOST, AveragePrecision, SharedFigure, SharedInterval, each
from labwright_vision.detection.ports import Boxes, Instances
from labwright_vision.detection.run_lengths import encoded

if TYPE_CHECKING:
    from labwright import Section

_LEAST = 0.001  # the score from which on a detection counts in an average precision
_BEFORE = 1000  # the most likely pairs of point and class of a picture, of which the overlapping ones are left out
_AT_ONCE = 16  # pictures the model sees together for a report
_FLOOR = 32  # so often, for a floor


class Detection(Task):
    """Find objects: a box around each, its class, and a score. Higher is better: map50.

    `map50` is the mean over classes of the average precision at an overlap of one half, `map` that over overlaps of .5,
    .55 to .95, as COCO measures both (by pycocotools; boxes of any size, 100 of a picture); `ap/CLASS` and
    `ap50/CLASS` are those of each class. On `test` they have intervals over pictures drawn anew, if pictures times
    classes are at most 5,000. Where the data has masks, `task.data.masks = true`, each object found has one
    too, and `mask_map50` and so on compare masks instead of boxes.

    A prediction has boxes in pixels of the picture as it was given, and the picture with them; masks are COCO's run
    lengths.

    Args:
        data: pictures with boxes.
        score: least score of a box that is predicted.
        overlap: most overlap (IoU) of two boxes of a class; of those with more only the better one stays (non-maximum
            suppression).
        goal: measure that is to be high; those of masks need data with masks.
    """

    goal = Goal("map50", "maximize")
    contract = DetectionCriterion

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        score: Annotated[float, Field(ge=0, le=1)] = 0.3,
        overlap: Annotated[float, Field(gt=0, le=1)] = 0.6,
        goal: Literal["map50", "map", "mask_map50", "mask_map"] = "map50",
    ) -> None:
        if not issubclass(data.target, Boxes):
            raise LabwrightError(
                f"task.data: detection needs boxes; {type(data).__name__} has targets {data.target.__name__}, not "
                "Boxes. Task 'classification' takes Classes."
            )
        self.data, self.score, self.overlap = data, score, overlap
        self.goal = Goal(goal, "maximize")

    def prepare(self) -> None:
        super().prepare()
        if self.goal.metric.startswith("mask") and not self.masks:
            raise LabwrightError(
                f"task.goal: {self.goal.metric!r} needs masks, and the data has none: set task.data.masks=true, "
                f"where it has that, or goal={self.goal.metric.removeprefix('mask_')}."
            )

    @property
    def masks(self) -> bool:
        """Whether each object has a mask."""
        return isinstance(self.data.ports()[1], Instances)

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
        if isinstance(model, OwnLosses):
            return criterion(model.losses(batch.inputs[0], batch.targets), batch.targets)
        return criterion(self._output(model, batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Each picture's detections, `boxes` (B, K, 4), `scores` and `labels` (B, K), and its true boxes.

        These are `true_boxes` (B, N, 4), `true_labels` and `crowd` (B, N). Labels are -100 where there is no box. Of
        masks there are `masks` (B, K, H, W) and `true_masks` (B, N, H, W).
        """
        true = {name if name == "crowd" else f"true_{name}": tensor for name, tensor in batch.targets.items()}
        return self.detections(model, batch.inputs, _LEAST) | true

    def metrics(self) -> dict[str, Metric]:
        whole, computed = AveragePrecision(self.names, self.masks), dict[str, Any]()
        metrics: dict[str, Metric] = {
            f"{kind}{name}": SharedFigure(whole, f"{kind}{name}", computed)
            for kind in whole.kinds
            for name in ("map", "map50", "ap", "ap50")
        }
        intervals = {
            f"{kind}{name}_95": SharedInterval(whole, f"{kind}{name}", computed)
            for kind in whole.kinds
            for name in ("map", "map50", "ap50")
        }
        return metrics | (intervals if self.data.independent else {})

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The mean box of each class where it is commonest in the training part, the same for all pictures."""
        from labwright_tasks.floors import of_model
        from labwright_tasks.linear_floor import Answering

        from labwright_vision.detection.floors import commonest

        train, part, (inputs, outputs) = self.data.split("train"), self.data.split(split), self.data.ports()
        if not isinstance(train, BoxSplit) or not isinstance(part, BoxSplit) or not len(part):
            return {}
        assert isinstance(inputs, Image) and isinstance(outputs, Boxes)
        same = commonest(train, inputs, outputs)

        def answer(x_BCHW: Tensor) -> Any:
            return {name: one.expand(len(x_BCHW), *one.shape[1:]) for name, one in same.items()}

        rule = "commonest boxes" if len(part) <= _FLOOR * _AT_ONCE else f"commonest boxes, {_FLOOR * _AT_ONCE} pictures"
        return {rule: of_model(self, split, Answering(answer), size=_AT_ONCE, most=_FLOOR)}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each picture its boxes, the best first, how many of each class, its masks, and a PNG with them drawn."""
        results = self.detections(model, inputs, self.score)
        shown = self.data.show(inputs)
        answers: list[dict[str, Any]] = []
        for row, origin in enumerate(origins):
            there = results["labels"][row] != LEFT_OUT
            own = {name: tensor[row][there].cpu() for name, tensor in results.items()}
            picture = torch.as_tensor(shown[row])
            if isinstance(origin, Origin):
                picture, own["boxes"] = origin.picture(), origin.to_picture(own["boxes"])
                own |= {"masks": origin.masks_to_picture(own["masks"])} if self.masks else {}
            answers.append(self._answer(own, picture))
        return answers

    def _answer(self, own: Mapping[str, Tensor], picture: Tensor) -> dict[str, Any]:
        boxes, scores = own["boxes"].tolist(), own["scores"].tolist()
        names = [self.names[label] for label in own["labels"].tolist()]
        masks = list(own["masks"]) if self.masks else [None] * len(names)
        columns = zip(boxes, names, scores, masks, strict=True)
        found = [Found((box[0], box[1], box[2], box[3]), name, score, mask) for box, name, score, mask in columns]
        answer: dict[str, Any] = {
            "found": ", ".join(_counts(names, self.names)) or "nothing",
            "boxes": {"xyxy": boxes, "score": scores, "class": names},
        }
        if self.masks:
            coded = encoded(own["masks"].numpy())
            answer["masks"] = [{"size": one["size"], "counts": one["counts"].decode()} for one in coded]
        return answer | {"picture": Attachment(png(picture, found, self.names), ".png")}

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """The average precisions, curves of precision and recall, and pictures with their boxes, the worst first."""
        from labwright_vision.detection.report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        pictures = []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                pictures += each(self.evaluate(model, batch.to(device)))
        return sections(pictures, self.names, part, self.data, self.score)

    def detections(self, model: nn.Module, inputs: tuple[Tensor, ...], least: float) -> dict[str, Tensor]:
        """The boxes whose score is `least` at least: `boxes` (B, K, 4), `scores` and `labels` (B, K), best first."""
        given = self._output(model, inputs)
        height, width = inputs[0].shape[2:]
        limit = torch.tensor([width, height, width, height], device=inputs[0].device)
        given = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in given.items()}
        given["boxes"] = torch.minimum(given["boxes"].clamp(min=0), limit)
        choose = _chosen if "scores" in given else _best_pairs
        rows = [
            _suppressed(choose({name: tensor[row] for name, tensor in given.items()}, least), self.overlap)
            for row in range(len(inputs[0]))
        ]
        fills = {"labels": LEFT_OUT, "masks": False}
        return {
            name: nn.utils.rnn.pad_sequence(
                [row[name] for row in rows], batch_first=True, padding_value=fills.get(name, 0.0)
            )
            for name in rows[0]
        }

    def _output(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        given: dict[str, Tensor] = model(*inputs)
        self.data.ports()[1].check(given, None)  # type: ignore[arg-type]
        return given


def _best_pairs(given: Mapping[str, Tensor], least: float) -> dict[str, Tensor]:
    """The most likely pairs of point and class of one picture, the best first."""
    scores_AC = given["logits"].sigmoid()
    scores_P, pairs_P = scores_AC.flatten().topk(min(_BEFORE, scores_AC.numel()))
    pairs_P = pairs_P[scores_P >= least]
    scores_P = scores_P[: len(pairs_P)]
    points_P, labels_P = pairs_P // scores_AC.shape[1], pairs_P % scores_AC.shape[1]
    return {"boxes": given["boxes"][points_P], "scores": scores_P, "labels": labels_P}


def _chosen(given: Mapping[str, Tensor], least: float) -> dict[str, Tensor]:
    """What a model has found in one picture itself, without what it is filled up with."""
    kept_K = (given["labels"] != LEFT_OUT) & (given["scores"] >= least)
    return {name: given[name][kept_K] for name in ("boxes", "scores", "labels", "masks") if name in given}


def _suppressed(found: Mapping[str, Tensor], overlap: float) -> dict[str, Tensor]:
    """The detections of one picture: each class by itself, the best of those that overlap, `MOST` at most."""
    from torchvision.ops import batched_nms

    kept = batched_nms(found["boxes"], found["scores"], found["labels"], overlap)[:MOST]
    return {name: tensor[kept] for name, tensor in found.items()}


def _counts(found: Sequence[str], names: Sequence[str]) -> list[str]:
    return [f"{found.count(name)} {name}" for name in names if name in found]
