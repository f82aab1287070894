"""A split of pictures with boxes. B batch, C channels, H height, W width, N boxes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from labwright import Batch
from torch import Tensor

from labwright_vision.data.augment import Colours
from labwright_vision.data.pictures import scaling
from labwright_vision.detection.data.augment import Sample, Zoom
from labwright_vision.detection.ports import padded


class BoxSplit:
    """Pictures with boxes: `sample(i)` gives the i-th of `length`, and `zoom` and `colours` change them.

    `known(i)` gives its boxes alone, where the picture would have to be decoded.
    """

    def __init__(
        self,
        sample: Callable[[int], Sample],
        length: int,
        zoom: Zoom | None = None,
        colours: Colours | None = None,
        known: Callable[[int], Sample] | None = None,
    ) -> None:
        self.sample, self.length = sample, length
        self.known = known or sample
        self.zoom = zoom if zoom is not None and zoom.active else None
        self.colours = colours if colours is not None and colours.active else None

    def __len__(self) -> int:
        return self.length

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        if self.zoom is not None:
            x_BCHW, samples = self.zoom(self.sample, self.length, indices, epoch, seed)
        else:
            samples = [self.sample(index) for index in indices.tolist()]
            x_BCHW = torch.stack([sample.pixels for sample in samples]).float()
        x_BCHW = scaled(x_BCHW)
        if self.colours is not None:
            x_BCHW = self.colours(x_BCHW, indices, epoch, seed)
        return Batch(
            (x_BCHW,),
            padded(
                [sample.boxes for sample in samples],
                [sample.labels for sample in samples],
                [sample.crowd for sample in samples],
                None if samples[0].masks is None else [sample.masks for sample in samples if sample.masks is not None],
            ),
        )

    def plain(self) -> BoxSplit:
        return BoxSplit(self.sample, self.length, known=self.known)


def scaled(x_BCHW: Tensor) -> Tensor:
    """Pixel values 0..255 as a model takes them."""
    mean, deviation = (torch.tensor(of_each)[:, None, None] for of_each in scaling(x_BCHW.shape[1]))
    return x_BCHW.div_(255).sub_(mean).div_(deviation)


def shown(x_BCHW: Tensor) -> list[Tensor]:
    """What a model takes as pictures with values 0..1."""
    mean, deviation = (torch.tensor(of_each)[:, None, None] for of_each in scaling(x_BCHW.shape[1]))
    return list((x_BCHW.cpu() * deviation + mean).clamp(0, 1))
