"""The losses against torch.nn and written-out sums; a leading axis of trials passes through."""

from __future__ import annotations

import math

import pytest
import torch
from labwright_recsys.losses import BPR, BinaryCrossEntropy, Pointwise, SampledSoftmax
from torch import Tensor
from torch.nn import functional


def scores() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((3, 6), (3, 6, 4)))  # type: ignore[return-value]


def test_bpr_is_the_mean_log_sigmoid_of_the_differences() -> None:
    positive, negative = scores()
    each = [
        -math.log(1 / (1 + math.exp(float(n - p)))) for p, ns in zip(positive[0], negative[0], strict=True) for n in ns
    ]
    assert float(BPR()(positive[0], negative[0])) == pytest.approx(sum(each) / len(each))


def test_pointwise_is_binary_cross_entropy_over_all_of_them() -> None:
    positive, negative = (one[0] for one in scores())
    logits = torch.cat([positive, negative.flatten()])
    labels = torch.cat([torch.ones_like(positive), torch.zeros_like(negative).flatten()])
    expected = functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(Pointwise()(positive, negative), expected)


def test_sampled_softmax_is_cross_entropy_of_the_first_of_them() -> None:
    positive, negative = (one[0] for one in scores())
    logits = torch.cat([positive[:, None], negative], dim=1)
    expected = functional.cross_entropy(logits, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(SampledSoftmax()(positive, negative), expected)


def test_losses_of_equal_scores_are_known() -> None:
    zeros = torch.zeros(5), torch.zeros(5, 3)
    assert float(BPR()(*zeros)) == pytest.approx(math.log(2))
    assert float(Pointwise()(*zeros)) == pytest.approx(math.log(2))
    assert float(SampledSoftmax()(*zeros)) == pytest.approx(math.log(4))


@pytest.mark.parametrize("loss", [BPR(), Pointwise(), SampledSoftmax(), BinaryCrossEntropy()], ids=str)
def test_an_axis_of_trials_passes_through(loss: torch.nn.Module) -> None:
    first, second = scores()
    if isinstance(loss, BinaryCrossEntropy):
        second = (first > 0).double()
    expected = torch.stack([loss(one, two) for one, two in zip(first, second, strict=True)])
    torch.testing.assert_close(loss(first, second), expected)
