"""What all data of users and items have in common: catalogue, parts, what is kept for predicting. N interactions."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from labwright import Batch, Data, Finding, LabwrightError, LeftOut, Port, listed, nearest
from labwright_tasks import other_data
from labwright_tasks.cells import Coded
from labwright_tasks.other_data import Facts, drift, none_known, unknown
from labwright_tasks.tables import name_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from labwright_recsys.data.splits import LEFT_OUT, NAMES, TEST, TRAIN, VALID, Manner, parts
from labwright_recsys.data.table import Table, Values
from labwright_recsys.ports import Feedback, Preference, Side

_TENSORS, _CATALOGUE = "interactions.safetensors", "catalogue.json"
_NEARLY_ALL = 0.95
_NEARLY_EACH = 0.8  # of all items, or users
_MOST_COMPARED = 10_000  # names that a misspelt one is compared with


class Pairs:
    """A split: users, items and ratings of N interactions."""

    def __init__(self, users_N: Tensor, items_N: Tensor, ratings_N: Tensor) -> None:
        self.users_N, self.items_N, self.ratings_N = users_N, items_N, ratings_N

    def __len__(self) -> int:
        return len(self.users_N)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        return Batch((self.users_N[indices], self.items_N[indices]), self.ratings_N[indices])


class Recommendation(Data):
    """Interactions of users with items, numbered in the order of their names: numbers by size, else by text.

    Of several interactions of one user with one item the latest counts; without times, the last in the file. After
    `prepare()` or `load()`, sorted by user and item: `users_N`, `items_N` (int64), `ratings_N` (float32; 1.0 where
    there are none, and `rated` is False) and `parts_N` (uint8, see splits.py); `users`, `items` are names.

    Args:
        split: what is held out: `random` interactions of each user; `leave-one-out` a user's last one as test and the
            one before as valid; `temporal` what came after two moments.
        valid: share of the interactions that is held out for validation.
        test: share of the interactions that is held out for testing.
        seed: chooses what a `random` split holds out.
    """

    item = Feedback
    target = Preference
    line = "user"
    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    rated = False
    repeats = 0
    whole = False  # other data than the run's, all of which is measured
    facts: Facts = MappingProxyType({})  # of the training part
    noted: tuple[str, ...] = ()  # what a task says of the data, beside the data's own remarks
    _rows_left_out: tuple[LeftOut, ...] = ()
    _told: tuple[str, ...] = ()  # what reading has to say
    _guessed: tuple[str, ...] = ()  # of files that answers were asked about

    def __init__(self, split: Manner, valid: float, test: float, seed: int) -> None:
        self.manner, self.valid, self.test, self.seed = split, valid, test, seed
        self.user_sides: tuple[Side, ...] = ()
        self.item_sides: tuple[Side, ...] = ()

    @abstractmethod
    def table(self) -> Table:
        """Read what is there. Raises LabwrightError naming the file that can't be used."""

    def prepare(self) -> None:
        table = self.table()
        self._number(table)
        if self.rated:
            self.facts = other_data.facts({"the rating": self.ratings_N[self.parts_N == TRAIN]})
        self.titles = tuple(table.titles.get(name, name) for name in self.items)
        self.user_sides = tuple(_side(name, self.users, values) for name, values in table.user_sides.items())
        self.item_sides = tuple(_side(name, self.items, values) for name, values in table.item_sides.items())

    def _number(self, table: Table) -> None:
        """Users, items, ratings and parts out of a table. Columns of numbers are let go of as soon as they can be."""
        self.users, users = _numbered(table.users)
        self.items, items = _numbered(table.items)
        kept = _latest(users, items, table.times, table.parts)
        self._notice(table, users, items, kept)
        users, items = users[kept], items[kept]
        self.rated = table.ratings is not None
        ratings = np.ones(len(kept), np.float32) if table.ratings is None else table.ratings[kept]
        times, published = (None if of is None else of[kept] for of in (table.times, table.parts))
        del kept
        self.parts_N = torch.from_numpy(self._parts(users, items, times, published))
        del times, published
        self.ratings_N = torch.from_numpy(ratings).float()
        self.users_N, self.items_N = torch.from_numpy(users).long(), torch.from_numpy(items).long()

    def _parts(
        self, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, published: np.ndarray | None
    ) -> np.ndarray:
        """The part of each interaction; what wasn't published is held out of what there is to learn from."""
        if published is None:
            return parts(self.manner, users, items, times, valid=self.valid, test=self.test, seed=self.seed)
        there = {name for name in ("valid", "test") if (published == NAMES[name]).any()}
        shares = {name: 0.0 if name in there else getattr(self, name) for name in ("valid", "test")}
        if not any(shares.values()):
            return published
        train = published == TRAIN
        of_train = None if times is None else times[train]
        held_out = parts(self.manner, users[train], items[train], of_train, seed=self.seed, **shares)
        if "valid" in there or (self.manner == "leave-one-out" and "test" in there):
            held_out[held_out == VALID] = TRAIN
        if "test" in there:  # leave-one-out has a last one of each part: it is valid's where test has its own
            held_out[held_out == TEST] = VALID
        parts_N = published.copy()
        parts_N[train] = held_out
        return parts_N

    def _notice(self, table: Table, users: np.ndarray, items: np.ndarray, kept: np.ndarray) -> None:
        """What there is to say of the rows, and of those that aren't kept."""
        self.repeats = len(users) - len(kept)
        self._rows_left_out, self._told = tuple(table.left_out), tuple(table.remarks)
        if table.parts is None:
            return
        pairs = users.astype(np.int64) * (items.max() + 1) + items
        held_out = table.parts != TRAIN
        twice = int(np.isin(pairs[~held_out], pairs[held_out]).sum())
        if twice:
            what = "interaction" if twice == 1 else "interactions"
            self.repeats -= twice
            self._rows_left_out += (LeftOut(twice, what, "to learn from, as task.data.parts holds them out"),)

    def table_at(self, path: Path, *, bare: bool) -> Table:  # noqa: ARG002 - a default
        """Other interactions of this kind; `bare` ones are users and items and nothing else."""
        raise LabwrightError(f"{type(self).__name__} can't read other interactions, such as {str(path)!r}.")

    def on(self, path: Path) -> Self:
        """Interactions of users and items that the run knows; those it has seen in training aren't measured again.

        `train` and `valid` stay what they are, as what the users have had before.
        """
        table = self.table_at(path, bare=False)
        users_N, items_N = _known(table.users, self.users), _known(table.items, self.items)
        known_N = (users_N >= 0) & (items_N >= 0)
        if not known_N.any():
            raise none_known(path, table.users, self.users, "user, and an item,")
        strange = [
            *unknown(_where(table.users, users_N < 0), "interactions", "user", "users"),
            *unknown(_where(table.items, (items_N < 0) & (users_N >= 0)), "interactions", "item", "items"),
        ]
        ratings_N = np.ones(len(users_N)) if table.ratings is None else table.ratings
        times_N = None if table.times is None else table.times[known_N]
        latest_N = _latest(users_N[known_N], items_N[known_N], times_N, None)
        new = [torch.from_numpy(values_N[known_N][latest_N]) for values_N in (users_N, items_N, ratings_N)]
        other = copy(self)
        other.whole, other.repeats = True, int(known_N.sum()) - len(latest_N)
        again = other._replace_test(*new)
        had = [LeftOut(again, "interactions", "the run has them in `train` or `valid`")] if again else []
        other._rows_left_out, other._told = (*table.left_out, *strange, *had), tuple(table.remarks)
        if self.rated:
            rated_N = other.ratings_N[other.parts_N == TEST]
            other.noted = tuple(drift(other_data.facts({"the rating": rated_N}), self.facts, len(rated_N)))
        return other

    def _replace_test(self, users_N: Tensor, items_N: Tensor, ratings_N: Tensor) -> int:
        """Take interactions as the test part, but for those that `train` and `valid` have; returns how many."""
        had_N = (self.parts_N == TRAIN) | (self.parts_N == VALID)
        fresh_N = ~torch.isin(self._pairs(users_N, items_N), self._pairs(self.users_N[had_N], self.items_N[had_N]))
        tests_N = torch.full((int(fresh_N.sum()),), TEST, dtype=torch.uint8)
        self.parts_N = torch.cat([self.parts_N[had_N], tests_N])
        self.users_N = torch.cat([self.users_N[had_N], users_N[fresh_N]])
        self.items_N = torch.cat([self.items_N[had_N], items_N[fresh_N]])
        self.ratings_N = torch.cat([self.ratings_N[had_N], ratings_N[fresh_N].float()])
        order = self._pairs(self.users_N, self.items_N).argsort()
        self.users_N, self.items_N = self.users_N[order], self.items_N[order]
        self.ratings_N, self.parts_N = self.ratings_N[order], self.parts_N[order]
        return len(fresh_N) - len(tests_N)

    def _pairs(self, users_N: Tensor, items_N: Tensor) -> Tensor:
        """A number for each user and item, ascending as they are."""
        return users_N * len(self.items) + items_N

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        """The users of a file, each once."""
        return ((user, partial(self.parse, user)) for user in dict.fromkeys(self.asked_at(path).users))

    def asked_at(self, path: Path) -> Table:
        """The users and items of a file that answers are asked about; how it was read is `noticed`."""
        table = self.table_at(path, bare=True)
        self._guessed += table.remarks
        return table

    def noticed(self) -> Sequence[str]:
        notes, self._guessed = self._guessed, ()
        return notes

    def ports(self) -> tuple[Port, Port]:
        return self.feedback(self.parts_N == TRAIN), Preference()

    def feedback(self, chosen_N: Tensor) -> Feedback:
        """The input port, its pairs being the interactions chosen, a mask."""
        pairs = torch.stack([self.users_N[chosen_N], self.items_N[chosen_N]])
        return Feedback(len(self.users), len(self.items), pairs, self.user_sides, self.item_sides)

    def split(self, name: str) -> Pairs | None:
        if name not in NAMES:
            return None
        pairs = self.chosen(self.parts_N == NAMES[name])
        return pairs if len(pairs) else None

    def left_out(self) -> list[LeftOut]:
        """Rows that lacked something, repeats, and what a split by time can't measure."""
        counts = {
            "of one user and item the latest counts": self.repeats,
            "of users that have nothing before the first moment of task.data.split=temporal": int(
                (self.parts_N == LEFT_OUT).sum()
            ),
        }
        reasons = [LeftOut(n, "interaction" if n == 1 else "interactions", why) for why, n in counts.items() if n]
        return [*self._rows_left_out, *reasons]

    def remarks(self) -> list[str]:
        """How many users are on no list that is measured, where something is held out; what the task noted."""
        held_out_N = (self.parts_N == VALID) | (self.parts_N == TEST)
        measured = int(torch.bincount(self.users_N[held_out_N]).count_nonzero())
        sentences = []
        if 0 < measured < len(self.users) and not self.whole:
            sentences.append(
                f"{len(self.users) - measured:,} of {len(self.users):,} users are never measured: they have too few "
                "interactions for task.data.valid and task.data.test to hold one out"
                + (
                    ", or all of them on one side of the moments of task.data.split."
                    if self.manner == "temporal"
                    else "."
                )
            )
        return [*self._told, *sentences, *self.noted]

    def checks(self) -> list[Finding]:
        """Users with so much, and items wanted by so many, that they are hardly a person's or a matter of taste."""
        findings = []
        for what, names, of_N, others in (
            ("users", self.users, self.users_N, len(self.items)),
            ("items", self.items, self.items_N, len(self.users)),
        ):
            counts = torch.bincount(of_N, minlength=len(names))
            greedy = [f"{names[at]} {int(counts[at]):,}" for at in (counts > _NEARLY_EACH * others).nonzero()[:, 0]]
            if greedy:
                with_what = "items" if what == "users" else "users"
                findings.append(
                    Finding(
                        "interactions",
                        f"{len(greedy):,} {what} interact with more than {_NEARLY_EACH:.0%} of all {with_what}: "
                        f"{listed(greedy)}. A test account, a robot, or an item that comes with everything?",
                    )
                )
        return findings

    def identity(self, split: str) -> list[str]:
        """A digest of the split's users, items and ratings, and one of all names."""
        mask_N = self.parts_N == NAMES[split]
        tensors = (values_N[mask_N] for values_N in (self.users_N, self.items_N, self.ratings_N))
        names = json.dumps([self.users, self.items])
        contents = [*(values_N.numpy().tobytes() for values_N in tensors), names.encode()]
        return [sha256(content).hexdigest() for content in contents]

    def chosen(self, mask_N: Tensor) -> Pairs:
        """The interactions that are chosen by a mask."""
        return Pairs(self.users_N[mask_N], self.items_N[mask_N], self.ratings_N[mask_N])

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """The user of that name."""
        return (torch.tensor([self.number(line, self.users, "user")]),)

    def number(self, name: str, names: Sequence[str], what: str) -> int:
        """The number of a user or an item. Raises LabwrightError with the nearest name, or some that there are."""
        try:
            return names.index(name_of(name))
        except ValueError:
            some = f"; there are {len(names):,}, such as {', '.join(map(repr, names[:3]))}."
            close = nearest(name, islice(names, _MOST_COMPARED), some)
            raise LabwrightError(f"no {what} is called {name!r}{close}") from None

    def save(self, folder: Path) -> None:
        tensors = {
            "users": self.users_N.int(),
            "items": self.items_N.int(),
            "ratings": self.ratings_N,
            "parts": self.parts_N,
        }
        sides = {"user": self.user_sides, "item": self.item_sides}
        for kind, of_kind in sides.items():
            tensors |= {f"{kind}/{side.name}": side.codes_NV.int() for side in of_kind}
        save_file(tensors, folder / _TENSORS)
        other_data.keep(folder, self.facts)
        kept = {
            "users": self.users,
            "items": self.items,
            "titles": self.titles,
            "rated": self.rated,
            "sides": {kind: {side.name: side.values for side in of_kind} for kind, of_kind in sides.items()},
        }
        (folder / _CATALOGUE).write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        tensors = load_file(folder / _TENSORS)
        self.facts = other_data.kept(folder)
        kept = json.loads((folder / _CATALOGUE).read_text(encoding="utf-8"))
        self.users, self.items, self.titles = (tuple(kept[key]) for key in ("users", "items", "titles"))
        self.rated = kept["rated"]
        self.users_N, self.items_N = tensors["users"].long(), tensors["items"].long()
        self.ratings_N, self.parts_N = tensors["ratings"], tensors["parts"]
        self.user_sides, self.item_sides = (
            tuple(
                Side(name, tuple(values), tensors[f"{kind}/{name}"].long())
                for name, values in kept["sides"][kind].items()
            )
            for kind in ("user", "item")
        )


