"""Samples mixed in pairs, and their labels with them: mixup and CutMix. B batch, C channels, H height, W width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from labwright import Batch, Data, Features, Image, LabwrightError, normalizer
from torch import Generator, Tensor

from labwright_tasks.weights import weights_in


@dataclass(frozen=True)
class MixedBatch(Batch):
    """A batch whose samples are `shares` (B,) of their own `targets`, and for the rest of the labels `others` (B,).

    The share is the same for all. Of a `piece` of one the others may be of classes that weigh more than its own.
    """

    others: Tensor
    shares: Tensor
    piece: bool = False

    def rows(self, some: slice) -> Self:
        inputs = tuple(x[some] for x in self.inputs)
        own = {name: getattr(self, name)[some] for name in ("targets", "others", "shares")}
        return replace(self, inputs=inputs, **own, piece=True)


def check_mixing(data: Data, *, mixup: float, cutmix: float) -> None:
    """Raises LabwrightError for data whose samples can't be mixed so."""
    if cutmix and not issubclass(data.item, Image):
        raise LabwrightError(f"task.cutmix: it cuts from pictures; {type(data).__name__} has {data.item.__name__}.")
    if mixup and not issubclass(data.item, Image | Features):
        raise LabwrightError(
            f"task.mixup: it mixes pictures or features, which are numbers of one size; {type(data).__name__} has "
            f"{data.item.__name__}."
        )


def mixed(batch: Batch, generator: Generator, *, mixup: float, cutmix: float) -> MixedBatch:
    """Each sample mixed with another of its batch, by a share drawn from Beta(alpha, alpha).

    With `mixup` as alpha their numbers are averaged (Zhang et al. 2018), with `cutmix` a rectangle of the other is put
    in (Yun et al. 2019), whose area says what is left of the share. With both it is either, as often.
    Raises LabwrightError where samples have weights.
    """
    if weights_in(batch) is not None:
        raise LabwrightError("task.mixup, task.cutmix: the data weighs its samples, and mixed ones have no weight.")
    draws = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    order_B = torch.randperm(len(batch), generator=generator)
    cut = bool(cutmix) and (not mixup or draws.random() < 0.5)
    alpha = cutmix if cut else mixup
    share = float(draws.beta(alpha, alpha))
    (x, *rest) = batch.inputs
    if cut:
        x, share = _cut_in(x, x[order_B], share, draws)
    else:
        x = share * x + (1 - share) * x[order_B]
    shares_B = torch.full((len(batch),), share)
    return MixedBatch((x, *rest), batch.targets, batch.targets[order_B], shares_B)


def mixed_loss(criterion: Any, logits: Tensor, batch: MixedBatch) -> Any:
    """The loss by a sample's own labels and by the other's, weighed by its share of them; of a sum each part."""
    share = batch.shares[0].to(torch.promote_types(logits.dtype, torch.float32))
    own, others = criterion(logits, batch.targets), criterion(logits, batch.others)
    # asked of a label on the host first: where classes have no weights nothing is waited for
    if batch.piece and normalizer(criterion, torch.zeros(1, dtype=torch.int64)) is not None:
        # both are parts of one sum, which the trainer divides by what the own labels of all pieces weigh
        divisor, other = (normalizer(criterion, labels.cpu()) or 0.0 for labels in (batch.targets, batch.others))
        more = other / divisor if divisor else 0.0
        others = {name: more * of for name, of in others.items()} if isinstance(others, dict) else more * others
    if isinstance(own, dict):
        return {name: share * own[name] + (1 - share) * others[name] for name in own}
    return share * own + (1 - share) * others


def _cut_in(x_BCHW: Tensor, others_BCHW: Tensor, share: float, draws: np.random.Generator) -> tuple[Tensor, float]:
    """Pictures with a rectangle of the others, and the share of the area that is left of themselves."""
    height, width = x_BCHW.shape[2:]
    side = (1 - share) ** 0.5
    middle_y, middle_x = draws.integers(height), draws.integers(width)
    # cut off at the borders, as the paper does
    top, bottom = (int(np.clip(middle_y + sign * height * side / 2, 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(middle_x + sign * width * side / 2, 0, width)) for sign in (-1, 1))
    mixed_BCHW = x_BCHW.clone()
    mixed_BCHW[:, :, top:bottom, left:right] = others_BCHW[:, :, top:bottom, left:right]
    return mixed_BCHW, 1 - (bottom - top) * (right - left) / (height * width)
