"""What our transformers are made of. B batch, T tokens, S tokens attended to, D width, H heads, d width of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from labwright import LabwrightError
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

Norm = Annotated[
    Literal["layer", "rms"],
    Field(
        description="how vectors are scaled: by LayerNorm, or by their root mean square (rms; Zhang & Sennrich 2019)."
    ),
]
Activation = Annotated[
    Literal["gelu", "relu2", "swiglu"],
    Field(
        description="of the perceptron: GELU, the square of ReLU (relu2; So et al. 2021), or half of the units, "
        "through SiLU, times the other half (swiglu; Shazeer 2020)."
    ),
]


class Block(nn.Module):
    """Attention and a perceptron, each added to what it was given (Vaswani et al. 2017).

    Args:
        width: of a token's vector, which the heads divide.
        heads: of queries.
        key_heads: of keys and values; so many queries as fit share one (Ainslie et al. 2023). As many as `heads`, if
            left out.
        hidden: units of the perceptron; 4 * width if left out, and two thirds of that for swiglu, which has three
            matrices instead of two.
        dropout: share of attention, and of what is added, that is left out.
        norm: layer (Ba et al. 2016), or rms: by the root of the mean square (Zhang & Sennrich 2019).
        activation: gelu, relu2 the square of ReLU (So et al. 2021), or swiglu: one half of the units, through SiLU,
            times the other (Shazeer 2020).
        bias: whether layers add one; rms has none.
        norm_last: normalise each sum, instead of what attention and perceptron are given (Xiong et al. 2020, figure 1).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_heads: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        norm: Norm = "layer",
        activation: Activation = "gelu",
        bias: bool = False,
        norm_last: bool = False,
    ) -> None:
        super().__init__()
        self.share, self.activation, self.norm_last = dropout, activation, norm_last
        self.heads, self.key_heads = heads, key_heads or heads
        gated = activation == "swiglu"
        hidden = hidden or (8 * width // 3 if gated else 4 * width)
        self.attention_norm = normalised(width, norm, bias=bias)
        self.attention_in = nn.Linear(width, width // heads * (heads + 2 * self.key_heads), bias=bias)
        self.attention_out = nn.Linear(width, width, bias=bias)
        self.hidden_norm = normalised(width, norm, bias=bias)
        self.hidden_in = nn.Linear(width, hidden * (2 if gated else 1), bias=bias)
        self.hidden_out = nn.Linear(hidden, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Tensor, turns: Tensor | None, there: Tensor | None = None, before: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What becomes of tokens, and the keys and values that they attended to, (B, H, S, d) each.

        `before` are those of earlier tokens. Without a mask of what is `there` a token sees those up to it.
        """
        given = x_BTD if self.norm_last else self.attention_norm(x_BTD)
        attended, key, value = self._attended(given, turns, there, before)
        x_BTD = x_BTD + attended
        if self.norm_last:
            x_BTD = self.attention_norm(x_BTD)
            return self.hidden_norm(x_BTD + self._perceived(x_BTD)), key, value
        return x_BTD + self._perceived(self.hidden_norm(x_BTD)), key, value

    def _attended(
        self, x_BTD: Tensor, turns: Tensor | None, there: Tensor | None, before: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.attention_in(x_BTD).unflatten(2, (self.heads + 2 * self.key_heads, -1)).transpose(1, 2)
        query, key, value = parts.split([self.heads, self.key_heads, self.key_heads], dim=1)
        if turns is not None:
            query, key = turned(query, turns), turned(key, turns)
        if before:
            key, value = (torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True))
        y_BHTd = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=there,
            dropout_p=self.share if self.training else 0.0,
            is_causal=there is None,
            enable_gqa=self.key_heads != self.heads,
        )
        out_BTD: Tensor = self.dropout(self.attention_out(y_BHTd.transpose(1, 2).flatten(2)))
        return out_BTD, key, value

    def _perceived(self, x_BTD: Tensor) -> Tensor:
        units = self.hidden_in(x_BTD)
        if self.activation == "swiglu":
            gate, units = units.chunk(2, dim=-1)
            units = functional.silu(gate) * units
        else:
            units = functional.relu(units).square() if self.activation == "relu2" else functional.gelu(units)
        out_BTD: Tensor = self.dropout(self.hidden_out(units))
        return out_BTD


def normalised(width: int, norm: Norm, *, bias: bool) -> nn.Module:
    """A layer that scales each token's vector, by its deviation (layer) or its root mean square (rms)."""
    return nn.RMSNorm(width, eps=1e-5) if norm == "rms" else nn.LayerNorm(width, bias=bias)


def check_heads(width: int, heads: int, key_heads: int | None = None, *, rotary: bool = False) -> None:
    """Raises LabwrightError for heads that don't divide the width or each other, or that can't be turned in pairs."""
    if width % heads:
        raise LabwrightError(f"model.heads: {heads} heads don't divide model.width, {width}.")
    if rotary and width // heads % 2:
        raise LabwrightError(
            f"model.heads: {heads} heads of model.width {width} have {width // heads} numbers each, which rotary "
            "positions turn in pairs; give an even share."
        )
    if key_heads is not None and heads % key_heads:
        fitting = ", ".join(str(number) for number in range(1, heads + 1) if heads % number == 0)
        raise LabwrightError(
            f"model.key_heads: {key_heads} heads of keys can't be shared evenly by model.heads, {heads}; give one of "
            f"{fitting}."
        )


def draw_weights(model: nn.Module, depth: int) -> None:
    """Matrices from a normal distribution of deviation 0.02, those that write into the residual stream from
    0.02 / sqrt(2 * depth) (Radford et al. 2019, section 2.3); biases at 0.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            into_residual = name.endswith("out.weight")
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if into_residual else 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def turns(length: int, size: int, base: float = 10_000.0) -> Tensor:
    """Cosines and sines of the angles that each position turns pairs of `size` numbers by, (2, length, size / 2).

    Position t turns pair i by t * base**(-2i/size), in radians (Su et al. 2021, section 3.2.2).
    """
    angles_Td = torch.arange(length)[:, None] * base ** (-torch.arange(0, size, 2) / size)
    return torch.stack([angles_Td.cos(), angles_Td.sin()])


def turned(x_BHTd: Tensor, turns: Tensor) -> Tensor:
    """Each number of the first half and its partner in the second, turned by the angles of their place."""
    (first, second), (cos, sin) = x_BHTd.chunk(2, dim=-1), turns
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
