"""The `train` table of a recipe: how long, on how much at once, and what to keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field

from labwright.base.durations import Stretch, in_steps
from labwright.base.search import Choice, PerTrial

_STEPS = 3000  # that a small network needs to come to its end
_FEWEST, _MOST = 5, 100  # epochs
_POINTS, _LONGEST = 100, 50  # stretches of a log, and steps of one


@dataclass(frozen=True)
class Train:
    """How long to train, on how much at once, and what to keep.

    Either `epochs` or `steps` says how long.

    Args:
        epochs: passes over the training part; "auto" is as many as make about 3,000 steps, from 5 to 100, so that few
            samples are seen more often.
        steps: updates of the weights.
        batch_size: samples of a step, of all processes together.
        clip: bounds the norm of a phase's gradients; left out, nothing does.
        ema: decay of averaged weights, which are then what is evaluated; it starts lower, at (1 + step) / (10 + step).
        seed: of the initial weights, the order of samples, augmentation and dropout.
        evaluate_every: when `valid` is measured, such as "3 epochs" or "500 steps".
        save_every: when a checkpoint is written, such as "3 epochs" or "500 steps".
        log_every: steps between two entries of losses and rates in the log; "auto" is a hundredth of the run, 50 at
            most, and the first step by itself.
        keep: checkpoints that stay, beside the best one.
        final: whether a run ends with its last weights or those that were best on `valid`.
        drop_last: leave out an epoch's last batch where it has fewer samples than `batch_size`.
        evaluate_train: measure the training part whenever `valid` is, as it is measured: without dropout and
            augmentation; "all" of it, or that many samples, the same ones each time.
        evaluate_on: paths of other data by names: all of each is measured whenever `valid` is, and nothing is chosen by
            it.

    Example: `lw.Experiment(..., train={"epochs": 5, "batch_size": 64, "seed": 0})`
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1), Choice(32, 64, 128, 256)] = 64
    clip: Annotated[float, Field(gt=0), PerTrial()] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63), PerTrial()] = 0
    evaluate_every: Stretch = "1 epoch"
    save_every: Stretch = "1 epoch"
    log_every: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    keep: Annotated[int, Field(ge=1)] = 2
    final: Literal["last", "best"] = "last"
    drop_last: bool = False
    evaluate_train: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    evaluate_on: dict[str, str] | None = None

    def settled(self, per_epoch: int) -> Self:
        """The settings with `epochs` as a number, for epochs of that many steps."""
        number = min(max(round(_STEPS / per_epoch), _FEWEST), _MOST)
        return replace(self, epochs=number) if self.epochs == "auto" else self

    def intervals(self, per_epoch: int) -> Intervals:
        """The settings in steps, for epochs of that many steps."""
        assert self.epochs != "auto", "they are settled"
        total = self.steps if self.steps is not None else (self.epochs or 1) * per_epoch
        evaluate, save = in_steps(self.evaluate_every, per_epoch), in_steps(self.save_every, per_epoch)
        log = self.log_every if isinstance(self.log_every, int) else min(-(-total // _POINTS), _LONGEST)
        return Intervals(total, per_epoch, evaluate, save, log)


@dataclass
class Intervals:
    """What happens when, in steps: derived from the train settings and the length of an epoch."""

    total: int
    per_epoch: int
    evaluate: int
    save: int
    log: int
