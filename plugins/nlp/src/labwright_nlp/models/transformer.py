"""An encoder-decoder transformer. B batch, S tokens of a source, T of a target, D width, H heads, V vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from labwright import Integers, LabwrightError, PerTrial, Tokens, Uniform
from labwright_tasks.sequence_to_sequence import TargetTokens
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models.blocks import check_heads
from labwright_nlp.models.masks import filled


class Transformer(nn.Module):
    """Encoder-decoder transformer (Vaswani et al. 2017). Cost grows with depth * width**2.

    Normalisation comes before attention and before the perceptron (4 * width units, ReLU) and once more at the end, so
    that no warm-up is needed (Xiong et al. 2020). Two embeddings, times sqrt(width), are added to sinusoids; the output
    layer has the weights of the target's. Padding changes nothing.

    Args:
        width: numbers in a token's vector, in the residual stream; even.
        depth: blocks that read the source, and as many that write the target.
        heads: attention heads, which divide `width` among them.
        dropout: share that is zeroed, while training, of embedded tokens, of attention, and of what a block adds.

    Raises LabwrightError if the heads don't divide the width, or the width is odd.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: TargetTokens,
        *,
        width: Annotated[int, Field(ge=2), Integers(64, 512, step=64)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 6)] = 2,
        heads: Annotated[int, Field(ge=1)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.4), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        check_heads(width, heads)
        if width % 2:
            raise LabwrightError(f"model.width: sinusoids come in pairs, so that it is even; given {width}.")
        self.source = nn.Embedding(inputs.vocab_size, width)
        self.target = nn.Embedding(outputs.vocab_size, width)
        longest = max(inputs.length, outputs.length)
        self.register_buffer("positions", sinusoids(longest, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(_Block(width, heads, dropout, crossing=False) for _ in range(depth))
        self.decoder = nn.ModuleList(_Block(width, heads, dropout, crossing=True) for _ in range(depth))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if name in ("source.weight", "target.weight"):
                nn.init.normal_(parameter, std=width**-0.5)
            elif parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Sources (B, S) as (B, S, D)."""
        there_B11S = filled(ids.shape[1], lengths)[:, None, None, :]
        x_BSD = self._embedded(self.source, ids)
        for block in self.encoder:
            x_BSD = block(x_BSD, there_B11S)
        normed_BSD: Tensor = self.encoder_norm(x_BSD)
        return normed_BSD

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the target's, from those up to it and the sources' memory."""
        there_B11S = filled(memory.shape[1], lengths)[:, None, None, :]
        x_BTD = self._embedded(self.target, target)
        for block in self.decoder:
            x_BTD = block(x_BTD, None, memory, there_B11S)
        return functional.linear(self.decoder_norm(x_BTD), self.target.weight)

    def begin(self, memory: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """The state of targets of which nothing is written: where sources are, and each block's keys and values.

        Those of the memory, (B, H, S, d), come before those of the target so far, (B, H, 0, d).
        """
        state = [filled(memory.shape[1], lengths)[:, None, None, :]]
        for block in self.decoder:
            assert isinstance(block, _Block) and block.crossing is not None
            key_BHSd, value_BHSd = block.crossing.keys_and_values(memory)
            state += [key_BHSd, value_BHSd, key_BHSd[:, :, :0], value_BHSd[:, :, :0]]
        return tuple(state)

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What `decode` says of the token after the last of each row, (B, V), given that one (B,) and the state before.

        Beside it the state that has that token in it.
        """
        place, after = state[3].shape[2], list(state)
        x_B1D = self._embedded(self.target, tokens[:, None], place)
        for number, block in enumerate(self.decoder):
            assert isinstance(block, _Block)
            first = 1 + 4 * number
            crossed, before = state[first : first + 2], state[first + 2 : first + 4]
            x_B1D, after[first + 2 : first + 4] = block.extend(x_B1D, before, crossed, state[0])
        return functional.linear(self.decoder_norm(x_B1D[:, 0]), self.target.weight), tuple(after)

    def _embedded(self, embedding: nn.Embedding, ids_BT: Tensor, place: int = 0) -> Tensor:
        vectors_BTD = embedding(ids_BT) * math.sqrt(embedding.embedding_dim)
        positions_TD = self.positions[place : place + ids_BT.shape[1]]  # type: ignore[index]
        x_BTD: Tensor = self.dropout(vectors_BTD + positions_TD)
        return x_BTD


class _Block(nn.Module):
    """Attention among its own tokens, then to a memory if it crosses, and a perceptron, each added to what it is given.

    Without a mask of its own tokens each sees those up to it.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, crossing: bool) -> None:
        super().__init__()
        self.own_norm = nn.LayerNorm(width)
        self.own = _Attention(width, heads, dropout)
        self.crossing_norm = nn.LayerNorm(width) if crossing else nn.Identity()
        self.crossing = _Attention(width, heads, dropout) if crossing else None
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden_in, self.hidden_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Tensor, there: Tensor | None, memory_BSD: Tensor | None = None, memory_there: Tensor | None = None
    ) -> Tensor:
        normed_BTD = self.own_norm(x_BTD)
        own = self.own(normed_BTD, *self.own.keys_and_values(normed_BTD), there, causal=there is None)
        crossed: Sequence[Tensor] = ()
        if self.crossing is not None and memory_BSD is not None:
            crossed = self.crossing.keys_and_values(memory_BSD)
        return self._rest(x_BTD + self.dropout(own), crossed, memory_there)

    def extend(
        self, x_B1D: Tensor, before: Sequence[Tensor], crossed: Sequence[Tensor], memory_there: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The block's answer for one token more, and the keys and values of its tokens with that one."""
        normed_B1D = self.own_norm(x_B1D)
        pairs = zip(before, self.own.keys_and_values(normed_B1D), strict=True)
        own = [torch.cat(pair, dim=2) for pair in pairs]
        x_B1D = x_B1D + self.dropout(self.own(normed_B1D, *own, None))
        return self._rest(x_B1D, crossed, memory_there), own

    def _rest(self, x_BTD: Tensor, crossed: Sequence[Tensor], memory_there: Tensor | None) -> Tensor:
        if self.crossing is not None:
            x_BTD = x_BTD + self.dropout(self.crossing(self.crossing_norm(x_BTD), *crossed, memory_there))
        hidden = functional.relu(self.hidden_in(self.hidden_norm(x_BTD)))
        y_BTD: Tensor = self.dropout(self.hidden_out(hidden))
        return x_BTD + y_BTD


class _Attention(nn.Module):
    """Scaled dot-product attention of several heads. d is the width of one."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.share = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def keys_and_values(self, y_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Of what is attended to, (B, H, S, d) each."""
        return self._split(self.key(y_BSD)), self._split(self.value(y_BSD))

    def forward(
        self, x_BTD: Tensor, key_BHSd: Tensor, value_BHSd: Tensor, there: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        attended_BHTd = functional.scaled_dot_product_attention(
            self._split(self.query(x_BTD)),
            key_BHSd,
            value_BHSd,
            attn_mask=there,
            dropout_p=self.share if self.training else 0.0,
            is_causal=causal,
        )
        out_BTD: Tensor = self.out(attended_BHTd.transpose(1, 2).flatten(2))
        return out_BTD

    def _split(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.reshape(*x_BTD.shape[:2], self.heads, -1).transpose(1, 2)


def sinusoids(length: int, width: int) -> Tensor:
    """Position codes, shape (length, width): sines in the first half, cosines in the second.

    Row t holds angles t * 10000**(-2i/width), in radians; every row has squared norm width / 2.
    Source: Vaswani et al. 2017, section 3.5 (there sines and cosines alternate; here they are halves).
    """
    angles = torch.arange(length)[:, None] * 10000 ** (-2 * torch.arange(width // 2) / width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
