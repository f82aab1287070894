"""The losses against torch.nn and written-out sums; a leading axis of trials passes through."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from labwright import Loss, generator
from labwright_recsys.clicks import Clicks
from labwright_recsys.data.synthetic import Synthetic
from labwright_recsys.losses import BPR, BinaryCrossEntropy, Pointwise, SampledSoftmax
from labwright_recsys.models.light_gcn import LightGCN
from labwright_recsys.models.matrix_factorization import MatrixFactorization
from labwright_recsys.top_n import TopN
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


LOSSES = pytest.mark.parametrize("loss", [BPR(), Pointwise(), SampledSoftmax(), BinaryCrossEntropy()], ids=str)


@LOSSES
@pytest.mark.parametrize("light_gcn", [False, True])
def test_an_update_cut_into_micro_batches_has_the_gradient_of_the_whole(loss: Loss, light_gcn: bool) -> None:
    """Each part counts by its samples: no loss here divides by anything else, or compares samples of a batch."""
    data = Synthetic(users=30, items=40, activity=14)
    task = Clicks(data, threshold=3.0) if isinstance(loss, BinaryCrossEntropy) else TopN(data, negatives=3)
    task.prepare()
    torch.manual_seed(0)
    model = (LightGCN if light_gcn else MatrixFactorization)(*task.ports(), dim=6, spread=1.0).double()
    (*_, batch) = task.batches("train", size=64, seed=0, epoch=0)
    whole = task.draw(batch, generator(1))
    whole = replace(whole, targets=whole.targets.double())
    assert loss.separable and loss.normalizer(whole.targets) is None

    def gradients(*parts: slice) -> list[Tensor]:
        model.zero_grad()
        for part in parts:
            piece = whole.rows(part)
            (task.loss(model, piece, loss, "train") * (task.weight(piece) / len(whole))).backward()
        return [one.grad.clone() for one in model.parameters()]

    cut = gradients(slice(0, 5), slice(5, 6), slice(6, len(whole)))
    for at_once, added in zip(gradients(slice(0, len(whole))), cut, strict=True):
        torch.testing.assert_close(added, at_once, rtol=1e-12, atol=1e-14)


@LOSSES
def test_an_axis_of_trials_passes_through(loss: torch.nn.Module) -> None:
    first, second = scores()
    if isinstance(loss, BinaryCrossEntropy):
        second = (first > 0).double()
    expected = torch.stack([loss(one, two) for one, two in zip(first, second, strict=True)])
    torch.testing.assert_close(loss(first, second), expected)
