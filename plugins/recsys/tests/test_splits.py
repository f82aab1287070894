"""What is held out: the rules of each split, and that nothing leaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from labwright import LabwrightError
from labwright_recsys.data.movielens import MovieLens
from labwright_recsys.data.splits import LEFT_OUT, TEST, TRAIN, VALID, parts

SHARES = {"valid": 0.1, "test": 0.1, "seed": 0}


def made(users: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted by user and item; user u has u + 1 interactions; many have the same time."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), np.arange(1, users + 1))
    item = np.concatenate([np.sort(random.choice(100, count, replace=False)) for count in range(1, users + 1)])
    return user, item, random.integers(0, 12, len(user)).astype(float)


def test_random_holds_out_floored_shares_of_each_user() -> None:
    user, item, _ = made()
    found = parts("random", user, item, None, valid=0.1, test=0.2, seed=0)
    for one in range(30):
        counts = np.bincount(found[user == one], minlength=3)
        assert counts.tolist()[1:] == [(one + 1) // 10, (one + 1) // 5]


def test_random_depends_on_the_seed_and_not_on_the_other_users() -> None:
    user, item, _ = made()
    found = parts("random", user, item, None, **SHARES)
    assert not np.array_equal(found, parts("random", user, item, None, **SHARES | {"seed": 1}))
    late = user >= 20
    assert np.array_equal(found[late], parts("random", user[late], item[late], None, **SHARES))


def test_leave_one_out_takes_the_last_two_of_three_or_more() -> None:
    user, item, time = made()
    found = parts("leave-one-out", user, item, time, **SHARES)
    for one in range(30):
        mine, when = found[user == one], time[user == one]
        if one < 2:
            assert (mine == TRAIN).all()
            continue
        assert Counter(mine.tolist()) == {TRAIN: one - 1, VALID: 1, TEST: 1}
        assert when[mine == TRAIN].max() <= when[mine == VALID].min() <= when[mine == TEST].min() == when.max()


def test_among_equal_times_no_end_of_the_catalogue_is_preferred() -> None:
    user = np.repeat(np.arange(2000), 10)
    item = np.tile(np.arange(10), 2000)
    found = parts("leave-one-out", user, item, np.zeros(len(user)), **SHARES)
    counts = np.bincount(item[found == TEST], minlength=10)
    assert (abs(counts - 200) < 5 * np.sqrt(200 * 0.9)).all()  # five standard deviations


def test_temporal_parts_share_no_moment_and_know_their_users() -> None:
    user, item, time = made(60)
    late = (user > 57) * 100  # two users, 117 of 1,830 interactions: none of them in the training part
    found = parts("temporal", user, item, time + late, **SHARES)
    time = time + late
    assert time[found == TRAIN].max() < time[found == VALID].min()
    assert time[found == VALID].max() < time[found == TEST].min()
    assert set(user[(found == VALID) | (found == TEST)]) <= set(user[found == TRAIN])
    assert (found == LEFT_OUT).any()


def test_a_split_by_time_needs_times_and_something_before() -> None:
    user, item, _ = made()
    for manner in ("leave-one-out", "temporal"):
        with pytest.raises(LabwrightError, match=r"goes by time.*task\.data\.split=random"):
            parts(manner, user, item, None, **SHARES)
    with pytest.raises(LabwrightError, match="too many have the same time"):
        parts("temporal", user, item, np.ones(len(user)), **SHARES)


@pytest.mark.parametrize("manner", ["random", "leave-one-out", "temporal"])
def test_movielens_is_parted_without_a_pair_in_two_parts(movielens: Path, manner: str) -> None:
    data = MovieLens(folder=movielens, split=manner)
    data.prepare()
    splits = {name: data.split(name) for name in ("train", "valid", "test")}
    pairs = [set(zip(one.users_N.tolist(), one.items_N.tolist(), strict=True)) for one in splits.values()]
    left = int((data.parts_N == LEFT_OUT).sum())
    assert sum(map(len, pairs)) + left == len(set.union(*pairs)) + left == 100_000
    if manner == "leave-one-out":
        assert [len(one) for one in pairs] == [100_000 - 2 * 943, 943, 943]
    if manner == "random":
        held_out = int((data.users_N.bincount() // 10).sum())
        assert [len(one) for one in pairs[1:]] == [held_out, held_out]


def test_the_items_held_out_of_movielens_are_not_the_last_of_the_catalogue(movielens: Path) -> None:
    """Rows are in item order and 415 users have tied last times: a stable sort would hold out high numbers."""
    data = MovieLens(folder=movielens, split="leave-one-out")
    data.prepare()
    table = data.table()
    order = np.lexsort((table.times, np.array(table.users, dtype=int)))
    users, times = np.array(table.users, dtype=int)[order], table.times[order]
    last = np.flatnonzero(np.r_[users[1:] != users[:-1], True])
    tied = users[last[times[last] == times[last - 1]]]
    assert len(tied) == 415
    test = data.split("test")
    chosen = dict(zip(test.users_N.tolist(), test.items_N.tolist(), strict=True))
    ranks = []
    for name in tied.tolist():
        mine = (users == name) & (times == times[users == name].max())
        among = sorted(int(table.items[row]) for row in order[mine])
        ranks.append(among.index(int(data.items[chosen[data.users.index(str(name))]])) / (len(among) - 1))
    assert abs(np.mean(ranks) - 0.5) < 0.08  # 0 were always the first of the catalogue, 1 always the last
