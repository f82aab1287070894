"""The built-in losses against torch.nn, finite differences and written-out sums."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from labwright.base.errors import LabwrightError
from labwright.base.search import Part
from labwright.config.signature import signature
from labwright.data.ports import Classes, Values
from labwright.interfaces.loss import LEFT_OUT, Loss
from labwright_tasks.losses import CrossEntropy, Huber, MeanAbsoluteError, MeanSquaredError, Penalized
from torch import Tensor, nn

OF_VALUES = [
    (MeanSquaredError(), nn.MSELoss()),
    (MeanAbsoluteError(), nn.L1Loss()),
    (Huber(), nn.HuberLoss()),
    (Huber(delta=0.3), nn.HuberLoss(delta=0.3)),
]
of_values = pytest.mark.parametrize(("loss", "reference"), OF_VALUES, ids=lambda value: str(value))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_labels(*shape: int, classes: int = 5) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(0))


class Adversarial(Loss):
    """A loss with methods of its own, and a penalty."""

    def forward(self, real: Tensor) -> Tensor:
        return real.mean()

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - fake).mean()

    def penalty(self, parameters: dict[str, Tensor]) -> Tensor:
        return torch.tensor(7.0, dtype=torch.float64)


# -------------------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_equals_that_of_torch(smoothing):
    logits, labels = normal(8, 5), some_labels(8)
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    assert torch.equal(CrossEntropy(label_smoothing=smoothing)(logits, labels), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [[0.1, 0.337, 1.703], [0.0, 0.337, 1.703]])
def test_weights_of_classes_are_not_rounded_in_half_precision(smoothing, weights):
    """By torch's own loss of the same logits in float64: bfloat16 knows 0.337 as 0.3379, one in 400."""
    logits, labels = normal(64, 3).to(torch.bfloat16), torch.arange(64) % 3
    loss = CrossEntropy(label_smoothing=smoothing, weights=weights)
    loss.prepare(Classes(tuple("abc")))
    counted = labels > 0 if 0 in weights else labels >= 0
    reference = nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)
    expected = reference(logits[counted].double(), labels[counted]).item()
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_of_classes_are_those_of_torch_and_lead_axes_pass_through(smoothing):
    logits, labels, weights = normal(3, 8, 5), some_labels(3, 8), [1.0, 0.5, 2.0, 0.25, 3.0]
    labels[0, 2] = LEFT_OUT
    loss = CrossEntropy(label_smoothing=smoothing, weights=weights)
    loss.prepare(Classes(tuple("abcde")))
    reference = nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)
    expected = [reference(each, its) for each, its in zip(logits, labels, strict=True)]
    assert torch.equal(loss(logits[0], labels[0]), expected[0])
    assert loss(logits, labels).tolist() == pytest.approx([value.item() for value in expected], rel=1e-14)
    per_trial = CrossEntropy(weights=weights)
    per_trial.prepare(Classes(tuple("abcde")))
    per_trial.label_smoothing = torch.full((3,), smoothing, dtype=torch.float64)
    assert per_trial(logits, labels).tolist() == pytest.approx([value.item() for value in expected], rel=1e-14)
    assert loss.grouped({}, logits, labels) is NotImplemented
    assert loss.normalizer(labels[0]) == sum(weights[label] for label in labels[0].tolist() if label != LEFT_OUT)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_samples_that_all_weigh_nothing_have_no_loss_and_no_gradient(smoothing):
    weights = [1.0, 0.5, 2.0, 0.0, 3.0]
    loss = CrossEntropy(label_smoothing=smoothing, weights=weights)
    loss.prepare(Classes(tuple("abcde")))
    logits, labels = normal(3, 4, 5).requires_grad_(), torch.tensor([[3, 3, 3, 3], [0, 3, 4, 1], [3, LEFT_OUT, 3, 3]])
    losses = loss(logits, labels)
    losses.sum().backward()
    # of the second torch's, over the samples that weigh something
    reference = nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)
    some = [0, 2, 3]
    expected = reference(logits[1, some], labels[1, some])
    assert losses.tolist() == pytest.approx([0.0, expected.item(), 0.0], rel=1e-14)
    assert loss(logits[1], labels[1]).item() == pytest.approx(expected.item(), rel=1e-14)
    assert not logits.grad[0].any() and not logits.grad[2].any() and logits.grad[1].any()
    alone = logits.detach()[0].requires_grad_()
    loss(alone, labels[0]).backward()
    assert loss(alone, labels[0]) == 0 and not alone.grad.any()
    assert loss.normalizer(labels[0]) == 0


def test_weights_may_name_some_classes_and_the_others_weigh_one():
    loss = CrossEntropy(weights={"b": 2.5})
    loss.prepare(Classes(("a", "b", "c")))
    assert loss.weight_C.tolist() == [1.0, 2.5, 1.0]
    assert not loss.state_dict()  # the data gives them, not a checkpoint


