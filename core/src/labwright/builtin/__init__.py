"""The core's own plugin: its kinds, verbs and components, by the same path as anyone's.

Components and nothing else: no other room imports it.
May import: base, data, interfaces, plugin, config, train, runs, report.
"""

from __future__ import annotations

from collections.abc import Iterator

from labwright.plugin.hookspecs import Component, Kind, Verb, hookimpl


@hookimpl
def labwright_components() -> Iterator[Component]:
    here = "labwright.builtin"
    yield Component("optimizer", "sgd", f"{here}.optimizers:SGD", "stochastic gradient descent, momentum, Nesterov")
    yield Component("optimizer", "adam", f"{here}.optimizers:Adam", "Adam, with weight decay in the gradient")
    yield Component("optimizer", "adamw", f"{here}.optimizers:AdamW", "Adam with decoupled weight decay")
    yield Component("schedule", "constant", "labwright.interfaces.optimizer:LRSchedule", "the same rate all along")
    yield Component("metric", "accuracy", "labwright.train.metrics:Accuracy", "share of labels with the highest logit")
    yield Component("metric", "log-loss", "labwright.train.metrics:LogLoss", "negative log-likelihood of the label")
    yield Component("metric", "perplexity", "labwright.train.metrics:Perplexity", "exponential of a token's log-loss")
    yield Component(
        "method", "descent", "labwright.interfaces.method:Method", "the gradient of the mean loss, as it is"
    )
    yield Component("device", "auto", f"{here}.devices:Auto", "the first of cuda, mps and cpu that is there")
    yield Component("device", "cpu", f"{here}.devices:CPU", "the processor")
    yield Component("device", "cuda", f"{here}.devices:CUDA", "an NVIDIA or AMD GPU")
    yield Component("device", "mps", f"{here}.devices:MPS", "an Apple GPU")
    yield Component("logger", "progress", f"{here}.progress:Progress", "a bar on a terminal, plain lines elsewhere")
    yield Component("logger", "report", f"{here}.report:Report", "report.html when the run ends")


@hookimpl
def labwright_kinds() -> Iterator[Kind]:
    here = "labwright.interfaces"
    yield Kind("task", f"{here}.task:Task", "tasks", "`task` in a recipe")
    yield Kind("data", "labwright.data.dataset:Data", "data", "`task.data` in a recipe")
    yield Kind("model", "torch.nn:Module", "models", "`model` in a recipe")
    yield Kind("loss", "", "losses", "`loss` in a recipe")
    yield Kind("optimizer", "", "optimizers", "`optimizer` in a recipe")
    yield Kind("schedule", f"{here}.optimizer:LRSchedule", "schedules", "`optimizer.schedule` in a recipe")
    yield Kind("metric", f"{here}.task:Metric", "metrics", "`task.metrics` in a recipe")
    yield Kind("method", f"{here}.method:Method", "methods", "`method` in a recipe")
    yield Kind("device", f"{here}.device:Device", "devices", "`device` in a recipe")
    yield Kind("logger", "", "loggers", "`log` in a recipe")
    yield Kind("stop", "", "stops", "`stop` in a recipe")


@hookimpl
def labwright_verbs() -> Iterator[Verb]:
    here, train, look = "labwright.cli", "Train", "Look"
    yield Verb("run", f"{here}.run:verb", "train a recipe", train, trains=True)
    yield Verb("resume", f"{here}.resume:verb", "go on with a run exactly where it stopped", train, trains=True)
    yield Verb("evaluate", f"{here}.evaluate:verb", "measure a run's model on a split", train, trains=True)
    yield Verb("predict", f"{here}.predict:verb", "answers for files, folders or lines of text", train, trains=True)
    yield Verb("list", f"{here}.listing:verb", "recipes and components that are installed", look)
    yield Verb("show", f"{here}.show:verb", "a recipe in full, or a component's settings", look)
    yield Verb("plugins", f"{here}.plugins:verb", "installed plugins, their state and the lock", look)
