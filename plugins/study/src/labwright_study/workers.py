"""Where trials run: in this process, or in warm worker processes that are told what to do in lines of JSON.

A worker process is `python -m labwright_study.workers`. It imports and reads data once, and runs one trial at a time;
one that dies is replaced and its trial is run again, under the same number. It ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from labwright import LabwrightError, ranks

from labwright_study.trial import Answer, Group, Result, Spec, Trials

ATTEMPTS = 5  # of a trial whose worker dies at it, before the trial is what kills it
STARTS = 20  # of workers one after another that die before they take a trial, before that is what is wrong
PATIENCE = 10  # seconds for a worker that is idle to end by itself


class Pool(ABC):
    """Where trials run. `signals` are those heard that ask for an end, `given_up` that another process has the study.

    Both end it gently: no further group is taken, and what is under way is trained to its end.
    """

    signals: Sequence[int] = ()
    given_up: bool = False

    @property
    def stopping(self) -> bool:
        """Whether no further group is taken."""
        return bool(self.signals) or self.given_up

    @abstractmethod
    def run(self, groups: Iterator[Group], answer: Answer) -> Iterator[Result]:
        """Run groups of trials; results come as they are ready. `answer` says whether a trial is pruned."""

    @abstractmethod
    def close(self) -> None:
        """End what was begun."""


class Here(Pool):
    """One group after another in this process, with those it trains together with: see `ranks.led`."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    def run(self, groups: Iterator[Group], answer: Answer) -> Iterator[Result]:
        while not self.stopping:
            group = next(groups, None)
            if group is None:
                return
            yield from self.trials.run(ranks.shared(group), answer)

    def close(self) -> None:
        """Nothing is held."""


class Process:
    """A worker process on this machine, and the pipes to and from it; its `fileno` is for whoever waits for it."""

    def __init__(self, threads: int) -> None:
        reads, writes = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labwright_study.workers", str(writes), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=2,  # what a component prints isn't a result
            pass_fds=(writes,),
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            start_new_session=True,  # Ctrl-C is for the process that the person started
        )
        os.close(writes)
        assert self._process.stdin is not None
        self._orders, self._says = self._process.stdin, os.fdopen(reads, "rb", buffering=0)

    def fileno(self) -> int:
        return self._says.fileno()

    def tell(self, line: bytes) -> None:
        with suppress(OSError):  # a process that has died is noticed where it is listened to
            self._orders.write(line)
            self._orders.flush()

    def hear(self) -> bytes:
        """What it has said, once it has; nothing of one that has died."""
        return os.read(self._says.fileno(), 1 << 20)

    def leave(self) -> None:
        """Tell it nothing more: if it is idle, it ends by itself."""
        with suppress(OSError):
            self._orders.close()

    def end(self, patience: float = 0.0) -> int:
        """End it with the processes it started, if it hasn't ended within so many seconds. Returns its exit code."""
        self.leave()
        try:
            self._process.wait(patience) if patience else self._kill()
        except subprocess.TimeoutExpired:
            self._kill()
        self._says.close()
        return self._process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Cluster(Protocol):
    """Machines that worker processes run on: what a component of the kind `cluster` is."""

    def begin(self, start: Callable[[], Process]) -> Process:
        """Call `start` on one of them. Returns what stands for that process here, and dies with it."""

    def close(self) -> None:
        """Let go of the machines; no process is left."""


@dataclass
class _Worker:
    """A process, and what it is doing."""

    process: Process
    group: Group | None = None
    at_work: bool = False  # it has taken the group that it was sent
    unread: bytes = b""
    code: int | None = None  # what it died with


