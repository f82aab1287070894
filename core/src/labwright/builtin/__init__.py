"""The core's own plugin: losses, optimizers, devices, loggers and stopping rules, by the same path as anyone's."""

from __future__ import annotations

from collections.abc import Iterator

from labwright.hookspecs import Component, hookimpl


@hookimpl
def labwright_components() -> Iterator[Component]:
    here = "labwright.builtin"
    yield Component("loss", "cross-entropy", f"{here}.losses:CrossEntropy", "negative log-likelihood of the class")
    yield Component("loss", "mse", f"{here}.losses:MeanSquaredError", "mean squared error")
    yield Component("loss", "mae", f"{here}.losses:MeanAbsoluteError", "mean absolute error")
    yield Component("loss", "huber", f"{here}.losses:Huber", "squared near zero, absolute beyond a threshold")
    yield Component("loss", "penalized", f"{here}.losses:Penalized", "another loss plus L1 and L2 penalties")
    yield Component("optimizer", "sgd", f"{here}.optimizers:SGD", "stochastic gradient descent, momentum, Nesterov")
    yield Component("optimizer", "adam", f"{here}.optimizers:Adam", "Adam, with weight decay in the gradient")
    yield Component("optimizer", "adamw", f"{here}.optimizers:AdamW", "Adam with decoupled weight decay")
    yield Component("optimizer", "torch/*", f"{here}.library:TORCH", "any optimizer of torch.optim by its name")
    yield Component("device", "auto", f"{here}.devices:Auto", "the first of cuda, mps and cpu that is there")
    yield Component("device", "cpu", f"{here}.devices:CPU", "the processor")
    yield Component("device", "cuda", f"{here}.devices:CUDA", "an NVIDIA or AMD GPU")
    yield Component("device", "mps", f"{here}.devices:MPS", "an Apple GPU")
    yield Component("logger", "progress", f"{here}.progress:Progress", "a bar on a terminal, plain lines elsewhere")
    yield Component("logger", "report", f"{here}.report:Report", "report.html when the run ends")
    yield Component("logger", "tensorboard", f"{here}.tensorboard:TensorBoard", "event files for TensorBoard")
    yield Component("stop", "early", f"{here}.stopping:Early", "end when a metric has not improved for a while")
    yield Component("stop", "seconds", f"{here}.stopping:Seconds", "end after a stretch of time")
