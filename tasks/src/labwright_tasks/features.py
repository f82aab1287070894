"""Simple features of an input, by what it is: what a linear model sees of it. N samples, F features, T time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from labwright import Audio, Features, Image, Port, Tokens
from torch import Tensor
from torch.nn import functional

_SIDE = 32  # pixels along a side; a larger picture is shrunk
_MOST = 4096  # numbers of an input
_BANDS, _FRAME = 40, 0.025  # of a sound: bands from low to high, seconds of a frame
_LETTERS = 1000  # tokens up to which a vocabulary is taken for one of characters


@runtime_checkable
class Columns(Protocol):
    """A port of rows of a table: a model is called with numbers (N, F), and codes (N, C) below `levels`, one each."""

    numbers: Sequence[str]
    levels: Sequence[int]


def width(port: Port) -> int | None:
    """How many features `dense` makes of an input; None for one that isn't a few numbers."""
    if isinstance(port, Image):
        return port.channels * min(_SIDE, port.height) * min(_SIDE, port.width)
    if isinstance(port, Features) and math.prod(port.shape) <= _MOST:
        return math.prod(port.shape)
    if isinstance(port, Columns) and len(port.numbers) + sum(port.levels) <= _MOST:
        return len(port.numbers) + sum(port.levels)
    return 2 * _BANDS if isinstance(port, Audio) else None


def dense(port: Port, inputs: tuple[Tensor, ...]) -> tuple[str, np.ndarray]:
    """What the features of an input that has a `width` are called, and their values (N, F)."""
    if isinstance(port, Image):
        side = min(_SIDE, port.height), min(_SIDE, port.width)
        x_NCHW = inputs[0] if side == (port.height, port.width) else functional.adaptive_avg_pool2d(inputs[0], side)
        return "pixels", x_NCHW.flatten(1).double().numpy()
    if isinstance(port, Audio):
        x_NT, lengths_N = inputs
        return "the loudness of bands", _loudness(x_NT, lengths_N, port.sample_rate).numpy()
    if isinstance(port, Columns):
        codes = zip(inputs[1].unbind(1), port.levels, strict=True)
        one_hot = [functional.one_hot(codes_N, levels) for codes_N, levels in codes]
        return "columns", torch.cat([inputs[0], *one_hot], dim=1).double().numpy()
    return "features", inputs[0].flatten(1).double().numpy()


def _loudness(x_NT: Tensor, lengths_N: Tensor, rate: int) -> Tensor:
    """The mean and the deviation over time of each mel band's log power, (N, 2 * bands)."""
    size = int(rate * _FRAME)
    x_NT = functional.pad(x_NT, (0, max(0, size - x_NT.shape[1])))
    window = torch.hann_window(size)
    power_NFT = torch.stft(x_NT, size, size, window=window, center=False, return_complex=True).abs().square()
    hertz_F = torch.arange(power_NFT.shape[1]) * rate / size
    mels_F = 2595 * torch.log10(1 + hertz_F / 700)  # O'Shaughnessy 1987
    width = mels_F[-1] / (_BANDS + 1)
    centres_M = width * torch.arange(1, _BANDS + 1)
    share_MF = (1 - (mels_F - centres_M[:, None]).abs() / width).clamp(min=0)
    logs_NMT = (share_MF @ power_NFT + 1e-6).log().double()
    frames_N = (lengths_N // size).clamp(min=1)
    there_N1T = (torch.arange(logs_NMT.shape[2]) < frames_N[:, None])[:, None]
    mean_NM = (logs_NMT * there_N1T).sum(2) / frames_N[:, None]
    square_NM = ((logs_NMT - mean_NM[:, :, None]).square() * there_N1T).sum(2) / frames_N[:, None]
    return torch.cat([mean_NM, square_NM.sqrt()], dim=1)


def ngrams(port: Tokens) -> tuple[str, Callable[[Sequence[int]], list[tuple[int, ...]]]]:
    """What n-grams of tokens are called, and what makes them of a text's ids: longer ones where tokens are letters."""
    longest = 4 if port.vocab_size <= _LETTERS else 2

    def of(ids: Sequence[int]) -> list[tuple[int, ...]]:
        lengths = range(1, longest + 1)
        return [tuple(ids[first : first + length]) for length in lengths for first in range(len(ids) - length + 1)]

    return f"TF-IDF of 1 to {longest} tokens", of
