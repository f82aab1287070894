"""Datasets of PyTorch and of Hugging Face as data, in Python. N samples, B batch, C channels, H height, W width."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from labwright import (
    Batch,
    Classes,
    Data,
    Features,
    Image,
    LabwrightError,
    Port,
    Split,
    Values,
    derived_seed,
    generator,
    listed,
    nearest,
)
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

_HELD_OUT = 41  # a stream of random numbers: which samples
_MOST_COLOURS = 4
_CLASSES = ("classes", "class_names")  # where datasets have the names of their classes
_LABELS = ("targets", "labels", "_labels")  # and the labels of all samples


class Datasets(Data):
    """Datasets that give a sample by its number, `dataset[3]`, as a pair, or as a row of which `columns` names two.

    `train`, and perhaps `valid` and `test`, are datasets of torch.utils.data, of torchvision, of Hugging Face, or lists
    of pairs. In the place of one that isn't there stands the share of `train` that is held out for it, by chance and
    the same each time; what `train` augments is augmented there too. An iterable dataset has no numbers: it is read
    into memory, once.

    Inputs are tensors, arrays, numbers or pictures of Pillow; bytes, as of pictures, become 0..1. What they are is seen
    from the first one, and told: three axes with up to four channels first are an Image, other numbers Features. A
    target that is a whole number is a class, with the names that the dataset has (`classes`, or a feature of Hugging
    Face); other numbers are Values. `ports` says it where that is wrong, or where there is more to be said.

    A sample's random numbers, of torch, NumPy and `random`, are a function of seed, epoch and number, so that a run of
    augmented samples resumes exactly, with any number of `device.workers`.

    Raises LabwrightError for a DataLoader, samples that are no pairs, and inputs whose kind can't be told.

    Example: `lw.Experiment(task={"name": "classification", "data": Datasets(train, test=test)}, ...)`
    """

    source = "datasets given in Python"
    licence = "theirs"
    in_memory = False

    def __init__(
        self,
        train: Any,
        *,
        valid: Any = 0.1,
        test: Any = 0.0,
        columns: tuple[str, str] | None = None,
        ports: tuple[Port, Port] | None = None,
    ) -> None:
        self._given = {"train": train, "valid": valid, "test": test}
        self._columns = columns
        self._told: list[str] = []
        for name, part in self._given.items():
            self._check(name, part)
        self._parts = {name: part for name, part in self._given.items() if not isinstance(part, int | float)}
        for name, part in self._parts.items():
            if isinstance(part, IterableDataset) or not hasattr(part, "__getitem__"):
                self._parts[name] = [*part]
                self._told.append(
                    f"{name} gives no sample by its number: its {len(self._parts[name]):,} are in memory."
                )
        with _own_randomness():
            first = self._parts["train"][0]
            if columns is None and isinstance(first, Mapping) and len(first) == 2:
                self._columns = tuple(first)
            first = self._pair("train", 0)
        self._ports = ports or (_input_port(first[0]), self._target_port(first[1]))
        self.item, self.target = type(self._ports[0]), type(self._ports[1])  # type: ignore[misc]
        if ports is None:
            self._told.append(f"seen from the first sample: {self._ports[0]}, {_short(self._ports[1])}.")

    def _check(self, name: str, part: Any) -> None:
        if isinstance(part, DataLoader):
            raise LabwrightError(
                f"{name}: a DataLoader decides itself about order and batches, so that a run of it can't be resumed "
                f"exactly: give its dataset, {name}=loader.dataset, and train.batch_size."
            )
        if isinstance(part, int | float):
            if name == "train" or not 0 <= part < 1:
                raise LabwrightError(
                    f"{name}: given {part!r}; it is a dataset{'' if name == 'train' else ', or a share below 1'}."
                )
        elif not hasattr(part, "__iter__") and not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise LabwrightError(
                f"{name}: a {type(part).__name__} is no dataset: it has no `__getitem__` with `__len__`."
            )

    def prepare(self) -> None:
        whole = len(self._parts["train"])
        order = torch.randperm(whole, generator=generator(0, _HELD_OUT))
        self._splits: dict[str, Samples] = {}
        done = 0
        for name in ("test", "valid"):
            if name in self._parts:
                self._splits[name] = Samples(self, name, torch.arange(len(self._parts[name])))
            elif share := self._given[name]:
                count = max(1, round(share * whole))
                self._splits[name] = Samples(self, "train", order[done : done + count].sort().values)
                done += count
        if done >= whole:
            raise LabwrightError(f"train: of its {whole:,} samples none is left to learn from.")
        self._splits["train"] = Samples(self, "train", order[done:].sort().values)
        for part in self._splits.values():
            part.labels = self._labels(part) if isinstance(self._ports[1], Classes) else None

    def ports(self) -> tuple[Port, Port]:
        return self._ports

    def split(self, name: str) -> Split | None:
        return self._splits.get(name)

    def remarks(self) -> Sequence[str]:
        return self._told

    def place(self, split: str, index: int) -> str:
        part = self._splits[split]
        return f"{part.origin}[{int(part.numbers[index])}]"

    def _pair(self, name: str, number: int) -> tuple[Any, Any]:
        """A sample. Raises LabwrightError for one that is no pair."""
        sample = self._parts[name][number]
        if isinstance(sample, Mapping):
            columns = self._columns or tuple(sample)
            if self._columns is None and len(columns) != 2:
                raise LabwrightError(
                    f'{name}: a sample has {listed(columns)}: say which two, columns=("image", "label").'
                )
            for column in columns:
                if column not in sample:
                    raise LabwrightError(f"{name}: a sample has no {column!r}{nearest(column, map(str, sample))}")
            return sample[columns[0]], sample[columns[1]]
        if not isinstance(sample, Sequence) or isinstance(sample, str) or len(sample) != 2:
            raise LabwrightError(
                f"{name}: sample {number} is a {type(sample).__name__}; it is a pair of an input and a target, "
                "`return x, y`, or a row with columns=(...)."
            )
        return sample[0], sample[1]

    def _target_port(self, target: Any) -> Port:
        value = _tensor(target)
        if value.dim() == 0 and not value.is_floating_point():
            return Classes(self._names())
        if value.is_floating_point() and value.dim() <= 1:
            return Values(max(1, value.numel()))
        raise LabwrightError(
            f"train: a target of shape {tuple(value.shape)} and {value.dtype} may be many things: say which by "
            "ports=(...)."
        )

    def _names(self) -> tuple[str, ...]:
        """The names of classes as the dataset has them, or their numbers."""
        train = whole = self._parts["train"]
        while hasattr(whole, "dataset"):  # of which `train` is a Subset
            whole = whole.dataset
        features = getattr(train, "features", None)
        if self._columns and isinstance(features, Mapping) and hasattr(features.get(self._columns[1]), "names"):
            return tuple(features[self._columns[1]].names)
        for attribute in _CLASSES:
            if names := getattr(whole, attribute, None):
                return tuple(map(str, names))
        everything = Samples(self, "train", torch.arange(len(train)))
        return tuple(map(str, range(int(self._labels(everything).max()) + 1)))

    def _labels(self, part: Samples) -> Tensor:
        """The classes of a part's samples: as the dataset keeps them, or by fetching each once."""
        dataset = self._parts[part.origin]
        for attribute in () if getattr(dataset, "target_transform", None) else _LABELS:  # which changes them
            kept = getattr(dataset, attribute, None)
            if kept is not None and len(kept) == len(dataset):
                return torch.as_tensor(kept)[part.numbers].long()
        if self._columns and hasattr(dataset, "column_names"):
            return torch.as_tensor(dataset[self._columns[1]][:])[part.numbers].long()
        return torch.tensor([int(self._pair(part.origin, number)[1]) for number in part.numbers.tolist()])


