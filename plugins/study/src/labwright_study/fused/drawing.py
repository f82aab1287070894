"""What several trials draw within a step, dropout above all: each what its own serial run draws."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from labwright import derived_seed
from torch import Generator, Tensor

from labwright_study.fused.batching import as_trial, outside
from labwright_study.fused.fuse_key import CannotFuse


class Masks:
    """Draws from one generator for each trial, seeded at each step as a serial run seeds the global one.

    `keys` say which trials draw the same: those with equal ones share a generator.
    """

    def __init__(self, seeds: Sequence[int], keys: Sequence[Hashable]) -> None:
        groups: dict[Hashable, int] = {}
        self.group_of = [groups.setdefault((seed, key), len(groups)) for seed, key in zip(seeds, keys, strict=True)]
        self.members = [self.group_of.index(number) for number in range(len(groups))]  # a trial of each
        self.seeds = [seeds[member] for member in self.members]
        self.generators = [Generator() for _ in self.members]
        self.rows = torch.tensor(self.group_of)
        self.fresh = [False] * len(self.members)
        self.step = 0

    def begin(self, step: int) -> None:
        """A step begins, counted from 0."""
        self.step = step
        self.fresh = [False] * len(self.members)

    def dropout(self, x: Tensor, shares: Sequence[float], level: int, shape: Sequence[int] | None = None) -> Tensor:
        """One trial's `x`, with the share of its values left out that belongs to its trial; see `F.dropout`.

        `shape` is that of the mask where it is not that of x.

        Raises CannotFuse on a GPU, where a kernel of its own draws.
        """
        if not any(shares):
            return x
        if x.device.type != "cpu":
            raise CannotFuse("on a GPU dropout draws within a kernel, which no other draw equals")
        drawn = [shares[member] for member in self.members]
        with outside():
            mask = torch.ones(len(drawn), *(x.shape if shape is None else shape), dtype=x.dtype)
            for number, (row, share) in enumerate(zip(mask, drawn, strict=True)):
                if share == 1:
                    row.zero_()
                elif share:
                    row.bernoulli_(1 - share, generator=self._generator(number)).div_(1 - share)
        return x * self._one(mask, level)

    def drawn(self, draw: Callable[[Generator], Tensor], level: int) -> Tensor:
        """What a trial draws from the generator of its own."""
        with outside():
            rows = torch.stack([draw(self._generator(number)) for number in range(len(self.members))])
        return self._one(rows, level)

    def _one(self, rows: Tensor, level: int) -> Tensor:
        """One trial's tensor, from a row for each generator."""
        if len(rows) == 1:
            return rows[0]
        if len(rows) < len(self.group_of):
            with outside():
                rows = rows[self.rows]
        return as_trial(rows, level)

    def _generator(self, number: int) -> Generator:
        if not self.fresh[number]:
            self.generators[number].manual_seed(derived_seed(self.seeds[number], self.step, 5))
            self.fresh[number] = True
        return self.generators[number]
