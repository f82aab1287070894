"""What labwright-survey brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw

HERE = "labwright_survey"


@lw.hookimpl
def labwright_kinds() -> Iterator[lw.Kind]:
    yield lw.Kind("statistic", f"{HERE}.statistics:Statistic", "statistics", "`task.statistic`, `labwright survey`")


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("statistic", "survey/middle", f"{HERE}.statistics:Middle", "the median")
    yield lw.Component("statistic", "survey/spread", f"{HERE}.statistics:Spread", "the distance between quantiles")
    yield lw.Component("task", "survey/level", f"{HERE}.level:Level", "a number to predict, its errors in a statistic")
    yield lw.Component("data", "survey/plane", f"{HERE}.plane:Plane", "points and their height over a plane")
    yield lw.Component("model", "survey/line", f"{HERE}.plane:Line", "a linear layer")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    file = Path(__file__).parent / "recipes" / "plane.toml"
    yield lw.Recipe("survey/plane", file, "a plane, found again in a second")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb("survey", f"{HERE}.survey:verb", "a statistic of a recipe's targets", "Look")
