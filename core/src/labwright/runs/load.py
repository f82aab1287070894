"""Taking up what a run folder holds: its experiment, and its model with the weights that were evaluated.

Nothing here writes: a folder may be read-only. What isn't as it should be and can be passed over is said in notes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from labwright.base.elsewhere import Shown, brought
from labwright.base.errors import LabwrightError, listed, nearest
from labwright.base.files import File, refuse_special
from labwright.base.memory import out_of_memory
from labwright.config.recipe import changes
from labwright.data.summary import DataSummary, summarised
from labwright.interfaces.run import Outcome, Run
from labwright.interfaces.task import Task, figures
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment
from labwright.runs.inputs import Reader, of_line, of_path, of_rows, of_tensors
from labwright.train.built import Built
from labwright.train.checkpoints import Checkpoints, Which, compared_data, load_model
from labwright.train.log import read_log
from labwright.train.phase_step import phase_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWER = "inputs take more memory together than there is, so that fewer were answered at once."
AT_ONCE = 64  # inputs that are read before they are answered together
MATTER = ("task", "model", "train.batch_size", "train.seed", "train.ema", "train.final")  # to what a model answers


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """Metrics of a run's model over the samples of a split, or of other data; `step` is that of the checkpoint.

    Example: `lw.load("runs/digits").evaluate("test").metrics["accuracy"]`
    """

    run: str
    split: str
    checkpoint: str
    step: int
    samples: int
    metrics: dict[str, float]
    notes: list[str]
    of: Run  # as a report shows it

    def json(self) -> dict[str, Any]:
        kept = {key: value for key, value in vars(self).items() if key != "of"}
        return kept | {"data": self.of.data.json() if self.of.data else None}

    def __repr__(self) -> str:
        told = ", ".join(figures(self.metrics, "", "{:.4g}".format))
        return f"Evaluation({self.run!r}, {self.split}: {told}; {self.samples:,} samples)"


@dataclass(frozen=True, repr=False)
class Loaded(Shown):
    """A run's task and model, in evaluation mode, and the experiment that its recipe describes.

    `notes` say what isn't as the run left it: a damaged checkpoint that was passed over, a recipe that was changed; and
    what is amiss with the plugins that were found. What is said later, such as files that are left out, is a warning.

    Example: `run = lw.load("runs/digits"); run.predict("eight.png"), run.evaluate("test").metrics, run.plot()`
    """

    task: Task
    model: nn.Module
    experiment: Experiment
    notes: tuple[str, ...]
    folder: Path
    checkpoint: Which
    built: Built

    def predict(
        self, inputs: Any = (), *, on: File | None = None, explain: str | None = None, strict: bool = True, **lines: Any
    ) -> list[dict[str, Any]]:
        """What the model says of each input: a table with the `input`'s name and the task's values, for each of them.

        A value that is a file is an Attachment, which isn't written anywhere.

        Args:
            inputs: a path or several, of files and folders; or a tensor, an array or a tuple of them, as the model is
                called with: a row for each input, of numbers as the run's data has them.
            on: a file or folder of other data, labelled or not: an answer for each of its rows.
            explain: a method by which answers are explained, in their further entries.
            strict: an input that can't be answered raises; else its table has an `error`, and the others are answered.
            lines: a text or several, under the name that the task gives them: `text="a lovely film"`.

        Raises LabwrightError for an input that isn't there or can't be read, and for a shape that doesn't fit.
        """
        answers = []
        for name, answer in predictions(self.built, self._named(inputs, on, lines), at_once=AT_ONCE, explain=explain):
            if strict and isinstance(answer, Exception):
                raise LabwrightError(f"{name}: {reason_of(answer)}") from answer
            answers.append(plain_answer(name, answer))
        for note in (*self.built.notes, *self.task.data.noticed()):
            warnings.warn(note, stacklevel=2)
        self.built.notes.clear()
        return answers

    def evaluate(self, split: str = "test", *, on: File | None = None, other_data: bool = False) -> Evaluation:
        """The metrics of the model, as it is now, over a split of the run's data, which is read for it.

        Args:
            split: `train`, `valid` or `test`.
            on: a file or folder of other data, all of which is measured instead.
            other_data: go on although the data's samples are not those of the run.

        Raises LabwrightError for a split that isn't there, and for other samples.
        """
        how: dict[str, Any] = {"other_data": other_data, "on": on, "experiment": self.experiment, "model": self.model}
        return evaluated(self.folder, self.experiment.plugins, split, self.checkpoint, **how)

    def history(self) -> list[dict[str, Any]]:
        """What the run logged, a table for each line: `step`, `epoch`, `split`, and numbers by name.

        `split` is `train` where losses were logged. `pandas.DataFrame(run.history())` makes a data frame of it.
        """
        rows, torn = [], []  # type: list[dict[str, Any]], list[int]
        for record in read_log(self.folder / "metrics.jsonl", torn):
            row = {"step": record.pop("step"), "epoch": record.pop("epoch"), "split": record.pop("split", "train")}
            rows.append(row | record.pop("metrics", {}) | {key: one for key, one in record.items() if key != "event"})
        if torn:
            warnings.warn(f"of {self.folder / 'metrics.jsonl'} {len(torn)} torn lines are left out.", stacklevel=2)
        return rows

    def plot(self) -> Figure:
        """Loss and metrics over the run's steps, as a figure of matplotlib's; it comes with labwright-instruments."""
        return cast("Figure", brought("instruments", "plot")(self))

    def _named(self, inputs: Any, on: File | None, lines: Mapping[str, Any]) -> Iterator[tuple[str, Reader]]:
        task, line, paths = self.task, self.task.line, inputs
        hint = f' This run takes {line}="..." as well.' * (line != "file")
        for name in lines.keys() - {line}:
            raise LabwrightError(f"predict takes no {name!r}{nearest(name, [line, 'inputs', 'on', 'explain'])}{hint}")
        if isinstance(inputs[0] if isinstance(inputs, tuple) and inputs else inputs, Tensor | np.ndarray):
            yield from of_tensors(task, inputs)
            paths = ()
        for path in [paths] if isinstance(paths, str | Path) else paths:
            yield from of_path(task, str(Path(path).expanduser()), warnings.warn, hint)
        if on is not None:
            yield from of_rows(task, Path(on).expanduser(), warnings.warn, hint)
        for texts in lines.values():
            yield from (of_line(task, text) for text in ([texts] if isinstance(texts, str) else texts))

    def __repr__(self) -> str:
        return f"Loaded({str(self.folder)!r}, {self.checkpoint} weights of {self.experiment!r})"


def load(
    folder: File | Run,
    *,
    checkpoint: Which = "final",
    device: str = "cpu",
    experiment: Experiment | None = None,
    plugins: Plugins | None = None,
) -> Loaded:
    """What a run folder holds: its task with what it learned of the data, and its model in evaluation mode.

    The data itself isn't read: `evaluate` does that, `predict`, `history` and `plot` do without.

    Args:
        folder: a run folder, such as `labwright run --folder` makes, or the run that an experiment returned.
        checkpoint: the weights the run ended with (`final`), its last or its best ones.
        device: where the model is, whatever it was trained on: `cpu`, `cuda`, or `auto` for what there is.
        experiment: the run's, if it has classes or objects from Python, which its recipe can't name.
        plugins: those among which the recipe's names are looked up; all that are installed, if left out.

    Raises LabwrightError for a folder that isn't a run's, a plugin it needs that isn't there, a damaged checkpoint.

    Example: `run = lw.load("runs/digits"); print(run.predict("eight.png"))`
    """
    folder = folder.folder if isinstance(folder, Run) else Path(folder).expanduser()
    known = experiment.plugins if experiment else Plugins.discover() if plugins is None else plugins
    check_run(folder, known)
    kept = experiment or experiment_of(folder, known)
    moved = kept.varied({"device": device})
    moved.notes = [] if experiment else kept.notes  # of one in hand they were said
    built = built_from(folder, moved, checkpoint=checkpoint)
    unsaid = known.notes if plugins is None else ()  # else whoever found them has said them
    notes = (*unsaid, *built.notes)
    built.notes.clear()  # for those that come while it predicts
    return Loaded(built.task, built.model, moved, notes, folder, checkpoint, built)


def experiment_of(folder: Path, plugins: Plugins, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment a run folder holds. Raises LabwrightError if it is no run folder."""
    check_run(folder, plugins)
    return Experiment.from_recipe(folder / "recipe.toml", overrides, plugins=plugins)


