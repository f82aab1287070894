"""Checks of data."""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from labwright import Batch, Classes, Data, LabwrightError, Port, Split

from labwright_testing.kit import NotApplicable, Subject, check, tensors

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
    _as_the_port_says(item, inputs)


@check("data")
def takes_up_what_it_kept(subject: Subject) -> None:
    """`load` of what `save` kept gives the same ports, without the data: so a run folder predicts elsewhere."""
    data = subject.task.data
    with TemporaryDirectory() as scratch:
        data.save(Path(scratch))
        again: Data = subject.experiment.task.build().data
        again.load(Path(scratch))
    assert again.ports() == data.ports(), f"the ports are {again.ports()} instead of {data.ports()}"


@check("data")
def measures_other_data_by_what_it_has_learned(subject: Subject) -> None:
    """`on(path)` gives other data with the same ports, all of it the split `test`; the run's own stay as they are.

    What it knows, such as classes, is the run's: a label is one of its classes, and samples of others are told by
    `left_out`, not given another's label. Tried is the file or folder of its own that a setting names.
    """
    data = subject.task.data
    if type(data).on is Data.on:
        raise NotApplicable("it reads no other data")
    ports, sizes = data.ports(), {name: len(part) for name, part in _splits(subject).items()}
    other = data.on(_file(subject))
    assert other is not data, "on() returns the data itself instead of a copy"
    assert other.ports() == ports, f"the ports are {other.ports()} instead of {ports}"
    for name in ("train", "valid"):  # as what a user has had before
        stays = other.split(name)
        assert stays is None or len(stays) == sizes.get(name), f"it has a split {name!r} of its own; all is `test`"
    assert data.ports() == ports, "on() changes the ports of the data it is asked of"
    assert {name: len(part) for name, part in _splits(subject).items()} == sizes, "on() changes the splits"
    part = other.split("test")
    assert part is not None, "there is no split `test`"
    assert len(part), "no sample is left; say which can't be used by a LabwrightError"
    batch = part.fetch(torch.arange(min(len(part), MOST)), 0, 0)
    _as_the_port_says(ports[0], tuple(tensor[:2] for tensor in batch.inputs))
    target = ports[1]
    if isinstance(target, Classes) and isinstance(batch.targets, torch.Tensor):
        lowest, highest = int(batch.targets.min()), int(batch.targets.max())
        assert lowest >= 0, f"a label is {lowest}; samples of unknown classes are left out"
        assert highest < len(target.names), f"a label is {highest}; there are {len(target.names)} classes"
    assert all(left.count > 0 and left.why for left in other.left_out()), (
        "something is left out without count or reason"
    )


@check("data")
def tells_apart_the_inputs_of_other_data(subject: Subject) -> None:
    """`inputs(path)` gives each input a place of its own, and what reads it as `read` does: arguments with one row."""
    data = subject.task.data
    if type(data).inputs is Data.inputs:
        raise NotApplicable("a file is one input")
    rows = data.inputs(_file(subject))
    if rows is None:
        raise NotApplicable("of this file it is one input")
    some = list(islice(rows, 20))
    assert some, "it gives no input"
    assert len({place for place, _ in some}) == len(some), f"two inputs stand at {some[0][0]!r} or another place"
    for place, read in some[:3]:
        try:
            arguments = read()
        except LabwrightError as error:
            raise AssertionError(f"{place}: {error}") from error
        assert all(len(tensor) == 1 for tensor in arguments), f"{place} is read as arguments of several rows"


def _file(subject: Subject) -> Path:
    """What is read as other data: the file or folder that the first such setting names. Raises NotApplicable."""
    spec = subject.experiment.task.settings.get("data")
    own = {name: setting.default for name, setting in subject.settings.items()} | dict(getattr(spec, "settings", {}))
    paths = [path for path in own.values() if isinstance(path, Path) and path.exists()]
    if not paths:
        raise NotApplicable("no setting of it names a file")
    return paths[0]


def _as_the_port_says(item: Port, inputs: tuple[torch.Tensor, ...]) -> None:
    """Raise AssertionError for arguments that aren't like the port's example."""
    example = item.example(len(inputs[0]), torch.Generator().manual_seed(0))
    assert len(inputs) == len(example), f"a model is called with {len(example)} arguments, fetch gives {len(inputs)}"
    for place, (given, said) in enumerate(zip(inputs, example, strict=True)):
        assert given.dtype == said.dtype, f"argument {place} is {given.dtype}, the port says {said.dtype}"
        assert given.ndim == said.ndim, f"argument {place} has shape {tuple(given.shape)}, not like {tuple(said.shape)}"


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
