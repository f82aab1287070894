"""Running text for language modelling, cut into windows. N tokens of a part, B batch, T tokens of a window."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Choice, Data, LabwrightError, Port, Tokens, derived_seed
from labwright_tasks import other_data
from labwright_tasks.language_model import NextTokens, TokenBatch
from labwright_tasks.other_data import Facts, drift
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.reading import check_typed, read_text, text_files
from labwright_nlp.tokenizing import Kind, Tokenizer, clean, kept, learned

Case = Literal["keep", "lower"]  # marks would be counted as characters
Context = Annotated[int, Field(ge=1, description="tokens a model sees at once"), Choice(32, 64, 128, 256)]


class Corpus(Data, ABC):
    """A running text: its last shares are the test part and, before it, the validation part.

    A sample is a window of `context` tokens, and what is to be predicted are the tokens that follow each of them.
    Windows don't overlap, in evaluation neither: the first token of each is predicted from itself alone. Those to learn
    from begin at an offset drawn anew for each epoch, so that every position occurs. The tokenizer is learned from the
    training part.
    """

    item = Tokens
    target = NextTokens
    line = "prompt"
    suffixes = (".txt",)
    encoding: str | None = None  # of files that aren't in UTF-8
    rewrite: Callable[[str], str] = str  # what every text goes through first: see `labwright_tasks.rewritten`

    def __init__(
        self,
        *,
        context: int,
        valid: float,
        test: float,
        tokenizer: Kind,
        vocabulary: int,
        pretrained: Path | None,
        case: Case,
    ) -> None:
        self.context, self.valid, self.test = context, valid, test
        self.tokenizer, self.vocabulary, self.pretrained, self.case = tokenizer, vocabulary, pretrained, case
        self.tokens: Tokenizer | None = None
        self._start: Path | None = None  # what belongs to the weights that the run starts from
        self._splits: dict[str, Windows] = {}
        self._digests: dict[str, str] = {}
        self.facts: Facts = {}  # of the training part
        self._drift: list[str] = []  # of other data

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    @abstractmethod
    def text(self) -> tuple[str, str]:
        """The whole text, and what to call it in a message."""

    def prepare(self) -> None:
        text, origin = self.text()
        text = clean(self.rewrite(text), self.case)
        if self.valid + self.test >= 1:
            raise LabwrightError(f"task.data: valid {self.valid} and test {self.test} leave nothing to learn from.")
        first, second = int(len(text) * (1 - self.valid - self.test)), int(len(text) * (1 - self.test))
        if not self.test:
            second = len(text)
        parts = {"train": text[:first], "valid": text[first:second], "test": text[second:]}
        if not parts["train"].strip():
            raise LabwrightError(f"{origin} has no text to learn from.")
        lines = parts["train"].splitlines(keepends=True)
        self.tokens = learned(
            self.tokenizer, lines, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        for name, part in parts.items():
            if not part and not getattr(self, name, 0.0):
                continue
            ids, ends = self.tokens.stream(part)
            self._digests[name] = hashlib.sha256(part.encode()).hexdigest()
            if len(ids) <= (self.context if name == "train" else 1):
                raise LabwrightError(
                    f"task.data: the {name} part of {origin} has {len(ids):,} tokens; with task.data.context="
                    f"{self.context} it needs {self.context + 1 if name == 'train' else 2:,} or more. Give a longer "
                    "text, a smaller context or other shares."
                )
            self._splits[name] = Windows(
                ids, ends if self.tokens.exact else None, self.context, self.tokens.pad_id, moving=name == "train"
            )
        self.facts = self.facts_of(self._splits["train"])

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        inputs = model_folder.port(self.tokens, self.context, self.tokenizer, self._start)
        return inputs, NextTokens(self.tokens.size, self.context, self.tokens.exact)

    def split(self, name: str) -> Windows | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """A text file, or all of a folder in the order of their names, as one text."""
        assert self.tokens is not None
        files = text_files(path, self.suffixes) if path.is_dir() else [path]
        text = clean(self.rewrite("".join(read_text(file, self.encoding) for file in files)), self.case)
        ids, ends = self.tokens.stream(text)
        if len(ids) < 2:
            what = "no text file" if not files else f"{len(ids)} of the two or more tokens that are needed"
            raise LabwrightError(f"{path} has {what}; nothing follows another there.")
        split = Windows(ids, ends if self.tokens.exact else None, self.context, self.tokens.pad_id, moving=False)
        other = copy(self)
        other._splits, other._digests = {"test": split}, {"test": hashlib.sha256(text.encode()).hexdigest()}
        other._drift = drift(self.facts_of(split), self.facts, len(split))
        return other

    def facts_of(self, split: Windows) -> Facts:
        """What windows of a text are like: how many of their tokens aren't known."""
        if self.tokens is None or self.tokens.unknown is None:
            return {}
        unknown_N = (split.ids_N == self.tokens.unknown).double()
        shares = torch.stack([window.mean() for window in torch.split(unknown_N, self.context)])
        return other_data.facts({"the share of unknown tokens": shares})

    def remarks(self) -> Sequence[str]:
        assert self.tokens is not None
        ids = {name: split.ids_N.numpy() for name, split in self._splits.items()}
        return [*noticing.unknown(ids, self.tokens.unknown, self.tokenizer), *self._drift]

    def identity(self, split: str) -> Sequence[str]:
        return (self._digests[split],)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """The tokens of a prompt, however many."""
        assert self.tokens is not None
        check_typed(line)
        ids, _ = self.tokens.stream(clean(self.rewrite(line), self.case))
        if not len(ids):
            raise LabwrightError(f"the prompt {line!r} has no token; give one with a word in it.")
        return torch.from_numpy(ids).long()[None], torch.tensor([len(ids)])

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.parse(read_text(path))

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, self.suffixes)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        assert self.tokens is not None
        ids_BT, lengths_B = inputs
        rows = zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)
        return [self.tokens.decode(ids[:length]) for ids, length in rows]

    def save(self, folder: Path) -> None:
        assert self.tokens is not None
        self.tokens.save(folder)
        model_folder.keep(self._start, self.tokenizer, folder)
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.tokens = kept(self.tokenizer, folder)
        self._start = model_folder.kept(folder) or self._start
        self.facts = other_data.kept(folder)


