"""Data that any model of its kind can learn, made when it is asked for. N samples."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import labwright as lw
import torch
from torch import Generator, Tensor

SIZES = {"train": 64, "valid": 16, "test": 16}
SIDE, LENGTH, RATE, SOUND = 32, 16, 8000, 2000


class _Made(lw.Data):
    """Three splits drawn from seeds of their own."""

    target = lw.Classes
    source = "made by this plugin"
    licence = "CC0-1.0"
    names: Sequence[str] = ("one", "other")

    def __init__(self) -> None:
        self._splits: dict[str, lw.TensorSplit] = {}

    def prepare(self) -> None:
        for seed, (name, size) in enumerate(SIZES.items()):
            labels_N = torch.arange(size) % len(self.names)
            self._splits[name] = lw.TensorSplit(self.drawn(labels_N, Generator().manual_seed(seed)), labels_N)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)

    @abstractmethod
    def drawn(self, labels_N: Tensor, generator: Generator) -> tuple[Tensor, ...]: ...


class Blots(_Made):
    """Noise in three colours, 32 pixels a side, which is brighter in one quarter."""

    item = lw.Image
    names = ("top left", "top right", "bottom left", "bottom right")

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(3, SIDE, SIDE), lw.Classes(tuple(self.names))

    def drawn(self, labels_N: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        pictures = torch.randn(len(labels_N), 3, SIDE, SIDE, generator=generator)
        half = SIDE // 2
        for picture, label in zip(pictures, labels_N.tolist(), strict=True):
            top, left = half * (label // 2), half * (label % 2)
            picture[:, top : top + half, left : left + half] += 2
        return (pictures,)


class Letters(_Made):
    """Texts of 4 to 16 of eight letters; the second or the third letter makes up half of each."""

    item = lw.Tokens

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Tokens(9, LENGTH), lw.Classes(tuple(self.names))

    def drawn(self, labels_N: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        ids_NT = torch.randint(1, 9, (len(labels_N), LENGTH), generator=generator)
        often_NT = torch.rand(ids_NT.shape, generator=generator) < 0.5
        ids_NT = torch.where(often_NT, labels_N[:, None] + 2, ids_NT)
        lengths_N = torch.randint(4, LENGTH + 1, (len(labels_N),), generator=generator)
        return ids_NT.masked_fill(torch.arange(LENGTH) >= lengths_N[:, None], 0), lengths_N


class Tones(_Made):
    """A quarter of a second of 300 or 1,200 Hz under noise."""

    item = lw.Audio

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Audio(RATE, SOUND), lw.Classes(tuple(self.names))

    def drawn(self, labels_N: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        pitch_N = torch.tensor([300.0, 1200.0])[labels_N]
        phase_N = torch.rand(len(labels_N), generator=generator)
        turns_NT = pitch_N[:, None] * torch.arange(SOUND) / RATE + phase_N[:, None]
        noise_NT = 0.1 * torch.randn(turns_NT.shape, generator=generator)
        sound_NT = (0.5 * (2 * math.pi * turns_NT).sin() + noise_NT).clamp(-1, 1)
        return sound_NT, torch.full((len(labels_N),), SOUND)