class Samples:
    """A part of a dataset: the samples of some numbers."""

    def __init__(self, data: Datasets, origin: str, numbers: Tensor) -> None:
        self.data, self.origin, self.numbers = data, origin, numbers
        self.labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        inputs, targets = [], []
        with _own_randomness():
            for number in self.numbers[indices].tolist():
                _seed(derived_seed(seed, epoch, number))
                x, y = self.data._pair(self.origin, number)
                inputs.append(_tensor(x, of_picture=True))
                targets.append(_tensor(y))
                if inputs[-1].shape != inputs[0].shape:
                    raise LabwrightError(
                        f"{self.origin}[{number}]: its input has shape {tuple(inputs[-1].shape)}, another's of its "
                        f"batch {tuple(inputs[0].shape)}: make them alike, as by a transform that resizes."
                    )
        values = torch.stack(targets)
        if isinstance(self.data.ports()[1], Values):
            values = values.float().view(len(values), -1)
        return Batch((torch.stack(inputs),), values)


def _input_port(value: Any) -> Port:
    """What a sample's input is. Raises LabwrightError where that can't be told."""
    x = _tensor(value, of_picture=True)
    if x.is_floating_point() and x.dim() == 3 and x.shape[0] <= _MOST_COLOURS:
        return Image(*x.shape)
    if x.is_floating_point():
        return Features(tuple(x.shape))
    raise LabwrightError(
        f"train: an input of shape {tuple(x.shape)} and {x.dtype} may be many things: say which by "
        "ports=(lw.Tokens(...), ...), or make it float32."
    )


def _tensor(value: Any, *, of_picture: bool = False) -> Tensor:
    """A value as a tensor: pictures have their channels first, and their bytes become 0..1."""
    if hasattr(value, "convert") and hasattr(value, "mode"):  # Pillow's
        mode = {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(value.mode, value.mode)
        pixels = np.atleast_3d(np.asarray(value.convert(mode)))
        value = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    try:
        x = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LabwrightError(f"train: a {type(value).__name__} is no tensor, array, number or picture.") from error
    if of_picture and x.dtype == torch.uint8:
        return x.float() / 255
    if x.is_floating_point():
        return x.float()
    return x.long()


def _seed(number: int) -> None:
    torch.default_generator.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """After it the global generators are where they were."""
    kept = torch.default_generator.get_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(kept[0])
        random.setstate(kept[1])
        np.random.set_state(kept[2])


def _short(port: Port) -> str:
    return f"{len(port.names)} classes ({listed(port.names)})" if isinstance(port, Classes) else str(port)
