"""What a study has come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from labwright.engine import Shown

from labwright_study.confirm import Confirmation
from labwright_study.trial import State


@dataclass(frozen=True, repr=False)
class Findings(Shown):
    """How many trials ended how, and the best: one alone, or those of the Pareto front, by number.

    `notes` say in words what is searched otherwise than the marks and the search table have it. `confirmed` is what
    fresh seeds say of the best, where they were asked. `shown` are the best few, and the trial that is the recipe
    itself, whose `recipe` is true.
    """

    name: str
    folder: Path
    trials: int
    complete: int
    pruned: int
    diverged: int
    failed: int
    best: list[dict[str, Any]]
    interrupted: bool = False
    notes: Sequence[str] = ()
    confirmed: Confirmation | None = None
    shown: Sequence[dict[str, Any]] = ()

    def counts(self) -> str:
        """How many ended how: those complete, pruned and failed, and those that diverged if any did."""
        counts = {state: getattr(self, state) for state in get_args(State)}
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count or state != "diverged")

    def json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        plain = {key: value for key, value in vars(self).items() if key != "confirmed"} | {"folder": str(self.folder)}
        return plain if self.confirmed is None else plain | {"confirmed": self.confirmed.json()}

    def __repr__(self) -> str:
        best = ", ".join(
            f"{metric} {value:.4g}" for trial in self.best[:1] for metric, value in trial["values"].items()
        )
        found = f"; {'best' if len(self.best) == 1 else f'{len(self.best)} best, one'}: {best}" if best else ""
        return f"Findings({str(self.folder)!r}, {self.trials} trials: {self.counts()}{found})"

    def sketch(self) -> tuple[str, Sequence[str], list[tuple[object, ...]], list[str]]:
        """What a notebook shows: a title, heads of columns, rows and lines below."""
        paths = list(dict.fromkeys(path for trial in self.best for path in trial["settings"]))
        goals = list(dict.fromkeys(metric for trial in self.best for metric in trial["values"]))
        rows: list[tuple[object, ...]] = []
        for name, of in [*((goal, "values") for goal in goals), *((path, "settings") for path in paths)]:
            rows.append((name, *(trial[of].get(name, "") for trial in self.best)))
        lines = [] if self.confirmed is None else [line.strip() for line in self.confirmed.lines()]
        report = self.folder / "report.html"
        lines += [f"note: {note}" for note in self.notes] + [f"report: {report}"] * report.is_file()
        return repr(self), ("", *(f"trial {trial['number']}" for trial in self.best)), rows, lines
