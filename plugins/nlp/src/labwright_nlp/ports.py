"""What text models are called with, and what they return, beyond the core's own ports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError, Port, Tokens
from torch import Generator, Tensor


@dataclass(frozen=True)
class EncoderTokens(Tokens):
    """Tokens of an encoder's own tokenizer: the encoder's configuration is in `folder`, as config.json."""

    folder: Path = Path()


@dataclass(frozen=True)
class Spans(Port):
    """Where a stretch of a text begins and ends: forward returns logits (B, T, 2), of each token that it is the first,
    and that it is the last; the target is the places of these two, (B, 2) int64. (0, 0) is no stretch of the text.
    """

    length: int

    def check(self, output: Any, target: Tensor) -> None:
        if not isinstance(output, Tensor) or output.dim() != 3 or output.shape[::2] != (len(target), 2):
            came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise LabwrightError(
                f"the model returned {came}; Spans stands for ({len(target)}, T, 2), two logits for each token: that "
                "an answer begins and that it ends there."
            )

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, self.length, (batch_size, 2), generator=generator).sort(1).values,)
