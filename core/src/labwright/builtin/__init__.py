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
    yield from _of_studies(here)


def _of_studies(here: str) -> Iterator[Component]:
    samplers, pruners = f"{here}.samplers", f"{here}.pruners"
    yield Component("sampler", "tpe", f"{samplers}:TPE", "tree-structured Parzen estimator: the default")
    yield Component("sampler", "gp", f"{samplers}:GP", "Gaussian process, for few trials")
    yield Component("sampler", "cma-es", f"{samplers}:CMAES", "covariance matrix adaptation, for many numbers")
    yield Component("sampler", "nsga-ii", f"{samplers}:NSGAII", "genetic, for two or three goals")
    yield Component("sampler", "nsga-iii", f"{samplers}:NSGAIII", "genetic, for more goals")
    yield Component("sampler", "qmc", f"{samplers}:QMC", "a quasi-random sequence")
    yield Component("sampler", "grid", f"{samplers}:Grid", "every combination")
    yield Component("sampler", "random", f"{samplers}:Random", "independent random points")
    yield Component("pruner", "none", f"{pruners}:never", "every trial to its end")
    yield Component("pruner", "median", f"{pruners}:median", "worse than the median: the default")
    yield Component("pruner", "percentile", f"{pruners}:percentile", "not among the best share")
    yield Component("pruner", "successive-halving", f"{pruners}:halving", "one in four goes on at each rung")
    yield Component("pruner", "hyperband", f"{pruners}:hyperband", "successive halving with several first rungs")
    yield Component("pruner", "patient", f"{pruners}:patient", "another pruner, once a trial stops improving")
    yield Component("pruner", "wilcoxon", f"{pruners}:wilcoxon", "worse than the best by a signed-rank test")
    yield Component("pruner", "dominated", f"{pruners}:dominated", "dominated by others: the default for several goals")
