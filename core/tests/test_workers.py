"""Loader workers live for a whole run, change nothing, and say what went wrong; shards come some at a time."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright.base.seeding import epoch_order
from parts import Blobs, BlobsElsewhere, Sorting, sorting
from torch import Tensor
from torch.utils.data import IterableDataset

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=12)


@given(sizes=sizes, window=st.integers(1, 14), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_an_epoch_has_each_sample_once_and_a_window_of_shards_at_a_time(
    sizes: list[int], window: int, seed: int, epoch: int
) -> None:
    shards = torch.tensor(sizes)
    order = epoch_order(sum(sizes), shards, window, seed=seed, epoch=epoch)
    assert torch.equal(order.sort().values, torch.arange(sum(sizes)))
    assert torch.equal(order, epoch_order(sum(sizes), shards, window, seed=seed, epoch=epoch))
    left = torch.arange(len(sizes)).repeat_interleave(shards)[order].tolist()
    by_first = list(dict.fromkeys(left))
    for start in range(0, len(by_first), window):
        together = by_first[start : start + window]
        count = sum(sizes[shard] for shard in together)
        assert set(left[:count]) == set(together)
        left = left[count:]


def test_shards_of_one_window_are_shuffled_as_if_there_were_none() -> None:
    plain = epoch_order(50, seed=3, epoch=1)
    for shards in ([50], [20, 30], [1] * 50):
        assert torch.equal(epoch_order(50, torch.tensor(shards), 50, seed=3, epoch=1), plain)


class Part:
    """Numbers as features, in shards; what else `fetch` does is in `meanwhile`."""

    def __init__(self, length: int) -> None:
        self.shards, self.window = torch.tensor([7, 20, length - 27]), 2
        self.labels = torch.arange(length) % 3

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        self.meanwhile(indices)
        x_B4 = torch.stack([indices, indices % 3, indices % 5, indices % 7], dim=1).float()
        return lw.Batch((x_B4,), self.labels[indices])

    def meanwhile(self, indices: Tensor) -> None: ...


class Elsewhere(BlobsElsewhere):
    """Data whose parts are such."""

    part: type[Any] = Part

    def prepare(self) -> None:
        self.splits = {"train": self.part(90), "valid": self.part(45)}


def task_of(part: type[Any]) -> Sorting:
    data = Elsewhere()
    data.part = part
    task = Sorting(data)
    task.prepare()
    return task


def test_any_number_of_workers_gives_equal_batches_from_any_step_on() -> None:
    task = task_of(Part)
    whole = list(task.batches("train", size=8, seed=1, epoch=4) or ())
    assert sorted(int(row[0]) for batch in whole for row in batch.inputs[0]) == list(range(90))
    for count in (1, 2):
        workers = lw.Workers(task.part, count)
        for start in (0, 5):
            batches = list(task.batches("train", size=8, seed=1, epoch=4, start=start, workers=workers) or ())
            assert [batch.inputs[0].tolist() for batch in batches] == [
                batch.inputs[0].tolist() for batch in whole[start:]
            ]
        workers.close()


def test_a_pass_goes_on_where_it_was_after_another_came_in_between() -> None:
    task = task_of(Part)
    workers = lw.Workers(task.part, 2)
    training = iter(task.batches("train", size=8, seed=1, epoch=0, workers=workers) or ())
    expected = [batch.inputs[0] for batch in task.batches("train", size=8, seed=1, epoch=0) or ()]
    for number in range(0, len(expected), 3):
        for place in range(number, min(number + 3, len(expected))):
            assert torch.equal(next(training).inputs[0], expected[place])
        valid = list(task.batches("valid", size=20, seed=0, epoch=0, workers=workers) or ())
        assert torch.cat([batch.inputs[0][:, 0] for batch in valid]).tolist() == list(range(45))
    assert next(training, None) is None
    workers.close()


class Noting(Part):
    """Notes down which process fetches."""

    def meanwhile(self, indices: Tensor) -> None:
        with Path(os.environ["NOTED"]).open("a") as file:
            file.write(f"{os.getpid()}\n")


def living(pids: set[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    return tmp_path / "noted"


def test_the_same_two_processes_fetch_for_all_epochs_and_evaluations_and_end_with_the_run(
    tmp_path: Path, noted: Path
) -> None:
    data = Elsewhere()
    data.part = Noting
    train = {"epochs": 3, "batch_size": 15, "evaluate_every": "4 steps"}
    sorting(data, device={"name": "cpu", "workers": 2}, train=train).run(tmp_path / "run")
    pids = {int(line) for line in noted.read_text().split()} - {os.getpid()}  # which looks at single batches
    assert len(pids) == 2
    assert not living(pids)


def test_processes_end_with_a_run_that_fails(tmp_path: Path, noted: Path) -> None:
    class Failing:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            if step == 3:
                raise ValueError("enough")

    data = Elsewhere()
    data.part = Noting
    with pytest.raises(ValueError, match="enough"):
        sorting(data, device={"name": "cpu", "workers": 2}).run(tmp_path / "run", listeners=[Failing()])
    assert not living({int(line) for line in noted.read_text().split()} - {os.getpid()})


class Torn(Part):
    def meanwhile(self, indices: Tensor) -> None:
        if 40 in indices.tolist():
            raise lw.LabwrightError("cat/40.png can't be read: it is empty.")


class Faulty(Part):
    def meanwhile(self, indices: Tensor) -> None:
        if 40 in indices.tolist():
            raise ZeroDivisionError("by nothing")


class Killed(Part):
    def meanwhile(self, indices: Tensor) -> None:
        if 40 in indices.tolist():
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Torn, "sample 40 of 'train' can't be fetched: cat/40.png can't be read: it is empty."),
        (Faulty, "sample 40 of 'train' can't be fetched: ZeroDivisionError: by nothing."),
        (Killed, "device.workers: a process ended: .* With 0 there are none."),
    ],
    ids=["torn", "faulty", "killed"],
)
# A worker's death interrupts torch wherever it is: it leaves a file or a socket open that nobody could close any more.
@pytest.mark.filterwarnings("ignore:.*<(_io|socket):pytest.PytestUnraisableExceptionWarning")
def test_what_went_wrong_in_a_worker_is_one_message(part: type[Any], message: str) -> None:
    task = task_of(part)
    workers = lw.Workers(task.part, 2)
    with pytest.raises(lw.RunFailed, match=rf"(?s)\A{message}\Z"):
        list(task.batches("train", size=8, seed=1, epoch=0, workers=workers) or ())
    workers.close()
    gc.collect()  # so that it is said here and not in the test after this one


def test_a_run_says_which_checkpoint_there_is_when_a_worker_fails(tmp_path: Path) -> None:
    data = Elsewhere()
    data.part = Torn
    train = {"epochs": 2, "batch_size": 1, "save_every": "1 steps"}
    experiment = sorting(data, model=torch.nn.Linear(4, 3), device={"name": "cpu", "workers": 1}, train=train)
    with pytest.raises(lw.RunFailed, match=r"cat/40.png can't be read: it is empty. .*labwright resume"):
        experiment.run(tmp_path / "run")


def test_an_evaluation_by_workers_is_the_one_without(tmp_path: Path) -> None:
    sorting(BlobsElsewhere()).run(tmp_path / "run")
    experiment = sorting(BlobsElsewhere(), device={"name": "cpu", "workers": 2})
    alone, helped = sorting(BlobsElsewhere()).build(), experiment.build()
    helped.model.load_state_dict(alone.model.state_dict())
    assert helped.evaluate("valid", size=20, seed=0) == alone.evaluate("valid", size=20, seed=0)
    assert helped.workers is not None
    helped.workers.close()


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


class Streaming(Blobs):
    """Data whose training part is a stream."""

    def split(self, name: str) -> Any:
        return Stream() if name == "train" else super().split(name)


def test_a_stream_is_refused_with_what_indexes_it(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=r"'train' of Streaming is a stream: Stream has no `len`") as refused:
        sorting(Streaming()).run(tmp_path / "run")
    assert all(name in str(refused.value) for name in ("nlp/tokens", "vision/shards", "nlp/parquet"))
    assert not (tmp_path / "run").exists()
