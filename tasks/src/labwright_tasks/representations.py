"""What representations are worth, without training on them: metrics of what `TwoViews.evaluate` gives.

N samples or B of a batch, M known ones, F features of a representation, D numbers of a projection, C classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

_AT_ONCE = 1024  # samples compared with all neighbours together


class NeighbourAccuracy:
    """The share of samples whose nearest neighbours among known ones vote for their class; nan where none are known.

    Each of the `k` most similar, by the cosine s of their representations, has exp(s / `temperature`) votes for its own
    class.

    Source: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4.
    """

    def __init__(self, k: int, temperature: float) -> None:
        self.k, self.temperature = k, temperature
        self.reset()

    def update(self, features_BF: Tensor, labels_B: Tensor, known_MF: Tensor, known_labels_M: Tensor) -> None:
        """Take in some samples, and others of known classes."""
        given = features_BF, labels_B, known_MF, known_labels_M
        for kept, tensor in zip(self._kept, given, strict=True):
            kept.append(tensor)

    def compute(self) -> float:
        if not any(map(len, self._kept[2])):
            return math.nan
        features_NF, labels_N, known_MF, known_labels_M = (torch.cat(kept) for kept in self._kept)
        voted_N = vote(features_NF, known_MF, known_labels_M, k=self.k, temperature=self.temperature)
        return float((voted_N == labels_N).sum()) / len(labels_N)

    def reset(self) -> None:
        self._kept: tuple[list[Tensor], ...] = ([], [], [], [])


def vote(features_NF: Tensor, known_MF: Tensor, known_labels_M: Tensor, *, k: int, temperature: float) -> Tensor:
    """The class that each sample's nearest neighbours vote for, (N,) int64; of equal votes the smaller label's."""
    known_MF, classes = functional.normalize(_precise(known_MF), dim=1), int(known_labels_M.max()) + 1
    voted = []
    for some_BF in torch.split(functional.normalize(_precise(features_NF), dim=1), _AT_ONCE):
        similarity_BK, places_BK = (some_BF @ known_MF.T).topk(min(k, len(known_MF)), dim=1)
        # as shares of the nearest one's votes, so that no temperature is too low for a float
        votes_BK = ((similarity_BK - similarity_BK[:, :1]) / temperature).exp()
        votes_BC = votes_BK.new_zeros(len(some_BF), classes).scatter_add_(1, known_labels_M[places_BK], votes_BK)
        voted.append(votes_BC.argmax(1))
    return torch.cat(voted)


class _OfProjections(ABC):
    """A number made of all projections of a split; nan before the first."""

    def __init__(self) -> None:
        self.reset()

    def update(self, projections_BD: Tensor) -> None:
        self._kept.append(projections_BD)

    def compute(self) -> float:
        # in float64 on the host: what is looked for are differences that are small beside the numbers
        return self.of(torch.cat(self._kept).cpu().double()) if self._kept else math.nan

    @abstractmethod
    def of(self, projections_ND: Tensor) -> float: ...

    def reset(self) -> None:
        self._kept: list[Tensor] = []


class Spread(_OfProjections):
    """How far normalised projections are spread: 1 evenly over the sphere, 0 if all point the same way.

    It is the mean of each dimension's standard deviation, times the root of how many there are (Chen & He 2021,
    section 4.1).
    """

    def of(self, projections_ND: Tensor) -> float:
        directions_ND = functional.normalize(projections_ND, dim=1)
        return float(directions_ND.std(0, correction=0).mean()) * math.sqrt(directions_ND.shape[1])


class Rank(_OfProjections):
    """How many dimensions projections fill: the exponential of the entropy of their singular values' shares.

    Higher goes with representations that serve more tasks better, without a label (Garrido et al. 2023, "RankMe").
    """

    def of(self, projections_ND: Tensor) -> float:
        shares = torch.linalg.svdvals(projections_ND)
        shares = shares / shares.sum()
        return float(torch.special.entr(shares).sum().exp())


def _precise(features: Tensor) -> Tensor:
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
