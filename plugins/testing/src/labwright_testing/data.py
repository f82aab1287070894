"""Checks of data."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from labwright import Batch, Data, Split

from labwright_testing.kit import Subject, check, tensors

MOST = 2000  # samples of a split that are looked at
SHARED = 0.01  # of the smaller split: so many equal samples may be chance
PARTS = ("train", "valid", "test")


@check("data")
def states_source_and_licence(subject: Subject) -> None:
    """The class says where the data comes from and what its licence is: `source` and `licence`, each a line."""
    for key in ("source", "licence"):
        value = getattr(subject.target, key, None)
        assert isinstance(value, str) and value.strip(), f"`{key}` is {value!r}"


@check("data")
def keeps_its_splits_apart(subject: Subject) -> None:
    """Hardly any sample of one split is in another: less than 1 % of the smaller one.

    Split by what belongs together (speaker, patient, document), and leave out duplicates before.
    """
    seen = {name: _fingerprints(part) for name, part in _splits(subject).items()}
    assert "train" in seen, "there is no split `train`"
    for name in PARTS[1:]:
        if name in seen:
            both = len(seen["train"] & seen[name])
            assert both <= SHARED * len(seen[name]), f"{both} of {len(seen[name])} samples of {name} are in train, too"


@check("data")
def gives_a_sample_by_its_index_alone(subject: Subject) -> None:
    """`fetch` depends on (seed, epoch, index): the same sample in another order, or asked for again, is the same.

    Augmentation draws from `labwright.draws` or `generator(seed, epoch, index)`, never from a global generator.
    """
    for name, part in _splits(subject).items():
        if len(part) < 3:
            continue
        forth = _rows(part.fetch(torch.tensor([0, 1, 2]), 3, 5))
        before = torch.get_rng_state()
        back = _rows(part.fetch(torch.tensor([2, 1, 0]), 3, 5))
        assert torch.equal(before, torch.get_rng_state()), f"{name}: it draws from torch's global generator"
        for row, one in enumerate(forth):
            assert _alike(one, back[2 - row]), f"{name}: sample {row} is another when asked for in another order"


@check("data")
def gives_what_its_ports_say(subject: Subject) -> None:
    """What `fetch` gives has the types and the number of axes of the ports' examples.

    `item` and `target` are the ports' classes.
    """
    data = subject.task.data
    item, target = data.ports()
    assert isinstance(item, data.item), f"`item` is {data.item.__name__}, the port {type(item).__name__}"
    assert isinstance(target, data.target), f"`target` is {data.target.__name__}, the port {type(target).__name__}"
    part = data.split("train")
    assert part is not None, "there is no split `train`"
    inputs = part.fetch(torch.arange(min(2, len(part))), 0, 0).inputs
    example = item.example(len(inputs[0]), torch.Generator().manual_seed(0))
    assert len(inputs) == len(example), f"a model is called with {len(example)} arguments, fetch gives {len(inputs)}"
    for place, (given, said) in enumerate(zip(inputs, example, strict=True)):
        assert given.dtype == said.dtype, f"argument {place} is {given.dtype}, the port says {said.dtype}"
        assert given.ndim == said.ndim, f"argument {place} has shape {tuple(given.shape)}, not like {tuple(said.shape)}"


@check("data")
def takes_up_what_it_kept(subject: Subject) -> None:
    """`load` of what `save` kept gives the same ports, without the data: so a run folder predicts elsewhere."""
    data = subject.task.data
    with TemporaryDirectory() as scratch:
        data.save(Path(scratch))
        again: Data = subject.experiment.task.build().data
        again.load(Path(scratch))
    assert again.ports() == data.ports(), f"the ports are {again.ports()} instead of {data.ports()}"


def _splits(subject: Subject) -> dict[str, Split]:
    found = {name: subject.task.data.split(name) for name in PARTS}
    return {name: part for name, part in found.items() if part is not None}


def _fingerprints(part: Split) -> set[bytes]:
    indices = torch.arange(min(len(part), MOST))
    return {b"".join(map(_bytes, one)) for one in _rows(part.fetch(indices, 0, 0))}


def _rows(batch: Batch) -> list[list[torch.Tensor]]:
    return [[tensor[row] for tensor in tensors(batch.inputs)] for row in range(len(batch))]


def _alike(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def _bytes(tensor: torch.Tensor) -> bytes:
    """A hash of the numbers, without the zeros that a text or a recording is filled up with in a batch."""
    return sha256(tensor.contiguous().numpy().tobytes().rstrip(b"\0")).digest()
