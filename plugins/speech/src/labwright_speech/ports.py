"""What a recogniser returns. B batch, T frames of the model, C blank and symbols, L symbols of a transcript."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from labwright import Port
from torch import Generator, Tensor

BLANK = 0  # its class; symbol i of the alphabet is class i + 1


@dataclass(frozen=True)
class Transcript(Port):
    """What was said: forward returns log_probs_BTC over a blank, class 0, and the alphabet, C = 1 + len(alphabet).

    Frames after the end of a row are blank for certain: `ended` makes them so, and nobody needs to be told lengths.
    Targets are ids_BL, int64 in 1..C-1 and 0 from a row's length on, and lengths_B.

    `densest` is how many frames per second a model needs to have, so that each symbol of the most densely spoken
    training transcript, and a blank between two that are the same, has a frame of its own; `of` says which that is.
    """

    alphabet: tuple[str, ...]
    longest: int = 1
    densest: float = field(default=0.0, compare=False)  # these two are known in training only
    of: str = field(default="", compare=False)

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        ids_BL = torch.randint(1, len(self.alphabet) + 1, (batch_size, self.longest), generator=generator)
        lengths_B = torch.randint(1, self.longest + 1, (batch_size,), generator=generator)
        return ids_BL.masked_fill(torch.arange(self.longest) >= lengths_B[:, None], 0), lengths_B


def ended(log_probs_BTC: Tensor, lengths_B: Tensor) -> Tensor:
    """The same log-probabilities, with a certain blank in each frame from a row's length on."""
    frames, classes = log_probs_BTC.shape[1:]
    certain_C = torch.full((classes,), -1e4, dtype=log_probs_BTC.dtype, device=log_probs_BTC.device)
    certain_C[BLANK] = 0.0
    over_BT1 = (torch.arange(frames, device=lengths_B.device) >= lengths_B[:, None]).unsqueeze(2)
    return torch.where(over_BT1, certain_C, log_probs_BTC)
