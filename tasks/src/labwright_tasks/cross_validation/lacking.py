"""What the parts of some folds lack, found before the first of them is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from labwright import Classes, Experiment, Labelled, LabwrightError, Task

from labwright_tasks.fold_data import Chosen, Fold
from labwright_tasks.schedules import ReduceOnPlateau
from labwright_tasks.stopping import Early


def lacking(experiment: Experiment, task: Task) -> Iterator[str]:
    """Notes on what the parts of all folds lack: samples, or those of a class. Nothing is read again, no model is made.

    Args:
        experiment: of any one of the folds.
        task: its own, prepared.

    Raises:
        LabwrightError: for a fold that can't be made, or lacks a part that its run asks for.
    """
    fold = task.data
    if not isinstance(fold, Fold):  # it is within a task of another kind, which asks for its own parts
        return
    folds = list(fold.every())
    schedules = (getattr(spec.settings.get("schedule"), "target", None) for spec in experiment.optimizers.values())
    watched = (*schedules, *(spec.target for spec in experiment.listeners))
    chooses = experiment.train.final == "best" or not {ReduceOnPlateau, Early}.isdisjoint(watched)
    for number, parts in enumerate(folds, 1):
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
        for name in (name for name, part in parts.items() if not len(part)):
            text = f"fold {number} of {len(folds)} has no {name!r} sample ({sizes})"
            advice = f"give fewer --folds, or another --valid than {fold.valid:g}"
            if name != "valid" or chooses:
                raise LabwrightError(f"{text}: {advice}.")
            if fold.valid:
                yield f"{text}; {advice}, if it should have."
    yield from _classes(fold, folds)


def _classes(fold: Fold, folds: list[dict[str, Chosen]]) -> Iterator[str]:
    outputs = fold.ports()[1]
    if not isinstance(outputs, Classes) or not isinstance(folds[0]["train"], Labelled):
        return
    numbers = defaultdict[tuple[str, str], list[str]](list)
    whole = {label for part in folds[0].values() for label in _labels(part)}
    for number, parts in enumerate(folds, 1):
        for name, part in parts.items():
            for label in sorted(whole - _labels(part)) if len(part) else ():
                numbers[name, outputs.names[label]].append(str(number))
    for (name, class_), of in numbers.items():
        where = f"fold {of[0]}" if len(of) == 1 else f"folds {', '.join(of)}"
        says = "it can't be learned there" if name == "train" else f"{name} says nothing of it there"
        yield f"{where}: {name} has no sample of class {class_!r}, so that {says}; fewer --folds leave it more."


def _labels(part: Chosen) -> set[int]:
    labels = part.labels if isinstance(part, Labelled) else None
    return set() if labels is None or labels.dim() != 1 or labels.is_floating_point() else set(labels.tolist())
