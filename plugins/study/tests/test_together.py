"""Several processes that train each trial together search what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import together
from lab import PARTS, Lab, trials_of
from optuna.trial import FrozenTrial
from waiting import until

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CASES = ["plain", "pruned", "interrupted", "confirmed", "faults", "refused"]

pytestmark = pytest.mark.long


def on_two(folder: Path, *cases: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(PARTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*TORCHRUN, str(together.__file__), str(folder), *cases],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    done = on_two(folder, *CASES)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    together.search(folder, ["plain", "pruned", "confirmed"])
    return folder


def trials(folder: Path) -> list[FrozenTrial]:
    name = json.loads((folder / "study.json").read_text())["name"]
    return trials_of(f"journal:{folder / 'journal.log'}", name)


def check_same(left: Sequence[FrozenTrial], right: Sequence[FrozenTrial]) -> None:
    assert len(left) == len(right)
    for ours, theirs in zip(left, right, strict=True):
        assert (ours.number, ours.state, ours.params) == (theirs.number, theirs.state, theirs.params)
        assert ours.values == pytest.approx(theirs.values, rel=1e-9)
        assert ours.intermediate_values == pytest.approx(theirs.intermediate_values, rel=1e-9)


def test_a_study_on_two_processes_has_the_trials_of_one(one: Path, two: Path) -> None:
    assert len(trials(two / "plain")) == 4
    check_same(trials(one / "plain"), trials(two / "plain"))


def test_a_trial_is_pruned_on_all_processes_where_it_would_be_on_one(one: Path, two: Path) -> None:
    assert {"COMPLETE", "PRUNED"} == {trial.state.name for trial in trials(two / "pruned")}
    check_same(trials(one / "pruned"), trials(two / "pruned"))


def test_a_study_that_is_interrupted_goes_on_as_if_it_had_not_been(one: Path, two: Path) -> None:
    check_same(trials(one / "plain"), trials(two / "interrupted"))


def test_the_best_trials_are_confirmed_by_all_processes(one: Path, two: Path) -> None:
    ours, theirs = (json.loads((folder / "confirmed" / "confirmed.json").read_text()) for folder in (one, two))
    assert ours["seeds"] == theirs["seeds"] and len(ours["seeds"]) == 2
    assert ours["test"] == pytest.approx(theirs["test"], rel=1e-9)


def test_a_trial_that_breaks_on_all_processes_is_a_failed_trial_and_no_more(two: Path) -> None:
    reasons = {trial.params["model.fault"]: trial.user_attrs.get("reason") for trial in trials(two / "faults")}
    assert reasons["none"] is None
    assert reasons["diverges"] == "the loss of phase 'train' became nan at step 3."  # on all, by one's share
    assert reasons["breaks"].startswith("ZeroDivisionError: of this test")
    assert reasons["can't be built"] == "model: model 'Faulty' can't be built: of this test"


@pytest.mark.parametrize(("which", "process"), [("first", 0), ("second", 1)])
def test_a_trial_that_breaks_on_one_process_ends_the_study_with_one_message(
    tmp_path: Path, which: str, process: int
) -> None:
    done = on_two(tmp_path, which, LABWRIGHT_RANKS_SECONDS="3600")  # which nobody waits for
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    assert f" broke on process {process} of 2 (counted from 0) and not on all of them" in errors[0]
    assert "ZeroDivisionError: of this test" in errors[0]
    (text,) = (tmp_path / which).glob("trials/*/error.txt")
    assert "ZeroDivisionError: of this test" in text.read_text()


def test_what_the_first_process_refuses_all_refuse(two: Path) -> None:
    for number, word in enumerate(
        ("workers: torchrun or", "fuse: torchrun or", "asynchronous: torchrun or", "'speed'")
    ):
        first, second = ((two / "refused" / f"{number}-{process}.txt").read_text() for process in range(2))
        assert first == second and word in first


def test_a_study_on_two_processes_ends_with_ctrl_c_and_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DRIVER", "0")  # torchrun starts the processes, and nobody's fate is to kill it
    whole = lab.tune("whole", 4, "--processes", "2")
    assert lab.ended(whole)[0] == 0, lab.said(whole)
    lab.hold(after=1)
    cut = lab.tune("cut", 4, "--processes", "2")
    lab.held(2)
    cut.send_signal(signal.SIGINT)
    lab.let_go()
    code, said = lab.ended(cut)
    assert code == 130 and "interrupted; the same command goes on." in said, said
    again = lab.tune("cut", 4, "--processes", "2")
    assert lab.ended(again)[0] == 0, lab.said(again)
    check_same(*(trials(lab.folder / "studies" / name) for name in ("whole", "cut")))
    until(lambda: not lab.living())
