"""What labwright-study brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    samplers, pruners = "labwright_study.samplers", "labwright_study.pruners"
    yield lw.Component("sampler", "tpe", f"{samplers}:TPE", "tree-structured Parzen estimator: the default")
    yield lw.Component("sampler", "gp", f"{samplers}:GP", "Gaussian process, for few trials")
    yield lw.Component("sampler", "cma-es", f"{samplers}:CMAES", "covariance matrix adaptation, for many numbers")
    yield lw.Component("sampler", "nsga-ii", f"{samplers}:NSGAII", "genetic, for two or three goals")
    yield lw.Component("sampler", "nsga-iii", f"{samplers}:NSGAIII", "genetic, for more goals")
    yield lw.Component("sampler", "qmc", f"{samplers}:QMC", "a quasi-random sequence")
    yield lw.Component("sampler", "grid", f"{samplers}:Grid", "every combination")
    yield lw.Component("sampler", "random", f"{samplers}:Random", "independent random points")
    yield lw.Component("pruner", "none", f"{pruners}:never", "every trial to its end")
    yield lw.Component("pruner", "median", f"{pruners}:median", "worse than the median: the default")
    yield lw.Component("pruner", "percentile", f"{pruners}:percentile", "not among the best share")
    yield lw.Component("pruner", "successive-halving", f"{pruners}:halving", "one in four goes on at each rung")
    yield lw.Component("pruner", "hyperband", f"{pruners}:hyperband", "successive halving with several first rungs")
    yield lw.Component("pruner", "patient", f"{pruners}:patient", "another pruner, once a trial stops improving")
    yield lw.Component("pruner", "wilcoxon", f"{pruners}:wilcoxon", "worse than the best by a signed-rank test")
    yield lw.Component(
        "pruner", "dominated", f"{pruners}:dominated", "dominated by others: the default for several goals"
    )


@lw.hookimpl
def labwright_kinds() -> Iterator[lw.Kind]:
    yield lw.Kind("sampler", "labwright_study.samplers:Sampler", "samplers", "`tune --sampler`")
    yield lw.Kind("pruner", "optuna.pruners:BasePruner", "pruners", "`tune --pruner`")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    here, search = "labwright_study.verbs", "Search and compare"
    yield lw.Verb("tune", f"{here}.tune:verb", "search for better settings of a recipe", search, trains=True)
    yield lw.Verb("study", f"{here}.study:verb", "list studies, show, export or delete one", search)
    yield lw.Verb("space", f"{here}.space:verb", "where a study of a recipe would look", search)
    yield lw.Verb("worker", f"{here}.worker:verb", "join a study from this or another machine", search, trains=True)
    yield lw.Verb(
        "compare", f"{here}.compare:verb", "which of some recipes or runs is really better", search, trains=True
    )
