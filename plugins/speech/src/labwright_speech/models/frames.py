"""What the models share: sums over the frames that are there, and whether a transcript's symbols fit into frames.

B batch, F frames, D features.
"""

from __future__ import annotations

import torch
from labwright import LabwrightError
from torch import Tensor

from labwright_speech.ports import Transcript


def there(lengths_B: Tensor, size: int) -> Tensor:
    """Which of `size` frames are before each row's end, bool (B, F)."""
    return torch.arange(size, device=lengths_B.device) < lengths_B[:, None]


def mean_over_frames(x_BDF: Tensor, lengths_B: Tensor) -> Tensor:
    """The mean over the frames before each row's end, (B, D)."""
    mask_B1F = there(lengths_B, x_BDF.shape[2]).unsqueeze(1)
    return (x_BDF * mask_B1F).sum(2) / lengths_B.clamp(min=1, max=x_BDF.shape[2])[:, None]


def check_rate(outputs: Transcript, rate: float, stride: int) -> None:
    """Raises LabwrightError if a model with `rate` frames per second has too few for the training transcripts."""
    if rate < outputs.densest:
        way = "Set model.stride=2" if stride > 2 and rate * stride / 2 >= outputs.densest else "Take it out of the data"
        raise LabwrightError(
            f"model.stride: the network gives {rate:g} frames per second; the transcript of {outputs.of} needs "
            f"{outputs.densest:.1f}, one for each symbol. {way}, or see whether the two belong together."
        )
