"""Runs and workers as jobs of a real Slurm: two nodes on this machine, from Debian's slurmctld and slurmd."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import PARTS, PLUGIN, RECIPE, Lab, assert_parses, assert_whole, trials_of
from slurm_here import Slurm, missing
from waiting import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timing,
    pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}: apt-get install slurm-wlm"),
]
PATIENT = '''
import os
import signal
from pathlib import Path

from parts import Sorting
from waiting import until


class Patient(Sorting):
    """In a job that Slurm hasn't queued again, the tenth step waits for SIGUSR1."""

    steps = 0

    def loss(self, model, batch, criterion, phase):
        self.steps += 1
        if self.steps == 10 and "SLURM_JOB_ID" in os.environ and "SLURM_RESTART_COUNT" not in os.environ:
            heard = []
            hears = signal.getsignal(signal.SIGUSR1)
            signal.signal(signal.SIGUSR1, lambda *said: (heard.append(said), hears(*said)))
            Path("waits").touch()
            until(lambda: heard)
        return super().loss(model, batch, criterion, phase)
'''
RANKS = """
import os
from pathlib import Path

if "SLURM_PROCID" in os.environ:
    task = f"task-{os.environ['SLURM_PROCID']}-of-{os.environ['SLURM_STEP_NUM_TASKS']}"
    Path(f"{task}-on-{os.environ['SLURMD_NODENAME']}").touch()
"""
Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.close()


@pytest.fixture
def slurm(daemons: Slurm, site: Any, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """The Slurm, for the processes that a test starts; and a recipe of toys in the working folder."""
    monkeypatch.setenv("SLURM_CONF", str(daemons.configuration))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # the names of these nodes are no machines'
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site.folder), str(PARTS), os.environ.get("PYTHONPATH", "")]))
    Path("toy.toml").write_text(RECIPE)
    return daemons


@pytest.fixture
def submit(command: Any, tmp_path: Path) -> Submit:
    """`labwright submit` in the working folder; returns what it says."""

    def submitted(*arguments: str) -> dict[str, Any]:
        answer = command("submit", *arguments, "--json", cwd=tmp_path)
        assert answer.code == 0, answer.err
        facts: dict[str, Any] = json.loads(answer.out)
        return facts

    return submitted


def log(facts: dict[str, Any]) -> str:
    return "\n".join(file.read_text() for file in sorted(Path(facts["logs"]).glob(f"{facts['job']}*.out")))


def records(folder: Path) -> list[dict[str, Any]]:
    """The log of a run without what clocks say."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clocks = ("seconds", "steps_per_second", "samples_per_second")
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


def assert_same_run(whole: Path, again: Path) -> None:
    """Two runs have the same log, and end with the same bits."""
    assert records(again) == records(whole)
    last = sorted((whole / "checkpoints").iterdir())[-1].name
    for file in (whole / "checkpoints" / last).glob("*.safetensors"):
        assert (again / "checkpoints" / last / file.name).read_bytes() == file.read_bytes()


def test_a_submitted_run_ends_with_a_whole_folder(slurm: Slurm, site: Any, submit: Submit) -> None:
    site.install("toys", PLUGIN.replace("mortal:Mortal", "parts:Sorting"))
    facts = submit("run", "toy.toml", "train.epochs=2", "--time", "5")
    assert slurm.ended(facts["job"]) == {"COMPLETED"}, log(facts)
    folder = Path(facts["folder"])
    assert folder == Path(f"runs/toy-{facts['job']}")
    assert json.loads((folder / "outcome.json").read_text())["status"] == "finished"
    assert {"recipe.toml", "environment.json", "metrics.jsonl", "report.html"} <= {
        file.name for file in folder.iterdir()
    }
    assert facts["cancel"] == f"scancel {facts['job']}"


def test_the_tasks_of_a_job_see_their_numbers(slurm: Slurm, site: Any, submit: Submit) -> None:
    site.install("toys", PLUGIN.replace("mortal:Mortal", "parts:Sorting") + RANKS)
    facts = submit("run", "toy.toml", "--tasks", "2", "--folder", "runs/two")
    slurm.ended(facts["job"])
    tasks = sorted(file.name for file in Path().glob("task-*"))
    assert tasks == ["task-0-of-2-on-n1", "task-1-of-2-on-n1"], log(facts)


def test_a_job_that_is_told_its_time_is_up_saves_and_goes_on_to_the_same_bits(
    slurm: Slurm, site: Any, submit: Submit, command: Any, tmp_path: Path
) -> None:
    site.install("toys", PLUGIN.replace("mortal:Mortal", "labwright_toys.patient:Patient"), patient=PATIENT)
    assert command("run", "toy.toml", "--folder", "runs/whole", cwd=tmp_path).code == 0
    facts = submit("run", "toy.toml", "--folder", "runs/queued again")
    until(lambda: Path("waits").exists() or not slurm.jobs(facts["job"]))
    slurm.asked("scancel", "--batch", "--signal=USR1", facts["job"])  # as Slurm does 90 seconds before the end
    assert slurm.ended(facts["job"]) == {"COMPLETED"}, log(facts)
    assert [job["Restarts"] for job in slurm.jobs(facts["job"])] == ["1"], log(facts)
    assert_same_run(Path("runs/whole"), Path(facts["folder"]))


def test_two_nodes_train_together_and_go_on_to_the_same_bits_when_their_time_is_up(
    slurm: Slurm, site: Any, submit: Submit, command: Any, tmp_path: Path
) -> None:
    site.install("toys", PLUGIN.replace("mortal:Mortal", "labwright_toys.patient:Patient") + RANKS, patient=PATIENT)
    assert command("run", "toy.toml", "--folder", "runs/whole", "--processes", "2", cwd=tmp_path).code == 0
    facts = submit("run", "toy.toml", "--nodes", "2", "--folder", "runs/two")
    until(lambda: Path("waits").exists() or not slurm.jobs(facts["job"]))
    slurm.asked("scancel", "--batch", "--signal=USR1", facts["job"])
    assert slurm.ended(facts["job"]) == {"COMPLETED"}, log(facts)
    tasks = sorted(file.name for file in Path().glob("task-*"))
    assert tasks == ["task-0-of-2-on-n1", "task-1-of-2-on-n2"], log(facts)
    assert [job["Restarts"] for job in slurm.jobs(facts["job"])] == ["1"], log(facts)
    assert_same_run(Path("runs/whole"), Path(facts["folder"]))


def test_an_array_of_two_workers_runs_what_is_left_of_a_study_and_no_trial_more(
    slurm: Slurm, site: Any, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("toys", PLUGIN)
    lab = Lab(tmp_path, site.folder)
    try:
        lab.hold(after=1)
        begun = lab.tune("shared", 12, "--asynchronous")
        lab.held(1)
        begun.send_signal(signal.SIGINT)
        lab.let_go()
        assert lab.ended(begun)[0] == 130
        for name, value in {"LAB": str(tmp_path / "lab"), "LAB_PERSON": "0", "LAB_DRIVER": "0"}.items():
            monkeypatch.setenv(name, value)
        facts = submit("worker", "shared", "--array", "2")
        assert facts["jobs"] == 2
        assert slurm.ended(facts["job"]) == {"COMPLETED"}, log(facts)
    finally:
        lab.close()
    assert len(list(Path(facts["logs"]).glob(f"{facts['job']}_[01]_0_log.out"))) == 2
    assert_parses(lab.journal("shared"))
    assert_whole(trials_of(f"journal:{lab.journal('shared')}", "shared"), 12)
