"""Training several trials as one program: each takes the steps of its own serial run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labwright import Outcome, RunFailed, StopRun, Task, isolated
from labwright.engine import Status, Trainer, interruptions
from torch import Tensor, nn

from labwright_study.fused.fuse_key import CannotFuse
from labwright_study.fused.program import FORMS, Form, Program, Stacked
from labwright_study.fused.updating import apply


@dataclass
class Fused:
    """How fused trials ended, in the order given; the form they were trained in, None if one after another.

    `reasons` say why forms higher on the ladder weren't taken.
    """

    outcomes: list[Outcome | RunFailed]
    form: Form | None
    reasons: list[str] = field(default_factory=list)


def fit_fused(trainers: Sequence[Trainer], form: Form = "grouped", *, interruptible: bool = True) -> Fused:
    """Train to the end what `fuse_key` says can share a program, as `Trainer.fit` does each.

    A form that can't be taken gives way to the next below it on the ladder: grouped, vmap, vmap-grad, and at last one
    after another. A trial that stops or fails leaves the program; the others go on. One that failed is in the result.
    """
    program, reasons = program_for(trainers, FORMS[FORMS.index(form) :])
    if program is None:
        return Fused([_alone(trainer, interruptible) for trainer in trainers], None, reasons)
    return Fused(FusedLoop(program).run(interruptible), program.form, reasons)


def program_for(trainers: Sequence[Trainer], forms: Sequence[Form]) -> tuple[Program | None, list[str]]:
    """A program in the first of the forms that computes these trials' first step, and why not the ones before it."""
    reasons: list[str] = []
    if len({(trainer.run.step, trainer.intervals.total, trainer.intervals.per_epoch) for trainer in trainers}) > 1:
        return None, ["trials differ in the steps that are still to do"]
    for form in forms:
        try:
            program = Program(trainers, form)
        except CannotFuse as reason:
            return None, [*reasons, str(reason)]
        try:
            _try(program)
        except Exception as error:  # noqa: BLE001 - what a transform says no to comes as any of a dozen types
            program.rows.release()
            said = str(error) if isinstance(error, CannotFuse) else f"{type(error).__name__}: {error}"
            reasons.append(f"{form}: {said.strip().splitlines()[0] if said.strip() else type(error).__name__}")
        else:
            return program, reasons
    return None, reasons


