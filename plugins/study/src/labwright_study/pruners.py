"""When a trial isn't worth going on with: Optuna's pruners by name, and one for several goals.

Steps are evaluations of `valid`, counted from 1. A pruner is a function with settings that returns an Optuna pruner.
"""

from __future__ import annotations

from typing import Annotated, Any

from labwright import Part
from pydantic import Field

Startup = Annotated[int, Field(ge=0)]
Reports = Annotated[int, Field(ge=1)]
Factor = Annotated[int, Field(ge=2)]


def never() -> Any:
    """Every trial is trained to its end."""
    from optuna.pruners import NopPruner

    return NopPruner()


def median(*, startup: Startup = 5, warmup: Startup = 0, interval: Reports = 1) -> Any:
    """Prune what is worse than the median of the finished trials at the same report (Golovin et al. 2017, section 3).

    Args:
        startup: trials that are complete before any is pruned.
        warmup: first report at which a trial may be pruned.
        interval: at each how many reports, from `warmup` on, it is looked at.
    """
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup, interval_steps=interval)


def percentile(
    *,
    keep: Annotated[float, Field(gt=0, lt=100)] = 25.0,
    startup: Startup = 5,
    warmup: Startup = 0,
    interval: Reports = 1,
) -> Any:
    """Prune what isn't among the best `keep` percent at the same report.

    Args:
        keep: percentage of the complete trials, the best at that report, that a trial has to be among.
        startup: trials that are complete before any is pruned.
        warmup: first report at which a trial may be pruned.
        interval: at each how many reports, from `warmup` on, it is looked at.
    """
    from optuna.pruners import PercentilePruner

    return PercentilePruner(keep, n_startup_trials=startup, n_warmup_steps=warmup, interval_steps=interval)


def halving(*, first: Reports = 1, factor: Factor = 4, spare: Startup = 0) -> Any:
    """Asynchronous successive halving (Li et al. 2020): one in `factor` goes on at each rung.

    The first rung is at report `first * factor**spare`, each further one `factor` times as late.

    Args:
        first: report of the first rung, where none is spared.
        factor: of so many trials on a rung one goes on, to a rung so many times as late.
        spare: rungs at the beginning that are left out.
    """
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor, min_early_stopping_rate=spare)


def hyperband(*, first: Reports = 1, last: Reports | None = None, factor: Factor = 3) -> Any:
    """Successive halving with several first rungs side by side (Li et al. 2018).

    Args:
        first: report of the earliest first rung.
        last: reports of a whole trial; left out, those of the first complete one, before which none is pruned.
        factor: of so many trials on a rung one goes on, to a rung so many times as late.
    """
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=first, max_resource=last or "auto", reduction_factor=factor)


def patient(
    *,
    pruner: Annotated[Any, Part("pruner")] = "median",
    patience: Reports = 2,
    min_delta: Annotated[float, Field(ge=0)] = 0.0,
) -> Any:
    """Let another pruner decide only when a trial hasn't improved for a while.

    Args:
        pruner: the pruner that decides then.
        patience: reports that a trial may go on without getting better: the best of the last `patience` + 1 is compared
            with the best before them.
        min_delta: how much worse than that the best of the last ones has to be.
    """
    from optuna.pruners import PatientPruner

    return PatientPruner(pruner, patience=patience, min_delta=min_delta)


def wilcoxon(*, p: Annotated[float, Field(ge=0, le=1)] = 0.1, startup: Annotated[int, Field(ge=1)] = 2) -> Any:
    """Prune what a signed-rank test (Wilcoxon 1945) finds worse than the best trial, report by report.

    It is for reports that are parts of the value, such as folds.

    Args:
        p: level of the test: a trial is pruned where its p-value is below.
        startup: reports that a trial has in common with the best one before it is tested; two at least.
    """
    from optuna.pruners import WilcoxonPruner

    return WilcoxonPruner(p_threshold=p, n_startup_steps=startup)


def dominated(*, by: Reports = 3, startup: Startup = 5, warmup: Startup = 0) -> Any:
    """Prune what `by` finished trials dominated at the same report: the pruner for several goals.

    One history dominates another at a report if its best values so far are nowhere worse and somewhere better. With one
    goal it is successive rejection by rank.

    Args:
        by: finished or pruned trials that have to dominate a trial for it to be pruned.
        startup: trials that are complete before any is pruned.
        warmup: reports at the beginning of a trial at which it is never pruned.
    """
    from labwright_study.dominance import DominancePruner

    return DominancePruner(by=by, startup=startup, warmup=warmup)
