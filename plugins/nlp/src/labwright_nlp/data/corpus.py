"""Running text for language modelling, cut into windows. N tokens of a part, B batch, T tokens of a window."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Choice, Data, LabwrightError, LeftOut, Port, Tokens, derived_seed, listed
from labwright_tasks import other_data
from labwright_tasks.language_model import NextTokens, TokenBatch
from labwright_tasks.other_data import Facts, drift
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.reading import check_typed, is_hidden, read_text, text_files
from labwright_nlp.ports import DocumentTokens
from labwright_nlp.tokenizing import Kind, Pieces, Tokenizer, clean, hiding, kept, learned

Case = Annotated[  # marks would be counted as characters
    Literal["keep", "lower"], Field(description="whether capitals are kept or made small before texts are tokens.")
]
Between = Annotated[
    Literal["blank-line", "token"],
    Field(
        description="what stands between documents: a blank line, or a token of its own, so that a model can keep them "
        "apart (`model.documents` of `nlp/gpt`)."
    ),
]
_BETWEEN = "\n\n"
_NAMED = 3  # files that aren't used
Context = Annotated[int, Field(ge=1, description="tokens a model sees at once."), Choice(32, 64, 128, 256)]


class Corpus(Data, ABC):
    """A running text: its last shares are the test part and, before it, the validation part.

    Of several documents whole ones are held out, until they have their shares of all characters; which ones follows
    from the documents themselves, so that equal ones stay together and new ones move few old ones. A token between them
    counts as the two characters of a blank line.

    A sample is a window of `context` tokens, and what is to be predicted are the tokens that follow each of them.
    Windows don't overlap, in evaluation neither: the first token of each is predicted from itself alone. Those to learn
    from begin at an offset drawn anew for each epoch, so that every position occurs. The tokenizer is learned from the
    training part.

    Args:
        valid, test: share of all characters that is held out as this part; 0: there is no such part.
    """

    item = Tokens
    target = NextTokens
    independent = False  # windows of one text
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
        between: Between = "blank-line",
    ) -> None:
        self.context, self.valid, self.test = context, valid, test
        self.tokenizer, self.vocabulary, self.pretrained, self.case = tokenizer, vocabulary, pretrained, case
        self.between = between
        self.tokens: Tokenizer | None = None
        self._start: Path | None = None  # what belongs to the weights that the run starts from
        self._splits: dict[str, Windows] = {}
        self._digests: dict[str, str] = {}
        self.facts: Facts = {}  # of the training part
        self._told: list[str] = []  # of several documents
        self._drift: list[str] = []  # of other data
        self._left_out: list[LeftOut] = []

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    @abstractmethod
    def documents(self) -> tuple[list[str], str]:
        """The text, or several, and what to call it in a message."""

    def documents_of(self, folder: Path) -> list[str]:
        """The texts of a folder, a document each; what isn't one is noted down as left out."""
        files = text_files(folder, self.suffixes)
        others = sorted(
            file.name for file in folder.rglob("*") if file.is_file() and file not in {*files} and not is_hidden(file)
        )
        if not files:
            raise LabwrightError(
                f"{folder} has no text file, which ends in {listed(self.suffixes)}; it has "
                f"{listed(others[:_NAMED] or ['none at all'])}."
            )
        texts = [read_text(file, self.encoding) for file in files]
        empty = sum(not text.strip() for text in texts)
        left_out = (len(others), f"no text: {listed(others, _NAMED)}"), (empty, "nothing in it")
        self._left_out = [LeftOut(count, "file" if count == 1 else "files", why) for count, why in left_out if count]
        return [text for text in texts if text.strip()]

    def prepare(self) -> None:
        documents, origin = self.documents()
        documents = [clean(self.rewrite(text), self.case) for text in documents]
        if self.valid + self.test >= 1:
            raise LabwrightError(f"task.data: valid {self.valid} and test {self.test} leave nothing to learn from.")
        self._check_between(documents, origin)
        if len(documents) == 1:
            dealt = {name: [text] for name, text in self._cut(documents[0]).items()}
        else:
            dealt = self._dealt(documents, origin)
            counts = ", ".join(f"{len(some):,} in {name}" for name, some in dealt.items() if some)
            self._told = [f"{origin} has {len(documents):,} documents, and whole ones are held out: {counts}."]
        parts = {name: _BETWEEN.join(some) for name, some in dealt.items()}
        if not parts["train"].strip():
            raise LabwrightError(f"{origin} has no text to learn from.")
        lines = parts["train"].splitlines(keepends=True)
        self.tokens = learned(
            self.tokenizer, lines, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        for name, part in parts.items():
            if not part and not getattr(self, name, 0.0):
                continue
            ids, ends = self._stream(dealt[name])
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

    def _check_between(self, documents: Sequence[str], origin: str) -> None:
        if self.between == "token" and len(documents) == 1:
            raise LabwrightError(
                f'task.data.between: "token" stands between documents, and {origin} is one; give a folder with a text '
                "file for each, or leave it out."
            )
        if self.between == "token" and self._start is not None and model_folder.kept(self._start):
            raise LabwrightError(
                f"task.data.between: \"token\" adds one to the tokenizer's, which the weights of {self._start} don't "
                "know; leave it out."
            )

    def _stream(self, documents: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of documents one behind the other, and for each how many characters end before or with it."""
        assert self.tokens is not None
        if self.between == "blank-line":
            return self.tokens.stream(_BETWEEN.join(documents))
        pieces = [self.tokens.stream(text) for text in documents]
        ids, ends, before = [pieces[0][0]], [pieces[0][1]], len(documents[0])
        for text, (of_text, ends_of_text) in zip(documents[1:], pieces[1:], strict=True):
            before += len(_BETWEEN)
            ids += [np.array([self.tokens.size], dtype=np.int32), of_text]
            ends += [np.array([before]), ends_of_text + before]
            before += len(text)
        return np.concatenate(ids), np.concatenate(ends)

    def _cut(self, text: str) -> dict[str, str]:
        """A text whose last shares are held out."""
        first, second = int(len(text) * (1 - self.valid - self.test)), int(len(text) * (1 - self.test))
        if not self.test:
            second = len(text)
        return {"train": text[:first], "valid": text[first:second], "test": text[second:]}

    def _dealt(self, documents: Sequence[str], origin: str) -> dict[str, list[str]]:
        """The documents of each part, in their order. Raises LabwrightError where there are too few of them."""
        sizes: Counter[str] = Counter()
        for text in documents:
            sizes[text] += len(text)
        left = sorted(sizes, key=lambda text: hashlib.sha256(text.encode()).digest())
        part_of: dict[str, str] = {}
        for name in ("test", "valid"):
            wanted = getattr(self, name) * sizes.total()
            while left and wanted > 0:
                part_of[left[0]] = name
                wanted -= sizes[left.pop(0)]
        if not left:
            raise LabwrightError(
                f"{origin} has {len(documents):,} documents, {len(sizes):,} of them different: too few to hold out "
                f"task.data.valid={self.valid:g} and task.data.test={self.test:g} and to learn from others. Give more, "
                "or one file, whose end is held out."
            )
        return {
            name: [text for text in documents if part_of.get(text, "train") == name]
            for name in ("train", "valid", "test")
        }

    def hides(self) -> Pieces:
        """See `labwright_nlp.hiding.Hides`."""
        if self.between == "token":
            raise LabwrightError(
                'task.data.between: "token" is for models that go on with a text; where tokens are hidden, leave it '
                "out."
            )
        self.tokens = tokens = hiding(self.tokens, self.tokenizer)
        return tokens

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        size, pad_id = self.tokens.size, self.tokens.pad_id
        if self.between == "token":
            outputs = NextTokens(size + 1, self.context, self.tokens.exact)
            return DocumentTokens(size + 1, self.context, pad_id, between=size), outputs
        inputs = model_folder.port(self.tokens, self.context, self.tokenizer, self._start)
        return inputs, NextTokens(size, self.context, self.tokens.exact)

    def split(self, name: str) -> Windows | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """A text file, or the documents of a folder in the order of their names, as those that were learned from."""
        assert self.tokens is not None
        other = copy(self)
        other._left_out = []
        documents = other.documents_of(path) if path.is_dir() else [read_text(path, self.encoding)]
        documents = [clean(self.rewrite(text), self.case) for text in documents or [""]]
        (ids, ends), text = self._stream(documents), _BETWEEN.join(documents)
        if len(ids) < 2:
            raise LabwrightError(
                f"{path} has {len(ids)} of the two or more tokens that are needed; nothing follows another there."
            )
        split = Windows(ids, ends if self.tokens.exact else None, self.context, self.tokens.pad_id, moving=False)
        other._splits, other._digests = {"test": split}, {"test": hashlib.sha256(text.encode()).hexdigest()}
        other._told = []
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
        about = [*noticing.mask(self.tokens, self.tokenizer), *self._drift]
        return [*self._told, *noticing.unknown(ids, self.tokens.unknown, self.tokenizer), *about]

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

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
        return self.parse(read_text(path, self.encoding))

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, self.suffixes)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        assert self.tokens is not None
        ids_BT, lengths_B = inputs
        rows = zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)
        return [self._text(ids[:length]) for ids, length in rows]

    def _text(self, ids: Sequence[int]) -> str:
        assert self.tokens is not None
        runs: list[list[int]] = [[]]
        for token in ids:
            if token == self.tokens.size:  # which is none of the tokenizer's
                runs.append([])
            else:
                runs[-1].append(token)
        return _BETWEEN.join(self.tokens.decode(run) for run in runs)

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
