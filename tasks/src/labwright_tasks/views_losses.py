"""Losses over two views of the same samples. B samples, D numbers of a projection.

Row i of `first` and of `second` are the views of sample i. What compares the samples of a batch with one another isn't
separable: `device.accumulate` may not cut a batch.
"""

from __future__ import annotations

from typing import Annotated, Protocol, final

import torch
from labwright import Loss, Uniform
from pydantic import Field
from torch import Tensor
from torch.nn import functional

Weight = Annotated[float, Field(ge=0)]

_EPSILON = 1e-4  # under the root of a variance, whose slope has no end at 0


class ViewsLoss(Protocol):
    """What a loss is called with: projections of both views, (B, D) each. With a teacher `second` is what it gave."""

    def __call__(self, first: Tensor, second: Tensor) -> Tensor | dict[str, Tensor]: ...


@final
class NtXent(Loss):
    """The normalised temperature-scaled cross-entropy of SimCLR, in nats: which of all others is a view's own pair.

    A view's other one is to be told from the 2B - 2 views of other samples, by cosine similarity over `temperature`.

    Args:
        temperature: divides the cosines; a lower one looks more at the views that are most alike.

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual representations", equation 1.
    """

    separable = False

    def __init__(self, *, temperature: Annotated[float, Field(gt=0), Uniform(0.05, 1.0, log=True)] = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        views_ND = functional.normalize(_precise(torch.cat([first, second])), dim=1)
        itself_NN = torch.eye(len(views_ND), dtype=torch.bool, device=views_ND.device)
        similarity_NN = (views_ND @ views_ND.T / self.temperature).masked_fill(itself_NN, -torch.inf)
        pairs_N = torch.arange(len(views_ND), device=views_ND.device).roll(len(first))
        return functional.cross_entropy(similarity_NN, pairs_N)


@final
class InBatch(Loss):
    """Which second one of the batch belongs to a first one: the cross-entropy over their cosines, in nats.

    Args:
        temperature: divides the cosines.
        both: whether it is the mean of that and of which first one belongs to a second one.

    Source: Henderson et al. 2017, "Efficient natural language response suggestion for smart reply", section 4.2, with
    cosines as Reimers & Gurevych's sentence-transformers have them ("multiple negatives ranking"); both ways Radford et
    al. 2021, "CLIP", figure 3. Over the same texts twice it is SimCSE's, Gao et al. 2021, equation 1.
    """

    separable = False

    def __init__(
        self, *, temperature: Annotated[float, Field(gt=0), Uniform(0.01, 0.5, log=True)] = 0.05, both: bool = True
    ) -> None:
        super().__init__()
        self.temperature, self.both = temperature, both

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        first_BD, second_BD = (functional.normalize(_precise(views), dim=1) for views in (first, second))
        similarity_BB = first_BD @ second_BD.T / self.temperature
        own_B = torch.arange(len(first), device=first.device)
        loss = functional.cross_entropy(similarity_BB, own_B)
        return (loss + functional.cross_entropy(similarity_BB.T, own_B)) / 2 if self.both else loss


@final
class VICReg(Loss):
    """Variance, invariance and covariance of two views' projections, as three parts with their weights.

    Args:
        invariance: weight of the mean squared difference of the views, over samples and dimensions.
        variance: weight of how far the standard deviation of a dimension stays below 1, the mean over dimensions and
            views.
        covariance: weight of the sum of squared covariances of different dimensions over D, summed over the views.

    Source: Bardes et al. 2022, "VICReg", section 4.1, with means where the authors' code takes them (the paper sums the
    invariance over dimensions, and the variance over views).
    """

    separable = False

    def __init__(self, *, invariance: Weight = 25.0, variance: Weight = 25.0, covariance: Weight = 1.0) -> None:
        super().__init__()
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        first, second = _precise(first), _precise(second)
        centred = [view - view.mean(dim=0) for view in (first, second)]
        too_narrow = [1 - (view.square().sum(0) / (len(view) - 1) + _EPSILON).sqrt() for view in centred]
        return {
            "invariance": self.invariance * functional.mse_loss(first, second),
            "variance": self.variance * torch.stack(too_narrow).relu().mean(),
            "covariance": self.covariance * torch.stack([_correlated(view) for view in centred]).sum(),
        }


def _correlated(centred_BD: Tensor) -> Tensor:
    """The sum of squares of the covariance of different dimensions, over D."""
    covariance_DD = centred_BD.T @ centred_BD / (len(centred_BD) - 1)
    return (covariance_DD.square().sum() - covariance_DD.diagonal().square().sum()) / len(covariance_DD)


@final
class Byol(Loss):
    """The squared distance of normalised predictions and what a teacher gave for the other view: 2 - 2 cosine.

    Needs a model with a teacher, as without one all views at the same point are its minimum.

    Source: Grill et al. 2020, "Bootstrap your own latent", equation 2.
    """

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return 2 - 2 * functional.cosine_similarity(_precise(first), _precise(second), dim=1).mean()


def _precise(projections: Tensor) -> Tensor:
    """In float32 at least: sums over a batch lose too much in half precision."""
    return projections.float() if projections.dtype in (torch.bfloat16, torch.float16) else projections
