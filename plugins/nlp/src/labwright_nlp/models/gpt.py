"""A decoder-only transformer. B batch, T tokens, D width, H heads, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from labwright import Integers, LabwrightError, PerTrial, Tokens, When
from labwright_tasks.language_model import NextTokens
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models.bag import MULTIPLIER
from labwright_nlp.models.blocks import Activation, Block, Norm, check_heads, draw_weights, normalised, turns
from labwright_nlp.models.masks import apart, filled
from labwright_nlp.ports import DocumentTokens


class GPT(nn.Module):
    """Decoder-only transformer (Radford et al. 2019). Cost grows with depth * width**2.

    Normalisation comes before attention and before the perceptron, and once more at the end. Weights start from a
    normal distribution of deviation 0.02, those that write into the residual stream from 0.02 / sqrt(2 * depth). The
    vectors of n-grams begin at 0. With rotary, rms, swiglu and without `tied` it is a Llama (Touvron et al. 2023); with
    `bias` a GPT-2.

    Args:
        width: numbers in a token's vector, in the residual stream.
        depth: blocks of attention and a perceptron.
        heads: attention heads of queries, which divide `width` among them.
        key_heads: heads of keys and values, each shared by as many of the queries (Ainslie et al. 2023); left out, as
            many as `heads`.
        hidden: units of a perceptron; left out, 4 * width, and two thirds of that for swiglu.
        dropout: share that is zeroed, while training, of embedded tokens, of attention, and of what a block adds.
        positions: how places are told: by learned vectors, or by turning queries and keys by angles that grow with them
            (rotary; Su et al. 2021), so that attention sees distances alone.
        rotary_base: the slowest pair turns by about 1 / rotary_base, in radians, a token.
        bias: whether linear layers and LayerNorm add one, the output layer aside.
        tied: whether the output layer has the weights of the embedding (Press & Wolf 2017).
        ngrams: most tokens of an n-gram; above 1 a token is given, beside its own vector, one for each n-gram of 2 up
            to so many tokens that ends with it.
        buckets: vectors that all n-grams of one length share, by a hash of their tokens.
        documents: what a token sees of a window with several documents, and a token between them (`task.data.between`):
            all before it (crossed), or those of its own, where positions and n-grams begin anew (apart).

    Raises LabwrightError if the heads don't divide the width, or the heads of keys those, or each has an odd share of
    the width to turn in pairs, and if documents are to be kept apart that no token stands between.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: NextTokens,
        *,
        width: Annotated[int, Field(ge=1), Integers(64, 512, step=64)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 8)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        key_heads: Annotated[int, Field(ge=1)] | None = None,
        hidden: Annotated[int, Field(ge=1)] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1), PerTrial()] = 0.0,
        positions: Literal["learned", "rotary"] = "learned",
        rotary_base: Annotated[float, Field(gt=1), When("positions", "rotary")] = 10_000.0,
        norm: Norm = "layer",
        activation: Activation = "gelu",
        bias: bool = False,
        tied: bool = True,
        ngrams: Annotated[int, Field(ge=1, le=8)] = 1,
        buckets: Annotated[int, Field(ge=1), When("ngrams", but=(1,))] = 16_384,
        documents: Literal["crossed", "apart"] = "crossed",
    ) -> None:
        super().__init__()
        self.between = _between(inputs) if documents == "apart" else None
        rotary = positions == "rotary"
        check_heads(width, heads, key_heads, rotary=rotary)
        self.turns: Tensor | None
        self.embedding = nn.Embedding(inputs.vocab_size, width)
        self.positions = None if rotary else nn.Parameter(torch.empty(inputs.length, width))
        angles = turns(inputs.length, width // heads, rotary_base) if rotary else None
        self.register_buffer("turns", angles, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                key_heads=key_heads,
                hidden=hidden,
                dropout=dropout,
                norm=norm,
                activation=activation,
                bias=bias,
            )
            for _ in range(depth)
        )
        self.norm = normalised(width, norm, bias=bias)
        self.head = nn.Linear(width, outputs.vocab_size, bias=False)
        draw_weights(self, depth)
        if tied:
            self.head.weight = self.embedding.weight
        self.buckets, self.tables = buckets, nn.ModuleList(nn.Embedding(buckets, width) for _ in range(1, ngrams))
        for table in self.tables:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]  # what was never seen says nothing

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002 - no token sees one after it
        """Logits of shape (B, T, V): of the token after each."""
        known_BK = functional.pad(ids_BT, (len(self.tables), 0))
        x_BTD, _ = self._read(known_BK, *self._apart(ids_BT))
        return self._logits(x_BTD)

    def begin(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after each text of ids (B, T), and the state: see `Continuing`.

        The state is how many tokens each text has, or its last document, (B,); at which places these are, (B, T), since
        what stands behind the end of a text is kept as well; the last tokens that n-grams go on with, (B, N); and keys
        and values of each block, (B, H, T, d).
        """
        known_BK = functional.pad(ids, (len(self.tables), 0))
        lasts = torch.arange(len(ids), device=ids.device), lengths - 1
        places_BT, there_BTT = self._apart(ids)
        x_BTD, kept = self._read(known_BK, places_BT, there_BTT)
        there_BT, counts_B = filled(ids.shape[1], lengths), lengths
        if places_BT is not None and there_BTT is not None:
            there_BT, counts_B = there_BTT[lasts], places_BT[lasts] + 1
        steps_N = torch.arange(len(self.tables), device=ids.device)
        last_BN = known_BK.gather(1, lengths[:, None] + steps_N)
        return self._logits(x_BTD[lasts]), (counts_B, there_BT, last_BN, *kept)

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after `tokens` (B,), given the state before it; and the state that has it in it.

        A text has at most as many tokens as there are positions, the length of the inputs.
        """
        counts_B, there_BT, last_BN, *before = state
        if self.between is not None:
            begins_B = tokens == self.between
            counts_B, there_BT = counts_B.masked_fill(begins_B, 0), there_BT & ~begins_B[:, None]
        known_BK = torch.cat([last_BN, tokens[:, None]], dim=1)
        there_BT = torch.cat([there_BT, torch.ones_like(there_BT[:, :1])], dim=1)
        x_B1D, kept = self._read(known_BK, counts_B[:, None], there_BT[:, None], before)
        return self._logits(x_B1D[:, 0]), (counts_B + 1, there_BT, known_BK[:, 1:], *kept)

    def _apart(self, ids_BT: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The places of tokens in their documents and what they see, (B, T, T); None: all of a text before them."""
        return (None, None) if self.between is None else apart(ids_BT, self.between)

    def _read(
        self,
        known_BK: Tensor,
        places_BT: Tensor | None = None,
        there_BTS: Tensor | None = None,
        before: Sequence[Tensor] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """What becomes of tokens, (B, T, D), and each block's keys and values.

        Before its T tokens a row of `known_BK` has those that n-grams reach back to. Without `places_BT` they are the
        first of their texts.
        """
        x_BTD = self._embedded(known_BK, places_BT)
        places = slice(x_BTD.shape[1]) if places_BT is None else places_BT
        x_BTD = self.dropout(x_BTD if self.positions is None else x_BTD + self.positions[places])
        turns_RTd = None if self.turns is None else self.turns[:, places]
        if turns_RTd is not None and places_BT is not None:
            turns_RTd = turns_RTd[:, :, None]  # the same for all heads of a row
        there = None if there_BTS is None else there_BTS[:, None]
        kept: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x_BTD, *of_block = block(x_BTD, turns_RTd, there, before[2 * number : 2 * number + 2])
            kept += of_block
        return x_BTD, kept

    def _embedded(self, known_BK: Tensor, places_BT: Tensor | None) -> Tensor:
        """The vectors of tokens, and of the n-grams that end with them: before the first token there are zeros."""
        reach = len(self.tables)
        keys_BT = ids_BT = known_BK[:, reach:]
        x_BTD: Tensor = self.embedding(ids_BT)
        for back, table in enumerate(self.tables, 1):  # the shorter n-gram, and the token before it
            earlier_BT = known_BK[:, reach - back : known_BK.shape[1] - back]
            if places_BT is not None:
                earlier_BT = earlier_BT.masked_fill(places_BT < back, 0)
            keys_BT = (keys_BT * MULTIPLIER + earlier_BT) % self.buckets
            x_BTD = x_BTD + table(keys_BT)
        return x_BTD

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
        return logits


def _between(inputs: Tokens) -> int:
    if isinstance(inputs, DocumentTokens):
        return inputs.between
    raise LabwrightError(
        'model.documents: "apart" needs a token between documents, which this data has none of; '
        'task.data.between="token" puts one there, where the data has several documents.'
    )
