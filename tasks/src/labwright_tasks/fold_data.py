"""One fold of another data set: what a model is measured on in cross-validation. N samples, B batch, K folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, cast

import torch
from labwright import (
    LEFT_OUT,
    Augmented,
    Batch,
    Data,
    Finding,
    Interactions,
    Labelled,
    LabwrightError,
    Part,
    Port,
    Ragged,
    Split,
    Tokens,
)
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from labwright_tasks.around import Around
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.folds import Grouped, Refittable, Timed, by_group, in_time, stratified
from labwright_tasks.language_model import NextTokens
from labwright_tasks.sequence_to_sequence import PairedData, TargetTokens

By = Literal["class", "group", "time", "nothing"]


class Fold(Around):
    """One of several folds of other data: cross-validation is a run of each, `labwright cross-validate`.

    The folds are of the other data's `train` and `valid` together; its own `test` part stays out and isn't seen. Fold
    `number` of `of` is this data's `test`. Of the rest a share is held out for early stopping and the choice of the
    best weights, so that what measures has chosen nothing. What is left is `train`.

    What the other data learns of its samples, such as a vocabulary or a scale, it learns from this `train` part alone,
    if it is Refittable; only which classes there are is known from all.

    Args:
        data: other data, of whose `train` and `valid` parts the folds are made.
        number: which fold is held out as `test`, counted from 1.
        of: how many folds there are.
        by: how samples are dealt out: `group` keeps those that belong together in one fold; in the order of `time` a
            fold learns from what came before it alone; `class` deals out each class in proportion; `nothing` is chance.
            Left out, the first of these that the data tells of its samples.
        valid: share of what isn't held out that is `valid`, the last of it in the order of time, else some of up to ten
            equal parts, such as 2 of 5, or one of more; 0: none.
        seed: of the draw that deals samples out; in the order of time nothing is drawn.
    """

    item = Port
    target = Port
    source = "the data it is a fold of"
    licence = "that of the data it is a fold of"

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        number: Annotated[int, Field(ge=1)],
        of: Annotated[int, Field(ge=2)] = 5,
        by: By | None = None,
        valid: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        if number > of:
            raise LabwrightError(f"task.data.number: given {number}; of {of} folds it is 1 to {of}.")
        if issubclass(data.item, Interactions) or issubclass(data.target, NextTokens):
            raise LabwrightError(
                f"task.data: samples of {type(data).__name__} depend on one another (a user's history, a text that "
                "goes on), so that folds of them would leak. Its own settings say what is held out."
            )
        if why := getattr(data, "no_folds", ""):  # what data says of itself whose samples were made from one another
            raise LabwrightError(f"task.data: {why}")
        super().__init__(data)
        self.number, self.of, self.by, self.valid, self.seed = number, of, by, valid, seed
        self._splits: dict[str, Chosen] = {}
        self._dealt = ""

    def prepare(self) -> None:
        self.data.prepare()
        whole = self._whole()
        if len(whole) < 2 * self.of:
            raise LabwrightError(f"task.data.of: {len(whole)} samples are too few for {self.of} folds.")
        chosen = self._chosen(whole, self.number)
        if isinstance(self.data, Refittable):
            self.data.refit(whole.some(chosen["train"]).by_part())
            whole = self._whole()
        # augmentation is for what is learned from
        self._splits = {
            name: whole.some(rows) if name == "train" else whole.plain().some(rows)
            for name, rows in chosen.items()
            if len(rows)
        }

    def every(self) -> Iterator[dict[str, Chosen]]:
        """The parts of each fold in turn, of the data as it was read for this one.

        Raises LabwrightError for a fold that can't be made, once its turn comes.
        """
        whole = self._whole()
        for number in range(1, self.of + 1):
            yield {name: whole.some(rows) for name, rows in self._chosen(whole, number).items()}

    def _whole(self) -> Chosen:
        """All samples that folds are made of."""
        parts = [part for name in ("train", "valid") if (part := self.data.split(name)) is not None]
        if not all(isinstance(part, Split) for part in parts):
            raise LabwrightError(f"task.data: {type(self.data).__name__} is a stream, which has no folds.")
        return Chosen(parts, torch.arange(sum(map(len, parts))), self._filling())

    def _chosen(self, whole: Chosen, number: int) -> dict[str, Tensor]:
        """The rows of each part of a fold."""
        by = self._way(whole)
        ways = {"group": "by group", "time": "in the order of time", "class": "each class in proportion"}
        self._dealt = ways.get(by, "at random")
        if by == "time":
            seen, held_out = in_time(whole.times, self.of)[number - 1]
            count = round(self.valid * len(seen))  # the last of what came before
            return {"train": seen[: len(seen) - count], "valid": seen[len(seen) - count :], "test": held_out}
        keys_N = {"group": lambda: whole.groups, "class": lambda: whole.labels}.get(
            by, lambda: torch.zeros(len(whole), dtype=torch.int64)
        )()
        deal = by_group if by == "group" else stratified
        out_N = deal(keys_N, self.of, self.seed) == number - 1
        seen = (~out_N).nonzero()[:, 0]
        # of the seen ones the first few of as many parts as give the share that is wanted
        least = round(1 / min(self.valid, 1 - self.valid)) if self.valid else 1
        left = len(keys_N[seen].unique()) if by == "group" else max(10, least)
        fine = left // 3 if by == "group" else 10  # of more, some would have twice as many groups as others
        share = Fraction(self.valid).limit_denominator(min(max(fine, least), left))
        if abs(share - self.valid) > self.valid / 4 or share == 1:
            raise LabwrightError(
                f"task.data.valid: given {self.valid:g}, and {left} groups are what fold {number} learns from, "
                "each of which stays whole: choose a share that they can make, or 0."
            )
        parts_N = deal(keys_N[seen], share.denominator, self.seed + 1) if share else torch.ones(len(seen))
        held_N = parts_N < share.numerator
        return {"train": seen[~held_N], "valid": seen[held_N], "test": out_N.nonzero()[:, 0]}

    def _way(self, whole: Chosen) -> str:
        known = {
            "group": isinstance(whole, Grouped),
            "time": isinstance(whole, Timed),
            "class": isinstance(whole, Labelled) and whole.labels.dim() == 1 and not whole.labels.is_floating_point(),
            "nothing": True,
        }
        if self.by is not None and not known[self.by]:
            has = ", ".join(repr(way) for way, there in known.items() if there)
            raise LabwrightError(
                f"task.data.by: given {self.by!r}, which {type(self.data).__name__} doesn't tell of its samples. They "
                f"can be dealt out by {has}."
            )
        return self.by or next(way for way, there in known.items() if there)

    def _filling(self) -> tuple[int, int]:
        inputs = self.data.ports()[0]
        by_position = issubclass(self.data.target, PositionClasses | TargetTokens)
        return inputs.pad_id if isinstance(inputs, Tokens) else 0, LEFT_OUT if by_position else 0

    def split(self, name: str) -> Chosen | None:
        return self._splits.get(name)

    def place(self, split: str, index: int) -> str:
        part, row = self._splits[split].origin(index)
        return self.data.place(("train", "valid")[part], row)

    def checks(self) -> Iterable[Finding]:
        return ()  # the other data's count its own samples

    def identity(self, split: str) -> Iterable[str] | None:
        """That of both parts, and which of their samples these are."""
        lines = []
        for name in ("train", "valid"):
            if self.data.split(name) is not None:
                given = self.data.identity(name)
                if given is None:
                    return None
                lines += [*given]
        return [*lines, ",".join(map(str, self._splits[split].rows.tolist()))]

    def remarks(self) -> Sequence[str]:
        out = "" if self.data.split("test") is None else f"; the test part of {type(self.data).__name__} stays out"
        return [*self.data.remarks(), f"fold {self.number} of {self.of}, dealt out {self._dealt}{out}."]

    def written(self, ids: Sequence[int]) -> str:
        """As `PairedData`, which the other data is where a task asks for it."""
        return cast(PairedData, self.data).written(ids)


class Chosen:
    """Some samples of several parts that stand one after another: `rows` are their numbers over all, (N,) int64.

    It knows labels, lengths, groups and times if all of its parts do. `filling` stands behind shorter rows, in
    what a model is given and in targets.
    """

    def __init__(self, parts: Sequence[Split], rows: Tensor, filling: tuple[int, int] = (0, 0)) -> None:
        self.parts, self.rows, self.filling = parts, rows, filling
        self.starts = torch.tensor([0, *map(len, parts)]).cumsum(0)
        for fact, known in (("labels", Labelled), ("lengths", Ragged), ("groups", Grouped), ("times", Timed)):
            if parts and all(isinstance(part, known) for part in parts):
                values = [getattr(part, fact) for part in parts]
                if all(isinstance(value, Tensor) for value in values):  # of several heads they are tables
                    setattr(self, fact, torch.cat(values)[rows])

    def __getattr__(self, name: str) -> Any:
        """Only for what isn't known."""
        raise AttributeError(f"no {name} is known of these samples")

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, places: Tensor) -> Chosen:
        return Chosen(self.parts, self.rows[places], self.filling)

    def plain(self) -> Chosen:
        """The same samples without augmentation."""
        plain = [part.plain() if isinstance(part, Augmented) else part for part in self.parts]
        return Chosen(plain, self.rows, self.filling)

    def origin(self, index: int) -> tuple[int, int]:
        """The number of a sample's part, and its index there."""
        row = int(self.rows[index])
        part = int(torch.bucketize(row, self.starts[1:], right=True))
        return part, row - int(self.starts[part])

    def by_part(self) -> dict[str, Tensor]:
        """The indices of the samples in `train` and in `valid`, as these count them."""
        ends = zip(("train", "valid"), self.starts.tolist(), self.starts[1:].tolist(), strict=False)
        return {name: self.rows[(self.rows >= start) & (self.rows < end)] - start for name, start, end in ends}

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        """The samples, also of several parts at once: inputs are then filled up to one length."""
        rows_B = self.rows[indices]
        of_B = torch.bucketize(rows_B, self.starts[1:], right=True)
        places, batches = [], []
        for number, part in enumerate(self.parts):
            mine = (of_B == number).nonzero()[:, 0]
            if len(mine):
                places.append(mine)
                batches.append(part.fetch(rows_B[mine] - self.starts[number], epoch, seed))
        if len(batches) == 1:
            return batches[0]
        back = torch.cat(places).argsort()
        values = {
            field.name: _below(
                [getattr(batch, field.name) for batch in batches], back, self.filling[field.name == "targets"]
            )
            for field in fields(batches[0])
        }
        return replace(batches[0], **values)


def _below(values: Sequence[Any], order: Tensor, filling: int) -> Any:
    """The same field of several batches, one below the other and put in order; rows are made as long as the longest."""
    first = values[0]
    if isinstance(first, tuple):
        return tuple(_below(some, order, filling) for some in zip(*values, strict=True))
    if isinstance(first, Mapping):
        return {key: _below([value[key] for value in values], order, filling) for key in first}
    if not isinstance(first, Tensor):
        raise LabwrightError(
            f"batches that hold a {type(first).__name__} can't be put together: give the data no valid part of its own."
        )
    if first.dim() == 2:
        longest = max(value.shape[1] for value in values)
        values = [functional.pad(value, (0, longest - value.shape[1]), value=filling) for value in values]
    return torch.cat(list(values))[order]
