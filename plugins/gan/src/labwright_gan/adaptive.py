"""Augmentation whose strength follows the critic (Karras et al. 2020, section 3). B batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, final

from labwright import Batch, Data, LabwrightError, Metric, Part, Phase, Uniform, evaluating
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_gan.augment import Kind
from labwright_gan.generative import JUDGE_EPOCHS
from labwright_gan.metrics import Seen
from labwright_gan.task import Adversarial, Drawn

_EVERY = 4  # updates of the critic


@final
class Adaptive(Adversarial):
    """Adversarial training that augments as much as the critic overfits: ADA (Karras et al. 2020).

    As `gan/adversarial`, with `augment`; each kind of change is made to a picture with a probability that begins at 0.
    At every 4th update of the critic the mean sign of its scores of the batch's real pictures is compared with
    `target`. The probability is part of a checkpoint, and in the log as `augmented` beside what is measured on `valid`.
    The sign is measured in evaluation mode, of that update's batch.

    Args:
        augment: how pictures are changed that the critic sees, real and generated alike: some of "colour",
            "translation", "cutout".
        target: mean sign of the critic's scores of real pictures, above which it knows them too well and the
            probability of a change rises, else it falls.
        ramp: real pictures that the critic sees while the probability goes from 0 to 1.

    Raises LabwrightError for a loss whose scores aren't above 0 for what looks real.
    """

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        latent: Annotated[int, Field(ge=1)] = 64,
        conditional: bool = False,
        critic_steps: Annotated[int, Field(ge=1)] = 1,
        judge: Path | None = None,
        judge_epochs: Annotated[int, Field(ge=1)] = JUDGE_EPOCHS,
        film: Annotated[int, Field(ge=0, le=200)] = 0,
        augment: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("translation", "cutout"),
        target: Annotated[float, Field(gt=-1, lt=1), Uniform(0.3, 0.8)] = 0.6,
        ramp: Annotated[int, Field(ge=1)] = 500_000,
    ) -> None:
        super().__init__(
            data,
            latent=latent,
            conditional=conditional,
            critic_steps=critic_steps,
            judge=judge,
            judge_epochs=judge_epochs,
            film=film,
            augment=augment,
        )
        self.target, self.ramp, self.share = target, ramp, 0.0
        self.updates = 0
        self.batch: Drawn | None = None  # of the update that is measured

    def phases(self) -> tuple[Phase, ...]:
        # they are asked for when a run is built: one of several that share this task begins at 0 like the others
        self.share, self.updates, self.batch = 0.0, 0, None
        return super().phases()

    def draw(self, batch: Batch, generator: Generator) -> Drawn:
        drawn = super().draw(batch, generator)
        self.batch = drawn if (self.updates + 1) % _EVERY == 0 else None
        return drawn

    def loss(self, model: nn.Module, batch: Drawn, criterion: Any, phase: str) -> Tensor:
        if not getattr(criterion, "signed", True):
            raise LabwrightError(
                f"loss: 'gan/adaptive' follows the sign of the critic's scores, which says nothing where they come of "
                f"{type(criterion).__name__}; 'gan/hinge' and 'gan/non-saturating' go with it."
            )
        return super().loss(model, batch, criterion, phase)

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        super().after_step(model, phase, progress)
        if phase != "critic":
            return
        self.updates += 1
        if self.batch is None:
            return
        device = next(model.parameters()).device
        batch, self.batch = self.batch.to(device), None
        with evaluating(model):
            signs = self._score(model, batch)(self._changed(batch.inputs[0], batch, 0)).sign()
        step = _EVERY * len(batch) / self.ramp
        self.share = min(1.0, max(0.0, self.share + (step if float(signs.mean()) > self.target else -step)))

    def metrics(self) -> dict[str, Metric]:
        # a run that was loaded to be measured has made no update: then the probability isn't known
        return super().metrics() | ({"augmented": Probability(self)} if self.updates else {})

    def state(self) -> Mapping[str, Any]:
        return {"share": self.share, "updates": self.updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.share, self.updates = float(state["share"]), int(state["updates"])


@final
class Probability:
    """With what probability each kind of change was made to a picture when the weights were measured, 0 to 1."""

    splits = ("valid",)

    def __init__(self, task: Adaptive) -> None:
        self._task = task

    def update(self, seen: Seen) -> None:
        """It is no matter of samples."""

    def compute(self) -> float:
        return self._task.share

    def reset(self) -> None: ...
