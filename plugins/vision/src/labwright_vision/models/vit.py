"""The vision transformer, and the masked autoencoder that learns one without labels.

B batch, C channels, H height, W width, T patches, K of them that are seen, D width, P numbers of a patch.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from labwright import Choice, Classes, Image, Integers, LabwrightError, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_vision.masked_autoencoding import Patches

Width = Annotated[int, Field(ge=8, multiple_of=4, description="numbers of a patch's token."), Choice(64, 128, 192)]
Depth = Annotated[int, Field(ge=1, description="transformer blocks."), Integers(2, 8)]
Heads = Annotated[int, Field(ge=1, description="heads of the attention, which divide the width."), Choice(2, 4)]

_HIDDEN = 4  # times the width
_DEVIATION = 0.02  # of tokens that are learned


class ViT(nn.Module):
    """Vision transformer (Dosovitskiy et al. 2021): square patches are the tokens.

    Positions are fixed sines in two dimensions, and the classifier sees the mean over all tokens, in whose place the
    paper learns positions and a token of the class: both are as good there (appendix D.3 and D.4). `encoder` is that of
    model 'vision/mae', so that `start.take = { "encoder.*" = "encoder.*" }` begins with what it learned.

    Args:
        dropout: share of the features that is zeroed before the last layer, while training.

    Raises LabwrightError for pictures that can't be cut into such patches, and a width that heads don't divide.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Classes,
        *,
        patch: Annotated[
            int, Field(ge=1, description="pixels along a patch's side, which divide the picture's."), Choice(4, 8)
        ] = 4,
        width: Width = 128,
        depth: Depth = 6,
        heads: Heads = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.3), PerTrial()] = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, patch, width, depth, heads)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, len(outputs.names))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.head(self.dropout(self.encoder(x_BCHW).mean(1)))
        return logits


class MaskedAutoencoder(nn.Module):
    """Masked autoencoder (He et al. 2022): of the patches that are seen an encoder makes tokens, and of these a small
    decoder all patches. The task 'vision/masked-pictures' says how large patches are and which are seen.

    What is kept is `encoder`, that of model 'vision/vit'.

    Args:
        width: numbers of a patch's token in the encoder.
        depth: transformer blocks of the encoder.
        heads: heads of the attention, which divide the widths of encoder and decoder.
        decoder_width: numbers of a patch's token in the decoder.
        decoder_depth: transformer blocks of the decoder.
    """

    places_TD: Tensor

    def __init__(
        self,
        inputs: Image,
        outputs: Patches,
        *,
        width: Width = 128,
        depth: Depth = 6,
        heads: Heads = 4,
        decoder_width: Width = 64,
        decoder_depth: Depth = 2,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, outputs.patch, width, depth, heads)
        self.to_decoder = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(_DEVIATION * torch.randn(decoder_width))
        self.decoder = _blocks(decoder_width, decoder_depth, heads)
        self.to_pixels = nn.Linear(decoder_width, inputs.channels * outputs.patch**2)
        rows, columns = inputs.height // outputs.patch, inputs.width // outputs.patch
        self.register_buffer("places_TD", positions(rows, columns, decoder_width), persistent=False)

    def forward(self, x_BCHW: Tensor, seen_BK: Tensor | None = None) -> Tensor:
        """The patches (B, T, P), of which those at `seen_BK` were seen, or all."""
        if seen_BK is None:
            seen_BK = torch.arange(len(self.places_TD), device=x_BCHW.device).expand(len(x_BCHW), -1)
        tokens_BKD = self.to_decoder(self.encoder(x_BCHW, seen_BK))
        masked_BTD = self.mask_token.expand(len(x_BCHW), *self.places_TD.shape)
        places_BKD = seen_BK[:, :, None].expand(-1, -1, tokens_BKD.shape[2])
        every_BTD = masked_BTD.scatter(1, places_BKD, tokens_BKD.to(masked_BTD.dtype)) + self.places_TD
        patches_BTP: Tensor = self.to_pixels(self.decoder(every_BTD))
        return patches_BTP

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """The representation of whole pictures, (B, D)."""
        features_BD: Tensor = self.encoder(x_BCHW).mean(1)
        return features_BD


class Encoder(nn.Module):
    """Patches as tokens with their places, and blocks of attention over them."""

    places_TD: Tensor

    def __init__(self, inputs: Image, patch: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if inputs.height % patch or inputs.width % patch:
            size, most = f"{inputs.height}x{inputs.width}", math.gcd(inputs.height, inputs.width)
            raise LabwrightError(
                f"model.patch: pictures of {size} can't be cut into patches of {patch}x{patch}, but of {most} and what "
                "divides it."
            )
        self.embed = nn.Conv2d(inputs.channels, width, patch, stride=patch)
        self.blocks = _blocks(width, depth, heads)
        places_TD = positions(inputs.height // patch, inputs.width // patch, width)
        self.register_buffer("places_TD", places_TD, persistent=False)

    def forward(self, x_BCHW: Tensor, seen_BK: Tensor | None = None) -> Tensor:
        """Tokens (B, T, D); of the patches that are seen alone (B, K, D)."""
        tokens_BTD = self.embed(x_BCHW).flatten(2).transpose(1, 2) + self.places_TD
        if seen_BK is not None:
            tokens_BTD = tokens_BTD.gather(1, seen_BK[:, :, None].expand(-1, -1, tokens_BTD.shape[2]))
        encoded_BTD: Tensor = self.blocks(tokens_BTD)
        return encoded_BTD


class _Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, _HIDDEN * width), nn.GELU(), nn.Linear(_HIDDEN * width, width))
        for layer in (self.to_qkv, self.to_out, self.perceptron[0], self.perceptron[2]):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        parts = self.to_qkv(self.norm(tokens_BTD)).chunk(3, 2)
        queries, keys, values = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        tokens_BTD = tokens_BTD + self.to_out(attended.transpose(1, 2).flatten(2))
        mixed_BTD: Tensor = tokens_BTD + self.perceptron(self.norm_2(tokens_BTD))
        return mixed_BTD


def _blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    if width % heads:
        raise LabwrightError(f"model.heads: {heads} heads don't divide a width of {width}.")
    return nn.Sequential(*(_Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Where each patch is, (T, width), row by row: waves of its row in one half, of its column in the other.

    Source: Vaswani et al. 2017, section 3.5, for each of the two, as the masked autoencoder has them.
    """
    rates = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    waves = []
    for count in (rows, columns):
        angles = torch.arange(count)[:, None] * rates
        waves.append(torch.cat([angles.sin(), angles.cos()], dim=1))
    down, across = waves
    return torch.cat([down[:, None].expand(-1, columns, -1), across.expand(rows, -1, -1)], dim=2).flatten(0, 1)
