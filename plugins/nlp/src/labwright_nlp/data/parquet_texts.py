"""The user's own texts with labels, in Parquet of any size. N samples, B batch, G row groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from labwright import Batch, LabwrightError, LeftOut, listed, nearest
from labwright_tasks.answers import Answers, natural
from labwright_tasks.cells import Cells
from labwright_tasks.opening import no_file
from labwright_tasks.row_groups import RowGroups
from labwright_tasks.sample_columns import Group, Time, Weight, about_weights, samples_of
from labwright_tasks.tables import Table, joined, name_of
from labwright_tasks.weights import weighed
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import noticing
from labwright_nlp.data.reading import files_of_parts
from labwright_nlp.data.texts import LabelledTexts, Length, Share, chosen_rows
from labwright_nlp.data.token_files import Window
from labwright_nlp.tokenizing import Case, Kind, Pretrained, Tokenizer, Vocabulary, clean, learned

_SUFFIXES = (".parquet", ".pq")
_TRIED = 1000  # texts that tell whether they are cut, and whether the tokenizer knows them


class ParquetTexts(LabelledTexts):
    """Texts and labels of your own in Parquet, of which only some row groups are in memory.

    In a folder names of files begin with `train`, and perhaps with `valid` (or `validation`) and `test`: train.parquet,
    or train-00000-of-00004.parquet and so on. Labels are read when the run begins; rows without one are left out. A row
    without a text counts as one unknown token.

    Metrics count each row alike, whatever it weighs. Rows of one `group` stay on one side of what is held out, and of
    `folds`; with `time` the latest are held out, and folds go in its order. With one of the two rows are held out,
    wherever they lie, so that a part reads all row groups that have some.

    Args:
        path: a Parquet file, or a folder with some for each part.
        text: the column of texts.
        label: the column of classes.
        valid, test: share of the row groups, evenly over the files, that is held out as this part, if it has no files,
            so that a tenth needs ten of them; 0: there is no such part.
        window: row groups, which come in random order, whose texts are mixed at a time; each process that reads has
            them in memory.
        learn_from: texts a tokenizer is learned from, out of row groups evenly over the training part.
    """

    source = "files of yours"
    licence = "yours"
    in_memory = False

    def __init__(
        self,
        *,
        path: Path,
        text: str = "text",
        label: str = "label",
        weight: Weight = None,
        group: Group = None,
        time: Time = None,
        valid: Share = 0.1,
        test: Share = 0.0,
        window: Window = 4,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        learn_from: Annotated[int, Field(ge=1)] = 100_000,
        pretrained: Pretrained = None,
        case: Case = "keep",
        length: Length = 128,
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
        self.path, self.text, self.label = path, text, label
        beside = {"weight": weight, "group": group, "time": time}
        self.independent = group is None and time is None
        self.beside = {setting: column for setting, column in beside.items() if column is not None}
        self.window, self.learn_from = window, learn_from
        self._groups: dict[str, GroupedTexts] = {}
        self._weighed: list[str] = []  # what to know of weights

    def prepare(self) -> None:
        self._check_case()
        path = self.path.expanduser()
        if not path.exists():
            raise no_file(path, "task.data.path: there is no file or folder")
        files, self.unused = files_of_parts(path, _SUFFIXES) if path.is_dir() else ({"train": [path]}, [])
        columns = {"text": self.text, "label": self.label, **self.beside}
        parts = {
            part: [Rows(file, number) for file in (RowGroups(path, columns) for path in paths) for number in file]
            for part, paths in files.items()
        }
        parts |= self._held_out(parts)
        labels = {part: [group.labels() for group in groups] for part, groups in parts.items()}
        names = tuple(sorted({label for of_group in labels["train"] for label in of_group} - {""}, key=natural))
        self.answers = Answers({"label": names})
        if not names:
            raise LabwrightError(f"{path}: none of its rows to learn from has a label.")
        self._groups = {
            part: GroupedTexts(groups, labels[part], names, self.window, self._batch) for part, groups in parts.items()
        }
        self._splits.update(self._groups)
        self._know_samples()
        self.tokens = self._learned(self._some_texts(parts["train"]))
        for part, groups in parts.items():
            split = self._groups[part]
            self._digests[part] = split.digest(*self.beside)
            bare = sum(map(len, groups)) - len(split)
            self.unused += [LeftOut(bare, "row" if bare == 1 else "rows", f"no label, in {part}")] if bare else []

    def _know_samples(self) -> None:
        """Weights, groups and times of all parts, as far as columns are named."""
        if not self.beside:
            return
        tables = {part: self._beside(split.labelled()) for part, split in self._groups.items()}
        samples = samples_of({"train": tables["train"], **tables}, {setting: setting for setting in self.beside})
        for part, known in samples.items():
            vars(self._groups[part]).update(known)
        weights_N = self._groups["train"].weights
        self._weighed = [] if weights_N is None else [about_weights(weights_N, self.beside["weight"])]

    def _beside(self, groups: Iterable[Rows]) -> Table:
        """What columns say beside texts and labels, of rows one row group after another."""
        return replace(joined([rows.table([*self.beside]) for rows in groups]), origin=str(self.path))

    def _held_out(self, parts: Mapping[str, Sequence[Rows]]) -> dict[str, list[Rows]]:
        """What is held out of the rows to learn from, and what is left of them."""
        train = list(parts["train"])
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in parts and getattr(self, name)}
        if shares and {"group", "time"} & {*self.beside}:
            return self._rows_held_out(train, shares)
        count, held_out = len(train), {}
        for name, share in shares.items():
            wanted = round(share * count)
            if not 0 < wanted < len(train):
                raise LabwrightError(
                    f"task.data.{name}: {share} of {count} row groups are {wanted}, of {len(train)} that "
                    f"are left. Write smaller row groups, such as by pyarrow's row_group_size=10_000, give {name!r} a "
                    "file of its own, or set it to 0."
                )
            places = {(2 * number + 1) * len(train) // (2 * wanted) for number in range(wanted)}
            held_out[name] = [train[place] for place in sorted(places)]
            train = [group for place, group in enumerate(train) if place not in places]
        return held_out | {"train": train}

    def _rows_held_out(self, train: Sequence[Rows], shares: dict[str, float]) -> dict[str, list[Rows]]:
        """Rows with a label by their groups, or by their times, wherever they lie; other rows stay where they are."""
        labelled = [rows.some(row for row, label in enumerate(rows.labels()) if label) for rows in train]
        table = self._beside(labelled)
        chosen = chosen_rows(table, shares, self.beside, None, None)
        ends = np.cumsum([len(rows) for rows in labelled])
        parts: dict[str, list[Rows]] = {}
        left = list(train)
        for name in shares:
            pieces = np.split(chosen[name], np.searchsorted(chosen[name], ends[:-1]))
            starts = ends - [len(rows) for rows in labelled]
            held_out = [rows.some(piece - start) for rows, piece, start in zip(labelled, pieces, starts, strict=True)]
            parts[name] = [rows for rows in held_out if len(rows)]
            left = [rows.without(taken) for rows, taken in zip(left, held_out, strict=True)]
        return parts | {"train": [rows for rows in left if len(rows)]}

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; of many texts some, evenly over all."""
        total = sum(map(len, rows.values()))
        some = {
            name: of_part.sort().values[_evenly(len(of_part), -(-self._most * len(of_part) // max(total, 1)))]
            for name, of_part in rows.items()
        }
        self.tokens = self._learned(text for name in some for text in self._groups[name].texts(some[name]))

    @property
    def _most(self) -> int:
        """Texts that are looked at."""
        return _TRIED if self.tokenizer in ("byte", "pretrained") else self.learn_from

    def _some_texts(self, train: Sequence[Rows]) -> Iterator[str]:
        needed = -(-self._most * len(train) // sum(map(len, train)))  # row groups that have so many texts
        return (text for place in _evenly(len(train), needed) for text in train[place].texts())

    def _learned(self, given: Iterable[str]) -> Tokenizer:
        """The tokenizer; what there is to know of it is in `remarks`."""
        texts = [clean(self.rewrite(text), self.case) for text in islice(given, self._most)]
        tokens = learned(
            self.tokenizer, texts, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        ids = tokens.encode(texts[:_TRIED])
        lengths = np.array([len(ids_L) for ids_L in ids])
        self._remarks = [
            *self._weighed,
            *noticing.cut({"some of train": lengths}, self.length),
            *noticing.unknown({"train": np.concatenate(ids)}, tokens.unknown, self.tokenizer),
        ]
        return tokens

    def _batch(self, texts: Sequence[str], labels_B: Tensor) -> Batch:
        encoded, _ = self._encoded(map(self.rewrite, texts), labels_B)
        return encoded.fetch(torch.arange(len(texts)), 0, 0)


def _evenly(length: int, count: int) -> list[int]:
    """As many places as that, or all there are, evenly over a length."""
    count = min(count, length)
    return [number * length // count for number in range(count)]


@dataclass(frozen=True, eq=False)
class Rows:
    """A row group of a file, or those of its rows that are `chosen`, counted from 0."""

    file: RowGroups
    number: int
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return self.file.rows[self.number] if self.chosen is None else len(self.chosen)

    def some(self, rows: Iterable[int]) -> Rows:
        """Some of these rows, by their places among them."""
        places = np.fromiter(rows, np.int32)
        return replace(self, chosen=places if self.chosen is None else self.chosen[places])

    def without(self, others: Rows) -> Rows:
        """These rows but for others of the same row group."""
        return replace(self, chosen=np.setdiff1d(self._rows(), others._rows())) if len(others) else self

    def texts(self) -> Sequence[str]:
        return self._cells("text")

    def labels(self) -> list[str]:
        cells = self._cells("label")
        spelled = {cell: name_of(cell) for cell in set(cells)}
        return [spelled[cell] for cell in cells]

    def table(self, settings: Iterable[str]) -> Table:
        """Columns of these rows, and where each is in the file."""
        first = sum(self.file.rows[: self.number]) + 1
        columns = {setting: self._cells(setting) for setting in settings}
        return Table(str(self.file.path), columns, (self._rows() + first).tolist(), "row")

    def where(self, place: int) -> str:
        """The place of one of these rows, for a message."""
        return self.file.where(self.number, int(self._rows()[place]))

    def identity(self) -> str:
        """What tells them from others: what the footer says, and which rows they are."""
        rows = "" if self.chosen is None else f" {hashlib.sha256(self.chosen.tobytes()).hexdigest()}"
        return f"{self.file.identity(self.number)}{rows}"

    def _rows(self) -> np.ndarray:
        return np.arange(self.file.rows[self.number], dtype=np.int32) if self.chosen is None else self.chosen

    def _cells(self, setting: str) -> Cells:
        cells = self.file.cells(self.number, setting)
        return cells if self.chosen is None else cells.chosen(self.chosen.tolist())


class GroupedTexts:
    """A split of row groups, each a shard, of which the last `window` that were read are kept. N samples, G row groups.

    `batch` makes one of texts and the numbers of their labels. `groups` and `times` (N,) are there where they are
    known.
    """

    weights: Tensor | None = None  # (N,)
    groups: Tensor
    times: Tensor

    def __init__(
        self,
        row_groups: Sequence[Rows],
        labels: Sequence[Sequence[str]],
        names: Sequence[str],
        window: int,
        batch: Callable[[Sequence[str], Tensor], Batch],
    ) -> None:
        self.row_groups, self.window, self.batch = row_groups, window, batch
        number = {name: index for index, name in enumerate(names)}
        for group, of_group in zip(row_groups, labels, strict=True):
            row = next((row for row, label in enumerate(of_group) if label and label not in number), None)
            if row is not None:
                raise LabwrightError(
                    f"{group.where(row)}: no training text has the label {of_group[row]!r}"
                    f"{nearest(of_group[row], names)} Labels are {listed(names)}."
                )
        labelled = [[row for row, label in enumerate(of_group) if label] for of_group in labels]
        self.shards = torch.tensor([len(rows) for rows in labelled])
        self.rows_N = torch.tensor([row for rows in labelled for row in rows], dtype=torch.int32)
        self.labels = torch.tensor([number[label] for of_group in labels for label in of_group if label])
        self._ends_G = self.shards.cumsum(0)
        self._texts: dict[int, Sequence[str]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        return weighed(self.batch(self.texts(indices), self.labels[indices]), self.weights, indices)

    def labelled(self) -> list[Rows]:
        """The rows that are samples, of each row group."""
        of_group = torch.split(self.rows_N, self.shards.tolist())
        return [rows.some(places.tolist()) for rows, places in zip(self.row_groups, of_group, strict=True)]

    def texts(self, indices: Tensor) -> list[str]:
        groups_B = torch.bucketize(indices, self._ends_G, right=True)
        texts = [""] * len(indices)
        for number in torch.unique(groups_B).tolist():
            of_group = self._read(number)
            for place in (groups_B == number).nonzero()[:, 0].tolist():
                texts[place] = of_group[int(self.rows_N[indices[place]])]
        return texts

    def digest(self, *beside: str) -> str:
        """What tells the samples from others, without their texts: labels, what footers say, and what is `beside`."""
        hashed = hashlib.sha256(self.labels.numpy().tobytes() + self.rows_N.numpy().tobytes())
        for rows in self.row_groups:
            hashed.update(rows.identity().encode("utf-8", "surrogatepass"))
        for setting in beside:
            hashed.update(getattr(self, f"{setting}s").numpy().tobytes())
        return hashed.hexdigest()

    def _read(self, number: int) -> Sequence[str]:
        texts = self._texts.pop(number, None)
        if texts is None:
            texts = self.row_groups[number].texts()
        while len(self._texts) >= self.window:
            del self._texts[next(iter(self._texts))]
        self._texts[number] = texts  # last, as it was asked for last
        return texts
