"""What steps with noise spend: epsilon of a history of parts, by Opacus' accountants; the noise that keeps to one.

Neighbouring data sets differ by one unit that is there or isn't, and each step draws units by Poisson sampling.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from labwright import LabwrightError

Accountant = Literal["prv", "rdp"]
_MOST_NOISE = 1e4  # a larger one drowns every gradient
_ALL = 0.98  # of epsilon; in what is left after it steps would be nothing but noise
_CLOSE = 2e-3  # relative, of the epsilon that is aimed at
_Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """Steps of one kind: noise in multiples of the bound, the share of units that a step draws, and how many steps.

    `key` tells one stretch of randomness from another.
    """

    key: str
    noise: float
    rate: float
    steps: int


def spent(history: Sequence[Part], delta: float, accountant: Accountant = "prv") -> float:
    """The epsilon of all parts together at `delta`; infinite where a part has no noise."""
    return _spent(tuple((part.noise, part.rate, part.steps) for part in history if part.steps), delta, accountant)


@lru_cache(maxsize=4096)
def _spent(history: tuple[tuple[float, float, int], ...], delta: float, accountant: Accountant) -> float:
    if not history:
        return 0.0
    if any(noise <= 0 for noise, _, _ in history):
        return math.inf
    from opacus.accountants import PRVAccountant, RDPAccountant

    _remember_orders()
    rdp, prv = RDPAccountant(), PRVAccountant()
    rdp.history = prv.history = list(history)
    with warnings.catch_warnings(action="ignore"):  # of orders at the end of their range, where the bound still holds
        logging.getLogger("opacus").setLevel(logging.ERROR)
        bound = float(rdp.get_epsilon(delta))
        # far beyond what protects anybody the grid of privacy losses takes more memory than it is worth
        if accountant == "rdp" or bound > _MOST_EPSILON:
            return bound
        try:
            return min(bound, float(prv.get_epsilon(delta)))
        except (ValueError, RuntimeError, MemoryError):  # whose grid has no room for the history
            return bound


def _remember_orders() -> None:
    """Have Opacus compute the Renyi divergence of a rate, a noise and an order once.

    By itself it does so three times for each epsilon: nine tenths of the time, however many steps it is of.
    """
    from opacus.accountants.analysis import rdp

    if not hasattr(rdp._compute_rdp, "cache_info"):
        rdp._compute_rdp = lru_cache(maxsize=100_000)(rdp._compute_rdp)


_MOST_EPSILON = 100.0


@lru_cache(maxsize=256)
def noise_for(
    epsilon: float,
    delta: float,
    rate: float,
    steps: int,
    history: tuple[Part, ...],
    accountant: Accountant,
) -> float:
    """The least noise with which so many more steps, after a history, keep to epsilon.

    Raises LabwrightError where no noise does.
    """
    before = spent(history, delta, accountant)
    if before >= _ALL * epsilon:
        raise LabwrightError(
            f"method.epsilon: {epsilon:g} is spent: the steps so far took {before:.4g} at delta {delta:g}, and what "
            "was spent can't be taken back. Raise method.epsilon, or end here."
        )

    def over(noise: float) -> float:
        """How much too much is spent, as a logarithm: falls with the logarithm of the noise, nearly in a line."""
        return math.log(spent((*history, Part("", noise, rate, steps)), delta, accountant) / epsilon)

    low, high = _around(over)
    if high is None:
        raise LabwrightError(
            f"method.epsilon: no noise keeps {steps:,} more steps, each with {rate:.3g} of the units, to {epsilon:g} "
            f"at delta {delta:g}. Raise one of the two, or take fewer steps or a smaller train.batch_size."
        )
    # false position, aimed a little below the mark so that the upper end closes in as well
    (x_low, y_low), (x_high, y_high) = low, high
    while y_high < -_CLOSE:
        share = min(0.95, max(0.05, (y_low + _CLOSE / 2) / (y_low - y_high)))
        x = x_low + (x_high - x_low) * share
        y = over(math.exp(x))
        if y > 0:
            x_low, y_low = x, y
        else:
            x_high, y_high = x, y
    return math.exp(x_high)


def _around(over: Callable[[float], float]) -> tuple[_Point, _Point | None]:
    """Logarithms of a noise that is too little and of one that is enough, each with what is spent too much."""
    x, y = 0.0, over(1.0)
    if y > 0:
        while y > 0:
            low, x = (x, y), x + max(0.1, min(0.7, y))
            if x > math.log(_MOST_NOISE):
                return low, None
            y = over(math.exp(x))
        return low, (x, y)
    while y <= 0:
        high, x = (x, y), x - max(0.1, min(0.35, -y))
        y = over(math.exp(x))
    return (x, y), high
