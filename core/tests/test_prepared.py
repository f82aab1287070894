"""Data in memory: who shares it, and that it doesn't pile up."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
from labwright.base.search import Integers
from labwright.runs.prepared import Prepared
from parts import Blobs, Net, Sorting, sorting
from torch import nn


class Turned(Blobs):
    """Blobs with a setting that is searched."""

    def __init__(self, *, size: int = 60, turn: Annotated[int, Integers(0, 999)] = 0) -> None:
        super().__init__(size=size, held_out=30)
        self.turn = turn


LIVING: weakref.WeakSet[lw.Task] = weakref.WeakSet()


class Counted(Sorting):
    """A task that is counted as long as it lives."""

    def prepare(self) -> None:
        LIVING.add(self)
        super().prepare()


def experiment(data: Any = Turned, task: Any = Counted) -> lw.Experiment:
    return lw.Experiment(
        task={"name": task, "data": data},
        model=Net,
        loss=nn.CrossEntropyLoss(),
        optimizer={"name": "sgd", "lr": 0.05},
        device="cpu",
        train={"epochs": 1, "batch_size": 30},
        log=(),
    )


def test_the_same_settings_and_objects_share_a_task_and_others_do_not():
    tasks, one, other = Prepared(4), Blobs(size=30), Blobs(size=30)
    first = tasks.of(experiment(one))
    assert tasks.of(experiment(one).varied({"train.seed": 3})) is first
    assert tasks.of(experiment(other)) is not first  # an object of the same class may hold anything
    named = tasks.of(experiment({"name": Turned, "turn": 3}))
    assert tasks.of(experiment({"name": Turned, "turn": 3})) is named
    assert tasks.of(experiment({"name": Turned, "turn": 4})) is not named


class Optional(Blobs):
    """Blobs with a table of anything as a setting."""

    def __init__(self, *, options: dict[str, Any] | None = None) -> None:
        super().__init__(size=30)
        self.options = options


class Ambiguous(Blobs):
    """Blobs whose comparison has no yes or no, as that of arrays hasn't."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        raise RuntimeError("ambiguous")


def test_settings_that_python_calls_equal_and_objects_it_cannot_compare_are_told_apart():
    tasks = Prepared(4)
    true, one = (tasks.of(experiment({"name": Optional, "options": {"on": on}})) for on in (True, 1))
    assert (true.data.options, one.data.options) == ({"on": True}, {"on": 1})
    assert one is not true
    assert type(one.data.options["on"]) is int
    data = Ambiguous(size=30)
    assert tasks.of(experiment(Ambiguous(size=30))) is not tasks.of(experiment(data))
    assert tasks.of(experiment(data)) is tasks.of(experiment(data))


def test_classes_of_the_same_name_are_told_apart():
    def made(size: int) -> type[lw.Data]:
        class Local(Blobs):
            def __init__(self) -> None:
                super().__init__(size=size)

        return Local

    tasks = Prepared(2)
    assert [len(tasks.of(experiment(made(size))).data.split("train")) for size in (30, 45)] == [30, 45]


def test_the_last_ones_are_kept_and_each_is_checked_once():
    checked: list[lw.Task] = []
    tasks = Prepared(2, checked.append)
    a, b, c = (experiment({"name": Turned, "turn": turn}) for turn in range(3))
    kept = [tasks.of(one) for one in (a, b, a, c, a)]
    assert kept[0] is kept[2] is kept[4] and len(checked) == 3
    assert tasks.of(b) is not kept[1]


@pytest.mark.release
def test_a_study_over_data_settings_has_one_data_set_in_memory_however_many_trials(tmp_path: Path):
    LIVING.clear()
    most: list[int] = []
    study = lw.Study(
        experiment(),
        60,
        folder=tmp_path / "s",
        search={"only": ["task.data.turn"]},
        pruner="none",
        sampler="random",
        batch=20,
        quiet=True,
    )
    prepare = Counted.prepare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Counted, "prepare", lambda self: (prepare(self), most.append(len(LIVING)))[0])
        assert study.run().complete == 60
    assert len(most) > 50 and max(most) == 1


def test_candidates_whose_data_are_objects_are_trained_on_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    candidates = {
        name: sorting(model={"name": Net, "dropout": 0.0}, train={"epochs": 1, "batch_size": 15}).varied(
            {"task": {"name": Sorting, "data": Blobs(size=size)}}
        )
        for name, size in (("few", 15), ("many", 150))
    }
    found = lw.compare(candidates, seeds=2, folder=tmp_path / "c", quiet=True)
    for one, (name, alone) in zip(found.candidates, candidates.items(), strict=True):
        run = alone.varied({"train.seed": 1}).run(tmp_path / name)
        assert one.values[1] == run.metrics["test"]["accuracy"]
