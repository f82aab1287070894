"""Average precision of boxes and masks, by pycocotools.

B batch, H height, W width, K detections of a picture, N boxes, R points of recall.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from labwright import LEFT_OUT, generator
from torch import Tensor

from labwright_vision.detection.run_lengths import Runs, encoded

Kind = Literal["bbox", "segm"]

MOST = 100  # detections of a picture that count, as in COCO
_ALL = (0.0, 1e10)  # of any area
_DRAWS = 200  # of pictures, for an interval
_FEWEST = 10  # pictures that are drawn from
_MOST_COUNTED = 5_000  # pictures times classes, in 10 s or so
_TRUE = "true_boxes", "true_labels", "crowd", "true_masks"
_HALF = 0  # the first of the overlaps .5, .55, ... .95


@dataclass(frozen=True)
class Detected:
    """A picture's detections, `boxes` (K, 4), `scores` (K,) and `labels` (K,), and what is `true` of it.

    The latter are `true_boxes` (N, 4), `true_labels` (N,) and `crowd` (N,). Where there are masks, `masks` and
    `true_masks` are as many.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray
    crowd: np.ndarray
    masks: Sequence[Runs] | None = None
    true_masks: Sequence[Runs] | None = None

    def only(self, label: int) -> Detected:
        """What belongs to one class."""
        given, true = self.labels == label, self.true_labels == label
        return Detected(
            self.boxes[given],
            self.scores[given],
            self.labels[given],
            self.true_boxes[true],
            self.true_labels[true],
            self.crowd[true],
            _picked(self.masks, given),
            _picked(self.true_masks, true),
        )


def each(results: Mapping[str, Tensor]) -> list[Detected]:
    """The pictures of a batch, from what `Detection.evaluate` gives, without what they are filled up with."""
    columns = {name: tensor.cpu().numpy() for name, tensor in results.items()}
    rows = []
    for row in range(len(columns["labels"])):
        given, true = columns["labels"][row] != LEFT_OUT, columns["true_labels"][row] != LEFT_OUT
        chosen: dict[str, Any] = {
            name: column[row][true if name in _TRUE else given] for name, column in columns.items()
        }
        chosen |= {name: encoded(chosen[name]) for name in ("masks", "true_masks") if name in chosen}
        rows.append(Detected(**chosen))
    return rows