def check_run(folder: Path, plugins: Plugins) -> None:
    """Raises LabwrightError if a folder is no run's, or something in it isn't to be read."""
    if not (folder / "recipe.toml").is_file():
        # a run folder that is misspelt lies mostly beside the one that was meant
        beside = [str(path.parent) for path in folder.parent.glob("*/recipe.toml")] if folder.parent.is_dir() else []
        recipe = f"; it is a recipe: `labwright run {folder}` makes one." * (str(folder) in plugins.names("recipe"))
        hint = recipe or nearest(str(folder), beside)
        raise LabwrightError(f"{str(folder)!r} is no run folder: it has no recipe.toml{hint}")
    refuse_special(folder)


def built_from(
    folder: Path, experiment: Experiment, *, checkpoint: Which = "final", overrides: Sequence[str] = ()
) -> Built:
    """Task and model as a run left them, in evaluation mode, with notes; the data itself isn't read.

    `final` are the weights the run ended with, by its own `train.final`; `overrides` are those the experiment was made
    with. Raises LabwrightError for a checkpoint that is damaged or missing.
    """
    built = experiment.build(folder / "task")
    _restore(built, folder, experiment, checkpoint, overrides)
    return built


def evaluated(
    folder: Path,
    plugins: Plugins,
    split: str,
    checkpoint: str,
    overrides: Iterable[str] = (),
    *,
    other_data: bool = False,
    on: File | None = None,
    experiment: Experiment | None = None,
    model: nn.Module | None = None,
) -> Evaluation:
    """Metrics of a run's model over a split of its data; without overrides those the run logged.

    Args:
        folder: of the run.
        plugins: that know what its recipe names.
        split: `train`, `valid` or `test`.
        checkpoint: `final`, `last` or `best`.
        overrides: `field=value`, such as other data.
        other_data: measure samples that aren't the run's although its data wasn't overridden.
        on: where other data lies, all of which is measured instead of a split, by what the run has learned.
        experiment: the run's, where its recipe alone doesn't say it.
        model: the run's, with the weights that are measured in place of the checkpoint's.

    Raises:
        LabwrightError: for a checkpoint or a split that isn't there, for other samples, and for data of which the task
            learns something else than the run's did.
    """
    _check_checkpoint(checkpoint)
    overrides = list(overrides)
    experiment = experiment or experiment_of(folder, plugins, overrides)
    if on is None:
        # from the data and not from the run's folder, as the samples themselves are needed
        built = experiment.build(begun=folder / "task", trains=False)
        now, told = _own_data(built, folder, split, overrides, other_data)
    else:
        built = experiment.build(folder / "task", trains=False)
    state = _restore(built, folder, experiment, cast(Which, checkpoint), overrides)
    built.model = built.model if model is None else model
    if on is not None:
        split, built = "test", built.on(on)
        now, told = summarised(built.task.data), f"all of {on} is measured, as 'test':"
    metrics = built.evaluate(split, size=experiment.train.batch_size, seed=experiment.train.seed)
    if metrics is None:
        raise LabwrightError(
            f"the data of {on or folder} has no split {split!r}{nearest(split, now.samples)} It has "
            f"{listed(now.samples)}."
        )
    remark = built.task.remark(split, metrics.metrics)
    notes = [*experiment.notes, *built.notes, *([remark] if remark else [])]
    notes += [f"{told} {now.line()}."] if told else []
    notes += now.remarks if on else []
    step, of = state["step"], (built.task, built.model, built.device)
    run = Run(folder, experiment.table(), *of, step, state["steps_per_epoch"], experiment.name, step, data=now)
    run.calling, run.defaults = built.calling, experiment.table(bare=True)
    figures, samples = {split: metrics.metrics}, {split: metrics.samples}
    run.outcome = Outcome("finished", "", step, figures, state["seconds"], folder, samples, tuple(notes), now)
    return Evaluation(str(folder), str(on or split), checkpoint, step, metrics.samples, metrics.metrics, notes, run)


