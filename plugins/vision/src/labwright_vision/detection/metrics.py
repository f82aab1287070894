"""Average precision of boxes, by pycocotools. B batch, K detections of a picture, N boxes, R points of recall."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from labwright import LEFT_OUT, generator
from torch import Tensor

MOST = 100  # detections of a picture that count, as in COCO
_ALL = (0.0, 1e10)  # of any area
_DRAWS = 200  # of pictures, for an interval
_HALF = 0  # the first of the overlaps .5, .55, ... .95


@dataclass(frozen=True)
class Detected:
    """A picture's detections, `boxes` (K, 4), `scores` (K,) and `labels` (K,), and what is `true` of it.

    The latter are `true_boxes` (N, 4), `true_labels` (N,) and `crowd` (N,).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray
    crowd: np.ndarray


def each(results: Mapping[str, Tensor]) -> list[Detected]:
    """The pictures of a batch, from what `Detection.evaluate` gives, without what they are filled up with."""
    rows = []
    columns = ("boxes", "scores", "labels", "true_boxes", "true_labels", "crowd")
    for row in zip(*(results[name].cpu().numpy() for name in columns), strict=True):
        boxes, scores, labels, true_boxes, true_labels, crowd = row
        given, there = labels != LEFT_OUT, true_labels != LEFT_OUT
        rows.append(
            Detected(boxes[given], scores[given], labels[given], true_boxes[there], true_labels[there], crowd[there])
        )
    return rows


def evaluated(pictures: Sequence[Detected], names: Sequence[str]) -> Any:
    """A COCOeval that has matched and counted the detections of all pictures, boxes of any area, `MOST` of each."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": number} for number in range(len(pictures))]
    categories = [{"id": label, "name": name} for label, name in enumerate(names)]
    truths, detections = [], []
    for number, picture in enumerate(pictures):
        for box, label, crowd in zip(picture.true_boxes, picture.true_labels, picture.crowd, strict=True):
            truths.append(_annotation(number, box, label) | {"iscrowd": int(crowd)})
        for box, label, score in zip(picture.boxes, picture.labels, picture.scores, strict=True):
            detections.append(_annotation(number, box, label) | {"score": float(score), "iscrowd": 0})
    tables = []
    with redirect_stdout(io.StringIO()):  # it prints what it does
        for annotations in (truths, detections):
            table = COCO()
            numbered = [annotation | {"id": place} for place, annotation in enumerate(annotations, 1)]
            table.dataset = {"images": images, "categories": categories, "annotations": numbered}
            table.createIndex()
            tables.append(table)
        coco = COCOeval(*tables, "bbox")
        coco.params.areaRng, coco.params.areaRngLbl, coco.params.maxDets = [_ALL], ["all"], [MOST]
        coco.evaluate()
        coco.accumulate()
    return coco


def figures(coco: Any, names: Sequence[str]) -> dict[str, Any]:
    """`map` and `map50`, means over the classes that occur, and `ap` and `ap50` of each class; nan: it doesn't."""
    precision_TRC = coco.eval["precision"][..., 0, 0]
    by_class = [
        {name: _mean(overlaps_TRC[:, :, label]) for label, name in enumerate(names)}
        for overlaps_TRC in (precision_TRC, precision_TRC[_HALF : _HALF + 1])
    ]
    return {
        "map": _mean(precision_TRC),
        "map50": _mean(precision_TRC[_HALF]),
        "ap": by_class[0],
        "ap50": by_class[1],
    }


def intervals(coco: Any, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The intervals of 95% of `map`, `map50` and each class's `ap50/CLASS`, over pictures drawn anew; always the same.

    It is the percentile bootstrap (Efron 1979): what was matched stays so, and is counted anew.
    """
    count, classes = len(coco.params.imgIds), len(names)
    matched = np.array(coco.evalImgs, dtype=object).reshape(classes, count)
    again, draws = copy(coco), generator(0, 13)
    drawn: dict[str, list[float]] = {}
    for _ in range(_DRAWS):
        rows = torch.randint(count, (count,), generator=draws).numpy()
        again.evalImgs = list(matched[:, rows].reshape(-1))
        with redirect_stdout(io.StringIO()):
            again.accumulate()
        values = figures(again, names)
        for name in ("map", "map50"):
            drawn.setdefault(name, []).append(values[name])
        for name, value in values["ap50"].items():
            drawn.setdefault(f"ap50/{name}", []).append(value)
    return {name: _ends(values) for name, values in drawn.items()}


@final
class AveragePrecision:
    """All figures of the detections that it was given; `closely` with the intervals."""

    def __init__(self, names: Sequence[str], closely: bool) -> None:
        self.names, self.closely = names, closely
        self.reset()

    def update(self, results: Mapping[str, Tensor]) -> None:
        self._pictures += each(results)

    def compute(self) -> dict[str, Any]:
        coco = evaluated(self._pictures, self.names)
        values = figures(coco, self.names)
        if self.closely:
            for name, (low, high) in intervals(coco, self.names).items():
                first, _, of_class = name.partition("/")
                table = values.setdefault(f"{first}_95", {})
                (table.setdefault(of_class, {}) if of_class else table).update({"low": low, "high": high})
        return values

    def reset(self) -> None:
        self._pictures: list[Detected] = []


@final
class SharedFigure:
    """One of the figures of detections, which are matched once for all of those that share `whole` and `computed`."""

    higher_is_better = True

    def __init__(self, whole: AveragePrecision, name: str, computed: dict[str, Any]) -> None:
        self.whole, self.name, self.computed = whole, name, computed

    def update(self, results: Mapping[str, Tensor]) -> None:
        # whoever is asked first takes a batch in; the others know it by its being the same
        if self.computed.get("last") is not results:
            self.whole.update(results)
            self.computed.clear()
            self.computed["last"] = results

    def compute(self) -> Any:
        if "figures" not in self.computed:
            self.computed["figures"] = self.whole.compute()
        return self.computed["figures"][self.name]

    def reset(self) -> None:
        self.whole.reset()
        self.computed.clear()


def _annotation(number: int, box: np.ndarray, label: Any) -> dict[str, Any]:
    left, top, right, bottom = map(float, box)
    sides = [left, top, right - left, bottom - top]
    return {"image_id": number, "category_id": int(label), "bbox": sides, "area": sides[2] * sides[3]}


def _mean(precision: np.ndarray) -> float:
    """Over the classes that occur; -1 stands for one that doesn't."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else math.nan


def _ends(values: Sequence[float]) -> tuple[float, float]:
    numbers = np.array(values)[~np.isnan(values)]
    if not numbers.size:
        return math.nan, math.nan
    low, high = np.quantile(numbers, [0.025, 0.975])
    return float(low), float(high)
