"""Which experiments can share a program, and why one can't be fused at all."""

from __future__ import annotations

import inspect
import json
from typing import Any

from labwright import Collecting, Device, Experiment, Group, LabwrightError, Setting, Stateful, Train, signature
from labwright.engine import ComponentSpec


class CannotFuse(LabwrightError):
    """Why trials can't be trained as one program, or not in this form."""


def fuse_key(experiment: Experiment) -> str:
    """Equal for experiments that can share a program: everything that isn't declared PerTrial is equal.

    What listens to a run (`log`, `stop`) makes no difference. Objects given from Python are equal to themselves only.
    """
    parts = {
        # A task draws and arranges the batches: all of it is structural.
        "task": _structure(experiment.task, per_trial=False),
        "model": _structure(experiment.model),
        "loss": experiment.loss and _structure(experiment.loss),
        "device": _structure(experiment.device, per_trial=False),
        "train": {
            key: setting.written(value)
            for key, setting in signature(Train).settings.items()
            if not setting.per_trial and (value := getattr(experiment.train, key)) is not None
        },
        "start": experiment.table().get("start"),
        "optimizers": {phase: _structure(spec) for phase, spec in experiment.optimizers.items()},
    }
    return json.dumps(parts, sort_keys=True)


def why_not(experiment: Experiment) -> str:
    """Why an experiment can't be fused, as far as its settings tell; nothing if it may be.

    The rest is known when its first step is tried: `fit_fused` says so then.
    """
    if experiment.closed_form:
        return f"model {experiment.model.label!r} is computed in closed form, in one step"
    if not experiment.optimizers:
        return "it has no optimizer, so that there is nothing to be fused"
    if experiment.method.name != "descent":
        return f"method {experiment.method.label!r}: fused trials take their gradients by plain descent"
    if experiment.task.is_a(Collecting):
        return f"task {experiment.task.label!r}: each trial collects its own data, step by step"
    if experiment.task.is_a(Stateful):
        return f"task {experiment.task.label!r}: it keeps a state of its own, which would be that of all trials"
    task = experiment.task.target or type(experiment.task.thing)
    # as its author has annotated it; one that may return either is known by its first step
    if str(inspect.signature(task.loss).return_annotation).startswith("dict"):
        return f"task {experiment.task.label!r}: its loss has named parts, and a fused trial's is one number"
    frozen = [
        pattern
        for spec in experiment.optimizers.values()
        for pattern, group in (spec.settings.get("groups") or {}).items()
        if isinstance(group, Group) and (group.frozen or group.unfreeze)
    ]
    if frozen:
        return f"optimizer.groups: {frozen[0]!r} is frozen; fused trials compute the gradients of all parameters"
    settings: Device = experiment.device.build()
    if settings.compile:
        return "device.compile: one trial's program is compiled, not that of several"
    if settings.precision != "fp32":
        return f"device.precision={settings.precision}: fused trials equal serial ones in full precision only"
    if settings.accumulate > 1:
        return "device.accumulate: fusing makes batches larger, accumulating smaller"
    kind = settings.find().type
    if kind not in ("cpu", "cuda"):
        return f"device {kind!r}: fused trials were made for cpu and cuda"
    return ""


def _structure(spec: ComponentSpec, *, per_trial: bool = True) -> Any:
    """A component without the settings that trials may differ in; `per_trial` says whether there are any."""
    if spec.thing is not None:
        return ["object", type(spec.thing).__qualname__, id(spec.thing)]
    target = spec.target
    settings: dict[str, Any] = {}
    for key, setting in signature(target).settings.items():
        value = spec.settings.get(key, setting.default)
        if per_trial and setting.per_trial:
            continue
        if setting.part:
            within = {path: part for path, part in spec.parts().items() if path.partition(".")[0] == key}
            settings |= {path: _structure(part, per_trial=per_trial) for path, part in within.items()}
        elif value is not None:
            settings[key] = _written(setting, value)
    return [target.__module__, target.__qualname__, settings]


def _written(setting: Setting, value: Any) -> Any:
    try:
        return setting.written(value)
    except TypeError:
        return ["object", id(value)]
