"""How samples become batches: whole batches by index, fetched here or by workers ahead of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from labwright.base.seeding import generator
from labwright.data.dataset import Batch, Split


def micro_batches(length: int, size: int) -> list[slice]:
    """A batch of `length` samples in as few parts of at most `size` as there can be, which differ by one at most."""
    count = -(-length // size)
    return [slice(length * number // count, length * (number + 1) // count) for number in range(count)]


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
