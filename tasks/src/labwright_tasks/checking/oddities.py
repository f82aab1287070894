"""Samples that are odd by themselves, whatever the others are. B batch, C channels, T time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from labwright import Audio, Image, Port, Tokens
from torch import Tensor

_SILENT = 1e-4  # of a full swing: -80 dB
_CLIPPED, _LOUD = 0.01, 0.999  # of a recording's values; from where on one is at its end
_SHORT = 0.1  # seconds


@dataclass(frozen=True)
class Oddity:
    """What may be odd about a sample, as "recordings that are silent".

    `wrong`: it is no sample of anything. `broken`: it can't be compared with others either.
    """

    what: str
    wrong: bool = False
    broken: bool = False


_NO_NUMBERS = Oddity("samples with values that are no numbers (NaN or infinite)", wrong=True, broken=True)
_FLAT = Oddity("pictures of one colour", wrong=True)
_MUTE = Oddity(f"recordings that are silent (nothing above {_SILENT:g} of a full swing)", wrong=True)
_CUT_OFF = Oddity(f"recordings that are clipped ({_CLIPPED:.0%} of their values or more at the limit)")
_BRIEF = Oddity(f"recordings shorter than {_SHORT:g} s")
_SINGLE = Oddity("texts of a single token")


def oddities(port: Port, inputs: tuple[Tensor, ...]) -> dict[Oddity, Tensor]:
    """Which samples of a batch are odd in which way, masks of shape (B,)."""
    return dict(_looked_at(port, inputs))


def _looked_at(port: Port, inputs: tuple[Tensor, ...]) -> Iterator[tuple[Oddity, Tensor]]:
    numbers = [tensor.flatten(1) for tensor in inputs if tensor.is_floating_point() and tensor.dim() > 1]
    bad_B = torch.zeros(len(inputs[0]), dtype=torch.bool)
    for x_BD in numbers:
        bad_B |= ~x_BD.isfinite().all(1)
    yield _NO_NUMBERS, bad_B
    if isinstance(port, Image):
        x_BCS = inputs[0].flatten(2)  # each channel has a value of its own
        yield _FLAT, ((x_BCS.amax(2) - x_BCS.amin(2)).amax(1) < 1e-6) & ~bad_B
    elif isinstance(port, Audio):
        x_BT, lengths_B = inputs
        there_BT = torch.arange(x_BT.shape[1]) < lengths_B[:, None]
        swing_BT = x_BT.abs() * there_BT
        yield _MUTE, (swing_BT.amax(1) < _SILENT) & ~bad_B
        yield _CUT_OFF, (swing_BT >= _LOUD).sum(1) >= _CLIPPED * lengths_B.clamp_min(1)
        yield _BRIEF, lengths_B < _SHORT * port.sample_rate
    elif isinstance(port, Tokens):
        yield _SINGLE, inputs[1] <= 1
