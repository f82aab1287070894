"""What text models are called with, beyond the core's own ports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labwright import Tokens


@dataclass(frozen=True)
class EncoderTokens(Tokens):
    """Tokens of an encoder's own tokenizer: the encoder's configuration is in `folder`, as config.json."""

    folder: Path = Path()
