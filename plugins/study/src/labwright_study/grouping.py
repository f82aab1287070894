"""Which trials of a batch are trained as one program: those that may differ, in the form that was measured fastest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, cast

from labwright import LabwrightError
from labwright.engine import Trainer

from labwright_study.fused import Form, fuse_key, why_not
from labwright_study.fused.measuring import gain
from labwright_study.trial import Group, Spec, Trials

SERIAL = "serial"
MOST = 32  # trials in a program: beyond that a step of each is hardly faster
WORTH = 1.0  # times as fast at least; of fewer trials than will be in it, a program gains rather less
SHARE = 0.04  # of a study's time that measuring may take
COST = 12  # steps of a trial, one after another, that measuring takes for each trial in it: making it is most of that
LEAST = 4  # trials that are measured first: most programs are faster from there on


class Grouping:
    """Puts a batch's trials into groups; `count` is how many trials the study has in all.

    `kept` and `keep` are where a measured form is stored, by the trials' key.
    """

    def __init__(
        self,
        trials: Trials,
        count: int,
        workers: int,
        kept: Callable[[str], Any],
        keep: Callable[[str, Any], None],
        say: Callable[[str], None],
    ) -> None:
        self.trials, self.count, self.workers = trials, count, workers
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
                yield Group(tuple(together[first : first + count]), None if form == SERIAL else cast("Form", form))

    def _way(self, key: str, specs: Sequence[Spec]) -> tuple[str, int]:
        """The form these trials are trained in, measured once, and how many at once, so that all workers have some."""
        count = min(MOST, math.ceil(len(specs) / self.workers))
        if count == 1:
            return SERIAL, 1
        measured = self.kept(key)
        if measured is None:
            try:
                form, faster = self._gain(specs[:count])
                measured = {"form": form if faster >= WORTH else SERIAL, "faster": round(faster, 2)}
            except Exception as error:  # noqa: BLE001 - one that can't even be begun says so itself
                measured = {"form": SERIAL, "why": str(error)}
            self.keep(key, measured)
        if measured["form"] != SERIAL:
            gained = f"{measured['faster']:.1f} times as fast when measured, perhaps with fewer"
            self._once(f"trials are fused, {count} in a program ({measured['form']}): {gained}")
            return measured["form"], count
        why = measured.get("why")
        self._once(
            f"trials aren't fused: {why}"
            if why
            else "trials are trained one after another: that was measured to be fastest"
        )
        return SERIAL, 1

    def _gain(self, specs: Sequence[Spec]) -> tuple[Form, float]:
        """As `gain`: of a few trials, and of more if a few aren't faster and the study is long enough."""
        with TemporaryDirectory(prefix="labwright-") as scratch:

            def begun(count: int) -> list[Trainer]:
                some = [replace(spec, folder=f"{scratch}/{count}-{spec.number}") for spec in specs[:count]]
                return [self.trials.begun(spec, lambda *_: False)[0] for spec in some]

            few = begun(LEAST)
            steps = self.count * few[0].intervals.total / self.workers  # of trials, one after another
            count = min(len(specs), int(SHARE * steps / COST))
            form, faster = gain(few)
            return gain(begun(count)) if faster < WORTH and count > len(few) else (form, faster)

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)
