"""Which interactions are learned from, and which are held out: without randomness that isn't stated. N interactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from labwright import LabwrightError, When, derived_seed
from pydantic import Field

Manner = Literal["random", "leave-one-out", "temporal"]
Share = Annotated[float, Field(ge=0, lt=1), When("split", but=("leave-one-out",))]
Seed = Annotated[int, Field(ge=0), When("split", "random")]
TRAIN, VALID, TEST, LEFT_OUT = range(4)
_AT_ONCE = 1 << 19  # interactions
NAMES = {"train": TRAIN, "valid": VALID, "test": TEST}


def parts(
    manner: Manner,
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None,
    *,
    valid: float,
    test: float,
    seed: int,
) -> np.ndarray:
    """The part of each interaction, (N,) uint8: TRAIN, VALID, TEST or LEFT_OUT. `users` and `items` are integers.

    `random`: of a user's n interactions floor(test * n) and floor(valid * n) are held out, chosen by a number made of
    (seed, user, item), as RecBole's ratio split by user does.
    `leave-one-out`: a user's last interaction is test, the one before it valid; a user with fewer than three keeps
    them all for training. Of equal times the order is by a number made of (user, item): never by the file's order,
    which may be by item and would hold out the rare ones.
    `temporal`: two moments cut all interactions, so that about shares `valid` and `test` come after them; none of
    equal time are parted. What is held out of users that have nothing before the first moment is LEFT_OUT.

    Raises LabwrightError if a split by time has no times, or nothing is left to learn from.
    """
    if manner != "random" and times is None:
        raise LabwrightError(
            f"task.data.split: {manner!r} goes by time, and these interactions have none; name the column of times, or "
            "take task.data.split=random."
        )
    if manner == "temporal":
        assert times is not None
        return _by_time(users, times, valid=valid, test=test)
    if manner == "random" and valid + test >= 1:
        raise LabwrightError(f"task.data: valid and test leave nothing to learn from, given {valid} and {test}.")
    shares = (valid, test) if manner == "random" else None
    parts_N = np.empty(len(users), dtype=np.uint8)
    for some in _of_some_users(users):
        when = None if shares or times is None else times[some]
        parts_N[some] = _of_each_user(users[some], items[some], when, shares, seed)
    return parts_N


def _of_some_users(users: np.ndarray) -> Iterator[np.ndarray]:
    """The places of all interactions of some users, then of others: what is made of each takes much memory."""
    counts = np.bincount(users)
    block = (counts.cumsum() - counts) // _AT_ONCE  # of each user
    begins = np.flatnonzero(np.diff(block, prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(counts)], strict=True):
        yield np.flatnonzero((users >= begin) & (users < end))


def _of_each_user(
    users: np.ndarray, items: np.ndarray, times: np.ndarray | None, shares: tuple[float, float] | None, seed: int
) -> np.ndarray:
    """As `parts`: each user's last interactions, or `shares` of valid and test by chance."""
    keys = (_keys(0, users, items), times) if shares is None else (_keys(seed, users, items),)
    order = np.lexsort((*keys, users))
    counts = np.bincount(users)[users[order]]
    first = np.r_[True, users[order][1:] != users[order][:-1]]
    starts = np.maximum.accumulate(np.where(first, np.arange(len(users)), 0))
    from_end = counts - (np.arange(len(users)) - starts)  # 1 is the last
    if shares is None:
        valids = tests = np.where(counts >= 3, 1, 0)
    else:
        valids, tests = (np.floor(share * counts + 1e-9) for share in shares)
    parts_N = np.empty(len(users), dtype=np.uint8)
    parts_N[order] = np.where(from_end <= tests, TEST, np.where(from_end <= tests + valids, VALID, TRAIN))
    return parts_N


def _by_time(users: np.ndarray, times: np.ndarray, *, valid: float, test: float) -> np.ndarray:
    ordered = np.sort(times)
    held_out = int(np.floor((valid + test) * len(times) + 1e-9))
    tests = int(np.floor(test * len(times) + 1e-9))
    parts_N = np.full(len(times), TRAIN, dtype=np.uint8)
    if held_out:
        parts_N[times >= ordered[len(times) - held_out]] = VALID
    if tests:
        parts_N[times >= ordered[len(times) - tests]] = TEST
    train = parts_N == TRAIN
    if not train.any():
        raise LabwrightError(
            f"task.data.split: 'temporal' finds no interaction before the moment that valid={valid} and test={test} "
            "begin: too many have the same time. Take task.data.split=random."
        )
    known = np.zeros(users.max() + 1, dtype=bool)
    known[users[train]] = True
    parts_N[~train & ~known[users]] = LEFT_OUT
    return parts_N


def _keys(seed: int, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A number for each pair, unrelated to its neighbours': the finaliser of SplitMix64, once for each part."""
    state = np.full(len(users), derived_seed(seed, 11), dtype=np.uint64)
    for part in (users, items):
        state = state + part.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state
