"""Taking up what a run folder holds: its experiment, and its model with the weights that were evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from labwright.checkpoint import Checkpoints, check_learned, load_model
from labwright.data_summary import read_summary, summarised
from labwright.errors import LabwrightError, listed, nearest
from labwright.evaluation import evaluate
from labwright.experiment import Built, Experiment
from labwright.interfaces import Task
from labwright.plugins import Plugins
from labwright.trainer import updates

Which = Literal["final", "last", "best"]


def experiment_of(folder: Path, plugins: Plugins, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment a run folder holds. Raises LabwrightError if it is no run folder."""
    if not (folder / "recipe.toml").is_file():
        beside = [str(path.parent) for path in folder.parent.glob("*/recipe.toml")] if folder.parent.is_dir() else []
        raise LabwrightError(f"{str(folder)!r} is no run folder: it has no recipe.toml{nearest(str(folder), beside)}")
    return Experiment.from_recipe(folder / "recipe.toml", overrides, plugins=plugins)


def built_from(folder: Path, experiment: Experiment, *, checkpoint: Which = "final") -> Built:
    """Task and model as a run left them, in evaluation mode; the data itself isn't read.

    `final` are the weights the run ended with, by its own `train.final`. Raises LabwrightError for a checkpoint that
    is damaged or missing.
    """
    built = experiment.build(folder / "task")
    _restore(built, folder, experiment, checkpoint)
    return built


def environment_of(folder: Path) -> dict[str, Any]:
    """What environment.json says, or nothing where it is missing or torn."""
    try:
        return dict(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def evaluated(
    folder: Path,
    plugins: Plugins,
    split: str,
    checkpoint: str,
    overrides: Iterable[str] = (),
    *,
    other_data: bool = False,
) -> dict[str, float]:
    """Metrics of a run's model over a split of its data; without overrides those the run logged.

    Raises LabwrightError, also for samples that aren't the run's although its data wasn't overridden (`other_data`
    measures them all the same), and for data of which the task learns something else than the run's did.
    """
    choices = get_args(Which)
    if checkpoint not in choices:
        raise LabwrightError(
            f"there is no checkpoint {checkpoint!r}{nearest(checkpoint, choices)} There are {listed(choices)}."
        )
    overrides = list(overrides)
    experiment = experiment_of(folder, plugins, overrides)
    built = experiment.build()
    check_learned(built.task, folder / "task")
    if not other_data and not any(one.startswith(("task=", "task.data")) for one in overrides):
        now, then = summarised(built.task.data), read_summary(folder / "task")
        differing = now.differences(then, [split]) if then else []
        if differing:
            raise LabwrightError(
                f"the data isn't what {folder} was begun with: {'; '.join(differing)}. Put it back, or measure it "
                "all the same: --other-data."
            )
    _restore(built, folder, experiment, cast(Which, checkpoint))
    metrics = evaluate(
        built.task,
        built.model,
        split,
        device=built.device,
        size=experiment.train.batch_size,
        seed=experiment.train.seed,
        workers=built.device_settings.workers,
        autocast=partial(built.device_settings.autocast, built.device),
    )
    if metrics is None:
        names = [name for name in ("train", "valid", "test") if built.task.data.split(name) is not None]
        raise LabwrightError(
            f"the data of {folder} has no split {split!r}{nearest(split, names)} It has {listed(names)}."
        )
    return metrics.metrics


def predictions(
    folder: Path,
    plugins: Plugins,
    inputs: Callable[[Task], Iterable[tuple[str, tuple[Tensor, ...]]]],
    overrides: Iterable[str] = (),
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a run's model says of each input: (name, answer). `inputs` reads them through the run's task.

    An answer's iterators have to be gone through before the next answer is asked for.
    """
    built = built_from(folder, experiment_of(folder, plugins, overrides))
    with torch.inference_mode():
        for name, arguments in inputs(built.task):
            (answer,) = built.task.predict(built.model, tuple(one.to(built.device) for one in arguments))
            yield name, answer


def _restore(built: Built, folder: Path, experiment: Experiment, checkpoint: Which) -> None:
    """Give the model the weights of a run's checkpoint, averaged ones if the run kept an average."""
    checkpoints = Checkpoints(folder / "checkpoints")
    newest, faults = checkpoints.newest()
    if newest is None:
        raise LabwrightError(f"{folder} has no whole checkpoint. {' '.join(faults)}".strip())
    if checkpoint == "best" or (checkpoint == "final" and experiment.train.final == "best"):
        best = newest.state["best_step"]
        if best is None and checkpoint == "best":
            raise LabwrightError(f"{folder} has no best checkpoint: nothing was evaluated on a `valid` split.")
        newest = newest if best is None else checkpoints.read(best)
    load_model(built.model, newest, checkpoints.path(newest.state["step"]))
    for update in updates(built, experiment.train):
        update.load_state_dict(newest.training, weights_only=True)
        update.adopt_average()
    built.model.eval()