class FusedLoop:
    """The steps of a program's trials, each followed by what follows a step of its own run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.order = list(program.trainers)
        self.outcomes: dict[int, Outcome | RunFailed] = {}
        self.feeds: dict[int, Iterator[Any]] = {}

    def run(self, interruptible: bool) -> list[Outcome | RunFailed]:
        """Train to the end. Returns how each trial ended, in the order of the program's trainers."""
        first = self.order[0]
        with isolated(first.device, threads=first.settings.threads):
            self._go(interruptible)
        return [self.outcomes[id(trainer)] for trainer in self.order]

    def _go(self, interruptible: bool) -> None:
        for trainer in self.program.trainers:
            trainer.begin()
        self._each(lambda trainer: trainer.started())
        with interruptions(interruptible) as interrupted:
            while live := self.program.trainers:
                if live[0].run.step >= live[0].intervals.total:
                    self._end("finished", f"{live[0].intervals.total} steps")
                elif interrupted:
                    self._end("interrupted", f"interrupted after step {live[0].run.step} of {live[0].intervals.total}")
                else:
                    self.step()

    def step(self) -> None:
        """One step of every trial, and what follows it."""
        try:
            computed = self.advance()
        except Exception as error:  # noqa: BLE001 - it is that of every trial
            self._end("failed", "", error)
            return
        losses = dict(zip(map(id, self.program.trainers), computed, strict=True))
        self._each(lambda trainer: trainer.stepped(losses[id(trainer)]))

    def advance(self) -> list[Mapping[str, Tensor]]:
        """One step of every trial and nothing that follows it. Returns each one's losses by phase."""
        program = self.program
        trainers = program.trainers
        step, total = trainers[0].run.step, trainers[0].intervals.total
        fetched = self._fetched()
        drawn, numbers, weights = _drawn(trainers, fetched)
        try:
            batch = drawn[0] if len(drawn) == 1 else Stacked([drawn[number] for number in numbers])
        except CannotFuse:  # such as texts of other lengths: this step is taken one after another
            return [trainer.step(batch) for trainer, batch in zip(trainers, fetched, strict=True)]
        program.masks.begin(step)
        losses: list[dict[str, Tensor]] = [{} for _ in trainers]
        for number, phase_step in enumerate(trainers[0].phase_steps):
            if (step + 1) % phase_step.every == 0:
                found, gradients = program.gradients(number, batch)
                for one, loss in zip(losses, found.unbind(), strict=True):
                    one[phase_step.name] = loss
                self._update(number, gradients, step, total)
        for trainer, weight, one in zip(trainers, weights, losses, strict=True):
            trainer.count(weight, one)
        return list(losses)

    def _update(self, number: int, gradients: Mapping[str, Tensor], step: int, total: int) -> None:
        phase_steps = [trainer.phase_steps[number] for trainer in self.program.trainers]
        apply(phase_steps, gradients, step, total)
        for trainer, phase_step in zip(self.program.trainers, phase_steps, strict=True):
            if type(trainer.task).after_step is not Task.after_step:
                trainer.task.after_step(trainer.model, phase_step.name, (step + 1) / total)

    def _fetched(self) -> list[Any]:
        """The next batch of each trial: those with the same seed have the same one."""
        batches: dict[int, Any] = {}
        for trainer in self.program.trainers:
            seed = trainer.train.seed
            if seed not in batches:
                if seed not in self.feeds:
                    self.feeds[seed] = trainer.batches()
                batches[seed] = next(self.feeds[seed])
        return [batches[trainer.train.seed] for trainer in self.program.trainers]

    def _each(self, call: Callable[[Trainer], None]) -> None:
        """Call something for each trial; those for which it raises end, and the others go on."""
        ended: list[tuple[int, Status, str, Exception | None]] = []
        for number, trainer in enumerate(self.program.trainers):
            try:
                call(trainer)
            except StopRun as stop:
                ended.append((number, "stopped", stop.reason, None))
            except Exception as error:  # noqa: BLE001 - it is that of one trial
                ended.append((number, "failed", "", error))
        if not ended:
            return
        trainers = self.program.trainers
        self._leave([number for number, *_ in ended])
        for number, status, reason, fault in ended:
            self._conclude(trainers[number], status, reason, fault)

    def _leave(self, numbers: Sequence[int]) -> None:
        """Some trials leave the program."""
        left = [number for number in range(len(self.program.trainers)) if number not in numbers]
        if left:
            self.program.keep(left)
        else:
            self.program.rows.release()
            self.program.trainers = []
        self.feeds = {}  # one that belonged to a trial that is gone would end there

    def _end(self, status: Status, reason: str, error: Exception | None = None) -> None:
        """All trials end."""
        trainers = self.program.trainers
        self._leave(range(len(trainers)))
        for trainer in trainers:
            self._conclude(trainer, status, reason, error)

    def _conclude(self, trainer: Trainer, status: Status, reason: str, error: Exception | None) -> None:
        def course() -> tuple[Status, str]:
            if error is not None:
                raise error
            return status, reason

        try:
            self.outcomes[id(trainer)] = trainer.conclude(course)
        except RunFailed as failure:
            self.outcomes[id(trainer)] = failure
        except Exception as fault:  # noqa: BLE001 - the other trials go on
            failed = RunFailed(f"{type(fault).__name__}: {fault}")
            failed.__cause__ = fault
            self.outcomes[id(trainer)] = failed


def _drawn(trainers: Sequence[Trainer], fetched: Sequence[Any]) -> tuple[list[Any], list[int], list[float]]:
    """The distinct batches of a step with their random part, on the device; which is whose; the weight of each's."""
    numbers: dict[int, int] = {}
    batches: list[Any] = []
    weights: list[float] = []
    for trainer, batch in zip(trainers, fetched, strict=True):
        if trainer.train.seed not in numbers:
            numbers[trainer.train.seed] = len(batches)
            one = trainer.drawn(batch)
            weights.append(trainer.task.weight(one))
            batches.append(one if trainer.device.type == "cpu" else one.to(trainer.device))
    whose = [numbers[trainer.train.seed] for trainer in trainers]
    return batches, whose, [weights[number] for number in whose]


def _try(program: Program) -> None:
    """Compute the gradients of every phase of the first step, and leave no trace. Raises whatever can't be done."""
    trainers = program.trainers
    before = {name: stack.clone() for name, stack in program.rows.buffers.items()}
    losses = [*program.shells.values(), *program.criteria.values()]  # in which are those that the first's task holds
    of_losses = [buffer for loss in losses if isinstance(loss, nn.Module) for buffer in loss.buffers()]
    versions = [buffer._version for buffer in of_losses]
    fetched = {trainer.train.seed: next(trainer.batches()) for trainer in trainers}
    drawn, numbers, _ = _drawn(trainers, [fetched[trainer.train.seed] for trainer in trainers])
    batch = drawn[0] if len(drawn) == 1 else Stacked([drawn[number] for number in numbers])
    try:
        for number in range(len(trainers[0].phase_steps)):
            program.masks.begin(trainers[0].run.step)
            program.gradients(number, batch)
    finally:
        for name, stack in before.items():
            program.rows.buffers[name].copy_(stack)
    if versions != [buffer._version for buffer in of_losses]:
        raise CannotFuse("the loss changes buffers of its own")
    program.watching = program.functions.used


def _alone(trainer: Trainer, interruptible: bool) -> Outcome | RunFailed:
    try:
        return trainer.fit(interruptible=interruptible)
    except RunFailed as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - the other trials go on
        failed = RunFailed(f"{type(error).__name__}: {error}")
        failed.__cause__ = error
        return failed
