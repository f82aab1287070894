"""Questions whose answers stand in a text. N questions, W windows, T tokens."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from labwright import Batch, Data, Finding, Input, LabwrightError, LeftOut, Port, Tokens
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts, drift
from labwright_tasks.tables import Table
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.question_reading import Question, published_questions, questions_at, untold
from labwright_nlp.data.reading import check_typed
from labwright_nlp.data.texts import Share, chosen_rows
from labwright_nlp.ports import Spans
from labwright_nlp.tokenizing import KnowsWords, Pieces, Pretrained, Vocabulary, clean, kept, learned

_TABBED = "\t"
WindowLength = Annotated[int, Field(ge=16, description="most tokens of a question and a part of its text.")]
Stride = Annotated[int, Field(ge=0, description="tokens of a text that two windows share.")]


@dataclass(frozen=True)
class Window:
    """A question and a part of its text, as tokens; of each token the letters of the text it stands for.

    A token of the question, or of neither, stands for none: (0, 0).
    """

    ids: tuple[int, ...]
    letters: tuple[tuple[int, int], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The tokens that an answer begins and ends with; (0, 0) if this window hasn't all of it."""
        first = next((at for at, (low, high) in enumerate(self.letters) if low <= start < high), 0)
        last = next((at for at, (low, high) in enumerate(self.letters) if low < end <= high), 0)
        return (first, last) if first and last else (0, 0)


@dataclass(frozen=True)
class Asked:
    """A question and the windows of its text."""

    question: Question
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class AskedBatch(Batch):
    """Windows side by side, (W, T) and (W,), and the tokens their answers begin and end with, (W, 2).

    `asked` are the questions, whose windows follow one another.
    """

    asked: tuple[Asked, ...]

    def __len__(self) -> int:
        return len(self.asked)

    def rows(self, some: slice) -> AskedBatch:
        ends = [0]
        for asked in self.asked:
            ends.append(ends[-1] + len(asked.windows))
        first, last, _ = some.indices(len(self.asked))
        windows = slice(ends[first], ends[max(first, last)])
        return replace(
            self,
            inputs=tuple(values[windows] for values in self.inputs),
            targets=self.targets[windows],
            asked=self.asked[some],
        )


