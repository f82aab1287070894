"""Augmentation of waveforms. N samples of a split, T samples of sound.

What a recording gets is a function of (seed, epoch, its index in the split), so that neither batches, nor their order,
nor loader workers, nor resuming change it.
"""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Uniform, draws, generator
from pydantic import Field
from torch import Tensor

from labwright_speech.data.waveform import resampled

# The settings, as they stand in a constructor.
Speed = Annotated[
    float,
    Field(ge=0, le=0.5, description="largest change of speed and pitch of training recordings, as a share; 0: off."),
    Uniform(0.0, 0.2),
]
Shift = Annotated[
    float,
    Field(ge=0, description="largest shift in time of training recordings, in seconds; 0: off."),
    Uniform(0.0, 0.1),
]
Noise = Annotated[
    float,
    Field(ge=0, description="largest white noise in training, as a share of the recording's effective value; 0: off."),
    Uniform(0.0, 0.2),
]

_STEPS = 2  # speeds on either side of a recording's own


class Augment:
    """Augments the recordings of one split of `length` samples.

    Speeds are 1 and 1 ± `speed`, 1 ± `speed` / 2, one as often as another (Ko et al. 2015 has three). A shift, uniform
    in ±`shift` seconds, puts silence before the recording or cuts its beginning, a quarter of it at most. Noise has an
    effective value uniform in 0..`noise` of the recording's own.
    """

    def __init__(self, length: int, rate: int, *, speed: float = 0.0, shift: float = 0.0, noise: float = 0.0) -> None:
        self.length, self.rate, self.speed, self.shift, self.noise = length, rate, speed, shift, noise
        self._table = (-1, -1, torch.empty(0))  # seed, epoch, draws: the last that was asked for

    def __call__(self, x_T: Tensor, index: int, epoch: int, seed: int) -> Tensor:
        """The recording `index` as this epoch plays it, a new tensor or its own."""
        speed, shift, noise = self._draws(seed, epoch)[index].tolist()
        if self.speed:
            step = int(speed * (2 * _STEPS + 1)) - _STEPS
            x_T = resampled(x_T, 100 + round(100 * self.speed * step / _STEPS), 100)
        if self.shift:
            samples = round((2 * shift - 1) * self.shift * self.rate)
            x_T = torch.cat([x_T.new_zeros(samples), x_T]) if samples > 0 else x_T[min(-samples, len(x_T) // 4) :]
        if self.noise:
            white_T = torch.randn(len(x_T), generator=generator(seed, epoch, index, 8))
            x_T = x_T + white_T * (noise * self.noise * x_T.square().mean().sqrt())
        return x_T

    def _draws(self, seed: int, epoch: int) -> Tensor:
        if self._table[:2] != (seed, epoch):
            self._table = (seed, epoch, draws(self.length, 3, seed=seed, epoch=epoch))
        return self._table[2]
