"""What a network's answer means: the distribution that actions are drawn from. B batch, D numbers, A actions."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from labwright import Port
from torch import Generator, Tensor

from labwright_rl.ports import ContinuousActions, DiscreteActions


@final
class Categorical:
    """One of several actions, by logits (B, A)."""

    def noise(self, shape: tuple[int, ...], actions: int, generator: Generator) -> Tensor:
        """What decides between actions: the one with the greatest logit less its noise is drawn (Gumbel 1954)."""
        return torch.empty(*shape, actions).exponential_(generator=generator).log_()

    def sample(self, logits_BA: Tensor, noise_BA: Tensor) -> Tensor:
        return (logits_BA - noise_BA).argmax(-1)

    def greedy(self, logits_BA: Tensor) -> Tensor:
        return logits_BA.argmax(-1)

    def judged(self, logits_BA: Tensor, actions_B: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of each action, and the entropy of what it was drawn from."""
        logs_BA = logits_BA.log_softmax(-1)
        return logs_BA.gather(-1, actions_B[..., None]).squeeze(-1), -(logs_BA.exp() * logs_BA).sum(-1)

    def told(self, actions_B: Tensor) -> np.ndarray:
        """The actions as environments take them."""
        told: np.ndarray = actions_B.numpy()
        return told


@final
class Gaussian:
    """Numbers by means and log deviations (B, 2 D), each by itself; environments are told them within their bounds."""

    def __init__(self, port: ContinuousActions) -> None:
        self.low, self.high = np.asarray(port.low, np.float32), np.asarray(port.high, np.float32)

    def noise(self, shape: tuple[int, ...], actions: int, generator: Generator) -> Tensor:
        return torch.randn(*shape, actions, generator=generator)

    def sample(self, answer_B2D: Tensor, noise_BD: Tensor) -> Tensor:
        means_BD, logs_BD = answer_B2D.chunk(2, -1)
        return means_BD + logs_BD.exp() * noise_BD

    def greedy(self, answer_B2D: Tensor) -> Tensor:
        return answer_B2D.chunk(2, -1)[0]

    def judged(self, answer_B2D: Tensor, actions_BD: Tensor) -> tuple[Tensor, Tensor]:
        means_BD, logs_BD = answer_B2D.chunk(2, -1)
        from_mean_BD = (actions_BD - means_BD) * (-logs_BD).exp()
        constant = 0.5 * math.log(2 * math.pi)
        return (-0.5 * from_mean_BD.square() - logs_BD - constant).sum(-1), (logs_BD + constant + 0.5).sum(-1)

    def told(self, actions_BD: Tensor) -> np.ndarray:
        told: np.ndarray = actions_BD.numpy().clip(self.low, self.high)
        return told


def policy_of(port: Port) -> Categorical | Gaussian:
    """What acts in an environment that takes such actions."""
    if isinstance(port, DiscreteActions):
        return Categorical()
    assert isinstance(port, ContinuousActions)
    return Gaussian(port)
