"""Values of actions, and the policy that seeks the highest: what is learned from a replay buffer.

B batch, A actions, D numbers of an action, F features, T the two twins.
"""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import pairwise
from typing import Annotated, Protocol, final

import torch
from labwright import Choice, LabwrightError
from pydantic import Field
from torch import Tensor, nn

from labwright_rl.models.layers import Activation, Depth, Frames, Width, perceptron
from labwright_rl.ports import ContinuousActions, DiscreteActions, Observations


class QNetworkContract(Protocol):
    """What DQN calls beside the model itself, whose forward gives the values of all actions (B, A)."""

    def slow(self, observations: Tensor) -> Tensor:
        """The values by the target network, which follows."""
        ...

    def follow(self, share: float) -> None:
        """The target network goes a share of the way to the weights."""
        ...


class SoftActorCriticContract(Protocol):
    """What SAC calls beside the model itself, whose forward gives means and log deviations (B, 2 D) before tanh.

    Its children `actor`, `critics` and `temperature` are trained in turn; the last, whose forward gives what entropy is
    weighed by, has its logarithm as `log`. An action of -1..1 times `reach` plus `middle` is one of the environment's.
    """

    def scores(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values of actions in -1..1 by two critics, (2, B)."""
        ...

    def slow(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The same by the target networks, which follow."""
        ...

    def follow(self, share: float) -> None:
        """The target networks go a share of the way to the critics."""
        ...


@final
class Duelling(nn.Module):
    """Values of actions as the value of what is seen and each action's advantage over the mean.

    Source: Wang et al. 2016, "Dueling network architectures for deep reinforcement learning", equation 9.
    """

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.value, self.advantages = nn.Linear(features, 1), nn.Linear(features, actions)

    def forward(self, x_BF: Tensor) -> Tensor:
        advantages_BA = self.advantages(x_BF)
        values_BA: Tensor = self.value(x_BF) + advantages_BA - advantages_BA.mean(-1, keepdim=True)
        return values_BA


@final
class QNetwork(nn.Module):
    """The value of each action by a perceptron, or convolutions over pictures, and a target network of the same form.

    Args:
        width: units of each hidden layer of the perceptron; the network for pictures has its own.
        depth: hidden layers of the perceptron; the network for pictures has its own.
        activation: function behind each hidden layer of the perceptron; the network for pictures has ReLU.
        duelling: whether the last layer tells the value of what is seen and each action's advantage apart (Wang et al.
            2016).
    """

    def __init__(
        self,
        inputs: Observations,
        outputs: DiscreteActions,
        *,
        width: Width = 128,
        depth: Depth = 2,
        activation: Activation = "relu",
        duelling: Annotated[bool, Choice(True, False)] = False,
    ) -> None:
        super().__init__()
        body: list[nn.Module]
        if inputs.pictures:
            features, body = 512, [Frames(inputs, 512)]
        else:
            sizes, features = [math.prod(inputs.shape), *[width] * depth], width
            body = [nn.Flatten(), perceptron(sizes, activation), nn.ReLU() if activation == "relu" else nn.Tanh()]
        head = Duelling(features, outputs.count) if duelling else nn.Linear(features, outputs.count)
        self.online = nn.Sequential(*body, head)
        self.target = deepcopy(self.online).requires_grad_(False)

    def forward(self, observations: Tensor) -> Tensor:
        values_BA: Tensor = self.online(observations)
        return values_BA

    def slow(self, observations: Tensor) -> Tensor:
        values_BA: Tensor = self.target(observations)
        return values_BA

    def follow(self, share: float) -> None:
        followed(self.target, self.online, share)


@final
class Twins(nn.Module):
    """Two perceptrons side by side, from observations and actions to values (2, B): each with weights of its own."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            bound = 1 / math.sqrt(before)  # as nn.Linear has them
            self.weights.append(torch.empty(2, before, after).uniform_(-bound, bound))
            self.biases.append(torch.empty(2, 1, after).uniform_(-bound, bound))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        x_TBF = torch.cat([observations.flatten(1), actions], 1).expand(2, -1, -1)
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x_TBF = torch.baddbmm(bias, x_TBF, weight)
            x_TBF = x_TBF if number == last else x_TBF.relu()
        return x_TBF.squeeze(-1)


@final
class Temperature(nn.Module):
    """What entropy is weighed by: e to the power of what is learned."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(first)))

    def forward(self) -> Tensor:
        return self.log.exp()


@final
class SoftActorCritic(nn.Module):
    """A policy and two critics, perceptrons of the same size, with target networks; no pictures.

    Raises LabwrightError for pictures, and for actions without bounds, as the policy ends in tanh.

    Args:
        temperature: weight of the entropy at first; it is learned.
    """

    middle: Tensor
    reach: Tensor

    def __init__(
        self,
        inputs: Observations,
        outputs: ContinuousActions,
        *,
        width: Width = 256,
        depth: Depth = 2,
        temperature: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        if inputs.pictures:
            raise LabwrightError("model: rl/soft-actor-critic takes rows of numbers; the environment shows pictures.")
        if not all(map(math.isfinite, (*outputs.low, *outputs.high))):
            raise LabwrightError(
                f"model: rl/soft-actor-critic has actions within bounds; the environment's are {outputs.low} to "
                f"{outputs.high}. rl/on-policy takes any."
            )
        size, hidden = math.prod(inputs.shape), [width] * depth
        self.actor = nn.Sequential(nn.Flatten(), perceptron([size, *hidden, 2 * outputs.dim]))
        self.critics = Twins(size + outputs.dim, width, depth)
        self.targets = deepcopy(self.critics).requires_grad_(False)
        self.temperature = Temperature(temperature)
        low, high = torch.tensor(outputs.low), torch.tensor(outputs.high)
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("reach", (high - low) / 2, persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        answers_B2D: Tensor = self.actor(observations)
        return answers_B2D

    def scores(self, observations: Tensor, actions: Tensor) -> Tensor:
        values: Tensor = self.critics(observations, actions)
        return values

    def slow(self, observations: Tensor, actions: Tensor) -> Tensor:
        values: Tensor = self.targets(observations, actions)
        return values

    def follow(self, share: float) -> None:
        followed(self.targets, self.critics, share)


@torch.no_grad()
def followed(target: nn.Module, leader: nn.Module, share: float) -> None:
    """The weights of `target` go a share of the way to those it follows."""
    torch._foreach_lerp_(list(target.parameters()), list(leader.parameters()), share)
