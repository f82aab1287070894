"""What labwright-instruments brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_instruments"
    norms = f"{here}.gradient_norms:GradientNorms"
    yield lw.Component("logger", "csv", f"{here}.tables:CSV", "a table of all figures, metrics.csv")
    yield lw.Component("logger", "gradient-norms", norms, "norms of gradients, whole and by layer, in a file")
    yield lw.Component("logger", "mlflow", f"{here}.mlflow_runs:MLflow", "runs of MLflow, in a database or on a server")
    yield lw.Component("logger", "tensorboard", f"{here}.event_files:TensorBoard", "event files for TensorBoard")
    yield lw.Component("logger", "wandb", f"{here}.wandb_runs:WandB", "runs of Weights & Biases, offline by default")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    here = "labwright_instruments.verbs"
    yield lw.Verb("completion", f"{here}.completion:verb", "the script by which bash, zsh or fish complete", "Look")
    yield lw.Verb("runs", "labwright_instruments.runs.verb:verb", "list runs, compare, draw and note them", "Look")
    shapes = "layers, shapes, parameters, FLOPs and memory of a recipe"
    yield lw.Verb("summary", f"{here}.summary:verb", shapes, "Look")
    lr = "the learning rate range test, drawn"
    yield lw.Verb("find-lr", f"{here}.find_lr:verb", lr, "Look", trains=True)
    size = "the largest batch that fits, and the fastest"
    yield lw.Verb("find-batch-size", f"{here}.find_batch_size:verb", size, "Look", trains=True)
    slow = "where the time of a step goes"
    yield lw.Verb("profile", f"{here}.profile:verb", slow, "Look", trains=True)
