"""The user's own texts with labels, in Parquet of any size. N samples, B batch, G row groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from labwright import Batch, LabwrightError, LeftOut, listed, nearest
from labwright_tasks.answers import Answers, natural
from labwright_tasks.opening import no_file
from labwright_tasks.row_groups import RowGroups
from labwright_tasks.tables import name_of
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import noticing
from labwright_nlp.data.reading import files_of_parts
from labwright_nlp.data.texts import LabelledTexts, Length, Share
from labwright_nlp.data.token_files import Window
from labwright_nlp.tokenizing import Case, Kind, Tokenizer, Vocabulary, clean, learned

_SUFFIXES = (".parquet", ".pq")
_TRIED = 1000  # texts that tell whether they are cut, and whether the tokenizer knows them


class ParquetTexts(LabelledTexts):
    """Texts and labels of your own in Parquet, of which only some row groups are in memory.

    `path` is a file, or a folder with files whose names begin with `train`, and perhaps with `valid` (or `validation`)
    and `test`: train.parquet, or train-00000-of-00004.parquet and so on. `text` and `label` name the columns. Labels
    are read when the run begins; rows without one are left out. A row without a text counts as one unknown token.

    A part without files is held out: `valid` and `test` are shares of the row groups, evenly over the files, so that a
    tenth needs ten of them. Row groups come in random order, and the texts of `window` of them, which are in memory
    together in each process that reads, are mixed. `tokenizer` and the other settings are those of `nlp/text-files`;
    one that is learned is learned from `learn_from` texts, out of row groups evenly over the training part.
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
        valid: Share = 0.1,
        test: Share = 0.0,
        window: Window = 4,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        learn_from: Annotated[int, Field(ge=1, description="texts a tokenizer is learned from")] = 100_000,
        pretrained: Path | None = None,
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
        self.window, self.learn_from = window, learn_from
        self._groups: dict[str, GroupedTexts] = {}

    def prepare(self) -> None:
        self._check_case()
        path = self.path.expanduser()
        if not path.exists():
            raise no_file(path, "task.data.path: there is no file or folder")
        files, self.unused = files_of_parts(path, _SUFFIXES) if path.is_dir() else ({"train": [path]}, [])
        columns = {"text": self.text, "label": self.label}
        parts = {
            part: [Group(file, number) for file in (RowGroups(path, columns) for path in paths) for number in file]
            for part, paths in files.items()
        }
        parts |= self._held_out(parts)
        labels = {part: [group.labels() for group in groups] for part, groups in parts.items()}
        names = tuple(sorted({label for of_group in labels["train"] for label in of_group} - {""}, key=natural))
        self.answers = Answers({"label": names})
        if not names:
            raise LabwrightError(f"{path}: none of its rows to learn from has a label.")
        self.tokens = self._learned(self._some_texts(parts["train"]))
        for part, groups in parts.items():
            split = GroupedTexts(groups, labels[part], names, self.window, self._batch)
            self._splits[part] = self._groups[part] = split
            self._digests[part] = split.digest()
            bare = sum(group.rows for group in groups) - len(split)
            self.unused += [LeftOut(bare, "row" if bare == 1 else "rows", f"no label, in {part}")] if bare else []

    def _held_out(self, parts: Mapping[str, Sequence[Group]]) -> dict[str, list[Group]]:
        """Those of the row groups to learn from that are held out, and what is left of them."""
        train = list(parts["train"])
        count, held_out = len(train), {}
        for name in ("test", "valid"):
            if name in parts or not getattr(self, name):
                continue
            wanted = round(getattr(self, name) * count)
            if not 0 < wanted < len(train):
                raise LabwrightError(
                    f"task.data.{name}: {getattr(self, name)} of {count} row groups are {wanted}, of {len(train)} that "
                    f"are left. Write smaller row groups, such as by pyarrow's row_group_size=10_000, give {name!r} a "
                    "file of its own, or set it to 0."
                )
            places = {(2 * number + 1) * len(train) // (2 * wanted) for number in range(wanted)}
            held_out[name] = [train[place] for place in sorted(places)]
            train = [group for place, group in enumerate(train) if place not in places]
        return held_out | {"train": train}

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; of many texts some, evenly over all."""
        step = max(1, sum(map(len, rows.values())) // self._most)
        some = {name: of_part.sort().values[::step] for name, of_part in rows.items()}
        self.tokens = self._learned(text for name in some for text in self._groups[name].texts(some[name]))

    @property
    def _most(self) -> int:
        """Texts that are looked at."""
        return _TRIED if self.tokenizer in ("byte", "pretrained") else self.learn_from

    def _some_texts(self, train: Sequence[Group]) -> Iterator[str]:
        needed = -(-self._most * len(train) // sum(group.rows for group in train))  # row groups that have so many texts
        return (text for group in train[:: max(1, len(train) // needed)] for text in group.texts())

    def _learned(self, given: Iterable[str]) -> Tokenizer:
        """The tokenizer; what there is to know of it is in `remarks`."""
        texts = [clean(self.rewrite(text), self.case) for text in islice(given, self._most)]
        tokens = learned(
            self.tokenizer, texts, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        ids = tokens.encode(texts[:_TRIED])
        lengths = np.array([len(ids_L) for ids_L in ids])
        self._remarks = [
            *noticing.cut({"some of train": lengths}, self.length),
            *noticing.unknown({"train": np.concatenate(ids)}, tokens.unknown, self.tokenizer),
        ]
        return tokens

    def _batch(self, texts: Sequence[str], labels_B: Tensor) -> Batch:
        encoded, _ = self._encoded(map(self.rewrite, texts), labels_B)
        return encoded.fetch(torch.arange(len(texts)), 0, 0)


@dataclass(frozen=True)
class Group:
    """A row group of a file."""

    file: RowGroups
    number: int

    @property
    def rows(self) -> int:
        return self.file.rows[self.number]

    def texts(self) -> Sequence[str]:
        return self.file.cells(self.number, "text")

    def labels(self) -> list[str]:
        cells = self.file.cells(self.number, "label")
        spelled = {cell: name_of(cell) for cell in set(cells)}
        return [spelled[cell] for cell in cells]


class GroupedTexts:
    """A split of row groups, each a shard, of which the last `window` that were read are kept. N samples, G groups.

    `batch` makes one of texts and the numbers of their labels.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        labels: Sequence[Sequence[str]],
        names: Sequence[str],
        window: int,
        batch: Callable[[Sequence[str], Tensor], Batch],
    ) -> None:
        self.groups, self.window, self.batch = groups, window, batch
        number = {name: index for index, name in enumerate(names)}
        for group, of_group in zip(groups, labels, strict=True):
            row = next((row for row, label in enumerate(of_group) if label and label not in number), None)
            if row is not None:
                raise LabwrightError(
                    f"{group.file.where(group.number, row)}: no training text has the label {of_group[row]!r}"
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
        return self.batch(self.texts(indices), self.labels[indices])

    def texts(self, indices: Tensor) -> list[str]:
        groups_B = torch.bucketize(indices, self._ends_G, right=True)
        texts = [""] * len(indices)
        for number in torch.unique(groups_B).tolist():
            of_group = self._read(number)
            for place in (groups_B == number).nonzero()[:, 0].tolist():
                texts[place] = of_group[int(self.rows_N[indices[place]])]
        return texts

    def digest(self) -> str:
        """What tells the samples from others, without their texts: labels, and what footers say of row groups."""
        hashed = hashlib.sha256(self.labels.numpy().tobytes() + self.rows_N.numpy().tobytes())
        for group in self.groups:
            hashed.update(group.file.identity(group.number).encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()

    def _read(self, number: int) -> Sequence[str]:
        texts = self._texts.pop(number, None)
        if texts is None:
            texts = self.groups[number].texts()
        while len(self._texts) >= self.window:
            del self._texts[next(iter(self._texts))]
        self._texts[number] = texts  # last, as it was asked for last
        return texts
