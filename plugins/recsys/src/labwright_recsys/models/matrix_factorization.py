"""Matrix factorisation. B batch, U users, I items, D dim."""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Choice, Integers, Interactions
from pydantic import Field
from torch import Tensor, nn

from labwright_recsys.ports import Preference


class MatrixFactorization(nn.Module):
    """A vector for each user and each item; the score is their inner product (Koren et al. 2009; Rendle et al. 2009).

    Args:
        dim: numbers of a user's and of an item's vector.
        bias: whether an item's own number is added, 0 at the start.
        spread: standard deviation of a score at the start: vectors are normal with variance spread / sqrt(dim).
    """

    def __init__(
        self,
        inputs: Interactions,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        dim: Annotated[int, Field(ge=1), Integers(16, 256, log=True)] = 64,
        bias: Annotated[bool, Choice(True, False)] = True,
        spread: Annotated[float, Field(gt=0)] = 0.1,
    ) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(inputs.users, dim), nn.Embedding(inputs.items, dim)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=(spread / dim**0.5) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(inputs.items)) if bias else None

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        scores_B: Tensor = (self.users(users_B) * self.items(items_B)).sum(-1)
        return scores_B if self.bias is None else scores_B + self.bias[items_B]

    def scores(self, users_B: Tensor) -> Tensor:
        scores_BI: Tensor = self.users(users_B) @ self.items.weight.T
        return scores_BI if self.bias is None else scores_BI + self.bias
