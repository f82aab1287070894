"""The metrics against plain loops over sorted lists, scikit-learn, and properties that hold for any lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright_recsys.metrics import AUC, NDCG, Coverage, Hit, LogLoss, Precision, Recall, ReciprocalRank
from labwright_recsys.ranking import best
from torch import Tensor

few = settings(max_examples=60, deadline=None)


def slow(scores: list[float], wanted: set[int], seen: set[int], k: int) -> dict[str, float]:
    """One user's metrics by the definitions, item after item. Of equal scores the lower number stands first."""
    listed = sorted((item for item in range(len(scores)) if item not in seen), key=lambda i: (-scores[i], i))[:k]
    hits = [item in wanted for item in listed]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
    first = next((place + 1 for place, hit in enumerate(hits) if hit), None)
    return {
        "ndcg": gain / ideal,
        "hit": float(any(hits)),
        "recall": sum(hits) / len(wanted),
        "precision": sum(hits) / k,
        "mrr": 1 / first if first else 0.0,
    }


def fast(scores_BI: Tensor, wanted: list[set[int]], seen: list[set[int]], k: int) -> dict[str, float]:
    scores_BI = scores_BI.clone()
    truth_BI = torch.zeros(len(scores_BI), scores_BI.shape[1] + 1, dtype=torch.bool)
    for row, (good, had) in enumerate(zip(wanted, seen, strict=True)):
        scores_BI[row, list(had)] = -torch.inf
        truth_BI[row, list(good)] = True
    top_BK = best(scores_BI, k)
    arguments = truth_BI.gather(1, top_BK % truth_BI.shape[1]), torch.tensor([len(one) for one in wanted]), top_BK
    metrics = {"ndcg": NDCG(), "hit": Hit(), "recall": Recall(), "precision": Precision(), "mrr": ReciprocalRank()}
    for metric in metrics.values():
        half = len(scores_BI) // 2
        metric.update(*(one[:half] for one in arguments))
        metric.update(*(one[half:] for one in arguments))
    return {name: metric.compute() for name, metric in metrics.items()}


@st.composite
def users(draw: st.DrawFn) -> tuple[Tensor, list[set[int]], list[set[int]], int]:
    items, count, k = draw(st.integers(4, 12)), draw(st.integers(2, 5)), draw(st.integers(1, 6))
    values = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1.0, 7.0])  # few, so that many are tied
    scores = draw(st.lists(st.lists(values, min_size=items, max_size=items), min_size=count, max_size=count))
    wanted, seen = [], []
    for _ in range(count):
        wanted.append(draw(st.sets(st.integers(0, items - 1), min_size=1, max_size=items - 1)))
        seen.append(draw(st.sets(st.integers(0, items - 1))) - wanted[-1])
    return torch.tensor(scores), wanted, seen, min(k, items)


@few
@given(users())
def test_every_metric_equals_the_plain_loops_with_ties(drawn: tuple[Tensor, list[set[int]], list[set[int]], int]):
    scores_BI, wanted, seen, k = drawn
    each = [slow(s.tolist(), w, h, k) for s, w, h in zip(scores_BI, wanted, seen, strict=True)]
    expected = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    assert fast(scores_BI, wanted, seen, k) == pytest.approx(expected, abs=1e-12)


@few
@given(users())
def test_metrics_lie_between_0_and_1_and_the_best_scores_give_1(
    drawn: tuple[Tensor, list[set[int]], list[set[int]], int],
):
    scores_BI, wanted, seen, k = drawn
    assert all(0 <= value <= 1 for value in fast(scores_BI, wanted, seen, k).values())
    for row, good in enumerate(wanted):
        scores_BI[row, list(good)] += 100
    found = fast(scores_BI, wanted, seen, k)
    assert (found["ndcg"], found["hit"], found["mrr"]) == pytest.approx((1, 1, 1))


@few
@given(users(), st.integers(0, 3))
def test_one_more_hit_never_lowers_a_metric(drawn: tuple[Tensor, list[set[int]], list[set[int]], int], which: int):
    scores_BI, wanted, seen, k = drawn
    before = fast(scores_BI, wanted, seen, k)
    scores_BI[0, sorted(wanted[0])[which % len(wanted[0])]] = 50.0
    after = fast(scores_BI, wanted, seen, k)
    assert all(after[name] >= before[name] - 1e-12 for name in before)


def test_a_perfect_list_of_fewer_wanted_items_than_places_has_ndcg_1() -> None:
    metric = NDCG()
    metric.update(torch.tensor([[True, True, False, False]]), torch.tensor([2]), torch.zeros(1, 4))
    assert metric.compute() == pytest.approx(1)
    metric.update(torch.tensor([[False, True, False, False]]), torch.tensor([1]), torch.zeros(1, 4))
    assert metric.compute() == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_coverage_counts_items_once_and_the_end_of_a_list_not() -> None:
    metric = Coverage(10)
    assert math.isnan(metric.compute())
    metric.update(torch.zeros(2, 2), torch.ones(2), torch.tensor([[0, 3], [3, -1]]))
    metric.update(torch.zeros(1, 2), torch.ones(1), torch.tensor([[9, 0]]))
    assert metric.compute() == pytest.approx(0.3)
    metric.reset()
    assert math.isnan(metric.compute())


@few
@given(st.lists(st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.1, 3.0]), st.booleans()), min_size=2, max_size=40))
def test_auc_and_log_loss_equal_scikit_learns_with_ties(samples: list[tuple[float, bool]]) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    logits, clicked = torch.tensor([one for one, _ in samples]), torch.tensor([float(one) for _, one in samples])
    auc, loss = AUC(), LogLoss()
    for metric in (auc, loss):
        metric.update(logits[:1], clicked[:1])
        metric.update(logits[1:], clicked[1:])
    assert loss.compute() == pytest.approx(log_loss(clicked, logits.double().sigmoid(), labels=[0, 1]), rel=1e-5)
    if clicked.min() == clicked.max():
        assert math.isnan(auc.compute())
    else:
        assert auc.compute() == pytest.approx(roc_auc_score(clicked, logits), abs=1e-12)
