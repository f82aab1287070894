"""Columns of a table: what each of them is, what is learned of it, and how its cells become numbers and codes.

R rows, N numbers, C categories. Everything that is learned comes from the training part alone; only what kind of thing
a column holds is seen from all rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import torch
from labwright import LabwrightError
from labwright_tasks.tables import Table
from torch import Tensor

from labwright_tabular.ports import Fields

Role = Literal["number", "category", "date", "ignore"]
Scale = Literal["standard", "quantile"]
MOST_VALUES = 257  # kept of each number: models take from 1 to 256 bins between them
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")  # a code such as a postal one, and no number
_IDENTIFIERS = 50  # levels from which on a column that hardly repeats itself holds names of rows
_NEARLY = 0.95  # of a column's cells are numbers, so that the others are slips
_SAMPLE = 200  # cells that are looked at before all of them are
_EXACT = 2**53  # from here on floating-point numbers don't tell whole ones apart: they are names
_LEAST_RANK = 1e-4  # a normal distribution has it 3.7 deviations from its mean
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400.0
_SHOWN = 8  # columns of a row in a report
_DATE_PARTS = ("day", "month", "weekday", "hour")


@dataclass(frozen=True)
class Column:
    """A column of the table, its role, and what the training part says of it.

    A number has one part, called ""; a date has those of `_DATE_PARTS` that differ from row to row. Of each part,
    `values` are the ones there are, ascending, or some that have as many between them; `ranks` the share of rows that
    lie below each, and half of those that have it. `flagged`: some cells are missing, which is a number of its own.
    Without any names or levels a column says nothing.
    """

    name: str
    role: Role
    parts: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()
    ranks: tuple[tuple[float, ...], ...] = ()
    flagged: bool = False
    levels: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the model's numbers of this column are called."""
        parts = [f"{self.name} {part}".rstrip() for part in self.parts]
        return [*parts, f"{self.name} missing"] if self.flagged else parts


