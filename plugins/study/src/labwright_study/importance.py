"""How much each setting mattered in a study, and how much of that chance alone would have shown."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna.importance import PedAnovaImportanceEvaluator

LEAST = 10  # complete trials; fewer say nothing
BEST, FEWEST = 0.1, 5  # the best part of the trials that is told apart from the others, and the fewest it has
SHUFFLES = 19  # chance reaches the highest of so many once in twenty times
ENOUGH = 100  # trials to find out what chance does
FADING = 0.8  # with n trials it does n**-0.8 of that: the number of the best, and the densities' bandwidths (Scott)


@dataclass(frozen=True)
class Importance:
    """A parameter by its name in the storage: its share of all importance, and the share that chance reaches."""

    name: str
    share: float
    chance: float

    @property
    def certain(self) -> bool:
        return self.share > self.chance


def importances(study: optuna.Study, seed: int) -> list[Importance]:
    """The importance of each parameter, the highest first; the shares add up to 1.

    PED-ANOVA: how differently a parameter is distributed among the best tenth of the complete trials, or the best five,
    and among all of them; with several goals the best are those nearest to the front. Chance is the highest of 19
    with shuffled values. None if fewer than `LEAST` trials are complete, or all are equally good.

    Source: Watanabe et al. 2023; for parameters that only some trials have, Optuna's conditional PED-ANOVA.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < LEAST or len({tuple(trial.values) for trial in trials}) == 1:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = _evaluator(len(trials)).evaluate(study)
        names, total = list(values), sum(values.values())
        if not total:
            return []
        some = [trial.number for trial in trials[:: -(-len(trials) // ENOUGH)]]
        evaluator, random = _evaluator(len(some)), np.random.default_rng(seed)
        chance = dict.fromkeys(names, 0.0)
        for _ in range(SHUFFLES):
            place = dict(zip(some, map(float, random.permutation(len(some))), strict=True))
            drawn = evaluator.evaluate(study, names, target=partial(_at, place))
            chance = {name: max(highest, drawn[name]) for name, highest in chance.items()}
    fading = (len(some) / len(trials)) ** FADING
    ranked = sorted(names, key=lambda name: -values[name])
    return [Importance(name, values[name] / total, chance[name] * fading / total) for name in ranked]


def _at(place: Mapping[int, float], trial: FrozenTrial) -> float:
    return place.get(trial.number, math.nan)  # those that are no number are left out


def best_of(trials: int) -> int:
    """How many of the complete trials are the best."""
    return max(FEWEST, round(BEST * trials))


def _evaluator(trials: int) -> PedAnovaImportanceEvaluator:
    from optuna.importance import PedAnovaImportanceEvaluator  # imports scikit-learn where that is installed

    return PedAnovaImportanceEvaluator(target_quantile=best_of(trials) / trials)
