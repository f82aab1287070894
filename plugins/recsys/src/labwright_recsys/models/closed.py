"""Models that are computed from the training pairs at once. B batch, U users, I items, E pairs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from labwright.data import Batches
from labwright.interfaces import ClosedForm
from labwright.ports import Interactions
from labwright.search import Integers, Uniform
from pydantic import Field
from torch import Tensor

from labwright_recsys.ports import Feedback, Preference


class Popularity(ClosedForm):
    """Every item's number of training interactions, the same list for everyone: the floor any model has to beat."""

    counts_I: Tensor

    def __init__(self, inputs: Interactions, outputs: Preference) -> None:  # noqa: ARG002 - says what it returns
        super().__init__()
        self.register_buffer("counts_I", torch.zeros(inputs.items))

    def fit(self, batches: Batches) -> None:
        _, items_E = _pairs(batches)
        self.counts_I.copy_(torch.bincount(items_E, minlength=len(self.counts_I)))

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return self.counts_I[items_B] + 0.0 * users_B  # a graph keeps only the arguments that are used

    def scores(self, users_B: Tensor) -> Tensor:
        return self.counts_I.repeat(len(users_B), 1)


class ItemToItem(ClosedForm):
    """A user's score of an item is the sum of weights from the items in the user's training history to it.

    `weights_II[i, j]` says how much item i speaks for item j. The histories (U, I) are taken from the port, and are no
    part of what is stored: a byte for each user and item.
    """

    weights_II: Tensor
    had_UI: Tensor

    def __init__(self, inputs: Feedback) -> None:
        super().__init__()
        had_UI = torch.zeros(inputs.users, inputs.items, dtype=torch.bool)
        had_UI[inputs.pairs[0], inputs.pairs[1]] = True
        self.register_buffer("had_UI", had_UI, persistent=False)
        self.register_buffer("weights_II", torch.zeros(inputs.items, inputs.items))

    def fit(self, batches: Batches) -> None:
        users_E, items_E = _pairs(batches)
        x_UI = torch.zeros(self.had_UI.shape)
        x_UI[users_E, items_E] = 1.0
        weighted_UI = x_UI * self._importance(x_UI.sum(1))[:, None]
        self.weights_II.copy_(self._weights(weighted_UI.T @ x_UI))

    def _importance(self, lengths_U: Tensor) -> Tensor:
        """How much each user counts, by how many items they have had."""
        return torch.ones_like(lengths_U)

    @abstractmethod
    def _weights(self, together_II: Tensor) -> Tensor:
        """The weights, from how many users have had both items of each pair (on the diagonal: one item), weighted."""

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return (self.had_UI[users_B].to(self.weights_II.dtype) * self.weights_II.T[items_B]).sum(1)

    def scores(self, users_B: Tensor) -> Tensor:
        return self.had_UI[users_B].to(self.weights_II.dtype) @ self.weights_II


class ItemKNN(ItemToItem):
    """Nearest neighbours among items, by the cosine of who has had them (Sarwar et al. 2001; Deshpande & Karypis 2004).

    Each item is spoken for by the `neighbours` most similar to it. `shrink` is added to the cosine's denominator, so
    that items few users have had count for less.
    """

    def __init__(
        self,
        inputs: Feedback,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        neighbours: Annotated[int, Field(ge=1), Integers(10, 500, log=True)] = 100,
        shrink: Annotated[float, Field(ge=0), Uniform(0.0, 100.0)] = 0.0,
    ) -> None:
        super().__init__(inputs)
        self.neighbours, self.shrink = neighbours, shrink

    def _weights(self, together_II: Tensor) -> Tensor:
        lengths_I = together_II.diagonal().sqrt()
        cosines_II = together_II / (lengths_I[:, None] * lengths_I + self.shrink).clamp(min=1e-12)
        cosines_II.fill_diagonal_(0.0)
        top = cosines_II.topk(min(self.neighbours, len(cosines_II)), dim=0)
        return torch.zeros_like(cosines_II).scatter_(0, top.indices, top.values)


class EASE(ItemToItem):
    """The linear autoencoder whose weights from an item to itself are 0, in closed form (Steck 2019).

    It minimises |X - X B|^2 + `l2` |B|^2 with a zero diagonal: B = I - P / diag(P), P = (X'X + l2)^-1, computed in
    float64. Memory and time grow with the square and the cube of the number of items.

    With `dropout` p it is the denoising one (EDLAE, Steck 2020, section 3): p / (1 - p) times the diagonal of X'X is
    added to l2, as if that share of every history were hidden. With `balance` a, a user's row counts
    (mean length / length)^a: at 0 long histories weigh most, at 1 every user as much as the others.
    """

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

    def _importance(self, lengths_U: Tensor) -> Tensor:
        present_U = lengths_U.clamp(min=1)
        return (lengths_U.sum() / (lengths_U > 0).sum() / present_U) ** self.balance

    def _weights(self, together_II: Tensor) -> Tensor:
        gram_II = together_II.double()
        gram_II.diagonal().mul_(1 + self.dropout / (1 - self.dropout)).add_(self.l2)
        inverse_II = torch.cholesky_inverse(torch.linalg.cholesky(gram_II))
        weights_II = -inverse_II / inverse_II.diagonal()
        return weights_II.fill_diagonal_(0.0)


def _pairs(batches: Batches) -> tuple[Tensor, Tensor]:
    """The users and items of all batches, both (E,)."""
    found = [batch.inputs for batch in batches]
    return torch.cat([users for users, _ in found]), torch.cat([items for _, items in found])
