"""A policy and the value of what it sees: what is learned on policy. B batch, D numbers of an action, A actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Protocol, final

import torch
from labwright import Choice, Uniform
from pydantic import Field
from torch import Tensor, nn

from labwright_rl.models import layers
from labwright_rl.models.layers import Activation, Depth, Frames, Normalizer, Width, perceptron
from labwright_rl.ports import Actions, ContinuousActions, DiscreteActions, Observations


class ActorCriticContract(Protocol):
    """What `rl/on-policy` calls beside the model itself, whose forward is the policy."""

    def take_in(self, observations: Tensor) -> None:
        """Learn from what the environments show: statistics that observations are normalised by, if there are any."""
        ...

    def observed(self, observations: Tensor) -> Tensor:
        """What the environments show as the other two take it: normalised, or as it is."""
        ...

    def policy(self, observed: Tensor) -> Tensor:
        """As forward: of discrete actions logits (B, A), of others means and log deviations (B, 2 D)."""
        ...

    def both(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """The policy, and values (B,)."""
        ...


_FEATURES = 512  # of a picture


def answers(outputs: Actions) -> int:
    """How many numbers a network gives for its actions: logits, or means."""
    assert isinstance(outputs, DiscreteActions | ContinuousActions)
    return outputs.count if isinstance(outputs, DiscreteActions) else outputs.dim


@final
class ActorCritic(nn.Module):
    """Two perceptrons, or one network for pictures with two heads: a policy, and the value of what is seen.

    The deviations of actions that are numbers are learned and the same whatever is seen.

    Args:
        width: units of each hidden layer of both perceptrons; the network for pictures has its own.
        depth: hidden layers of both perceptrons; the network for pictures has its own.
        activation: function behind each hidden layer of both perceptrons; the network for pictures has ReLU.
        normalize: whether observations are normalised by the mean and deviation of what was seen so far; pictures never
            are.
        orthogonal: whether weights start orthogonal, the policy's last ones near 0, or as PyTorch's do.
        log_deviation: natural logarithm of the deviations at first; where an action is one of several it has no effect,
            and a run says so.
    """

    def __init__(
        self,
        inputs: Observations,
        outputs: Actions,
        *,
        width: Width = 64,
        depth: Depth = 2,
        activation: Activation = "tanh",
        normalize: bool = False,
        orthogonal: Annotated[bool, Choice(True, False)] = True,
        log_deviation: Annotated[float, Field(ge=-10, le=2), Uniform(-2.0, 0.5)] = 0.0,
    ) -> None:
        super().__init__()
        self.normalizer = Normalizer(inputs.shape) if normalize and not inputs.pictures else nn.Identity()
        hidden = [width] * depth
        trunk: nn.Module = Frames(inputs, _FEATURES) if inputs.pictures else nn.Flatten()
        # pictures have their hidden layers in common
        sizes = [_FEATURES] if inputs.pictures else [math.prod(inputs.shape), *hidden]
        self.trunk = trunk
        self.actor = perceptron([*sizes, answers(outputs)], activation)
        self.critic = perceptron([*sizes, 1], activation)
        continuous = isinstance(outputs, ContinuousActions)
        self.log_deviation = nn.Parameter(torch.full((answers(outputs),), log_deviation)) if continuous else None
        idle = {"normalize": normalize and inputs.pictures, "log_deviation": bool(log_deviation) and not continuous}
        self._idle = [f"model.{name}" for name, is_so in idle.items() if is_so]
        if orthogonal:
            for network, last in ((self.trunk, math.sqrt(2)), (self.actor, 0.01), (self.critic, 1.0)):
                layers.orthogonal(network, last)

    def remarks(self) -> Sequence[str]:
        """What has been set without an effect on such observations and actions."""
        return [f"{setting} has no effect with these observations and actions." for setting in self._idle]

    def forward(self, observations: Tensor) -> Tensor:
        return self.policy(self.observed(observations))

    def take_in(self, observations: Tensor) -> None:
        if isinstance(self.normalizer, Normalizer):
            self.normalizer.take_in(observations)

    def observed(self, observations: Tensor) -> Tensor:
        observed: Tensor = self.normalizer(observations)
        return observed

    def policy(self, observed: Tensor) -> Tensor:
        return self._acting(self.trunk(observed))

    def both(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(observed)
        return self._acting(features), self.critic(features).squeeze(1)

    def _acting(self, features: Tensor) -> Tensor:
        means_or_logits: Tensor = self.actor(features)
        if self.log_deviation is None:
            return means_or_logits
        return torch.cat([means_or_logits, self.log_deviation.expand_as(means_or_logits)], 1)
