"""Architectures as their libraries build them. B batch, T time, F features, C classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import labwright as lw
import timm
import torch
import torchaudio
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from labwright_foreign.plugin import TIMM, TRANSFORMERS

Dropout = Annotated[
    float, Field(ge=0, lt=1, description="share of the features that is zeroed, while training."), lw.Uniform(0.0, 0.3)
]


def _of_timm(name: str) -> Callable[..., nn.Module]:
    def build(inputs: lw.Image, outputs: lw.Classes, *, dropout: Dropout = 0.0) -> nn.Module:
        """An architecture of timm without weights; those made of patches are told the size of the picture."""
        patches = {"img_size": inputs.height} if any(word in name for word in ("vit", "deit", "mixer")) else {}
        return timm.create_model(
            name, in_chans=inputs.channels, num_classes=len(outputs.names), drop_rate=dropout, **patches
        )

    return build


class Encoder(nn.Module):
    """A small encoder of transformers with a head for classes."""

    def __init__(self, kind: str, inputs: lw.Tokens, outputs: lw.Classes) -> None:
        super().__init__()
        size = {"hidden_size": 32, "dim": 32, "embedding_size": 32, "intermediate_size": 64, "hidden_dim": 64}
        depth = {"num_hidden_layers": 2, "n_layers": 2, "num_attention_heads": 2, "n_heads": 2}
        words = {"vocab_size": inputs.vocab_size, "pad_token_id": inputs.pad_id, "max_position_embeddings": 64}
        config = AutoConfig.for_model(kind, **size, **depth, **words, num_labels=len(outputs.names))
        self.encoder = AutoModelForSequenceClassification.from_config(config)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C)."""
        seen_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) < lengths_B[:, None]
        logits: Tensor = self.encoder(input_ids=ids_BT, attention_mask=seen_BT.long()).logits
        return logits


def _of_transformers(kind: str) -> Callable[..., nn.Module]:
    def build(inputs: lw.Tokens, outputs: lw.Classes) -> nn.Module:
        """An encoder of two layers of 32 units, without weights."""
        return Encoder(kind, inputs, outputs)

    return build


class _Spoken(nn.Module):
    """Log-mel spectra, something of torchaudio's, and the mean over time. Lengths are in samples."""

    def __init__(self, rate: int, width: int, classes: int) -> None:
        super().__init__()
        self.spectra = torchaudio.transforms.MelSpectrogram(rate, n_fft=256, hop_length=128, n_mels=16)
        self.head = nn.Linear(width, classes)

    def frames(self, x_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F), and how many of the frames of each row are sound."""
        return (self.spectra(x_BT) + 1e-6).log().transpose(1, 2), lengths_B // 128 + 1

    def pooled(self, x_BTF: Tensor, frames_B: Tensor) -> Tensor:
        seen_BT1 = (torch.arange(x_BTF.shape[1], device=x_BTF.device) < frames_B[:, None])[:, :, None]
        logits: Tensor = self.head((x_BTF * seen_BT1).sum(1) / frames_B[:, None])
        return logits


class Conformer(_Spoken):
    """torchaudio's Conformer (Gulati et al. 2020)."""

    def __init__(self, inputs: lw.Audio, outputs: lw.Classes) -> None:
        super().__init__(inputs.sample_rate, 16, len(outputs.names))
        self.body = torchaudio.models.Conformer(16, 2, 32, 1, 7, use_group_norm=True)

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C)."""
        frames_BTF, frames_B = self.frames(x_BT, lengths_B)
        seen = int(frames_B.max())
        return self.pooled(*self.body(frames_BTF[:, :seen], frames_B))


class DeepSpeech(_Spoken):
    """torchaudio's DeepSpeech (Hannun et al. 2014)."""

    def __init__(self, inputs: lw.Audio, outputs: lw.Classes) -> None:
        super().__init__(inputs.sample_rate, 16, len(outputs.names))
        self.body = torchaudio.models.DeepSpeech(16, n_hidden=32, n_class=16)

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C)."""
        frames_BTF, frames_B = self.frames(x_BT, lengths_B)
        return self.pooled(self.body(frames_BTF[:, None]), frames_B)


class Wav2Vec2(nn.Module):
    """torchaudio's wav2vec 2.0 (Baevski et al. 2020) with two layers of 32 units, and the mean over time."""

    def __init__(self, inputs: lw.Audio, outputs: lw.Classes) -> None:
        super().__init__()
        self.body = torchaudio.models.wav2vec2_model(
            extractor_mode="layer_norm",
            extractor_conv_layer_config=[(16, 10, 5), (16, 8, 4), (16, 4, 2)],
            extractor_conv_bias=True,
            encoder_embed_dim=32,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=16,
            encoder_pos_conv_groups=4,
            encoder_num_layers=2,
            encoder_num_heads=2,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=64,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=True,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        self.head = nn.Linear(32, len(outputs.names))

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C)."""
        x_BTF, frames_B = self.body(x_BT, lengths_B)
        seen_BT1 = (torch.arange(x_BTF.shape[1], device=x_BTF.device) < frames_B[:, None])[:, :, None]
        logits: Tensor = self.head((x_BTF * seen_BT1).sum(1) / frames_B.clamp(min=1)[:, None])
        return logits


globals().update({name: _of_timm(name) for name in TIMM})
globals().update({name: _of_transformers(name) for name in TRANSFORMERS})
conformer, deep_speech, wav2vec2 = Conformer, DeepSpeech, Wav2Vec2
