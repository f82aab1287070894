"""Pairs of texts in files, such as sentences and their translations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from labwright import Finding, LabwrightError, LeftOut, Port
from labwright_tasks import other_data
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.other_data import Facts, drift
from labwright_tasks.published import Parts, Published, read_parts
from labwright_tasks.sample_columns import Group, Time, Weight, about_weights, samples_of
from labwright_tasks.sequence_to_sequence import PairedData, PairedTokens, TargetTokens
from labwright_tasks.tables import Table, joined, read_table
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.moses import read_moses
from labwright_nlp.data.noticing import Noticed
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.reading import check_typed, has_tables, read_text, tables_at, text_files
from labwright_nlp.data.texts import Length, Share, chosen_rows, digest
from labwright_nlp.tokenizing import Case, Kind, Pretrained, Tokenizer, Vocabulary, clean, kept, learned, unmarked

_SIDES = ("text", "translation")


class Pairs(PairedData, ABC):
    """Texts and what is to be written for each, wherever they are.

    Both sides have a tokenizer of the same kind, learned from the training texts, or one pretrained tokenizer. Equal
    texts are held out together.

    Args:
        valid, test: share of the training pairs that is held out as this part, if it has no rows of its own; 0: there
            is no such part.
    """

    line = "text"
    suffixes = (".txt",)
    columns: Mapping[str, str] = MappingProxyType({side: side for side in _SIDES})  # what a table calls the two
    format = Written()
    beside: Mapping[str, str] = MappingProxyType({})  # columns that say more of a pair, by `weight`, `group` and `time`
    rewrite: Callable[[str], str] = str  # what every text goes through first: see `labwright_tasks.rewritten`

    def __init__(
        self,
        *,
        valid: float,
        test: float,
        tokenizer: Kind,
        vocabulary: int,
        pretrained: Path | None,
        case: Case,
        length: int,
    ) -> None:
        if tokenizer == "pretrained" and case == "mark":
            raise LabwrightError(
                "task.data.case: a pretrained tokenizer knows no marks; set case='keep', or learn a tokenizer."
            )
        self.valid, self.test = valid, test
        self.tokenizer, self.vocabulary, self.case, self.length = tokenizer, vocabulary, case, length
        self.pretrained = pretrained
        self._start: Path | None = None  # what belongs to the weights that the run starts from
        self._signs: tuple[int, int] | None = None  # what its targets begin and end with
        self.sides: dict[str, Tokenizer] = {}
        self._splits: dict[str, PairedTokens] = {}
        self._digests: dict[str, str] = {}
        self._remarks: list[str] = []
        self._noticed = Noticed()
        self._left_out: list[LeftOut] = []
        self._told: list[str] = []
        self._lines: dict[str, Table] = {}  # without their columns: where each pair is
        self.facts: Facts = {}  # of the training pairs

    @abstractmethod
    def rows(self) -> dict[str, Table]:
        """The pairs of `train`, and of the parts that have rows of their own, as they are tokenized.

        What is left out is noted down in `_left_out`, what there is to know in `_told`.
        """

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    def prepare(self) -> None:
        rows = self._parted()
        self._learn(rows, rows["train"])

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; the texts are read once more, as they aren't kept."""
        parts = self._parted()
        self._learn(parts, joined([parts[name].take(of_part.tolist()) for name, of_part in rows.items()]))

    def _parted(self) -> dict[str, Table]:
        """The rows of each part, those held out among them."""
        rows = self.rows()
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in rows and getattr(self, name)}
        chosen = chosen_rows(rows["train"], shares, self.beside, None, None)
        return rows | {name: rows["train"].take(some) for name, some in chosen.items()}

    def _learn(self, rows: Mapping[str, Table], some: Table) -> None:
        """Learn both tokenizers from some rows, and make the splits with them."""
        for side in _SIDES:
            self.sides[side] = learned(
                self.tokenizer,
                [*some[side]],
                vocabulary=self.vocabulary,
                pretrained=self.pretrained,
                start=self._start,
            )
        self._signs = model_folder.begin_and_end(self._start) if self.tokenizer == "pretrained" else None
        lengths: dict[str, np.ndarray] = {}
        for name, part in rows.items():
            self._splits[name], lengths[name] = self._encoded(part)
            self._digests[name] = digest(part, ("translation", *self.beside))
            self._lines[name] = replace(part, columns={})
        samples = samples_of({"train": rows["train"], **rows}, {setting: setting for setting in self.beside})
        for name, known in samples.items():
            vars(self._splits[name]).update(known)
        weights_N = self._splits["train"].weights
        self._remarks = [
            *self._told,
            *([] if weights_N is None else [about_weights(weights_N, self.beside["weight"])]),
            *noticing.cut(lengths, self.length),
            *self._unknown(self._splits),
        ]
        self.facts = other_data.facts({"the number of tokens": torch.from_numpy(lengths["train"])})

    def _encoded(self, rows: Table) -> tuple[PairedTokens, np.ndarray]:
        """Pairs as tokens, cut to `length`, and how many the longer text of each has, (N,)."""
        end_id = self._target_port().end_id
        sources, targets = ([self._ids(side, text) for text in rows[side]] for side in _SIDES)
        lengths_N = np.array([max(map(len, pair)) for pair in zip(sources, targets, strict=True)])
        cut = [self._cut("translation", ids) for ids in targets]
        encoded = PairedTokens(
            [self._cut("text", ids) for ids in sources],
            [ids if ids[-1] == end_id else [*ids, end_id] for ids in cut],
            pad_id=self.sides["text"].pad_id,
        )
        return encoded, lengths_N

    def _unknown(self, parts: Mapping[str, PairedTokens]) -> list[str]:
        """A sentence for each side whose tokenizer knows little of the texts of a part."""
        told: list[str] = []
        for side, tokens in self.sides.items():
            every = {name: split.sources if side == "text" else split.targets for name, split in parts.items()}
            ids = {
                f"the {side}s of {name}": np.concatenate([np.array(ids) for ids in some])
                for name, some in every.items()
            }
            told += noticing.unknown(ids, tokens.unknown, self.tokenizer)
        return told

    def _cut(self, side: str, ids: Sequence[int]) -> list[int]:
        whole: list[int] = self.sides[side].cut(np.array(ids), self.length).tolist()
        return whole

    def on(self, path: Path) -> Self:
        """The pairs of a table, or of all tables in a folder."""
        other = copy(self)
        files, other._left_out = tables_at(path)
        rows, bare = self._cleaned(read_table(files, self.columns, written=self.format))
        other._left_out += bare
        encoded, lengths_N = self._encoded(rows)
        other._splits, other._digests = {"test": encoded}, {"test": digest(rows, ("translation",))}
        other._noticed = Noticed()
        other._remarks = [
            *rows.remarks,
            *noticing.cut({"it": lengths_N}, self.length),
            *self._unknown({"it": encoded}),
            *drift(other_data.facts({"the number of tokens": torch.from_numpy(lengths_N)}), self.facts, len(rows)),
        ]
        return other

    def checks(self) -> list[Finding]:
        """What is odd about the texts, and those that are their own translation; they are read once more."""
        parts = self._parted()
        same = tuple(
            (name, row)
            for name, rows in parts.items()
            for row, (text, translation) in enumerate(zip(rows["text"], rows["translation"], strict=True))
            if text == translation and any(map(str.isalpha, text))
        )
        untold = [Finding("texts", f"{len(same):,} texts are their own translation.", same)] if same else []
        return [*odd_texts({name: rows["text"] for name, rows in parts.items()}), *untold]

    def place(self, split: str, index: int) -> str:
        return self._lines[split].where(index)

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The texts of a table, or of all tables in a folder, with translations or without."""
        return self._texts(tables_at(path)[0]) if has_tables(path) else None

    def _texts(self, files: Iterable[Path]) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        for table in (read_table(file, {"text": self.columns["text"]}, written=self.format) for file in files):
            self._noticed.table(table.remarks)
            for row, text in enumerate(table["text"]):
                yield table.where(row), partial(self._parsed, text)

    def _parsed(self, text: str) -> tuple[Tensor, ...]:
        if not text.strip():
            raise LabwrightError("the row has no text.")
        return self.parse(text)

    def ports(self) -> tuple[Port, Port]:
        return model_folder.port(self.sides["text"], self.length, self.tokenizer, self._start), self._target_port()

    def split(self, name: str) -> PairedTokens | None:
        return self._splits.get(name)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def identity(self, split: str) -> Sequence[str]:
        return (self._digests[split],)

    def written(self, ids: Sequence[int]) -> str:
        tokens = self.sides["translation"]
        return self._text(tokens, [token for token in ids if token < tokens.size])

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self._text(self.sides["text"], ids[:length]) for ids, length in rows]

    def parse(self, line: str) -> tuple[Tensor, ...]:
        check_typed(line)
        ids = self._ids("text", clean(self.rewrite(line), self.case))
        self._noticed.length(len(ids), self.length)
        ids = self._cut("text", ids)
        return torch.tensor([ids]), torch.tensor([len(ids)])

    def read(self, path: Path) -> tuple[Tensor, ...]:
        text = read_text(path, self.format.encoding)
        if not text.strip():
            raise LabwrightError(f"{path} has no text in it.")
        self._noticed.file(path, text)
        return self.parse(text)

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, self.suffixes)

    def noticed(self) -> Sequence[str]:
        return self._noticed.told(self.length)

    def save(self, folder: Path) -> None:
        for side, tokens in self.sides.items():
            (folder / side).mkdir()
            tokens.save(folder / side)
        model_folder.keep(self._start, self.tokenizer, folder)
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.sides = {side: kept(self.tokenizer, folder / side) for side in _SIDES}
        self._start = model_folder.kept(folder) or self._start
        self._signs = model_folder.begin_and_end(self._start) if self.tokenizer == "pretrained" else None
        self.facts = other_data.kept(folder)

    def _cleaned(self, table: Table) -> tuple[Table, list[LeftOut]]:
        """The pairs as they are tokenized, without rows that lack one or the other, and how many those are."""
        rows, left_out = table.filled(*_SIDES)
        columns = {side: Cells(clean(self.rewrite(text), self.case) for text in rows[side]) for side in _SIDES}
        return replace(rows, columns={**rows.columns, **columns}), left_out

    def _target_port(self) -> TargetTokens:
        """What is written: the tokenizer's tokens, with a pretrained model's begin and end, or else one behind them."""
        tokens = self.sides["translation"]
        if self._signs is not None:
            return TargetTokens(max(tokens.size, 1 + max(self._signs)), self.length + 1, tokens.pad_id, *self._signs)
        return TargetTokens(tokens.size + 2, self.length + 1, tokens.pad_id, tokens.size, tokens.size + 1)

    def _ids(self, side: str, text: str) -> list[int]:
        """A text without any token that is known counts as one unknown token."""
        (ids,) = self.sides[side].encode([text])
        return ids.tolist() or [min(1, self.sides[side].size - 1)]

    def _text(self, tokens: Tokenizer, ids: Sequence[int]) -> str:
        return unmarked(tokens.decode(ids)) if self.case == "mark" else tokens.decode(ids)


class TextPairs(Pairs):
    """Texts and what is to be written for each: JSON Lines, CSV or TSV, packed or not, or Parquet.

    A folder has a file `train`, and perhaps `valid` and `test`. A part without a file is held out of the training
    pairs, equal texts together. Rows without a text or its translation are left out.

    Both sides have a tokenizer of the same kind, each learned from its training texts and of at most `vocabulary`
    tokens; after the target's come its begin and its end. A pretrained tokenizer is one for both: that of the
    encoder-decoder which the run starts from, whose config.json says what a target begins and ends with, or that of a
    folder alone. One that puts a sign of the language before a text puts the same on both sides.

    A pair's weight is that of each token of its translation. Pairs of one `group` stay on one side of what is held out,
    and of `folds`; with `time` the latest are held out, and folds go in its order.

    Args:
        path: a table, several by a pattern such as `part-*.csv`, or a folder or archive with one for each part; with
            `endings` what both files are called before these.
        text: the column of texts.
        translation: the column of what is to be written for each.
        endings: of two files, such as ["en", "de"], where a text is a line of PATH.en and its translation that line of
            PATH.de, or of such files in a folder (Moses); left out, both are in one table.
        parts: which rows are which part, where `path` is one table: files `valid` and `test`, or a `column` that names
            the part, or one whose cells are listed in the files `train`, `valid` and `test`.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        text: str = "text",
        translation: str = "translation",
        endings: tuple[str, str] | None = None,
        weight: Weight = None,
        group: Group = None,
        time: Time = None,
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 10_000,
        pretrained: Pretrained = None,
        case: Case = "keep",
        length: Length = 64,
    ) -> None:
        super().__init__(
            valid=valid,
            test=test,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
        )
        self.path, self.columns = path, {"text": text, "translation": translation}
        beside = {"weight": weight, "group": group, "time": time}
        self.independent = group is None and time is None
        self.beside = {setting: column for setting, column in beside.items() if column is not None}
        self.parts, self.format = parts, Written(delimiter, columns, quote, encoding)
        self.endings, self.encoding = endings, encoding
        if endings is not None and (columns or parts or self.beside):
            raise LabwrightError(
                "task.data.endings: files of lines have no columns; leave out columns, parts, weight, group and time."
            )

    def rows(self) -> dict[str, Table]:
        columns = {**self.columns, **self.beside}
        if self.endings is not None:
            tables = read_moses(self.path, self.endings, self.encoding)
            published = Published(tables, remarks=[said for table in tables.values() for said in table.remarks])
        else:
            published = read_parts(self.path, columns, written=self.format, parts=self.parts)
        parts, self._left_out, self._told = {}, published.left_out, published.remarks
        for part, table in published.tables.items():
            parts[part], bare = self._cleaned(table)
            self._left_out += bare
        return parts
