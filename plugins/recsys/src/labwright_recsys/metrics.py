"""How good ranked lists and probabilities are. B users or samples, K places of a list.

The lists' metrics are means over users, as RecBole defines them (Zhao et al. 2021): `hits_BK` says which places hold an
item the user wants, `relevant_B` how many such items there are, `top_BK` which items were listed, -1 where a list ends.
They are computed in float64 (float32 where the device has no float64, on mps).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from labwright import Mean
from labwright_tasks.intervals import delong, named
from labwright_tasks.metrics import area_under_curve
from torch import Tensor
from torch.nn import functional


class _OfLists(ABC):
    """The mean of a number for each user; nan before the first."""

    root = False

    def __init__(self) -> None:
        self._mean = Mean()

    def of_each(self, hits_BK: Tensor, relevant_B: Tensor, top_BK: Tensor) -> Tensor:  # noqa: ARG002 - some need it
        precise = torch.float32 if hits_BK.device.type == "mps" else torch.float64
        return self._of(hits_BK.to(precise), relevant_B)

    def update(self, hits_BK: Tensor, relevant_B: Tensor, top_BK: Tensor) -> None:
        self._mean.update(self.of_each(hits_BK, relevant_B, top_BK))

    @abstractmethod
    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:
        """The number of each user."""

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


class NDCG(_OfLists):
    """Discounted cumulative gain, 1 / log2(place + 1) for a hit, as a share of the best there could be.

    The best list has min(K, relevant) hits at its head. Source: Järvelin & Kekäläinen 2002, binary relevance.
    """

    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:
        places = torch.arange(2, hits_BK.shape[1] + 2, dtype=hits_BK.dtype, device=hits_BK.device)
        gains_K = 1 / places.log2()
        best_K = gains_K.cumsum(0)
        return (hits_BK @ gains_K) / best_K[relevant_B.clamp(1, len(best_K)) - 1]


class Hit(_OfLists):
    """Whether there is a hit in the list at all."""

    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:  # noqa: ARG002 - one formula for all
        return hits_BK.amax(1)

    def of_each(self, hits_BK: Tensor, relevant_B: Tensor, top_BK: Tensor) -> Tensor:  # noqa: ARG002 - as of all
        return hits_BK.bool().any(1)


class Recall(_OfLists):
    """Hits as a share of the relevant items."""

    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:
        return hits_BK.sum(1) / relevant_B


class Precision(_OfLists):
    """Hits as a share of the K places."""

    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:  # noqa: ARG002 - one formula for all
        return hits_BK.mean(1)


class ReciprocalRank(_OfLists):
    """1 / place of the first hit, 0 without one (MRR)."""

    def _of(self, hits_BK: Tensor, relevant_B: Tensor) -> Tensor:  # noqa: ARG002 - one formula for all
        places = torch.arange(1, hits_BK.shape[1] + 1, dtype=hits_BK.dtype, device=hits_BK.device)
        return (hits_BK / places).amax(1)


class Coverage:
    """The share of all `items` that stand in at least one list; nan before the first."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._listed: Tensor | None = None

    def update(self, hits_BK: Tensor, relevant_B: Tensor, top_BK: Tensor) -> None:  # noqa: ARG002 - one call for all
        if self._listed is None:
            self._listed = torch.zeros(self._items + 1, dtype=torch.bool, device=top_BK.device)
        self._listed[top_BK.flatten()] = True  # -1 is the extra place

    def compute(self) -> float:
        return math.nan if self._listed is None else int(self._listed[:-1].sum()) / self._items

    def reset(self) -> None:
        self._listed = None


class AUC:
    """The probability that a clicked sample scores above one that isn't, ties counted half; nan without both kinds.

    Exact, from the mean ranks of all scores (Mann & Whitney 1947): it keeps every score until `reset`.
    """

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._clicked: list[Tensor] = []

    def update(self, logits_B: Tensor, clicked_B: Tensor) -> None:
        self._scores.append(logits_B.detach().float())
        self._clicked.append(clicked_B > 0)

    def compute(self) -> float:
        if not self._scores:
            return math.nan
        return float(area_under_curve(torch.cat(self._scores).cpu(), torch.cat(self._clicked).cpu()))

    def reset(self) -> None:
        self._scores, self._clicked = [], []


class AUCInterval:
    """The interval of the area under the ROC curve, as DeLong has it."""

    def __init__(self) -> None:
        self.reset()

    def update(self, logits_B: Tensor, clicked_B: Tensor) -> None:
        self._scores.append(logits_B.detach().float().cpu())
        self._clicked.append((clicked_B > 0).cpu())

    def compute(self) -> dict[str, float]:
        whole = (torch.cat(some) for some in (self._scores, self._clicked)) if self._scores else (torch.zeros(0),) * 2
        scores_N, clicked_N = whole
        return named(delong(scores_N, clicked_N.bool()))

    def reset(self) -> None:
        self._scores: list[Tensor] = []
        self._clicked: list[Tensor] = []


class LogLoss:
    """The mean negative log-likelihood of whether it was clicked, in nats; nan before the first."""

    loss = "recsys/binary-cross-entropy"

    def __init__(self) -> None:
        self._mean = Mean()

    def update(self, logits_B: Tensor, clicked_B: Tensor) -> None:
        each = functional.binary_cross_entropy_with_logits(logits_B.float(), clicked_B.float(), reduction="none")
        self._mean.update(each)

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()
