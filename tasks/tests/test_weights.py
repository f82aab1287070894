"""Samples with weights: the loss is sum(w * loss) / sum(w). N samples, B batch, F features, C classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from labwright import Batch, Classes, Data, Features, Heads, LabwrightError, Loss, Split, TensorSplit
from labwright_tasks.losses import CrossEntropy, Huber, MeanSquaredError, Penalized
from labwright_tasks.multi import HeadBatch, MultiTask
from labwright_tasks.weights import WeightedBatch, weight_of, weighted_loss
from torch import Tensor, nn

DRAWN = torch.Generator().manual_seed(3)


def batch_of(count: int, targets: Tensor, weights: Tensor) -> WeightedBatch:
    return WeightedBatch((torch.randn(count, 4, generator=DRAWN),), targets, weights)


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.2), Penalized(CrossEntropy(), l2=0.1)])
def test_a_loss_over_classes_is_the_weighted_mean_of_that_of_each_sample(loss: Loss) -> None:
    logits_BC, labels_B = torch.randn(5, 3, generator=DRAWN), torch.tensor([0, 2, 1, 1, 0])
    weights_B = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0])
    each = torch.stack([loss(logits_BC[row : row + 1], labels_B[row : row + 1]) for row in range(5)])
    whole = weighted_loss(loss, logits_BC, batch_of(5, labels_B, weights_B))
    torch.testing.assert_close(whole, (weights_B * each).sum() / 6.5)


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber(delta=0.5)])
def test_whole_weights_count_as_often_as_rows_would(loss: Loss) -> None:
    given_BD, targets_BD = torch.randn(4, 2, generator=DRAWN), torch.randn(4, 2, generator=DRAWN)
    weights_B = torch.tensor([1.0, 3.0, 0.0, 2.0])
    again = torch.repeat_interleave(torch.arange(4), weights_B.long())
    whole = weighted_loss(loss, given_BD, batch_of(4, targets_BD, weights_B))
    torch.testing.assert_close(whole, loss(given_BD[again], targets_BD[again]))


def test_micro_batches_make_the_whole_by_what_they_weigh() -> None:
    logits_BC, labels_B = torch.randn(6, 3, generator=DRAWN), torch.tensor([0, 2, 1, 1, 0, 2])
    whole = batch_of(6, labels_B, torch.tensor([1.0, 0.0, 4.0, 2.0, 0.5, 0.5]))
    pieces = [slice(0, 2), slice(2, 6)]
    losses = [weighted_loss(CrossEntropy(), logits_BC[some], whole.rows(some)) for some in pieces]
    shares = [weight_of(whole.rows(some)) / weight_of(whole) for some in pieces]
    together = sum(share * loss for share, loss in zip(shares, losses, strict=True))
    torch.testing.assert_close(together, weighted_loss(CrossEntropy(), logits_BC, whole))


def test_a_batch_that_weighs_nothing_has_a_loss_and_a_gradient_of_0() -> None:
    logits_BC = torch.randn(3, 2, generator=DRAWN, requires_grad=True)
    loss = weighted_loss(CrossEntropy(), logits_BC, batch_of(3, torch.tensor([0, 1, 1]), torch.zeros(3)))
    loss.backward()
    assert loss == 0
    assert logits_BC.grad is not None
    assert not logits_BC.grad.any()


def minimised(layer: nn.Linear, loss: Loss, batch: Batch) -> nn.Linear:
    """The layer with the weights that make the loss over a batch least."""
    search = torch.optim.LBFGS(layer.parameters(), max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        mean = weighted_loss(loss, layer(*batch.inputs), batch)
        mean.backward()
        return mean

    for _ in range(5):
        search.step(closure)
    return layer


def weighted_rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, 4), noisy answers (N,) and weights (N,), float64."""
    x_NF = torch.randn(count, 4, generator=DRAWN, dtype=torch.float64)
    answers_N = x_NF @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64) + torch.randn(count, generator=DRAWN)
    return x_NF, answers_N, torch.rand(count, generator=DRAWN, dtype=torch.float64) * 3


def test_a_linear_classifier_ends_where_that_of_scikit_learn_does() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x_NF, answers_N, weights_N = weighted_rows(300)
    labels_N = (answers_N > 0).long()
    theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000)
    theirs.fit(x_NF.numpy(), labels_N.numpy(), sample_weight=weights_N.numpy())
    ours = minimised(nn.Linear(4, 2).double(), CrossEntropy(), WeightedBatch((x_NF,), labels_N, weights_N))
    # two logits are one number too many: their difference is scikit-learn's
    np.testing.assert_allclose((ours.weight[1] - ours.weight[0]).detach().numpy(), theirs.coef_[0], atol=1e-4)
    np.testing.assert_allclose((ours.bias[1] - ours.bias[0]).detach().numpy(), theirs.intercept_[0], atol=1e-4)


