"""How much of a search's winner was luck: its best trials again over fresh seeds.

The best of many noisy values is best partly because its noise was kind, so the value a search ends with is too good
(the winner's curse; Cawley & Talbot 2010 for model selection). Fresh seeds know nothing of the choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from labwright_study.paired_tests import (
    LEVEL,
    RESAMPLES,
    Direction,
    Interval,
    Pair,
    finite,
    in_brackets,
    interval_of,
    oriented,
    paired,
    range_of,
    seeds_needed,
    spread,
)


@dataclass(frozen=True)
class Confirmed:
    """A trial that was run again. `luck` is how much better it looked in the search than over fresh seeds on average.

    Intervals are those of the mean over fresh seeds, None where these are too few; `range` is the lowest and the
    highest value. The search's own value is a fixed number. `failed` counts fresh seeds without a value.
    """

    name: str
    searched: float
    seeds: int
    failed: int
    mean: float | None
    interval: Interval | None
    range: Interval | None
    luck: float | None
    luck_interval: Interval | None


@dataclass(frozen=True)
class Selection:
    """What fresh seeds say of a search, in the metric's unit; leads and luck are positive in the goal's direction.

    `trials` are those run again, best in the search first. `lead` is the winner's over the runner-up in the search,
    `fresh_lead` the mean of their paired differences over fresh seeds, `lead_luck` the one minus the other.
    `first` is the best over fresh seeds. `pairs` test the winner against each of the others: it was named before the
    fresh seeds were seen, so these are all the tests. `noise` is the standard deviation from seed to seed, pooled;
    `if_equal` how far the best of all `count` trials would stand out if they differed in noise alone (normal).
    """

    direction: Direction
    confidence: float
    trials: list[Confirmed]
    winner: str
    runner_up: str | None
    first: str | None
    lead: float | None
    fresh_lead: float | None
    fresh_lead_interval: Interval | None
    lead_luck: float | None
    lead_luck_interval: Interval | None
    pairs: list[Pair]
    count: int
    noise: float | None
    if_equal: float | None

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def sentences(self) -> list[str]:
        """What a person should know, in the order of its weight."""
        winner = self.trials[0]
        if winner.mean is None or winner.luck is None:
            return [f"{self.winner} gave no value for any fresh seed, so nothing can be said of its luck."]
        seen = spread(winner.interval, winner.range, winner.seeds, self.confidence)
        lines = [
            f"{self.winner} had {winner.searched:.5g} in the search and has {winner.mean:.5g} on average over "
            f"{winner.seeds} fresh seed{'s' * (winner.seeds != 1)}{in_brackets(seen)}: {self._luck(winner)}."
        ]
        if self.lead is not None and self.fresh_lead is not None:
            was = f"Its lead over {self.runner_up} was {self.lead:.3g} and is {self.fresh_lead:.3g}"
            lines.append(f"{was}{self._of_lead()}.")
            lines.append(self.pairs[0].sentence())
        if self.first is not None and self.first != self.winner:
            lines.append(f"Over fresh seeds {self.first} is best on average.")
        if self.if_equal is not None:
            lines.append(
                f"Were all {self.count} trials equally good, the best would still stand out by {self.if_equal:.3g}, "
                f"because the standard deviation from seed to seed is {self.noise:.3g}."
            )
        if winner.failed:
            lines.append(f"{winner.failed} of {winner.seeds + winner.failed} fresh runs of {self.winner} failed.")
        return lines

    def _luck(self, winner: Confirmed) -> str:
        """Of the winner's own value, as far as the seeds show it."""
        if winner.luck_interval is None:
            return f"whether it was lucky takes {seeds_needed(1, 1 - self.confidence)} seeds"
        assert winner.luck is not None
        if winner.luck_interval[0] <= 0 <= winner.luck_interval[1]:
            return "whether it was lucky can't be told"
        return f"it looked {abs(winner.luck):.3g} {'better' if winner.luck > 0 else 'worse'} than it is"

    def _of_lead(self) -> str:
        """How much of the lead was luck, as far as the seeds show it."""
        if self.lead_luck_interval is None or self.lead is None or self.lead_luck is None:
            return ""
        low, high = self.lead_luck_interval
        if low <= 0:
            return ", none of which was luck" if high < 0 else "; how much of it was luck can't be told"
        return f", {'all' if self.lead_luck >= self.lead else f'{self.lead_luck:.3g}'} of which was luck"


def selection_bias(
    searched: Mapping[str, float],
    fresh: Mapping[str, Sequence[float | None]],
    direction: Direction,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Selection:
    """How much of the lead of a search's winner was luck.

    `searched` holds the value of every trial that was trained to its end, by name; `fresh` the values of the best of
    them, run again with seeds that no trial had, in the order of the seeds, from the same split. None or no finite
    number is a run that failed. The winner is the best of `searched`, and has to be in `fresh`; of equals it is the one
    that stands first.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    ranked = sorted(fresh, key=lambda name: -sign * searched[name])
    trials = [_confirmed(name, searched[name], fresh[name], sign, level, resamples) for name in ranked]
    winner, *others = ranked
    runner_up = others[0] if others else None
    pairs = paired(fresh, direction, level=level, among=[(winner, one) for one in others], resamples=resamples)
    means = {one.name: one.mean for one in trials if one.mean is not None}
    lead = None if runner_up is None else sign * (searched[winner] - searched[runner_up])
    against = pairs[0] if pairs else None
    fresh_lead = None if against is None or against.mean is None else sign * against.mean
    lead_interval = None if against is None else oriented(against.interval, sign)
    noise = _pooled([finite(values) for values in fresh.values()])
    count = len(finite(searched.values()))
    return Selection(
        direction=direction,
        confidence=1 - level,
        trials=trials,
        winner=winner,
        runner_up=runner_up,
        first=max(means, key=lambda name: sign * means[name]) if means else None,
        lead=lead,
        fresh_lead=fresh_lead,
        fresh_lead_interval=lead_interval,
        lead_luck=None if lead is None or fresh_lead is None else lead - fresh_lead,
        lead_luck_interval=None if lead is None else _taken_from(lead, lead_interval),
        pairs=pairs,
        count=count,
        noise=noise,
        if_equal=None if noise is None else noise * expected_highest(count),
    )


def expected_highest(count: int) -> float:
    """The expected highest of so many standard normal numbers: 0 of one, 0.564 of two, 2.25 of fifty.

    The integral of x d(Phi(x)**count), by the trapezoidal rule from -10 to 10; good to 1e-6 up to a million.
    """
    x = np.linspace(-10, 10, 4001)
    normal = NormalDist()
    below = np.array([normal.cdf(float(one)) for one in x]) ** count
    return float(10 - (below[1:] + below[:-1]).sum() / 2 * (x[1] - x[0]))  # by parts


def _confirmed(
    name: str, searched: float, values: Sequence[float | None], sign: float, level: float, resamples: int
) -> Confirmed:
    seen = finite(values)
    mean = sum(seen) / len(seen) if seen else None
    interval = interval_of(seen, level, resamples=resamples)
    return Confirmed(
        name=name,
        searched=searched,
        seeds=len(seen),
        failed=len(values) - len(seen),
        mean=mean,
        interval=interval,
        range=range_of(seen),
        luck=None if mean is None else sign * (searched - mean),
        luck_interval=_taken_from(sign * searched, oriented(interval, sign)),
    )


def _pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation within groups."""
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    if not freedom:
        return None
    return math.sqrt(sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1) / freedom)


def _taken_from(value: float, interval: Interval | None) -> Interval | None:
    return None if interval is None else (value - interval[1], value - interval[0])
