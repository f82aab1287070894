"""Event files for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from labwright import LabwrightError, Outcome, Run, hookimpl


class TensorBoard:
    """Every number of a run as an event file in its folder; `tensorboard --logdir runs` shows them side by side.

    Tags are `train/loss`, `train/lr`, `train/steps_per_second` and `SPLIT/METRIC`. Steps that a resumed run does
    again are shown once.
    """

    def __init__(self) -> None:
        self._events: _Events | None = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self._events = _Events(run)

    @hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        assert self._events is not None
        self._events.add(step, {f"train/{name}": value for name, value in values.items()})

    @hookimpl
    def labwright_evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        assert self._events is not None
        self._events.add(step, {f"{split}/{name}": value for name, value in metrics.items()})

    @hookimpl
    def labwright_run_ended(self, outcome: Outcome) -> None:  # noqa: ARG002 - pluggy calls by name
        if self._events is not None:
            self._events.close()


class _Events:
    """One event file.

    It is written with tensorboard's record format and messages alone: its EventFileWriter, which torch's SummaryWriter
    is built on, imports TensorFlow where that is installed, and writes from a thread, which forking doesn't go with.
    """

    def __init__(self, run: Run) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise LabwrightError(
                f"logger 'tensorboard' can't be used ({error}): pip install 'labwright[tensorboard]'."
            ) from error
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

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        self._writer.close()

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()
