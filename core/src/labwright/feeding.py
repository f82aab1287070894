"""How samples become batches: whole batches by index, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from labwright.data import Batch, Split

_MASK = (1 << 64) - 1


def derived(*numbers: int) -> int:
    """A seed made of several numbers: equal for equal numbers, unrelated for others.

    The finaliser of SplitMix64, applied to each number in turn (Steele, Lea & Flood 2014, figure 17).
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state & (_MASK >> 1)


def generator(*numbers: int) -> Generator:
    """A new CPU generator with the seed derived from the numbers."""
    return Generator().manual_seed(derived(*numbers))


def order(length: int, *, seed: int, epoch: int) -> Tensor:
    """The permutation of 0..length-1 that epoch `epoch` goes through, int64."""
    return torch.randperm(length, generator=generator(seed, epoch, 1))


def draws(length: int, width: int, *, seed: int, epoch: int) -> Tensor:
    """Uniform numbers in [0, 1) for augmentation, shape (length, width): row i belongs to sample i in this epoch."""
    return torch.rand(length, width, generator=generator(seed, epoch, 2))


def micro_batches(length: int, size: int) -> list[slice]:
    """A batch of `length` samples in as few parts of at most `size` as there can be, which differ by one at most."""
    count = -(-length // size)
    return [slice(length * number // count, length * (number + 1) // count) for number in range(count)]


def global_generators(device: torch.device) -> list[Generator]:
    """The generators that random numbers come from unless one is named: the CPU's, and the device's own."""
    if device.type == "cpu":
        return [torch.default_generator]
    if device.type == "mps":
        return [torch.default_generator, torch.mps._get_default_mps_generator()]
    module = torch.get_device_module(device)
    module.init()  # without it there are no generators yet
    index = module.current_device() if device.index is None else device.index
    return [torch.default_generator, module.default_generators[index]]


class IndexedBatches:
    """The batches of a split that hold the samples at `parts`, int64 indices for each; see `Task.batches`."""

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
