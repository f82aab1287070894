"""Samples as rows of numbers, by what kind of input they are. B batch, D features, T time, C channels."""

from __future__ import annotations

import torch
from labwright import Image, Port, Tokens
from torch import Tensor
from torch.nn import functional

from labwright_tasks.features import dense, width

_SIDE = 16  # a picture's pixels along a side
_WORDS, _LONGEST = 2048, 3  # places for tokens, and for so many that follow one another
_ROW = 20.0  # the length of a text's row: much shorter ones a penalised regression makes little of


def sample_features(port: Port, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """A row of numbers for each input, (B, D); None for a kind that it knows nothing of.

    Pictures: their pixels, at most 16x16. Texts: how often tokens, pairs and triples of them occur, hashed into 2,048
    places. Recordings: the loudness in bands of frequency, its mean and deviation.
    """
    if isinstance(port, Image):
        x_BCHW = inputs[0].float()
        sides = min(_SIDE, x_BCHW.shape[2]), min(_SIDE, x_BCHW.shape[3])
        return functional.adaptive_avg_pool2d(x_BCHW, sides).flatten(1)
    if isinstance(port, Tokens):
        return _words(inputs[0], inputs[1])
    return torch.from_numpy(dense(port, inputs)[1]).float() if width(port) is not None else None


def comparable(port: Port, x_ND: Tensor) -> Tensor:
    """The features of all samples on one scale, so that distances mean something.

    Texts: weighted by how rare a word is (tf-idf), rows of one length. Anything else: columns of zero mean and unit
    variance; those that don't vary are 0.
    """
    if isinstance(port, Tokens):
        rarity_D = (len(x_ND) / (1 + (x_ND > 0).sum(0))).log().clamp_min(0)
        return _ROW * functional.normalize(x_ND.log1p() * rarity_D)
    deviations_D = x_ND.std(0, correction=0)
    centred_ND = x_ND - x_ND.mean(0)
    return torch.where(deviations_D > 1e-6, centred_ND / deviations_D.clamp_min(1e-6), 0.0)


def _words(ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
    there_BT = torch.arange(ids_BT.shape[1]) < lengths_B[:, None]
    x_BD = torch.zeros(len(ids_BT), _WORDS)
    grams_BT = torch.zeros_like(ids_BT)
    for length in range(1, _LONGEST + 1):
        # the grams that begin at each place, one token longer
        grams_BT = grams_BT[:, : ids_BT.shape[1] - length + 1] * 1_000_003 + ids_BT[:, length - 1 :] + 1
        x_BD.scatter_add_(1, _place(grams_BT), there_BT[:, length - 1 :].float())
    return x_BD


def _place(numbers: Tensor) -> Tensor:
    """Knuth's multiplicative hash: the upper 11 of 32 bits, which all lower ones have an influence on."""
    return (numbers % 2**31 * 2_654_435_761 % 2**32) >> 21
