"""Answers that stand in a text: the first and the last word of the span that answers a question.

N samples, B batch, T places, D width. A question comes before its text, with a bar between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import labwright as lw
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

SIZES = {"train": 400, "valid": 60, "test": 60}
PEOPLE = ("ann", "bob", "eve", "joe")
AMOUNTS, THINGS = ("two", "three", "four", "five"), ("red", "keys", "coins", "books")
WORDS = ("<pad>", "<other>", "what", "has", "and", "|", *PEOPLE, *AMOUNTS, *THINGS)
LONGEST = 28


@dataclass(frozen=True)
class Span(lw.Port):
    """Forward returns logits of the first and of the last place, two tensors (B, T); the target is both, (B, 2)."""

    length: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, self.length, (batch_size, 2), generator=generator).sort(1).values,)


def ids_of(words: Sequence[str]) -> Tensor:
    return torch.tensor([WORDS.index(word) if word in WORDS else 1 for word in words])


class Questions:
    """Texts of three or four sentences with a question about one: they differ in length, which `lengths` says."""

    def __init__(self, size: int, seed: int) -> None:
        self.ids: list[Tensor] = []
        spans = []
        for number in range(size):
            random = lw.generator(seed, number)
            draw = torch.randint(4, (4, 4), generator=random).tolist()
            people = torch.randperm(4, generator=random).tolist()[: 3 + draw[0][0] % 2]
            words = ["what", "has", PEOPLE[people[draw[1][0] % len(people)]], "|"]
            for place, person in enumerate(people):
                amount, colour, thing = draw[place][1], draw[place][2] % 2, 1 + draw[place][3] % 3
                answer = [AMOUNTS[amount], *(["red"] if colour else []), THINGS[thing]]
                words += ["and"] * bool(place) + [PEOPLE[person], "has", *answer]
                if PEOPLE[person] == words[2]:
                    spans.append((len(words) - len(answer), len(words) - 1))
            self.ids.append(ids_of(words))
        self.spans_N2 = torch.tensor(spans)
        self.lengths = torch.tensor([len(ids) for ids in self.ids])

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        ids_BT = pad_sequence([self.ids[index] for index in indices.tolist()], batch_first=True)
        return lw.Batch((ids_BT, self.lengths[indices]), self.spans_N2[indices])


class Owners(lw.Data):
    """Who has how many of what, in three or four sentences, and a question for one of the owners."""

    item, target = lw.Tokens, Span
    source, licence = "made by this plugin", "Apache-2.0"
    line = "question"

    def prepare(self) -> None:
        self._splits = {name: Questions(size, seed) for seed, (name, size) in enumerate(SIZES.items())}

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Tokens(len(WORDS), LONGEST), Span(LONGEST)

    def split(self, name: str) -> Questions | None:
        return self._splits.get(name)

    def parse(self, line: str) -> lw.Input:
        """A question, a bar and a text: `what has ann | ann has two keys`."""
        words = line.replace("|", " | ").split()
        if words.count("|") != 1 or len(words) > LONGEST:
            raise lw.LabwrightError(f"{line!r} is no question, one | and a text, of {LONGEST} words at most.")
        ids_T = ids_of([word.lower() for word in words])
        return lw.Input((ids_T[None], torch.tensor([len(words)])), origin=words)


class Reader(nn.Module):
    """A bidirectional GRU over words; the question's is read before the text, so that it is known there.

    Args:
        width: numbers of a word's vector, and of the state in each direction.
    """

    def __init__(
        self, inputs: lw.Tokens, outputs: Span, *, width: Annotated[int, Field(ge=4), lw.Integers(8, 64)] = 32
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(inputs.vocab_size, width)
        self.forwards, self.backwards = (nn.GRU(width, width, batch_first=True) for _ in range(2))
        self.head = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        words_BTD = self.words(ids_BT)
        beyond_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) >= lengths_B[:, None]
        before_BTD, _ = self.forwards(words_BTD)
        # each row is turned round within its length, so that its padding stays at the end
        places_BT = (lengths_B[:, None] - 1 - torch.arange(ids_BT.shape[1], device=ids_BT.device)).clamp(min=0)
        index_BTD = places_BT.unsqueeze(-1).expand_as(words_BTD)
        after_BTD = self.backwards(words_BTD.gather(1, index_BTD))[0].gather(1, index_BTD)
        logits_BT2 = self.head(torch.cat((words_BTD, before_BTD, after_BTD), -1))
        first_BT, last_BT = logits_BT2.masked_fill(beyond_BT.unsqueeze(-1), float("-inf")).unbind(-1)
        return first_BT, last_BT


class Answering(lw.Task):
    """Find the words that answer a question. Higher is better: `exact`, the share of spans with both ends right.

    Args:
        data: texts with a question, and where its answer begins and ends.
    """

    goal = lw.Goal("exact", "maximize")

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        self.data = data

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: None, phase: str) -> dict[str, Tensor]:
        ends = zip(("first", "last"), model(*batch.inputs), batch.targets.unbind(1), strict=True)
        return {name: functional.cross_entropy(logits_BT, places_B) for name, logits_BT, places_B in ends}

    @staticmethod
    def best(first_BT: Tensor, last_BT: Tensor) -> Tensor:
        """The likeliest span of those that don't end before they begin, (B, 2)."""
        scores_BTT = first_BT.unsqueeze(2) + last_BT.unsqueeze(1)
        allowed_TT = torch.ones_like(scores_BTT[0], dtype=torch.bool).triu()
        flat_B = scores_BTT.masked_fill(~allowed_TT, float("-inf")).flatten(1).argmax(1)
        return torch.stack((flat_B // last_BT.shape[1], flat_B % last_BT.shape[1]), 1)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor]:
        """Whether each span is right, (B,)."""
        return ((self.best(*model(*batch.inputs)) == batch.targets).all(1),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"exact": lw.Mean()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """The words of the answer, as they were given."""
        spans = self.best(*model(*inputs)).tolist()
        return [
            {"answer": " ".join(words[first : last + 1]), "words": [first, last]}
            for (first, last), words in zip(spans, origins, strict=True)
        ]
