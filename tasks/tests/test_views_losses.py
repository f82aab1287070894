"""Losses over two views, against closed forms and against the formulas of their papers written out in loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import labwright as lw
import numpy as np
import pytest
import torch
from labwright_tasks.views_losses import Byol, InBatch, NtXent, VICReg
from torch import Tensor


def views(count: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, count, dim, generator=draws, dtype=torch.float64)
    return first, second


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_nt_xent_is_equation_1_of_simclr(temperature: float) -> None:
    first, second = views()
    rows = np.concatenate([first.numpy(), second.numpy()])
    total = 0.0
    for i, row in enumerate(rows):
        j = (i + len(first)) % len(rows)
        others = [math.exp(cosine(row, rows[k]) / temperature) for k in range(len(rows)) if k != i]
        total += -math.log(math.exp(cosine(row, rows[j]) / temperature) / sum(others))
    assert float(NtXent(temperature=temperature)(first, second)) == pytest.approx(total / len(rows), rel=1e-12)


def test_nt_xent_of_orthogonal_pairs_and_of_one_point_has_a_closed_form() -> None:
    # alike within a pair, orthogonal to all others: B pairs have 2B - 2 negatives of similarity 0
    pairs = torch.eye(5, dtype=torch.float64)
    assert float(NtXent(temperature=0.5)(pairs, 3 * pairs)) == pytest.approx(math.log(1 + 8 * math.exp(-2)), rel=1e-12)
    alike = torch.ones(5, 3)
    assert float(NtXent(temperature=0.1)(alike, alike)) == pytest.approx(math.log(9), rel=1e-6)


@pytest.mark.parametrize("both", [False, True])
def test_in_batch_is_the_cross_entropy_over_cosines_with_the_own_pair_as_the_class(both: bool) -> None:
    first, second = views()
    table = np.array([[math.exp(cosine(a, b) / 0.1) for b in second.numpy()] for a in first.numpy()])
    ways = [-np.log(np.diag(table) / table.sum(axis)).mean() for axis in ((1, 0) if both else (1,))]
    assert float(InBatch(temperature=0.1, both=both)(first, second)) == pytest.approx(np.mean(ways), rel=1e-12)


def test_in_batch_of_one_point_is_the_entropy_of_guessing() -> None:
    alike = torch.ones(8, 3)
    assert float(InBatch()(alike, alike)) == pytest.approx(math.log(8), rel=1e-6)


def test_vicreg_is_what_its_authors_code_computes() -> None:
    first, second = views(count=7, dim=5)
    invariance = float(((first - second) ** 2).mean())
    variance = covariance = 0.0
    for view in (first.numpy(), second.numpy()):
        variance += np.maximum(0, 1 - np.sqrt(view.var(axis=0, ddof=1) + 1e-4)).mean() / 2
        table = np.cov(view.T)
        covariance += sum(table[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    parts = VICReg(invariance=25.0, variance=15.0, covariance=2.0)(first, second)
    assert list(parts) == ["invariance", "variance", "covariance"]
    assert [float(part) for part in parts.values()] == pytest.approx([25 * invariance, 15 * variance, 2 * covariance])


def test_vicreg_of_one_point_is_all_variance() -> None:
    alike = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    parts = VICReg()(alike, alike)
    assert [float(part.detach()) for part in parts.values()] == pytest.approx([0, 25 * (1 - 0.01), 0])
    sum(parts.values()).backward()  # type: ignore[union-attr]  # a root has no end of a slope at 0
    assert alike.grad is not None and bool(alike.grad.isfinite().all())


def test_byol_is_the_squared_distance_of_directions() -> None:
    first, second = views()
    unit = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in (first.numpy(), second.numpy())]
    expected = ((unit[0] - unit[1]) ** 2).sum(axis=1).mean()
    assert float(Byol()(first, second)) == pytest.approx(expected, rel=1e-12)
    assert float(Byol()(first, -2 * first)) == pytest.approx(4)


def test_only_what_is_a_mean_over_samples_is_separable() -> None:
    first, second = views()
    assert not lw.separable(NtXent()) and not lw.separable(VICReg())
    halves = [Byol()(first[some], second[some]) for some in (slice(0, 3), slice(3, 6))]
    assert lw.separable(Byol())
    torch.testing.assert_close(Byol()(first, second), torch.stack(halves).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [NtXent(), VICReg(), Byol()], ids=lambda loss: type(loss).__name__)
def test_half_precision_is_computed_in_float32(loss: Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]]) -> None:
    first, second = (view.to(torch.bfloat16) for view in views())
    rough, exact = loss(first, second), loss(first.float(), second.float())
    if isinstance(rough, Tensor):
        rough, exact = {"loss": rough}, {"loss": exact}
    assert isinstance(exact, dict)
    for name, part in rough.items():
        assert part.dtype == torch.float32 and torch.equal(part, exact[name])