def _own_data(
    built: Built, folder: Path, split: str, overrides: Sequence[str], other_data: bool
) -> tuple[DataSummary, str]:
    """What was read, and what to say of it where it isn't the run's own. Raises LabwrightError unless it was meant."""
    now, differing = compared_data(built.task, folder / "task", [split])
    overridden = any(override.startswith(("task=", "task.data")) for override in overrides)
    if differing and not other_data and not overridden:
        raise LabwrightError(
            f"the data isn't what {folder} was begun with: {'; '.join(differing)}. Put it back, or measure it "
            "all the same: --other-data."
        )
    return now, f"measured on the {split!r} part of this data, which is read as" if differing or overridden else ""


def predictions(
    built: Built,
    inputs: Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]],
    *,
    at_once: int = 1,
    explain: str | None = None,
) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """What a run's model says of each input: its name, and the answer or why there is none.

    An answer's iterators have to be gone through before the next answer is asked for. If inputs take more memory
    together than there is, fewer are answered at once, and a note of `built` says so. Raises LabwrightError if the task
    doesn't predict.

    Args:
        built: a task and a model.
        inputs: their names and readers.
        at_once: inputs that are read before they are answered: those of the same shapes go through the model together.
        explain: the method by which each answer is explained, in its further entries.
    """
    if type(built.task).predict is Task.predict:
        built.task.predict(built.model, (), ())  # says so
    with torch.inference_mode():
        waiting = iter(inputs)
        while chunk := list(islice(waiting, at_once)):
            given = [_attempt(read) for _, read in chunk]
            alike: dict[Any, list[int]] = {}
            for place, arguments in enumerate(given):
                if not isinstance(arguments, Exception):
                    alike.setdefault(tuple((x.shape[1:], x.dtype) for x in arguments), []).append(place)
            answers: dict[int, dict[str, Any] | Exception] = dict(enumerate(given))  # type: ignore[arg-type]
            for places in alike.values():
                rows = [given[place] for place in places]
                answers.update(zip(places, _answers(built, rows, explain), strict=True))  # type: ignore[arg-type]
            yield from ((name, answers[place]) for place, (name, _) in enumerate(chunk))


