"""The metrics that a recipe chooses for a task: whether they fit, what they are called, and which of them is the goal.

A task with `metrics: list[Annotated[lw.Metric, lw.Part("metric")]] | None = None` calls `chosen` and `chosen_goal` in
its constructor, and returns `new_metrics` from `metrics()`; one with several outputs does so for each of them.

A task evaluates to a tuple, which every metric is called with; or to a table, of which a metric is given what the
parameters of its `update` are called, such as `(nats_sum, tokens)`, and else the first `takes`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from labwright import LEFT_OUT, Goal, LabwrightError, Metric, Of, Port, listed, nearest
from torch import Tensor


@dataclass(frozen=True)
class _Object:
    """A metric from Python, or the class of a task's usual one, with what a part has that waits to be built."""

    thing: Metric | type[Metric]
    where: str = ""
    name: str = ""
    target: None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, tuple[type, ...]] = field(default_factory=dict)

    def __call__(self, **ports: Port) -> Metric:
        if not inspect.isclass(self.thing):
            return self.thing
        make: Any = self.thing
        made: Metric = make(outputs=ports["outputs"])
        return made


def chosen(
    metrics: Sequence[Any] | None,
    usual: Mapping[str, Metric | type[Metric]],
    outputs: type[Port],
    takes: Sequence[str],
    where: str = "task.metrics",
    table: Sequence[str] = (),
) -> dict[str, Any]:
    """The metrics of a recipe by the names they have in the log, for `new_metrics`.

    A metric is called as in the recipe, without its domain. Where it is named twice, what differs in its settings
    tells them apart: `top-k.k=1`.

    Args:
        metrics: the setting's value: parts that wait to be built, or objects with update, compute and reset.
        usual: the metrics, by name, if it is None; classes are given the output port.
        outputs: type of the output port.
        takes: names of what `Task.evaluate` returns, in its order; a metric's `update` takes the same.
        where: the setting, for messages.
        table: names of all that it returns, where that is a table.

    Raises:
        LabwrightError: for an empty list, a metric that doesn't fit, and one that is named twice.
    """
    if metrics is None:
        return {name: _Object(metric) for name, metric in usual.items()}
    if not metrics:
        raise LabwrightError(f"{where}: given an empty list; name a metric, or leave it out for the usual ones.")
    metrics = [_Object(metric, where) if isinstance(metric, Metric) else metric for metric in metrics]
    named: dict[str, Any] = {}
    for metric in metrics:
        _check_fit(metric, outputs, takes, table)
        label = _label(metric)
        alike = [_settings(other) for other in metrics if _label(other) == label]
        differing = [f".{key}={value}" for key, value in _settings(metric).items() if _differs(key, alike)]
        name = label + "".join(differing)
        if name in named:
            raise LabwrightError(f"{metric.where}: {name!r} is named twice; leave one out, or set it otherwise.")
        named[name] = metric
    return named


def new_metrics(
    chosen: Mapping[str, Any], inputs: Port, outputs: Port, takes: Sequence[str] = (), table: Sequence[str] = ()
) -> dict[str, Metric]:
    """New metrics for one evaluation, by name; `takes` and `table` are those of `chosen` where there is a table.

    Raises LabwrightError for settings that don't go with the ports.
    """
    # copied, as an object from Python is the same each time
    metrics = {name: deepcopy(metric(inputs=inputs, outputs=outputs)) for name, metric in chosen.items()}
    return {name: Of(metrics[name], *asked(chosen[name], takes, table)) for name in metrics} if table else metrics


def asked(metric: Any, takes: Sequence[str], table: Sequence[str]) -> Sequence[str]:
    """What a chosen metric is given of a table."""
    names = _parameters(metric)
    return names if names and set(names) <= set(table) else takes


