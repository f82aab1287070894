"""Adversarial training: a generator learns to make what a critic can't tell from the data, in two phases of one loop.

B batch, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from labwright import Batch, Choice, Data, Image, Integers, LabwrightError, Latent, Part, Phase, Port
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_gan.augment import Kind, augmented, draws
from labwright_gan.generative import JUDGE_EPOCHS, Generative
from labwright_gan.losses import AdversarialContract, Score, compares, full, slope_penalty
from labwright_gan.models.pair import computed_once
from labwright_gan.ports import ClassLatent


@dataclass(frozen=True)
class Drawn(Batch):
    """`inputs` holds real samples, pictures with values -1..1; `targets` their classes, asked of the generated too.

    `latents` (B, D) are the critic's phase's and the generator's; `mix` (B,) is uniform in [0, 1). `changes` are the
    draws of augmentation, if there is any: of real and of generated samples, in the critic's phase and the generator's.
    """

    latents: tuple[Tensor, Tensor]
    mix: Tensor
    changes: tuple[Tensor, ...] = ()


class Adversarial(Generative):
    """Make samples like those of the data: a generator against a critic (Goodfellow et al. 2014).

    The model has children `generator` and `critic`, the latter giving scores of shape (B,); its forward is the
    generator's. Pictures are scaled to
    -1..1 by the smallest and largest values of the training part, each channel by itself; points are left as they are.
    Where classes are asked for, both networks are told them, and generated samples are asked for those of the real ones
    beside them. What is made is measured as `Generative` says.

    Args:
        latent: how many normal values a sample is made from.
        critic_steps: updates of the critic for each one of the generator.
        augment: how pictures are changed that the critic sees, real and generated alike, so that it learns longer from
            few (Zhao et al. 2020): some of "colour", "translation", "cutout". Empty: not at all.

    Raises LabwrightError for data that is neither pictures nor points, for classes the data hasn't, and in `prepare`
    for a split with fewer than two samples or a judge of other pictures.
    """

    contract = AdversarialContract

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        latent: Annotated[int, Field(ge=1), Choice(16, 32, 64, 128)] = 64,
        conditional: bool = False,
        critic_steps: Annotated[int, Field(ge=1), Integers(1, 5)] = 1,
        judge: Path | None = None,
        judge_epochs: Annotated[int, Field(ge=1)] = JUDGE_EPOCHS,
        film: Annotated[int, Field(ge=0, le=200)] = 0,
        augment: tuple[Kind, ...] = (),
    ) -> None:
        super().__init__(data, conditional=conditional, judge=judge, judge_epochs=judge_epochs, film=film)
        if augment and not issubclass(data.item, Image):
            raise LabwrightError(f"task.augment: it changes pictures; {type(data).__name__} offers points.")
        self.augment, self.share = tuple(dict.fromkeys(augment)), 1.0  # of the pictures each kind is done to
        self.latent, self.critic_steps = latent, critic_steps

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.latent,)

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return ClassLatent if self.conditional else Latent, self.data.item

    def ports(self) -> tuple[Port, Port]:
        inputs = ClassLatent(self.latent, self.names) if self.conditional else Latent(self.latent)
        return inputs, self.data.ports()[0]

    # ------------------------------------------------------------------------------------------------ the objective

    def phases(self) -> tuple[Phase, ...]:
        return Phase("critic", ("critic",)), Phase("generator", ("generator",), every=self.critic_steps)

    def draw(self, batch: Batch, generator: Generator) -> Drawn:
        size = len(batch)
        latents = tuple(torch.randn(size, self.latent, generator=generator) for _ in range(2))
        real = self._scaled(batch.inputs[0])
        mix = torch.rand(size, generator=generator)
        kinds = self.augment
        changes = tuple(draws(kinds, self.share, size, generator) for _ in range(4)) if kinds else ()
        return Drawn((real,), batch.targets, (latents[0], latents[1]), mix, changes)

    def loss(self, model: nn.Module, batch: Drawn, criterion: Any, phase: str) -> Tensor:
        real = batch.inputs[0]
        with computed_once(model, real.device):
            return (self._critic if phase == "critic" else self._generator)(model, batch, criterion)

    def _critic(self, model: nn.Module, batch: Drawn, criterion: Any) -> Tensor:
        real, score = self._changed(batch.inputs[0], batch, 0), self._score(model, batch)
        with torch.no_grad():
            made: Tensor = model.get_submodule("generator")(*self._asked(batch.latents[0], batch.targets))
            fake = self._changed(made, batch, 1)
        loss: Tensor = criterion.critic(score(real), score(fake))
        try:
            penalty = slope_penalty(criterion, score, real, fake, batch.mix)
        except RuntimeError as error:
            if not any(
                isinstance(module, nn.modules.batchnorm._BatchNorm)
                for module in model.get_submodule("critic").modules()
            ):
                raise
            raise LabwrightError(
                "loss: a penalty on the critic's slope takes each sample by itself, which batch normalisation doesn't; "
                "it goes with model.critic_norm=spectral or none, or leave the penalty out."
            ) from error
        return loss if penalty is None else loss + penalty

    def _generator(self, model: nn.Module, batch: Drawn, criterion: Any) -> Tensor:
        made: Tensor = model.get_submodule("generator")(*self._asked(batch.latents[1], batch.targets))
        fake = self._changed(made, batch, 3)
        score = self._score(model, batch)
        if not compares(criterion):
            loss: Tensor = criterion.generator(score(fake))
            return loss
        with torch.no_grad():
            real = score(self._changed(batch.inputs[0], batch, 2))
        beside: Tensor = criterion.generator_beside(real, score(fake))
        return beside

    def _changed(self, x: Tensor, batch: Drawn, number: int) -> Tensor:
        """Samples as the critic sees them: augmented by the batch's draws of that number, if there are any."""
        return augmented(x, self.augment, batch.changes[number]) if self.augment else x

    def _score(self, model: nn.Module, batch: Drawn) -> Score:
        """Scores in full precision, one a sample, by a critic that knows the classes if it is told them."""
        critic = model.get_submodule("critic")
        told = (batch.targets,) if self.conditional else ()
        return lambda x: full(critic(x, *told)).flatten()

    def _asked(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return (latents, labels) if self.conditional else (latents,)

    def sampled(self, model: nn.Module, latents: Tensor, labels: Tensor | None) -> Tensor:
        made: Tensor = model(latents) if labels is None else model(latents, labels)
        return made
