"""Object detection: classes and boxes of things in pictures, any number in each.

N boxes, B batch, G cells of a grid, C classes. A box is left, top, right and bottom as shares of its picture. One cell
of the grid answers for the thing whose middle it holds, as in YOLO (Redmon et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

SIZES = {"train": 160, "valid": 48, "test": 48}
SIDE, GRID = 24, 3


@dataclass(frozen=True)
class Boxes(lw.Port):
    """Forward returns `logits` (B, G, C + 1), the last for nothing, and `boxes` (B, G, 4), for the cells by rows."""

    names: tuple[str, ...]
    grid: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        corners = torch.rand(batch_size, 4, generator=generator).view(-1, 2, 2).sort(1).values
        return (corners.flatten(1),)


@dataclass(frozen=True)
class BoxBatch(lw.Batch):
    """`targets` are the boxes (N, 4) of all pictures in turn, `labels` (N,) their classes, `counts` (B,) how many."""

    labels: Tensor
    counts: Tensor

    def rows(self, some: slice) -> BoxBatch:
        first, last = (int(self.counts[:edge].sum()) for edge in some.indices(len(self))[:2])
        inputs = tuple(tensor[some] for tensor in self.inputs)
        return BoxBatch(inputs, self.targets[first:last], self.labels[first:last], self.counts[some])

    def each(self) -> list[tuple[Tensor, Tensor]]:
        """The labels and boxes of each picture."""
        counts = self.counts.tolist()
        return list(zip(self.labels.split(counts), self.targets.split(counts), strict=True))


class Drawn:
    """Pictures of up to three things: blocks are bright throughout, frames along their rim alone."""

    def __init__(self, size: int, seed: int) -> None:
        random = lw.generator(seed)
        self.pictures = 0.1 * torch.rand(size, 1, SIDE, SIDE, generator=random)
        self.labels: list[Tensor] = []
        self.boxes: list[Tensor] = []
        for picture in self.pictures:
            cells = torch.randperm(GRID**2, generator=random)[: int(torch.randint(4, (1,), generator=random))]
            # a corner and a size that keep a thing within its cell
            corners = torch.stack((cells % GRID, cells // GRID), 1) * (SIDE // GRID)
            corners = corners + torch.randint(0, 3, corners.shape, generator=random)
            ends = corners + torch.randint(4, 7, corners.shape, generator=random)
            labels = torch.randint(2, cells.shape, generator=random)
            for label, (left, top), (right, bottom) in zip(labels, corners.tolist(), ends.tolist(), strict=True):
                picture[0, top:bottom, left:right] = 1.0
                picture[0, top + 1 : bottom - 1, left + 1 : right - 1] *= float(label == 0)
            self.labels.append(labels)
            self.boxes.append(torch.cat((corners, ends), 1) / SIDE)

    def __len__(self) -> int:
        return len(self.pictures)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> BoxBatch:
        labels, boxes = ([side[index] for index in indices.tolist()] for side in (self.labels, self.boxes))
        counts = torch.tensor([len(own) for own in labels])
        return BoxBatch((self.pictures[indices],), torch.cat(boxes), torch.cat(labels), counts)


class Blocks(lw.Data):
    """Pictures of blocks and frames, from none to three of them."""

    item, target = lw.Image, Boxes
    source, licence = "made by this plugin", "Apache-2.0"
    suffixes = (".npy",)

    def prepare(self) -> None:
        self._splits = {name: Drawn(size, seed) for seed, (name, size) in enumerate(SIZES.items())}

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), Boxes(("block", "frame"), GRID)

    def split(self, name: str) -> Drawn | None:
        return self._splits.get(name)

    def read(self, path: Path) -> lw.Input:
        """A grey picture of any size with values 0..1."""
        picture = torch.from_numpy(np.load(path)).float()
        small = functional.interpolate(picture[None, None], (SIDE, SIDE), mode="area")
        return lw.Input((small,), origin=tuple(picture.shape))


class Grid(nn.Module):
    """Three convolutions that halve the picture, and a linear layer over each cell.

    Args:
        width: channels of the first convolution; the others have twice as many.
    """

    def __init__(
        self, inputs: lw.Image, outputs: Boxes, *, width: Annotated[int, Field(ge=4), lw.Integers(8, 64)] = 24
    ) -> None:
        super().__init__()
        sizes = (inputs.channels, width, 2 * width, 2 * width)
        convolutions = [nn.Conv2d(*pair, 3, 2, padding=1) for pair in pairwise(sizes)]
        self.body = nn.Sequential(*(layer for conv in convolutions for layer in (conv, nn.ReLU())))
        self.head = nn.Linear(sizes[-1], len(outputs.names) + 1 + 4)
        cells = torch.arange(outputs.grid**2)
        self.register_buffer("corners_G2", torch.stack((cells % outputs.grid, cells // outputs.grid), 1).float())
        self.grid = outputs.grid

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        answers = self.head(self.body(x_BCHW).flatten(2).mT)
        logits_BGC, places_BG4 = answers[..., :-4], answers[..., -4:].sigmoid()
        middles_BG2, halves_BG2 = (self.corners_G2 + places_BG4[..., :2]) / self.grid, places_BG4[..., 2:] / 2
        return {"logits": logits_BGC, "boxes": torch.cat((middles_BG2 - halves_BG2, middles_BG2 + halves_BG2), -1)}


class BoxF1:
    """Precision and recall in one, from 0 to 1: a box is right if half of it and of a true one's union is in both."""

    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def update(self, given: Sequence[tuple[Tensor, Tensor]], true: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Labels and boxes of each picture."""
        for (labels_K, boxes_K4), (labels_N, boxes_N4) in zip(given, true, strict=True):
            right_KN = (overlap(boxes_K4, boxes_N4) >= 0.5) & (labels_K[:, None] == labels_N)
            self.right += int(right_KN.any(0).sum())
            self.counted += len(labels_K) + len(labels_N)

    def compute(self) -> float:
        return 2 * self.right / self.counted if self.counted else float("nan")

    def reset(self) -> None:
        self.right = self.counted = 0


def overlap(one_K4: Tensor, other_N4: Tensor) -> Tensor:
    """The intersection of each pair of boxes over their union, (K, N)."""
    shared = torch.minimum(one_K4[:, None, 2:], other_N4[:, 2:]) - torch.maximum(one_K4[:, None, :2], other_N4[:, :2])
    inside_KN = shared.clamp(min=0).prod(-1)
    area_K, area_N = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one_K4, other_N4))
    return inside_KN / (area_K[:, None] + area_N - inside_KN)


class Detection(lw.Task):
    """Find things: the class and box of each. Higher is better: box_f1.

    Args:
        data: pictures with the class and box of each thing.
        box_weight: weight of the boxes' loss beside that of the classes.
    """

    goal = lw.Goal("box_f1", "maximize")

    def __init__(
        self,
        data: Annotated[lw.Data, lw.Part("data")],
        *,
        box_weight: Annotated[float, Field(gt=0), lw.Uniform(1.0, 100.0, log=True)] = 10.0,
    ) -> None:
        self.data, self.box_weight = data, box_weight

    def loss(self, model: nn.Module, batch: BoxBatch, criterion: None, phase: str) -> dict[str, Tensor]:
        """Both parts are means over pictures, so that it doesn't matter how many boxes a micro-batch has."""
        answers = model(*batch.inputs)
        logits_BGC, boxes_BG4 = answers["logits"], answers["boxes"]
        (size, cells, classes), (count, _) = logits_BGC.shape, batch.targets.shape
        picture_N = torch.arange(size, device=boxes_BG4.device).repeat_interleave(batch.counts, output_size=count)
        column_N, row_N = ((batch.targets[:, :2] + batch.targets[:, 2:]) / 2 * GRID).long().unbind(1)
        place = (picture_N, row_N * GRID + column_N)
        labels_BG = torch.full((size, cells), classes - 1, device=boxes_BG4.device)
        labels_BG = labels_BG.index_put(place, batch.labels)
        box = functional.smooth_l1_loss(boxes_BG4[place], batch.targets, reduction="sum", beta=0.1) / size
        return {"class": functional.cross_entropy(logits_BGC.mT, labels_BG), "box": self.box_weight * box}

    def evaluate(self, model: nn.Module, batch: BoxBatch) -> dict[str, Any]:
        return {"given": self._given(model, batch.inputs), "true": batch.each()}

    def _given(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
        """The labels and boxes of what is found in each picture."""
        answers: Mapping[str, Tensor] = model(*inputs)
        found = []
        for labels_G, boxes_G4 in zip(answers["logits"].argmax(-1), answers["boxes"], strict=True):
            there_G = labels_G < answers["logits"].shape[-1] - 1
            found.append((labels_G[there_G], boxes_G4[there_G]))
        return found

    def metrics(self) -> dict[str, lw.Metric]:
        return {"box_f1": lw.Of(BoxF1(), "given", "true")}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """What is in each picture, and its left, top, right and bottom in the pixels of the file."""
        outputs = self.ports()[1]
        assert isinstance(outputs, Boxes)
        answers = []
        for (labels, boxes), (height, width) in zip(self._given(model, inputs), origins, strict=True):
            names = [outputs.names[label] for label in labels.tolist()]
            scale = torch.tensor((width, height, width, height), device=boxes.device)
            answers.append({"things": names, "boxes": (boxes * scale).tolist()})
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        """Some pictures with what was found in them."""
        part = self.data.split(split)
        if part is None:
            return ()
        inputs = part.fetch(torch.arange(min(6, len(part))), 0, 0).to(device).inputs
        with lw.evaluating(model):
            given = self._given(model, inputs)
        pictures = [framed(picture.cpu(), boxes.cpu()) for picture, (_, boxes) in zip(inputs[0], given, strict=True)]
        return [lw.Pictures("Found", pictures, [f"{len(labels)} found" for labels, _ in given])]


def framed(picture_CHW: Tensor, boxes_N4: Tensor) -> Tensor:
    """A picture twice as large with boxes drawn in red."""
    colours = picture_CHW.expand(3, -1, -1).repeat_interleave(2, 1).repeat_interleave(2, 2).clone()
    edges = (boxes_N4 * colours.shape[1]).round().long().clamp(0, colours.shape[1] - 1)
    for left, top, right, bottom in edges.tolist():
        inside = colours[:, top + 1 : bottom, left + 1 : right].clone()
        colours[:, top : bottom + 1, left : right + 1] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        colours[:, top + 1 : bottom, left + 1 : right] = inside
    return colours