@dataclass(frozen=True)
class Columns:
    """All columns of a table but the target, in their order; `missing` are the cells that say nothing."""

    columns: tuple[Column, ...]
    scale: Scale
    missing: tuple[str, ...]

    @property
    def used(self) -> list[Column]:
        return [column for column in self.columns if column.names or column.levels]

    def port(self) -> Fields:
        numbers = [column for column in self.columns if column.names]
        categories = [column for column in self.columns if column.levels]
        scaled: list[tuple[float, ...]] = []
        for column in numbers:
            for part in range(len(column.parts)):
                values = self._scaled(column, part, np.array(column.values[part]))
                scaled.append(tuple(np.asarray(values, np.float32).tolist()))
            scaled += [(0.0, 1.0)] * column.flagged
        return Fields(
            tuple(name for column in numbers for name in column.names),
            tuple(column.name for column in categories),
            tuple(len(column.levels) + 1 for column in categories),
            tuple(scaled),
        )

    def encode(self, table: Table) -> tuple[Tensor, Tensor]:
        """Rows as (x_RN, codes_RC). Raises LabwrightError naming the row of a cell that is no number or date."""
        rows, numbers, codes = len(table), [], []
        for column in self.used:
            if column.role == "category":
                known = {level: code for code, level in enumerate(column.levels, 1)}
                codes.append(np.array([known.get(level, 0) for level in self.levels(table, column.name)], np.int64))
                continue
            values_PR = self.values(table, column.name, column.role)
            for number, part in enumerate(column.parts):
                place = _DATE_PARTS.index(part) if part else 0
                scaled_R = self._scaled(column, number, values_PR[place])
                numbers.append(np.nan_to_num(scaled_R, nan=0.0))
            if column.flagged:
                numbers.append(np.isnan(values_PR[0]).astype(np.float64))
        x_RN = np.stack(numbers, axis=1) if numbers else np.empty((rows, 0))
        codes_RC = np.stack(codes, axis=1) if codes else np.empty((rows, 0), np.int64)
        return torch.from_numpy(x_RN).float(), torch.from_numpy(codes_RC)

    def words(self, x_RN: Tensor, codes_RC: Tensor) -> list[str]:
        """Encoded rows as they may have been: "age 39, job cook", for a report; the first few columns."""
        numbers, codes = iter(x_RN.double().cpu().numpy().T), iter(codes_RC.T.tolist())
        columns = []
        for column in self.used:
            if column.role == "category":
                levels = ("a rare one", *(level or "?" for level in column.levels))
                columns.append([f"{column.name} {levels[code]}" for code in next(codes)])
                continue
            parts = [self._unscaled(column, part, next(numbers)) for part in range(len(column.parts))]
            missing_R = next(numbers) > 0 if column.flagged else np.zeros(len(x_RN), bool)
            shown = [f"{value:.5g}" for value in parts[0]] if parts else ["is there"] * len(x_RN)
            if column.parts[:1] == ("day",):
                shown = [str((_EPOCH + timedelta(hours=round(24 * day))).date()) for day in parts[0]]
            columns.append(
                [f"{column.name} {'?' if missing else value}" for value, missing in zip(shown, missing_R, strict=True)]
            )
        return [", ".join(row) for row in zip(*columns[:_SHOWN], strict=True)]

    def levels(self, table: Table, name: str) -> list[str]:
        """A column's cells as levels: spelled in one way, "" where nothing is said."""
        return ["" if level in self.missing else level for level in table.names(name)]

    def values(self, table: Table, name: str, role: Role, otherwise: str = "") -> np.ndarray:
        """A column's cells as numbers, a row for each part of a date, (P, R) float64; nan where nothing is said.

        Raises LabwrightError naming the row of one that is none, and what to do `otherwise`.
        """
        cells = [cell.strip() for cell in table[name]]
        given = [row for row, cell in enumerate(cells) if cell and cell not in self.missing]
        values_PR = np.full((len(_DATE_PARTS) if role == "date" else 1, len(cells)), np.nan)
        read = _numbers if role == "number" else _dates
        some = read([cells[row] for row in given])
        if some is None:
            # the first that is none, or none of the kind that the first one is
            wrong = next(row for row in given if read([cells[given[0]], cells[row]]) is None)
            kind = "a date such as 2024-05-31, or seconds since 1970" if role == "date" else "a finite number"
            raise LabwrightError(
                f"{table.where(wrong)}: {name!r} is {cells[wrong]!r}, where {kind} is meant. If it says that nothing "
                f"is known, add it to task.data.missing; {otherwise or f'task.data.roles says what {name!r} holds'}."
            )
        values_PR[:, given] = some
        return values_PR

    def _scaled(self, column: Column, part: int, values_R: np.ndarray) -> np.ndarray:
        """Numbers in standard units; by quantiles as a normal distribution would have them."""
        if self.scale == "standard":
            return (values_R - column.means[part]) / column.deviations[part]
        rank_R = np.interp(values_R, column.values[part], column.ranks[part])
        return np.asarray(torch.special.ndtri(torch.from_numpy(rank_R.clip(_LEAST_RANK, 1 - _LEAST_RANK))))

    def _unscaled(self, column: Column, part: int, x_R: np.ndarray) -> np.ndarray:
        """What `_scaled` has made such numbers of; by quantiles about."""
        if self.scale == "standard":
            return np.asarray(x_R * column.deviations[part] + column.means[part])
        rank_R = torch.special.ndtr(torch.from_numpy(x_R)).numpy()
        return np.asarray(np.interp(rank_R, column.ranks[part], column.values[part]))

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Columns:
        columns = (Column(**{key: _tuples(value) for key, value in column.items()}) for column in kept["columns"])
        return cls(tuple(columns), kept["scale"], tuple(kept["missing"]))


def roles_of(table: Table, names: Iterable[str], given: Mapping[str, Role], missing: Sequence[str]) -> dict[str, Role]:
    """What each column holds, as `given` says or else as its cells look.

    Numbers throughout are numbers, unless one begins with a 0 as codes do; dates throughout are dates; anything else is
    a category. Where nearly all of many different cells are numbers, the others are slips, which `values` refuses.
    Ignored: what names rows, that is texts or very large numbers that hardly ever come twice, or whole
    numbers that count.
    """
    return {name: given[name] if name in given else _role(table.names(name), missing) for name in names}


def learned(
    table: Table,
    roles: Mapping[str, Role],
    train_R: np.ndarray,
    *,
    scale: Scale,
    min_count: int,
    missing: Sequence[str],
) -> Columns:
    """What the rows of a mask say of all columns.

    A level that fewer than `min_count` of them have gets no code of its own.
    """
    blank = Columns((), scale, tuple(missing))
    train = np.flatnonzero(train_R)
    columns = []
    for name, role in roles.items():
        column = Column(name, role)
        if role == "category":
            levels = blank.levels(table, name)
            counts = Counter(levels[row] for row in train)
            if len(counts) > 1:
                kept = sorted(level for level, count in counts.items() if count >= min_count)
                column = replace(column, levels=tuple(kept))
        elif role != "ignore":
            column = _measured(column, blank.values(table, name, role)[:, train])
        columns.append(column)
    return replace(blank, columns=tuple(columns))


