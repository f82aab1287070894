"""What the datasets share: a split held in memory, parts held out, and values scaled.

N samples, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from labwright import Batch
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Augment
from labwright_vision.data.folders import Found, Known

Share = Annotated[
    float,
    Field(
        ge=0, lt=1, description="share of the pictures to learn from, held out where there is no such part; 0: none."
    ),
]

_DIGESTED = 4096  # pictures
# What pretrained networks expect: mean and deviation over ImageNet, values 0..1; of other channels their mean.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY = (0.449, 0.226)


def scaling(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, by which pixel values 0..1 are scaled."""
    return (_MEAN, _DEVIATION) if channels == len(_MEAN) else ((_GREY[0],) * channels, (_GREY[1],) * channels)


class Pictures:
    """A split held in memory: `x` (N, C, H, W) float32, already scaled, and `labels` (N,) int64."""

    def __init__(self, x: Tensor, labels: Tensor, augment: Augment | None = None) -> None:
        self.x = x
        self.labels = labels
        self.augment = augment if augment is not None and augment.active else None

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        x_BCHW = self.x[indices]
        if self.augment is not None:
            x_BCHW = self.augment(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), self.labels[indices])

    def plain(self) -> Pictures:
        return Pictures(self.x, self.labels)

    def identity(self) -> Iterator[str]:
        """A digest of the labels, and one of the pictures: of some thousands of them where there are more."""
        for tensor in (self.labels, self.x[:: max(1, len(self) // _DIGESTED)].contiguous()):
            yield hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def rows_of(labels: Any, indices: Tensor) -> Any:
    """The targets of some samples, of each head where there are several."""
    return {head: of[indices] for head, of in labels.items()} if isinstance(labels, dict) else labels[indices]


def of_known(known: Known, read: Callable[[Found], tuple[Tensor, ...]]) -> Pictures:
    """The pictures of other data, each as it is read."""
    x_NCHW = torch.cat([read(path)[0] for path, _ in known.files])
    return Pictures(x_NCHW, torch.tensor([label for _, label in known.files]))


def held_out(labels: Sequence[int], share: float, keys: Sequence[int]) -> np.ndarray:
    """Which samples are held out, a mask of shape (N,): round(share * N) of them, each class in proportion.

    Within a class those with the smallest keys are taken, so that the choice is fixed for good. Classes get what is
    left over in the order of the fractions they lost, so that none is more than one sample off its share.
    """
    members = defaultdict(list)
    for position, label in enumerate(labels):
        members[label].append(position)
    exact = {label: share * len(of_class) for label, of_class in sorted(members.items())}
    counts = {label: int(size) for label, size in exact.items()}
    missing = round(share * len(labels)) - sum(counts.values())
    for label in sorted(exact, key=lambda label: counts[label] - exact[label])[:missing]:
        counts[label] += 1
    mask = np.zeros(len(labels), dtype=bool)
    for label, of_class in members.items():
        mask[sorted(of_class, key=lambda position: keys[position])[: counts[label]]] = True
    return mask


def scaled(pixels: np.ndarray, mean: Tensor | float, deviation: Tensor | float, top: float = 255.0) -> Tensor:
    """Pixel values 0..`top` as float32 of about zero mean and unit variance: (value / top - mean) / deviation."""
    return torch.from_numpy(pixels.astype(np.float32)).div_(top).sub_(mean).div_(deviation)
