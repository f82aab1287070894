"""What all tables have in common: parts, columns, what is kept for predicting, rows to predict for."""

from __future__ import annotations

import csv
import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from labwright import Classes, Data, Finding, LabwrightError, LeftOut, Port, nearest
from labwright_tasks import other_data
from labwright_tasks.delimited import Written
from labwright_tasks.sample_columns import about_weights, samples_of
from labwright_tasks.tables import SUFFIXES, Table, cells_of
from labwright_tasks.times import latest
from torch import Tensor

from labwright_tabular.data.columns import Columns, Role, Scale, learned, roles_of
from labwright_tabular.data.odd_columns import odd_columns
from labwright_tabular.data.parts import NAMES, TRAIN, Rows, divided, in_groups
from labwright_tabular.data.reading import PART, whole_table
from labwright_tabular.ports import Fields, Scaled

MISSING = ("?", "NA", "N/A", "nan", "NaN", "null", "NULL")
_KEPT = "columns.json"
_SIGNS = ",\t;|"  # between cells
_NAMED = 4  # columns that a remark names


class Tabular(Data):
    """Rows of a table with a target: classes where `target` is Classes, numbers where it is Scaled.

    After `prepare()` or `load()`: `columns`, and `outputs`, the port of the target.

    Args:
        valid: share of all rows that is held out for validation; 0 holds out none.
        test: share of all rows that is held out for testing; 0 holds out none.
        seed: of the draw of what is held out, which is of each class in proportion.
        scale: how numbers are brought to standard units by those of training rows: `quantile` by their rank, as a
            normal distribution would have them; `standard` by mean and deviation.
        min_count: training rows that a category's level needs for a code of its own; all rare and unknown ones share
            one.
        roles: what columns hold, by their names: `number`, `category`, `date` or `ignore`; columns that aren't named
            are taken as their cells look.
        missing: cells that say nothing, beside empty ones; left out, ?, NA, N/A, nan, NaN, null and NULL.
    """

    item = Fields
    line = "row"
    suffixes = SUFFIXES
    written = Written()
    beside: Mapping[str, str] = MappingProxyType({})  # columns that say more of a row, by `weight`, `group` and `time`
    columns: Columns
    outputs: Classes | Scaled

    def __init__(
        self,
        *,
        valid: float,
        test: float,
        seed: int,
        scale: Scale,
        min_count: int = 1,
        roles: Mapping[str, Role] | None = None,
        missing: Sequence[str] | None = None,
    ) -> None:
        self.valid, self.test, self.seed, self.scale, self.min_count = valid, test, seed, scale, min_count
        self.roles, self.missing = dict(roles or {}), MISSING if missing is None else tuple(missing)
        self.facts: other_data.Facts = {}  # of the training rows
        self._parts: dict[str, Rows] = {}
        self._lines: dict[str, Table] = {}  # without their columns: where each row is
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: list[str] = []
        self._unknown: Counter[str] = Counter()
        self._guessed: list[str] = []  # of tables with rows to predict for

    @abstractmethod
    def table(self) -> Table:
        """All rows, the columns called as they are in the table, and maybe `PART` beside them.

        Raises LabwrightError naming what can't be used.
        """

    @property
    @abstractmethod
    def answer(self) -> str:
        """The name of the target's column."""

    def divide(self, labels_R: np.ndarray, samples: Mapping[str, Tensor], shares: Mapping[str, float]) -> np.ndarray:
        """The part of each row, uint8 as in parts.py: the latest are held out, whole groups, or of each class."""
        if sum(shares.values()) >= 1:
            raise LabwrightError(
                f"task.data.valid and task.data.test: given {self.valid:g} and {self.test:g}, which leaves no row to "
                "train on; together they are less than 1."
            )
        if "times" in samples:
            parts_R = np.full(len(labels_R), TRAIN, np.uint8)
            held_out = {name: share for name, share in shares.items() if share}
            for name, rows in latest(samples["times"].numpy(), held_out, "the table").items():
                parts_R[rows] = NAMES[name]
            return parts_R
        if "groups" in samples:
            return in_groups(samples["groups"].numpy(), valid=shares["valid"], test=shares["test"], seed=self.seed)
        by_class_R = labels_R if self.target is Classes else np.zeros(len(labels_R), np.int64)
        return divided(by_class_R, valid=shares["valid"], test=shares["test"], seed=self.seed)

    def prepare(self) -> None:
        self._learn(None)

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`; the table is read once more, as it isn't kept."""
        self._learn(rows)

    def _learn(self, rows: Mapping[str, Tensor] | None) -> None:
        """Read the table, learn from all training rows, or `rows` of each part, and make the splits."""
        self._left_out, self._remarks, self.facts = (), [], {}
        whole = self.table()
        table, left_out = self._with_answers(whole)
        self._left_out = [*self._left_out, *left_out]
        self._header = [name for name in table.columns if name != PART]
        names = [name for name in self._header if name != self.answer]
        for setting, column in self.beside.items():
            if column not in table:
                raise LabwrightError(
                    f"task.data.{setting}: no column is called {column!r}{nearest(column, table.columns)}"
                )
        if unknown := next((name for name in self.roles if name not in names), ""):
            raise LabwrightError(f"task.data.roles: no column is called {unknown!r}{nearest(unknown, names)}")
        samples = samples_of({"": table}, self.beside)[""]
        if self.target is Classes:
            self.outputs = Classes(tuple(sorted(set(table.names(self.answer)), key=_in_order)))
        labels_R = self._labels(table)
        parts_R = self._parts_of(table, labels_R, samples)
        if not (parts_R == TRAIN).any():
            raise LabwrightError(f"{table.origin}: {len(table):,} rows are too few to train on any.")
        seen_R = parts_R == TRAIN if rows is None else _mask(parts_R, rows)
        if self.target is not Classes:
            seen = labels_R[seen_R].astype(np.float64)
            self.outputs = Scaled(1, (float(seen.mean()),), (float(seen.std()) or 1.0,))
        roles = roles_of(table, names, self.roles, self.missing)
        self.columns = learned(table, roles, seen_R, scale=self.scale, min_count=self.min_count, missing=self.missing)
        if not self.columns.used:
            raise LabwrightError(
                f"{table.origin}: no column but {self.answer!r} differs from row to row in a way that says anything: "
                f"{self._decided()} task.data.roles says otherwise."
            )
        weighed = [about_weights(samples["weights"], self.beside["weight"])] if "weights" in samples else []
        self._remarks = [*self._remarks, self._decided(), *weighed]
        for name, part in NAMES.items():
            of_part = np.flatnonzero(parts_R == part)
            if len(of_part):
                here = torch.from_numpy(of_part)
                known = {fact: of_rows[here] for fact, of_rows in samples.items()}
                self._keep(name, table.take(of_part.tolist()), torch.from_numpy(labels_R[of_part]), known)
                self.facts = self.facts or self._facts(table.take(of_part.tolist()), "train")

    def ports(self) -> tuple[Port, Port]:
        return self.columns.port(), self.outputs

    def split(self, name: str) -> Rows | None:
        return self._parts.get(name)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        return self.columns.words(*inputs)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def checks(self) -> list[Finding]:
        """Columns that say nothing, or the target itself."""
        return odd_columns(self.columns, self._parts, self.outputs)

    def noticed(self) -> Sequence[str]:
        """How rows to predict for were read; of which columns they had levels that no training row has, or too few."""
        notes = [
            *self._guessed,
            *(
                f"{count:,} {'row has a level' if count == 1 else 'rows have levels'} of {name!r} that no training row "
                "has, or too few."
                for name, count in self._unknown.items()
            ),
        ]
        self._unknown.clear()
        self._guessed.clear()
        return notes

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A row: a JSON object by the columns' names, or cells with commas between, with or without the target."""
        names = [column.name for column in self.columns.columns]
        if line.lstrip().startswith("{"):
            try:
                row: dict[str, Any] = json.loads(line)
            except ValueError as error:
                raise LabwrightError(f"given {line[:60]!r}, which is no JSON ({error}).") from error
            if unknown := next((name for name in row if name not in [*names, self.answer]), ""):
                raise LabwrightError(f"no column is called {unknown!r}{nearest(unknown, names)}")
            cells = [cells_of([row.get(name)], name, lambda _: "the row given")[0] for name in names]
        else:
            cells = self._cells(line, (len(self._header), len(names)))
            if len(cells) == len(self._header):
                cells = [cell for name, cell in zip(self._header, cells, strict=True) if name != self.answer]
            if len(cells) != len(names):
                raise LabwrightError(
                    f"given {line[:60]!r}, which has {len(cells)} cells; a row has {len(names)}, in the order "
                    f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}, or is a JSON object such as "
                    f'{{"{names[0]}": ...}}.'
                )
        return self._encoded(
            Table("the row given", {name: [cell] for name, cell in zip(names, cells, strict=True)}, [1])
        )

    def _cells(self, line: str, counts: Sequence[int]) -> list[str]:
        """The cells of a line, between the first sign that gives so many: the table's, or a usual one."""
        signs = [self.written.delimiter] if self.written.delimiter else [*_SIGNS]
        split = [next(csv.reader([line], delimiter=sign), []) if len(sign) == 1 else line.split(sign) for sign in signs]
        return next((cells for cells in split if len(cells) in counts), split[0])

    def read(self, path: Path) -> tuple[Tensor, ...]:
        """The only row of a file."""
        table = whole_table(path, self.written)
        if len(table) > 1:
            raise LabwrightError(
                f"{path} has {len(table):,} rows, and an answer is about one: `labwright predict RUN --on {path.name}` "
                "answers each."
            )
        return self._encoded(self._with_columns(table))

    def on(self, path: Path) -> Self:
        """The rows of a table of the same columns, the target among them."""
        other = copy(self)
        whole = whole_table(path, self.written)
        table, other._left_out = self._with_answers(whole)
        self._with_columns(table)
        if isinstance(self.outputs, Classes):
            names, known = table.names(self.answer), set(self.outputs.names)
            strange = [name for name in names if name not in known]
            if len(strange) == len(names):
                raise other_data.none_known(path, names, self.outputs.names)
            other._left_out = [*other._left_out, *other_data.unknown(strange, "rows")]
            table = table.take(row for row, name in enumerate(names) if name in known) if strange else table
        other._parts, other._lines, other._unknown, other._guessed = {}, {}, Counter(), []
        other._keep("test", table, torch.from_numpy(self._labels(table)), {})
        drift = other_data.drift(other._facts(table, "test"), self.facts, len(table))
        other._remarks = [*whole.remarks, *drift]
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        """The rows of a table, or of all tables in a folder, with the target or without."""
        return self._rows(self.files(path) if path.is_dir() else [path])

    def _rows(self, files: Iterable[Path]) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        for file in files:
            table = self._with_columns(whole_table(file, self.written))
            self._guessed += table.remarks
            for row in range(len(table)):
                yield table.where(row), partial(self._encoded, table.take([row]))

    def place(self, split: str, index: int) -> str:
        return self._lines[split].where(index)

    def save(self, folder: Path) -> None:
        outputs: dict[str, Any] = {"classes": None}
        if isinstance(self.outputs, Classes):
            outputs["classes"] = self.outputs.names
        else:
            outputs |= {"mean": self.outputs.mean, "deviation": self.outputs.deviation}
        kept = {"table": self.columns.json(), "header": self._header, "target": outputs}
        train = self._parts.get("train")
        if train is not None and train.weights is not None:  # that a run doesn't go on with others
            kept["weights"] = hashlib.sha256(train.weights.numpy().tobytes()).hexdigest()
        (folder / _KEPT).write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.columns, self._header = Columns.of_json(kept["table"]), kept["header"]
        self.facts = other_data.kept(folder)
        target = kept["target"]
        if target["classes"] is not None:
            self.outputs = Classes(tuple(target["classes"]))
        else:
            self.outputs = Scaled(1, tuple(target["mean"]), tuple(target["deviation"]))

    def _parts_of(self, table: Table, labels_R: np.ndarray, samples: Mapping[str, Tensor]) -> np.ndarray:
        """As they were published, what wasn't being drawn from `train`; or all drawn, see `divide`."""
        shares = {"test": self.test, "valid": self.valid}
        if PART not in table:
            return self.divide(labels_R, samples, shares)
        parts_R = np.array([NAMES[part] for part in table[PART]], np.uint8)
        shares = {name: 0.0 if (parts_R == NAMES[name]).any() else share for name, share in shares.items()}
        train = np.flatnonzero(parts_R == TRAIN)
        known = {fact: of_rows[torch.from_numpy(train)] for fact, of_rows in samples.items()}
        parts_R[train] = self.divide(labels_R[train], known, shares)
        return parts_R

    def _with_answers(self, table: Table) -> tuple[Table, list[LeftOut]]:
        """The rows that have a target."""
        if self.answer not in table:
            raise LabwrightError(
                f"{table.origin}: there is no column {self.answer!r}{nearest(self.answer, table.columns)} "
                "task.data.target says which one is predicted."
            )
        told = ["" if cell.strip() in self.missing else cell for cell in table[self.answer]]
        return replace(table, columns={**table.columns, self.answer: told}).filled(self.answer)

    def _with_columns(self, table: Table) -> Table:
        """A table that has all columns the model takes. Raises LabwrightError for one that hasn't."""
        for column in self.columns.used:
            if column.name not in table:
                raise LabwrightError(
                    f"{table.origin}: there is no column {column.name!r}{nearest(column.name, table.columns)}"
                )
        return table

    def _labels(self, table: Table) -> np.ndarray:
        """Labels (R,) int64 of classes that are known, or numbers (R, 1) float32."""
        if self.target is Classes:
            assert isinstance(self.outputs, Classes)
            number = {name: label for label, name in enumerate(self.outputs.names)}
            return np.array([number[name] for name in table.names(self.answer)], np.int64)
        classes_instead = "data 'tabular/table' tells classes"
        numbers = Columns((), "standard", self.missing).values(table, self.answer, "number", classes_instead)
        return numbers.T.astype(np.float32)

    def _keep(self, name: str, table: Table, labels: Tensor, samples: Mapping[str, Tensor]) -> None:
        """Make a split of the rows of a table."""
        self._parts[name] = Rows(self.columns.encode(table), labels, samples)
        self._lines[name] = replace(table, columns={})

    def _facts(self, table: Table, split: str) -> other_data.Facts:
        """What a split's rows are like: numbers, how many are missing, how many levels have no code, the classes."""
        values: dict[str, Tensor] = {}
        codes = iter(self._parts[split].inputs[1].unbind(1))
        for column in self.columns.used:
            if column.role == "category":
                values[f"the share of rare or unknown levels of {column.name}"] = next(codes) == 0
                continue
            first_R = torch.from_numpy(self.columns.values(table, column.name, column.role)[0])
            if column.flagged:
                values[f"the share of rows without {column.name}"] = first_R.isnan()
            if column.parts and not first_R.isnan().all():
                values[column.names[0]] = first_R[~first_R.isnan()]
        if isinstance(self.outputs, Classes):
            return other_data.facts(values, self._parts[split].labels, self.outputs.names)
        return other_data.facts(values)

    def _encoded(self, table: Table) -> tuple[Tensor, ...]:
        x_BN, codes_BC = self.columns.encode(table)
        categories = [column for column in self.columns.used if column.levels]
        for column, code in zip(categories, codes_BC[0].tolist(), strict=True):
            if code == 0:
                self._unknown[column.name] += 1
        return x_BN, codes_BC

    def _decided(self) -> str:
        """What each column is taken for, in a sentence."""
        columns = self.columns.columns
        kinds = []
        for role, plural in (("number", "numbers"), ("category", "categories"), ("date", "dates")):
            names = [column.name for column in self.columns.used if column.role == role]
            if names:
                kinds.append(f"{len(names)} {role if len(names) == 1 else plural} ({_some(names)})")
        alike = [column.name for column in columns if column.role != "ignore" and column not in self.columns.used]
        ignored = [column.name for column in columns if column.role == "ignore"]
        kinds += [f"ignored {_some(ignored)}, which name the rows"] if ignored else []
        kinds += [f"left out {_some(alike)}, alike in all rows or with no level often enough"] if alike else []
        return f"taken for {'; '.join(kinds)}: task.data.roles changes it."


def _mask(parts_R: np.ndarray, rows: Mapping[str, Tensor]) -> np.ndarray:
    """Which rows of the table are those of each part."""
    seen_R = np.zeros(len(parts_R), bool)
    for name, of_part in rows.items():
        seen_R[np.flatnonzero(parts_R == NAMES[name])[of_part.numpy()]] = True
    return seen_R


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _in_order(name: str) -> tuple[float, str]:
    """Classes that are numbers by their size, before others."""
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
