"""How long a step of one trial takes, one after another and fused: measured, not assumed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch

from labwright.fused.program import FORMS, Form
from labwright.fused.training import Course, program_for
from labwright.trainer import Trainer

SERIAL = "serial"
Way = tuple[str, int]  # a form or "serial", and how many trials at once


def seconds_per_step(
    trainers: Sequence[Trainer],
    *,
    counts: Iterable[int] = (4, 8, 16, 32),
    forms: Sequence[Form] = FORMS,
    steps: int = 5,
    rounds: int = 3,
) -> dict[Way, float]:
    """Seconds of a trial's step by (form, number of trials): feeding, the objective, the update; ("serial", 1) too.

    Of each way the median over rounds, which are interleaved, of `steps` steps; CPU time where it is computed on the
    CPU. A form that can't be taken is left out. The trainers are used up: their weights move, nothing is written.
    """
    total = trainers[0].rhythm.total
    steps, warmed = min(steps, total), steps < total
    ways: list[Way] = [(SERIAL, 1)]
    ways += [(form, count) for count in counts if count <= len(trainers) for form in forms]
    seen: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):  # the first warms up
        for form, count in list(seen):
            with _course(trainers[:count], form) as advance:
                if advance is None:
                    del seen[form, count]
                    continue
                spent = _timed(advance, steps, warmed, trainers[0].device) / (steps * count)
            if number:
                seen[form, count].append(spent)
    return {way: statistics.median(spent) for way, spent in seen.items()}


def fastest(seconds: Mapping[Way, float], trials: int) -> Way:
    """The way that takes least for so many trials: what doesn't fill the last program counts as it is."""

    def cost(way: Way) -> float:
        _, count = way
        return seconds[way] * (-(-trials // count) * count if trials < count else trials)

    return min(seconds, key=cost)


@contextmanager
def _course(trainers: Sequence[Trainer], form: str) -> Iterator[Callable[[], object] | None]:
    """One step of all these trainers, to be called again and again; they begin anew after it."""
    if form == SERIAL:
        (trainer,) = trainers
        feed = trainer.feed()
        yield lambda: trainer.step(next(feed))
    else:
        program, _ = program_for(trainers, [one for one in FORMS if one == form])
        yield Course(program).advance if program else None
        if program:
            program.rows.release()
    for trainer in trainers:
        trainer.run.step = 0
        trainer.window.steps = []


def _timed(advance: Callable[[], object], steps: int, warmed: bool, device: torch.device) -> float:
    if warmed:
        advance()  # what is made once, such as the optimizer's state
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    wait = torch.cuda.synchronize if device.type == "cuda" else nullcontext
    wait()
    begun = clock()
    for _ in range(steps):
        advance()
    wait()
    return clock() - begun
