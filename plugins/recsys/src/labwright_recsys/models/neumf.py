"""Neural matrix factorisation. B batch, I items, D dim, H width of a layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from labwright import Integers, Interactions, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn

from labwright_recsys.ports import Preference

_PAIRS_AT_ONCE = 1 << 13  # pairs whose hidden layers are computed together: few enough for the cache


class NeuMF(nn.Module):
    """Two halves with vectors of their own, joined in a last linear layer (He et al. 2017, section 3.4).

    One half multiplies user and item element by element; the other feeds both, as long as these, through layers with
    ReLU.

    Args:
        dim: numbers of a user's and of an item's vector, in each half.
        width: units of the first layer; each further one has half as many as the one before.
        depth: layers.
        dropout: share of each layer's units that is zeroed behind its ReLU, while training.
    """

    def __init__(
        self,
        inputs: Interactions,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        dim: Annotated[int, Field(ge=1), Integers(8, 128, log=True)] = 64,
        width: Annotated[int, Field(ge=2), Integers(16, 128, log=True)] = 64,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.users, self.items = nn.Embedding(inputs.users, 2 * dim), nn.Embedding(inputs.items, 2 * dim)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.05)
        widths = [max(1, width >> number) for number in range(depth)]
        self.first = nn.Linear(2 * dim, widths[0])
        layers: list[nn.Module] = [nn.ReLU(), nn.Dropout(dropout)]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.rest = nn.Sequential(*layers)
        self.head = nn.Linear(dim + widths[-1], 1)
        self.bias = nn.Parameter(torch.zeros(inputs.items))

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        user_BD, item_BD = self.users(users_B), self.items(items_B)
        product_BD = user_BD[:, : self.dim] * item_BD[:, : self.dim]
        hidden_BH = self.rest(self.first(torch.cat([user_BD[:, self.dim :], item_BD[:, self.dim :]], dim=1)))
        scores_B: Tensor = self.head(torch.cat([product_BD, hidden_BH], dim=1)).squeeze(1)
        return scores_B + self.bias[items_B]

    def scores(self, users_B: Tensor) -> Tensor:
        """The first layer is linear in user and item apart: it is computed once for each of them."""
        user_BD, item_ID, dim = self.users(users_B), self.items.weight, self.dim
        of_product_D, of_hidden_H = self.head.weight[0, :dim], self.head.weight[0, dim:]
        products_BI: Tensor = (user_BD[:, :dim] * of_product_D) @ item_ID[:, :dim].T
        from_user_BH = nn.functional.linear(user_BD[:, dim:], self.first.weight[:, :dim], self.first.bias)
        from_item_IH = nn.functional.linear(item_ID[:, dim:], self.first.weight[:, dim:])
        at_once = max(1, _PAIRS_AT_ONCE // len(item_ID))
        hidden_BI = torch.cat(
            [
                self.rest(chunk_BH[:, None] + from_item_IH) @ of_hidden_H
                for chunk_BH in torch.split(from_user_BH, at_once)
            ]
        )
        return products_BI + hidden_BI + self.head.bias + self.bias
