"""What is learned from a replay buffer: the values of actions (DQN), or a policy beside them (SAC).

B batch, A actions, D numbers of an action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import torch
from labwright import Batch, Phase
from torch import Generator, Tensor
from torch.nn import functional

from labwright_rl.environments import Transitions
from labwright_rl.models.value_networks import QNetworkContract, SoftActorCriticContract


class Learner(Protocol):
    """How a kind of actions is learned from transitions."""

    contract: type
    phases: tuple[Phase, ...]
    told: str  # what is said of it in the journal
    target_phase: str  # after which target networks follow

    def greedy(self, model: Any, seen: Tensor) -> np.ndarray: ...

    def exploring(self, model: Any, seen: Tensor, progress: float, chance: Generator) -> np.ndarray: ...

    def drawn(self, batch: Batch, chance: Generator) -> Batch: ...

    def loss(self, model: Any, batch: Any, phase: str) -> Tensor: ...

    def tell(self, model: Any, progress: float) -> float: ...


@final
class DeepQ:
    """Q-learning with a target network (Mnih et al. 2015), doubled (van Hasselt et al. 2016) or not.

    With probability `exploration` an action is random: from the first number to the second over the third's share of
    the run.
    """

    contract = QNetworkContract
    phases = (Phase("train"),)
    told, target_phase = "exploration", "train"

    def __init__(self, discount: float, double: bool, exploration: tuple[float, float, float]) -> None:
        self.discount, self.double, self.exploration = discount, double, exploration

    def greedy(self, model: Any, seen: Tensor) -> np.ndarray:
        actions_B: np.ndarray = model(seen).argmax(-1).cpu().numpy()
        return actions_B

    def exploring(self, model: Any, seen: Tensor, progress: float, chance: Generator) -> np.ndarray:
        values_BA = model(seen).cpu()
        random_B = torch.randint(values_BA.shape[1], (len(seen),), generator=chance)
        explores_B = torch.rand(len(seen), generator=chance) < self.tell(model, progress)
        actions_B: np.ndarray = torch.where(explores_B, random_B, values_BA.argmax(-1)).numpy()
        return actions_B

    def tell(self, model: Any, progress: float) -> float:  # noqa: ARG002
        start, end, share = self.exploration
        return start + (end - start) * min(1.0, progress / share)

    def drawn(self, batch: Batch, chance: Generator) -> Batch:  # noqa: ARG002
        return batch

    def loss(self, model: Any, batch: Transitions, phase: str) -> Tensor:  # noqa: ARG002
        with torch.no_grad():
            slow_BA = model.slow(batch.following)
            best_B = (model(batch.following) if self.double else slow_BA).argmax(-1)
            following_B = slow_BA.gather(1, best_B[:, None]).squeeze(1)
            goals_B = batch.rewards + self.discount * (1 - batch.ended) * following_B
        values_B = model(batch.inputs[0]).gather(1, batch.targets[:, None]).squeeze(1)
        return functional.smooth_l1_loss(values_B.float(), goals_B.float())


@dataclass(frozen=True)
class Noisy(Transitions):
    """Transitions with normal noise (B, D): of actions where they began, and where they led."""

    noise: Tensor
    following_noise: Tensor


@final
class SoftPolicy:
    """Soft actor-critic with a learned temperature (Haarnoja et al. 2018b, algorithm 1): entropy is a reward, too.

    The temperature is such that the entropy of actions in -1..1 comes to `target`, -1 for each number where none is
    given.
    """

    contract = SoftActorCriticContract
    phases = (Phase("critic", ("critics",)), Phase("actor", ("actor",)), Phase("temperature", ("temperature",)))
    told, target_phase = "temperature", "critic"

    def __init__(self, discount: float, dim: int, target: float | None) -> None:
        self.discount, self.dim, self.target = discount, dim, -float(dim) if target is None else target

    def greedy(self, model: Any, seen: Tensor) -> np.ndarray:
        return _told(model, model(seen).chunk(2, -1)[0].tanh())

    def exploring(self, model: Any, seen: Tensor, progress: float, chance: Generator) -> np.ndarray:  # noqa: ARG002
        noise_BD = torch.randn(len(seen), self.dim, generator=chance).to(seen.device)
        return _told(model, squashed(model(seen), noise_BD)[0])

    def tell(self, model: Any, progress: float) -> float:  # noqa: ARG002
        return float(model.temperature())

    def drawn(self, batch: Batch, chance: Generator) -> Batch:
        noise = torch.randn(2, len(batch), self.dim, generator=chance).unbind()
        return Noisy(**vars(batch), noise=noise[0], following_noise=noise[1])

    def loss(self, model: Any, batch: Noisy, phase: str) -> Tensor:
        seen = batch.inputs[0]
        if phase == "critic":
            with torch.no_grad():
                actions_BD, logs_B = squashed(model(batch.following), batch.following_noise)
                soft_B = model.slow(batch.following, actions_BD).amin(0) - model.temperature() * logs_B
                goals_B = batch.rewards + self.discount * (1 - batch.ended) * soft_B
            taken_BD = (batch.targets - model.middle) / model.reach
            errors = model.scores(seen, taken_BD).float() - goals_B.float()
            return 0.5 * errors.square().sum(0).mean()
        if phase == "actor":
            actions_BD, logs_B = squashed(model(seen), batch.noise)
            return (model.temperature().detach() * logs_B - model.scores(seen, actions_BD).amin(0)).float().mean()
        with torch.no_grad():
            _, logs_B = squashed(model(seen), batch.noise)
        return -(model.temperature.log * (logs_B.float() + self.target)).mean()


def squashed(answers_B2D: Tensor, noise_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Actions in -1..1 by the tanh of a normal distribution, (B, D), and their log-probabilities, (B,).

    Source: Haarnoja et al. 2018a, appendix C.
    """
    means_BD, logs_BD = answers_B2D.float().chunk(2, -1)
    logs_BD = logs_BD.clamp(-20, 2)
    before_BD = means_BD + logs_BD.exp() * noise_BD
    normal_BD = -0.5 * noise_BD.square() - logs_BD - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh(x)^2), in a form that doesn't round to 0
    slopes_BD = 2 * (math.log(2) - before_BD - functional.softplus(-2 * before_BD))
    return before_BD.tanh(), (normal_BD - slopes_BD).sum(-1)


def _told(model: Any, actions_BD: Tensor) -> np.ndarray:
    told: np.ndarray = (model.middle + model.reach * actions_BD).cpu().numpy()
    return told
