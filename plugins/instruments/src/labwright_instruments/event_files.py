"""Event files for TensorBoard."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import labwright as lw
from labwright import LabwrightError, Outcome, Run, hookimpl
from pydantic import BeforeValidator

from labwright_instruments import summaries
from labwright_instruments.tracking import beginning, settings, under_way


def _stretch(value: Any) -> Any:
    if re.match(r"^[1-9][0-9]* (step|epoch)s?$", str(value)):
        return value
    raise ValueError('it should be a number of steps or epochs, such as "500 steps" or "2 epochs".')


class TensorBoard:
    """A run as an event file in its folder; `tensorboard --logdir runs` shows them side by side.

    Numbers are `train/loss`, `train/lr`, `train/steps_per_second` and `SPLIT/METRIC`; steps that a resumed run does
    again are shown once. The recipe is a text and the hyper-parameters of the HParams page. When the run has ended, the
    pictures, figures, tables and texts of the task's report are there as well, under `report/`.

    Args:
        histograms: how often the weights are shown as histograms, such as "2 epochs" or "500 steps": at the first
            evaluation of `valid` after each such stretch, when a GPU is waited for anyway, and before the first and
            after the last step. Not at all by default.
        sections: whether what the task's report shows is written when the run ends. It is made for this, beside what
            the logger `report` makes.
    """

    def __init__(
        self, *, histograms: Annotated[str, BeforeValidator(_stretch)] | None = None, sections: bool = True
    ) -> None:
        self.histograms, self.sections = histograms, sections
        self._events: _Events | None = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        with beginning("tensorboard"):
            self._events = _Events(run)
            recipe = (run.folder / "recipe.toml").read_text(encoding="utf-8")
            self._events.write(run.step, [*summaries.begun(settings(run.recipe)), summaries.text("recipe", [recipe])])
            number, _, unit = (self.histograms or "0 steps").partition(" ")
            self._every = int(number) * (run.steps_per_epoch if unit.startswith("epoch") else 1)
            self._drawn = run.step
            if not run.step:
                self._draw(run)

    @hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        self._add(step, {f"train/{name}": value for name, value in values.items()})

    @hookimpl
    def labwright_evaluated(self, run: Run, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self._add(step, {f"{split}/{name}": value for name, value in metrics.items()})
        if split == "valid" and self._every and step // self._every > self._drawn // self._every:
            with under_way("tensorboard"):
                self._draw(run)

    @hookimpl
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        if self._events is None:
            return
        with under_way("tensorboard"):
            over = outcome.status in ("finished", "stopped")
            if over and run.step > self._drawn:
                self._draw(run)
            if self.sections and over and outcome.metrics:
                self._events.write(outcome.step, _sections(run, "test" if "test" in outcome.metrics else "valid"))
            if over:  # TensorBoard keeps the first it hears: of a run that can be gone on with it hears nothing
                self._events.write(outcome.step, [summaries.ended()])
            self._events.close()

    def _add(self, step: int, scalars: Mapping[str, float]) -> None:
        assert self._events is not None
        with under_way("tensorboard"):
            self._events.write(step, [summaries.scalar(tag, value) for tag, value in scalars.items()])

    def _draw(self, run: Run) -> None:
        """Write the weights as histograms, if they are asked for."""
        self._drawn = run.step
        if not self._every:
            return
        assert self._events is not None
        drawn = (summaries.histogram(f"weights/{name}", one) for name, one in run.model.named_parameters())
        self._events.write(run.step, [value for value in drawn if value is not None])


def _sections(run: Run, split: str) -> list[Any]:
    """What the task's report shows; what can't be made is named instead."""
    if summaries.divided(run.model):
        return [summaries.text("report", ["Each process has a part of the weights: see report.html."])]
    try:
        with run.calling(), lw.evaluating(run.model), lw.isolated(run.device, seed=lw.derived_seed(0, 3)):
            sections = run.task.report(run.model, split, run.device)
            return [value for section in sections for value in summaries.shown(section)]
    except Exception as error:  # noqa: BLE001 - the rest of the events are good
        said = f"{type(error).__name__}: {error}"
        logging.getLogger(__name__).warning("%s: TensorBoard gets no sections of the report: %s", run.folder, said)
        return [summaries.text("report", [f"This part is missing: {said}"])]


class _Events:
    """One event file.

    It is written with tensorboard's record format and messages alone: its EventFileWriter, which torch's SummaryWriter
    is built on, imports TensorFlow where that is installed, and writes from a thread, which forking doesn't go with.
    """

    def __init__(self, run: Run) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder = run.folder / "tensorboard"
        try:
            folder.mkdir(exist_ok=True)
            number = len(list(folder.iterdir()))  # readers take the files of a folder in the order of their names
            self.file = folder / f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.labwright"
            self._writer = RecordWriter(self.file.open("xb"))
        except OSError as error:
            raise LabwrightError(f"logger 'tensorboard' can't write in {folder}: {error.strerror}.") from error
        self._write(file_version="brain.Event:2")
        started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        # readers drop what earlier files hold of this step and of later ones
        self._write(step=run.step + 1 if run.step else 0, session_log=started)

    def write(self, step: int, values: Iterable[Any]) -> None:
        """Write what `summaries` makes, as of a step."""
        self._write(step=step, summary=self._summary(value=list(values)))

    def close(self) -> None:
        self._writer.close()

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()
