"""Confident learning against its paper's formulas, written plainly, and against sums made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from cleanlab.filter import find_label_issues
from labwright_tasks.checking.classifier import logistic, nearest_shares, out_of_fold
from labwright_tasks.checking.label_noise import label_noise
from labwright_tasks.metrics import area_under_curve
from torch import Tensor


def as_the_paper_has_it(probabilities: list[list[float]], labels: list[int]) -> tuple[set[int], list[list[float]]]:
    """Northcutt et al. 2021: thresholds (2), confident joint (1), its calibration (3); loops instead of tensors."""
    classes, samples = len(probabilities[0]), range(len(labels))
    of_label = [[n for n in samples if labels[n] == label] for label in range(classes)]
    thresholds = [sum(probabilities[n][c] for n in of_label[c]) / len(of_label[c]) for c in range(classes)]
    joint = [[0.0] * classes for _ in range(classes)]
    doubted = set()
    for n in samples:
        over = [c for c in range(classes) if probabilities[n][c] >= thresholds[c]]
        if not over:
            continue
        likely = max(over, key=lambda c: probabilities[n][c])
        joint[labels[n]][likely] += 1
        if likely != labels[n] and max(range(classes), key=lambda c: probabilities[n][c]) != labels[n]:
            doubted.add(n)
    for label in range(classes):
        whole = sum(joint[label])
        row = [value / whole * len(of_label[label]) for value in joint[label]]
        joint[label] = [value / len(labels) for value in row]
    return doubted, joint


def drawn(classes: int, samples: int, noise: float) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) drawn around true classes, and labels of which a share is others."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.randint(classes, (samples,), generator=generator)
    logits = torch.randn(samples, classes, generator=generator)
    logits[torch.arange(samples), truth] += 2.5
    flipped = torch.rand(samples, generator=generator) < noise
    labels = torch.where(flipped, torch.randint(classes, (samples,), generator=generator), truth)
    return logits.softmax(1), labels


def test_suspects_and_joint_are_those_of_the_papers_formulas():
    probabilities, labels = drawn(4, 400, 0.15)
    doubted, joint = as_the_paper_has_it(probabilities.tolist(), labels.tolist())
    noise = label_noise(probabilities, labels)
    assert len(doubted) > 20
    assert set(noise.suspects.tolist()) == doubted
    assert torch.allclose(noise.joint_CC, torch.tensor(joint, dtype=torch.float64))
    assert noise.share == pytest.approx(1 - sum(joint[c][c] for c in range(4)))


@pytest.mark.parametrize(("classes", "samples", "noise"), [(2, 200, 0.05), (4, 400, 0.15), (10, 900, 0.3)])
def test_suspects_are_those_of_cleanlab(classes, samples, noise):
    probabilities, labels = drawn(classes, samples, noise)
    theirs = find_label_issues(labels.numpy(), probabilities.double().numpy(), filter_by="confident_learning")
    suspects = label_noise(probabilities, labels).suspects
    assert len(suspects) >= noise * samples / 2
    assert suspects.sort().values.tolist() == theirs.nonzero()[0].tolist()


def test_suspects_of_what_a_classifier_says_of_points_are_those_of_cleanlab():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    x = torch.eye(3)[labels] + 0.4 * torch.randn(300, 3, generator=generator)
    flipped = torch.rand(300, generator=generator) < 0.1
    labels = torch.where(flipped, (labels + 1) % 3, labels)
    probabilities = out_of_fold(x, labels, 3, folds=5, seed=0)
    theirs = find_label_issues(labels.numpy(), probabilities.double().numpy(), filter_by="confident_learning")
    suspects = label_noise(probabilities, labels).suspects.sort().values.tolist()
    assert len(suspects) > 15 and suspects == theirs.nonzero()[0].tolist()


def test_a_joint_made_by_hand():
    # thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.9) / 2 = 0.8; the third sample counts for 1,
    # the fourth for none
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    noise = label_noise(probabilities, torch.tensor([0, 0, 0, 1, 1]))
    assert noise.suspects.tolist() == [2]
    assert noise.likely_N.tolist() == [0, 0, 1, -1, 1]
    assert noise.joint_CC.tolist() == [[pytest.approx(2 / 5), pytest.approx(1 / 5)], [0, pytest.approx(2 / 5)]]
    assert noise.share == pytest.approx(0.2)


def test_the_most_doubtful_label_comes_first():
    probabilities = torch.tensor([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 6 + [[0.06, 0.94], [0.02, 0.98]])
    labels = torch.tensor([0] * 6 + [1] * 6 + [0, 0])
    assert label_noise(probabilities, labels).suspects.tolist() == [13, 12]


def test_a_class_that_nothing_counts_for_is_taken_as_right():
    # class 1 is never confident of its own, nor of anything else
    probabilities = torch.tensor([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]])
    noise = label_noise(probabilities, torch.tensor([0, 0, 1, 2]))
    assert noise.joint_CC.sum().item() == pytest.approx(1)
    assert noise.joint_CC.isfinite().all()


def test_logistic_regression_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    x, new = torch.randn(200, 5, generator=generator), torch.randn(30, 5, generator=generator)
    labels = (x[:, 0] + torch.randn(200, generator=generator) > 0).long() + (x[:, 1] > 1).long()
    # its penalty is |w|^2 / (2 C) beside a sum over samples, ours 0.01 |w|^2 beside a mean
    theirs = linear_model.LogisticRegression(C=1 / (2 * 200 * 0.01), max_iter=1000, tol=1e-8).fit(x, labels)
    expected = torch.from_numpy(theirs.predict_proba(new)).float()
    assert torch.allclose(logistic(x, labels, new, 3), expected, atol=2e-3)


def test_neighbours_vote_and_no_class_is_ruled_out():
    x = torch.tensor([[0.0]] * 10 + [[5.0]] * 10)
    labels = torch.tensor([0] * 8 + [1] * 2 + [2] * 10)
    # ten nearest: 8 and 2, and a tenth of a vote beforehand for each of three classes
    expected = torch.tensor([[8.1, 2.1, 0.1], [0.1, 0.1, 10.1]]) / 10.3
    assert torch.allclose(nearest_shares(x, labels, torch.tensor([[0.1], [4.9]]), 3), expected)


def test_no_sample_is_judged_by_a_classifier_that_has_seen_it():
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(200, 3, generator=generator), torch.randint(2, (200,), generator=generator)
    changed = labels.clone()
    changed[7] = 1 - changed[7]
    # random labels: its own label is all that could tell, and the deal of the folds doesn't change with it
    before = out_of_fold(x, labels, 2, folds=5, seed=0)
    agrees = (before.argmax(1) == labels).float().mean()
    assert abs(float(agrees) - 0.5) < 4 * math.sqrt(0.25 / 200)


def test_the_area_under_the_curve_counts_pairs():
    scores, positive = torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([False, False, True, True])
    # of four pairs three are in order and one is a tie
    assert float(area_under_curve(scores, positive)) == pytest.approx(3.5 / 4)
