"""A sum that shows nothing but itself: pairwise masks that cancel. Integers mod 2**64, so that they cancel exactly.

Simulated: the masks are drawn from one seed, where a real protocol agrees on them pair by pair (Bonawitz et al. 2017,
"Practical Secure Aggregation for Privacy-Preserving Machine Learning", section 4). What the server sees is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from labwright import RunFailed, derived_seed

_FRACTION = 32  # bits behind the point: values are whole multiples of 2**-32
_RANGE = 2.0 ** (63 - _FRACTION)

Words = np.ndarray  # of uint64, whose sums are mod 2**64


def encoded(values: np.ndarray, clients: int) -> Words:
    """Numbers in fixed point. Raises RunFailed for one so large that the sum over clients could go round."""
    largest = float(np.abs(values).max(initial=0.0))
    if not largest < _RANGE / clients:  # nan too
        raise RunFailed(
            f"method.secure: a client's change times its samples is {largest:.3g}, and sums of {clients} clients go to "
            f"{_RANGE:.3g}. The training diverges: set method.local_lr lower."
        )
    return np.rint(values * 2.0**_FRACTION).astype(np.int64).view(np.uint64)


def decoded(words: Words) -> np.ndarray:
    """The numbers again, in float64."""
    return words.view(np.int64).astype(np.float64) / 2.0**_FRACTION


def masked(words: Words, client: int, clients: Sequence[int], seed: int) -> Words:
    """What a client sends: its words, plus its mask with each later client, minus that with each earlier one."""
    whole = words.copy()
    for other in clients:
        if other != client:
            whole += _mask(client, other, seed, len(words))
    return whole


def total(sent: Mapping[int, Words], clients: Sequence[int], seed: int) -> Words:
    """The sum of what those had who sent something. Masks with those who didn't are taken out again.

    In a real protocol the others reveal these masks, by shares of the seeds that each client handed out before.
    """
    words = np.zeros_like(next(iter(sent.values())))
    for client, of_client in sent.items():
        words += of_client
        for missing in set(clients) - sent.keys():
            words -= _mask(client, missing, seed, len(words))
    return words


def _mask(client: int, other: int, seed: int, length: int) -> Words:
    """The mask of a pair as one of the two adds it; the other's is its negative mod 2**64."""
    first, second = sorted((client, other))
    words = np.random.Generator(np.random.Philox(derived_seed(seed, first, second))).integers(
        0, 2**64, length, dtype=np.uint64
    )
    return words if client == first else np.uint64(0) - words
