"""How samples become batches: whole batches by index, fetched here or by workers ahead of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from labwright.base.errors import LabwrightError, RunFailed, sentence
from labwright.base.seeding import generator
from labwright.data.dataset import Batch, Split

_TOGETHER = 8  # batches whose samples are sorted by length among themselves

_Ahead = Callable[["IndexedBatches"], Iterator[Batch]] | None


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

    `ahead` gives them instead of this process: see `Workers`.

    Example: `lw.IndexedBatches(split, torch.arange(len(split)).split(64), seed=0, epoch=0)`
    """

    def __init__(self, split: Split, parts: Sequence[Tensor], *, seed: int, epoch: int, ahead: _Ahead = None) -> None:
        self.split, self.parts, self.seed, self.epoch, self.ahead = split, parts, seed, epoch, ahead

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
        return IndexedBatches(self.split, parts, seed=self.seed, epoch=self.epoch, ahead=self.ahead)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        if self.ahead:
            return self.ahead(self)
        fetch, epoch, seed = self.split.fetch, self.epoch, self.seed
        return (fetch(indices, epoch, seed) for indices in self.parts)


class Workers(Dataset[Any]):
    """Processes that fetch batches ahead of the loop, the same `count` for every pass over a task's splits.

    They begin with the first pass, with the task as it is then, and end with `close`. What they have fetched for a pass
    when another one comes in between, such as an evaluation, is fetched again after it.

    Args:
        part: what a pass goes through, by a split's name and whether it is without augmentation: `Task.part`.
        count: how many, 1 or more.

    Example: `batches = task.batches("train", size=64, seed=0, epoch=0, workers=lw.Workers(task.part, 2))`
    """

    def __init__(self, part: Callable[[str, bool], Any], count: int) -> None:
        self.part, self.count = part, count
        self._wanted: list[tuple[Any, ...]] = []
        self._loader: Any = None
        self._pass: object = None

    def fetched(self, split: str, plain: bool, batches: IndexedBatches) -> Iterator[Batch]:
        """The batches of a pass, in their order. Raises RunFailed for one that can't be fetched."""
        this_pass, loaded = object(), iter(())
        for number in range(len(batches)):
            if self._pass is not this_pass:
                self._pass, left = this_pass, batches.parts[number:]
                # as arrays: a tensor would be handed over in a file of its own
                self._wanted[:] = [(split, plain, part.numpy(), batches.epoch, batches.seed) for part in left]
                self._loader = self._loader or DataLoader(
                    self,
                    batch_size=None,  # whole batches: one sample at a time would cost more than it gains
                    sampler=self._wanted,
                    num_workers=self.count,
                    persistent_workers=True,
                    pin_memory=torch.cuda.is_available(),  # so that the copy to the GPU doesn't wait
                    generator=generator(4),  # the workers' own: a DataLoader draws it from the global one
                )
                loaded = iter(self._loader)
            try:
                batch: Any = next(loaded)
            except Exception as error:  # noqa: BLE001 - the loader's own: a worker was killed, shared memory is full
                self.close()
                batch = f"device.workers: a process ended: {sentence(str(error).strip())} With 0 there are none."
            if isinstance(batch, str):
                raise RunFailed(batch)
            yield batch

    def close(self) -> None:
        """End the processes."""
        if self._loader is not None:
            with suppress(RuntimeError):  # which torch raises, anywhere, when it hears that one was killed
                self._loader._iterator._shutdown_workers()  # else they live as long as the traceback of an error does
        self._loader = self._pass = None

    def __getitem__(self, wanted: tuple[Any, ...]) -> Any:
        """In a worker: a batch, or why there is none, as a DataLoader makes a traceback of an error's message."""
        split, plain, indices, epoch, seed = wanted
        try:
            return self.part(split, plain).fetch(torch.from_numpy(indices), epoch, seed)
        except Exception as error:  # noqa: BLE001 - a plugin's code
            kind = "" if isinstance(error, LabwrightError) else f"{type(error).__name__}: "
            fault = f"sample {', '.join(map(str, indices))} of {split!r} can't be fetched: {kind}{sentence(str(error))}"
            # which of them it is
            alone = (self[split, plain, index_1, epoch, seed] for index_1 in indices[:, None] if len(indices) > 1)
            return next((answer for answer in alone if isinstance(answer, str)), fault)
