"""Models that are computed from the training pairs at once.

B batch, U users, I items, E pairs, P the 2 of a pair, K neighbours, C items of a block, S pairs of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from labwright import ClosedForm, IndexedBatches, Integers, Interactions, Uniform
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from labwright_recsys.memory import enough
from labwright_recsys.ports import Feedback, Preference

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BLOCK = 1 << 22  # pairs of items looked at together
_PER_PAIR = 32  # bytes a pair of items takes meanwhile, and about as many an interaction
_LAST = (1 << 31) - 1  # the highest number an item can have


class Popularity(ClosedForm):
    """Every item's number of training interactions, the same list for everyone: the floor any model has to beat."""

    counts_I: Tensor

    def __init__(self, inputs: Interactions, outputs: Preference) -> None:  # noqa: ARG002 - says what it returns
        super().__init__()
        self.register_buffer("counts_I", torch.zeros(inputs.items))

    def fit(self, batches: IndexedBatches) -> None:
        _, items_E = _pairs(batches)
        self.counts_I.copy_(torch.bincount(items_E, minlength=len(self.counts_I)))

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return self.counts_I[items_B] + 0.0 * users_B  # a graph keeps only the arguments that are used

    def scores(self, users_B: Tensor) -> Tensor:
        return self.counts_I.repeat(len(users_B), 1)


class _OfHistories(ClosedForm):
    """A user's score of an item is the sum of weights from the items in the user's training history to it.

    The histories, pairs sorted by user, are taken from the port, and are no part of what is stored.
    """

    had_PE: Tensor  # users and items

    def __init__(self, inputs: Feedback) -> None:
        super().__init__()
        self.users, self.items = inputs.users, inputs.items
        self.register_buffer("had_PE", inputs.pairs, persistent=False)

    def had(self, users_B: Tensor) -> Tensor:
        """Which items the users have had, (B, I) bool."""
        users_E, items_E = self.had_PE
        if torch.compiler.is_exporting():  # a graph has no rows of unequal length
            none_UI = torch.zeros(self.users, self.items, dtype=torch.bool)
            return none_UI.index_put((users_E, items_E), torch.tensor(True))[users_B]
        first_B = torch.searchsorted(users_E, users_B)
        counts_B = torch.searchsorted(users_E, users_B, right=True) - first_B
        rows_S = torch.arange(len(users_B), device=users_B.device).repeat_interleave(counts_B)
        shift_B = first_B - (counts_B.cumsum(0) - counts_B)
        had_BI = torch.zeros(len(users_B), self.items, dtype=torch.bool, device=users_B.device)
        had_BI[rows_S, items_E[torch.arange(len(rows_S), device=users_B.device) + shift_B[rows_S]]] = True
        return had_BI

    def _meanwhile(self) -> int:
        """About the bytes that a fit takes beside what it computes."""
        return _PER_PAIR * (min(_BLOCK, self.items**2) + self.had_PE.shape[1])

    def _matrix(self, batches: IndexedBatches) -> csr_array:
        """Who has had what, (U, I): 1.0 in float64."""
        from scipy.sparse import csr_array

        users_E, items_E = (numbers.numpy() for numbers in _pairs(batches))
        return csr_array((np.ones(len(users_E)), (users_E, items_E)), shape=(self.users, self.items))


class ItemKNN(_OfHistories):
    """Nearest neighbours among items, by the cosine of who has had them (Sarwar et al. 2001; Deshpande & Karypis 2004).

    Each item is spoken for by those most similar to it, of equally similar ones those that come first in the catalogue.
    Neighbours and their weights are all that is kept: 12 bytes each.

    Args:
        neighbours: most similar items that speak for each item.
        shrink: added to the cosine's denominator, so that items few users have had count for less.
    """

    nearest_IK: Tensor
    weights_IK: Tensor

    def __init__(
        self,
        inputs: Feedback,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        neighbours: Annotated[int, Field(ge=1), Integers(10, 500, log=True)] = 100,
        shrink: Annotated[float, Field(ge=0), Uniform(0.0, 100.0)] = 0.0,
    ) -> None:
        super().__init__(inputs)
        self.neighbours, self.shrink = min(neighbours, inputs.items), shrink
        self.register_buffer("nearest_IK", torch.zeros(self.items, self.neighbours, dtype=torch.int64))
        self.register_buffer("weights_IK", torch.zeros(self.items, self.neighbours))

    def fit(self, batches: IndexedBatches) -> None:
        x_UI = self._matrix(batches).astype(np.float32)  # counts are exact
        lengths_I = np.sqrt(x_UI.sum(0))
        for block, together_CI in _together(x_UI, x_UI):
            rows, columns = (
                np.repeat(np.arange(block.start, block.stop), np.diff(together_CI.indptr)),
                together_CI.indices,
            )
            cosines = together_CI.data / (lengths_I[rows] * lengths_I[columns] + np.float32(self.shrink))
            cosines[rows == columns] = 0.0
            nearest_CK, weights_CK = _largest(cosines, columns, together_CI.indptr, self.neighbours)
            self.nearest_IK[block].copy_(torch.from_numpy(nearest_CK))
            self.weights_IK[block].copy_(torch.from_numpy(weights_CK))

    def cost(self) -> dict[str, int]:
        needed = 12 * self.items * self.neighbours + self._meanwhile()
        what = f"model: item-kNN with {self.neighbours:,} neighbours of each of {self.items:,} items"
        enough(needed, what, "Set model.neighbours lower, or leave rare items out of the data.")
        return {"fit_memory_bytes": needed}

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return (self.had(users_B).gather(1, self.nearest_IK[items_B]) * self.weights_IK[items_B]).sum(1)

    def scores(self, users_B: Tensor) -> Tensor:
        had_IB = self.had(users_B).T.to(self.weights_IK.dtype, memory_format=torch.contiguous_format)
        scores_IB = functional.embedding_bag(self.nearest_IK, had_IB, mode="sum", per_sample_weights=self.weights_IK)
        return scores_IB.T.contiguous()


