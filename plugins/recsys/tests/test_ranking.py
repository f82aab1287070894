"""Lists in order, ties included; ragged histories; negatives that are even over what a user hasn't had."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright_recsys.ranking import ItemsOf, best, scores_of
from torch import Tensor, nn

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38, torch.inf, -torch.inf, 0.5]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(SPECIAL), min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 9))
def test_the_best_are_those_of_a_stable_sort(rows: list[list[float]], places: int) -> None:
    scores = torch.tensor(rows)
    values, order = scores.sort(dim=1, descending=True, stable=True)
    expected = order.masked_fill(values == -torch.inf, -1)[:, :places]
    assert torch.equal(best(scores, places), expected)


def test_what_is_no_number_stands_in_no_list() -> None:
    assert best(torch.tensor([[torch.nan, 1.0, -torch.inf]]), 2).tolist() == [[1, -1]]


def of_user(*items: int, total: int = 6) -> ItemsOf:
    """User 1 has the items; user 0 has the first, user 2 none."""
    users = torch.tensor([0, *[1] * len(items)])
    return ItemsOf(users, torch.tensor([0, *items]), users=3, items=total)


def test_histories_are_given_by_row() -> None:
    had = of_user(2, 5).of(torch.tensor([1, 2, 0, 1]))
    assert had.tolist() == [[0, 0, 2, 3, 3], [2, 5, 0, 2, 5]]


@pytest.mark.parametrize("items", [(0,), (5,), (0, 1, 2), (1, 3, 5), (0, 2, 3, 4, 5), ()])
def test_negatives_are_every_other_item_equally_often(items: tuple[int, ...]) -> None:
    others = [item for item in range(6) if item not in items]
    draws = (torch.arange(len(others) * 4, dtype=torch.float64) + 0.5) / (len(others) * 4)
    found = of_user(*items).others(torch.tensor([1]), draws[None])
    assert found[0].bincount(minlength=6).tolist() == [4 if item in others else 0 for item in range(6)]


def test_negatives_of_random_histories_are_never_had() -> None:
    generator = torch.Generator().manual_seed(0)
    had_UI = torch.rand(50, 40, generator=generator) < torch.rand(50, 1, generator=generator) * 0.99
    users_E, items_E = had_UI.nonzero().T
    table = ItemsOf(users_E, items_E, users=50, items=40)
    users_B, some_E = torch.tensor([7, 3]), torch.arange(len(items_E)) % 2 == 0
    chosen = [
        (row, int(items_E[place]))
        for row, user in enumerate((7, 3))
        for place in range(len(items_E))
        if users_E[place] == user and some_E[place]
    ]
    assert list(map(tuple, table.of(users_B, some_E).T.tolist())) == chosen
    users_B = torch.randint(50, (500,), generator=generator)
    drawn = table.others(users_B, torch.rand(500, 8, dtype=torch.float64, generator=generator))
    full_U = had_UI.all(1)
    assert not had_UI[users_B[:, None], drawn][~full_U[users_B]].any()
    assert drawn.min() >= 0 and drawn.max() < 40


class Distance(nn.Module):
    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        return -(users_B - items_B).abs().float()


def test_a_model_of_pairs_is_asked_for_all_of_them() -> None:
    users = torch.tensor([3, 0])
    expected = -(users[:, None] - torch.arange(5)).abs().float()
    assert torch.equal(scores_of(Distance(), users, 5), expected)
