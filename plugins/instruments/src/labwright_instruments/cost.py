"""What a run would cost: time as its own steps, evaluations and checkpoints take it, and disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from labwright import Collecting, ranks

from labwright_instruments.workbench import wait_for

# steps are slower to begin with, until memory has been asked for and caches are full
_WARM_UP, _WARM_STEPS = 0.3, (3, 20)  # seconds, and how many steps at least and at most
_SECONDS, _FEWEST, _MOST = 2.5, 5, 400  # for which steps are timed, and how many of them at least and at most
_PATIENCE = 6.0  # as many times as long are they waited for, by the clock
_LOOKED_AT = 2.0  # seconds for which a part is measured, by which all of it is reckoned


@dataclass(frozen=True)
class Seconds:
    """By the clock, and those that this process spent on processors: less, where it waits or others have them."""

    wall: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.processor + other.processor)

    def __sub__(self, other: Seconds) -> Seconds:
        """What is left, 0 at least."""
        return Seconds(max(0.0, self.wall - other.wall), max(0.0, self.processor - other.processor))

    def __mul__(self, factor: float) -> Seconds:
        return Seconds(self.wall * factor, self.processor * factor)

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Cost:
    """What a whole run takes by what it does, without starting up and its end, and bytes that it leaves on disk.

    `steps`, `evaluations` and `checkpoints` say how many there are of each; those that are better than all before, and
    saved for that, may add to the checkpoints. `first` is what the first step takes beyond another. `disk` is what
    checkpoints take at the end, if the best one is among the newest and if it isn't. `batch` is that of the last step
    that was taken.
    """

    steps: int
    step: Seconds
    first: Seconds
    evaluations: int
    evaluation: Seconds
    test: Seconds
    checkpoints: int
    checkpoint: Seconds
    checkpoint_bytes: int
    disk: tuple[int, int]
    batch: Any

    @property
    def parts(self) -> dict[str, Seconds]:
        return {
            "first": self.first,
            "steps": self.step * self.steps,
            "evaluations": self.evaluation * self.evaluations,
            "checkpoints": self.checkpoint * self.checkpoints,
            "test": self.test,
        }

    @property
    def together(self) -> Seconds:
        return sum(self.parts.values(), Seconds())

    def json(self) -> dict[str, Any]:
        """Seconds by the clock, but for `processor_seconds` of all of it."""
        return {
            "steps": self.steps,
            "step_seconds": self.step.wall,
            "evaluations": self.evaluations,
            "evaluation_seconds": self.evaluation.wall,
            "test_seconds": self.test.wall,
            "checkpoints": self.checkpoints,
            "checkpoint_seconds": self.checkpoint.wall,
            "checkpoint_bytes": self.checkpoint_bytes,
            "disk_bytes": self.disk[1],
            "seconds": self.together.wall,
            "processor_seconds": self.together.processor,
        }


def cost(trainer: Any) -> Cost:
    """Take some steps with their data, some batches of each part that is measured, and a checkpoint; time them.

    Several processes do it together, and go by what the first has measured.
    """
    intervals = trainer.intervals
    trainer.begin()
    fed = _Fed(trainer.built.method.feed(trainer))
    first, step = _of_steps(trainer, fed)
    with trainer.averaged():  # they may be evaluated in another time, as they are elsewhere in memory
        evaluation = _of_part(trainer, trainer.built, "valid")
        for other in trainer.built.beside.values():
            evaluation += _of_part(trainer, other, "test")
        if trainer.train.evaluate_train and trainer.tested:
            evaluation += _of_part(trainer, trainer.built, "train")
        test = _of_part(trainer, trainer.built, "test")
    evaluations = -(-intervals.total // intervals.evaluate)  # and one at the end
    saves = -(-intervals.total // intervals.save)
    [*trainer.loss_log.flush()]  # else the losses of all steps would be in the checkpoint
    _save(trainer)  # the first finds no folder and nothing begun
    before, grown = trainer.run.step, _grown(trainer)
    trainer.run.step += 1
    saving = _timed(partial(_save, trainer), trainer)
    written = ranks.by_first(partial(_written, trainer))
    # tables that grow, such as what an agent remembers, are written once, row by row
    tables = grown * intervals.total // max(before, 1)
    kept = min(saves, trainer.train.keep)
    more = 1 if trainer.task.part("valid") is not None and evaluations > kept else 0
    disk = written * kept + tables, written * (kept + more) + tables
    return Cost(intervals.total, step, first, evaluations, evaluation, test, saves, saving, written, disk, fed.last)


def _save(trainer: Any) -> None:
    trainer.save()
    trainer.checkpoints.wait()


def _written(trainer: Any) -> int:
    """Bytes of the newest checkpoint."""
    return sum(file.stat().st_size for file in trainer.checkpoints.path(trainer.run.step).iterdir())


def _grown(trainer: Any) -> int:
    """Bytes of tables that grow, beside the checkpoints."""
    return sum(file.stat().st_size for file in trainer.checkpoints.folder.glob("tables/**/*") if file.is_file())


# --------------------------------------------------------------------------------------------------------------- steps


class _Fed:
    """What a method feeds, the last of it remembered."""

    def __init__(self, fed: Iterator[Any]) -> None:
        self.fed, self.last = fed, None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.last = next(self.fed)
        return self.last


def _of_steps(trainer: Any, fed: Iterator[Any]) -> tuple[Seconds, Seconds]:
    """What the first step takes beyond another, and the mean over steps as the loop takes them, data included."""
    first = _timed(partial(_step, trainer, fed), trainer)
    _warm_up(trainer, fed)
    wait_for(trainer.device)
    begun = Seconds.now()
    each = _enough(trainer, fed)
    wait_for(trainer.device)
    mean = (Seconds.now() - begun) * (1 / len(each)) if each else first
    if trainer.device.type == "cpu":  # elsewhere a step isn't over when it returns
        mean = _as_long_as_all(trainer, each, mean)
    return first - mean, mean


def _warm_up(trainer: Any, fed: Iterator[Any]) -> None:
    fewest, most = _WARM_STEPS
    begun, left = Seconds.now(), trainer.intervals.total - trainer.run.step
    for count in range(min(most, left // 2)):
        if count >= fewest and (ranks.count() > 1 or _spent(trainer, begun) > _WARM_UP):
            break
        _step(trainer, fed)


def _spent(trainer: Any, begun: Seconds) -> float:
    """Seconds of the processor if that computes, so that others who have it don't make it fewer steps."""
    spent = Seconds.now() - begun
    return spent.processor if trainer.device.type == "cpu" else spent.wall


