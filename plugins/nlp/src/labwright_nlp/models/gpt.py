"""A decoder-only transformer. B batch, T tokens, D width, H heads, V vocabulary."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from labwright import Integers, LabwrightError, PerTrial, Tokens
from labwright_tasks.language_model import NextTokens
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models.bag import MULTIPLIER


class GPT(nn.Module):
    """Decoder-only transformer (Radford et al. 2019). Cost grows with depth * width**2.

    Normalisation comes before attention and before the perceptron (4 * width units, GELU), and once more at the end;
    nothing has a bias. The output layer's weights are those of the embedding (Press & Wolf 2017). Weights start from a
    normal distribution of deviation 0.02, those that write into the residual stream from 0.02 / sqrt(2 * depth).

    `positions` have learned vectors, or queries and keys are turned by angles that grow with them, `rotary` (Su et al.
    2021), so that attention sees distances alone. `activation` may be `relu2`, the square of ReLU (So et al. 2021).

    With `ngrams` above 1 a token is given, beside its own vector, one for each n-gram that ends with it, of 2 up to so
    many tokens; those of one length share `buckets` vectors by a hash of their tokens, and begin at 0.

    Raises LabwrightError if the heads don't divide the width, or each has an odd share of it to turn in pairs.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: NextTokens,
        *,
        width: Annotated[int, Field(ge=1), Integers(64, 512, step=64)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 8)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), PerTrial()] = 0.0,
        positions: Literal["learned", "rotary"] = "learned",
        activation: Literal["gelu", "relu2"] = "gelu",
        ngrams: Annotated[int, Field(ge=1, le=8)] = 1,
        buckets: Annotated[int, Field(ge=1)] = 16_384,
    ) -> None:
        super().__init__()
        if width % heads:
            raise LabwrightError(f"model.heads: {heads} heads don't divide model.width, {width}.")
        rotary = positions == "rotary"
        self.turns: Tensor | None
        if rotary and width // heads % 2:
            raise LabwrightError(
                f"model.heads: {heads} heads of model.width {width} have {width // heads} numbers each, which rotary "
                "positions turn in pairs; give an even share."
            )
        self.embedding = nn.Embedding(inputs.vocab_size, width)
        self.positions = None if rotary else nn.Parameter(torch.empty(inputs.length, width))
        self.register_buffer("turns", turns(inputs.length, width // heads) if rotary else None, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout, activation) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, outputs.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                into_residual = name.endswith("out.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if into_residual else 0.02)
        self.head.weight = self.embedding.weight
        self.buckets, self.tables = buckets, nn.ModuleList(nn.Embedding(buckets, width) for _ in range(1, ngrams))
        for table in self.tables:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]  # what was never seen says nothing

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002 - no token sees one after it
        """Logits of shape (B, T, V): of the token after each."""
        length, x_BTD, keys_BT = ids_BT.shape[1], self.embedding(ids_BT), ids_BT
        for back, table in enumerate(self.tables, 1):  # the shorter n-gram, and the token before it
            keys_BT = (keys_BT * MULTIPLIER + functional.pad(ids_BT, (back, 0))[:, :length]) % self.buckets
            x_BTD = x_BTD + table(keys_BT)
        x_BTD = self.dropout(x_BTD if self.positions is None else x_BTD + self.positions[:length])
        turns_RTd = None if self.turns is None else self.turns[:, :length]
        for block in self.blocks:
            x_BTD = block(x_BTD, turns_RTd)
        logits: Tensor = self.head(self.norm(x_BTD))
        return logits


class _Block(nn.Module):
    """Attention to the tokens before, and a perceptron, each added to what it was given."""

    def __init__(self, width: int, heads: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.heads, self.share, self.squared = heads, dropout, activation == "relu2"
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = nn.LayerNorm(width, bias=False)
        self.hidden_in = nn.Linear(width, 4 * width, bias=False)
        self.hidden_out = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, turns_RTd: Tensor | None) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention_out(self._attended(self.attention_norm(x_BTD), turns_RTd)))
        hidden = self.hidden_in(self.hidden_norm(x_BTD))
        hidden = functional.relu(hidden).square() if self.squared else functional.gelu(hidden)
        y_BTD: Tensor = self.dropout(self.hidden_out(hidden))
        return x_BTD + y_BTD

    def _attended(self, x_BTD: Tensor, turns_RTd: Tensor | None) -> Tensor:
        query, key, value = (
            part_BTD.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part_BTD in self.attention_in(x_BTD).chunk(3, dim=2)
        )
        if turns_RTd is not None:
            query, key = turned(query, turns_RTd), turned(key, turns_RTd)
        share = self.share if self.training else 0.0
        y_BHTD = functional.scaled_dot_product_attention(query, key, value, dropout_p=share, is_causal=True)
        return y_BHTD.transpose(1, 2).flatten(2)


def turns(length: int, size: int) -> Tensor:
    """Cosines and sines of the angles that each position turns pairs of `size` numbers by, (2, length, size / 2).

    Position t turns pair i by t * 10000**(-2i/size), in radians (Su et al. 2021, section 3.2.2).
    """
    angles_Td = torch.arange(length)[:, None] * 10_000.0 ** (-torch.arange(0, size, 2) / size)
    return torch.stack([angles_Td.cos(), angles_Td.sin()])


def turned(x_BHTD: Tensor, turns_RTd: Tensor) -> Tensor:
    """Each number of the first half and its partner in the second, turned by the angles of their place."""
    (first, second), (cos, sin) = x_BHTD.chunk(2, dim=-1), turns_RTd
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
