"""Adversarial losses and the penalties on a critic's slope. B batch; scores are higher for what looks real.

They are means over the last axis, so that a leading axis of trials passes through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol, final

import torch
from labwright import LabwrightError, Part, Uniform, separable
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

Score = Callable[[Tensor], Tensor]  # samples (B, ...) to scores (B,)


class AdversarialContract(Protocol):
    """What a loss is called with: scores of shape (B,) of real and of generated samples.

    One that also has `slope_penalty(score, real, fake, mix)`, as `AdversarialLoss` describes it, has it added in the
    critic's phase. One whose `compares` is true has `generator_beside(real, fake)` called in place of `generator`.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def generator(self, fake: Tensor) -> Tensor: ...


class AdversarialLoss(nn.Module, ABC):
    """A pair of losses, and what may be asked of the slope of the critic.

    `separable`: each is the mean of what single samples give, so that `device.accumulate` may cut a batch. One that
    compares each with the mean of the batch, as `gan/relativistic` may, isn't. `compares`: the generator's loss is of
    real scores as well. `signed`: a score above 0 says real, one below generated.
    """

    separable: bool = True
    compares: bool = False
    signed: bool = True

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises, given the scores of real and of generated samples."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises, given the scores of what it made."""

    def generator_beside(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: ARG002 - a default
        """What the generator minimises where scores of as many real samples are known."""
        return self.generator(fake)

    def slope_penalty(self, score: Score, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor | None:
        """What is added to the critic's loss, a scalar; None adds nothing.

        `real` and `fake` are samples (B, ...), `mix` is uniform in [0, 1), of shape (B,).
        """


def slopes(score: Score, x: Tensor) -> Tensor:
    """The norm of each sample's own gradient of the score, (B,), in full precision.

    It is that of the sum of the scores, so no sample's score may depend on another's: no batch normalisation.
    """
    with torch.autocast(x.device.type, enabled=False):
        gradient: Tensor = torch.func.grad(lambda inner: score(inner).sum())(full(x))
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return norms


def full(x: Tensor) -> Tensor:
    """What a half-precision forward pass gave, in float32; anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@final
class NonSaturating(AdversarialLoss):
    """Cross-entropy of real against generated; the generator maximises log D (Goodfellow et al. 2014, section 3).

    A score is the logit of D. Best for the critic is log p_real / p_generated; both losses are in nats.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return functional.softplus(-real).mean(-1) + functional.softplus(fake).mean(-1)

    def generator(self, fake: Tensor) -> Tensor:
        return functional.softplus(-fake).mean(-1)


@final
class Hinge(AdversarialLoss):
    """Scores of real samples beyond 1 and of generated ones below -1 no longer count (Lim & Ye 2017)."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (1 - real).relu().mean(-1) + (1 + fake).relu().mean(-1)

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.mean(-1)


@final
class LeastSquares(AdversarialLoss):
    """Half the squared distance of scores from 1 for real and from 0 for generated samples (Mao et al. 2017, eq. 9).

    Best for the critic is p_real / (p_real + p_generated), its loss then at most 1/4.
    """

    signed = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square().mean(-1) + fake.square().mean(-1)) / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (fake - 1).square().mean(-1) / 2


@final
class Relativistic(AdversarialLoss):
    """Cross-entropy of how much more real a real sample looks than a generated one (Jolicoeur-Martineau 2019).

    The generator's loss is the critic's with the two kinds exchanged. Pairs within `gan/r1` with `both = true` are the
    loss of R3GAN (Huang et al. 2024).

    Args:
        against: what each score is compared with: that of one sample of the other kind (equation 8), or the mean score
            of the batch's others (equation 10), so that a batch can't be cut.
    """

    compares = True
    signed = False

    def __init__(self, *, against: Literal["pairs", "mean"] = "pairs") -> None:
        super().__init__()
        self.against = against
        self.separable = against == "pairs"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.against == "pairs":
            return functional.softplus(fake - real).mean(-1)
        over, under = real - fake.mean(-1, keepdim=True), fake - real.mean(-1, keepdim=True)
        return functional.softplus(-over).mean(-1) + functional.softplus(under).mean(-1)

    def generator(self, fake: Tensor) -> Tensor:
        """Against a score of 0, where no real sample is at hand."""
        return functional.softplus(-fake).mean(-1)

    def generator_beside(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.critic(fake, real)


@final
class Wasserstein(AdversarialLoss):
    """The difference of mean scores, the critic's slope held near 1 (Arjovsky et al. 2017; Gulrajani et al. 2017).

    The critic must have no batch normalisation.

    Args:
        penalty: factor of mean((slope - 1)**2) at points drawn evenly between each real and each generated sample; 0
            leaves it out, for a critic that is held otherwise.
    """

    signed = False

    def __init__(self, *, penalty: Annotated[float, Field(ge=0), Uniform(0.1, 100.0, log=True)] = 10.0) -> None:
        super().__init__()
        self.penalty = penalty

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean(-1) - real.mean(-1)

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.mean(-1)

    def slope_penalty(self, score: Score, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor | None:
        if not self.penalty:
            return None
        share = mix.view(-1, *[1] * (real.dim() - 1))
        return self.penalty * (slopes(score, share * real + (1 - share) * fake) - 1).square().mean()


@final
class R1(AdversarialLoss):
    """Another adversarial loss, and weight / 2 * mean(slope**2) at the real samples (Mescheder et al. 2018, eq. 9).

    The critic must have no batch normalisation. The penalty of the loss within is added as well.

    Args:
        loss: the adversarial loss within.
        weight: factor of half the mean square of the critic's slope.
        both: whether the slope at the generated samples is penalised as well, R2 of the paper.
    """

    def __init__(
        self,
        loss: Annotated[Any, Part("loss")],
        *,
        weight: Annotated[float, Field(ge=0), Uniform(0.01, 100.0, log=True)] = 10.0,
        both: bool = False,
    ) -> None:
        super().__init__()
        if not callable(getattr(loss, "critic", None)):
            raise LabwrightError(
                f"loss.loss: R1 goes with an adversarial loss, such as 'gan/hinge', given {type(loss).__name__}."
            )
        self.inner = loss
        self.separable = separable(loss)
        self.compares, self.signed = compares(loss), getattr(loss, "signed", True)
        self.weight, self.both = weight, both

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        value: Tensor = self.inner.critic(real, fake)
        return value

    def generator(self, fake: Tensor) -> Tensor:
        value: Tensor = self.inner.generator(fake)
        return value

    def generator_beside(self, real: Tensor, fake: Tensor) -> Tensor:
        value: Tensor = self.inner.generator_beside(real, fake)
        return value

    def slope_penalty(self, score: Score, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor | None:
        own = self.weight / 2 * slopes(score, real).square().mean()
        if self.both:
            own = own + self.weight / 2 * slopes(score, fake).square().mean()
        inner = slope_penalty(self.inner, score, real, fake, mix)
        return own if inner is None else own + inner


def slope_penalty(loss: Any, score: Score, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor | None:
    """The slope penalty of any loss that fits the contract; None if it has none."""
    penalty = getattr(loss, "slope_penalty", None)
    return None if penalty is None else penalty(score, real, fake, mix)


def compares(loss: Any) -> bool:
    """Whether the generator's loss is of real scores too, for any loss that fits the contract."""
    return bool(getattr(loss, "compares", False))
