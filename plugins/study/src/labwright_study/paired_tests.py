"""Is one better than another? Differences that are paired over seeds, their interval, their test, a verdict.

- The interval of a mean is the expanded percentile bootstrap (Hesterberg 2015, "What Teachers Should Know About the
  Bootstrap", section 5.3). With few seeds the plain percentile and BCa bootstraps are too narrow: of nominally 95 %
  intervals of 8 normal differences both cover 88 %, the expanded one 94 % (tests/test_paired_tests.py measures it).
- The test is the sign-flip permutation test of the mean difference, two-sided: if the two are the same, each seed's
  difference could as well have had the other sign. It is exact for up to 20 seeds and assumes no distribution.
- Every pair of candidates is tested, and p is corrected for their number by Holm (1979). Against the best alone would
  be fewer tests, but which one is best was seen in the same values, so that p would be too small.
- The effect size is Cohen's d_z, the mean of the differences over their standard deviation, times the small-sample
  factor of Hedges (1981), as Lakens (2013) recommends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_UP_TO = 20  # differences: half a million sums of signs
FLIPS = 100_000  # drawn where there are more
RESAMPLES = 100_000
LEVEL = 0.05
_ORDERED = ("better", "seeds change nothing")  # verdicts that name the better one
_AT_ONCE = 10_000  # rows of random numbers in memory

Interval = tuple[float, float]
Values = Sequence[float] | NDArray[np.float64]
Direction = Literal["minimize", "maximize"]
Verdict = Literal["better", "cannot tell", "too few seeds", "same values", "seeds change nothing"]


@dataclass(frozen=True)
class Pair:
    """Two candidates over the seeds that both finished; differences are first minus second, in the metric's unit.

    `left_out` counts seeds where a value is missing. `interval` is that of the mean difference of this pair by itself,
    None of fewer seeds than `seeds_needed` says of one; `range` are the lowest and the highest difference. `p` is not
    corrected, `p_holm` is; `exact` says whether all signs were tried or only FLIPS drawn ones. `effect` is None where
    the differences don't vary. `needed` is the number of seeds from which on the smallest possible `p_holm` reaches the
    level, `comparisons` that of the pairs p is corrected for. `better` is named by the verdicts "better" and "seeds
    change nothing".
    """

    first: str
    second: str
    seeds: int
    left_out: int
    mean: float | None
    interval: Interval | None
    range: Interval | None
    first_ahead: int
    second_ahead: int
    effect: float | None
    p: float | None
    p_holm: float | None
    exact: bool
    needed: int
    comparisons: int
    confidence: float
    verdict: Verdict
    better: str | None

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """The verdict in words, with the difference it rests on: of the one named first from the one named after it."""
        both = f"{self.first} and {self.second}"
        text = {
            "better": f"{self.better} is better than {self.worse}",
            "cannot tell": f"Cannot tell {both} apart",
            "too few seeds": f"No verdict on {both} from {_counted(self.seeds)}, it needs {self.needed}",
            "same values": f"{both} gave the same value for each of {self.seeds} seeds",
            "seeds change nothing": f"{self.better} is better than {self.worse} on this data, where each gave one "
            f"value for all {self.seeds} seeds, so that there is no chance to test",
        }[self.verdict]
        if self.mean is not None and self.verdict != "same values":
            sign, ahead = (-1, self.second_ahead) if self.better == self.second else (1, self.first_ahead)
            text += f": difference {sign * self.mean:+.4g}"
            if self.verdict != "seeds change nothing":
                ends = (oriented(self.interval, sign), oriented(self.range, sign))
                text += in_brackets(spread(*ends, self.seeds, self.confidence, "+.4g"))
            if self.p_holm is not None:
                text += f", ahead on {ahead} of {self.seeds}, p {self.p_holm:.2g}"
        if self.left_out:
            text += f". {_counted(self.left_out)} left out, because a run failed"
        return f"{text}."

    @property
    def worse(self) -> str | None:
        """The one that isn't better, where one is."""
        return None if self.better is None else self.second if self.better == self.first else self.first


