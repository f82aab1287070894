"""How samples become batches: whole batches by index, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_MASK = (1 << 64) - 1


def derived_seed(*numbers: int) -> int:
    """A seed made of several numbers: equal for equal numbers, unrelated for others.

    The finaliser of SplitMix64, applied to each number in turn (Steele, Lea & Flood 2014, figure 17).

    Example: `random.seed(lw.derived_seed(seed, epoch, index))`
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state & (_MASK >> 1)


def generator(*numbers: int) -> Generator:
    """A new CPU generator with the seed derived from the numbers.

    Example: `torch.randn(8, generator=lw.generator(seed, epoch))`
    """
    return Generator().manual_seed(derived_seed(*numbers))


def epoch_order(length: int, shards: Tensor | None = None, window: int = 1, *, seed: int, epoch: int) -> Tensor:
    """The permutation of 0..length-1 that epoch `epoch` goes through, int64.

    Args:
        length: how many samples there are.
        shards: how many of them each shard has, (S,), one after another: the shards' order is random.
        window: so many shards at a time are mixed, and then the next so many.
        seed: of the order, with `epoch`.

    Example: `lw.epoch_order(len(split), seed=seed, epoch=epoch).split(64)`
    """
    order = torch.randperm(length, generator=generator(seed, epoch, 1))
    if shards is None:
        return order
    windows_S = torch.randperm(len(shards), generator=generator(seed, epoch, 12)) // window
    # stable: within a window the order stays as random as it was
    return order[windows_S.repeat_interleave(shards)[order].argsort(stable=True)]


def draws(length: int, width: int, *, seed: int, epoch: int) -> Tensor:
    """Uniform numbers in [0, 1) for augmentation, shape (length, width): row i belongs to sample i in this epoch.

    Example: `flip_B = lw.draws(len(split), 1, seed=seed, epoch=epoch)[indices, 0] < 0.5`
    """
    return torch.rand(length, width, generator=generator(seed, epoch, 2))


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
