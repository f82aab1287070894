"""Several data sets side by side, each of them a head: what is trained on them takes turns. B batch, N samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from labwright import (
    LEFT_OUT,
    Augmented,
    Batch,
    Classes,
    Data,
    Heads,
    LabwrightError,
    LeftOut,
    Part,
    Port,
    Sharded,
    Split,
    Tokens,
    Values,
    derived_seed,
    epoch_order,
)
from torch import Tensor
from torch.nn import functional

from labwright_tasks.weights import weighed, weights_in

Turns = Literal["proportional", "equal"]


class Joined(Data):
    """Data sets of like inputs, of classes or of numbers: each is a head of its name, for task `multi`.

    An update is of samples of one data set, and the updates of each are spread evenly over the epoch. Files and lines
    are read as the first of them reads them.

    Args:
        sets: data sets of like inputs, each under the name of its head.
        turns: how many updates of an epoch each has: "proportional" goes through each once, so that a larger one has
            more; "equal" gives each as many as the largest, and smaller ones are gone through again and again.
    """

    item = Port
    target = Heads
    source = "the data sets it is made of"
    licence = "those of the data sets it is made of"

    def __init__(self, sets: dict[str, Annotated[Data, Part("data")]], *, turns: Turns = "proportional") -> None:
        if not sets:
            raise LabwrightError("task.data.sets: it is empty; each data set stands there under the name of its head.")
        self.sets, self.turns = dict(sets), turns
        self.first = next(iter(self.sets.values()))
        for name, data in self.sets.items():
            if not issubclass(data.target, Classes | Values):
                raise LabwrightError(
                    f"task.data.sets.{name}: a head has Classes or Values; {type(data).__name__} has targets "
                    f"{data.target.__name__}."
                )
        self.item, self.suffixes, self.line = self.first.item, self.first.suffixes, self.first.line  # type: ignore[misc]
        self.in_memory = all(data.in_memory for data in self.sets.values())  # type: ignore[misc]
        self.independent = all(data.independent for data in self.sets.values())

    def starts_from(self, folder: Path) -> None:
        for name, data in self.sets.items():
            # what a run with such data kept lies in a folder for each
            data.starts_from(folder / name if (folder / name).is_dir() else folder)

    def prepare(self) -> None:
        for data in self.sets.values():
            data.prepare()
        offered = {name: data.ports()[0] for name, data in self.sets.items()}
        first = next(iter(offered))
        for name, port in offered.items():
            if port != offered[first]:
                raise LabwrightError(
                    f"task.data.sets: {first!r} offers {offered[first]}, {name!r} {port}; one model takes both, so "
                    "that their inputs have to be alike."
                )

    def ports(self) -> tuple[Port, Port]:
        return self.first.ports()[0], Heads({name: data.ports()[1] for name, data in self.sets.items()})

    def split(self, name: str) -> JoinedSplit | None:
        found = {head: data.split(name) for head, data in self.sets.items()}
        parts = {head: part for head, part in found.items() if part is not None and len(part)}
        heads = {head: data.ports()[1] for head, data in self.sets.items()}
        inputs = self.first.ports()[0]
        filling = inputs.pad_id if isinstance(inputs, Tokens) else 0
        return JoinedSplit(parts, heads, self.turns, filling) if parts else None

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.first.read(path)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return self.first.parse(line)

    def files(self, folder: Path) -> list[Path]:
        return self.first.files(folder)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return self.first.show(inputs)

    def noticed(self) -> Sequence[str]:
        return self.first.noticed()

    def left_out(self) -> Sequence[LeftOut]:
        return [part for data in self.sets.values() for part in data.left_out()]

    def remarks(self) -> Sequence[str]:
        return [f"{name}: {remark}" for name, data in self.sets.items() for remark in data.remarks()]

    def identity(self, split: str) -> Iterable[str] | None:
        joined = self.split(split)
        known = [self.sets[name].identity(split) for name in joined.parts] if joined else []
        return [line for lines in known for line in lines or ()] if None not in known else None

    def save(self, folder: Path) -> None:
        for name, data in self.sets.items():
            (folder / name).mkdir()
            data.save(folder / name)

    def load(self, folder: Path) -> None:
        for name, data in self.sets.items():
            data.load(folder / name)


class JoinedSplit:
    """The same split of each data set, one after the other; a sample has a target of its own set's head alone."""

    def __init__(self, parts: Mapping[str, Split], heads: Mapping[str, Port], turns: Turns, filling: int = 0) -> None:
        self.parts, self.heads, self.turns, self.filling = parts, heads, turns, filling
        self.ends = torch.tensor([len(part) for part in parts.values()]).cumsum(0)
        self.starts = [end - len(part) for end, part in zip(self.ends.tolist(), parts.values(), strict=True)]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        """The samples, also of several sets at once: rows are then filled up to one length, texts with `pad_id`."""
        of_B = torch.bucketize(indices, self.ends, right=True)
        places, batches = [], []
        for number, (name, part) in enumerate(self.parts.items()):
            mine = (of_B == number).nonzero()[:, 0]
            if len(mine):
                batch = part.fetch(indices[mine] - self.starts[number], epoch, seed)
                targets = {head: _nothing(port, len(mine)) for head, port in self.heads.items()}
                places.append(mine)
                batches.append(replace(batch, targets=targets | {name: batch.targets}))
        if len(batches) == 1:
            return batches[0]
        back = torch.cat(places).argsort()
        inputs = tuple(
            _stacked(rows, self.filling)[back] for rows in zip(*(batch.inputs for batch in batches), strict=True)
        )
        targets = {head: torch.cat([batch.targets[head] for batch in batches])[back] for head in self.heads}
        whole, weights = Batch(inputs, targets), [weights_in(batch) for batch in batches]
        if all(of_set is None for of_set in weights):
            return whole
        ones = [
            torch.ones(len(batch)) if of_set is None else of_set for batch, of_set in zip(batches, weights, strict=True)
        ]
        return weighed(whole, torch.cat(ones), back)

    def plain(self) -> JoinedSplit:
        """The same samples without augmentation."""
        plain = {name: part.plain() if isinstance(part, Augmented) else part for name, part in self.parts.items()}
        return JoinedSplit(plain, self.heads, self.turns, self.filling)

    def in_order(self, size: int) -> list[Tensor]:
        """Batches of one set each, the sets one after the other."""
        lengths = [len(part) for part in self.parts.values()]
        both = zip(self.starts, lengths, strict=True)
        return [batch for start, length in both for batch in torch.split(torch.arange(start, start + length), size)]

    def turns_of(self, size: int, seed: int, epoch: int) -> list[Tensor]:
        """The updates of an epoch, shuffled within each set; a function of the arguments."""
        lengths = [len(part) for part in self.parts.values()]
        most = max(-(-length // size) for length in lengths)
        turns: list[tuple[float, int, Tensor]] = []
        for number, (start, part) in enumerate(zip(self.starts, self.parts.values(), strict=True)):
            length = len(part)
            shards = (part.shards, part.window) if isinstance(part, Sharded) else ()
            own = -(-length // size)
            wanted = most if self.turns == "equal" else own
            rounds = -(-wanted // own)
            of_set = derived_seed(seed, number)
            orders = (epoch_order(length, *shards, seed=of_set, epoch=epoch * rounds + n) for n in range(rounds))
            batches = [batch + start for order in orders for batch in torch.split(order, size)][:wanted]
            # the middle of each update's share of the epoch says when its turn is
            turns += [((place + 0.5) / wanted, number, batch) for place, batch in enumerate(batches)]
        return [batch for *_, batch in sorted(turns, key=lambda turn: turn[:2])]


def _nothing(port: Port, count: int) -> Tensor:
    """Targets that say that there are none."""
    return torch.full((count, port.dim), torch.nan) if isinstance(port, Values) else torch.full((count,), LEFT_OUT)


def _stacked(rows: Sequence[Tensor], filling: int) -> Tensor:
    """Rows of several data sets below one another, texts and recordings as long as the longest."""
    longest = max(tensor.shape[1] for tensor in rows) if rows[0].dim() == 2 else 0
    return torch.cat([functional.pad(x, (0, longest - x.shape[1]), value=filling) if longest else x for x in rows])
