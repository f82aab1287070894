"""What labwright-instruments brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_instruments"
    yield lw.Component("logger", "csv", f"{here}.tables:CSV", "a table of all figures, metrics.csv")
    yield lw.Component("logger", "mlflow", f"{here}.mlflow_runs:MLflow", "runs of MLflow, in a database or on a server")
    yield lw.Component("logger", "tensorboard", f"{here}.event_files:TensorBoard", "event files for TensorBoard")
    yield lw.Component("logger", "wandb", f"{here}.wandb_runs:WandB", "runs of Weights & Biases, offline by default")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb("runs", "labwright_instruments.runs.verb:verb", "list runs, compare, draw and note them", "Look")