def plain_answer(name: str, answer: Mapping[str, Any] | Exception) -> dict[str, Any]:
    """An answer with its input's name, or why there is none; texts that come in pieces are put together."""
    if isinstance(answer, Exception):
        return {"input": name, "error": reason_of(answer)}
    whole = {key: "".join(value) if isinstance(value, Iterator) else value for key, value in answer.items()}
    return {"input": name} | whole


def reason_of(error: Exception) -> str:
    """Why there is no answer, in words."""
    return str(error) if isinstance(error, LabwrightError) else f"{type(error).__name__}: {error}"


def _attempt(read: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...] | Exception:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - what a damaged file makes a library raise is of any type
        return error


def _answers(built: Built, rows: Sequence[tuple[Tensor, ...]], explain: str | None) -> list[dict[str, Any] | Exception]:
    """What the model says of inputs of the same shapes; if it can't say it of all together, of one after another.

    If that takes more memory than there is, of half of them, and so on.
    """
    try:
        arguments = tuple(torch.cat(column).to(built.device) for column in zip(*rows, strict=True))
        answers = built.task.predict(built.model, arguments, [getattr(row, "origin", None) for row in rows])
        if explain is None:
            return [*answers]
        with torch.inference_mode(False), torch.enable_grad():
            reasons = built.task.explain(built.model, tuple(x.clone() for x in arguments), explain)
        return [answer | why for answer, why in zip(answers, reasons, strict=True)]
    except (LabwrightError, RuntimeError, MemoryError) as error:
        short = out_of_memory(error)
        if not short and not isinstance(error, LabwrightError):
            raise
        if len(rows) == 1:
            return [LabwrightError(f"it takes more memory than there is: {error}") if short else error]
        size = -(-len(rows) // 2) if short else 1
        built.notes += [_FEWER] if short and _FEWER not in built.notes else []
    # only now, as an error keeps alive what it came from
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [answer for part in parts for answer in _answers(built, part, explain)]


def _check_checkpoint(name: str) -> None:
    choices = get_args(Which)
    if name not in choices:
        raise LabwrightError(f"there is no checkpoint {name!r}{nearest(name, choices)} There are {listed(choices)}.")


def _restore(
    built: Built, folder: Path, experiment: Experiment, checkpoint: Which, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Give the model the weights of a run's checkpoint, averaged ones if the run kept an average. Returns its state."""
    _check_checkpoint(checkpoint)
    checkpoints = Checkpoints(folder / "checkpoints")
    kept, faults = checkpoints.chosen(checkpoint, experiment.train.final, built.read)
    step: int = kept.state["step"]
    built.notes += faults
    # as the folder has it: what the person has just overridden needs no telling, nor what counts no longer with it
    own = experiment_of(folder, experiment.plugins) if overrides else experiment
    changed = changes(kept.state["recipe"], own.table(), MATTER)
    if changed:
        built.notes.append(f"recipe.toml isn't the one that step {step} was trained with: {', '.join(changed)}.")
    with built.mixed():
        load_model(built.model, kept, checkpoints.path(step))
        for phase_step in phase_steps(built, experiment.train):
            notes = [f"{note}." for note in phase_step.load_state_dict(kept.training, weights_only=True)]
            built.notes += [note for note in notes if note not in built.notes]
            phase_step.adopt_average()
    built.model.eval()
    return kept.state
