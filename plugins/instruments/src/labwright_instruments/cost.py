"""What a run would cost: time as its own steps, evaluations and checkpoints take it, and disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from labwright_instruments.workbench import WARM_UP, wait_for

_SECONDS, _FEWEST = 3.0, 5  # for which steps are timed, and how many at least
_BATCHES = 10  # of a part that is measured, by which all of it is reckoned


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole run by what it does, without starting up and the report, and bytes that it leaves on disk.

    `steps`, `evaluations` and `checkpoints` say how many there are of each; those that are better than all before, and
    saved for that, may add to the checkpoints.
    """

    steps: int
    step_seconds: float
    evaluations: int
    evaluation_seconds: float
    test_seconds: float
    checkpoints: int
    checkpoint_seconds: float
    checkpoint_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        training = self.steps * self.step_seconds + self.checkpoints * self.checkpoint_seconds
        return training + self.evaluations * self.evaluation_seconds + self.test_seconds


def cost(trainer: Any) -> Cost:
    """Take some steps with their data, some batches of each part that is measured, and a checkpoint; time them."""
    intervals = trainer.intervals
    trainer.begin()
    step = _step_seconds(trainer)
    measured = [
        (_evaluation_seconds(built, trainer, split), split)
        for built, split in [
            (trainer.built, "valid"),
            (trainer.built, "test"),
            *((other, "test") for other in trainer.built.beside.values()),
        ]
    ]
    valid, test = measured[0][0], measured[1][0]
    beside = sum(seconds for seconds, _ in measured[2:])
    evaluations = -(-intervals.total // intervals.evaluate)  # and one at the end
    saves = -(-intervals.total // intervals.save)
    _save(trainer)  # the first finds no folder and nothing begun
    trainer.run.step += 1
    saving = _timed(partial(_save, trainer), trainer)
    written = sum(file.stat().st_size for file in trainer.checkpoints.path(trainer.run.step).iterdir())
    # `keep` of the newest and the best one
    kept = min(saves, trainer.train.keep) + 1
    return Cost(intervals.total, step, evaluations, valid + beside, test, saves, saving, written, written * kept)


def _save(trainer: Any) -> None:
    trainer.save()
    trainer.checkpoints.wait()


def _step_seconds(trainer: Any) -> float:
    """The mean over steps as the loop takes them, data included."""
    fed = trainer.built.method.feed(trainer)
    warm = min(WARM_UP, trainer.intervals.total - 1)
    for _ in range(warm):
        trainer.step(next(fed))
    wait_for(trainer.device)
    begun, count = time.perf_counter(), 0
    for batch in fed:
        trainer.step(batch)
        count += 1
        if count >= _FEWEST and time.perf_counter() - begun > _SECONDS:
            break
    wait_for(trainer.device)
    return (time.perf_counter() - begun) / count


def _evaluation_seconds(built: Any, trainer: Any, split: str) -> float:
    """Seconds of measuring a part, reckoned from its first batches; 0 where there is none."""
    train = trainer.train
    batches = built.task.batches(split, size=train.batch_size, seed=train.seed, epoch=0, plain=True)
    if batches is None or not len(batches):
        return 0.0
    count = min(len(batches), _BATCHES)

    measure = partial(built.evaluate, split, size=train.batch_size, seed=train.seed)
    measure(most=1)  # the first allocates
    return _timed(partial(measure, most=count), trainer) * len(batches) / count


def _timed(call: Callable[[], Any], trainer: Any) -> float:
    begun = time.perf_counter()
    call()
    wait_for(trainer.device)
    return time.perf_counter() - begun
