"""The data that is meant: of a recipe, or by its own name with settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from labwright import Data, Experiment, Finding, Goal, LabwrightError, Metric, Part, Plugins, Task, nearest
from torch import Tensor, nn


def is_data(what: str, plugins: Plugins) -> bool:
    """Whether a name is that of data and of no recipe. Raises LabwrightError if it is neither."""
    if ".toml" in what or plugins.owners("recipe", what.partition(":")[0]):
        return False
    if plugins.owners("data", what):
        return True
    known = [*plugins.names("data"), *plugins.names("recipe")]
    near = nearest(what, known)
    if what and Path(what).exists():
        near = f"; it is a path: `labwright suggest {what}` makes a recipe of data that lies there."
    raise LabwrightError(
        f"{what!r} is neither data nor a recipe{near} `labwright list data` and `labwright list "
        "recipes` show what there is; a recipe of your own ends in .toml."
    )


def experiment_over(what: str, settings: Iterable[str], plugins: Plugins) -> Experiment:
    """An experiment with data by its name and settings `field=value`, in which nothing is learned.

    Raises LabwrightError for a setting that doesn't fit.
    """
    data: dict[str, Any] = {"name": what}
    for given in settings:
        field, equals, text = given.removeprefix("task.data.").partition("=")
        if not equals or not field:
            raise LabwrightError(
                f"{given!r} sets nothing; a setting of the data is written field=value, folder=photos."
            )
        place = data
        *tables, last = field.split(".")
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise LabwrightError(f"{given!r}: {table!r} is no table.")
        place[last] = _parsed(text)
    return Experiment(
        task={"name": Looking, "data": data}, model=Nothing, train={"steps": 1}, log=(), plugins=plugins, name=what
    )


def prepared(experiment: Experiment) -> tuple[Data, list[Finding]]:
    """The data of an experiment, read. What it refuses for damaged samples is a finding, and the rest is read."""
    try:
        return experiment.prepared().data, []
    except LabwrightError as refused:
        data = experiment.table()["task"].get("data")
        if not isinstance(data, Mapping) or data.get("on_damaged") != "refuse":
            raise
        without = experiment.varied({"task.data.on_damaged": "leave-out"}).prepared().data
        return without, [Finding("damaged", str(refused), wrong=True)]


class Looking(Task):
    """A task over any data, in which nothing is learned."""

    goal = Goal("none", "maximize")

    def __init__(self, data: Annotated[Data, Part("data")]) -> None:
        self.data = data

    def loss(self, model: nn.Module, batch: Any, criterion: Any, phase: str) -> Tensor:
        raise NotImplementedError

    def evaluate(self, model: nn.Module, batch: Any) -> Mapping[str, Any]:
        raise NotImplementedError

    def metrics(self) -> dict[str, Metric]:
        return {}


class Nothing(nn.Module):
    """A model of nothing."""

    def __init__(self) -> None:
        super().__init__()


def _parsed(text: str) -> Any:
    """A value as a recipe would read it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