class EASE(_OfHistories):
    """The linear autoencoder whose weights from an item to itself are 0, in closed form (Steck 2019).

    It minimises |X - X B|^2 + `l2` |B|^2 with a zero diagonal: B = I - P / diag(P), P = (X'X + l2)^-1, computed in
    float64. Memory grows with the square of the number of items, 12 bytes for each pair of them and 4 to keep, and time
    with the cube; what doesn't fit into the machine's memory is refused before it begins.

    With `dropout` it is the denoising one (EDLAE, Steck 2020, section 3).

    Args:
        l2: factor of the squared weights, added to the diagonal of X'X.
        dropout: p: p / (1 - p) times the diagonal of X'X is added to it, as if that share of every history were hidden.
        balance: a, by which a user's row counts (mean length / length)^a: at 0 long histories weigh most, at 1 every
            user as much as the others.
    """

    weights_II: Tensor  # [i, j] says how much item i speaks for item j

    def __init__(
        self,
        inputs: Feedback,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        l2: Annotated[float, Field(gt=0), Uniform(10.0, 2000.0, log=True)] = 200.0,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.8)] = 0.0,
        balance: Annotated[float, Field(ge=0), Uniform(0.0, 1.0)] = 0.0,
    ) -> None:
        super().__init__(inputs)
        self.l2, self.dropout, self.balance = l2, dropout, balance
        self._fits(4, "to be kept")
        zeros_II = np.zeros((self.items, self.items), dtype=np.float32)  # takes no memory before it is written to
        self.register_buffer("weights_II", torch.from_numpy(zeros_II))

    def fit(self, batches: IndexedBatches) -> None:
        self.cost()
        x_UI = self._matrix(batches)
        weighted_UI = x_UI.multiply(self._importance(x_UI.sum(1))[:, None]).tocsr()
        gram_II = torch.empty(self.items, self.items, dtype=torch.float64)
        for block, together_CI in _together(weighted_UI, x_UI):
            gram_II[block] = torch.from_numpy(together_CI.toarray())
        gram_II.diagonal().mul_(1 + self.dropout / (1 - self.dropout)).add_(self.l2)
        columns_II = gram_II.mT  # the same matrix in the order of LAPACK, which so needs no copy
        torch.linalg.cholesky(columns_II, out=columns_II)
        torch.cholesky_inverse(columns_II, out=columns_II)
        gram_II /= -gram_II.diagonal().clone()
        self.weights_II.copy_(gram_II.fill_diagonal_(0.0))

    def cost(self) -> dict[str, int]:
        return {"fit_memory_bytes": self._fits(12, "to be computed", self._meanwhile())}

    def _fits(self, each: int, what: str, besides: int = 0) -> int:
        """The bytes of so many for each pair of items. Raises LabwrightError if the machine hasn't got them."""
        needed = each * self.items**2 + besides
        enough(
            needed,
            f"model: EASE over {self.items:,} items, {each} bytes for each pair of them {what},",
            "Take 'recsys/item-knn', which keeps the nearest neighbours alone; or leave rare items out of the data.",
        )
        return needed

    def _importance(self, lengths_U: np.ndarray) -> np.ndarray:
        """How much each user counts, by how many items they have had."""
        present_U = np.maximum(lengths_U, 1)
        weights: np.ndarray = (lengths_U.sum() / max(1, np.count_nonzero(lengths_U)) / present_U) ** self.balance
        return weights

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return (self.had(users_B).to(self.weights_II.dtype) * self.weights_II.T[items_B]).sum(1)

    def scores(self, users_B: Tensor) -> Tensor:
        return self.had(users_B).to(self.weights_II.dtype) @ self.weights_II


def _pairs(batches: IndexedBatches) -> tuple[Tensor, Tensor]:
    """The users and items of all batches, both (E,)."""
    inputs = [batch.inputs for batch in batches]
    return torch.cat([users for users, _ in inputs]), torch.cat([items for _, items in inputs])


def _together(weighted_UI: csr_array, x_UI: csr_array) -> Iterator[tuple[slice, csr_array]]:
    """How many users have had both items of each pair, weighted: rows (C, I) of one slice of items after another."""
    of_items_IU = weighted_UI.T.tocsr()
    items = x_UI.shape[1]
    size = max(1, _BLOCK // items)
    for first in range(0, items, size):
        block = slice(first, min(first + size, items))
        yield block, of_items_IU[block] @ x_UI


def _largest(values: np.ndarray, columns: np.ndarray, starts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns and values of the largest `most` of each row, in order, (C, K); values of 0 where a row has fewer.

    Values are float32 and not negative. Each stands with its column in one integer, so that of equal values those with
    the lower columns come first.
    """
    keys = (values.view(np.int32).astype(np.int64) << 32) | (_LAST - columns)
    top_CK = np.zeros((len(starts) - 1, most), dtype=np.int64)
    for row, (first, last) in enumerate(pairwise(starts)):
        some = keys[first:last]
        kept = some if len(some) <= most else np.partition(some, -most)[-most:]
        top_CK[row, : len(kept)] = kept
    top_CK = np.sort(top_CK, axis=1)[:, ::-1]
    weights_CK = (top_CK >> 32).astype(np.int32).view(np.float32)
    return np.where(weights_CK > 0, _LAST - (top_CK & 0xFFFFFFFF), 0), weights_CK
