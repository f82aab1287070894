"""Which trials of a batch are trained as one program: those that may differ, in the form that was measured fastest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from labwright.errors import LabwrightError
from labwright.fused import Form, fuse_key, why_not
from labwright.fused.measuring import SERIAL, seconds_per_step
from labwright.study.trial import Group, Spec, Trials

COUNTS = (2, 4, 8, 16, 32)


class Grouping:
    """Puts a batch's trials into groups; `kept` and `keep` are where a measured form is stored, by the trials' key."""

    def __init__(
        self,
        trials: Trials,
        workers: int,
        kept: Callable[[str], Any],
        keep: Callable[[str, Any], None],
        say: Callable[[str], None],
    ) -> None:
        self.trials, self.workers = trials, workers
        self.kept, self.keep, self.say = kept, keep, say
        self._said: set[str] = set()

    def groups(self, specs: Sequence[Spec]) -> Iterator[Group]:
        """Every spec in one group: alone, or with others that are like it in all that makes a program."""
        alike: dict[str, list[Spec]] = {}
        for spec in specs:
            try:
                experiment = self.trials.experiment.varied(spec.values)
                reason, key = why_not(experiment), fuse_key(experiment)
            except LabwrightError:  # it can't be built: the trial says so
                reason, key = "", str(spec.number)
            if reason:
                self._once(f"trials aren't fused: {reason}")
                key = str(spec.number)
            alike.setdefault(hashlib.sha256(key.encode()).hexdigest()[:16], []).append(spec)
        for key, together in alike.items():
            form, count = (SERIAL, 1) if len(together) == 1 else self._way(key, together)
            for first in range(0, len(together), count):
                yield Group(tuple(together[first : first + count]), None if form == SERIAL else cast(Form, form))

    def _way(self, key: str, specs: Sequence[Spec]) -> tuple[str, int]:
        """The form and the number of trials in it that takes least time, with all workers at work; measured once."""
        found = self.kept(key)
        if found is None:
            seconds = self._measured(specs)

            def whole(way: tuple[str, int]) -> float:
                turns = math.ceil(math.ceil(len(specs) / way[1]) / self.workers)
                return turns * way[1] * seconds[way]

            form, count = min(seconds, key=whole)
            faster = whole((SERIAL, 1)) / whole((form, count))
            found = {"form": form, "count": count, "faster": round(faster, 2)}
            self.keep(key, found)
        if found["form"] == SERIAL:
            self._once("trials are trained one after another: that was measured to be fastest")
        else:
            form, count = found["form"], found["count"]
            self._once(f"trials are fused, {count} in a program ({form}): {found['faster']:.1f} times as fast")
        return found["form"], found["count"]

    def _measured(self, specs: Sequence[Spec]) -> dict[tuple[str, int], float]:
        with TemporaryDirectory(prefix="labwright-") as scratch:
            begun = [
                self.trials.begun(replace(spec, folder=str(Path(scratch) / str(spec.number))), lambda *_: False)[0]
                for spec in specs
            ]
            counts = sorted({len(specs), *(count for count in COUNTS if count < len(specs))})
            return seconds_per_step(begun, counts=counts)

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)
