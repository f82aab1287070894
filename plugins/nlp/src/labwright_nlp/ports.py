"""What text models are called with, beyond the core's own ports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labwright import Tokens


@dataclass(frozen=True)
class EncoderTokens(Tokens):
    """Tokens of a pretrained encoder's own tokenizer: its configuration is in `folder`, as config.json.

    `whole` says that its weights are there too. In a run folder they aren't: a checkpoint has those trained further.
    """

    folder: Path = Path()
    whole: bool = True
