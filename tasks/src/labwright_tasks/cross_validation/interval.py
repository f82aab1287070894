"""The mean of resampled scores, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence


def corrected_interval(scores: Sequence[float], held_out: float, level: float = 0.95) -> tuple[float, float]:
    """An interval for the expected score of a model that is trained on as many samples as a fold is.

    Folds learn from largely the same samples, so that their scores vary less than scores of new data would: s**2 / K is
    too small a variance of the mean. Nadeau and Bengio's is (1 / K + held_out) * s**2, with Student's t of K - 1
    degrees of freedom. It is approximate: none is unbiased whatever the data (Bengio & Grandvalet 2004).

    Args:
        scores: of each fold, two or more.
        held_out: the samples that a fold is measured on over those it learned from: 1 / (K - 1) of K folds.
        level: how often such intervals are meant to hold the true value.

    Source: Nadeau & Bengio 2003, "Inference for the Generalization Error", Machine Learning 52, section 3.2; for folds
    Bouckaert & Frank 2004.
    """
    count, mean = len(scores), math.fsum(scores) / len(scores)
    variance = math.fsum((score - mean) ** 2 for score in scores) / (count - 1)
    half = t_quantile((1 + level) / 2, count - 1) * math.sqrt((1 / count + held_out) * variance)
    return mean - half, mean + half


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t for 0.5 <= probability < 1, by halving an interval; `freedom` is a whole number."""
    low, high = 0.0, 1.0
    while t_below(high, freedom) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_below(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_below(t: float, freedom: int) -> float:
    """The probability that Student's t is below `t`, by its finite series (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(odd + 1, freedom, 2) if freedom > 1 else ():
        total += term
        term *= step / (step + 1) * cosine**2
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 + within) / 2
