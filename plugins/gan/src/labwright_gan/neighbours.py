"""Measures by nearest neighbours: fidelity and diversity apart, and whether training samples are repeated.

N real samples, M generated, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import final

import torch
from torch import Tensor

from labwright_gan.metrics import Seen

_NEAREST = 5  # as in Naeem et al. 2020, section 4
_BLOCK = 1000  # rows whose distances are computed at once
_MOST = 2000  # generated samples whose nearest training sample is looked for


@final
class Neighbours:
    """Precision, recall, density and coverage of the features; nan with fewer than seven samples.

    `precision` is the share of generated samples within the 5th-nearest-neighbour ball of some real one, `recall` the
    same the other way round (Kynkäänniemi et al. 2019). `density` counts in how many such balls of real samples a
    generated one lies, over 5, and may be above 1; `coverage` is the share of real samples whose ball has a generated
    one in it (Naeem et al. 2020). Two samples of one distribution have a coverage of about 0.97.
    """

    def __init__(self) -> None:
        self.reset()

    def update(self, seen: Seen) -> None:
        self._real.append(seen.real_features.detach())
        self._fake.append(seen.fake_features.detach())

    def compute(self) -> dict[str, float]:
        if sum(map(len, self._real)) < _NEAREST + 2:
            return dict.fromkeys(("precision", "recall", "density", "coverage"), math.nan)
        return prdc(*(torch.cat(parts).cpu().double() for parts in (self._real, self._fake)), nearest=_NEAREST)

    def reset(self) -> None:
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []


@final
class Memorised:
    """How much more often than by chance the nearest of all real samples is one of those that were trained on.

    Of a generator that repeats training samples, with noise or without, it is 1; of one that makes new ones 0 on
    average: then the nearest of n training and m held-out pictures is a training one with probability n / (n + m), as
    nothing tells the two apart. The excess over that is given as a share of m / (n + m); the standard error for k
    samples is about sqrt(n / (m k)), and more where samples are alike, so that a collapsed generator's figure says
    nothing. Both parts have to be of one kind: where the held-out ones are by other writers, it is above 0 for that.
    Distances are of pixels; a copy that was moved or turned isn't found. Of 2,000 generated pictures, evenly over
    the test part, on which alone it is measured. nan where the training pictures aren't there.
    """

    splits = ("test",)
    higher_is_better = False

    def __init__(self, training: Callable[[], Iterable[Tensor]]) -> None:
        self._training = training
        self.reset()

    def update(self, seen: Seen) -> None:
        self._real.append(seen.real.detach().cpu().flatten(1))
        self._fake.append(seen.fake.detach().cpu().flatten(1))

    def compute(self) -> float:
        parts = [part.flatten(1) for part in self._training()]
        if not self._fake or not parts:
            return math.nan
        fake = torch.cat(self._fake)
        # evenly over all, as a part may be in the order of its classes
        fake = fake[torch.linspace(0, len(fake) - 1, min(len(fake), _MOST), dtype=torch.float64).round().long()]
        to_training, to_held_out = (_to_nearest(fake, blocks) for blocks in (parts, self._real))
        trained, held_out = (sum(map(len, blocks)) for blocks in (parts, self._real))
        # of a training and a held-out sample that are the same neither is nearer
        share = float(((to_training < to_held_out).double() + (to_training <= to_held_out).double()).mean()) / 2
        by_chance = trained / (trained + held_out)
        return (share - by_chance) / (1 - by_chance)

    def reset(self) -> None:
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []


def prdc(real_NF: Tensor, fake_MF: Tensor, *, nearest: int) -> dict[str, float]:
    """Precision, recall, density and coverage: see `Neighbours`."""
    real_N, fake_M = (_radii(features, nearest) for features in (real_NF, fake_MF))
    inside = real_NF.new_zeros(len(fake_MF))  # in how many balls of real samples each generated one lies
    recalled = covered = 0.0
    for rows in torch.split(torch.arange(len(real_NF)), _BLOCK):
        distances = _distances(real_NF[rows], fake_MF)
        within = distances < real_N[rows, None]
        inside += within.sum(0)
        covered += float(within.any(1).sum())
        recalled += float((distances < fake_M).any(1).sum())
    return {
        "precision": float((inside > 0).double().mean()),
        "recall": recalled / len(real_NF),
        "density": float(inside.mean()) / nearest,
        "coverage": covered / len(real_NF),
    }


def _radii(x_NF: Tensor, nearest: int) -> Tensor:
    """The distance of each sample to its `nearest`-th other."""
    radii = []
    for rows in torch.split(torch.arange(len(x_NF)), _BLOCK):
        distances = _distances(x_NF[rows], x_NF)
        distances[torch.arange(len(rows)), rows] = -1.0  # itself, whatever rounding makes of it
        radii.append(distances.kthvalue(nearest + 1, dim=1).values)
    return torch.cat(radii)


def _to_nearest(x_MF: Tensor, blocks: Iterable[Tensor]) -> Tensor:
    """The distance of each sample to the nearest of all in the blocks."""
    nearest = x_MF.new_full((len(x_MF),), math.inf)
    for block in blocks:
        for part in torch.split(block, _BLOCK):
            nearest = torch.minimum(nearest, _distances(x_MF, part).amin(1))
    return nearest


def _distances(x_NF: Tensor, y_MF: Tensor) -> Tensor:
    # by differences where there are few features: by products, close samples would lose their digits
    few = x_NF.shape[1] <= 128
    return torch.cdist(x_NF, y_MF, compute_mode="donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist")
