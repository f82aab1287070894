"""Going on with a run, and saying what stands in the way of doing so exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.base.files import refuse_links
from labwright.config.recipe import changes
from labwright.interfaces.run import Outcome
from labwright.plugin.registry import Plugins
from labwright.runs.environment import differences, environment, environment_of
from labwright.runs.experiment import Experiment
from labwright.runs.folder import set_aside
from labwright.runs.load import experiment_of
from labwright.train.checkpoints import Checkpoints
from labwright.train.trainer import Trainer


def resume(
    folder: Path, plugins: Plugins, overrides: Iterable[str] = (), *, other_data: bool = False
) -> tuple[Trainer, list[str]]:
    """A trainer that goes on from a run folder's newest whole checkpoint, and notes for the person.

    Raises LabwrightError for overrides that would make it another experiment, and for a folder that can't be resumed.
    """
    # gone through twice
    overrides = list(overrides)
    before = experiment_of(folder, plugins)
    refuse_links(folder)
    experiment = experiment_of(folder, plugins, overrides) if overrides else before
    was, now = before.table(), experiment.table()
    for kind in ("task", "model", "loss", "start"):
        same = was.get(kind) == now.get(kind) if kind == "start" else _names(was.get(kind)) == _names(now.get(kind))
        if not same:
            raise LabwrightError(
                f"the {kind} of {folder} can't be changed on resuming; start a new run with "
                f"`labwright run {folder}/recipe.toml {' '.join(overrides)}`."
            )
    earlier = environment_of(folder)
    trainer, notes = experiment.resumed(folder, other_data=other_data)
    notes = [*before.notes, *notes]  # what is changed is among these
    if not earlier:
        notes.append(f"{folder / 'environment.json'} is missing or torn: whether this machine is another isn't known.")
    now_here = environment(plugins, trainer.device, trainer.settings.threads)
    differing = differences(earlier, now_here) if earlier else []
    if differing:
        notes.append(f"exactness no longer holds: {'; '.join(differing)}.")
    if not any(spec.name == "progress" for spec in experiment.listeners):  # which says them
        notes += trainer.run.notes
    return trainer, notes


def has_ended(folder: Path, trainer: Trainer) -> bool:
    """Whether a run did all that a run does: its steps, and what follows the last of them."""
    try:
        outcome = Outcome.read(folder)
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return outcome.status == "finished" and outcome.step == trainer.run.step >= trainer.intervals.total


def begun(folder: Path, experiment: Experiment, tell: Callable[[str], None]) -> bool:
    """Whether a folder holds a run of this experiment to go on with; one that came to no checkpoint is set aside.

    `tell` is told so. Raises LabwrightError for a run of another recipe.
    """
    return ranks.by_first(lambda: _begun(folder, experiment, tell))


def _begun(folder: Path, experiment: Experiment, tell: Callable[[str], None]) -> bool:
    if not (folder / "recipe.toml").exists():
        return False  # whatever else is there is minded by who begins the run
    differing = changes(experiment_of(folder, experiment.plugins).table(), experiment.table())
    if differing:
        raise LabwrightError(
            f"--or-resume: {folder} holds a run of another recipe: {', '.join(differing)}. Give another folder, or "
            f"`labwright resume {folder}` with what to change."
        )
    if Checkpoints(folder / "checkpoints").steps():
        return True
    tell(f"note: {folder} held a run that came to no checkpoint, which is in {set_aside(folder)} now.")
    return False


def _names(table: Any) -> Any:
    if isinstance(table, Mapping):
        return {key: _names(value) for key, value in table.items() if key == "name" or isinstance(value, Mapping)}
    return table
