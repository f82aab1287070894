"""The recipe that calibrates a run."""

from __future__ import annotations

from pathlib import Path

from labwright import Experiment, LabwrightError, Plugins, load

from labwright_tasks.classification import Classification

_ADDED = ("log-loss", "calibration-error")


def calibrating(run: Path, checkpoint: str, plugins: Plugins) -> tuple[Experiment, list[str]]:
    """The experiment that fits the temperature of a finished run, and what is amiss with that.

    Raises LabwrightError for what is no run of a classifier, or is calibrated already.
    """
    loaded = load(run, checkpoint=checkpoint, plugins=plugins)  # type: ignore[arg-type]
    if not isinstance(loaded.task, Classification):
        raise LabwrightError(
            f"{run} is a run of task {loaded.experiment.task.label!r}; a temperature is fitted to the classes of "
            "'classification'."
        )
    if loaded.experiment.model.name == "calibrated":
        raise LabwrightError(f"{run} is calibrated already; calibrate the run that it was made of.")
    # with its own device, where it was loaded on the CPU
    before = Experiment.from_recipe(run / "recipe.toml", plugins=plugins).table()
    metrics = before["task"].get("metrics") or [{"name": "accuracy"}]
    metrics += [{"name": name} for name in _ADDED if name not in [one["name"] for one in metrics]]
    # what only training needs is left out: a teacher's folder may be gone
    task = {key: value for key, value in before["task"].items() if key != "teacher"} | {"metrics": metrics}
    if "goal" in task and "metrics" not in before["task"]:  # the usual metric has another name there
        task["goal"] = task["goal"].replace("cross_entropy", "log-loss")
    device = {key: value for key, value in before["device"].items() if key != "accumulate"}
    kept = {key: before["train"][key] for key in ("batch_size", "seed", "evaluate_on") if key in before["train"]}
    table = {
        "task": task,
        "model": {"name": "calibrated", "model": before["model"]},
        "loss": "cross-entropy",
        "optimizer": {"name": "sgd", "lr": 1.0},
        "method": "temperature-scaling",
        "device": device,
        "train": {**kept, "steps": 1},
        "start": {"run": str(run), "checkpoint": checkpoint, "take": {"*": "model.*"}},
        "log": before["log"],
    }
    return Experiment.from_table(table, plugins=plugins, name=loaded.experiment.name), [*loaded.notes]