def paired(
    values: Mapping[str, Sequence[float | None]],
    direction: Direction,
    *,
    level: float = LEVEL,
    among: Iterable[tuple[str, str]] | None = None,
    resamples: int = RESAMPLES,
) -> list[Pair]:
    """The verdict on each pair of candidates, whose values stand in the order of the seeds.

    A value that is None or no finite number is a run that failed: its seed is left out of the candidate's pairs.
    `among` names the pairs, where they were chosen without looking at these values; by default all of them.
    """
    pairs = list(combinations(values, 2) if among is None else among)
    needed = seeds_needed(len(pairs), level)
    differences = [_differences(values[first], values[second]) for first, second in pairs]
    # nothing is tested where there is nothing to vary, but the pair still counts among those that are corrected for
    tested = [len(some) > 0 and not _both_constant(values, pair) for some, pair in zip(differences, pairs, strict=True)]
    tests = [sign_flip(some) if tests else None for some, tests in zip(differences, tested, strict=True)]
    corrected = holm([1.0 if test is None else test[0] for test in tests])
    judged = []
    for pair, some, test, p_holm in zip(pairs, differences, tests, corrected, strict=True):
        verdict = _verdict(some, p_holm, level, needed, constant=_both_constant(values, pair))
        mean = float(some.mean()) if len(some) else None
        up, down = (0, 1) if direction == "maximize" else (1, 0)
        ahead = (int((some > 0).sum()), int((some < 0).sum()))
        judged.append(
            Pair(
                first=pair[0],
                second=pair[1],
                seeds=len(some),
                left_out=max(len(values[name]) for name in pair) - len(some),
                mean=mean,
                interval=interval_of(some, level, resamples=resamples),
                range=range_of(some),
                first_ahead=ahead[up],
                second_ahead=ahead[down],
                effect=effect_size(some),
                p=test and test[0],
                p_holm=test and p_holm,
                exact=test is None or test[1],
                needed=needed,
                comparisons=len(pairs),
                confidence=1 - level,
                verdict=verdict,
                better=pair[up if mean > 0 else down] if mean and verdict in _ORDERED else None,
            )
        )
    return judged


def seeds_needed(comparisons: int, level: float = LEVEL) -> int:
    """The fewest seeds with which a sign-flip test corrected for so many comparisons can reach the level.

    With n seeds no p is under 2 / 2**n, and Holm multiplies the smallest by the number of comparisons.
    """
    seeds = 1
    while 2 * comparisons / 2**seeds > level:
        seeds += 1
    return seeds


def sign_flip(differences: ArrayLike, *, seed: int = 0) -> tuple[float, bool]:
    """The two-sided p of the sign-flip test of the mean, and whether it is exact.

    Beyond EXACT_UP_TO differences FLIPS patterns of signs are drawn and the one observed is counted among them
    (Phipson & Smyth 2010), so that p is never 0.
    """
    d_N = np.asarray(differences, dtype=float)
    seen = abs(d_N.sum())
    reached = seen - 1e-12 * np.abs(d_N).sum()  # sums that differ by their rounding alone are ties
    if len(d_N) <= EXACT_UP_TO:
        sums = d_N[:1].copy()  # a pattern and its opposite are equally far: the first sign can stay
        for one in d_N[1:]:
            sums = np.concatenate([sums + one, sums - one])
        return float(np.mean(np.abs(sums) >= reached)) if len(sums) else 1.0, True
    random = np.random.default_rng(seed)
    as_far = 0
    for begin in range(0, FLIPS, _AT_ONCE):
        signs = random.integers(0, 2, (min(_AT_ONCE, FLIPS - begin), len(d_N)), dtype=np.int8) * 2.0 - 1.0
        as_far += int((np.abs(signs @ d_N) >= reached).sum())
    return (as_far + 1) / (FLIPS + 1), False


def holm(p: Sequence[float]) -> list[float]:
    """p corrected for their number, in the given order (Holm 1979): smallest times m, next times m - 1, ..."""
    corrected = [1.0] * len(p)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


