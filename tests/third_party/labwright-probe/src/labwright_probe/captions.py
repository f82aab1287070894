"""Captions: a sentence about a picture, a word at a time. N samples, B batch, T words, V known words, D width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import labwright as lw
import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

SIZES = {"train": 192, "valid": 48, "test": 48}
SIDE = 8
NUMBERS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
WORDS = ("<end>", "<begin>", "a", "bar", "in", "row", "column", *NUMBERS)
END, BEGIN = 0, 1


@dataclass(frozen=True)
class Sentence(lw.Port):
    """Words: the target is ids_BT of a sentence and its end, LEFT_OUT from there on; forward returns logits_BTV."""

    words: tuple[str, ...]
    length: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(2, len(self.words), (batch_size, self.length), generator=generator),)


class Bars(lw.Data):
    """Pictures of one bright bar in noise, and where it is: `third row`, or `a bar in column third`."""

    item, target = lw.Image, Sentence
    source, licence = "made by this plugin", "Apache-2.0"
    suffixes = (".npy",)

    def prepare(self) -> None:
        self._splits = {name: self._made(size, seed) for seed, (name, size) in enumerate(SIZES.items())}

    @staticmethod
    def _made(size: int, seed: int) -> lw.TensorSplit:
        random = lw.generator(seed)
        pictures_N1HW = 0.3 * torch.randn(size, 1, SIDE, SIDE, generator=random)
        ids_NT = torch.full((size, 6), lw.LEFT_OUT)
        for picture, ids in zip(pictures_N1HW, ids_NT, strict=True):
            place, upright = (int(torch.randint(most, (1,), generator=random)) for most in (SIDE, 2))
            bar = picture[0, :, place] if upright else picture[0, place]
            bar += 1.0
            sentence = f"a bar in column {NUMBERS[place]}" if upright else f"{NUMBERS[place]} row"
            written = [*(WORDS.index(word) for word in sentence.split()), END]
            ids[: len(written)] = torch.tensor(written)
        return lw.TensorSplit((pictures_N1HW,), ids_NT)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), Sentence(WORDS, 6)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        """A picture of 8 x 8 numbers."""
        return (torch.from_numpy(np.load(path)).float().reshape(1, 1, SIDE, SIDE),)


class WritesCaptions(Protocol):
    """What the task calls on a model: `codes` (B, D) of pictures; logits (B, T, V) of what follows each of `ids`."""

    def encode(self, x: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor: ...


class Writer(nn.Module):
    """A linear layer over pixels; its codes are what a GRU begins with. Forward writes greedily.

    Args:
        width: numbers of a code, of a word's vector and of the GRU's state.
    """

    def __init__(
        self, inputs: lw.Image, outputs: Sentence, *, width: Annotated[int, Field(ge=4), lw.Integers(16, 96)] = 48
    ) -> None:
        super().__init__()
        self.length = outputs.length
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(inputs.channels * inputs.height * inputs.width, width))
        self.words = nn.Embedding(len(outputs.words), width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, len(outputs.words))

    def encode(self, x: Tensor) -> Tensor:
        codes_BD: Tensor = self.encoder(x).tanh()
        return codes_BD

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        logits_BTV: Tensor = self.head(self.gru(self.words(ids), codes.unsqueeze(0))[0])
        return logits_BTV

    def forward(self, x_BCHW: Tensor) -> Tensor:
        codes_BD = self.encode(x_BCHW)
        ids_BT = torch.full_like(codes_BD[:, :1], BEGIN, dtype=torch.int64)
        for _ in range(self.length):
            logits_BTV = self.decode(codes_BD, ids_BT)
            ids_BT = torch.cat((ids_BT, logits_BTV[:, -1:].argmax(-1)), 1)
        return logits_BTV


class OfWords(Protocol):
    """What a loss is called with: logits (P, V) and words (P,) at all places of a batch."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...


class Captioning(lw.Task):
    """Write a sentence about a picture. Higher is better: `exact`, the share of sentences written without a fault.

    Args:
        data: pictures with a sentence about each.
    """

    goal = lw.Goal("exact", "maximize")
    contract = OfWords
    model_contract = WritesCaptions

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        self.data = data

    def weight(self, batch: lw.Batch) -> float:
        return int((batch.targets != lw.LEFT_OUT).sum())

    def loss(self, model: Any, batch: lw.Batch, criterion: OfWords, phase: str) -> Tensor:
        """Of each word, after the true ones before it."""
        shifted_BT = torch.cat((torch.full_like(batch.targets[:, :1], BEGIN), batch.targets[:, :-1]), 1)
        logits_BTV = model.decode(model.encode(*batch.inputs), shifted_BT.clamp(min=0))
        return criterion(logits_BTV.flatten(0, 1), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor]:
        """Whether each sentence is right, (B,)."""
        ids_BT = model(*batch.inputs).argmax(-1)
        return (((ids_BT == batch.targets) | (batch.targets == lw.LEFT_OUT)).all(1),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"exact": lw.Mean()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        rows = model(*inputs).argmax(-1).tolist()
        sentences = [row[: row.index(END)] if END in row else row for row in rows]
        return [{"caption": " ".join(WORDS[word] for word in sentence)} for sentence in sentences]
