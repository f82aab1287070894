"""report.html: what a run was, how it went and how to do it again, in one file that needs no other."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labwright.base import ranks
from labwright.base.durations import duration
from labwright.base.isolation import isolated
from labwright.base.search import NONE
from labwright.base.seeding import derived_seed
from labwright.config.recipe import leaves
from labwright.interfaces.run import Outcome, Run
from labwright.interfaces.task import headlines, interval_of
from labwright.report import page
from labwright.report.curves import best, curves
from labwright.report.sections import card, table
from labwright.runs.environment import environment_of
from labwright.train.checkpoints import held
from labwright.train.evaluation import evaluating
from labwright.train.log import read_log

_MARKED = "Coloured is what differs from its component's default."


def write(run: Run, outcome: Outcome, folder: Path | None = None) -> None:
    """Write report.html into the run's folder, or another; what can't be drawn is named in a warning.

    Of several processes the first writes it. All call it, as a sharded model is called by all of them alike.
    """
    split = "test" if "test" in outcome.metrics else "valid"
    called = outcome.status in ("finished", "stopped") and bool(outcome.metrics)
    sharded = any(parameter is not held(parameter) for parameter in run.model.parameters())
    sections = _sections(run, split) if called and (sharded or ranks.first()) else []
    if ranks.first():
        page.write(folder or run.folder, run.folder.name, _body(run, outcome, split, sections))


def _body(run: Run, outcome: Outcome, split: str, sections: Sequence[str]) -> Iterator[str]:
    torn: list[int] = []
    log = list(read_log(run.folder / "metrics.jsonl", torn))
    environment = environment_of(run.folder)
    reason = "" if outcome.status == "finished" else outcome.reason
    yield page.heading(run.folder.name, _about(run), outcome.status, reason, _facts(run, outcome, environment))
    # the last first, as those are of the result itself, and before its figures
    notes = [*reversed(outcome.notes), *(f"Line {number} of metrics.jsonl is torn and left out." for number in torn)]
    yield page.section("Results", *(page.warning("Note", note) for note in notes), *_results(run, outcome, log))
    if cards := curves(log, run.task.goal, run.steps_per_epoch, _same_as_loss(run)):
        yield page.section("Learning curves", page.together(cards, "charts"), *_evaluations(log))
    if sections:
        yield page.section(f"A closer look at the {split} split", page.together(sections, "row"))
    yield page.section("Settings", page.paragraph(_MARKED), page.together(_settings(run.recipe, run.defaults), "pack"))
    yield page.section("Environment", page.together(_environment(environment), "pack"))
    yield page.section("Do it again", page.commands(_again(run, environment)))


def _same_as_loss(run: Run) -> str:
    """The metric that says of itself that it is the recipe's loss, where that has its defaults, by its name."""
    loss = run.recipe.get("loss")
    if not loss or loss != run.defaults.get("loss", loss):  # such as a smoothed one
        return ""
    return next((name for name, one in run.task.metrics().items() if getattr(one, "loss", "") == _component(loss)), "")


def _about(run: Run) -> str:
    """What was trained on what, in a line."""
    settings = run.recipe.get("task")
    task, model = _component(settings), _component(run.recipe.get("model"))
    data = _component(settings.get("data")) if isinstance(settings, Mapping) else ""
    return " ".join(part for part in (run.name, "·", task, f"of {data}" if data else "", f"with {model}") if part)


def _component(table: Any) -> str:
    """The name in a component's table."""
    return str(table.get("name") or table.get("object", "")) if isinstance(table, Mapping) else str(table or "")


def _facts(run: Run, outcome: Outcome, environment: Mapping[str, Any]) -> dict[str, str]:
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    named = "processor" if run.device.type == "cpu" else "device_name"
    return {
        "steps": f"{outcome.step:,} of {run.total_steps:,}",
        "epochs": f"{outcome.step / run.steps_per_epoch:.4g}",
        "time": duration(outcome.seconds),
        "parameters": f"{parameters:,}",
        "device": " ".join(filter(None, (run.device.type, environment.get(named)))),
        "data": run.data.line() if run.data is not None else "not kept",
        **{name: f"{value:.4g}" for name, value in outcome.figures.items()},
    }