@pytest.mark.parametrize(
    ("weights", "outputs", "words"),
    [
        (
            "balanced",
            Classes(("a", "b")),
            "training samples of each class: how many isn't told here; give a number",
        ),
        ("balanced", Classes(("a", "b"), (3, 0)), "class 'b' has none; give a number for each class"),
        ([1.0], Values(1), "the targets are Values, not Classes"),
        ([1.0, math.inf], Classes(("a", "b")), "each is a number from 0 on"),
    ],
)
def test_weights_that_can_not_be_known_are_refused(weights, outputs, words):
    with pytest.raises(LabwrightError, match=words):
        CrossEntropy(weights=weights).prepare(outputs)


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    for smoothing in (0.0, 0.3):
        loss = CrossEntropy(label_smoothing=smoothing)(torch.zeros(3, 10, dtype=torch.float64), some_labels(3))
        assert loss.item() == pytest.approx(math.log(10), rel=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("axes", [(3,), (2, 3), (1,)])
def test_axes_before_the_batch_pass_through_cross_entropy(smoothing, axes):
    loss = CrossEntropy(label_smoothing=smoothing)
    logits, labels = normal(*axes, 8, 5), some_labels(*axes, 8)
    found = loss(logits, labels)
    assert found.shape == axes
    one_by_one = [loss(*pair) for pair in zip(logits.reshape(-1, 8, 5), labels.reshape(-1, 8), strict=True)]
    torch.testing.assert_close(found.flatten(), torch.stack(one_by_one), rtol=1e-14, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_samples_labelled_minus_100_are_left_out_with_and_without_a_leading_axis(smoothing):
    loss = CrossEntropy(label_smoothing=smoothing)
    logits, labels = normal(2, 8, 5), some_labels(2, 8)
    labels[0, 3:], labels[1, 1] = -100, -100
    kept = torch.stack(
        [loss(logits[0, :3], labels[0, :3]), loss(logits[1, [0, 2, 3, 4, 5, 6, 7]], labels[1][labels[1] >= 0])]
    )
    torch.testing.assert_close(loss(logits, labels), kept, rtol=1e-14, atol=0)
    torch.testing.assert_close(loss(logits[0], labels[0]), kept[0], rtol=1e-14, atol=0)


def test_each_trial_can_have_a_smoothing_of_its_own():
    logits, labels = normal(3, 8, 5), some_labels(3, 8)
    together = CrossEntropy()
    together.label_smoothing = torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64)
    separate = [CrossEntropy(label_smoothing=one) for one in (0.0, 0.1, 0.5)]
    expected = torch.stack([loss(*pair) for loss, *pair in zip(separate, logits, labels, strict=True)])
    torch.testing.assert_close(together(logits, labels), expected, rtol=1e-14, atol=0)

    def alone(smoothing: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        loss = CrossEntropy()
        loss.label_smoothing = smoothing
        return loss(logits, labels)

    mapped = torch.vmap(alone)(together.label_smoothing, logits, labels)
    torch.testing.assert_close(mapped, expected, rtol=1e-14, atol=0)


def test_a_class_whose_logit_is_minus_infinity_costs_nothing_where_it_is_not_the_label():
    logits, labels = normal(2, 4, 5), some_labels(2, 4, classes=4)
    logits[..., 4] = -torch.inf
    loss = CrossEntropy()
    expected = torch.stack([loss(logits[0, :, :4], labels[0]), loss(logits[1, :, :4], labels[1])])
    torch.testing.assert_close(loss(logits, labels), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("axes", [(), (3,)])
def test_the_gradient_of_cross_entropy_equals_finite_differences(smoothing, axes):
    loss, labels = CrossEntropy(label_smoothing=smoothing), some_labels(*axes, 4)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, labels), normal(*axes, 4, 5).requires_grad_())


# --------------------------------------------------------------------------------------------------------- real numbers


@of_values
def test_losses_of_values_equal_those_of_torch(loss, reference):
    predictions, targets = normal(8, 3), normal(8, 3, seed=1)
    assert torch.equal(loss(predictions, targets), reference(predictions, targets))


@of_values
@pytest.mark.parametrize("axes", [(4,), (2, 3)])
def test_axes_before_the_batch_pass_through_losses_of_values(loss, reference, axes):
    predictions, targets = normal(*axes, 8, 3), normal(*axes, 8, 3, seed=1)
    found = loss(predictions, targets)
    assert found.shape == axes
    pairs = zip(predictions.reshape(-1, 8, 3), targets.reshape(-1, 8, 3), strict=True)
    expected = torch.stack([reference(*pair) for pair in pairs])
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-14, atol=0)


@of_values
@pytest.mark.parametrize("axes", [(), (2,)])
def test_the_gradients_of_losses_of_values_equal_finite_differences(loss, reference, axes):
    targets = normal(*axes, 4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda predictions: loss(predictions, targets), normal(*axes, 4, 3).requires_grad_()
    )


