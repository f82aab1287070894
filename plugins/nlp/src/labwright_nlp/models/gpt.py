"""A decoder-only transformer. B batch, T tokens, D width, H heads, V vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from labwright import Integers, LabwrightError, PerTrial, Tokens
from labwright_tasks.language_model import NextTokens
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models.bag import MULTIPLIER
from labwright_nlp.models.masks import filled


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
        x_BTD, _ = self._read(functional.pad(ids_BT, (len(self.tables), 0)))
        return self._logits(x_BTD)

    def begin(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after each text of ids (B, T), and the state: see `Continuing`.

        The state is how long texts are, (B,); at which places they have a token, (B, T), since what stands behind the
        end of one is kept as well; the last tokens that n-grams go on with, (B, N); and keys and values of each block,
        (B, H, T, d).
        """
        known_BK = functional.pad(ids, (len(self.tables), 0))
        x_BTD, kept = self._read(known_BK)
        steps_N = torch.arange(len(self.tables), device=ids.device)
        last_BN = known_BK.gather(1, lengths[:, None] + steps_N)
        last_BD = x_BTD[torch.arange(len(ids), device=ids.device), lengths - 1]
        return self._logits(last_BD), (lengths, filled(ids.shape[1], lengths), last_BN, *kept)

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after `tokens` (B,), given the state before it; and the state that has it in it.

        A text has at most as many tokens as there are positions, the length of the inputs.
        """
        lengths_B, there_BT, last_BN, *before = state
        known_BK = torch.cat([last_BN, tokens[:, None]], dim=1)
        there_BT = torch.cat([there_BT, torch.ones_like(there_BT[:, :1])], dim=1)
        x_B1D, kept = self._read(known_BK, lengths_B[:, None], there_BT[:, None, None], before)
        return self._logits(x_B1D[:, 0]), (lengths_B + 1, there_BT, known_BK[:, 1:], *kept)

    def _read(
        self,
        known_BK: Tensor,
        places_BT: Tensor | None = None,
        there: Tensor | None = None,
        before: Sequence[Tensor] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """What becomes of tokens, (B, T, D), and each block's keys and values.

        Before its T tokens a row of `known_BK` has those that n-grams reach back to. Without `places_BT` they are the
        first of their texts.
        """
        x_BTD = self._embedded(known_BK)
        places = slice(x_BTD.shape[1]) if places_BT is None else places_BT
        x_BTD = self.dropout(x_BTD if self.positions is None else x_BTD + self.positions[places])
        turns_RTd = None if self.turns is None else self.turns[:, places]
        if turns_RTd is not None and places_BT is not None:
            turns_RTd = turns_RTd[:, :, None]  # the same for all heads of a row
        kept: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x_BTD, *of_block = block(x_BTD, turns_RTd, there, before[2 * number : 2 * number + 2])
            kept += of_block
        return x_BTD, kept

    def _embedded(self, known_BK: Tensor) -> Tensor:
        """The vectors of tokens, and of the n-grams that end with them."""
        reach = len(self.tables)
        keys_BT = ids_BT = known_BK[:, reach:]
        x_BTD: Tensor = self.embedding(ids_BT)
        for back, table in enumerate(self.tables, 1):  # the shorter n-gram, and the token before it
            earlier_BT = known_BK[:, reach - back : known_BK.shape[1] - back]
            keys_BT = (keys_BT * MULTIPLIER + earlier_BT) % self.buckets
            x_BTD = x_BTD + table(keys_BT)
        return x_BTD

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
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

    def forward(
        self, x_BTD: Tensor, turns: Tensor | None, there: Tensor | None = None, before: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What becomes of tokens, and the keys and values that they attended to, (B, H, S, d) each.

        `before` are those of earlier tokens. Without a mask of what is `there` a token sees those up to it.
        """
        attended, key, value = self._attended(self.attention_norm(x_BTD), turns, there, before)
        x_BTD = x_BTD + self.dropout(self.attention_out(attended))
        hidden = self.hidden_in(self.hidden_norm(x_BTD))
        hidden = functional.relu(hidden).square() if self.squared else functional.gelu(hidden)
        y_BTD: Tensor = self.dropout(self.hidden_out(hidden))
        return x_BTD + y_BTD, key, value

    def _attended(
        self, x_BTD: Tensor, turns: Tensor | None, there: Tensor | None, before: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (
            part_BTD.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part_BTD in self.attention_in(x_BTD).chunk(3, dim=2)
        )
        if turns is not None:
            query, key = turned(query, turns), turned(key, turns)
        if before:
            key, value = (torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True))
        y_BHTD = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=there,
            dropout_p=self.share if self.training else 0.0,
            is_causal=there is None,
        )
        return y_BHTD.transpose(1, 2).flatten(2), key, value


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
