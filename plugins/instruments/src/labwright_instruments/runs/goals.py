"""By which metric a run is judged, and whether more of it is better: read from its task's source, without importing it.

A run folder names its task, and the goal stands in the task's class: as a constant, as a choice of constants, or as a
setting of its constructor. What else there may be isn't guessed.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from labwright import Plugins

Direction = Literal["minimize", "maximize"]
_DIRECTIONS: Mapping[object, Direction] = {"minimize": "minimize", "maximize": "maximize"}
DEEPEST = 5  # classes between a task and the one that has its goal


@dataclass(frozen=True)
class Goal:
    """A metric, and which way is better, None where that isn't known."""

    metric: str
    direction: Direction | None


def goal_of(settings: Mapping[str, Any], measured: Collection[str], plugins: Plugins) -> Goal | None:
    """The goal of a run with these settings: `task.goal`, else the first its task may have that was measured.

    None where its task isn't known.
    """
    goals = [*_goals_of_task(str(settings.get("task", "")), plugins, settings)]
    text = settings.get("task.goal")
    if isinstance(text, str) and text:
        metric, _, direction = text.rpartition(":")
        if direction in _DIRECTIONS:
            return Goal(metric, _DIRECTIONS[direction])
        ways = [goal.direction for goal in goals if goal.metric == text]
        return Goal(text, ways[0] if ways else _own_direction(text, plugins))
    return next((goal for goal in goals if goal.metric in measured), goals[0] if goals and not measured else None)


def _own_direction(metric: str, plugins: Plugins) -> Direction | None:
    """Which way a metric itself says is better: that of its component, or of the one whose table it stands in."""
    ends = [place for place, character in enumerate(f"{metric}/") if character == "/"]
    for end in reversed(ends):
        for _, declared in plugins.owners("metric", metric[:end]):
            module, _, name = str(getattr(declared, "target", "")).partition(":")
            for node in ast.walk(_class(module, name) or ast.Module([], [])):
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "higher_is_better":
                    higher = isinstance(node.value, ast.Constant) and node.value.value
                    return "maximize" if higher else "minimize"
    return None


def directions(plugins: Plugins) -> dict[str, Direction]:
    """Of each metric that is the goal of an installed task, which way is better; those that tasks disagree on aren't
    there.
    """
    ways: dict[str, set[Direction]] = {}
    for name in plugins.names("task"):
        for goal in _goals_of_task(name, plugins, {}):
            if goal.direction:
                ways.setdefault(goal.metric, set()).add(goal.direction)
    return {metric: way.pop() for metric, way in ways.items() if len(way) == 1}


def _goals_of_task(name: str, plugins: Plugins, settings: Mapping[str, Any]) -> Iterator[Goal]:
    for _, declared in plugins.owners("task", name):
        module, _, attribute = str(getattr(declared, "target", "")).partition(":")
        for goal in _stated(module, attribute):
            setting = goal.metric.startswith("=")
            metric = settings.get(f"task.{goal.metric[1:]}", "") if setting else goal.metric
            if isinstance(metric, str) and metric:
                yield Goal(metric, goal.direction)


@cache
def _stated(module: str, name: str, depth: int = 0) -> tuple[Goal, ...]:
    """The goals that a class names, else those its bases name; `=NAME` stands for a setting of its constructor."""
    tree, found = _tree(module), _class(module, name)
    if tree is None or found is None or depth > DEEPEST:
        return ()
    assigned = {
        target.id: node.value
        for node in (*tree.body, *ast.walk(found))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    goals = [goal for node in ast.walk(found) for goal in _named(node, assigned)]
    if goals:
        # what a recipe may set goes before what holds if it doesn't
        return tuple(sorted(dict.fromkeys(goals), key=lambda goal: not goal.metric.startswith("=")))
    imported = {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in found.bases if isinstance(base, ast.Name)]
    return tuple(goal for base in bases for goal in _stated(*imported.get(base, (module, base)), depth + 1))


def _named(node: ast.AST, assigned: Mapping[str, ast.expr]) -> Iterator[Goal]:
    """The goals of one call of Goal."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != "Goal" or len(node.args) != 2:
        return
    direction = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
    if isinstance(direction, str) and direction in _DIRECTIONS:
        yield from (Goal(text, _DIRECTIONS[direction]) for text in _texts(node.args[0], assigned))


def _texts(value: ast.expr, assigned: Mapping[str, ast.expr]) -> Iterator[str]:
    """The texts that an expression may be: a constant, a choice of some, or a name for one."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _texts(value.body, assigned)
        yield from _texts(value.orelse, assigned)
    elif isinstance(value, ast.Name):
        rest = {name: other for name, other in assigned.items() if name != value.id}
        yield from _texts(assigned[value.id], rest) if value.id in assigned else (f"={value.id}",)


def _class(module: str, name: str) -> ast.ClassDef | None:
    tree = _tree(module)
    body = tree.body if tree else ()
    return next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)


@cache
def _tree(module: str) -> ast.Module | None:
    try:
        spec = importlib.util.find_spec(module)  # imports the packages around it, which import nothing heavy
        return ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    except Exception:  # noqa: BLE001 - somebody else's package, whatever its import raises: the goal isn't known
        return None