def evaluated(pictures: Sequence[Detected], names: Sequence[str], kind: Kind = "bbox") -> Any:
    """A COCOeval that has matched and counted the detections of all pictures, of any area, `MOST` of each.

    It compares boxes, or of `kind` segm masks.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images: list[dict[str, int]] = []
    categories = [{"id": label, "name": name} for label, name in enumerate(names)]
    truths: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        true_masks, masks = (picture.true_masks, picture.masks) if kind == "segm" else (None, None)
        height, width = next(iter([*(true_masks or ()), *(masks or ())]), {"size": (0, 0)})["size"]
        images.append({"id": number, "height": height, "width": width})
        rows = _annotations(number, picture.true_boxes, picture.true_labels, true_masks)
        truths += [row | {"iscrowd": int(crowd)} for row, crowd in zip(rows, picture.crowd, strict=True)]
        rows = _annotations(number, picture.boxes, picture.labels, masks)
        scores = picture.scores
        detections += [row | {"score": float(one), "iscrowd": 0} for row, one in zip(rows, scores, strict=True)]
    tables = []
    with redirect_stdout(io.StringIO()):  # it prints what it does
        for annotations in (truths, detections):
            table = COCO()
            numbered = [annotation | {"id": place} for place, annotation in enumerate(annotations, 1)]
            table.dataset = {"images": images, "categories": categories, "annotations": numbered}
            table.createIndex()
            tables.append(table)
        coco = COCOeval(*tables, kind)
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


def intervals(coco: Any, names: Sequence[str]) -> dict[str, Any]:
    """The intervals of 95% of `map`, `map50` and each class's `ap50`, over pictures drawn anew; always the same.

    It is the percentile bootstrap (Efron 1979): what was matched stays so, and is counted anew. There is none of fewer
    than ten pictures, none where all draws give the same, as where all is right, and none where pictures times classes
    are more than 5,000, which would take minutes.
    """
    count, classes = len(coco.params.imgIds), len(names)
    if count < _FEWEST or count * classes > _MOST_COUNTED:
        return {}
    matched = np.array(coco.evalImgs, dtype=object).reshape(classes, count)
    again, draws = copy(coco), generator(0, 13)
    drawn: dict[str, list[float]] = {}
    of_class: dict[str, list[float]] = {}
    for _ in range(_DRAWS):
        rows = torch.randint(count, (count,), generator=draws).numpy()
        again.evalImgs = list(matched[:, rows].reshape(-1))
        with redirect_stdout(io.StringIO()):
            again.accumulate()
        values = figures(again, names)
        for name in ("map", "map50"):
            drawn.setdefault(name, []).append(values[name])
        for name, value in values["ap50"].items():
            of_class.setdefault(name, []).append(value)
    return {name: _ends(values) for name, values in drawn.items()} | {
        "ap50": {name: _ends(values) for name, values in of_class.items()}
    }


@final
class AveragePrecision:
    """All figures of the detections that it was given; with `masks` those of masks too."""

    def __init__(self, names: Sequence[str], masks: bool = False) -> None:
        self.names = names
        self.kinds: dict[str, Kind] = {"": "bbox", "mask_": "segm"} if masks else {"": "bbox"}
        self.reset()

    def update(self, results: Mapping[str, Tensor]) -> None:
        self._pictures += each(results)
        self._matched.clear()

    def compute(self) -> dict[str, Any]:
        return self._of_kinds(figures)

    def intervals(self) -> dict[str, Any]:
        """Those of `compute` that have one."""
        return self._of_kinds(intervals)

    def _of_kinds(self, measured: Callable[[Any, Sequence[str]], dict[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for prefix, kind in self.kinds.items():
            if prefix not in self._matched:
                self._matched[prefix] = evaluated(self._pictures, self.names, kind)
            coco = self._matched[prefix]
            values |= {f"{prefix}{name}": value for name, value in measured(coco, self.names).items()}
        return values

    def reset(self) -> None:
        self._pictures: list[Detected] = []
        self._matched: dict[str, Any] = {}


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


class SharedInterval(SharedFigure):
    """The interval of such a figure, on `test`; of many pictures and classes there is none."""

    splits = ("test",)

    def compute(self) -> Any:
        if "intervals" not in self.computed:
            self.computed["intervals"] = self.whole.intervals()
        return self.computed["intervals"].get(self.name, {})


def _annotations(
    number: int, boxes: np.ndarray, labels: np.ndarray, masks: Sequence[Runs] | None
) -> Iterator[dict[str, Any]]:
    for place, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        left, top, right, bottom = map(float, box)
        sides = [left, top, right - left, bottom - top]
        row = {"image_id": number, "category_id": int(label), "bbox": sides, "area": sides[2] * sides[3]}
        yield row if masks is None else row | {"segmentation": masks[place]}  # any area counts: it needn't be a mask's


def _picked(masks: Sequence[Runs] | None, chosen: np.ndarray) -> Sequence[Runs] | None:
    return None if masks is None else [mask for mask, one in zip(masks, chosen, strict=True) if one]


def _mean(precision: np.ndarray) -> float:
    """Over the classes that occur; -1 stands for one that doesn't."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else math.nan


def _ends(values: Sequence[float]) -> dict[str, float]:
    numbers = np.array(values)[~np.isnan(values)]
    low, high = np.quantile(numbers, [0.025, 0.975]) if numbers.size else (math.nan, math.nan)
    return {"low": float(low), "high": float(high)} if low < high else {}
