"""Feature tokenizer and transformer. B batch, N numbers, C categories, T tokens, D dim, H heads."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from labwright import Choice, Classes, Integers, LabwrightError, PerTrial, Uniform, Values
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_tabular.models.encoding import Bins, Head, Levels, Linear, Sigma, numbers_of
from labwright_tabular.ports import Fields


class FTTransformer(nn.Module):
    """A transformer over a row's columns, each of them a token (Gorishniy, Rubachev, Khrulkov & Babenko 2021).

    A category's token is that of its level, beside a vector of the column's own. A token of its own collects what the
    head reads. Layers are attention and a ReGLU layer 4/3 times as wide as `dim`, normalised before, the first
    attention not. Cost grows with the number of columns squared. Raises LabwrightError if `heads` doesn't divide `dim`.

    Args:
        numbers: what a number's token is: `linear` in it, as in the paper; linear within each of its bins
            (`piecewise`); or made of its sines and cosines (`periodic`).
        dim: length of a token.
        heads: attention heads of a layer; they divide `dim`.
        depth: layers of attention and ReGLU.
        attention_dropout: share of the attention weights that is zeroed, while training.
        dropout: share of the hidden units of each ReGLU layer that is zeroed, while training.
    """

    def __init__(
        self,
        inputs: Fields,
        outputs: Classes | Values,
        *,
        numbers: Annotated[
            Literal["linear", "piecewise", "periodic"], Choice("linear", "piecewise", "periodic")
        ] = "linear",
        dim: Annotated[int, Field(ge=1), Integers(32, 256, step=32)] = 64,
        heads: Annotated[int, Field(ge=1), Choice(4, 8)] = 8,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        bins: Bins = 16,
        sigma: Sigma = 0.1,
        attention_dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise LabwrightError(f"model.heads: {heads} heads don't divide model.dim, {dim}.")
        self.numbers: nn.Module | None = None
        if inputs.numbers:
            self.numbers = (
                Linear(inputs, dim)
                if numbers == "linear"
                else numbers_of(inputs, numbers, dim=dim, bins=bins, sigma=sigma)
            )
        self.levels = Levels(inputs, dim) if inputs.categories else None
        limit = 1 / math.sqrt(dim)
        self.own_1TD = nn.Parameter(torch.empty(1, 1 + len(inputs.categories), dim).uniform_(-limit, limit))
        self.layers = nn.ModuleList(
            _Layer(dim, heads, attention_dropout, dropout, normed=number > 0) for number in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = Head(dim, outputs)

    def forward(self, x_BN: Tensor, codes_BC: Tensor) -> Tensor:
        """Logits (B, classes), or numbers (B, D)."""
        own_BTD = self.own_1TD.expand(x_BN.shape[0], -1, -1)
        tokens = [
            own_BTD if self.levels is None else torch.cat([own_BTD[:, :1], own_BTD[:, 1:] + self.levels(codes_BC)], 1)
        ]
        if self.numbers is not None:
            tokens.append(self.numbers(x_BN))
        x_BTD = torch.cat(tokens, dim=1)
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        answers: Tensor = self.head(F.relu(self.norm(x_BTD[:, 0])))
        return answers


class _Layer(nn.Module):
    """Attention among a row's tokens, then a ReGLU layer on each."""

    def __init__(self, dim: int, heads: int, attention_dropout: float, dropout: float, *, normed: bool) -> None:
        super().__init__()
        inner = max(1, dim * 4 // 3)
        self.heads, self.attention_dropout = heads, attention_dropout
        self.attention_norm = nn.LayerNorm(dim) if normed else nn.Identity()
        self.queries_keys_values = nn.Linear(dim, 3 * dim)
        self.gathered = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.gate_and_value = nn.Linear(dim, 2 * inner)
        self.dropout = nn.Dropout(dropout)
        self.back = nn.Linear(inner, dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        three = self.queries_keys_values(self.attention_norm(x_BTD)).chunk(3, dim=-1)
        q_BHTE, k_BHTE, v_BHTE = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in three)
        dropped = self.attention_dropout if self.training else 0.0
        seen_BHTE = F.scaled_dot_product_attention(q_BHTE, k_BHTE, v_BHTE, dropout_p=dropped)
        x_BTD = x_BTD + self.gathered(seen_BHTE.transpose(1, 2).flatten(2))
        gate_BTE, value_BTE = self.gate_and_value(self.norm(x_BTD)).chunk(2, dim=-1)
        changed: Tensor = x_BTD + self.back(self.dropout(F.relu(gate_BTE) * value_BTE))
        return changed
