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


@dataclass(frozen=True)
class MaskedTokens(Tokens):
    """Tokens some of which are hidden: `model(ids_BT, lengths_B, places_BM)`, all int64, `hidden` of a row at most.

    `places_BM` are the places of the hidden ones, rising, and 0 behind the last of a row. Only these are answered for,
    so that the vocabulary's layer costs little. With a `folder` the tokens are those of an encoder's own tokenizer,
    whose configuration is there, as config.json.
    """

    hidden: int = 1
    folder: Path | None = None

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        ids_BT, lengths_B = super().example(batch_size, generator)
        chosen_BT = torch.rand(ids_BT.shape, generator=generator)
        chosen_BT[torch.arange(self.length) >= lengths_B[:, None]] = -1.0
        values_BM, places_BM = chosen_BT.topk(min(self.hidden, self.length))
        behind = self.length
        places_BM = places_BM.masked_fill(values_BM < 0, behind).sort(1).values
        return ids_BT, lengths_B, places_BM.masked_fill(places_BM == behind, 0)


@dataclass(frozen=True)
class HiddenTokens(Port):
    """What stood at hidden places, `hidden` of a row at most: forward returns logits_BMV for the places_BM it is given.

    The target is the tokens there, (B, M) int64, -100 where a row has fewer.
    """

    vocab_size: int
    hidden: int

    def check(self, output: Any, target: Tensor) -> None:
        shape = (*target.shape, self.vocab_size)
        if not isinstance(output, Tensor) or tuple(output.shape) != shape:
            came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise LabwrightError(
                f"the model returned {came}; HiddenTokens stands for {shape}: a logit for each token of the vocabulary "
                "at each of the hidden places alone, which it is given as places_BM."
            )

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, self.vocab_size, (batch_size, self.hidden), generator=generator),)
