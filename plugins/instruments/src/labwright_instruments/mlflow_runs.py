"""Runs of MLflow."""

from __future__ import annotations

import logging
import math
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from labwright import LabwrightError, Outcome, Run, hookimpl

from labwright_instruments.tracking import Record, beginning, keep, kept, records, settings, under_way

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MOST_SETTINGS, MOST_FIGURES, MOST_CHARACTERS = 100, 1000, 6000  # that MLflow takes at once, and of one value
ARTIFACTS = ("recipe.toml", "report.html")


class MLflow:
    """A run of MLflow: the recipe as parameters, figures with their steps, the outcome as status, recipe and report.

    A resumed run goes on in the same one, which mlflow.json in its folder names; what was written before is not written
    again. MLflow changes neither figures nor parameters once they are there: a step that is done again with another
    result has both, and a setting that a resumption changed is a tag `changed.SETTING`. What couldn't be written on the
    way, as its server was away, is written at the end. MLflow's own telemetry is off unless
    MLFLOW_DISABLE_TELEMETRY=false is set.

    Args:
        tracking_uri: where runs are kept, such as `sqlite:///mlflow.db` or a server's address. By default what
            MLFLOW_TRACKING_URI says, or mlflow.db in the working folder. One with a password belongs there.
        experiment: what the run belongs to, made if it isn't there; by default the recipe's name.
        run_name: how it is shown; by default as the run's folder is called.
        tags: a table of texts.
    """

    def __init__(
        self,
        *,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        run_name: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        self.tracking_uri, self.experiment, self.run_name, self.tags = tracking_uri, experiment, run_name, tags or {}
        self._client: Any = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self._written: dict[tuple[str, int], float] = {}
        with beginning("mlflow"), _quiet():
            file = run.folder / "mlflow.json"
            before = kept(file)
            uri, client = _client(self.tracking_uri or before.get("tracking_uri"))
            if before:
                self._id = before["id"]
                self._take_up(client, f"{file} names run {self._id}", uri)
            else:
                self._id = self._begin(client, run)
                keep(file, id=self._id, **({} if "@" in uri else {"tracking_uri": uri}))  # no password in a file
            self._client = client
            self._describe(run)
            self._add(records(run.folder))
            client.log_artifact(self._id, str(run.folder / "recipe.toml"))

    @hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        with under_way("mlflow"):
            self._add([Record("train", "train", step, values)])

    @hookimpl
    def labwright_evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        with under_way("mlflow"):
            self._add([Record("evaluation", split, step, metrics)])

    @hookimpl(trylast=True)  # after the report is written
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        if self._client is None:  # it never began
            return
        with under_way("mlflow"):
            self._add(records(run.folder))
            self._client.set_tag(self._id, "outcome", outcome.status)
            self._client.set_tag(self._id, "outcome.reason", outcome.reason[:MOST_CHARACTERS])
            for name in ARTIFACTS:
                if (run.folder / name).is_file():
                    self._client.log_artifact(self._id, str(run.folder / name))
            self._client.set_terminated(self._id, STATUS[outcome.status])

    def _begin(self, client: Any, run: Run) -> str:
        name = self.experiment or run.name
        there = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if there is None else there.experiment_id
        made = client.create_run(experiment, tags=self.tags, run_name=self.run_name or run.folder.name)
        return str(made.info.run_id)

    def _take_up(self, client: Any, named: str, uri: str) -> None:
        """Find the run again and what it has. Raises LabwrightError if it isn't there."""
        from mlflow.exceptions import MlflowException

        shown = uri if "@" not in uri else "the tracking server"
        try:
            there = client.get_run(self._id)
        except MlflowException as error:
            way = "Give `tracking_uri` where it is, or remove that file to begin another."
            raise LabwrightError(f"logger 'mlflow': {named}, which isn't in {shown}. {way}") from error
        if there.info.lifecycle_stage != "active":
            raise LabwrightError(f"logger 'mlflow': {named}, which was deleted. Restore it, or remove that file.")
        client.update_run(self._id, status="RUNNING")
        for key in there.data.metrics:
            self._written |= {(key, one.step): one.value for one in client.get_metric_history(self._id, key)}

    def _describe(self, run: Run) -> None:
        """The recipe as parameters; one that was given before and is another now, as a tag."""
        from mlflow.entities import Param, RunTag

        given = {_name(path): _text(value) for path, value in settings(run.recipe).items()}
        there = self._client.get_run(self._id).data.params
        new = [Param(name, value) for name, value in given.items() if name not in there]
        for some in _parts(new, MOST_SETTINGS):
            self._client.log_batch(self._id, params=some)
        changed = {name: value for name, value in given.items() if there.get(name, value) != value}
        tags = [RunTag(f"changed.{name}", f"{there[name]} to {value}") for name, value in changed.items()]
        for some in _parts(tags, MOST_SETTINGS):
            self._client.log_batch(self._id, tags=some)

    def _add(self, added: Iterable[Record]) -> None:
        """Write the figures that aren't there."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {
            (_name(name), record.step): value
            for record in added
            for name, value in record.tagged().items()
            if not self._has(_name(name), record.step, value)
        }
        for some in _parts([Metric(key, value, now, step) for (key, step), value in figures.items()], MOST_FIGURES):
            self._client.log_batch(self._id, metrics=some)
        self._written |= figures

    def _has(self, key: str, step: int, value: float) -> bool:
        before = self._written.get((key, step))
        # it keeps the largest number for an infinity; how fast a step was says nothing of it
        same = before == value or not math.isfinite(value) or key.endswith("steps_per_second")
        return before is not None and same


def _client(uri: str | None) -> tuple[str, Any]:
    """A client of MLflow, and the address it asks."""
    # it would send what it is used for over the network, where nothing is said to forbid it
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = uri or str(mlflow.get_tracking_uri())
    return uri, mlflow.MlflowClient(tracking_uri=uri)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it MLflow and what it makes its database with say nothing but warnings, and not what they rest on."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "mlflow.store.db.utils", "alembic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _parts(things: list[Any], size: int) -> Iterator[list[Any]]:
    return (things[start : start + size] for start in range(0, len(things), size))


def _name(name: str) -> str:
    """A name of the characters that MLflow allows."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 20]} ... (cut short)"