def _enough(trainer: Any, fed: Iterator[Any]) -> list[float]:
    """Take whole rounds of steps, as many as take some seconds, of a round that takes minutes a part.

    Returns what each took of a processor.
    """
    round_ = _round(trainer)
    left = trainer.intervals.total - trainer.run.step
    several = ranks.count() > 1  # which all take as many
    each: list[float] = []
    begun = Seconds.now()
    while len(each) < left:
        whole = len(each) >= _FEWEST and len(each) % round_ == 0
        if whole and (several or _spent(trainer, begun) > _SECONDS or len(each) >= _MOST):
            break
        if each and not several and (Seconds.now() - begun).wall > _SECONDS * _PATIENCE:
            break
        before = time.process_time()
        if not _step(trainer, fed):
            break
        each.append(time.process_time() - before)
    return each


def _step(trainer: Any, fed: Iterator[Any]) -> bool:
    """Take a step; whether there was one to take."""
    batch = next(fed, None)
    if batch is not None:
        trainer.step(batch)
    return batch is not None


def _round(trainer: Any) -> int:
    """After how many steps the same is done again: phases that aren't due at each, and what is collected in between."""
    task = trainer.task
    often = [phase_step.every for phase_step in trainer.phase_steps]
    return math.lcm(*often, task.round_steps(trainer.train.batch_size) if isinstance(task, Collecting) else 1)


def _as_long_as_all(trainer: Any, each: Sequence[float], mean: Seconds) -> Seconds:
    """The mean, if batches are of samples of like length, for batches that are as long as an epoch's are."""
    train = trainer.train
    batches = trainer.task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
    lengths = getattr(batches and batches.split, "lengths", None)
    if lengths is None or len(each) < _FEWEST:
        return mean
    tokens_P = np.array([len(part) * int(torch.as_tensor(lengths)[part].max()) for part in batches.parts], float)
    at = trainer.run.step - len(each)
    timed_N = tokens_P[(np.arange(len(each)) + at) % len(tokens_P)]
    if not mean.processor or timed_N.std() < 0.01 * timed_N.mean():
        return mean
    # at least nothing and at most all of the time goes with the length
    slope = np.clip(np.polyfit(timed_N, each, 1)[0], 0.0, mean.processor / timed_N.mean())
    return mean * float(1 + slope * (tokens_P.mean() - timed_N.mean()) / mean.processor)


# --------------------------------------------------------------------------------------------------------------- parts


def _of_part(trainer: Any, built: Any, split: str) -> Seconds:
    """Seconds of measuring a part: all of it if that is quick, else reckoned by some batches; 0 where there is none."""
    train = trainer.train
    batches = built.task.batches(split, size=train.batch_size, seed=train.seed, epoch=0, plain=True)
    if batches is None or not len(batches):
        return Seconds()
    drawn = train.evaluate_train if split == "train" and isinstance(train.evaluate_train, int) else None
    count = min(len(batches), -(-drawn // train.batch_size)) if drawn else len(batches)
    measure = partial(built.evaluate, split, size=train.batch_size, seed=train.seed, drawn=drawn)
    measure(most=1)  # the first allocates
    begun = Seconds.now()
    one = _timed(partial(measure, most=1), trainer)
    if count == 1:
        return one
    many = int(_LOOKED_AT / max(ranks.shared(_spent(trainer, begun)), 1e-6))
    some = count if many >= count else max(2, many)
    return _timed(partial(measure, most=some), trainer) * (count / some)


def _timed(call: Callable[[], Any], trainer: Any) -> Seconds:
    begun = Seconds.now()
    call()
    wait_for(trainer.device)
    return Seconds.now() - begun