def _measured(column: Column, values_PR: np.ndarray) -> Column:
    """A column of numbers or dates with the statistics of its parts."""
    names = _DATE_PARTS if column.role == "date" else ("",)
    known_R = ~np.isnan(values_PR[0])
    parts, means, deviations, kept, ranks = [], [], [], [], []
    for name, values in zip(names, values_PR[:, known_R], strict=True):
        if not len(values) or values.min() == values.max():
            continue
        parts.append(name)
        means.append(float(values.mean()))
        deviations.append(float(values.std()))
        some = _spread(values)
        in_order = np.sort(values)
        below, up_to = (np.searchsorted(in_order, some, side) / len(values) for side in ("left", "right"))
        kept.append(tuple(some.tolist()))
        ranks.append(tuple(((below + up_to) / 2).tolist()))
    flagged = bool(known_R.any()) and not known_R.all()
    return replace(
        column,
        parts=tuple(parts),
        means=tuple(means),
        deviations=tuple(deviations),
        values=tuple(kept),
        ranks=tuple(ranks),
        flagged=flagged,
    )


def _spread(values_R: np.ndarray) -> np.ndarray:
    """The different values, ascending; of too many those that come often, and the rest's quantiles."""
    different, counts = np.unique(values_R, return_counts=True)
    if len(different) <= MOST_VALUES:
        return different
    often = counts * MOST_VALUES > len(values_R)
    rest = np.repeat(different[~often], counts[~often])
    shares = np.linspace(0, 1, MOST_VALUES - int(often.sum()))
    return np.unique(
        np.concatenate([different[often], different[[0, -1]], np.quantile(rest, shares, method="nearest")])
    )


def _role(cells: Sequence[str], missing: Sequence[str]) -> Role:
    given = [cell for cell in cells if cell and cell not in missing]
    numbers = None if any(map(_LEADING_ZERO.match, given)) else _numbers(given)
    if numbers is not None and not bool((np.abs(numbers) >= _EXACT).any()):
        steps = np.diff(numbers)
        return "ignore" if len(given) > _IDENTIFIERS and bool((steps == 1).all()) else "number"
    if all("-" in cell for cell in given) and _dates(given) is not None:
        return "date"
    different = len(set(given))
    if different > _IDENTIFIERS and _nearly_numbers(given):
        return "number"  # which the few that are none are refused as: else all of them would be lost
    return "ignore" if different > max(_IDENTIFIERS, 0.9 * len(given)) else "category"


def _nearly_numbers(cells: Sequence[str]) -> bool:
    """Whether all but a few cells are numbers, and none of these a code."""
    some = cells[:: max(1, len(cells) // _SAMPLE)]  # most columns of texts have hardly a number
    if sum(_numbers([cell]) is not None for cell in some) < len(some) / 2:
        return False
    numbers = [cell for cell in cells if _numbers([cell]) is not None]
    coded = any(_LEADING_ZERO.match(cell) or abs(float(cell)) >= _EXACT for cell in numbers)
    return _NEARLY * len(cells) <= len(numbers) < len(cells) and not coded


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Cells as finite numbers (R,) float64; None if one isn't."""
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        return None
    return values if bool(np.isfinite(values).all()) else None


def _dates(cells: Sequence[str]) -> np.ndarray | None:
    """The parts of moments, (4, R) float64, UTC unless they say: dates of ISO 8601, or all seconds since 1970."""
    try:
        seconds = [float(cell) for cell in cells]
    except ValueError:
        try:
            moments = [datetime.fromisoformat(cell) for cell in cells]
        except ValueError:
            return None
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments)
        seconds = [(moment - _EPOCH).total_seconds() for moment in aware]
    try:
        utc = [datetime.fromtimestamp(second, UTC) for second in seconds]
    except (ValueError, OverflowError, OSError):
        return None
    parts = [
        (second / _DAY, at.month, at.weekday(), at.hour + at.minute / 60)
        for second, at in zip(seconds, utc, strict=True)
    ]
    return np.array(parts, dtype=np.float64).reshape(-1, len(_DATE_PARTS)).T


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
