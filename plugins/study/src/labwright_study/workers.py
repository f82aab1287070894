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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from labwright import LabwrightError

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
    """One group after another in this process."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    def run(self, groups: Iterator[Group], answer: Answer) -> Iterator[Result]:
        while not self.stopping:
            group = next(groups, None)
            if group is None:
                return
            yield from self.trials.run(group, answer)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Worker:
    """A process, the pipes to and from it, and what it is doing."""

    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    says: IO[bytes]
    group: Group | None = None
    at_work: bool = False  # it has taken the group that it was sent
    unread: bytes = b""


@dataclass
class Workers(Pool):
    """Warm processes of one thread each; `order` is what each is told first: see `main`."""

    count: int
    order: Mapping[str, Any]
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
                if worker.says.closed and worker.group is not None:
                    if not self._given_up(worker, worker.group):
                        again.append(worker.group)
                        continue
                    for spec in worker.group.specs:
                        yield Result(spec.number, "failed", [], reason=f"{ATTEMPTS} processes died of it")

    def close(self) -> None:
        """End every process, at once if it is at work."""
        for worker in self._all:
            with suppress(OSError):
                worker.orders.close()
            if worker.group is not None:
                _kill(worker.process)
        for worker in self._all:
            try:
                worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                _kill(worker.process)
                worker.process.wait()
            worker.says.close()
        self._all = []
        self._selector.close()

    def _given_up(self, worker: _Worker, group: Group) -> bool:
        """Whether a group whose worker died isn't tried again. Raises LabwrightError if workers don't come that far."""
        if worker.at_work:
            number = group.specs[0].number
            self._attempts[number] = self._attempts.get(number, 0) + 1
            return self._attempts[number] >= ATTEMPTS
        self._vain += 1
        code = worker.process.returncode
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
        reads, writes = os.pipe()
        threads = str(self.order["threads"])
        process = subprocess.Popen(
            [sys.executable, "-m", "labwright_study.workers", str(writes), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=2,  # what a component prints isn't a result
            pass_fds=(writes,),
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C is for the process that the person started
        )
        os.close(writes)
        assert process.stdin is not None
        worker = _Worker(process, process.stdin, os.fdopen(reads, "rb", buffering=0))
        self._all.append(worker)
        self._selector.register(worker.says, selectors.EVENT_READ, worker)
        self._order(worker, self.order)
        return worker

    def _send(self, worker: _Worker, group: Group) -> None:
        worker.group = group
        self._order(worker, group.json())

    def _order(self, worker: _Worker, order: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a process that has died is noticed where it is listened to
            worker.orders.write(json.dumps(order).encode() + b"\n")
            worker.orders.flush()

    def _ready(self) -> list[_Worker]:
        """The workers that have said something or died."""
        return [key.data for key, _ in self._selector.select()]

    def _messages(self, worker: _Worker) -> Iterable[Any]:
        """What a worker has said. One that has died is taken away."""
        heard = os.read(worker.says.fileno(), 1 << 20)
        if not heard:
            self._bury(worker)
        *whole, worker.unread = (worker.unread + heard).split(b"\n")
        return [json.loads(line) for line in whole]

    def _bury(self, worker: _Worker) -> None:
        self._all.remove(worker)
        self._selector.unregister(worker.says)
        worker.says.close()
        with suppress(OSError):
            worker.orders.close()
        _kill(worker.process)  # one that can't be heard any more is of no use; and those that it started
        worker.process.wait()
        self.deaths += 1


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker with the processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


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