def _results(run: Run, outcome: Outcome, log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    goal = run.task.goal
    # splits may have been measured by different metrics
    names = {name for metrics in outcome.metrics.values() for name in metrics}
    if not names:
        yield page.warning("No metrics", "The run ended before its first evaluation.")
        return
    points = [
        (record["step"], record["metrics"][goal.metric])
        for record in log
        if record["event"] == "evaluation" and record["split"] == "valid" and goal.metric in record["metrics"]
    ]
    marked = best(points, goal) if (points := [point for point in points if math.isfinite(point[1])]) else None
    cards, splits = [], sorted(outcome.metrics, key=_split_order)
    for name in headlines(sorted(names), goal.metric):
        shown, *others = (split for split in splits if name in outcome.metrics[split])
        notes = [f"on {_samples(outcome, shown)}"]
        notes += [f"{outcome.metrics[split][name]:.4g} on {_samples(outcome, split)}" for split in others]
        if name == goal.metric:
            notes[0] += f", {'higher' if goal.direction == 'maximize' else 'lower'} is better"
            notes += [f"best on valid {marked[1]:.4g} at step {marked[0]:,}"] if marked else []
        number, ends = f"{outcome.metrics[shown][name]:.4g}", interval_of(outcome.metrics[shown], name)
        cards.append(page.headline(name, number, notes, goal=name == goal.metric, interval=ends))
    yield page.together(cards, "cards")
    if outcome.floors:
        rules = {"this run": outcome.metrics[splits[0]], **outcome.floors}
        columns = headlines(sorted(outcome.metrics[splits[0]]), goal.metric)
        rows = [(rule, *(values.get(name, "") for name in columns)) for rule, values in rules.items()]
        yield table(f"Beside what simple rules reach on {splits[0]}", ("", *columns), rows)
    inner = sorted(name for name in names - set(headlines(names, goal.metric)) if "_95/" not in name)
    measured = [outcome.metrics[split] for split in splits]
    if rows := [(name, *(of.get(name, "") for of in measured), interval_of(measured[0], name)) for name in inner]:
        yield page.folded(f"{len(rows)} more figures", table("", ("metric", *splits, "95% interval"), rows))


def _split_order(split: str) -> tuple[bool, bool, bool, str]:
    """What is looked at first: test, then valid."""
    return split != "test", split != "valid", split != "train", split


def _samples(outcome: Outcome, split: str) -> str:
    return f"{split} ({outcome.samples[split]:,} samples)" if split in outcome.samples else split


def _evaluations(log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All evaluations as a table, folded away, if there are several."""
    records = [record for record in log if record["event"] == "evaluation"]
    names = headlines(dict.fromkeys(name for record in records for name in record["metrics"]), "")
    rows = []
    for record in records:
        values = [record["metrics"].get(name, "") for name in names]
        rows.append((record["step"], f"{record['epoch']:.2f}", record["split"], *values))
    if len(rows) > 1:
        yield page.folded(f"All {len(rows)} evaluations", table("", ("step", "epoch", "split", *names), rows))


def _sections(run: Run, split: str) -> list[str]:
    """The task's own sections; one that can't be made is replaced by the reason."""
    try:
        with run.calling(), evaluating(run.model), isolated(run.device, seed=derived_seed(0, 3)):
            return [card(section) for section in run.task.report(run.model, split, run.device)]
    except Exception as error:  # noqa: BLE001 - the rest of the report is good
        page.warn(f"{run.folder}: the report has no sections of the task", error)
        return [page.warning("This part is missing", f"{type(error).__name__}: {error}")]


def _settings(recipe: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """A card for each table of the recipe, in which what differs from its default says so."""
    for name, settings in recipe.items():
        if values := _leaves(name, settings):
            usual = _leaves(name, defaults.get(name, settings))
            changed = {path: usual.get(path, NONE) for path, value in values.items() if usual.get(path, NONE) != value}
            yield page.pairs(name, values, changed)


def _leaves(name: str, settings: Any) -> dict[str, str]:
    # the components of a list, such as loggers, by their names
    tables = {_component(one): one for one in settings} if name in ("log", "stop") else settings
    return {path or "value": _text(value) for path, value in leaves(tables) if value != {}}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _environment(environment: Mapping[str, Any]) -> Iterator[str]:
    distributions = environment.get("distributions") or {}
    machine = {key: value for key, value in environment.items() if key not in ("distributions", "command", "git")}
    shown = {key.replace("_", " "): _text(value) for key, value in machine.items() if value not in (None, "")}
    if git := environment.get("git"):
        changes = {True: " with uncommitted changes", None: "; whether there were changes wasn't looked at"}
        shown["commit"] = git["commit"] + changes.get(git["changed"], "")
    if command := environment.get("command"):
        shown["command"] = shlex.join(command)
    yield page.pairs("Machine", shown)
    if distributions:
        yield page.pairs("Versions", {name: str(version) for name, version in distributions.items()})


def _again(run: Run, environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    folder = shlex.quote(str(run.folder))
    lines = []
    if git := environment.get("git"):
        lines.append(("the code it ran with", f"git checkout {git['commit']}"))
    lines.append(("the same run in a new folder", f"labwright run {shlex.quote(str(run.folder / 'recipe.toml'))}"))
    lines.append(("the metrics of the trained model", f"labwright evaluate {folder}"))
    if run.step < run.total_steps:
        lines.append(("go on from the last checkpoint", f"labwright resume {folder}"))
    return lines
