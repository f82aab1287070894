"""How samples become batches: whole batches by index, fetched here or by workers ahead of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from labwright.base.seeding import generator
from labwright.data.dataset import Batch, Split

_TOGETHER = 8  # batches whose samples are sorted by length among themselves


def micro_batches(length: int, size: int) -> list[slice]:
    """A batch of `length` samples in as few parts of at most `size` as there can be, which differ by one at most."""
    return cut_in(length, -(-length // size))


def cut_in(length: int, count: int) -> list[slice]:
    """`length` samples in that many parts, which differ by one at most."""
    return [slice(length * number // count, length * (number + 1) // count) for number in range(count)]


def bucketed(batches: Sequence[Tensor], lengths: Tensor, *, seed: int, epoch: int) -> Sequence[Tensor]:
    """The same samples in as many batches of the same sizes, each of samples of like length; in random order.

    Args:
        batches: int64 indices of the samples of each, in the order of an epoch.
        lengths: of all samples, (N,).
        seed: of the order, with `epoch`.

    Samples are sorted within stretches of a few batches alone, so that which of them meet changes from epoch to epoch.

    Example: `lw.bucketed(torch.arange(len(split)).split(64), split.lengths, seed=0, epoch=0)`
    """
    alike: list[Tensor] = []
    for first in range(0, len(batches), _TOGETHER):
        together = batches[first : first + _TOGETHER]
        indices = torch.cat(list(together))
        by_length = indices[lengths[indices].argsort(stable=True)]
        alike += torch.split(by_length, [len(batch) for batch in together])
    mixed = torch.randperm(len(alike), generator=generator(seed, epoch, 7))
    return [alike[number] for number in mixed.tolist()]


class IndexedBatches:
    """The batches of a split that hold the samples at `parts`, int64 indices for each; see `Task.batches`.

    Example: `lw.IndexedBatches(split, torch.arange(len(split)).split(64), seed=0, epoch=0)`
    """

    def __init__(self, split: Split, parts: Sequence[Tensor], *, seed: int, epoch: int, workers: int = 0) -> None:
        self.split, self.parts, self.seed, self.epoch, self.workers = split, parts, seed, epoch, workers

    @classmethod
    def in_order(cls, split: Split, size: int) -> IndexedBatches:
        """A whole split in its order, in batches of `size`, nothing augmented anew."""
        return cls(split, torch.split(torch.arange(len(split)), size) if len(split) else (), seed=0, epoch=0)

    def share(self, number: int, count: int) -> IndexedBatches:
        """Every `count`-th sample of each batch from the `number`-th; one sample of a batch that has too few."""
        if count == 1:
            return self
        return self.of([part[number::count] if number < len(part) else part[:1] for part in self.parts])

    def of(self, parts: Sequence[Tensor]) -> IndexedBatches:
        """Batches of other samples of the same split, fetched alike."""
        return IndexedBatches(self.split, parts, seed=self.seed, epoch=self.epoch, workers=self.workers)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        if self.workers:
            return self._fetched_ahead()
        fetch, epoch, seed = self.split.fetch, self.epoch, self.seed
        return (fetch(indices, epoch, seed) for indices in self.parts)

    def _fetched_ahead(self) -> Iterator[Batch]:
        from torch.utils.data import DataLoader

        # a worker fetches a whole batch: one sample at a time would cost more than it gains
        whole_batches = _Fetching(self)
        pinned = torch.cuda.is_available()  # so that the copy to the GPU doesn't wait
        seed = generator(self.seed, self.epoch, 4)  # the workers' own: a DataLoader draws it from the global one
        return iter(
            DataLoader(whole_batches, batch_size=None, num_workers=self.workers, pin_memory=pinned, generator=seed)
        )


class _Fetching(torch.utils.data.Dataset[Batch]):
    """Batches by their number, for the DataLoader's workers."""

    def __init__(self, batches: IndexedBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        if number >= len(self):
            raise IndexError(number)
        return self.batches.split.fetch(self.batches.parts[number], self.batches.epoch, self.batches.seed)
