"""report.html of a comparison: verdicts, every run and every difference as a picture, the settings that differ."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from labwright.engine import charts, page

from labwright_study.comparing.result import Comparison
from labwright_study.paired_tests import Pair, finite, seeds_needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.46  # inches of a picture for each candidate or pair
LONGEST = 30  # characters of a name beside a picture
VERDICTS = {
    "cannot tell": "can't tell",
    "too few seeds": "too few seeds",
    "same values": "the same values",
    "seeds change nothing": "seeds change nothing",
}


def write_report(result: Comparison) -> None:
    """Write report.html; a comparison isn't lost for its report."""
    page.write(result.folder, result.folder.name, _body(result))


def _body(result: Comparison) -> Iterator[str]:
    way = "higher" if result.direction == "maximize" else "lower"
    about = f"{result.metric} on {result.split}, {way} is better · paired over seeds 0 to {result.seeds - 1}"
    runs = sum(len(finite(standing.values)) for standing in result.candidates)
    facts = {
        "candidates": str(len(result.candidates)),
        "seeds": str(result.seeds),
        "runs": f"{runs} of {result.seeds * len(result.candidates)}",
        "false alarms": f"at most {result.level:.3g}",
    }
    status = "finished" if runs else "failed"
    yield page.heading(result.folder.name, about, status, "", facts)
    yield page.section("Verdict", *(page.paragraph(text) for text in result.sentences()), *_notes(result))
    yield page.section("Means over seeds", page.together(_cards(result), "cards"))
    if runs:
        drawn = [_runs_chart(result)]
        if any(pair.seeds for pair in result.pairs):
            drawn.append(_pairs_chart(result))
        yield page.section("Runs and differences", page.together(drawn, "charts"), _values(result))
    yield page.section("Pairs", _table(result.pairs))
    if result.settings:
        yield page.section("Settings that differ", _settings(result))
    yield page.section("How to read it", *(page.paragraph(text) for text in _explained(result)))
    yield page.section("Do it again", page.commands(_again(result)))


def _notes(result: Comparison) -> Iterator[str]:
    for note in result.notes:
        yield page.warning("Note", note)
    for standing in result.candidates:
        if standing.failures:
            reasons = list(standing.failures.items())
            yield page.table(f"Runs of {standing.name} that failed", ("seed", "reason"), reasons)


def _cards(result: Comparison) -> Iterator[str]:
    for standing in result.candidates:
        number = "none" if standing.mean is None else f"{standing.mean:.4g}"
        notes = []
        if standing.interval is not None:
            notes.append(standing.spread(1 - result.level, ".4g"))
        values = finite(standing.values)
        if values:
            notes.append(f"from {min(values):.4g} to {max(values):.4g} over {len(values)} seeds")
        notes.append(f"{standing.seconds:.3g} s a run")
        yield page.headline(standing.name, number, notes, goal=standing.name == result.winner)


def _runs_chart(result: Comparison) -> str:
    """Every run as a point, a row for each candidate, with the mean and its interval."""
    axes, draw = _rows(len(result.candidates))
    colour = charts.SERIES[0]
    for row, standing in enumerate(result.candidates):
        values = finite(standing.values)
        axes.plot(values, _spread(row, len(values)), "o", color=colour, alpha=0.45, ms=4.5)
        if standing.mean is not None:
            _mean(axes, row, standing.mean, standing.interval, colour)
    _label(axes, [standing.name for standing in result.candidates], result.metric)
    mean = _told(any(standing.interval for standing in result.candidates))
    return draw("Every run", f"{result.metric} on {result.split}; {mean}")


def _pairs_chart(result: Comparison) -> str:
    """The differences of each pair as points, with their mean and its interval; apart from zero if it is told apart."""
    axes, draw = _rows(len(result.pairs))
    values = {standing.name: standing.values for standing in result.candidates}
    for row, pair in enumerate(result.pairs):
        colour = charts.SERIES[0] if pair.better else charts.INK
        both = zip(values[pair.first], values[pair.second], strict=True)
        differences = [one - other for one, other in both if one is not None and other is not None]
        axes.plot(differences, _spread(row, len(differences)), "o", color=colour, alpha=0.45, ms=4.5)
        if pair.mean is not None:
            _mean(axes, row, pair.mean, pair.interval, colour)
    axes.axvline(0, color=charts.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=0.5)
    names = [f"{_short(pair.first)} −\n{_short(pair.second)}" for pair in result.pairs]  # noqa: RUF001 - a minus
    _label(axes, names, f"difference in {result.metric}")
    return draw("Every difference", f"paired by seed; {_told(any(pair.interval for pair in result.pairs))}")


