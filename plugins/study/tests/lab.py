"""Studies as a person runs them: `labwright tune` and `labwright worker` in processes that die or wait when told."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import waiting
from labwright_study.storage import opened
from labwright_study.trial_store import LOST, RETRY, lost
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from waiting import until

PLUGIN = """\
import labwright as lw

@lw.hookimpl
def labwright_components():
    yield lw.Component("task", "toys/sorting", "mortal:Mortal", "tell blobs apart")
    yield lw.Component("data", "toys/blobs", "parts:Blobs", "three blobs")
    yield lw.Component("model", "toys/net", "parts:Net", "a small net")
"""
RECIPE = """\
task = { name = "toys/sorting", data = { name = "toys/blobs", size = 150, held_out = 60 } }
model = { name = "toys/net", width = 8 }
loss = "cross-entropy"
optimizer = { name = "sgd", lr = 0.001 }
train = { epochs = 8, batch_size = 15, seed = 0 }
[search]
only = ["model.*", "optimizer.lr"]
"model.width" = { low = 2, high = 64, log = true }
"model.dropout" = { low = 0.0, high = 0.9 }
"optimizer.lr" = { low = 1e-5, high = 0.1, log = true }
"""
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
PARTS = Path(waiting.__file__).parent  # the folder that also has mortal.py and parts.py


@dataclass
class Lab:
    """A folder of studies, in which `site` holds a plugin with a task of mortal.py and the parts of parts.py."""

    folder: Path
    site: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("fates", "met", "dying", "held"):
            (self.folder / "lab" / name).mkdir(parents=True)

    def start(self, *arguments: str, at: str = ".") -> subprocess.Popen[str]:
        """A command in a folder below this one, as a process whose stderr can be read."""
        folder = self.folder / at
        folder.mkdir(exist_ok=True)
        (folder / "toy.toml").write_text(RECIPE)
        paths = [str(self.site), str(PARTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        with (folder / f"said-{len(self.processes)}.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", "from labwright.cli import main; main()", *arguments],
                cwd=folder,
                env=os.environ
                | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(paths)}
                | {"LAB": str(self.folder / "lab"), "LAB_PERSON": str(os.getpid())},
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

    def ended(self, process: subprocess.Popen[str], at: str = ".", seconds: float = 3000) -> tuple[int, str]:
        """The exit code of a process that ends by itself, and what it said."""
        return process.wait(seconds), self.said(process, at)

    def journal(self, name: str, at: str = ".") -> Path:
        return self.folder / at / "studies" / name / "journal.log"

    def doom(self, fates: Iterable[tuple[str, int]], seed: int = 0) -> None:
        """Who is to be killed, in which trial of the process that does it; where in the trial is left to chance.

        A worker must not be killed in its first trial, since that may be another's, which is given up when it has
        killed a few; and two of three trials of a worker are to be whole, so that fates are met before a study is over.
        """
        chance = random.Random(seed)
        for number, (who, trial) in enumerate(fates, len(list((self.folder / "lab" / "met").iterdir()))):
            calls = chance.randrange(10_000 if who == "self" else 1_000)  # the first tell and ask themselves
            fate = f"{number:02d}-{who}-{trial}-{chance.randint(1, 10)}-{calls}"
            (self.folder / "lab" / "fates" / fate).touch()

    def met(self) -> dict[str, int]:
        """How many fates were met, of each kind; there must be none left."""
        assert not list((self.folder / "lab" / "fates").iterdir())
        return Counter(fate.name.split("-")[1] for fate in (self.folder / "lab" / "met").iterdir())

    def hold(self, after: int) -> None:
        """Have each process wait before its next trial when it has done so many."""
        (self.folder / "lab" / "hold").write_text(str(after))

    def held(self, count: int) -> list[Path]:
        """Wait until so many processes wait. Each goes on when its file is deleted."""
        folder = self.folder / "lab" / "held"
        return until(lambda: held if len(held := sorted(folder.iterdir())) == count else [])

    def let_go(self) -> None:
        """Have no process wait any more."""
        (self.folder / "lab" / "hold").unlink()

    def living(self) -> list[int]:
        """The processes of this lab that live, also those whose drivers were killed."""
        mark = f"LAB={self.folder / 'lab'}".encode()
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdecimal() and mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        until(lambda: not self.living())  # workers end with their drivers


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