def nearly_all(chosen_N: Tensor, setting: str, value: float) -> tuple[str, ...]:
    """A sentence about interactions chosen by a threshold on their ratings, if nearly all or nearly none are."""
    above, whole = int(chosen_N.sum()), len(chosen_N)
    most, side = max((above, "at or above"), (whole - above, "below"))
    if most < _NEARLY_ALL * whole:
        return ()
    return (
        f"{most:,} of {whole:,} training interactions ({most / whole:.1%}) are rated {side} {value:g}: is this the "
        f"{setting} that is meant?",
    )


def _known(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """The number of each name among those that are known, (N,) int64; -1 if it isn't."""
    number = {name: index for index, name in enumerate(known)}
    return np.array([number.get(name, -1) for name in names], dtype=np.int64)


def _where(names: Sequence[str], chosen_N: np.ndarray) -> list[str]:
    return [names[row] for row in np.flatnonzero(chosen_N).tolist()]


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The different names in order, and each one's number (N,) int32."""
    coded = Coded.of(names)
    try:
        ordered = sorted(coded.names, key=lambda name: (int(name), name))
    except ValueError:
        ordered = sorted(coded.names)
    number = {name: index for index, name in enumerate(ordered)}
    return tuple(ordered), np.array([number[name] for name in coded.names], dtype=np.int32)[coded.codes_N]


def _latest(users: np.ndarray, items: np.ndarray, times: np.ndarray | None, parts: np.ndarray | None) -> np.ndarray:
    """The places of each pair's latest interaction, without times of its last one, sorted by user and item.

    What is in a part that is held out counts there.
    """
    by_time = [of for of in (times, parts) if of is not None]
    order = np.lexsort((*by_time, items, users))  # stable: of equal times the last in the file
    last = np.r_[(np.diff(users[order]) != 0) | (np.diff(items[order]) != 0), True]
    return order[last]


def _side(name: str, names: Sequence[str], values: Values) -> Side:
    """A side with the values in their order; who isn't in `values` has none."""
    known: Mapping[str, int] = {
        value: code for code, value in enumerate(sorted({value for of in values.values() for value in of}), 1)
    }
    rows = [[known[value] for value in values.get(name, ())] for name in names]
    width = max([1, *map(len, rows)])
    codes = [row + [0] * (width - len(row)) for row in rows]
    return Side(name, tuple(known), torch.tensor(codes, dtype=torch.int64))
