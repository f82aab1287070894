"""Texts with labels: what every dataset for text classification shares. N samples, B batch, T tokens, L all tokens."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self

import numpy as np
import torch
from labwright import Batch, Classes, Data, Finding, LabwrightError, LeftOut, Port, Split, Tokens
from labwright_tasks import other_data
from labwright_tasks.answers import Answers, Targets, answers_of
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Written
from labwright_tasks.other_data import Facts, drift, none_known, unknown
from labwright_tasks.sample_columns import about_weights, samples_of
from labwright_tasks.tables import SUFFIXES, Table, read_table, suffix_of
from labwright_tasks.times import latest, times_in
from labwright_tasks.weights import weighed
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.noticing import Noticed
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.reading import check_typed, has_tables, read_text, rows_of, tables_at, text_files
from labwright_nlp.tokenizing import BETWEEN, Case, Kind, Pieces, Tokenizer, clean, hiding, kept, learned, unmarked

Length = Annotated[int, Field(ge=4, description="most tokens of a text; the rest is cut off.")]
Share = Annotated[float, Field(ge=0, lt=1)]
_AT_ONCE = 1024  # texts that are encoded together
_KEPT = "texts.json"


class LabelledTexts(Data, ABC):
    """Texts with a label each, wherever they are.

    A batch is as long as its longest text. A text without any token that is known counts as one unknown token. With the
    tokenizer of what the run starts from, the model is told which encoder it belongs to.

    Args:
        valid, test: share of the training texts that is held out as this part, if it has no rows of its own; 0: there
            is no such part.
    """

    item = Tokens
    target = Classes
    line = "text"
    suffixes = (".txt",)
    labels: tuple[str, ...] = ("label",)  # the columns that say something of a text
    numbers = False  # they hold numbers, not classes
    separator: str | None = None  # what stands between several labels in a cell
    text, label = "text", "label"  # the columns of a table
    format = Written()
    beside: Mapping[str, str] = MappingProxyType({})  # columns that say more of a row, by `weight`, `group` and `time`
    rewrite: Callable[[str], str] = str  # what every text goes through first: see `labwright_tasks.rewritten`

    def __init__(
        self,
        *,
        tokenizer: Kind,
        vocabulary: int,
        pretrained: Path | None,
        case: Case,
        length: int,
        valid: float,
        test: float,
    ) -> None:
        self.tokenizer, self.vocabulary, self.pretrained, self.case = tokenizer, vocabulary, pretrained, case
        self.length, self.valid, self.test = length, valid, test
        self.answers = Answers({"label": ()})
        self.tokens: Tokenizer | None = None
        self._start: Path | None = None  # where the tokenizer's encoder is: its folder, or what a run kept of it
        self._splits: dict[str, Split] = {}
        self._digests: dict[str, str] = {}
        self._remarks: list[str] = []
        self._noticed = Noticed()
        self.facts: Facts = {}  # of the training texts
        self.unused: list[LeftOut] = []
        self._without_head: list[LeftOut] = []  # labels; reading once more changes nothing about them
        self.told: list[str] = []  # what reading has to say

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    def hides(self) -> Pieces:
        """See `labwright_nlp.hiding.Hides`."""
        self.tokens = tokens = hiding(self.tokens, self.tokenizer)
        return tokens

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        return model_folder.port(self.tokens, self.length, self.tokenizer, self._start), self.answers.port()

    def split(self, name: str) -> Split | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """The texts and labels of a table, or of all tables in a folder."""
        assert self.tokens is not None
        other = copy(self)
        files, left_out = tables_at(path)
        known, bare = self.rows_at(files)
        known = rewritten(known, self.rewrite)
        strange: list[str] = []
        names = self.answers.names["label"] if self.answers.alone else None
        if names is not None:
            labels = known["label"]
            known = known.take(row for row, label in enumerate(labels) if label in names)
            if not len(known):
                raise none_known(path, labels, names, "label")
            strange = [label for label in labels if label not in names]
        other.unused = [*bare, *unknown(strange, "texts"), *left_out]
        other._without_head = self.answers.unknown([known])
        split, lengths_N = self._encoded(known["text"], self.answers.of(known))
        other._splits, other._digests = {"test": split}, {"test": digest(known, self.labels)}
        other._noticed = Noticed()
        other._remarks = [
            *known.remarks,
            *noticing.cut({"it": lengths_N}, self.length),
            *noticing.unknown({"it": split.ids_L.numpy()}, self.tokens.unknown, self.tokenizer),
            *drift(self.facts_of(split, lengths_N), self.facts, len(split)),
        ]
        return other

    def rows_at(self, files: Sequence[Path]) -> tuple[Table, list[LeftOut]]:
        """The texts and labels of tables, and how many rows lack one or the other."""
        return rows_of(read_table(files, {"text": self.text, "label": self.label}, written=self.format))

    def texts_at(self, file: Path) -> Table:
        """The texts of a table, as they are typed."""
        return read_table(file, {"text": self.text}, written=self.format)

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The texts of a table, or of all tables in a folder, with labels or without."""
        return self._rows(tables_at(path)[0]) if has_tables(path) else None

    def _rows(self, files: Iterable[Path]) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        for table in map(self.texts_at, files):
            self._noticed.table(table.remarks)
            for row, text in enumerate(table["text"]):
                yield table.where(row), partial(self._parsed, text)

    def _parsed(self, text: str) -> tuple[Tensor, ...]:
        if not text.strip():
            raise LabwrightError("the row has no text.")
        return self.parse(text)

    def facts_of(self, split: Encoded, lengths_N: np.ndarray) -> Facts:
        """What texts are like: how long before they were cut, how many of their tokens aren't known, of which class."""
        values = {"the number of tokens": torch.from_numpy(lengths_N)}
        if self.tokens is not None and self.tokens.unknown is not None:
            text_L = torch.arange(len(split)).repeat_interleave(split.lengths)
            unknown_L = (split.ids_L == self.tokens.unknown).double()
            values["the share of unknown tokens"] = (
                torch.zeros(len(split), dtype=torch.float64).index_add_(0, text_L, unknown_L) / split.lengths
            )
        names = self.answers.names["label"] if self.answers.alone else None
        if names is None or isinstance(split.labels, dict):
            return other_data.facts(values)
        return other_data.facts(values, split.labels[split.labels >= 0], names)

    def left_out(self) -> Sequence[LeftOut]:
        return [*self.unused, *self._without_head]

    def remarks(self) -> Sequence[str]:
        return [*self._remarks, *noticing.mask(self.tokens, self.tokenizer)]

    def identity(self, split: str) -> Sequence[str]:
        return (self._digests[split],)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        check_typed(line)
        encoded, lengths = self._encoded([self.rewrite(line)], torch.zeros(1, dtype=torch.int64))
        self._noticed.length(int(lengths[0]), self.length)
        return encoded.fetch(torch.tensor([0]), 0, 0).inputs

    def read(self, path: Path) -> tuple[Tensor, ...]:
        if suffix_of(path) in SUFFIXES:
            raise LabwrightError(
                f"{path} is a table. A file is read as one text, so give a .txt file, or the table's texts one on each "
                "line of stdin."
            )
        text = read_text(path, self.format.encoding)
        if not text.strip():
            raise LabwrightError(f"{path} has no text in it.")
        self._noticed.file(path, text)
        return self.parse(text)

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, self.suffixes)

    def noticed(self) -> Sequence[str]:
        return self._noticed.told(self.length)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        """The texts as the model saw them, put together from their tokens; capitals that were marked are capitals."""
        assert self.tokens is not None
        ids_BT, lengths_B = inputs
        rows = zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)
        texts = [self.tokens.decode(ids[:length]).replace(BETWEEN, "|") for ids, length in rows]
        return [unmarked(text) for text in texts] if self.case == "mark" else texts

    def save(self, folder: Path) -> None:
        assert self.tokens is not None
        self.tokens.save(folder)
        model_folder.keep(self._start, self.tokenizer, folder)
        about = {"classes": self.answers.names["label"]} if self.answers.alone else {"heads": self.answers.names}
        (folder / _KEPT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.tokens = kept(self.tokenizer, folder)
        about = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        heads = about.get("heads", {"label": about.get("classes")})
        names = {column: of if of is None else tuple(of) for column, of in heads.items()}
        self.answers = Answers(names, self.separator)
        self.facts = other_data.kept(folder)
        self._start = model_folder.kept(folder) or self._start

    def _encoded(self, texts: Iterable[str], labels: Targets) -> tuple[Encoded, np.ndarray]:
        """The texts' ids, cut to `length`, and how many each had, (N,). Some are encoded together: lists of ids are
        ten times as large as what is kept of them.
        """
        assert self.tokens is not None
        unknown = np.array([min(1, self.tokens.size - 1)], dtype=np.int32)
        ids, kept, whole = array("i"), array("q"), array("q")
        cleaned = (clean(text, self.case) for text in texts)
        while some := list(islice(cleaned, _AT_ONCE)):
            encoded = [ids_L if len(ids_L) else unknown for ids_L in self.tokens.encode(some)]
            cut = [self.tokens.cut(ids_L, self.length) for ids_L in encoded]
            ids.frombytes(np.concatenate(cut).astype(np.int32).tobytes())
            kept.extend(map(len, cut))
            whole.extend(map(len, encoded))
        lengths = torch.from_numpy(np.array(kept, dtype=np.int64))
        return Encoded(_tensor(ids), lengths, labels, self.tokens.pad_id), np.array(whole)

    def _check_case(self) -> None:
        if self.tokenizer == "pretrained" and self.case == "mark":
            raise LabwrightError(
                "task.data.case: a pretrained tokenizer knows no marks; set case='keep', or learn a tokenizer."
            )


class Texts(LabelledTexts):
    """Texts with a label each, in memory.

    What a split lacks is held out of the training part by its share, each class in proportion; the choice follows from
    the texts themselves, so that equal texts of a class stay together and new ones move few old ones.

    Args:
        seed: each holds out other texts; left out, the choice follows from the texts alone.
    """

    def __init__(
        self,
        *,
        tokenizer: Kind,
        vocabulary: int,
        pretrained: Path | None,
        case: Case,
        length: int,
        valid: float,
        test: float,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
            valid=valid,
            test=test,
        )
        self.seed = seed
        self._lines: dict[str, Table] = {}  # without their columns: where each row is

    @abstractmethod
    def rows(self) -> dict[str, Table]:
        """The columns text and label of `train`, and of `valid` and `test` if they have their own rows.

        What is left out is noted down in `unused`.
        """

    def prepare(self) -> None:
        self._check_case()
        rows = self._parted()
        self.answers = answers_of(rows["train"], self.labels, numbers=self.numbers, separator=self.separator)
        self._without_head = self.answers.unknown(rows.values())
        self._learn(rows, rows["train"]["text"])

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; the texts are read once more, as they aren't kept."""
        parts = self._parted()
        self._learn(parts, (parts[name]["text"][row] for name, of_part in rows.items() for row in of_part.tolist()))

    def _parted(self) -> dict[str, Table]:
        """The rows of each part, those held out among them, with their texts as `rewrite` leaves them."""
        rows = {name: rewritten(part, self.rewrite) for name, part in self.rows().items()}
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in rows and getattr(self, name)}
        return rows | self.held_out(rows["train"], shares)

    def _learn(self, rows: Mapping[str, Table], texts: Iterable[str]) -> None:
        """Learn a tokenizer from some texts, and make the splits with it."""
        cleaned = (clean(text, self.case) for text in texts)
        self.tokens = learned(
            self.tokenizer, cleaned, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        lengths: dict[str, np.ndarray] = {}
        encoded: dict[str, Encoded] = {}
        for name, part in rows.items():
            encoded[name], lengths[name] = self._encoded(part["text"], self.answers.of(part))
        samples = samples_of({"train": rows["train"], **rows}, {setting: setting for setting in self.beside})
        for name, known in samples.items():
            vars(encoded[name]).update(known)
        self._digests = {name: digest(part, (*self.labels, *self.beside)) for name, part in rows.items()}
        self._lines = {name: replace(part, columns={}) for name, part in rows.items()}
        self._splits.update(encoded)
        self.facts = self.facts_of(encoded["train"], lengths["train"])
        ids = {name: split.ids_L.numpy() for name, split in encoded.items()}
        weights_N = encoded["train"].weights
        self._remarks = [
            *self.told,
            *([] if weights_N is None else [about_weights(weights_N, self.beside["weight"])]),
            *noticing.cut(lengths, self.length),
            *noticing.unknown(ids, self.tokens.unknown, self.tokenizer),
        ]

    def held_out(self, rows: Table, shares: dict[str, float]) -> dict[str, Table]:
        """The rows to learn from, and each part by its share: the latest, whole groups, or of each class."""
        by = "label" if self.target is Classes else None
        return {name: rows.take(some) for name, some in chosen_rows(rows, shares, self.beside, self.seed, by).items()}

    def checks(self) -> list[Finding]:
        """Texts that are empty, long or in another alphabet, and those nearly the same; they are read once more."""
        return odd_texts({name: rows["text"] for name, rows in self._parted().items()})

    def place(self, split: str, index: int) -> str:
        return self._lines[split].where(index)


class Encoded:
    """A split in memory: the tokens of all texts end to end, int32, how many each has, and `labels`.

    `groups` and `times` (N,) are there where they are known.
    """

    weights: Tensor | None = None  # (N,)
    groups: Tensor
    times: Tensor

    def __init__(self, ids_L: Tensor, lengths: Tensor, labels: Targets, pad_id: int) -> None:
        self.ids_L, self.lengths, self.labels, self.pad_id = ids_L, lengths, labels, pad_id
        self.starts_N = lengths.cumsum(0) - lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        lengths_B = self.lengths[indices]
        steps_T = torch.arange(int(lengths_B.max()))
        places_BT = (self.starts_N[indices, None] + steps_T).clamp_(max=len(self.ids_L) - 1)
        ids_BT = self.ids_L[places_BT].long().masked_fill_(steps_T >= lengths_B[:, None], self.pad_id)
        labels = self.labels
        targets = {head: of[indices] for head, of in labels.items()} if isinstance(labels, dict) else labels[indices]
        return weighed(Batch((ids_BT, lengths_B), targets), self.weights, indices)


def rewritten(rows: Table, change: Callable[[str], str]) -> Table:
    """The rows with their texts changed; `str` changes none."""
    if change is str:
        return rows
    return replace(rows, columns={**rows.columns, "text": Cells(clean(change(text)) for text in rows["text"])})


def chosen_rows(
    rows: Table, shares: dict[str, float], beside: Collection[str], seed: int | None, by: str | None
) -> dict[str, np.ndarray]:
    """The rows of each part, sorted: `train`, and those held out by their share. Raises LabwrightError if one is empty.

    With a `time` among the columns `beside` the texts the latest are held out, the first share's the last of all. Else
    within a class those whose texts have the smallest hash are, for the first share first, and equal texts of a class
    stay together; with a `group` there whole groups are, of whatever class. `by` is the column of classes; None: all
    are of one.
    """
    if sum(shares.values()) >= 1:
        given = " and ".join(f"{name} {share}" for name, share in shares.items())
        raise LabwrightError(f"task.data: {given} leave nothing to learn from.")
    if "time" in beside and shares:
        return latest(times_in([rows], "time")[0], shares, rows.origin)
    by, together = (None, "group") if "group" in beside else (by, "text")
    texts, salt = rows[together], "" if seed is None else f"{seed} "
    number: dict[str, int] = {}
    labels = [""] * len(rows) if by is None else rows[by]
    classes_N = np.fromiter((number.setdefault(label, len(number)) for label in labels), np.int64, len(rows))
    hashes = bytearray()
    for text in texts:
        hashes += hashlib.sha256(f"{salt}{text}".encode()).digest()
    keys_N4 = np.frombuffer(hashes, dtype=">u8").reshape(-1, 4)
    ranked_N = np.lexsort((*keys_N4.T[::-1], classes_N))  # stable
    parts: dict[str, list[np.ndarray]] = {name: [] for name in [*shares, "train"]}
    for ranked in np.split(ranked_N, np.bincount(classes_N).cumsum()[:-1]):
        taken, share_so_far = 0, 0.0
        for name, share in shares.items():
            share_so_far += share
            upto = round(share_so_far * len(ranked))
            while taken < upto < len(ranked) and texts[ranked[upto - 1]] == texts[ranked[upto]]:
                upto -= 1
            parts[name].append(ranked[taken:upto])
            taken = upto
        parts["train"].append(ranked[taken:])
    chosen = {name: np.sort(np.concatenate(some)) for name, some in parts.items()}
    of_what = "them" if by is None else "each class"
    for name, share in shares.items():
        if not len(chosen[name]):
            raise LabwrightError(
                f"{rows.origin}: {len(texts)} rows, {len(set(texts)):,} of them different, are too few to "
                f"hold out {share} of {of_what}: raise task.data.{name}, or set it to 0."
            )
    return chosen


def _tensor(ids: array[int]) -> Tensor:
    return torch.from_numpy(np.frombuffer(ids, dtype=np.int32)) if ids else torch.empty(0, dtype=torch.int32)


def digest(rows: Table, others: Sequence[str] = ("label",)) -> str:
    """What tells the texts of some rows, and other columns of theirs, from others."""
    hashed = hashlib.sha256()
    cells = zip(*(rows[other] for other in others), rows["text"], strict=True)
    while some := list(islice(cells, _AT_ONCE)):
        hashed.update("\0".join([*chain.from_iterable(some), ""]).encode())
    return hashed.hexdigest()
