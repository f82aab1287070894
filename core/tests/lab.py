"""Studies as a person runs them: `labwright tune` and `labwright worker` in processes of their own, to be killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from labwright.study.book import LOST, RETRY, lost
from labwright.study.storage import opened
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

PLUGIN = """\
import labwright as lw

@lw.hookimpl
def labwright_components():
    yield lw.Component("task", "toys/sorting", "parts:Sorting", "tell blobs apart")
    yield lw.Component("data", "toys/blobs", "parts:Blobs", "three blobs")
    yield lw.Component("model", "toys/net", "parts:Net", "a small net")
"""
RECIPE = """\
task = { name = "toys/sorting", data = { name = "toys/blobs", size = 150, held_out = 60 } }
model = { name = "toys/net", width = 8 }
loss = "cross-entropy"
optimizer = { name = "sgd", lr = 0.001 }
train = { epochs = EPOCHS, batch_size = 15, seed = 0 }
[search]
only = ["model.*", "optimizer.lr"]
"model.width" = { low = 2, high = 64, log = true }
"model.dropout" = { low = 0.0, high = 0.9 }
"optimizer.lr" = { low = 1e-5, high = 0.1, log = true }
"""
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass
class Lab:
    """A folder of studies, in which `site` holds a plugin with the parts of parts.py."""

    folder: Path
    site: Path
    epochs: int = 8
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, at: str = ".") -> subprocess.Popen[str]:
        """A command in a folder below this one, as a process whose stderr can be read."""
        folder = self.folder / at
        folder.mkdir(exist_ok=True)
        (folder / "toy.toml").write_text(RECIPE.replace("EPOCHS", str(self.epochs)))
        paths = [str(self.site), str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        with (folder / f"said-{len(self.processes)}.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", "from labwright.cli import main; main()", *arguments],
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(paths)},
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
            )
        self.processes.append(process)
        return process

    def tune(self, name: str, trials: int, *more: str, at: str = ".") -> subprocess.Popen[str]:
        return self.start("tune", "toy.toml", "--name", name, "--trials", str(trials), *more, at=at)

    def said(self, process: subprocess.Popen[str], at: str = ".") -> str:
        """What a process wrote to stderr."""
        return (self.folder / at / f"said-{self.processes.index(process)}.txt").read_text()

    def heard(self, process: subprocess.Popen[str], text: str, at: str = ".") -> None:
        """Wait until a process has written a text to stderr."""

        def said() -> bool:
            over, words = process.poll() is not None, self.said(process, at)
            assert text in words or not over, words
            return text in words

        until(said)

    def ended(self, process: subprocess.Popen[str], at: str = ".", seconds: float = 400) -> tuple[int, str]:
        """The exit code of a process that ends by itself, and what it said."""
        return process.wait(seconds), self.said(process, at)

    def journal(self, name: str, at: str = ".") -> Path:
        return self.folder / at / "studies" / name / "journal.log"

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process has started and that still live."""
    found: list[int] = []
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        found += [int(pid) for pid in task.read_text().split()]
    return [pid for pid in found if alive(pid)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    """What a condition comes to, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it didn't come to that"
        time.sleep(0.01)
    return value


def kill_at_random(driver: subprocess.Popen[str], journal: Path, *, kills: int, seed: int = 0) -> None:
    """SIGKILL random workers of a driver at random moments; three of four after the journal grew since the last."""
    chance = random.Random(seed)
    before = until(lambda: journal.is_file() and journal.stat().st_size)
    for number in range(kills):

        def victims(number: int = number) -> list[int]:
            assert driver.poll() is None, f"the study was over after {number} kills of {kills}"
            return children(driver)

        if number % 4:
            until(lambda before=before, victims=victims: victims() and journal.stat().st_size != before)
        time.sleep(chance.uniform(0.0, 0.6))
        os.kill(chance.choice(until(victims)), signal.SIGKILL)
        before = journal.stat().st_size


def trials_of(url: str, name: str) -> list[FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = opened(url)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()
    return trials


def rows(trials: Sequence[FrozenTrial]) -> list[tuple[Any, ...]]:
    """What has to be the same in two studies."""
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values) for t in trials]


def assert_whole(trials: Sequence[FrozenTrial], count: int, *, retried: bool = True) -> None:
    """Exactly so many trials count, each complete or pruned, none twice and none lost.

    `retried` says that no process that takes trials over was killed: then each lost trial was asked again.
    """
    counted = [trial for trial in trials if not lost(trial)]
    assert len(counted) == count
    assert Counter(trial.state in DONE for trial in counted) == {True: count}
    assert all(len(trial.params) == 3 and trial.values and trial.intermediate_values for trial in counted)
    why = {trial.number: trial.system_attrs[LOST] for trial in trials if lost(trial)}
    gone = {number for number, reason in why.items() if reason != "surplus"}
    asked = {trial.number: trial.user_attrs[RETRY] for trial in trials if RETRY in trial.user_attrs}
    # one that was dropped because its number was taken has never run: it was asked once more under another
    again = [of for number, of in asked.items() if why.get(number) != "surplus"]
    assert len(again) == len(set(again)) and set(again) <= gone, f"asked again {asked}, lost {why}"
    points = Counter(tuple(trial.params.items()) for trial in counted)
    assert points.most_common(1)[0][1] == 1
    if retried:
        assert set(asked.values()) == gone, f"asked again {asked}, lost {why}"


def assert_parses(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") and isinstance(json.loads(line), dict) for line in lines)