class AskedTexts(Data, ABC):
    """Questions whose answers are stretches of a text, wherever they are.

    A text that is longer than `length` tokens, together with its question, is read in windows.
    """

    item = Tokens
    target = Spans
    line = "question"
    suffixes = (".json",)
    together: Literal["title", "context"] = "title"  # of questions that stay together
    noted: tuple[str, ...] = ()  # what a task says of them

    def __init__(
        self, *, tokenizer: KnowsWords, vocabulary: int, pretrained: Path | None, length: int, stride: int
    ) -> None:
        if stride >= length // 2:
            raise LabwrightError(
                f"task.data.stride: windows of task.data.length={length} tokens, some of them the question's, can't "
                f"share {stride}; give less than {length // 2}."
            )
        self.tokenizer, self.vocabulary, self.pretrained = tokenizer, vocabulary, pretrained
        self.length, self.stride = length, stride
        self.tokens: Pieces | None = None
        self._start: Path | None = None
        self._questions: dict[str, list[Question]] = {}
        self._splits: dict[str, AskedSplit] = {}
        self._left_out: list[LeftOut] = []
        self._remarks: list[str] = []
        self.facts: Facts = {}

    @abstractmethod
    def parted(self) -> dict[str, list[Question]]:
        """The questions of each part."""

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    def prepare(self) -> None:
        self._questions = self.parted()
        self._learn(self._questions["train"])
        self._take_up()
        self.facts = self._facts("train")

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`."""
        before = self._splits  # without questions that have no room
        self._learn([before[name].asked[row].question for name, of_part in rows.items() for row in of_part.tolist()])
        self._take_up()
        for name, split in before.items():
            if [one.question for one in self._splits[name].asked] != [one.question for one in split.asked]:
                raise LabwrightError(
                    f"task.data.length: the tokenizer of a fold cuts questions otherwise, so that others of {name} "
                    f"have room in {self.length} tokens than when folds were made; give a larger one."
                )

    def _key(self, question: Question) -> str:
        return question.title or question.context if self.together == "title" else question.context

    def _learn(self, questions: Sequence[Question]) -> None:
        texts = [text for asked in questions for text in (asked.question, asked.context)]
        tokens = learned(
            self.tokenizer,
            map(clean, dict.fromkeys(texts)),
            vocabulary=self.vocabulary,
            pretrained=self.pretrained,
            start=self._start,
        )
        assert isinstance(tokens, Pieces)
        self.tokens = tokens

    def _take_up(self) -> None:
        self._remarks = []
        self._splits = {name: self._asked(questions) for name, questions in self._questions.items()}
        for name, split in self._splits.items():
            if not len(split):
                raise LabwrightError(
                    f"task.data.length: none of the {len(self._questions[name]):,} questions of {name} has room for a "
                    f"text beside it in {self.length} tokens; give a larger one."
                )
        assert self.tokens is not None
        self._remarks += noticing.unknown(self._ids(), self.tokens.unknown, self.tokenizer)

    def _ids(self) -> dict[str, np.ndarray]:
        """All tokens of each part's windows."""
        return {
            name: np.concatenate([np.array(window.ids, np.int32) for one in split.asked for window in one.windows])
            for name, split in self._splits.items()
        }

    def _asked(self, questions: Sequence[Question]) -> AskedSplit:
        assert self.tokens is not None
        found, long = [], 0
        for question in questions:
            windows = self._windows(question)
            long += not windows
            if windows:
                found.append(Asked(question, windows))
        if long:
            self._remarks.append(
                f"{long:,} questions have no room beside them for a text in task.data.length={self.length} tokens; "
                "they are left out."
            )
        apart = [one for one in found if one.question.answers and not any(map(any, spans(one)))]
        if apart:
            self._remarks.append(
                f"{len(apart):,} answers are whole in no window, as in {apart[0].question.where}: they are learned as "
                "none. A larger task.data.stride than such an answer, or a larger task.data.length, has room for them."
            )
        names = {name: number for number, name in enumerate(dict.fromkeys(self._key(one.question) for one in found))}
        groups = torch.tensor([names[self._key(one.question)] for one in found])
        return AskedSplit(found, groups, self.tokens.pad_id)

    def _windows(self, question: Question) -> tuple[Window, ...]:
        assert self.tokens is not None
        windows = self.tokens.windows(question.question, question.context, self.length, self.stride)
        return tuple(Window(ids, letters) for ids, letters in windows)

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        return model_folder.port(self.tokens, self.length, self.tokenizer, self._start), Spans(self.length)

    def split(self, name: str) -> AskedSplit | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """The questions of a file."""
        other, misplaced = copy(self), list[str]()
        other._questions = {"test": [*questions_at(path, misplaced)]}
        if not other._questions["test"]:
            raise LabwrightError(f"{path}: no question whose answer is in its text.")
        other._left_out = untold(misplaced)
        other._take_up()
        other._remarks += drift(other._facts("test"), self.facts, len(other._questions["test"]))
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Any]] | None:
        """The questions of a file, answered or not."""
        if path.is_dir():
            return None
        return ((one.where, lambda one=one: self._input(one)) for one in questions_at(path, [], answered=False))

    def parse(self, line: str) -> Input:
        """A question and its text with a tab between them, or an object as JSON."""
        check_typed(line)
        question, tab, context = line.partition(_TABBED)
        if not tab:
            try:
                given = json.loads(line)
                question, context = given["question"], given["context"]
            except (ValueError, KeyError, TypeError):
                raise LabwrightError(
                    f"given {line[:60]!r}: a question and the text it is about have a tab between them, or are JSON: "
                    '{"question": "...", "context": "..."}.'
                ) from None
        return self._input(Question(str(context), str(question), (), (), "", "the question"))

    def read(self, path: Path) -> Input:
        found = [*questions_at(path, [], answered=False)]
        if len(found) != 1:
            raise LabwrightError(f"{path} has {len(found)} questions; `predict --on` answers each.")
        return self._input(found[0])

    def _input(self, question: Question) -> Input:
        windows = self._windows(question)
        if not question.question.strip() or not question.context.strip() or not windows:
            raise LabwrightError(
                f"{question.where}: a question and a text that fit in task.data.length={self.length} tokens are needed."
            )
        ids = torch.tensor([windows[0].ids])
        return Input((ids, torch.tensor([ids.shape[1]])), origin=Asked(question, windows))

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        assert self.tokens is not None
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.tokens.decode(ids[:length]) for ids, length in rows]

    def checks(self) -> list[Finding]:
        """Questions that are empty, long, in another alphabet, or nearly the same."""
        return odd_texts(
            {part: [one.asked[row].question.question for row in range(len(one))] for part, one in self._splits.items()}
        )

    def place(self, split: str, index: int) -> str:
        return self._splits[split].asked[index].question.where

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return [*self._remarks, *self.noted]

    def identity(self, split: str) -> Iterable[str]:
        hashed = hashlib.sha256()
        for one in self._questions[split]:
            hashed.update(json.dumps([one.context, one.question, one.answers, one.starts]).encode())
        return (hashed.hexdigest(),)

    def save(self, folder: Path) -> None:
        assert self.tokens is not None
        self.tokens.save(folder)
        model_folder.keep(self._start, self.tokenizer, folder)
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        tokens = kept(self.tokenizer, folder)
        assert isinstance(tokens, Pieces)
        self.tokens = tokens
        self.facts = other_data.kept(folder)
        self._start = model_folder.kept(folder) or self._start

    def _facts(self, part: str) -> Facts:
        asked = self._splits[part].asked
        letters = {"the letters of a text": [len(one.question.context) for one in asked]}
        letters["the letters of a question"] = [len(one.question.question) for one in asked]
        return other_data.facts({name: torch.tensor(values) for name, values in letters.items()})


class Questions(AskedTexts):
    """Questions whose answers are stretches of a text, in files of yours: SQuAD's, or a row for each question.

    A file is .json as SQuAD publishes it, or .jsonl or .parquet whose rows have `context`, `question` and `answers`, a
    list of texts and where each begins. A folder has a file `train`, and perhaps `valid` and `test`. A part without a
    file is held out of the training questions. A question without an answer is one whose text doesn't say. One whose
    answer isn't at its place in the text is left out and counted.

    A text that is longer than `length` tokens, together with its question, is read in windows.

    Args:
        path: a file of questions, or a folder with one for each part.
        together: which questions stay on one side of what is held out, and of `folds`: those of one article, by its
            title, or of one text (context).
        valid, test: share of the training questions that is held out as this part, if it has no file; 0: there is no
            such part.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        together: Literal["title", "context"] = "title",
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: KnowsWords = "pretrained",
        vocabulary: Vocabulary = 20_000,
        pretrained: Pretrained = None,
        length: WindowLength = 256,
        stride: Stride = 64,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer, vocabulary=vocabulary, pretrained=pretrained, length=length, stride=stride
        )
        self.path, self.together, self.valid, self.test = path, together, valid, test

    def parted(self) -> dict[str, list[Question]]:
        parts, self._left_out = published_questions(self.path)
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in parts and getattr(self, name)}
        train = parts["train"]
        keys = [self._key(question) for question in train]
        chosen = chosen_rows(Table(str(self.path), {"text": keys}, range(1, len(train) + 1)), shares, (), None, None)
        return parts | {name: [train[row] for row in rows.tolist()] for name, rows in chosen.items()}


class AskedSplit:
    """Questions in memory; a batch has all windows of each. `lengths` are the tokens of the longest of them.

    `groups` are those that stay together.
    """

    def __init__(self, asked: Sequence[Asked], groups: Tensor, pad_id: int) -> None:
        self.asked, self.groups, self.pad_id = asked, groups, pad_id
        self.lengths = torch.tensor([max(len(window.ids) for window in one.windows) for one in asked])

    def __len__(self) -> int:
        return len(self.asked)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> AskedBatch:  # noqa: ARG002 - nothing is augmented
        return batch_of([self.asked[row] for row in indices.tolist()], self.pad_id)


def spans(asked: Asked) -> list[tuple[int, int]]:
    """The tokens of the first answer in each window."""
    return [_span(asked.question, window) for window in asked.windows]


def _span(question: Question, window: Window) -> tuple[int, int]:
    start = question.starts[0]
    return window.span(*without_blanks(question.context, start, start + len(question.answers[0])))


def without_blanks(text: str, low: int, high: int) -> tuple[int, int]:
    """A stretch of a text without blanks at its ends, which tokens of bytes have, and answers that were marked so."""
    found = text[low:high]
    start = low + len(found) - len(found.lstrip())
    return start, max(start, low + len(found.rstrip()))


def batch_of(asked: Sequence[Asked], pad_id: int) -> AskedBatch:
    """The windows of some questions. Of several answers the first is learned."""
    windows = [(one, window) for one in asked for window in one.windows]
    longest = max(len(window.ids) for _, window in windows)
    ids_WT = torch.full((len(windows), longest), pad_id)
    targets_W2 = torch.zeros(len(windows), 2, dtype=torch.int64)
    for row, (one, window) in enumerate(windows):
        ids_WT[row, : len(window.ids)] = torch.tensor(window.ids)
        if one.question.answers:
            targets_W2[row] = torch.tensor(_span(one.question, window))
    lengths_W = torch.tensor([len(window.ids) for _, window in windows])
    return AskedBatch((ids_WT, lengths_W), targets_W2, tuple(asked))
