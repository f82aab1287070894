"""What is studied, as a storage keeps it: how two of them differ, and how goals are written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labwright import Experiment, Goal, LabwrightError, nearest

from labwright_study.trial import PARAMETERS, STEP_SECONDS

DEFINITION = "labwright"  # the study's user attribute that says what is studied
NAMES = {
    "experiment": "the experiment",
    "space": "the search space",
    "goals": "what is searched for",
    "sampler": "the sampler",
    "pruner": "the pruner",
    "seed": "the seed",
    "batch": "the batch",
    "threads": "the threads of a trial",
    "asynchronous": "asynchronous",
    "fuse": "fuse",
}


def label(thing: Any) -> str:
    """What stands for a class or an object from Python: where its class is."""
    target = thing if isinstance(thing, type) else type(thing)
    return f"{target.__module__}.{target.__qualname__}"


def parsed_goal(text: str, experiment: Experiment) -> Goal:
    """`accuracy`, `parameters` or `NAME:minimize`. Raises LabwrightError where the direction has to be said."""
    metric, colon, direction = text.rpartition(":")
    if not colon or direction not in ("minimize", "maximize"):
        metric, direction = text, ""
    known = {experiment.goal.metric: experiment.goal.direction, PARAMETERS: "minimize", STEP_SECONDS: "minimize"}
    if not direction and metric not in known:
        raise LabwrightError(
            f"goal {text!r}: the task's goal is {experiment.goal.metric!r}{nearest(metric, known)} Of another metric "
            f"say in which direction, such as {metric}:minimize."
        )
    return Goal(metric, direction or known[metric])  # type: ignore[arg-type]


def differences(kept: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """How two definitions differ, in words, with what differs innermost."""
    for key, name in NAMES.items():
        before, now = kept.get(key), given.get(key)
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            for inner in sorted(before.keys() | now.keys()):
                if before.get(inner) != now.get(inner):
                    yield f"{name}, {inner}: was {_short(before.get(inner))}, is {_short(now.get(inner))}"
        else:
            yield f"{name} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    if isinstance(value, Mapping) and "searched" in value:
        return str(value["searched"])
    return json.dumps(value)