def _rows(count: int) -> tuple[Axes, Callable[[str, str], str]]:
    figure, axes = charts.figure(5.2, 0.8 + ROW * max(count, 2), grid="x")
    axes.set_ylim(count - 0.5, -0.5)

    def draw(title: str, note: str) -> str:
        return page.chart(title, note, charts.svg(figure, title, own_colours=False), ())

    return axes, draw


def _mean(axes: Axes, row: int, mean: float, interval: tuple[float, float] | None, colour: str) -> None:
    if interval is not None:
        axes.plot(interval, (row, row), color=colour, linewidth=2.4, solid_capstyle="round")
    axes.plot([mean], [row], "o", color=colour, markersize=9, markeredgecolor=charts.CARD, markeredgewidth=2)


def _told(intervals: bool) -> str:
    return "mean with interval" if intervals else "mean"


def _spread(row: int, count: int) -> list[float]:
    """Heights of a row's points, a little apart so that equal ones are seen."""
    return [row + 0.24 * ((index * 0.618) % 1 - 0.5) * 2 for index in range(count)]


def _label(axes: Axes, names: Sequence[str], along: str) -> None:
    axes.set_yticks(range(len(names)), [name if "\n" in name else _short(name) for name in names])
    charts.ticks(axes.xaxis, *axes.get_xlim(), log=False)
    axes.set_xlabel(along, color=charts.INK, fontsize=9)
    axes.margins(x=0.06)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"


def _table(pairs: Sequence[Pair]) -> str:
    columns = ("first minus second", "verdict", "difference", "interval", "ahead", "p", "effect g_z", "seeds")
    rows = [
        (
            f"{_short(pair.first)} − {_short(pair.second)}",  # noqa: RUF001 - a minus
            f"better: {_short(pair.better)}" if pair.better else VERDICTS[pair.verdict],
            "-" if pair.mean is None else f"{pair.mean:.4g}",
            "-" if pair.interval is None else f"{pair.interval[0]:.4g} to {pair.interval[1]:.4g}",
            f"{pair.first_ahead} : {pair.second_ahead}",
            "-" if pair.p_holm is None else f"{pair.p_holm:.2g}",
            "-" if pair.effect is None else f"{pair.effect:.2f}",
            pair.seeds,
        )
        for pair in pairs
    ]
    return page.table("", columns, rows)


def _values(result: Comparison) -> str:
    rows = []
    for seed in range(result.seeds):
        values = [standing.values[seed] for standing in result.candidates]
        rows.append((str(seed), *("failed" if value is None else f"{value:.5g}" for value in values)))
    names = [standing.name for standing in result.candidates]
    return page.folded(f"{result.metric} of all {len(rows)} seeds", page.table("", ("seed", *names), rows))


def _settings(result: Comparison) -> str:
    names = [standing.name for standing in result.candidates]
    rows = [
        (path, *("not set" if values[name] is None else _shown(values[name]) for name in names))
        for path, values in result.settings.items()
    ]
    return page.table("", ("setting", *names), rows)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explained(result: Comparison) -> Iterator[str]:
    pairs = len(result.pairs)
    drawn = any(not pair.exact for pair in result.pairs)
    yield (
        "Each candidate was trained with the same seeds, and what one seed gave the one is compared with what it gave "
        "the other. The interval is the expanded percentile bootstrap of the mean difference, for each pair by itself."
    )
    yield (
        f"p is that of a two-sided sign-flip permutation test, {'of 100,000 drawn signs' if drawn else 'exact'}"
        f"{f', corrected for {pairs} pairs by Holm' if pairs > 1 else ''}. If no candidate were better than another, "
        f"a verdict would still be given in at most {result.level:.3g} of such comparisons. Under "
        f"{result.pairs[0].needed} seeds no p could be that small, and there is no verdict; under "
        f"{seeds_needed(1, result.level)} an interval would be too narrow, and there is none."
    )
    yield (
        "Seeds stand for the chance in training: first weights, order, dropout. The data stays the same, so a verdict "
        "is about this data."
    )


def _again(result: Comparison) -> list[tuple[str, str]]:
    folder = shlex.quote(str(result.folder))
    go_on = f"labwright compare --folder {folder} --seeds"
    return [
        ("what failed, once more", f"{go_on} {result.seeds}"),
        ("the same with more seeds; what is there stays", f"{go_on} {2 * result.seeds}"),
    ][0 if any(standing.failures for standing in result.candidates) else 1 :]
