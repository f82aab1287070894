"""The handwritten digits with several things to say about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from labwright import Batch, Classes, Heads, LabwrightError, Port, Values
from torch import Tensor

from labwright_vision.data.augment import Rotate, Scale, Shift
from labwright_vision.data.digits import Digits, pixels
from labwright_vision.data.pictures import Pictures, Share

_INK, _SPREAD = 4.8842, 0.5383  # of all 1,797 pictures: the mean pixel value 0..16, and its standard deviation
_PORTS = {"class": Classes(tuple("0123456789")), "parity": Classes(("even", "odd")), "ink": Values(1)}


class DigitHeads(Digits):
    """The digits of `vision/digits` with up to three heads: `class`, `parity`, and `ink`, how bright a picture is.

    Ink is the mean pixel value in standard deviations from its mean over all pictures, of the picture as the model sees
    it, augmented in training.

    Args:
        heads: which heads there are, one or more.
    """

    target = Heads  # type: ignore[assignment]  # Digits has Classes

    def __init__(
        self,
        *,
        heads: tuple[Literal["class", "parity", "ink"], ...] = ("class", "parity", "ink"),
        valid: Share = 0.1,
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
        return None if part is None else ManyHeaded(part, self.heads)


class ManyHeaded:
    """Pictures with targets of several heads."""

    def __init__(self, part: Pictures, heads: Sequence[str]) -> None:
        self.part, self.heads = part, heads

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        batch = self.part.fetch(indices, epoch, seed)
        ink = (pixels(batch.inputs[0]).flatten(1).mean(1, keepdim=True) - _INK) / _SPREAD
        known = {"class": batch.targets, "parity": batch.targets % 2, "ink": ink}
        return Batch(batch.inputs, {head: known[head] for head in self.heads})

    def plain(self) -> ManyHeaded:
        return ManyHeaded(self.part.plain(), self.heads)
