"""Texts with labels out of the Hugging Face datasets library."""

from __future__ import annotations

from typing import Any

from labwright import LabwrightError, LeftOut, listed, nearest
from labwright_tasks.hub import loaded
from labwright_tasks.parts import part_named
from labwright_tasks.tables import Table, cells_of

from labwright_nlp.data.reading import rows_of
from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import Case, Kind, Pretrained, Vocabulary

_NEEDS = "data 'nlp/datasets' needs the datasets library: `pip install 'labwright-nlp[datasets]'` brings it."


class Datasets(Texts):
    """A dataset of the Hugging Face hub by its name, or a folder that the datasets library wrote or can read.

    Its splits `train`, `validation` and `test`, or what else they are called, are taken as they are. One that it lacks,
    or has without labels, is held out of the training texts. Rows without a text or a label are left out. Needs the
    extra `labwright-nlp[datasets]`.

    Args:
        dataset: a folder, if there is one of that name, else a name on the hub, such as rotten_tomatoes.
        subset: its configuration, of a dataset that has several.
        text: the column of texts.
        label: the column of classes.
    """

    source = "the Hugging Face hub, or a folder"
    licence = "the dataset's own; see its page"

    def __init__(
        self,
        *,
        dataset: str,
        subset: str | None = None,
        text: str = "text",
        label: str = "label",
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
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
        self.dataset, self.subset, self.text, self.label = dataset, subset, text, label

    def rows(self) -> dict[str, Table]:
        splits = loaded(self.dataset, self.subset, needs=_NEEDS)
        parts: dict[str, Table] = {}
        self.unused = []
        for name, split in splits.items():
            part = part_named(name)
            if part in parts:
                raise LabwrightError(f"dataset {self.dataset!r} has two splits for {part!r}: it has {listed(splits)}.")
            table = self._table(name, split) if part else None
            if part is None or table is None:
                why = "no label in any of split" if part else "of no part's name, split"
                self.unused.append(LeftOut(len(split), "rows", f"{why} {name!r}"))
                continue
            parts[part], left_out = rows_of(table)
            self.unused += left_out
        if "train" not in parts:
            raise LabwrightError(f"dataset {self.dataset!r} has no split 'train' with labels; it has {listed(splits)}.")
        return parts

    def _table(self, split: str, part: Any) -> Table | None:
        """The rows of a split, None if none has a label: -1 is how the hub marks one that is kept secret."""
        origin = f"dataset {self.dataset!r}, split {split!r}"
        named = {"text": self.text, "label": self.label}
        for setting, column in named.items():
            if column not in part.column_names:
                raise LabwrightError(
                    f"{origin}: there is no column {column!r}{nearest(column, part.column_names)} It has "
                    f"{listed(part.column_names)}; task.data.{setting} says which one holds the {setting}."
                )
        values = {setting: list(part[column]) for setting, column in named.items()}
        names = getattr(part.features[self.label], "names", None)  # of a ClassLabel
        if names:
            values["label"] = [None if label is None or label < 0 else names[label] for label in values["label"]]
        columns = {
            setting: cells_of(of, named[setting], lambda row: f"{origin}, row {row}") for setting, of in values.items()
        }
        return Table(origin, columns, range(part.num_rows), "row") if any(columns["label"]) else None
