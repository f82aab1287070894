"""The samples that are looked at: fetched once, and kept as digests, features and labels. N samples, D features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from labwright import Augmented, Batch, Classes, Data, Finding, Image, LabwrightError, Port, Split, generator, sentence
from torch import Tensor

from labwright_tasks.checking.features import sample_features
from labwright_tasks.checking.look_alikes import SMALLEST, greys
from labwright_tasks.checking.oddities import Oddity, oddities
from labwright_tasks.two_views import Views

PARTS = ("train", "valid", "test")
_AT_ONCE = 256

Place = tuple[str, int]  # a split and an index
Side = tuple[Tensor, ...]  # a batch's inputs


@dataclass(frozen=True)
class Copies(Finding):
    """A finding about samples that each are the same as another: `others`, in their order."""

    others: tuple[Place, ...] = ()


@dataclass
class Samples:
    """What is known of the samples looked at, in the order of `places`.

    `named` says where a person finds one. `sizes` counts all samples of each part, looked at or not. `labels_N` is None
    unless each has one of `classes`; `features_ND` unless its kind has features, `greys_ND` unless they are pictures
    large enough to be told apart by eye. `odd` are those that something is
    wrong with by themselves, `unread` those that couldn't be fetched, with the reason; both are in none of the others.
    """

    port: Port
    named: Callable[[str, int], str]
    sizes: Mapping[str, int]
    classes: tuple[str, ...] = ()
    places: list[Place] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    labels_N: Tensor | None = None
    features_ND: Tensor | None = None
    greys_ND: Tensor | None = None
    odd: dict[Oddity, list[Place]] = field(default_factory=dict)
    unread: dict[Place, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def looked_at(self) -> int:
        """How many samples were asked for."""
        broken = sum(len(places) for oddity, places in self.odd.items() if oddity.broken)
        return len(self) + len(self.unread) + broken

    def of_part(self, name: str) -> Tensor:
        """The positions of a part's samples."""
        return torch.tensor([at for at, (part, _) in enumerate(self.places) if part == name], dtype=torch.int64)


def look_at(data: Data, *, most: int, seed: int, say: Callable[[str], None]) -> Samples:
    """Fetch samples of prepared data, `most` of them drawn at random if there are more, as they are evaluated.

    Raises LabwrightError for data without samples that can be asked for by an index.
    """
    parts = {name: part for name in PARTS if (part := data.split(name)) is not None}
    for name, part in parts.items():
        if not isinstance(part, Split):
            raise LabwrightError(
                f"{name!r} of {type(data).__name__} is a stream: it has no `len` and `fetch`, so that there is no "
                "telling which of its samples is which."
            )
    port, target = data.ports()
    samples = Samples(port, data.place, {name: len(part) for name, part in parts.items()})
    whole = sum(samples.sizes.values())
    if not whole:
        raise LabwrightError(f"{type(data).__name__} has no samples.")
    features: list[Tensor] = []
    pictures: list[Tensor] = []
    labels: list[Tensor] = []
    told, wanted = 0, min(most, whole)
    for name, batch, indices in _batches(parts, samples, most, seed):
        inputs, *_ = sides = _take(samples, name, batch, indices, labels)
        rows = [sample_features(port, side) for side in sides if len(inputs[0])]
        features += [torch.cat(known, 1)] if (known := [some for some in rows if some is not None]) else []
        pictures += [greys(inputs[0])] if isinstance(port, Image) and min(port.height, port.width) >= SMALLEST else []
        if len(samples) >= told + max(2000, wanted // 5):
            told = len(samples)
            say(f"{told:,} of {wanted:,} samples fetched")
    if features and len(features[0]):
        samples.features_ND = torch.cat(features)
    samples.greys_ND = torch.cat(pictures) if pictures and len(samples) else None
    if isinstance(target, Classes) and labels and all(_are_labels(some, len(target.names)) for some in labels):
        samples.labels_N, samples.classes = torch.cat(labels), target.names
    return samples


def _batches(
    parts: Mapping[str, Split], samples: Samples, most: int, seed: int
) -> Iterator[tuple[str, Batch, list[int]]]:
    """Batches without augmentation, each with its part's name and its indices; what can't be fetched is noted down."""
    whole = sum(map(len, parts.values()))
    for number, (name, part) in enumerate(parts.items()):
        plain = part.plain() if isinstance(part, Augmented) else part
        indices = torch.arange(len(part))
        if whole > most:  # of each part its share
            chosen = torch.randperm(len(part), generator=generator(seed, number, 13))[: -(-most * len(part) // whole)]
            indices = chosen.sort().values
        for some in torch.split(indices, _AT_ONCE) if len(indices) else ():
            try:
                yield name, plain.fetch(some, 0, 0), some.tolist()
            except Exception:  # noqa: BLE001 - what a damaged sample makes a library raise is of any type
                yield from _one_by_one(plain, name, some, samples)


def _one_by_one(part: Split, name: str, indices: Tensor, samples: Samples) -> Iterator[tuple[str, Batch, list[int]]]:
    for index in indices.tolist():
        try:
            batch = part.fetch(torch.tensor([index]), 0, 0)
        except Exception as error:  # noqa: BLE001 - see above
            samples.unread[name, index] = sentence(str(error) or type(error).__name__)
        else:
            yield name, batch, [index]


def _take(samples: Samples, name: str, batch: Batch, indices: list[int], labels: list[Tensor]) -> list[Side]:
    """Note down what is to be known of a batch, and return the inputs that can be compared, of pairs both sides."""
    sides = [batch.inputs, batch.others] if isinstance(batch, Views) else [batch.inputs]
    odd_B = torch.zeros(len(batch), dtype=torch.bool)
    for oddity, some_B in (found for side in sides for found in oddities(samples.port, side).items()):
        if some_B.any():
            samples.odd.setdefault(oddity, []).extend((name, indices[row]) for row in some_B.nonzero()[:, 0].tolist())
        # what isn't a number has no features, and what is silent is no duplicate of what is silent
        odd_B |= some_B & oddity.broken
    sound = (~odd_B).nonzero()[:, 0]
    samples.places += [(name, indices[row]) for row in sound.tolist()]
    samples.digests += [b"".join(digest_of(side, row) for side in sides) for row in sound.tolist()]
    labels.append(batch.targets[sound] if isinstance(batch.targets, Tensor) else torch.empty(0, 0))
    return [tuple(tensor[sound] for tensor in side) for side in sides]


def digest_of(inputs: tuple[Tensor, ...], row: int) -> bytes:
    """A hash of what a model is given, without what a text or a recording is filled up with in a batch."""
    hashed = sha256()
    length = int(inputs[1][row]) if len(inputs) > 1 and inputs[0].dim() == 2 and inputs[1].dim() == 1 else None
    for tensor in inputs:
        values = tensor[row]
        kept = values[:length] if values.dim() == 1 and length is not None else values
        hashed.update(kept.contiguous().numpy().tobytes())
    return hashed.digest()


def _are_labels(targets: Tensor, classes: int) -> bool:
    whole = targets.dim() == 1 and targets.dtype == torch.int64
    return whole and (not len(targets) or bool((targets >= 0).all() & (targets < classes).all()))
