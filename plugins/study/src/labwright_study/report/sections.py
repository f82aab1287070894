"""The sections of a study's report: how the search went, what mattered, what is best and how to go on, in one file."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

from labwright.engine import duration, page

from labwright_study.description import Description
from labwright_study.dimension import Dimension
from labwright_study.findings import Findings
from labwright_study.importance import LEAST, Importance, best_of, importances
from labwright_study.paired_tests import spread
from labwright_study.report import figures
from labwright_study.report.rows import Row, at_end, names, number, rows_of, setting
from labwright_study.trial_store import TrialStore

MOST_BEST = 10  # trials in the table of the best
MOST_FRONT = 30
MOST_AXES = 12  # settings side by side
MOST_PANELS = 24
CONFIRMED = "confirmed.json"


def write_report(study: Description, store: TrialStore, findings: Findings) -> None:
    """Write report.html into the study's folder. What can't be drawn is named in its place and in a warning."""
    title = f"{study.name}: {findings.trials} trials"
    page.write(study.folder, title, _body(study, store, findings))


def _body(study: Description, store: TrialStore, findings: Findings) -> Iterator[str]:
    """Made while the page is written, so that whatever goes wrong there costs the report alone."""
    yield from _Report(study, store, findings).body()


class _Report:
    """The sections of one report."""

    def __init__(self, study: Description, store: TrialStore, findings: Findings) -> None:
        self.study, self.store, self.findings = study, store, findings
        self.goals = study.goals
        self.rows = rows_of(store.ended(), {best["number"] for best in findings.best})
        self.complete = [row for row in self.rows if row.state == "complete"]
        self.baseline = next((row for row in self.complete if row.baseline), None)
        searched = {name for row in self.rows for name in row.params}
        self.dimensions = [dimension for dimension in study.space.dimensions if dimension.name in searched]
        self.names = names(self.dimensions)
        self.short = names(self.dimensions, short=True)

    def body(self) -> Iterator[str]:
        study, findings = self.study, self.findings
        finished = findings.trials >= study.trials
        status = "finished" if finished else "interrupted" if findings.interrupted else "stopped"
        reason = "" if finished else f"{findings.trials} of {study.trials} trials are there; the same command goes on."
        yield page.heading(study.name, self._about(), status, reason, self._facts())
        if not self.rows:
            yield page.warning("No trials", "The study ended before its first trial did.")
        else:
            yield self._section("Results", self._results)
            if len(self.rows) > figures.MOST_LINES:
                yield page.paragraph(self._drawn())
            yield self._section("The front", self._front)
            yield self._section("How it went", self._course)
            yield self._section("Again over fresh seeds", self._confirmed)
            yield self._section("The best trials" if len(self.goals) == 1 else "The trials of the front", self._best)
            yield self._section("What mattered", self._importances)
            for index, goal in enumerate(self.goals):
                yield self._section(f"Settings and {goal.metric}", partial(self._slices, index))
            yield self._section("Settings together", self._parallel)
            yield self._section("What failed", self._failures)
        yield self._section("Where it looked", self._space)
        yield self._section("Go on", self._next)

    def _section(self, title: str, make: Callable[[], Iterator[str]]) -> str:
        """A section, if there is anything in it; what can't be made is replaced by the reason."""
        try:
            content = list(make())
        except Exception as error:  # noqa: BLE001 - the rest of the report is good
            page.warn(f"{self.study.folder}: the report has no section {title!r}", error)
            content = [page.warning("This part is missing", f"{type(error).__name__}: {error}")]
        return page.section(title, *content) if content else ""

    # -------------------------------------------------------------------------------------------------------- results

    def _about(self) -> str:
        study = self.study
        how = "asynchronous" if study.asynchronous else f"batches of {study.batch}"
        return (
            f"{study.experiment} · {study.goals_in_words()} over {len(study.space.dimensions)} settings · "
            f"{study.sampler}, {study.pruner}, seed {study.seed}, {how}"
        )

    def _facts(self) -> dict[str, str]:
        counts = Counter(row.state for row in self.rows)
        shown = {state: f"{counts[state]:,}" for state in ("complete", "pruned", "diverged", "failed") if counts[state]}
        return {
            "trials": f"{len(self.rows):,} of {self.study.trials:,}",
            **shown,
            "training": duration(sum(row.seconds for row in self.rows)),
            "steps": f"{sum(row.steps for row in self.rows):,}",
        }

    def _results(self) -> Iterator[str]:
        if not self.complete:
            yield page.warning("No complete trial", "There is nothing to choose from: no trial trained to its end.")
            return
        cards = [self._headline(index) for index in range(len(self.goals))]
        if len(self.goals) > 1:
            count = len(self.findings.best)
            notes = ["that no other trial beats in every goal"]
            cards.append(page.headline("front", f"{count} trial{'s' * (count > 1)}", notes, goal=False))
        pruned = [row for row in self.rows if row.state == "pruned" and row.reports]
        if pruned:
            cards.append(self._saved(pruned))
        yield page.together(cards, "cards")
        if len(self.goals) == 1 and len(self.complete) > 1 and not (self.study.folder / CONFIRMED).is_file():
            yield page.paragraph(
                f"Part of a lead is luck: the best of {len(self.complete)} trials was chosen by this very number. "
                "The same command with --confirm 3 says how much."
            )

    def _drawn(self) -> str:
        """How many trials the figures show: a report of thousands is still to be opened and sent."""
        return (
            f"Figures draw the best of the {len(self.rows):,} trials and every nth of the others: at most "
            f"{figures.MOST_POINTS} as points, {figures.MOST_IN_PANEL} for a setting, {figures.MOST_LINES} as lines. "
            "Numbers, the best so far and importances are of all of them; `labwright study export` prints all."
        )

    def _headline(self, index: int) -> str:
        goal = self.goals[index]
        best = (min if goal.direction == "minimize" else max)(self.complete, key=lambda row: row.values[index])
        notes = [f"trial {best.number}, {'higher' if goal.direction == 'maximize' else 'lower'} is better"]
        if self.baseline is not None:
            notes.append(f"the recipe itself: {number(self.baseline.values[index])}")
        return page.headline(f"best {goal.metric}", number(best.values[index]), notes, goal=index == 0)

    def _saved(self, pruned: Sequence[Row]) -> str:
        """What pruning has left out, counted in evaluations: trials may differ in the length of their steps."""
        trained = [row for row in self.rows if row.reports and row.state in ("complete", "pruned")]
        lengths = [len(row.reports) for row in trained]
        seconds = sum(row.seconds for row in pruned), sum(row.seconds for row in self.rows) or 1.0
        notes = [
            f"of the training left out by pruning {len(pruned)} trial{'s' * (len(pruned) != 1)}",
            f"{100 * seconds[0] / seconds[1]:.0f} % of the time went into what was pruned",
        ]
        return page.headline(
            "saved", f"{100 * (1 - sum(lengths) / (max(lengths) * len(lengths))):.0f} %", notes, goal=False
        )

    # --------------------------------------------------------------------------------------------------------- course

    def _front(self) -> Iterator[str]:
        if self.complete and len(self.goals) > 1:
            cards = [
                page.chart(
                    f"{self.goals[up].metric} and {self.goals[across].metric}",
                    "",
                    figures.front(self.rows, self.goals, across, up),
                    (),
                )
                for across, up in figures.pairs(self.goals)
            ]
            yield cards[0] if len(cards) == 1 else page.together(cards, "charts")

    def _best(self) -> Iterator[str]:
        if not self.complete:
            return
        note = ""
        if len(self.goals) > 1:
            shown = [row for row in self.complete if row.best][:MOST_FRONT]
            if len(self.findings.best) > MOST_FRONT:
                note = f"The first {MOST_FRONT} of {len(self.findings.best)}."
        else:
            downwards = self.goals[0].direction == "maximize"
            shown = sorted(self.complete, key=lambda row: row.values[0], reverse=downwards)[:MOST_BEST]
        if self.baseline is not None and self.baseline not in shown:
            shown.append(self.baseline)
        used = [dimension for dimension in self._ranked() if any(dimension.name in row.params for row in shown)]
        settings = (self.short[dimension.name] for dimension in used)
        columns = ("trial", *(goal.metric for goal in self.goals), "steps", "time", *settings)
        rows = [
            (
                f"{row.number}\u00a0(recipe)" if row.baseline else row.number,
                *(int(value) if value >= 1000 and value == int(value) else number(value) for value in row.values),
                row.steps,
                duration(row.seconds),
                *(setting(row.params[one.name]) if one.name in row.params else "" for one in used),
            )
            for row in shown
        ]
        yield page.table("", columns, rows, note)

    def _confirmed(self) -> Iterator[str]:
        """What `--confirm` has found, if it was asked for."""
        file = self.study.folder / CONFIRMED
        if len(self.goals) > 1 or not file.is_file():
            return
        again = json.loads(file.read_bytes())
        rows = [
            (
                trial["name"],
                number(trial["searched"]),
                "failed" if trial["mean"] is None else number(trial["mean"]),
                spread(trial["interval"], trial["range"], trial["seeds"], again["confidence"]),
                trial["seeds"],
                "" if trial["luck"] is None else number(trial["luck"]),
                number(again["test"][trial["name"]]) if trial["name"] in again["test"] else "",
            )
            for trial in again["trials"]
        ]
        columns = ("", "in the search", "over fresh seeds", "between", "seeds", "luck", "test")
        note = f"{self.goals[0].metric}; luck is how much better a trial looked in the search than it is on average."
        yield page.table("", columns, rows, note)

    def _course(self) -> Iterator[str]:
        cards = []
        for index, goal in enumerate(self.goals):
            if any(row.values for row in self.rows):
                drawn, note = figures.history(self.rows, self.goals, index)
                cards.append(page.chart(f"{goal.metric} of each trial", note, drawn, ()))
        yield from cards[:1]  # the first goal's has the whole width
        cards = cards[1:]
        for index, goal in enumerate(self.goals):
            if any(len({report[index] for report in row.reports}) > 1 for row in self.rows):
                drawn, note = figures.intermediate(self.rows, self.goals, index)
                cards.append(page.chart(f"{goal.metric} after each evaluation", note, drawn, ()))
        seconds = sorted(row.seconds for row in self.rows)
        median = f"median {duration(seconds[len(seconds) // 2])}"
        cards.append(page.chart("Time of each trial", median, figures.times(self.rows), ()))
        yield page.together(cards, "charts")

    # ------------------------------------------------------------------------------------------------------- settings

    @cached_property
    def importances(self) -> list[Importance]:
        return importances(self.store.study, self.study.seed)

    def _importances(self) -> Iterator[str]:
        if len(self.complete) < LEAST:
            there = f"there {'is' if len(self.complete) == 1 else 'are'} {len(self.complete)}"
            yield page.paragraph(f"It takes {LEAST} complete trials to say what mattered; {there}.")
            return
        if not self.importances:
            yield page.paragraph("All complete trials are equally good: no setting mattered.")
            return
        shown = self.importances[:MOST_PANELS]
        sure = sum(importance.certain for importance in shown)
        read = f"{sure} of {len(shown)} settings beyond chance" if sure else "nothing beyond chance"
        best = best_of(len(self.complete))
        towards = "nearest to the front" if len(self.goals) > 1 else f"best by {self.goals[0].metric}"
        note = (
            f"How differently each setting is distributed among the {best} trials {towards} and among all complete "
            "ones (PED-ANOVA, shares of the sum). Chance reaches the mark once in twenty times: what stays below it "
            "says nothing."
        )
        yield page.paragraph(note)
        rows = [(self.names[each.name], f"{100 * each.share:.0f}%", f"{100 * each.chance:.0f}%") for each in shown]
        yield page.chart("Importance", read, figures.bars(shown, self.names), ())
        yield page.folded("As numbers", page.table("", ("setting", "share", "chance"), rows))

    def _slices(self, index: int) -> Iterator[str]:
        if not any(row.values for row in self.rows):
            return
        shown = self._ranked()[:MOST_PANELS]
        drawn = figures.panels(self.rows, shown, self.goals, index)
        cards = []
        for dimension, svg in zip(shown, drawn, strict=True):
            note = ""
            if dimension.when:
                name, value = dimension.when
                note = f"if {name.rpartition('.')[2]} is {value}"
            cards.append(page.chart(dimension.path, note, svg, ()))
        yield page.together(cards, "cards")

    def _parallel(self) -> Iterator[str]:
        if len(self.complete) < 2 or len(self.dimensions) < 2:
            return
        kept = {dimension.name for dimension in self._ranked()[:MOST_AXES]}
        shown = [dimension for dimension in self.dimensions if dimension.name in kept]
        drawn = figures.parallel(self.rows, shown, self.short, self.goals)
        note = "the better, the bluer" if len(self.goals) == 1 else f"the better by {self.goals[0].metric}, the bluer"
        yield page.chart("Each complete trial is a line", note, drawn, ())

    def _ranked(self) -> list[Dimension]:
        """The settings that were searched, the most important first."""
        places = {importance.name: place for place, importance in enumerate(self.importances)}
        return sorted(self.dimensions, key=lambda dimension: places.get(dimension.name, len(places)))

    def _space(self) -> Iterator[str]:
        best = next((row for row in self.rows if row.best), None) if len(self.goals) == 1 else None
        start, end = (row.params if row else {} for row in (self.baseline, best))
        rows = []
        for dimension in self.study.space.dimensions:
            name = dimension.name
            begun, ended = (setting(params[name]) if name in params else "" for params in (start, end))
            branch = f"if {dimension.condition}" if dimension.condition else ""
            of_best = () if best is None else (ended, at_end(dimension, end.get(name)))
            rows.append((dimension.path, branch, str(dimension.mark), begun, *of_best))
        columns = ("setting", "", "searched", "the recipe", *(() if best is None else (f"trial {best.number}", "")))
        keep = [place for place, _ in enumerate(columns) if any(row[place] for row in rows)]
        yield from map(page.paragraph, self.study.space.notes)
        yield page.table("", [columns[place] for place in keep], [tuple(row[place] for place in keep) for row in rows])

    # ----------------------------------------------------------------------------------------------------- what's next

    def _failures(self) -> Iterator[str]:
        reasons: dict[tuple[str, str], list[int]] = {}
        for row in self.rows:
            if row.state in ("failed", "diverged"):
                reasons.setdefault((row.state, row.reason or "no reason was given"), []).append(row.number)
        ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
        rows = [(state, len(those), ", ".join(map(str, those[:8])) + " …" * (len(those) > 8), reason)
                for (state, reason), those in ordered]  # fmt: skip
        if rows:
            yield page.table("", ("", "count", "trials", "reason"), rows[:50])

    def _next(self) -> Iterator[str]:
        study = self.study
        folder, name = shlex.quote(str(study.folder)), shlex.quote(study.name)
        own = study.storage == f"journal:studies/{study.name}/journal.log"
        kept = "" if own else f" --storage {shlex.quote(study.storage)}"
        lines = []
        if len(self.goals) == 1 and self.findings.best:
            lines.append(("train the best trial's recipe, and test it", f"labwright run {folder}/best.toml"))
            lines.append(("print that recipe", f"labwright study best {name}{kept}"))
        elif self.findings.best:
            best = self.findings.best[0]["number"]
            lines.append(("train a recipe of the front, and test it", f"labwright run {folder}/front/{best:04d}.toml"))
            lines.append(("print that recipe", f"labwright study best {name} --trial {best}{kept}"))
        lines.append(("all trials", f"labwright study show {name}{kept}"))
        lines.append(("all trials as a table for other programs", f"labwright study export {name}{kept} > trials.csv"))
        yield page.commands(lines)
