"""Pairs of texts that are alike, to learn from which texts belong together. N pairs, B batch, T tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import torch
from labwright import Finding, LabwrightError, LeftOut, Port
from labwright_tasks import other_data
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.other_data import Facts, drift
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.tables import Table, joined, read_table
from labwright_tasks.two_views import Alike, Views
from torch import Tensor
from torch.nn import functional

from labwright_nlp.data import noticing
from labwright_nlp.data.noticing import Noticed
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.reading import tables_at
from labwright_nlp.data.texts import Encoded, LabelledTexts, Length, Share, chosen_rows, digest, rewritten
from labwright_nlp.tokenizing import Case, Kind, Pieces, Pretrained, Vocabulary, clean, learned

_SIDES = ("text", "other")


class AlikeTexts(LabelledTexts):
    """Pairs of texts of your own that mean the same: questions and answers, paraphrases, translations.

    Rows without one of the two are left out. One tokenizer is learned from both sides of the training pairs. A part
    without a file is held out by its share, equal texts together. A batch has both sides of its pairs, of one length.
    What is asked is one text.

    Args:
        path: a table, several by a pattern such as `part-*.csv`, one in a zip archive, `set.zip/rows.csv`, or a folder
            or archive with a table for each part.
        text: the column of one side of the pairs, by which some are held out.
        other: the column of the other side.
        parts: which rows are which part, where `path` is one table: files `valid` and `test`, or a `column` that names
            the part, or one whose cells are listed in the files `train`, `valid` and `test`.
    """

    target = Alike  # type: ignore[assignment]
    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        text: str = "text",
        other: str = "other",
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Pretrained = None,
        case: Case = "keep",
        length: Length = 64,
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
        self.path, self.parts, self.format = path, parts, Written(delimiter, columns, quote, encoding)
        self.text, self.columns = text, {"text": text, "other": other}
        self._lines: dict[str, Table] = {}  # without their columns: where each pair is

    def prepare(self) -> None:
        self._check_case()
        rows = self._parted()
        self._learn(rows, rows["train"])

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; the texts are read once more, as they aren't kept."""
        parts = self._parted()
        self._learn(parts, joined([parts[name].take(of_part.tolist()) for name, of_part in rows.items()]))

    def _parted(self) -> dict[str, Table]:
        """The pairs of each part, those held out among them, as `rewrite` leaves them."""
        published = read_parts(self.path, self.columns, written=self.format, parts=self.parts)
        self.unused, self.told = [*published.left_out], published.remarks
        rows = {}
        for part, table in published.tables.items():
            rows[part], bare = self._usable(table)
            self.unused += bare
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in rows and getattr(self, name)}
        chosen = chosen_rows(rows["train"], shares, (), None, None)
        return rows | {name: rows["train"].take(some) for name, some in chosen.items()}

    def _usable(self, table: Table) -> tuple[Table, list[LeftOut]]:
        rows, left_out = table.filled(*_SIDES)
        rows = rewritten(rows, self.rewrite)
        others = Cells(clean(self.rewrite(text)) for text in rows["other"])
        return replace(rows, columns={**rows.columns, "other": others}), left_out

    def _learn(self, rows: Mapping[str, Table], some: Table) -> None:
        """Learn the tokenizer from some pairs, and make the splits with it."""
        texts = (clean(text, self.case) for text in chain(some["text"], some["other"]))
        self.tokens = learned(
            self.tokenizer, texts, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        lengths: dict[str, np.ndarray] = {}
        encoded: dict[str, AlikeSplit] = {}
        for name, part in rows.items():
            encoded[name], lengths[name] = self._both(part)
        self._splits.update(encoded)
        self._digests = {name: digest(part, ("other",)) for name, part in rows.items()}
        self._lines = {name: replace(part, columns={}) for name, part in rows.items()}
        self.facts = _facts(lengths["train"])
        self._remarks = [*self.told, *self._said(encoded, lengths), *_shared(rows)]

    def _both(self, rows: Table) -> tuple[AlikeSplit, np.ndarray]:
        """Pairs as tokens, cut to `length`, and how many the longer text of each has, (N,)."""
        none = torch.zeros(len(rows), dtype=torch.int64)
        (first, of_first_N), (second, of_second_N) = (self._encoded(rows[side], none) for side in _SIDES)
        return AlikeSplit(first, second), np.maximum(of_first_N, of_second_N)

    def _said(self, encoded: Mapping[str, AlikeSplit], lengths: Mapping[str, np.ndarray]) -> Iterable[str]:
        assert self.tokens is not None
        ids = {part: torch.cat([split.first.ids_L, split.second.ids_L]).numpy() for part, split in encoded.items()}
        yield from noticing.cut(lengths, self.length)
        yield from noticing.unknown(ids, self.tokens.unknown, self.tokenizer)

    def hides(self) -> Pieces:
        """Of two texts a masked language model would see the first alone."""
        raise LabwrightError(
            "task.data: 'nlp/alike-texts' has two texts in a row, and tokens are hidden of one: nlp/text-files reads a "
            "column of a table, nlp/plain-text texts."
        )

    def ports(self) -> tuple[Port, Port]:
        return super().ports()[0], Alike()

    def on(self, path: Path) -> Self:
        """The pairs of a table, or of all tables in a folder."""
        other = copy(self)
        files, left_out = tables_at(path)
        rows, bare = self._usable(read_table(files, self.columns, written=self.format))
        other.unused = [*bare, *left_out]
        split, lengths_N = self._both(rows)
        other._splits, other._digests = {"test": split}, {"test": digest(rows, ("other",))}
        other._noticed = Noticed()
        facts = _facts(lengths_N)
        other._remarks = [
            *rows.remarks,
            *self._said({"it": split}, {"it": lengths_N}),
            *drift(facts, self.facts, len(rows)),
        ]
        return other

    def checks(self) -> list[Finding]:
        """What is odd about the texts; they are read once more."""
        return odd_texts({name: rows["text"] for name, rows in self._parted().items()})

    def place(self, split: str, index: int) -> str:
        return self._lines[split].where(index)


class AlikeSplit:
    """Both sides of pairs, in memory; `lengths` are the tokens of the longer one of each."""

    def __init__(self, first: Encoded, second: Encoded) -> None:
        self.first, self.second = first, second
        self.lengths = torch.maximum(first.lengths, second.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Views:
        sides = [side.fetch(indices, epoch, seed).inputs for side in (self.first, self.second)]
        longest = max(ids_BT.shape[1] for ids_BT, _ in sides)
        pad_id = self.first.pad_id
        padded: Sequence[tuple[Tensor, Tensor]] = [
            (functional.pad(ids_BT, (0, longest - ids_BT.shape[1]), value=pad_id), lengths_B)
            for ids_BT, lengths_B in sides
        ]
        return Views(padded[0], torch.empty(len(indices), 0), padded[1])


def _shared(rows: Mapping[str, Table]) -> Iterable[str]:
    """What to know of parts whose pairs have an `other` text that is one of train's, though their `text` isn't."""
    known = {*rows["train"]["other"]}
    for name, part in rows.items():
        count = 0 if name == "train" else sum(text in known for text in part["other"])
        if count:
            yield f"the other text of {count:,} of {len(part):,} pairs of {name} is that of a pair of train."


def _facts(lengths_N: np.ndarray) -> Facts:
    return other_data.facts({"the number of tokens": torch.from_numpy(lengths_N)})
