"""The handwritten digits with several things to say about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from labwright import Batch, Classes, Heads, LabwrightError, Port, Values
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Rotate, Scale, Shift
from labwright_vision.data.digits import Digits, pixels
from labwright_vision.data.pictures import Pictures

_PORTS = {"class": Classes(tuple("0123456789")), "parity": Classes(("even", "odd")), "ink": Values(1)}


class DigitHeads(Digits):
    """The digits of `vision/digits` with up to three heads: `class`, `parity`, and `ink`, the mean pixel value 0..16.

    `heads` are those there are. Ink is that of the picture as it is, before augmentation; the other settings are those
    of `vision/digits`.
    """

    target = Heads

    def __init__(
        self,
        *,
        heads: tuple[Literal["class", "parity", "ink"], ...] = ("class", "parity", "ink"),
        valid: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
    ) -> None:
        super().__init__(valid=valid, rotate=rotate, shift=shift, scale=scale)
        if not heads:
            raise LabwrightError('task.data.heads: it is empty; it holds some of "class", "parity" and "ink".')
        self.heads = heads

    def ports(self) -> tuple[Port, Port]:
        return super().ports()[0], Heads({name: _PORTS[name] for name in self.heads})

    def split(self, name: str) -> ManyHeaded | None:  # type: ignore[override]
        part = super().split(name)
        if part is None:
            return None
        known = {
            "class": part.labels,
            "parity": part.labels % 2,
            "ink": pixels(part.x).flatten(1).mean(1, keepdim=True),
        }
        return ManyHeaded(part, {head: known[head] for head in self.heads})


class ManyHeaded:
    """Pictures with targets of several heads; `labels` has those of each."""

    def __init__(self, part: Pictures, labels: Mapping[str, Tensor]) -> None:
        self.part, self.labels = part, labels

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        inputs = self.part.fetch(indices, epoch, seed).inputs
        return Batch(inputs, {head: targets[indices] for head, targets in self.labels.items()})

    def plain(self) -> ManyHeaded:
        return ManyHeaded(self.part.plain(), self.labels)