@pytest.mark.parametrize(("error", "expected"), [(0.5, 0.125), (1.0, 0.5), (3.0, 2 * (3 - 1)), (-3.0, 2 * (3 - 1))])
def test_huber_is_squared_below_delta_and_straight_beyond(error, expected):
    found = Huber(delta=2.0)(torch.tensor([[error]]), torch.tensor([[0.0]]))
    assert found.item() == expected  # error**2 / 2, or delta * (|error| - delta / 2)


@of_values
def test_predictions_that_would_be_broadcast_are_refused(loss, reference):
    with pytest.raises(LabwrightError, match=r"predictions have shape \(8, 1\), targets \(8,\)"):
        loss(normal(8, 1), normal(8))


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.1), *(loss for loss, _ in OF_VALUES)], ids=str
)
def test_losses_under_vmap_equal_losses_with_a_leading_axis(loss):
    outputs = normal(3, 8, 5)
    targets = some_labels(3, 8) if isinstance(loss, CrossEntropy) else normal(3, 8, 5, seed=1)
    torch.testing.assert_close(torch.vmap(loss)(outputs, targets), loss(outputs, targets), rtol=1e-14, atol=0)


# ------------------------------------------------------------------------------------------------------------ penalties


def test_penalties_are_the_sums_of_absolute_values_and_of_squares():
    weights = {"a": torch.tensor([[1.0, -2.0]], dtype=torch.float64), "b": torch.tensor(-3.0, dtype=torch.float64)}
    assert Penalized(CrossEntropy(), l1=0.1).penalty(weights).item() == pytest.approx(0.1 * (1 + 2 + 3))
    assert Penalized(CrossEntropy(), l2=0.1).penalty(weights).item() == pytest.approx(0.1 * (1 + 4 + 9))
    assert Penalized(CrossEntropy(), l1=1.0, l2=0.1).penalty(weights).item() == pytest.approx(6 + 1.4)


def test_penalties_compose_and_none_adds_nothing():
    weights = {"a": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    assert Penalized(CrossEntropy()).penalty(weights) is None
    assert Penalized(Penalized(CrossEntropy(), l1=1.0), l2=1.0).penalty(weights).item() == 3 + 5
    assert Penalized(Adversarial(), l1=1.0).penalty(weights).item() == 3 + 7
    assert Penalized(Adversarial()).penalty(weights).item() == 7
    assert Penalized(CrossEntropy(), l1=1.0).penalty({}) is None


def test_the_gradient_of_a_penalty_equals_finite_differences():
    loss = Penalized(MeanSquaredError(), l1=0.3, l2=0.7)
    weights = (normal(3, 2).requires_grad_(), normal(4, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(lambda *given: loss.penalty(dict(enumerate(given))), weights)


def test_an_l2_of_half_the_weight_decay_is_weight_decay_for_plain_descent():
    weight = normal(5).requires_grad_()
    Penalized(CrossEntropy(), l2=0.05).penalty({"w": weight}).backward()
    torch.testing.assert_close(weight.grad, 0.1 * weight.detach(), rtol=1e-15, atol=0)


def test_a_penalized_loss_is_called_as_the_loss_within():
    logits, labels = normal(8, 5), some_labels(8)
    inner = CrossEntropy(label_smoothing=0.1)
    assert torch.equal(Penalized(inner, l1=0.1)(logits, labels=labels), inner(logits, labels))
    assert Penalized(inner).inner is inner
    assert torch.equal(Penalized(nn.CrossEntropyLoss(), l1=0.1)(logits, labels), CrossEntropy()(logits, labels))
    assert Penalized(nn.CrossEntropyLoss()).penalty({}) is None
    adversarial = Penalized(Penalized(Adversarial(), l1=1.0))
    assert adversarial.critic(torch.ones(2), fake=torch.zeros(2)).item() == 1
    assert copy.deepcopy(adversarial).critic(torch.ones(2), torch.zeros(2)).item() == 1
    with pytest.raises(AttributeError, match="generator"):
        adversarial.generator(torch.ones(2))


def test_a_penalty_around_something_that_is_no_loss_is_refused():
    with pytest.raises(LabwrightError, match="a penalty goes with a loss that is complete in itself"):
        Penalized(lambda outputs: CrossEntropy())


@pytest.mark.parametrize("loss", [CrossEntropy, MeanSquaredError, MeanAbsoluteError, Huber, Penalized])
def test_the_constructors_are_readable_as_settings(loss):
    settings = signature(loss).settings
    assert list(settings) == {
        CrossEntropy: ["label_smoothing", "weights"],
        Huber: ["delta"],
        Penalized: ["loss", "l1", "l2"],
    }.get(loss, [])
    assert all(setting.mark for name, setting in settings.items() if name not in ("loss", "weights"))
    assert loss is not Penalized or settings["loss"].part == Part("loss")
