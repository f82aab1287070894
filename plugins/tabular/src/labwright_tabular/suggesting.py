"""A recipe for a table of numbers and categories."""

from __future__ import annotations

from pathlib import Path

from labwright_tasks.suggesting.columns import Column, glimpse
from labwright_tasks.suggesting.sizes import CHOSEN, GOAL, sized
from labwright_tasks.suggesting.suggestion import Suggestion

_TARGETS = (
    *("label", "class", "category", "target", "outcome", "result", "click", "clicked", "price", "value", "score"),
    *("quality", "y"),
)
_CLASSES = 20  # different whole numbers, up to which they are taken for classes
_ROWS, _COLUMNS = 30, 3  # fewer are no table to learn from
_RARE = 10  # rows of a class
_MANY = 5_000  # rows
_COARSE, _FINE = {"bins": 32, "dim": 8, "width": 128}, {"bins": 96, "dim": 16, "width": 256}


def columns(path: Path) -> Suggestion | None:
    """A table with a column to tell from the others: one that is called like a target, else the last.

    Args:
        path: the table.
    """
    seen = glimpse(path)
    if seen is None or seen.rows < _ROWS or len(seen.columns) < _COLUMNS or seen.nested:
        return None
    named = seen.called(*_TARGETS)
    target = named or seen.columns[-1]
    if target.distinct < 2:
        return None
    classes = _is_of_classes(target)
    if classes and target.distinct > len(target.cells) / 3:
        return None  # names, not classes
    sizes = sized(seen.rows)
    detail = _FINE if seen.rows >= _MANY else _COARSE
    data = {"name": "tabular/table" if classes else "tabular/number-table", "path": str(seen.path)}
    data |= {"target": target.name, **seen.written}
    few = [cell for cell in sorted(set(target.cells)) if target.cells.count(cell) < _RARE] if classes else []
    same = [column.name for column in seen.columns if column.cells and column.distinct == 1]
    oddities = [*seen.notes]
    oddities += [f"Columns that say the same in each row: {', '.join(same)}."] if same else []
    oddities += [f"Classes of fewer than {_RARE} rows: {', '.join(few[:6])}."] if few else []
    kind = f"{target.distinct} classes" if classes else "a number"
    return Suggestion(
        f"{seen.rows:,} rows of {len(seen.columns)} columns, to tell {target.name!r} from the others: {kind}",
        {
            "task": {"name": "classification", "data": data, "goal": GOAL}
            if classes
            else {"name": "regression", "data": data},
            "model": {"name": "tabular/mlp", "numbers": "piecewise", **detail, "depth": 2}
            | {"dropout": min(0.2, sizes.dropout)},
            "loss": "cross-entropy" if classes else {"name": "tabular/standardized", "loss": "mse"},
            "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 1e-2, "schedule": "one-cycle"},
            "device": "cpu",
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"{target.name!r} is {'called like what is to be told' if named else 'the last column'}: if another is "
                "meant, change target.",
                f"It has {target.distinct} different values"
                + (", so that they are taken for classes." if classes else ", all of them numbers."),
                "What each column is taken for is said when the run begins; task.data.roles says otherwise.",
                *((CHOSEN,) if classes else ()),
            ),
            "model": (
                f"{detail['bins']} pieces of each number: 32 below {_MANY:,} rows, 96 and more width from there on.",
            ),
            "device": ("Small models are trained faster without a GPU.",),
            "train": sizes.reasons,
        },
        tuple(oddities),
        fit=0.5 if named else 0.4,
    )


def _is_of_classes(target: Column) -> bool:
    """Whether a column's values are names, or few whole numbers."""
    whole = target.numeric and all(float(cell).is_integer() for cell in target.cells)
    return not target.numeric or (whole and target.distinct <= _CLASSES)
