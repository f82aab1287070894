"""Pruning by dominated histories, for studies with one goal or several; Optuna's own pruners know one goal only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

REPORTS = "labwright:reports"  # system attribute: the values after each evaluation


class DominancePruner(BasePruner):
    """Prunes a trial whose best values so far are dominated by those that `by` others had at the same report.

    A trial on the final front can only be lost if `by` others were ahead of it in everything when it was looked at, and
    it would have overtaken all of them. Costs that are known from the first report on, such as the number of
    parameters, keep small models from being measured against large ones.
    """

    def __init__(self, *, by: int, startup: int, warmup: int) -> None:
        self.by, self.startup, self.warmup = by, startup, warmup

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        reports = trial.system_attrs.get(REPORTS, [])
        now = len(reports)
        if not now or now <= self.warmup:
            return False
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        others = study.get_trials(deepcopy=False, states=states)
        if sum(other.state is TrialState.COMPLETE for other in others) < self.startup:
            return False
        signs = np.array([1.0 if direction is StudyDirection.MINIMIZE else -1.0 for direction in study.directions])
        best = _best(reports, now, signs)
        count = 0
        for other in others:
            theirs = other.system_attrs.get(REPORTS, [])
            if len(theirs) >= now and _dominates(_best(theirs, now, signs), best):
                count += 1
        return count >= self.by


def _best(reports: Sequence[Sequence[float]], until: int, signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best value of each goal in the first reports, lower being better; a value that is no number is worst."""
    values = np.asarray(reports[:until], dtype=np.float64) * signs
    best: NDArray[np.float64] = np.where(np.isnan(values), np.inf, values).min(axis=0)
    return best


def _dominates(costs: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    return bool((costs <= others).all() and (costs < others).any())
