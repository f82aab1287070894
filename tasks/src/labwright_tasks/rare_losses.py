"""Losses for classes of which some are rare, as those of pixels are. B positions or samples, C classes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, final

import torch
from labwright import LEFT_OUT, Choice, Loss, Uniform
from pydantic import Field
from torch import Tensor


@final
class Focal(Loss):
    """The mean of (1 - p)**gamma * -ln(p), p the probability of the true class: what is well told weighs little.

    A label of -100 leaves its sample out.

    Args:
        gamma: exponent by which samples that are told well weigh less; 0 is cross-entropy.

    Source: Lin et al. 2017, equation 4, for two classes; here for any number, by softmax.
    """

    def __init__(self, *, gamma: Annotated[float, Field(ge=0), Choice(0.5, 1.0, 2.0, 5.0)] = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (..., B, C) and int64 labels (..., B) in 0..C-1 to losses of shape (...)."""
        counted = labels != LEFT_OUT
        log_p = _exact(logits).log_softmax(-1).gather(-1, labels.where(counted, 0).unsqueeze(-1)).squeeze(-1)
        # 1 - p as it is in the gradient: at p = 1 a power below 1 has an infinite slope, times 0
        rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)
        each = -(rest**self.gamma) * log_p
        return each.where(counted, 0.0).sum(-1) / counted.sum(-1)

    def normalizer(self, targets: Tensor) -> float | None:
        """The labels that count, where some don't."""
        counted = int((targets != LEFT_OUT).sum())
        return counted if counted < targets.numel() else None


class _OfOverlaps(Loss):
    """1 - a ratio made of how much of each class overlaps what is given to it, over all positions of a batch."""

    separable = False  # the ratio is one of the whole batch

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (..., B, C) and int64 labels (..., B) in 0..C-1 to losses of shape (...)."""
        counted = labels != LEFT_OUT
        p_BC = _exact(logits).softmax(-1) * counted.unsqueeze(-1)
        label_B1 = labels.where(counted, 0).unsqueeze(-1)
        true_BC = torch.zeros_like(p_BC).scatter_(-1, label_B1, counted.unsqueeze(-1).to(p_BC.dtype))
        right_C, given_C, true_C = (p_BC * true_BC).sum(-2), p_BC.sum(-2), true_BC.sum(-2)
        return 1 - self._ratio(right_C, given_C, true_C)

    @abstractmethod
    def _ratio(self, right_C: Tensor, given_C: Tensor, true_C: Tensor) -> Tensor:
        """Of the sums of probabilities that are right and given, and how many labels there are, of each class."""


@final
class Dice(_OfOverlaps):
    """1 - the mean over classes of (2 * right + smooth) / (given + true + smooth), of sums of probabilities.

    The sums are over all positions of a batch, so that a class's weight doesn't depend on how many it has. It goes best
    beside cross-entropy: see loss "sum". A label of -100 leaves its position out.

    Args:
        smooth: added above and below the line, in positions: a class that neither occurs nor is given counts as right.

    Source: Sudre et al. 2017, section 2.1, with a term for each class and `smooth` in both places.
    """

    def __init__(self, *, smooth: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def _ratio(self, right_C: Tensor, given_C: Tensor, true_C: Tensor) -> Tensor:
        return ((2 * right_C + self.smooth) / (given_C + true_C + self.smooth)).mean(-1)


@final
class Tversky(_OfOverlaps):
    """1 - the mean over classes of (right + smooth) / (right + alpha * wrong + beta * missed + smooth).

    `wrong` is what is given to a class and isn't of it, `missed` what is of it and isn't given: a `beta` above `alpha`
    finds more of rare classes. Both 0.5 and a `smooth` of s are the dice loss with a `smooth` of 2 * s.

    Args:
        alpha: weight of what is given to a class and isn't of it.
        beta: weight of what is of a class and isn't given to it.
        smooth: added above and below the line, in positions: a class that neither occurs nor is given counts as right.

    Source: Salehi et al. 2017, equation 3.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0), Uniform(0.1, 0.9)] = 0.3,
        beta: Annotated[float, Field(ge=0), Uniform(0.1, 0.9)] = 0.7,
        smooth: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def _ratio(self, right_C: Tensor, given_C: Tensor, true_C: Tensor) -> Tensor:
        wrong_C, missed_C = given_C - right_C, true_C - right_C
        weighed_C = right_C + self.alpha * wrong_C + self.beta * missed_C
        return ((right_C + self.smooth) / (weighed_C + self.smooth)).mean(-1)


@final
class GeneralizedDice(_OfOverlaps):
    """1 - 2 * (sum of w * right) / (sum of w * (given + true)), over classes, each weighing w = 1 / true**2.

    A class that isn't in the batch weighs as much as the rarest that is. Source: Sudre et al. 2017, section 2.1.
    """

    def _ratio(self, right_C: Tensor, given_C: Tensor, true_C: Tensor) -> Tensor:
        there = true_C > 0
        weights_C = 1 / true_C.where(there, torch.inf) ** 2
        weights_C = weights_C.where(there, weights_C.amax(-1, keepdim=True))
        return 2 * (weights_C * right_C).sum(-1) / (weights_C * (given_C + true_C)).sum(-1)


def _exact(logits: Tensor) -> Tensor:
    """In float32 at least: sums over a batch's pixels have more digits than half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