def counted(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of logits (B, *positions, C) and labels (B, *positions) those of the N positions that count: (N, C) and (N,)."""
    counts = labels != LEFT_OUT
    return {"logits": logits[counts], "labels": labels[counts]}


def chosen_goal(text: str | None, chosen: Mapping[str, Any], usual: Goal, where: str = "task.goal") -> Goal:
    """The goal that a recipe names: `f1/macro`, with its direction as the metric says, or `NAME:minimize`.

    Args:
        text: the setting's value; None is the usual goal.
        chosen: the metrics by name.
        usual: the task's goal if none is named.
        where: the setting, for messages.

    Raises:
        LabwrightError: if none of the metrics gives it on every split, or its direction isn't known.
    """
    metric, _, direction = (text or f"{usual.metric}:{usual.direction}").rpartition(":")
    if direction not in ("minimize", "maximize"):
        metric, direction = str(text), ""
    # what is named after a slash stands in the table that a metric gives
    givers = [name for name in chosen if metric == name or metric.startswith(f"{name}/")]
    if not givers:
        none = f"the goal is {metric!r}, which none of the metrics gives{nearest(metric, chosen)}"
        raise LabwrightError(f'{where}: {none} They are {listed(chosen)}; choose one: goal = "{next(iter(chosen))}".')
    giver = chosen[max(givers, key=len)]
    if giver.settings.get("splits") or getattr(giver.thing, "splits", None):
        raise LabwrightError(f"{where}: {metric!r} is computed on some splits only; leave out its `splits`.")
    higher = getattr(_target(giver), "higher_is_better", None)
    if not direction and higher is None:
        raise LabwrightError(f'{where}: {metric!r} has no direction of its own; write "{metric}:maximize" or minimize.')
    return Goal(metric, direction or ("maximize" if higher else "minimize"))  # type: ignore[arg-type]


def _check_fit(metric: Any, outputs: type[Port], takes: Sequence[str], table: Sequence[str]) -> None:
    label = f"{metric.where}: metric {_label(metric)!r}"
    wanted = metric.given.get("outputs", (outputs,))
    if not issubclass(outputs, wanted):
        names = " or ".join(port.__name__ for port in wanted)
        raise LabwrightError(f"{label} is one of {names}; the data has targets {outputs.__name__}.")
    has = _parameters(metric)
    if has is None:
        return
    # an object from Python may be anyone's, such as torchmetrics': their number is all that must agree
    fits = len(has) >= len(takes) if metric.target is None else has[: len(takes)] == list(takes)
    if not fits and not (has and set(has) <= set(table)):
        others = [name for name in table if name not in takes]
        also = f" A metric may also ask for {listed(others)} by these names." if others else ""
        raise LabwrightError(
            f"{label} doesn't fit: the task calls update({', '.join(takes)}), it takes "
            f"({', '.join(has)}).{also} `labwright list metrics` shows what there is."
        )


def _parameters(metric: Any) -> list[str] | None:
    """What a metric's `update` takes; None: whatever it is given, or it isn't known, of a function that makes one."""
    if not inspect.isclass(_target(metric)):
        return None
    parameters = list(inspect.signature(_target(metric).update).parameters.values())[1:]
    anything = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return None if anything else [parameter.name for parameter in parameters]


def _target(metric: Any) -> Any:
    """The class, or function, that makes a metric."""
    if metric.target is not None:
        return metric.target
    return metric.thing if inspect.isclass(metric.thing) else type(metric.thing)


def _label(metric: Any) -> str:
    """What a recipe calls it, without the domain; of an object from Python its class in kebab-case."""
    kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", _target(metric).__name__).lower()
    return str(metric.name).rpartition("/")[2] or kebab


def _settings(metric: Any) -> dict[str, Any]:
    """Settings that aren't left out, those of a table such as `options` as well."""
    flat: dict[str, Any] = {}
    for key, value in metric.settings.items():
        flat |= value if isinstance(value, Mapping) else {key: value}
    return {key: value for key, value in flat.items() if value is not None}


def _differs(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return any(other.get(key) != settings[0].get(key) for other in settings)