class Windows:
    """A part of a text in memory, as windows side by side; `moving` ones begin elsewhere in each epoch.

    `ends_N` says how many characters end with each token or before it; None: they aren't counted.
    """

    def __init__(self, ids: np.ndarray, ends: np.ndarray | None, context: int, pad_id: int, *, moving: bool) -> None:
        self.ids_N = torch.from_numpy(ids)
        self.ends_N = None if ends is None else torch.from_numpy(ends)
        self.context, self.pad_id, self.moving = context, pad_id, moving
        self.steps_T = torch.arange(context + 1)
        # A moving window is whole wherever it begins; the last of the others may be short.
        self.count = max((len(ids) - context) // context, 1) if moving else -(-(len(ids) - 1) // context)

    def __len__(self) -> int:
        return self.count

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> TokenBatch:
        starts_B, last = indices * self.context, len(self.ids_N) - 1
        if self.moving:
            starts_B = starts_B + derived_seed(seed, epoch, 7) % (len(self.ids_N) - self.count * self.context)
        window_BT = self.ids_N[(starts_B[:, None] + self.steps_T).clamp_(max=last)].long()
        lengths_B = (last - starts_B).clamp_(max=self.context)
        ids_BT, next_BT = window_BT[:, :-1], window_BT[:, 1:]
        if not self.moving:
            beyond_BT = self.steps_T[:-1] >= lengths_B[:, None]
            ids_BT, next_BT = ids_BT.masked_fill(beyond_BT, self.pad_id), next_BT.masked_fill(beyond_BT, LEFT_OUT)
        return TokenBatch((ids_BT, lengths_B), next_BT, int(lengths_B.sum()), self._characters(starts_B, lengths_B))

    def _characters(self, starts_B: Tensor, lengths_B: Tensor) -> int:
        """How many characters the targets of these windows stand for."""
        if self.ends_N is None:
            return 0
        return int((self.ends_N[starts_B + lengths_B] - self.ends_N[starts_B]).sum())
