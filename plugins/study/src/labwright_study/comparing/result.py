"""What comes of a comparison: how each candidate stands, and the verdict on each pair of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labwright.engine import Shown

from labwright_study.paired_tests import Direction, Interval, Pair, finite, spread


@dataclass(frozen=True)
class Standing:
    """One candidate: its value for each seed, None where the run failed, with the reasons by seed."""

    name: str
    folder: Path
    values: list[float | None]
    mean: float | None
    interval: Interval | None
    range: Interval | None
    seconds: float
    failures: dict[int, str]

    def spread(self, confidence: float, form: str) -> str:
        """The interval of the mean in words, or the range of too few seeds for one."""
        return spread(self.interval, self.range, len(finite(self.values)), confidence, form)


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """What came of a comparison. `settings` are those in which the candidates differ, by dotted path and candidate.

    Example: `print(lw.compare(["a.toml", "b.toml"], seeds=8))`
    """

    folder: Path
    metric: str
    direction: Direction
    split: str
    level: float
    seeds: int
    candidates: list[Standing]
    pairs: list[Pair]
    settings: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Everything, ready for JSON: folders are texts."""
        plain: dict[str, Any] = {"state": "done"} | asdict(self)
        for part in (plain, *plain["candidates"]):
            part["folder"] = str(part["folder"])
        return plain

    def __repr__(self) -> str:
        means = ", ".join(
            f"{one.name} {'failed' if one.mean is None else f'{one.mean:.4g}'}" for one in self.candidates
        )
        return f"Comparison({str(self.folder)!r}, {self.split} {self.metric} of {self.seeds} seeds: {means})"

    def sketch(self) -> tuple[str, Sequence[str], list[tuple[object, ...]], list[str]]:
        """What a notebook shows: a title, heads of columns, rows and lines below."""
        rows: list[tuple[object, ...]] = []
        for one in self.candidates:
            mean = "no value" if one.mean is None else one.mean
            rows.append((one.name, mean, one.spread(1 - self.level, ".5g"), f"{one.seconds:.1f} s"))
        columns = ("candidate", f"mean {self.metric} on {self.split}", "", "a run")
        lines = [*self.sentences(), *(f"note: {note}" for note in self.notes)]
        return repr(self), columns, rows, [*lines, f"report: {self.folder / 'report.html'}"]

    def sentences(self) -> list[str]:
        """The verdicts in words; where there are several pairs, what they come to is the first."""
        verdicts = [pair.sentence() for pair in self.pairs]
        best = self.best
        if len(self.pairs) < 2 or best is None:
            return verdicts
        with_best = [pair for pair in self.pairs if best in (pair.first, pair.second)]
        beaten = [str(pair.worse) for pair in with_best if pair.better == best]
        others = [pair.second if pair.first == best else pair.first for pair in with_best if pair.better is None]
        line = f"{best} has the best mean"
        line += f", and is better than {' and '.join(beaten)}" if beaten else ""
        line += f"; it isn't shown to be better than {' or '.join(others)}" if others else ""
        return [f"{line}.", *verdicts]

    @property
    def best(self) -> str | None:
        """The candidate with the best mean, which need not be shown to be better; None if two share it."""
        means = {standing.name: standing.mean for standing in self.candidates if standing.mean is not None}
        if not means:
            return None
        best = (min if self.direction == "minimize" else max)(means.values())
        named = [name for name, mean in means.items() if math.isclose(mean, best, rel_tol=1e-12)]
        return named[0] if len(named) == 1 else None

    @property
    def winner(self) -> str | None:
        """The candidate that is shown to be better than each of the others, if one is."""
        for standing in self.candidates:
            its_pairs = [pair for pair in self.pairs if standing.name in (pair.first, pair.second)]
            if all(pair.better == standing.name for pair in its_pairs):
                return standing.name
        return None
