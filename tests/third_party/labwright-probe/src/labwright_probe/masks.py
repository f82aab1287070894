"""Segmentation: a class for each pixel of a picture, some of which don't count. B batch, C classes, H, W pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import labwright as lw
import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

SIZES = {"train": 96, "valid": 32, "test": 32}
SIDE = 16


@dataclass(frozen=True)
class Mask(lw.Port):
    """Forward returns logits_BHWC; the target is labels_BHW, int64, LEFT_OUT where a pixel doesn't count."""

    names: tuple[str, ...]
    side: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, len(self.names), (batch_size, self.side, self.side), generator=generator),)


class Discs(lw.Data):
    """A bright disc beside a grey bar, with noise. The rim of the disc belongs to neither and is left out."""

    item, target = lw.Image, Mask
    source, licence = "made by this plugin", "Apache-2.0"
    suffixes = (".npy",)

    def prepare(self) -> None:
        self._splits = {name: self._made(size, seed) for seed, (name, size) in enumerate(SIZES.items())}

    @staticmethod
    def _made(size: int, seed: int) -> lw.TensorSplit:
        random = lw.generator(seed)
        middles_N211 = 4 + 8 * torch.rand(size, 2, 1, 1, generator=random)
        rows_HW, columns_HW = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        far_NHW = ((rows_HW - middles_N211[:, 0]) ** 2 + (columns_HW - middles_N211[:, 1]) ** 2).sqrt()
        labels_NHW = torch.where(rows_HW - middles_N211[:, 1] // 2 < 3, 2, 0).where(far_NHW > 4, 1)
        pictures_NHW = torch.tensor([0.0, 1.0, 0.5])[labels_NHW] + 0.3 * torch.randn(far_NHW.shape, generator=random)
        labels_NHW = labels_NHW.masked_fill((far_NHW - 4).abs() < 0.7, lw.LEFT_OUT)
        return lw.TensorSplit((pictures_NHW.unsqueeze(1),), labels_NHW)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), Mask(("ground", "disc", "bar"), SIDE)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)

    def read(self, path: Path) -> lw.Input:
        """A grey picture of any size with values 0..1."""
        picture = torch.from_numpy(np.load(path)).float()
        small = functional.interpolate(picture[None, None], (SIDE, SIDE), mode="area")
        return lw.Input((small,), origin=tuple(picture.shape))


class Convolutions(nn.Module):
    """Convolutions of 3x3 that keep the picture's size.

    Args:
        width: channels between the convolutions.
    """

    def __init__(
        self, inputs: lw.Image, outputs: Mask, *, width: Annotated[int, Field(ge=1), lw.Integers(4, 32)] = 12
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs.channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(width, len(outputs.names), 3, padding=1),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BHWC: Tensor = self.layers(x_BCHW).movedim(1, -1)
        return logits_BHWC


class OfPixels(Protocol):
    """What a loss is called with: logits (P, C) and labels (P,) of the pixels of all pictures."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...


class Overlap:
    """Intersection over union of each class, over the pixels that count of a whole split."""

    higher_is_better = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.reset()

    def update(self, logits_BHWC: Tensor, labels_BHW: Tensor) -> None:
        counted = labels_BHW != lw.LEFT_OUT
        pairs = labels_BHW[counted] * len(self.names) + logits_BHWC.argmax(-1)[counted]
        self.table += pairs.bincount(minlength=len(self.names) ** 2).view_as(self.table).cpu()

    def compute(self) -> dict[str, float]:
        right = self.table.diagonal()
        share = right / (self.table.sum(0) + self.table.sum(1) - right)
        return dict(zip(self.names, share.tolist(), strict=True)) | {"mean": float(share.nanmean())}

    def reset(self) -> None:
        self.table = torch.zeros(len(self.names), len(self.names), dtype=torch.int64)


class Segmentation(lw.Task):
    """Tell the class of each pixel. The loss is a mean over the pixels that count. Higher is better: iou/mean.

    Args:
        data: pictures with a class for each pixel.
    """

    goal = lw.Goal("iou/mean", "maximize")
    contract = OfPixels

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        self.data = data

    def weight(self, batch: lw.Batch) -> float:
        return int((batch.targets != lw.LEFT_OUT).sum())

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: OfPixels, phase: str) -> Tensor:
        return criterion(model(*batch.inputs).flatten(0, 2), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> dict[str, Tensor]:
        logits_BHWC = model(*batch.inputs)
        right_BHW = logits_BHWC.argmax(-1) == batch.targets
        return {
            "logits": logits_BHWC,
            "labels": batch.targets,
            "right": right_BHW,
            "counted": batch.targets != lw.LEFT_OUT,
        }

    def metrics(self) -> dict[str, lw.Metric]:
        outputs = self.ports()[1]
        assert isinstance(outputs, Mask)
        iou = lw.Of(Overlap(outputs.names), "logits", "labels")
        return {"iou": iou, "accuracy": lw.Of(lw.Mean(), "right", "counted")}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """The share of the disc, and a file with the label of each pixel, as many as the picture had."""
        answers = []
        for labels_HW, (height, width) in zip(model(*inputs).argmax(-1).cpu(), origins, strict=True):
            large = functional.interpolate(labels_HW[None, None].float(), (height, width)).byte()
            file = io.BytesIO()
            np.save(file, large[0, 0].numpy())
            mask = lw.Attachment(file.getvalue(), ".npy")
            answers.append({"disc": float((labels_HW == 1).float().mean()), "mask": mask})
        return answers
