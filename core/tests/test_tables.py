"""Tables of a state that grow: rows are written once, come back as they were, and are deleted when none needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Appended
from labwright.train.checkpoints import Checkpoint, Checkpoints, Damaged

ROWS = torch.arange(40.0).reshape(20, 2)
OTHERS: dict[str, Any] = dict.fromkeys(("best", "best_step", "steps_per_epoch", "log", "recipe")) | {"metrics": {}}


def checkpoint(step: int, first: int, count: int) -> Checkpoint:
    table = Appended(ROWS[first:count], count)
    return Checkpoint(OTHERS | {"step": step}, {}, {"state/task/seen": table, "state/task/other": torch.ones(1)})


def written(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.rglob("tables/*/*.safetensors"))


def test_each_checkpoint_writes_the_rows_that_are_new(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step, count in ((1, 4), (2, 9), (3, 9)):
        checkpoints.write(step, checkpoint(step, 0, count), keep=3, best=None)
    assert written(tmp_path) == ["000000000000-000000000004", "000000000004-000000000009"]
    for step, count in ((1, 4), (2, 9), (3, 9)):
        table = checkpoints.read(step).training["state/task/seen"]
        assert torch.equal(table.rows, ROWS[:count]) and table.count == count


def test_rows_that_are_forgotten_are_deleted_when_no_checkpoint_has_them(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step, first, count in ((1, 0, 5), (2, 4, 10), (3, 8, 15), (4, 10, 20)):
        checkpoints.write(step, checkpoint(step, first, count), keep=2, best=None)
    assert written(tmp_path) == ["000000000005-000000000010", "000000000010-000000000015", "000000000015-000000000020"]
    assert torch.equal(checkpoints.read(3).training["state/task/seen"].rows, ROWS[8:15])
    assert torch.equal(checkpoints.read(4).training["state/task/seen"].rows, ROWS[10:20])


def test_another_process_writes_the_whole_table_once_more(tmp_path: Path) -> None:
    Checkpoints(tmp_path).write(1, checkpoint(1, 0, 6), keep=1, best=None)
    resumed = Checkpoints(tmp_path)
    resumed.write(2, checkpoint(2, 0, 8), keep=1, best=None)
    resumed.write(3, checkpoint(3, 0, 11), keep=1, best=None)
    assert written(tmp_path) == ["000000000000-000000000008", "000000000008-000000000011"]
    assert torch.equal(resumed.read(3).training["state/task/seen"].rows, ROWS[:11])


def test_a_damaged_part_is_named_and_the_checkpoint_before_it_is_used(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step, count in ((1, 4), (2, 9)):
        checkpoints.write(step, checkpoint(step, 0, count), keep=2, best=None)
    (file,) = tmp_path.rglob("000000000004-000000000009.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Damaged, match=file.name):
        checkpoints.read(2)
    newest, notes = checkpoints.newest()
    assert newest is not None and newest.state["step"] == 1 and file.name in notes[0]


@pytest.mark.parametrize("torn", ["{", "[]", None])
def test_a_run_goes_on_beside_a_newer_checkpoint_that_is_damaged(torn: str | None, tmp_path: Path) -> None:
    """Which tables that one needs it doesn't say: they stay until it is gone."""
    for step, count in ((1, 4), (8, 9)):
        Checkpoints(tmp_path).write(step, checkpoint(step, 0, count), keep=2, best=None)
    state = tmp_path / "step-00000008" / "state.json"
    state.unlink() if torn is None else state.write_text(torn)
    resumed = Checkpoints(tmp_path)
    for step, count in ((2, 5), (9, 10), (10, 11)):
        resumed.write(step, checkpoint(step, 0, count), keep=2, best=None)
        assert torch.equal(resumed.read(step).training["state/task/seen"].rows, ROWS[:count])
    assert resumed.steps() == [9, 10]
    assert written(tmp_path) == ["000000000000-000000000005", "000000000005-000000000010", "000000000010-000000000011"]


def test_what_a_killed_process_had_begun_to_write_is_deleted(tmp_path: Path) -> None:
    unfinished = tmp_path / "tables" / "state.task.seen" / "000000000000-000000000002.part"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"half of it")
    Checkpoints(tmp_path).write(1, checkpoint(1, 0, 4), keep=1, best=None)
    assert not unfinished.exists()
