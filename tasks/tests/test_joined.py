"""Data sets that take turns: every sample in its turn, each update of one set, whatever their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import labwright as lw
import pytest
import torch
from labwright import LEFT_OUT, Classes, Features, LabwrightError, Port, Tokens, Values
from labwright_tasks.joined import Joined, JoinedSplit
from torch import Tensor, nn


class Points(lw.Data):
    """Rows of two numbers; the first says which sample of which set it is, so that every row can be told."""

    item: ClassVar[type[Port]] = Features
    target: ClassVar[type[Port]] = Classes
    source = "made by this test"
    licence = "CC0-1.0"

    def __init__(self, *, rows: int = 20, first: int = 0, width: int = 2, valid: bool = True) -> None:
        self.rows, self.first, self.width, self.valid = rows, first, width, valid

    def prepare(self) -> None:
        x_N = torch.arange(self.first, self.first + self.rows).float()
        self.x_NF = torch.stack([x_N, x_N % 2], dim=1)

    def ports(self) -> tuple[Port, Port]:
        return Features((self.width,)), Classes(("even", "odd"))

    def split(self, name: str) -> lw.TensorSplit | None:
        if name == "test" or (name == "valid" and not self.valid):
            return None
        return lw.TensorSplit((self.x_NF,), self.x_NF[:, 1].long())

    def save(self, folder: Path) -> None:
        (folder / "rows.txt").write_text(str(self.rows))

    def load(self, folder: Path) -> None:
        self.rows = int((folder / "rows.txt").read_text())


class Halves(Points):
    """The same with a number as its target."""

    target = Values

    def ports(self) -> tuple[Port, Port]:
        return Features((self.width,)), Values(1)

    def split(self, name: str) -> lw.TensorSplit | None:
        split = super().split(name)
        return None if split is None else lw.TensorSplit(split.inputs, split.inputs[0][:, :1] / 2)


def joined(few: int = 20, many: int = 70, **settings: Any) -> Joined:
    data = Joined({"parity": Points(rows=few), "half": Halves(rows=many, first=1000)}, **settings)
    data.prepare()
    return data


def part(data: Joined, name: str = "train") -> JoinedSplit:
    split = data.split(name)
    assert split is not None
    return split


def sets_of(batches: Sequence[Tensor], few: int) -> str:
    """Which set each batch is of, a letter each. Raises AssertionError for a batch of both."""
    whose = [set((batch >= few).tolist()) for batch in batches]
    assert all(len(both) == 1 for both in whose)
    return "".join("ab"[int(one.pop())] for one in whose)


def test_in_proportion_an_epoch_has_every_sample_once_and_the_larger_set_more_turns() -> None:
    batches = part(joined()).turns_of(10, 0, 0)
    assert sorted(torch.cat(batches).tolist()) == list(range(90))
    order = sets_of(batches, 20)
    assert Counter(order) == {"a": 2, "b": 7}
    # 2 turns of 9 at the middles of its halves, those of the larger set at the middles of its sevenths
    assert order == "bbabbbabb"


def test_in_equal_turns_the_smaller_set_is_gone_through_again_and_again() -> None:
    batches = part(joined(turns="equal")).turns_of(10, 0, 0)
    assert sets_of(batches, 20) == "ab" * 7
    seen = Counter(torch.cat(batches).tolist())
    assert {seen[index] for index in range(20, 90)} == {1}
    assert {seen[index] for index in range(20)} == {3, 4}  # 70 rows of 20
    first_round = [batch for batch in batches if batch[0] < 20][:2]
    assert sorted(torch.cat(first_round).tolist()) == list(range(20))


@pytest.mark.parametrize("turns", ["proportional", "equal"])
def test_the_turns_are_a_function_of_seed_and_epoch(turns: str) -> None:
    split = part(joined(turns=turns))

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in split.turns_of(8, seed, epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)
    assert len(order(0, 0)) == len(order(0, 1)) == len(order(5, 3))
    rounds = [row for epoch in (0, 1) for row in map(tuple, order(0, epoch)) if row[0] < 20]
    assert all(one != other for one, other in pairwise(rounds))


def test_a_sample_has_a_target_of_its_own_set_alone() -> None:
    batch = part(joined()).fetch(torch.tensor([3, 25, 4, 20]), 0, 0)
    assert batch.inputs[0][:, 0].tolist() == [3.0, 1005.0, 4.0, 1000.0]
    assert batch.targets["parity"].tolist() == [1, LEFT_OUT, 0, LEFT_OUT]
    assert batch.targets["half"].isnan().flatten().tolist() == [True, False, True, False]
    assert batch.targets["half"][[1, 3]].flatten().tolist() == [502.5, 500.0]


def test_texts_of_several_sets_are_filled_up_to_the_same_length() -> None:
    class Words:
        def __init__(self, length: int) -> None:
            self.length = length

        def __len__(self) -> int:
            return 2

        def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
            count = len(indices)
            inputs = torch.full((count, self.length), self.length), torch.full((count,), self.length)
            return lw.Batch(inputs, torch.zeros(count, dtype=torch.int64))

    heads = {"a": Classes(("x", "y")), "b": Classes(("x", "y"))}
    batch = JoinedSplit({"a": Words(2), "b": Words(3)}, heads, "equal").fetch(torch.tensor([0, 3]), 0, 0)
    assert batch.inputs[0].tolist() == [[2, 2, 0], [3, 3, 3]] and batch.inputs[1].tolist() == [2, 3]


class Tanh(nn.Module):
    def __init__(self, inputs: Features, outputs: Classes) -> None:
        super().__init__()
        self.layer = nn.Linear(*inputs.shape, len(outputs.names))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = (self.layer(x) / 1000).tanh()
        return logits


def experiment(data: Any, **changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {
        "task": {"name": "multi", "data": data},
        "model": {"name": "heads", "trunk": Tanh, "features": 4},
        "loss": "weighted",
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.0},
        "train": {"epochs": 1, "batch_size": 10},
        "device": "cpu",
        "log": (),
    }
    return lw.Experiment(**{**settings, **changed})


SETS = {"name": "joined", "sets": {"parity": Points, "half": {"name": Halves, "rows": 70, "first": 1000}}}


def test_texts_are_filled_up_with_what_stands_for_no_token() -> None:
    class Texts(Points):
        item = Tokens

        def ports(self) -> tuple[Port, Port]:
            return Tokens(9, 5, pad_id=7), Classes(("even", "odd"))

        def split(self, name: str) -> lw.TensorSplit:
            ids = torch.ones(4, self.width, dtype=torch.int64)
            return lw.TensorSplit((ids, torch.full((4,), self.width)), torch.arange(4) % 2)

    data = Joined({"short": Texts(width=2), "long": Texts(width=4)})
    data.prepare()
    split = data.split("train")
    assert split is not None
    ids_BT, lengths_B = split.fetch(torch.tensor([0, 5]), 0, 0).inputs
    assert ids_BT.tolist() == [[1, 1, 7, 7], [1, 1, 1, 1]]
    assert lengths_B.tolist() == [2, 4]


def test_each_set_is_told_what_a_run_starts_from(tmp_path: Path) -> None:
    told: list[Path] = []

    class Told(Points):
        def starts_from(self, folder: Path) -> None:
            told.append(folder)

    joined = Joined({"a": Told(), "b": Told()})
    joined.starts_from(tmp_path)
    assert told == [tmp_path, tmp_path]
    (tmp_path / "b").mkdir()  # as in the folder of a run that had such sets
    joined.starts_from(tmp_path)
    assert told[2:] == [tmp_path, tmp_path / "b"]


def test_an_update_of_one_set_leaves_the_head_of_the_other_as_it_is(tmp_path: Path) -> None:
    heads: list[tuple[Tensor, Tensor]] = []
    parts: list[list[str]] = []

    class Watching:
        @lw.hookimpl
        def labwright_step_ended(self, run: lw.Run, losses: dict[str, Tensor]) -> None:
            weights = (run.model.get_parameter(f"head_{name}.weight") for name in ("parity", "half"))
            first, second = (weight.detach().clone() for weight in weights)
            heads.append((first, second))
            parts.append([name for name in losses if "/" in name])

    run = experiment(SETS).run(tmp_path / "run", listeners=[Watching()])
    assert [part[0] for part in parts] == [f"train/{'parity' if one == 'a' else 'half'}" for one in "bbabbbabb"]
    for before, after, (trained,) in zip(heads, heads[1:], parts[1:], strict=False):
        changed = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert changed == [trained == "train/parity", trained == "train/half"]
    assert set(run.metrics["valid"]) >= {"score", "parity/accuracy", "half/r2"}


def test_each_head_is_measured_on_its_own_set_alone(tmp_path: Path) -> None:
    run = experiment(SETS).run(tmp_path / "run")
    x_NF = torch.stack([torch.arange(20.0), torch.arange(20) % 2], dim=1)
    right = run.model(x_NF)["parity"].argmax(1) == x_NF[:, 1].long()
    assert run.metrics["valid"]["parity/accuracy"] == pytest.approx(float(right.float().mean()))
    titles = [section.title for section in run.task.report(run.model, "valid", torch.device("cpu"))]
    assert {title.partition(":")[0] for title in titles} == {"parity", "half"}


@pytest.mark.parametrize("turns", ["proportional", "equal"])
def test_joined_sets_are_gone_on_with_bit_for_bit_in_the_middle_of_an_epoch(turns: str, tmp_path: Path) -> None:
    settings = experiment({**SETS, "turns": turns}, train={"epochs": 2, "batch_size": 10})
    whole = settings.run(tmp_path / "whole").model.state_dict()
    settings.trainer(tmp_path / "parts").fit(until=5)
    trainer, _ = settings.resumed(tmp_path / "parts")
    trainer.fit()
    assert all(torch.equal(value, whole[name]) for name, value in trainer.model.state_dict().items())


def test_a_set_without_a_split_is_not_measured_there(tmp_path: Path) -> None:
    sets = {"parity": {"name": Points, "valid": False}, "half": Halves}
    run = experiment({"name": "joined", "sets": sets}).run(tmp_path / "run")
    assert run.metrics["valid"]["score"] == run.metrics["valid"]["half/r2"]


def test_what_each_set_learned_is_kept_in_a_folder_of_its_own(tmp_path: Path) -> None:
    joined().save(tmp_path)
    again = Joined({"parity": Points(), "half": Halves()})
    again.load(tmp_path)
    assert [data.rows for data in again.sets.values()] == [20, 70]  # type: ignore[attr-defined]


class Texts(Points):
    item = Tokens


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({}, r"task\.data\.sets: it is empty; each data set stands there under the name of its head"),
        (
            {"a": Points, "b": {"name": Points, "width": 3}},
            r"'a' offers Features\(shape=\(2,\)\), 'b' Features",
        ),
        (
            {"a": Points, "b": {"name": "joined", "sets": {"c": Points}}},
            r"sets\.b: a head has Classes or Values;",
        ),
        ({"a": "nothing/here"}, r"task\.data\.sets\.a: no data is called 'nothing/here'"),
        ("vision/digits", r"task\.data\.sets: given 'vision/digits'; it is a table of data, each under its own name"),
        ({"a/b": Points}, r"a head is called 'a/b'; its name has neither dot nor slash"),
    ],
)
def test_bad_input_is_answered_in_one_message(sets: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=words) as raised:
        experiment({"name": "joined", "sets": sets}).run(tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_another_way_to_take_turns_is_refused() -> None:
    with pytest.raises(LabwrightError, match=r"task\.data\.turns: given 'even'; it should be 'prop"):
        experiment({**SETS, "turns": "even"})
