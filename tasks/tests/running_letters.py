"""A running text of a few letters, and models of which one knows what they write."""

from __future__ import annotations

import torch
from labwright import Data, Port, Tokens
from labwright_tasks.language_model import NextTokens, TokenBatch
from torch import Tensor, nn

LETTERS = "_abcd\n"


class Windows:
    """Windows of 4 over one line of letters, the last of them short."""

    def __init__(self, text: str) -> None:
        self.ids = torch.tensor([LETTERS.index(letter) for letter in text])

    def __len__(self) -> int:
        return -(-(len(self.ids) - 1) // 4)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> TokenBatch:
        ids_BT, next_BT = torch.zeros(len(indices), 4, dtype=torch.int64), torch.full((len(indices), 4), -100)
        lengths_B = torch.zeros(len(indices), dtype=torch.int64)
        for row, index in enumerate(indices.tolist()):
            window = self.ids[4 * index : 4 * index + 5]
            lengths_B[row] = length = len(window) - 1
            ids_BT[row, :length], next_BT[row, :length] = window[:-1], window[1:]
        return TokenBatch((ids_BT, lengths_B), next_BT, int(lengths_B.sum()), 2 * int(lengths_B.sum()))


class Letters(Data):
    """A text of a few letters; each stands for two characters where they are counted."""

    item = Tokens
    target = NextTokens
    source = "made up"
    licence = "CC0"

    def __init__(self, text: str = "abcdabcdab", *, counted: bool = True) -> None:
        self.text, self.counted = text, counted

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return Tokens(len(LETTERS), 4), NextTokens(len(LETTERS), 4, self.counted)

    def split(self, name: str) -> Windows | None:
        return Windows(self.text) if name in ("train", "test") else None

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return ["".join(LETTERS[one] for one in ids[:length]) for ids, length in rows]


class Bigrams(nn.Module):
    """The logits of the next letter are a table's row."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        assert ids_BT.shape[1] <= 4
        return self.table[ids_BT]


def alphabet() -> Bigrams:
    """Always the next letter, in a circle of a, b, c, d."""
    table = torch.zeros(6, 6)
    for letter, following in ((1, 2), (2, 3), (3, 4), (4, 1)):
        table[letter, following] = 50.0
    return Bigrams(table)
