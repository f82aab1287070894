"""The loop. Read `Trainer.fit` from top to bottom; everything else is what it calls.

A step takes one batch, cut into micro-batches when accumulating, and runs the phases that are due, one optimizer update
each. The random numbers of a step are a function of (seed, step), its data of (seed, epoch): so a run that is resumed
at any step goes on as if it had never stopped, and evaluating more often changes nothing. Where several processes train
together, each takes its share of a step's batch, and the first alone logs, writes and calls listeners.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from labwright.base import ranks
from labwright.base.errors import Diverged, LabwrightError, RunFailed, StopRun, sentence, words
from labwright.base.isolation import isolated
from labwright.base.locks import Lock
from labwright.base.seeding import derived_seed, global_generators
from labwright.config.recipe import plain
from labwright.data.batching import cut_in, micro_batches
from labwright.data.dataset import Batch
from labwright.interfaces.closed_form import ClosedForm
from labwright.interfaces.method import Stateful
from labwright.interfaces.run import Outcome, Run, Status
from labwright.interfaces.task import Task
from labwright.plugin.relay import Relay
from labwright.train.built import Built
from labwright.train.checkpoints import (
    Checkpoint,
    Checkpoints,
    MemoryCheckpoints,
    below,
    held,
    load_model,
    split_state,
    split_tensors,
)
from labwright.train.gradient_sum import Buffers
from labwright.train.interruption import interruptions
from labwright.train.log import Log
from labwright.train.loss_log import LossLog, MeanLosses
from labwright.train.phase_step import phase_steps
from labwright.train.settings import Train


class Trainer:
    """Trains what `Experiment.build` made, in a run folder."""

    def __init__(self, built: Built, train: Train, run: Run, relay: Relay, listeners: Sequence[object] = ()) -> None:
        self.built = built
        self.task, self.model, self.device, self.settings = built.task, built.model, built.device, built.device_settings
        self.train, self.run, self.relay = train, run, relay
        self.intervals = train.intervals(run.steps_per_epoch)
        self.criterion = built.criterion
        self.phase_steps = phase_steps(built, train)
        for phase in (phase for phase in self.phase_steps if phase.every > run.total_steps):
            never = f"Phase {phase.name!r} is due once in {phase.every} steps, and the run has {run.total_steps}"
            run.notes.append(f"{never}: it is never trained.")
        self.freezing, self.thaws = built.freezing, built.freezing.ends(run.steps_per_epoch)
        self.log = Log(run.folder / "metrics.jsonl")
        self.checkpoints = Checkpoints(run.folder / "checkpoints", built.device_settings.writer(run.notes.append))
        self.lock: Lock | None = None  # of the run folder, given back when the run ends
        self.interruptible = True
        self.interrupted: list[int] = []  # the signals that asked for an end
        self.ending = False  # whether one of several processes was asked
        self.tested = True  # whether the run ends with a look at the test part
        self.loss_log = LossLog(self.device)
        # what listeners hear of each step is summed up for them
        self.heard = ranks.any(bool(relay.step_ended))
        self.draws = type(self.task).draw is not Task.draw
        self.schedules = {f"schedule of {one.name}": one.optimizer.lr_schedule for one in self.phase_steps}
        for schedule in self.schedules.values():
            schedule.begin(run.steps_per_epoch, self.task.goal)
        owners = {"task": self.task, "method": built.method, **self.schedules} | {
            f"listener {number} ({type(listener).__name__})": listener for number, listener in enumerate(listeners, 1)
        }
        self.stateful = {owner: thing for owner, thing in owners.items() if isinstance(thing, Stateful)}
        self.size = train.batch_size  # of the step's batch, over all processes
        self.buffers = Buffers([self.model, self.criterion]) if ranks.count() > 1 else None
        self.random = torch.Generator()
        self.generators = global_generators(self.device)
        self.best_step: int | None = None
        # the steps of the last checkpoint and evaluation, so that neither is done twice
        self.saved = self.evaluated = -1
        self.spent = 0.0

    def fit(self, until: int | None = None, *, interruptible: bool = True) -> Outcome:
        """Train to the end, to a StopRun, an interruption or a failure; then evaluate, report and say how it ended.

        After step `until` it is interrupted on purpose: saved, and nothing more. One that isn't `interruptible` leaves
        Ctrl-C to whoever called it. Signals are heard between steps: one that comes in the evaluation and the report
        after the last step ends the process as it would any other, and resuming does what was still to do. Random
        numbers and threads of the process are as before when it returns.
        """
        self.interruptible = interruptible
        self.begin()
        # from the step it starts at, as a resumed run can't know what was drawn before
        seed = derived_seed(self.train.seed, self.run.step, 9)  # of numpy and Python; torch has one for each step
        with isolated(self.device, seed=seed, threads=self.settings.threads):
            return self.conclude(partial(self._loop, until))

    def begin(self) -> None:
        """Start the clock of the run, alone in its folder. Raises LabwrightError if another process writes there."""
        if self.lock is not None and ranks.first():
            self.lock.acquire()
        self.begun = time.monotonic()
        self.marked = (self.begun, self.run.step)

    def conclude(self, steps: Callable[[], tuple[Status, str]]) -> Outcome:
        """Go through the steps, then evaluate, report and say how it ended.

        Args:
            steps: does them, and returns how they ended and why in words.

        Raises:
            RunFailed: with what is kept and how to go on, for a full disk, numbers that ceased to be numbers, and a
                device without memory. Any other error is passed on, after the listeners have been told.
        """
        try:
            status, reason = steps()
            self._finish(status)
            self.checkpoints.wait()
        except torch.OutOfMemoryError as error:
            hint = "device.accumulate=2 needs half the memory for the same result"
            raise self._failed(f"{self.device} is out of memory after step {self.run.step}; {hint}.") from error
        except RunFailed as failure:
            raise self._failed(str(failure), type(failure)) from failure
        except KeyboardInterrupt:
            # a second Ctrl-C: nothing more is done, not even a checkpoint
            self._ended(self._outcome("interrupted", f"interrupted at once after step {self.run.step}"))
            raise
        except Exception as error:
            self._ended(self._outcome("failed", f"{type(error).__name__}: {error}"))
            raise
        else:
            outcome = self._outcome(status, reason)
            self._ended(outcome)
            return outcome
        finally:
            for built in (self.built, *self.built.beside.values()):
                if built.workers is not None:
                    built.workers.close()
            if self.lock is not None:
                self.lock.release()

    def _loop(self, until: int | None) -> tuple[Status, str]:
        run, intervals = self.run, self.intervals
        try:
            fed = self.built.method.feed(self)  # first, as it may have something to say of the run
            self.started()
            if isinstance(self.model, ClosedForm):
                return self._fit_once(self.model)
            if run.step and run.step % intervals.evaluate == 0 and self.evaluated != run.step:
                self._evaluate("valid")  # which couldn't be read when it was due
            with interruptions(self.interruptible) as self.interrupted:
                for batch in fed:
                    self.stepped(self.step(batch))
                    # of several processes all end after the step in which the first was asked to
                    if (self.ending if ranks.count() > 1 else self.interrupted) or run.step == until:
                        return "interrupted", f"interrupted after step {run.step} of {intervals.total}"
        except StopRun as stop:
            return "stopped", stop.reason
        return "finished", f"{intervals.total} steps"

    def started(self) -> None:
        """Tell the listeners that the run starts."""
        self._tell(self.relay.run_started, run=self.run)

    def stepped(self, losses: Mapping[str, Tensor]) -> None:
        """What follows a step: listeners, the log, an evaluation, a checkpoint."""
        run, intervals = self.run, self.intervals
        step = run.step
        if self.heard:
            if ranks.count() > 1:
                sums = ranks.summed([float(loss) for loss in losses.values()])
                losses = {name: torch.tensor(loss) for name, loss in zip(losses, sums, strict=True)}
            self._tell(self.relay.step_ended, run=run, step=step, losses=losses)
        if step % intervals.log == 0 or (step == 1 and self.train.log_every == "auto"):
            for means in self.loss_log.close():
                self._log(means)
        if step % intervals.evaluate == 0:
            self._evaluate("valid")
        # the first step's shows whether there is room for what a device's own writer needs
        if step % intervals.save == 0 or (step == 1 and self.checkpoints.writer):
            self.save()

    def _fit_once(self, model: ClosedForm) -> tuple[Status, str]:
        """The one step of a model in closed form."""
        if not self.run.step:
            batches = self.task.batches("train", size=self.train.batch_size, seed=self.train.seed, epoch=0)
            assert batches is not None
            with torch.no_grad():
                model.fit(batches)
            self.run.step = 1
            self._tell(self.relay.step_ended, run=self.run, step=1, losses={})
        return "finished", "computed in closed form"

    def batches(self) -> Iterator[Batch]:
        """The batch of every step that is still to do, in order."""
        train, per_epoch = self.train, self.intervals.per_epoch
        while self.run.step < self.intervals.total:
            epoch, done = divmod(self.run.step, per_epoch)
            batches = self.task.batches(
                "train",
                size=train.batch_size,
                seed=train.seed,
                epoch=epoch,
                start=done,
                workers=self.built.workers,
                whole=train.drop_last,
            )
            assert batches is not None
            # what is drawn for a batch is drawn for all of it, whoever takes which share
            shares = batches if self.draws else batches.share(ranks.number(), ranks.count())
            # a task's own batches may be more than the first epoch had
            most = min(per_epoch - done, self.intervals.total - self.run.step)
            with self._reading("train"):
                for part, batch in islice(zip(batches.parts, shares, strict=True), most):
                    self.size = len(part)
                    yield batch

    @contextmanager
    def _reading(self, split: str) -> Iterator[None]:
        """Within it data is read: where it can't be, what was trained is saved, and RunFailed says how to go on."""
        try:
            yield
        except RunFailed:
            raise
        except (LabwrightError, OSError) as error:
            if ranks.count() == 1:  # else the others are elsewhere
                self.save()
            raise RunFailed(f"`{split}` can't be read after step {self.run.step}: {sentence(str(error))}") from error

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """One step: every phase that is due updates its parameters once. Returns the mean losses, of parts too."""
        task, step = self.task, self.run.step
        if step in self.thaws:
            self.freezing.apply(step, self.intervals.per_epoch)
        # every step starts its own random numbers: one that is resumed draws what it would have drawn
        seed = derived_seed(self.train.seed, step, 5, *([ranks.number()] if ranks.number() else []))
        for generator in self.generators:
            generator.manual_seed(seed)
        batch = self.drawn(batch)
        # before the batch is moved: a count on a GPU would have to be waited for
        weight, batches, shares = self.cut(batch)
        losses: dict[str, Tensor] = {}
        for phase_step in self.phase_steps:
            if (step + 1) % phase_step.every == 0:
                losses.update(phase_step(batches, shares, step, self.intervals.total))
                task.after_step(self.model, phase_step.name, (step + 1) / self.intervals.total)
        if self.buffers is not None:
            self.buffers.follow_first()
        self.count(weight, losses)
        return losses

    def drawn(self, batch: Batch) -> Batch:
        """A step's batch with the random part of the objective."""
        if not self.draws:
            return batch
        # a generator of its own, so that what the model draws doesn't move what the objective draws
        self.random.manual_seed(derived_seed(self.train.seed, self.run.step, 6))
        drawn: Batch = self.task.draw(batch, self.random)
        return drawn

    def cut(self, batch: Batch) -> tuple[float, Sequence[Batch], Sequence[float]]:
        """What a step's loss is a mean over, this process's micro-batches on the device, and the share of each.

        A share is what a micro-batch's loss counts in the mean over all of them, those of all processes.
        """
        elsewhere = self.device.type != "cpu"
        if self.settings.accumulate == ranks.count() == 1:
            return self.task.weight(batch), (batch.to(self.device) if elsewhere else batch,), (1.0,)
        # of a share only the order knows how large the whole is; what a method feeds or a task draws may be of any size
        size = len(batch) if self.draws or ranks.count() == 1 else self.size
        if self.draws and ranks.count() > 1:
            batch = batch.rows(slice(ranks.number(), None, ranks.count()) if ranks.number() < size else slice(1))
        # as many on each process, so that all do the same; one without samples does others', and they don't count
        parts = len(micro_batches(size, self.train.batch_size // self.settings.accumulate))
        own = len(range(ranks.number(), size, ranks.count()))
        cuts = cut_in(own, parts)
        pieces = [batch] if parts == 1 else [batch.rows(some if some.start < some.stop else slice(1)) for some in cuts]
        weights = [
            self.built.divisor(piece) if some.start < some.stop else 0.0
            for piece, some in zip(pieces, cuts, strict=True)
        ]
        # before the forward pass: each counts its share of what all of them are a mean over
        sums = ranks.summed([sum(weights), self.task.weight(batch) if own else 0.0, float(bool(self.interrupted))])
        whole, weight, self.ending = *sums[:2], sums[2] > 0
        pieces = [piece.to(self.device) for piece in pieces] if elsewhere else pieces
        return weight, pieces, [own / (whole or 1.0) for own in weights]  # where nothing counts each loss is 0

    def count(self, weight: float, losses: Mapping[str, Tensor]) -> None:
        """A step is done."""
        self.run.step += 1
        self.loss_log.add(self.run.step, weight, losses)

    def _log(self, means: MeanLosses) -> None:
        now = time.monotonic()
        time_before, step_before = self.marked
        self.marked = now, means.step
        alone = len(self.phase_steps) == 1  # then no name is needed to tell phases apart
        values = self._named(means.losses)
        for phase_step in self.phase_steps:
            # the rate of the stretch's last update, which was counted from 0
            lr = phase_step.optimizer.lr_at(means.step - 1, self.intervals.total)
            values["lr" if alone else f"lr/{phase_step.name}"] = lr
        values |= self.built.method.figures(means.step)
        self._record("train", means.step, **values)
        # for listeners alone: the log has seconds, from which it follows
        values["steps_per_second"] = (means.step - step_before) / max(now - time_before, 1e-9)
        self._tell(self.relay.logged, run=self.run, step=means.step, values=values)

    def _named(self, losses: Mapping[str, float]) -> dict[str, float]:
        cut = len(self.phase_steps[0].name) + 1 if len(self.phase_steps) == 1 else 0
        return {f"loss/{name[cut:]}".rstrip("/"): loss for name, loss in losses.items()}

    def _evaluate(self, split: str, beside: str = "") -> None:
        """Metrics of a split with the weights that count, into the log; a better one on `valid` is saved.

        With `valid` go the training part and the data `beside` it, by their names, which nothing is chosen by.
        """
        run, train, name = self.run, self.train, beside or split
        # trials of a study look at what they are judged by alone
        more = ["train"] * bool(train.evaluate_train and self.tested)
        for other in [*more, *self.built.beside] if name == "valid" else ():
            self._evaluate("train" if other in more else "test", other)
        drawn = train.evaluate_train if name == "train" and isinstance(train.evaluate_train, int) else None
        with self._reading(name), self.averaged():
            built = self.built.beside.get(beside, self.built)
            evaluated = built.evaluate(split, size=train.batch_size, seed=train.seed, drawn=drawn)
        if name == "valid":
            self.evaluated, self.saved = run.step, -1  # a checkpoint of this step knows nothing of it
        if evaluated is None:
            return
        metrics = run.metrics[name] = evaluated.metrics
        run.samples[name] = evaluated.samples
        self._record("evaluation", run.step, split=name, samples=evaluated.samples, metrics=metrics)
        if name == "valid":
            # only `valid` decides which weights are best: a run that looked at `test` would choose by it
            for schedule in self.schedules.values():
                schedule.evaluated(run.step, metrics)
            run.losses = self._named(self.loss_log.recent())
            if self.task.goal.better(metrics[self.task.goal.metric], run.best):
                run.best, self.best_step = metrics[self.task.goal.metric], run.step
                self.save()
        self._tell(self.relay.evaluated, run=run, step=run.step, split=name, metrics=metrics)

    def _finish(self, status: Status) -> None:
        """How every run ends: log what is under way, evaluate, save, choose the weights it ends with, and test them.

        An interrupted run is saved only. Each part leaves a checkpoint from which `resume` does what is still to do.
        """
        if status == "interrupted":
            self.save()
            return
        if status == "finished":
            for means in self.loss_log.flush():
                self._log(means)
        # unless an evaluation was due at the last step anyway
        if self.evaluated != self.run.step:
            with suppress(StopRun):  # it has ended
                self._evaluate("valid")
        self.save()
        if self.train.final == "best" and self.best_step is not None:
            self.checkpoints.wait()
            best = self.checkpoints.read(self.best_step, self.built.read)
            self.restore(best, weights_only=True)
            # the figures belong to the weights: those of the last step's go with them
            self.run.metrics, self.run.samples = dict(best.state["metrics"]), dict(best.state["samples"])
        # what was evaluated is what the run ends with
        for phase_step in self.phase_steps:
            phase_step.adopt_average()
        if self.tested:
            with suppress(StopRun):
                self._evaluate("test")
        self.run.notes += filter(None, (self.task.remark(*measured) for measured in self.run.metrics.items()))
        # the first process does it alone, as nothing is divided any more
        if self.tested and self.relay.run_ended and ranks.first() and self.run.metrics:
            self._compare("test" if "test" in self.run.metrics else "valid")

    def _compare(self, split: str) -> None:
        """Find out what simple rules reach on a split; a result that is no better is said."""
        run, goal = self.run, self.task.goal
        try:
            run.floors = self.task.floors(split)
        except Exception as error:  # noqa: BLE001 - a run isn't lost for it
            run.notes.append(f"What simple rules reach on {split} couldn't be found out: {words(error)}.")
        value = run.metrics[split][goal.metric]
        floors = {rule: floor[goal.metric] for rule, floor in run.floors.items() if goal.metric in floor}
        if ahead := [f"{rule} ({floor:.4g})" for rule, floor in floors.items() if not goal.better(value, floor)]:
            said = f"{goal.metric} {value:.4g} on {split} is no better than"
            run.notes = [note for note in run.notes if not note.startswith(said)]  # the task's own, of one rule
            run.notes.append(f"{said} {' or '.join(ahead)}.")

    def save(self) -> None:
        """Write a checkpoint of this step, unless there is one. Raises RunFailed for weights that are no numbers."""
        if self.saved == self.run.step:
            return
        # a checkpoint that can't be gone on from would replace one that can
        self._check_finite()
        self.checkpoints.write(self.run.step, self._checkpoint(), keep=self.train.keep, best=self.best_step)
        self.saved = self.run.step

    def _checkpoint(self) -> Checkpoint:
        window = self.loss_log.state()
        model, extra = split_state(self.model)
        state = {
            "step": self.run.step,
            "best": self.run.best,
            "best_step": self.best_step,
            "evaluated": self.evaluated,
            "metrics": self.run.metrics,
            "samples": self.run.samples,
            "window": window,
            "seconds": self.seconds,
            "steps_per_epoch": self.run.steps_per_epoch,
            "log": self.log.mark(durable=ranks.first() and not isinstance(self.checkpoints, MemoryCheckpoints)),
            "recipe": plain(self.run.recipe),
            "frozen": [
                name
                for name, parameter in self.model.named_parameters()
                if not parameter.requires_grad and name not in self.freezing.until  # which the recipe says
            ],
            "extra": extra,
            "states": {},
        }
        training = {key: tensor for phase_step in self.phase_steps for key, tensor in phase_step.state_dict().items()}
        if isinstance(self.criterion, nn.Module):
            training |= {f"loss/{name}": tensor for name, tensor in self.criterion.state_dict().items()}
        for owner, thing in self.stateful.items():
            tensors, state["states"][owner] = split_tensors(thing.state(), f"the {owner}")
            training |= {f"state/{owner}/{name}": tensor for name, tensor in tensors.items()}
        return Checkpoint(state, model, training)

    def _check_finite(self) -> None:
        """Raises Diverged naming a parameter, or a statistic that follows the data, which is no finite number."""
        followed = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        for path, module in self.model.named_modules():
            # a model's other buffers may hold infinities on purpose, such as masks
            if isinstance(module, _NormBase):
                followed |= {f"{path}.{name}": buffer for name, buffer in module.named_buffers(recurse=False)}
        tensors = {name: held(tensor) for name, tensor in followed.items() if tensor.is_floating_point()}
        # a sum is ten times as fast as asking each number, and the device is waited for once
        if not tensors or bool(torch.stack([tensor.sum().float() for tensor in tensors.values()]).isfinite().all()):
            return
        for name, tensor in tensors.items():  # unless the sum itself is too large
            if not bool(tensor.isfinite().all()):
                raise Diverged(f"{name!r} holds a value that is no finite number after step {self.run.step}.")

    def restore(self, checkpoint: Checkpoint, *, weights_only: bool = False) -> None:
        """Take up a checkpoint: everything, or the weights and averages alone. What it lacks is a note of the run."""
        with self.built.mixed():
            self._take_up(checkpoint, weights_only)

    def _take_up(self, checkpoint: Checkpoint, weights_only: bool) -> None:
        origin = self.checkpoints.path(checkpoint.state["step"])
        load_model(self.model, checkpoint, origin)
        notes = []
        for phase_step in self.phase_steps:
            notes += phase_step.load_state_dict(checkpoint.training, weights_only=weights_only)
        if weights_only:
            return
        self.run.notes += [f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes)]
        state = checkpoint.state
        if state["steps_per_epoch"] != self.run.steps_per_epoch:
            raise LabwrightError(
                f"{origin}: an epoch had {state['steps_per_epoch']} steps and has {self.run.steps_per_epoch} now. The "
                "training data or the batch size has changed; start a new run."
            )
        if isinstance(self.criterion, nn.Module):
            unlike = self.criterion.load_state_dict(below("loss/", checkpoint.training), strict=False)
            if unlike.missing_keys or unlike.unexpected_keys:
                fault = f"lacks {unlike.missing_keys}" if unlike.missing_keys else f"has {unlike.unexpected_keys}"
                raise LabwrightError(f"{origin} is a checkpoint of another loss: its state {fault}. Start a new run.")
        self.checkpoints.parts = {}  # tables grow from here, by other rows than before if it went back
        for owner, thing in self.stateful.items():
            tensors = below(f"state/{owner}/", checkpoint.training)
            if owner in state.get("states", {}):  # one of before there were states has none
                thing.load_state({**state["states"][owner], **tensors})
            else:
                self.run.notes.append(f"The checkpoint has no state of the {owner}: it begins anew.")
        # what a task or a listener had frozen by then is frozen again
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in state["frozen"])
        self.freezing.apply(state["step"], self.intervals.per_epoch)
        self.run.step = self.saved = state["step"]
        self.evaluated = state["evaluated"]
        self.run.best, self.best_step = state["best"], state["best_step"]
        self.run.metrics, self.run.samples = state["metrics"], state["samples"]
        self.loss_log.load_state(state["window"])
        self.spent = state["seconds"]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the model has its averaged weights, where the recipe asks for averages."""
        for phase_step in self.phase_steps:
            phase_step.swap_average()
        try:
            yield
        finally:
            for phase_step in self.phase_steps:
                phase_step.swap_average()

    @property
    def seconds(self) -> float:
        return self.spent + time.monotonic() - self.begun

    def _tell(self, calls: Sequence[Callable[..., object]], **given: Any) -> None:
        """Call listeners. One that stops the run stops it on all processes: raises StopRun on each."""
        reason = None
        try:
            for call in calls:
                call(**given)
        except StopRun as stop:
            reason = stop.reason
        if ranks.count() > 1 and ranks.any(reason is not None):
            reason = ranks.shared(next(filter(None, ranks.gathered(reason)), None))
        if reason is not None:
            raise StopRun(reason)

    def _record(self, event: str, step: int, **values: Any) -> None:
        if not ranks.first():
            return
        epoch = round(step / self.intervals.per_epoch, 4)
        self.log.write({"event": event, "step": step, "epoch": epoch, **values, "seconds": round(self.seconds, 3)})

    def _outcome(self, status: Status, reason: str) -> Outcome:
        run = self.run
        shown = dict(run.samples), tuple(run.notes), run.data, run.floors, dict(self.built.method.figures(run.step))
        return Outcome(status, reason, run.step, dict(run.metrics), round(self.seconds, 3), run.folder, *shown)

    def _ended(self, outcome: Outcome) -> None:
        self.run.outcome = outcome
        if ranks.first():
            outcome.write()
        for call in self.relay.run_ended:
            call(run=self.run, outcome=outcome)

    def _failed(self, reason: str, kind: type[RunFailed] = RunFailed) -> RunFailed:
        """Tell the listeners, and return the failure with what is kept and how to go on."""
        self._ended(self._outcome("failed", reason))
        folder, steps = self.run.folder, self.checkpoints.steps()
        if not steps:
            return kind(f"{reason} There was no checkpoint yet; the log is in {folder}.")
        add = ", with a lower optimizer.lr, train.clip=1.0 or device.precision=fp32" if kind is Diverged else ""
        return kind(
            f"{reason} The checkpoint of step {steps[-1]} is kept: `labwright resume {folder}` goes on from it{add}."
        )