def mean_interval(
    values: ArrayLike, confidence: float = 1 - LEVEL, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The expanded percentile bootstrap interval of a mean, for two values or more.

    The quantiles are taken further out than `confidence` says, so that for normal values the interval is as wide as
    Student's: at Phi(-sqrt(n / (n - 1)) * t). With four values or fewer that is all of what resampling can give, and
    still too little: 95 % covers 88 % with four values, 76 % with three.
    """
    x_N = np.asarray(values, dtype=float)
    n = len(x_N)
    if np.ptp(x_N) == 0:
        return float(x_N[0]), float(x_N[0])
    tail = expanded_tail(n, confidence)
    random = np.random.default_rng(seed)
    means = [
        x_N[random.integers(0, n, (min(_AT_ONCE, resamples - begin), n))].mean(axis=1)
        for begin in range(0, resamples, _AT_ONCE)
    ]
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def interval_of(values: Values, level: float, *, resamples: int = RESAMPLES) -> Interval | None:
    """`mean_interval`, or nothing of so few values that it would promise more than it holds."""
    if len(values) < seeds_needed(1, level):
        return None
    return mean_interval(values, 1 - level, resamples=resamples)


def range_of(values: Values) -> Interval | None:
    """The lowest and the highest of two values or more."""
    return (float(min(values)), float(max(values))) if len(values) > 1 else None


def spread(interval: Interval | None, seen: Interval | None, seeds: int, confidence: float, form: str = ".4g") -> str:
    """An interval in words, without one the range of the seeds; nothing of a single one."""
    if interval is not None:
        return f"{confidence:.0%} interval {interval[0]:{form}} to {interval[1]:{form}}"
    if seen is None:
        return ""
    return f"range of {seeds} seeds {seen[0]:{form}} to {seen[1]:{form}}"


def in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def oriented(interval: Interval | None, sign: float) -> Interval | None:
    """Of what is multiplied by the sign."""
    return interval if interval is None or sign > 0 else (-interval[1], -interval[0])


def expanded_tail(n: int, confidence: float) -> float:
    """The probability in each tail at which `mean_interval` takes its quantiles."""
    from scipy import stats  # takes a second to import

    return float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + confidence) / 2, n - 1)))


def effect_size(differences: ArrayLike) -> float | None:
    """Hedges' g_z of paired differences; None for fewer than three or where they don't vary.

    The small-sample factor is J(n - 1) = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)), exact.
    """
    d_N = np.asarray(differences, dtype=float)
    m = len(d_N) - 1
    if m < 2 or np.ptp(d_N) <= 1e-12 * np.abs(d_N).max():
        return None
    factor = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
    return float(d_N.mean() / d_N.std(ddof=1) * factor)


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are there and are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def _differences(first: Sequence[float | None], second: Sequence[float | None]) -> NDArray[np.float64]:
    """First minus second, of the seeds that have both; what is only rounding counts as none."""
    return np.array(list(_differing(first, second)), dtype=float)


def _differing(first: Sequence[float | None], second: Sequence[float | None]) -> Iterator[float]:
    for one, other in zip(first, second, strict=False):
        if one is not None and other is not None and math.isfinite(one) and math.isfinite(other):
            yield 0.0 if math.isclose(one, other, rel_tol=1e-12) else one - other


def _counted(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds != 1)}"


def _both_constant(values: Mapping[str, Sequence[float | None]], pair: tuple[str, str]) -> bool:
    """Whether each of two candidates had one and the same value for every seed; seeds are no sample of anything then.

    Of fewer than three seeds nothing is said: a coarse metric repeats itself by chance.
    """
    seen = [finite(values[name]) for name in pair]
    return all(len(some) > 2 and len(set(some)) == 1 for some in seen)


def _verdict(differences: NDArray[np.float64], p_holm: float, level: float, needed: int, *, constant: bool) -> Verdict:
    if len(differences) > 1 and not differences.any():
        return "same values"
    if len(differences) > 1 and constant:
        return "seeds change nothing"
    if len(differences) < needed:
        return "too few seeds"
    return "better" if p_holm <= level else "cannot tell"