def test_a_linear_regression_ends_where_that_of_scikit_learn_does() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x_NF, answers_N, weights_N = weighted_rows(200)
    theirs = linear_model.LinearRegression().fit(x_NF.numpy(), answers_N.numpy(), sample_weight=weights_N.numpy())
    batch = WeightedBatch((x_NF,), answers_N[:, None], weights_N)
    ours = minimised(nn.Linear(4, 1).double(), MeanSquaredError(), batch)
    np.testing.assert_allclose(ours.weight[0].detach().numpy(), theirs.coef_, atol=1e-4)


def test_floors_of_scikit_learn_are_given_the_weights() -> None:
    pytest.importorskip("sklearn")
    from labwright import Features
    from labwright_tasks.linear_floor import ridge

    class Part:
        def __init__(self, batch: Batch) -> None:
            self.batch = batch

        def __len__(self) -> int:
            return len(self.batch)

        def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
            return WeightedBatch((self.batch.inputs[0][indices],), self.batch.targets[indices], weights_N[indices])

    x_NF, answers_N, weights_N = weighted_rows(300)
    weights_N[:150] = 0
    whole = Part(Batch((x_NF.float(),), answers_N[:, None].float()))
    answered = ridge(Features((4,)), whole)
    assert answered is not None
    from sklearn.linear_model import LinearRegression

    theirs = LinearRegression().fit(x_NF.numpy(), answers_N.numpy(), sample_weight=weights_N.numpy())
    given_N = answered[1](x_NF.float())[:, 0].numpy()
    np.testing.assert_allclose(given_N, theirs.predict(x_NF.numpy()), atol=0.05)  # a ridge holds back a little


def test_of_several_heads_each_is_weighed_by_the_rows_it_has() -> None:
    targets = {"a": torch.tensor([0, -100, 1, 1]), "b": torch.randn(4, 1, generator=DRAWN)}
    weights_B = torch.tensor([1.0, 5.0, 3.0, 0.5])
    rows = HeadBatch.of(WeightedBatch((torch.zeros(4, 1),), targets, weights_B))
    assert rows.share("a") == pytest.approx(4.5 / 9.5)
    assert rows.share("b") == 1
    logits_BC = torch.randn(4, 2, generator=DRAWN)
    loss = weighted_loss(CrossEntropy(), rows.only("a", logits_BC), rows.of_head("a"))
    each_B = nn.functional.cross_entropy(logits_BC, targets["a"], reduction="none")
    torch.testing.assert_close(loss, (weights_B * each_B).sum() / 4.5)
    pieces = [rows.rows(slice(0, 2)), rows.rows(slice(2, 4))]
    assert sum(weight_of(piece) * piece.share("a") for piece in pieces) == pytest.approx(4.5)


def test_what_would_weigh_twice_or_not_at_all_is_refused() -> None:
    batch = batch_of(2, torch.tensor([0, 1]), torch.ones(2))
    logits_BC = torch.randn(2, 2, generator=DRAWN)
    with pytest.raises(LabwrightError, match=r"loss\.weights: samples have weights of their own"):
        weighted_loss(CrossEntropy(weights=[1.0, 2.0]), logits_BC, batch)
    with pytest.raises(LabwrightError, match=r"loss CrossEntropyLoss: task\.data\.weight weighs samples"):
        weighted_loss(nn.CrossEntropyLoss(), logits_BC, batch)


def test_of_several_heads_what_weighs_nothing_is_measured_like_any_other() -> None:
    heads = Heads({"a": Classes(("no", "yes")), "b": Classes(("no", "yes"))})
    targets = {"a": torch.tensor([1, -100, 0]), "b": torch.tensor([1, 0, 0])}

    class Rows(Data):
        item, target = Features, Heads

        def prepare(self) -> None: ...

        def ports(self) -> tuple[Features, Heads]:
            return Features((1,)), heads

        def split(self, name: str) -> Split:
            return TensorSplit((torch.zeros(3, 1),), targets)

    task = MultiTask(Rows())
    task.prepare()
    batch = WeightedBatch((torch.zeros(3, 1),), targets, torch.tensor([0.0, 1.0, 0.0]))
    (results,) = task.evaluate(lambda x_B1: {head: torch.zeros(len(x_B1), 2) for head in targets}, batch)  # type: ignore[arg-type]
    assert {head: len(of_head[1]) for head, of_head in results.items()} == {"a": 2, "b": 3}
