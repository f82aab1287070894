"""A plugin in a file: pictures of shapes with masks, tagged words and digits to reverse, with small models of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import labwright as lw
import numpy as np
import torch
from labwright_tasks.dense_labels import PositionClasses, Words
from labwright_tasks.sequence_to_sequence import PairedData, PairedTokens, TargetTokens
from pydantic import Field
from torch import Tensor, nn

SIDE = 12
SHAPES = ("ground", "square", "disc")
COUNTS = (("train", 48), ("valid", 16), ("test", 16))


class Shapes(lw.Data):
    """Grey pictures of a square and a disc in noise; the outermost pixels have no label."""

    item = lw.Image
    target = PositionClasses
    source, licence = "drawn by a test", "none needed"
    suffixes = (".png",)

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.parts = {name: lw.TensorSplit(*_drawn(count, random)) for name, count in COUNTS}

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), PositionClasses(SHAPES, (SIDE, SIDE))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)

    def read(self, path: Path) -> lw.Input:
        from PIL import Image

        picture = Image.open(path).convert("L")
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST))
        x_HW = torch.tensor(small, dtype=torch.get_default_dtype()) / 255
        return lw.Input((x_HW[None, None],), origin=(picture.height, picture.width))


def _drawn(count: int, random: torch.Generator) -> tuple[tuple[Tensor], Tensor]:
    row_HW, column_HW = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for picture_HW in labels:
        (top, left), (y, x) = torch.randint(1, 6, (2, 2), generator=random).tolist()
        picture_HW[top : top + 3, left : left + 3] = 1
        picture_HW[(row_HW - y - 4) ** 2 + (column_HW - x - 4) ** 2 <= 4] = 2
    noise = 0.1 * torch.rand(labels.shape, generator=random, dtype=torch.float64)
    x_N1HW = (labels * 0.4 + noise)[:, None].to(torch.get_default_dtype())
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        edge.fill_(lw.LEFT_OUT)
    return (x_N1HW,), labels


class Pixels(nn.Module):
    """Two convolutions."""

    def __init__(
        self,
        inputs: lw.Image,
        outputs: PositionClasses,
        *,
        width: Annotated[int, Field(ge=1), lw.Integers(2, 16)] = 8,
        first: bool = False,
    ) -> None:
        super().__init__()
        self.first = first
        self.body = nn.Conv2d(inputs.channels, width, 3, padding=1)
        self.head = nn.Conv2d(width, len(outputs.names), 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits = self.head(self.body(x_BCHW).relu())
        return logits if self.first else logits.movedim(1, -1)


TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
NAMES = {"PER": (("ada", "byron"), ("alan", "turing"), ("grace",)), "LOC": (("new", "york"), ("paris",), ("oslo",))}
BETWEEN = ("saw", "met", "and", "in", "old")
WORDS = ("<pad>", "<unk>", *BETWEEN, *(word for names in NAMES.values() for name in names for word in name))


class Tagged(lw.Data):
    """Sentences of a few words, in which people and places are tagged; `test` has words nobody has seen."""

    item = lw.Tokens
    target = PositionClasses
    source, licence = "written by a test", "none needed"
    line = "text"

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.parts = {name: Sentences([_sentence(random) for _ in range(count)]) for name, count in COUNTS}

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Tokens(len(WORDS), 12), PositionClasses(TAGS, (12,))

    def split(self, name: str) -> Sentences | None:
        return self.parts.get(name)

    def parse(self, line: str) -> lw.Input:
        words = line.split()
        if not words:
            raise lw.LabwrightError(f"{line!r} has no word.")
        ids = [WORDS.index(word) if word in WORDS else 1 for word in words]
        return lw.Input((torch.tensor([ids]), torch.tensor([len(ids)])), Words(tuple(words), tuple(range(len(words)))))

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [" ".join(WORDS[token] for token in ids[:length]) for ids, length in rows]


def _sentence(random: torch.Generator) -> tuple[list[int], list[int]]:
    ids, labels = [], []
    for _ in range(int(torch.randint(1, 5, (), generator=random))):
        type_ = ("PER", "LOC")[int(torch.randint(2, (), generator=random))]
        name = NAMES[type_][int(torch.randint(3, (), generator=random))]
        ids += [2 + int(torch.randint(len(BETWEEN), (), generator=random)), *map(WORDS.index, name)]
        labels += [0, TAGS.index(f"B-{type_}"), *[TAGS.index(f"I-{type_}")] * (len(name) - 1)]
    return ids, labels


class Sentences:
    """A split of ids and labels, padded in a batch."""

    def __init__(self, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        self.rows = rows
        self.lengths = torch.tensor([len(ids) for ids, _ in rows])

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        lengths_B = self.lengths[indices]
        ids_BT = torch.zeros(len(indices), int(lengths_B.max()), dtype=torch.int64)
        labels_BT = torch.full_like(ids_BT, lw.LEFT_OUT)
        for row, index in enumerate(indices.tolist()):
            for whole_BT, values in zip((ids_BT, labels_BT), self.rows[index], strict=True):
                whole_BT[row, : len(values)] = torch.tensor(values)
        return lw.Batch((ids_BT, lengths_B), labels_BT)


class Tagger(nn.Module):
    """Vectors of words, and of their neighbours."""

    def __init__(self, inputs: lw.Tokens, outputs: PositionClasses, *, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(inputs.vocab_size, width, padding_idx=inputs.pad_id)
        self.body = nn.Conv1d(width, len(outputs.names), 3, padding=1)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        return self.body(self.embedding(ids_BT).mT).mT


PAD, BEGIN, END = 0, 1, 2


class Digits(PairedData):
    """Strings of 2 to `longest` digits, no two the same, and each from its end."""

    source, licence = "counted by a test", "none needed"
    line = "digits"

    def __init__(self, *, longest: int = 5, train: int = 64, held_out: int = 20) -> None:
        self.longest, self.train, self.held_out = longest, train, held_out

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(0)
        texts: dict[str, None] = {}
        while len(texts) < self.train + 2 * self.held_out:
            length = int(torch.randint(2, self.longest + 1, (), generator=random))
            texts["".join(map(str, torch.randint(10, (length,), generator=random).tolist()))] = None
        rows = [_ids(text) for text in texts]
        written = [_ids(text[::-1]) for text in texts]
        bounds = {"train": (0, self.train), "valid": (self.train, -self.held_out), "test": (-self.held_out, None)}
        self.parts = {
            name: PairedTokens(rows[start:end], [[*ids, END] for ids in written[start:end]], pad_id=PAD)
            for name, (start, end) in bounds.items()
        }

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Tokens(13, self.longest), TargetTokens(13, self.longest + 1, PAD, BEGIN, END)

    def split(self, name: str) -> PairedTokens | None:
        return self.parts.get(name)

    def written(self, ids: Sequence[int]) -> str:
        return "".join(str(token - 3) if token > END else "?" for token in ids)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.written(ids[:length]) for ids, length in rows]

    def parse(self, line: str) -> lw.Input:
        if not line.isdecimal() or len(line) > self.longest:
            raise lw.LabwrightError(f"{line!r} is no string of up to {self.longest} digits.")
        return lw.Input((torch.tensor([_ids(line)]), torch.tensor([len(line)])))


def _ids(text: str) -> list[int]:
    return [3 + int(digit) for digit in text]


class Recurrent(nn.Module):
    """Two GRUs, the second of which begins where the first ends."""

    def __init__(
        self,
        inputs: lw.Tokens,
        outputs: TargetTokens,
        *,
        width: Annotated[int, Field(ge=1), lw.Integers(8, 32)] = 16,
    ) -> None:
        super().__init__()
        self.source = nn.Embedding(inputs.vocab_size, width)
        self.target = nn.Embedding(outputs.vocab_size, width)
        self.reader, self.writer = (nn.GRU(width, width, batch_first=True) for _ in range(2))
        self.head = nn.Linear(width, outputs.vocab_size)

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        states_BSD, _ = self.reader(self.source(ids))
        return states_BSD[torch.arange(len(ids), device=ids.device), lengths - 1]

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        states_BTD, _ = self.writer(self.target(target), memory[None].contiguous())
        return self.head(states_BTD)


class Unpaired(nn.Module):
    """It has no `decode`."""

    def __init__(self, inputs: lw.Tokens, outputs: TargetTokens) -> None:
        super().__init__()
        self.head = nn.Embedding(inputs.vocab_size, outputs.vocab_size)

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.head(ids)


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    for kind, name, target in (
        ("data", "shapes", "Shapes"),
        ("data", "tagged", "Tagged"),
        ("data", "digits", "Digits"),
        ("model", "pixels", "Pixels"),
        ("model", "tagger", "Tagger"),
        ("model", "recurrent", "Recurrent"),
        ("model", "unpaired", "Unpaired"),
    ):
        yield lw.Component(kind, f"made/{name}", f"labels:{target}", "made by a test")
