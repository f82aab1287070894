"""Checks of metrics, on what the task of a recipe evaluates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from labwright import Metric

from labwright_testing.kit import NotApplicable, Subject, check

SAMPLES = 40
CLOSE = 1e-6


@check("metric")
def has_no_order_and_no_size_of_batches(subject: Subject) -> None:
    """The same samples in 1, 2 or 5 batches, and in the other order, give the same to 1e-6.

    Sum up over samples, not over batches, in float64. A metric whose order of updates matters says `ordered = True`.
    """
    results = _results(subject)
    whole = _computed(_made(subject), results)
    cuts = {f"{count} batches": [part for one in results for part in _cut(one, count)] for count in (2, 5)}
    if not getattr(_made(subject), "ordered", False):
        cuts["5 batches in reverse"] = cuts["5 batches"][::-1]
    for cut, parts in cuts.items():
        found = _computed(_made(subject), parts)
        assert _alike(whole, found), f"in one batch it is {whole}, in {cut} {found}"


@check("metric")
def begins_anew_after_reset(subject: Subject) -> None:
    """After `reset` nothing is left of the updates before, and `compute` changes nothing: it gives the same twice."""
    results, metric = _results(subject), _made(subject)
    first = _computed(metric, results)
    assert _alike(first, _numbers(metric.compute())), "a second `compute` gives something else"
    metric.update(*_cut(results[0], 5)[0])
    metric.reset()
    again = _computed(metric, results)
    assert _alike(first, again), f"it is {first} at first, {again} after a reset"


@check("metric")
def gives_numbers(subject: Subject) -> None:
    """`compute` gives one number, or a table of numbers, and draws no random ones."""
    before = torch.get_rng_state()
    values = _computed(_made(subject), _results(subject))
    assert values, "it gives an empty table"
    assert torch.equal(before, torch.get_rng_state()), "it draws from torch's generator"


def _made(subject: Subject) -> Metric:
    """The metric as the task of its recipe makes it. Raises NotApplicable if no recipe's task takes it."""
    if subject.first is None:
        raise NotApplicable("no recipe's task has a place for it")
    made: Metric = next(metric for name, metric in subject.task.metrics().items() if name in _names(subject))
    return made


def _names(subject: Subject) -> list[str]:
    """How the log may call it: by its name without the domain, with settings after a dot."""
    short = subject.name.rpartition("/")[2]
    return [name for name in subject.task.metrics() if name == short or name.startswith(f"{short}.")]


def _results(subject: Subject) -> list[tuple[Any, ...]]:
    """What the task evaluates of the first samples, as one batch that can be cut, if it can."""
    _made(subject)
    return [subject.results(subject.built().model, subject.held_out(SAMPLES))]


def _cut(results: tuple[Any, ...], count: int) -> list[tuple[Any, ...]]:
    """The rows of a batch's results in `count` parts, if all of them have a row for each sample."""
    lengths = {_rows(one) for one in results}
    length = lengths.pop()
    if lengths or not length:
        raise NotApplicable("what its task evaluates has no rows")
    edges = [length * number // count for number in range(count + 1)]
    return [tuple(one[low:high] for one in results) for low, high in pairwise(edges) if high > low]


def _rows(result: Any) -> int:
    """The rows of a result, 0 if it has none."""
    return len(result) if isinstance(result, Sequence) or (isinstance(result, torch.Tensor) and result.dim()) else 0


def _computed(metric: Metric, results: Sequence[tuple[Any, ...]]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what so few samples lack, such as one of a class
        for arguments in results:
            metric.update(*arguments)
        return _numbers(metric.compute())


def _numbers(value: Any) -> dict[str, float]:
    return dict(_flat("", value))


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if not isinstance(value, Mapping):
        yield name, float(value)
        return
    for key, inner in value.items():
        yield from _flat(f"{name}/{key}", inner)


def _alike(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    return left.keys() == right.keys() and all(_close(value, right[name]) for name, value in left.items())


def _close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=CLOSE, abs_tol=CLOSE) or (math.isnan(left) and math.isnan(right))
