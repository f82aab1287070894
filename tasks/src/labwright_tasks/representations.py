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
_AS_NEAR = 1e-6  # of cosines: what rounding may do to those of equal samples


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


class _OfPairs(ABC):
    """What the places of pairs are worth: each of both sides is looked for among all of the other side, by the cosine.

    Those of other pairs that are as near stand before it or behind it by chance, of which this is the expectation: at
    one point, where representations have collapsed, all of N are found as often as by guessing, 1 / N.
    """

    def __init__(self) -> None:
        self.reset()

    def update(self, features_BF: Tensor, others_BF: Tensor) -> None:
        """Take in the representations of some pairs."""
        for kept, given in zip(self._kept, (features_BF, others_BF), strict=True):
            kept.append(functional.normalize(_precise(given), dim=1))

    def compute(self) -> float:
        if not self._kept[0]:
            return math.nan
        first_NF, second_NF = (torch.cat(kept) for kept in self._kept)
        if bool(first_NF.isnan().any() or second_NF.isnan().any()):
            return math.nan
        sides = (first_NF, second_NF), (second_NF, first_NF)
        return float(torch.cat([self.of(*places(*side)) for side in sides]).mean())

    @abstractmethod
    def of(self, nearer_N: Tensor, as_near_N: Tensor) -> Tensor:
        """What places are worth, by how many others are nearer and how many are as near."""

    def reset(self) -> None:
        self._kept: tuple[list[Tensor], list[Tensor]] = ([], [])


class RetrievalAccuracy(_OfPairs):
    """The share of samples whose nearest is the other of their pair; nan before the first, and of what is no number."""

    higher_is_better = True

    def of(self, nearer_N: Tensor, as_near_N: Tensor) -> Tensor:
        return (nearer_N == 0) / (1.0 + as_near_N.double())


class ReciprocalRank(_OfPairs):
    """The mean of one over the place of a sample's other (Voorhees 1999); nan as `RetrievalAccuracy`."""

    higher_is_better = True

    def of(self, nearer_N: Tensor, as_near_N: Tensor) -> Tensor:
        shares = 1 / torch.arange(1, len(nearer_N) + 1, device=nearer_N.device).double()
        upto = functional.pad(shares.cumsum(0), (1, 0))  # of the first places together
        return (upto[nearer_N + as_near_N + 1] - upto[nearer_N]) / (1.0 + as_near_N.double())


def places(asked_NF: Tensor, others_NF: Tensor) -> tuple[Tensor, Tensor]:
    """How many of all others are nearer than each one's own, the same row of `others_NF`, and how many as near, (N,).

    What is near is told by the products.
    """
    nearer, as_near = [], []
    for rows in torch.split(torch.arange(len(asked_NF), device=asked_NF.device), _AT_ONCE):
        similarity_BN = asked_NF[rows] @ others_NF.T
        beyond_BN = similarity_BN - similarity_BN.gather(1, rows[:, None])
        nearer.append((beyond_BN > _AS_NEAR).sum(1))
        as_near.append((beyond_BN.abs() <= _AS_NEAR).sum(1) - 1)  # its own is one of them
    return torch.cat(nearer), torch.cat(as_near)


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
