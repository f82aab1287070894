"""DeepFM. B batch, F fields, V values of one field, D dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from labwright import Integers, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn

from labwright_recsys.ports import Feedback, Preference, Side


class DeepFM(nn.Module):
    """A factorisation machine and a perceptron that share the fields' vectors (Guo et al. 2017).

    Fields are the user, the item, and what the data knows of both. A field's vector is the mean over its values. The
    score is the sum of each field's own weight, of the inner products of all pairs of fields' vectors, and of what
    layers with ReLU make of all vectors side by side.

    Args:
        dim: numbers of a value's vector.
        width: units of each hidden layer.
        depth: hidden layers; 0 is a factorisation machine (Rendle 2010).
        dropout: share of each hidden layer's units that is zeroed behind its ReLU, while training.
    """

    def __init__(
        self,
        inputs: Feedback,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        dim: Annotated[int, Field(ge=1), Integers(4, 64, log=True)] = 16,
        width: Annotated[int, Field(ge=1), Integers(16, 256, log=True)] = 64,
        depth: Annotated[int, Field(ge=0), Integers(0, 3)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.2,
    ) -> None:
        super().__init__()
        self.of_user = _Fields(inputs.users, inputs.user_sides, dim)
        self.of_item = _Fields(inputs.items, inputs.item_sides, dim)
        layers: list[nn.Module] = []
        before = dim * (self.of_user.count + self.of_item.count)
        for _ in range(depth):
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(dropout)]
            before = width
        self.deep = nn.Sequential(*layers, nn.Linear(before, 1)) if depth else None
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        own_user_B, user_BFD = self.of_user(users_B)
        own_item_B, item_BFD = self.of_item(items_B)
        vectors_BFD = torch.cat([user_BFD, item_BFD], dim=1)
        # All pairs' inner products: half of the squared sum less the sum of squares (Rendle 2010, lemma 3.1).
        pairs_B = (vectors_BFD.sum(1).square() - vectors_BFD.square().sum(1)).sum(1) / 2
        score_B: Tensor = self.bias + own_user_B + own_item_B + pairs_B
        if self.deep is not None:
            score_B = score_B + self.deep(vectors_BFD.flatten(1)).squeeze(1)
        return score_B


class _Fields(nn.Module):
    """The fields of one kind: the name itself, and its sides. Each value has a vector and a weight in one table."""

    def __init__(self, count: int, sides: Sequence[Side], dim: int) -> None:
        super().__init__()
        self.count = 1 + len(sides)
        self.tables = nn.ModuleList([nn.Embedding(count, dim + 1)])
        self.tables.extend(nn.Embedding(len(side.values) + 1, dim + 1, padding_idx=0) for side in sides)
        for table in self.tables:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.01)
            with torch.no_grad():
                table.weight[:, 0] = 0.0
                if table.padding_idx is not None:
                    table.weight[0] = 0.0
        for number, side in enumerate(sides, 1):
            self.register_buffer(f"codes_{number}", side.codes_NV, persistent=False)

    def forward(self, names_B: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the fields' weights (B,) and their vectors (B, F, D)."""
        fields = [self.tables[0](names_B)]
        for number in range(1, self.count):
            codes_BV = self.get_buffer(f"codes_{number}")[names_B]
            values = self.tables[number](codes_BV)
            counts_B = (codes_BV > 0).sum(1).clamp(min=1).to(values.dtype)
            fields.append(values.sum(1) / counts_B[:, None])
        together_BFD = torch.stack(fields, dim=1)
        return together_BFD[:, :, 0].sum(1), together_BFD[:, :, 1:]
