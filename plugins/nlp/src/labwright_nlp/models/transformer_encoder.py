"""A transformer that reads a text in both directions. B batch, T tokens, M hidden ones, D width, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from labwright import Choice, Classes, Integers, PerTrial, Tokens, Uniform, Values
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.heads import width_of
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.blocks import Activation, Block, Norm, check_heads, draw_weights, normalised, turns
from labwright_nlp.models.hidden_head import HiddenHead
from labwright_nlp.models.masks import filled, mean, pooling_unread
from labwright_nlp.ports import HiddenTokens, Spans


class TransformerEncoder(nn.Module):
    """A transformer encoder from random weights (Devlin et al. 2019, "BERT"). Cost grows with depth * width**2.

    Each token sees all of its text; padding changes nothing. Layers have a bias. Weights start from a normal
    distribution of deviation 0.02, those that write into the residual stream from 0.02 / sqrt(2 * depth).

    Hidden tokens are told as BERT's are, see `HiddenHead`. A run starts from the weights of one that told hidden tokens
    by `start = { run = RUN, take = { "network.*" = "network.*" } }`; learned positions have to be as many as there.

    Args:
        width: numbers in a token's vector, in the residual stream.
        depth: blocks of attention and a perceptron.
        heads: attention heads, which divide `width` among them.
        hidden: units of a perceptron; left out, 4 * width, and two thirds of that for swiglu.
        dropout: share that is zeroed, while training, of embedded tokens, of attention, of what a block adds, and
            before the last layer.
        positions: how places are told: by learned vectors, or by turning queries and keys by angles that grow with them
            (rotary; Su et al. 2021).
        norm_last: whether to normalise behind each sum and behind the embedding, as BERT does, instead of before
            attention, before the perceptron and at the end (Xiong et al. 2020).
        pooling: what a class or a number is said of: the mean over the tokens, or the first one (cls). Where something
            is said of each token, or of hidden ones, it has no effect, and a run says so.

    Raises LabwrightError if the heads don't divide the width, or each has an odd share of it to turn in pairs.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes | Values | PositionClasses | Spans | HiddenTokens,
        *,
        width: Annotated[int, Field(ge=1), Integers(64, 512, step=64)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 8)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        hidden: Annotated[int, Field(ge=1)] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.4), PerTrial()] = 0.1,
        positions: Literal["learned", "rotary"] = "learned",
        norm: Norm = "layer",
        norm_last: bool = False,
        activation: Activation = "gelu",
        pooling: Annotated[Literal["mean", "cls"], Choice("mean", "cls")] = "mean",
    ) -> None:
        super().__init__()
        rotary = positions == "rotary"
        check_heads(width, heads, rotary=rotary)
        blocks = nn.ModuleList(
            Block(
                width,
                heads,
                hidden=hidden,
                dropout=dropout,
                norm=norm,
                activation=activation,
                bias=True,
                norm_last=norm_last,
            )
            for _ in range(depth)
        )
        angles = turns(inputs.length, width // heads) if rotary else None
        outer = normalised(width, norm, bias=True)
        self.network = _Network(inputs, width, blocks, outer, angles, dropout, last=norm_last)
        self.pooling, self.dropout = pooling, nn.Dropout(dropout)
        self.each = isinstance(outputs, PositionClasses | Spans)
        self.head = _head(width, outputs)
        draw_weights(self, depth)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor, places_BM: Tensor | None = None) -> Tensor:
        """Logits (B, C); (B, T, C) where something is said of each token; (B, M, V) of the tokens at `places_BM`."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        x_BTD = self.network(ids_BT, there_BT)
        if isinstance(self.head, HiddenHead):
            hidden_BMV: Tensor = self.head(x_BTD, places_BM, self.network.embedding.weight)
            return hidden_BMV
        logits: Tensor = self.head(self.dropout(x_BTD if self.each else self._pooled(x_BTD, there_BT)))
        return logits

    def remarks(self) -> Sequence[str]:
        return pooling_unread(self.pooling, each=self.each or isinstance(self.head, HiddenHead))

    def _pooled(self, x_BTD: Tensor, there_BT: Tensor) -> Tensor:
        return mean(x_BTD, there_BT) if self.pooling == "mean" else x_BTD[:, 0]


class _Network(nn.Module):
    """What becomes of each token, (B, T, D); `norm` stands at the end, or with `last` behind the embedding."""

    def __init__(
        self,
        inputs: Tokens,
        width: int,
        blocks: nn.ModuleList,
        norm: nn.Module,
        angles: Tensor | None,
        dropout: float,
        *,
        last: bool,
    ) -> None:
        super().__init__()
        self.turns: Tensor | None
        self.embedding = nn.Embedding(inputs.vocab_size, width)
        self.positions = None if angles is not None else nn.Parameter(torch.empty(inputs.length, width))
        self.register_buffer("turns", angles, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks, self.norm, self.last = blocks, norm, last

    def forward(self, ids_BT: Tensor, there_BT: Tensor) -> Tensor:
        length, x_BTD = ids_BT.shape[1], self.embedding(ids_BT)
        x_BTD = x_BTD if self.positions is None else x_BTD + self.positions[:length]
        x_BTD = self.dropout(self.norm(x_BTD) if self.last else x_BTD)
        turns_RTd = None if self.turns is None else self.turns[:, :length]
        for block in self.blocks:
            x_BTD, *_ = block(x_BTD, turns_RTd, there_BT[:, None, None])
        out_BTD: Tensor = x_BTD if self.last else self.norm(x_BTD)
        return out_BTD


def _head(width: int, outputs: Classes | Values | PositionClasses | Spans | HiddenTokens) -> nn.Module:
    if isinstance(outputs, HiddenTokens):
        return HiddenHead(width, width, outputs.vocab_size, eps=1e-5)
    if isinstance(outputs, PositionClasses):
        return nn.Linear(width, len(outputs.names))
    return nn.Linear(width, 2 if isinstance(outputs, Spans) else width_of(outputs))
