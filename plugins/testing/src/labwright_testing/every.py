"""What is tried of every kind of component that stands in a recipe."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from labwright import Choice, ClosedForm, Experiment, Integers, Port, Uniform
from torch import Generator

from labwright_testing.kit import TRIED, NotApplicable, Subject, check

DRAWS = 5
BUILT = ("model", "loss", "optimizer", "method")  # over a task whose data was read
LARGEST = 2**30  # bytes of parameters and buffers; a model of more isn't made here


@check(*TRIED)
def can_be_built_with_sampled_settings(subject: Subject) -> None:
    """Any point of the declared search space builds: settings drawn together go together."""
    marks = {name: one.mark for name, one in subject.settings.items() if one.mark is not None}
    chance = random.Random(0)  # noqa: S311 - no secret
    prefix = "task.data" if subject.kind == "data" else subject.kind
    reads = subject.kind in BUILT
    assert subject.first, "no recipe has a place for it"
    base = subject.experiment if reads else subject.first
    for _ in range(DRAWS if marks else 1):
        drawn = _counting(subject, base, {name: _drawn(mark, chance) for name, mark in marks.items()})
        try:
            experiment = base.varied({f"{prefix}.{name}": value for name, value in drawn.items()})
            experiment.build(task=subject.task) if reads else experiment.task.build()
        except Exception as error:
            raise AssertionError(f"with {drawn} it can't be built: {type(error).__name__}: {error}") from error


@check(*TRIED)
def works_at_the_ends_of_its_search(subject: Subject) -> None:
    """Each setting at either end of its search mark, or at each of a Choice's options, builds, the others as they are.

    A model answers the example of its port there, and a loss is a number. A model of more than a gigabyte isn't tried,
    which is said.
    """
    ends = [(name, value) for name, setting in subject.settings.items() for value in _ends(setting.mark)]
    if not ends:
        raise NotApplicable("nothing of it is searched")
    assert subject.first, "no recipe has a place for it"
    prefix = "task.data" if subject.kind == "data" else subject.kind
    base = subject.experiment if subject.kind in BUILT else subject.first
    for name, value in ends:
        needed = {when.setting: when.values[0] for when in subject.settings[name].conditions if when.values}
        changed = _counting(subject, base, {**needed, name: value})
        if changed[name] != value:  # it would count beside others than the recipe has
            continue
        try:
            _try(subject, base.varied({f"{prefix}.{key}": one for key, one in changed.items()}), f"{name}={value!r}")
        except Exception as error:
            raise AssertionError(f"with {name}={value!r} it fails: {type(error).__name__}: {error}") from error


def _counting(subject: Subject, base: Experiment, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """What was drawn for a recipe's component; what doesn't count beside the others is as it is by default."""
    task = base.task.settings.get("data") if subject.kind == "data" else base.component(subject.kind)
    now = getattr(task, "settings", {})
    values = {name: drawn.get(name, now.get(name, one.default)) for name, one in subject.settings.items()}
    changed = dict(drawn)
    for name, setting in subject.settings.items():
        idle = not all(when.holds(values[when.setting]) for when in setting.conditions)
        if idle and values[name] != setting.default:
            changed[name] = values[name] = setting.default
    return changed


def _try(subject: Subject, experiment: Experiment, said: str) -> None:
    """Build an experiment, and use what is under test once."""
    if subject.kind not in BUILT:
        experiment.task.build()
        return
    inputs, outputs = subject.task.ports()
    if subject.kind == "model" and (size := _bytes(experiment, inputs, outputs)) > LARGEST:
        subject.notes.append(f"{said} isn't tried: a model of {size / 1e9:.1f} GB")
        return
    built = experiment.build(task=subject.task)
    if subject.kind == "loss":
        losses = subject.losses(built, subject.batch(4))
        assert all(bool(loss.isfinite()) for loss in losses.values()), "the loss is no finite number"
    elif subject.kind == "model" and not isinstance(built.model, ClosedForm):
        built.model.eval()
        try:
            with torch.no_grad():
                built.model(*inputs.example(2, Generator().manual_seed(0)))
        except NotImplementedError:  # its task calls its parts
            subject.results(built.model, subject.held_out(2))


def _bytes(experiment: Experiment, inputs: Port, outputs: Port) -> int:
    """The size of a model, found out without its memory; 0 if it can't be made so."""
    try:
        with torch.device("meta"):
            model = experiment.model.build(inputs=inputs, outputs=outputs)
        return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    except Exception:  # noqa: BLE001 - a constructor may look at its weights, which aren't there
        return 0


def _ends(mark: Choice | Integers | Uniform | None) -> Sequence[Any]:
    if isinstance(mark, Choice):
        return mark.options
    if isinstance(mark, Integers):
        return mark.low, mark.high - (mark.high - mark.low) % mark.step  # where its steps end
    return () if mark is None else (mark.low, mark.high)


def _drawn(mark: Choice | Integers | Uniform, chance: random.Random) -> Any:
    if isinstance(mark, Choice):
        return chance.choice(mark.options)
    if isinstance(mark, Integers):
        return chance.randrange(mark.low, mark.high + 1, mark.step)
    return chance.uniform(mark.low, mark.high)