@dataclass
class Workers(Pool):
    """Warm processes, on this machine or a cluster; `order` is what each is told first: see `main`."""

    count: int
    order: Mapping[str, Any]
    cluster: Cluster | None = None
    deaths: int = 0
    _all: list[_Worker] = field(default_factory=list)
    _attempts: dict[int, int] = field(default_factory=dict)
    _vain: int = 0  # workers that died before they took a trial, since one did

    def __post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def run(self, groups: Iterator[Group], answer: Answer) -> Iterator[Result]:
        again: list[Group] = []  # their workers died
        while True:
            while not self.stopping and self._free():
                group = again.pop(0) if again else next(groups, None)
                if group is None:
                    break
                self._send(self._idle(), group)
            if not any(worker.group for worker in self._all):
                return
            for worker in self._ready():
                for message in self._messages(worker):
                    if "begun" in message:
                        worker.at_work, self._vain = True, 0
                    elif "report" in message:
                        pruned = answer(message["number"], message["report"])
                        self._order(worker, {"pruned": pruned})
                    else:
                        worker.group, worker.at_work = None, False
                        yield from (Result(**one) for one in message["results"])
                if worker.code is not None and worker.group is not None:
                    if not self._given_up(worker.at_work, worker.code, worker.group):
                        again.append(worker.group)
                        continue
                    for spec in worker.group.specs:
                        yield Result(spec.number, "failed", [], reason=f"{ATTEMPTS} processes died of it")

    def close(self) -> None:
        """End every process, at once if it is at work."""
        for worker in self._all:
            if worker.group is None:
                worker.process.leave()
            else:
                worker.process.end()
        for worker in self._all:
            worker.process.end(PATIENCE)
        self._all = []
        self._selector.close()
        if self.cluster is not None:
            self.cluster.close()

    def _given_up(self, at_work: bool, code: int, group: Group) -> bool:
        """Whether a group whose worker died isn't tried again. Raises LabwrightError if workers don't come that far."""
        if at_work:
            number = group.specs[0].number
            self._attempts[number] = self._attempts.get(number, 0) + 1
            return self._attempts[number] >= ATTEMPTS
        self._vain += 1
        if self._vain >= STARTS or (code > 0 and self._vain >= ATTEMPTS):
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise LabwrightError(
                f"{self._vain} worker processes ended before they began, the last with {how}: what they said is above. "
                "With --workers 1 trials run in this process."
            )
        return False

    def _free(self) -> bool:
        return len(self._all) < self.count or any(worker.group is None for worker in self._all)

    def _idle(self) -> _Worker:
        return next((worker for worker in self._all if worker.group is None), None) or self._started()

    def _started(self) -> _Worker:
        start = partial(Process, self.order["threads"])
        worker = _Worker(start() if self.cluster is None else self.cluster.begin(start))
        self._all.append(worker)
        self._selector.register(worker.process, selectors.EVENT_READ, worker)
        self._order(worker, self.order)
        return worker

    def _send(self, worker: _Worker, group: Group) -> None:
        worker.group = group
        self._order(worker, group.json())

    def _order(self, worker: _Worker, order: Mapping[str, Any]) -> None:
        worker.process.tell(json.dumps(order).encode() + b"\n")

    def _ready(self) -> list[_Worker]:
        """The workers that have said something or died."""
        return [key.data for key, _ in self._selector.select()]

    def _messages(self, worker: _Worker) -> Iterable[Any]:
        """What a worker has said. One that has died is taken away."""
        heard = worker.process.hear()
        if not heard:
            self._bury(worker)
        *whole, worker.unread = (worker.unread + heard).split(b"\n")
        return [json.loads(line) for line in whole]

    def _bury(self, worker: _Worker) -> None:
        self._all.remove(worker)
        self._selector.unregister(worker.process)
        worker.code = worker.process.end()  # one that can't be heard any more is of no use; and those that it started
        self.deaths += 1


def main() -> None:
    """A worker: the first line says what the study is, each further one is a trial or the answer to a report."""
    channel, parent = map(int, sys.argv[1:])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    from labwright import Experiment, Goal, Plugins

    with os.fdopen(channel, "w") as says:

        def say(message: Mapping[str, Any]) -> None:
            try:
                says.write(json.dumps(message) + "\n")
                says.flush()
            except BrokenPipeError:
                os._exit(0)  # nobody is there any more

        def answer(number: int, reports: list[list[float]]) -> bool:
            say({"number": number, "report": reports})
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            return bool(json.loads(line)["pruned"])

        order = json.loads(sys.stdin.readline() or "null")
        if order is None:
            return
        plugins = Plugins.discover(order["blocked"], map(Path, order["local"]))
        experiment = Experiment(**order["experiment"], plugins=plugins, name=order["name"])
        goals = [Goal(metric, direction) for metric, direction in order["goals"]]
        trials = Trials(experiment, goals, order["threads"])
        for line in iter(sys.stdin.readline, ""):
            order = json.loads(line)
            say({"begun": True})
            group = Group(tuple(Spec(**one) for one in order["specs"]), order["form"])
            say({"results": [result.json() for result in trials.run(group, answer)]})  # all of them or none


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, also in the middle of a trial."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def order_of(trials: Trials, threads: int) -> dict[str, Any]:
    """The first line for a worker process. Raises LabwrightError if the experiment can't be written down."""
    experiment = trials.experiment
    try:
        given = json.loads(json.dumps(experiment.given))
    except TypeError as error:
        raise LabwrightError(
            f"worker processes know components by their names only, and this experiment holds an object: {error}. Give "
            "workers=1, or register it in a plugin."
        ) from error
    return {
        "experiment": given,
        "name": experiment.name,
        "goals": [[goal.metric, goal.direction] for goal in trials.goals],
        "threads": threads,
        "blocked": [plugin.name for plugin in experiment.plugins.plugins if plugin.state == "blocked"],
        "local": [str(plugin.file) for plugin in experiment.plugins.plugins if plugin.file is not None],
    }


if __name__ == "__main__":
    main()
