"""Learning from what the policy itself has just done: PPO and A2C, with advantages by GAE.

T steps of a round, N environments, B batch, D numbers of an action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from labwright import Batch, Choice, Integers, LabwrightError, Part, Split, Steps, Uniform, When, generator
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_rl.acting import Acting
from labwright_rl.environments import Environments, Gymnasium, RandomPlay, Transitions
from labwright_rl.journal import Journal
from labwright_rl.models.actor_critic import ActorCriticContract
from labwright_rl.policies import policy_of
from labwright_rl.ports import DiscreteActions
from labwright_rl.scaling import RewardScale

_NOISE, _ORDER = 21, 22  # streams of random numbers: of actions, and of minibatches


@dataclass(frozen=True)
class Rollout(Batch):
    """Steps of a round: `inputs` are observations as the model takes them in `both`, `targets` actions.

    With (B,) log-probabilities of the actions, their advantages, and the returns that values are to become.
    """

    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


@final
class OnPolicy(Acting):
    """Act for a round, learn from it, and forget it: PPO (Schulman et al. 2017), or A2C (Mnih et al. 2016).

    A round is `rollout` steps in each of `environments`; it is gone through in batches of train.batch_size, each of
    which is one step of the run. Advantages are those of GAE (Schulman et al. 2016); an episode whose time was up goes
    on by the value of its last observation, one that came to an end doesn't. A batch's advantages are normalised.

    Args:
        objective: `ppo`, which bounds how far a batch takes the policy, or `a2c`, which doesn't.
        environments: environments that are acted in side by side.
        rollout: steps that each environment takes in a round.
        passes: times that a round is gone through.
        discount: factor by which a reward counts less for each step that it comes later.
        gae: lambda of GAE, the share of later advantages: 0 is the error of one step, 1 the whole return less the
            value.
        clip: how far from 1 the ratio of new to old probabilities counts.
        entropy: weight of the policy's entropy in the loss, in nats; 0 leaves it out.
        value: weight of the squared error of values in the loss.
        normalize_rewards: whether rewards are divided by the standard deviation of the discounted return so far.
    """

    model_contract = ActorCriticContract

    def __init__(
        self,
        data: Annotated[Gymnasium, Part("data")],
        *,
        objective: Annotated[Literal["ppo", "a2c"], Choice("ppo", "a2c")] = "ppo",
        environments: Annotated[int, Field(ge=1, le=4096)] = 8,
        rollout: Annotated[int, Field(ge=1), Choice(32, 128, 512)] = 128,
        passes: Annotated[int, Field(ge=1), Integers(1, 20)] = 10,
        discount: Annotated[float, Field(ge=0, le=1), Uniform(0.9, 0.999)] = 0.99,
        gae: Annotated[float, Field(ge=0, le=1), Uniform(0.8, 1.0)] = 0.95,
        clip: Annotated[float, Field(gt=0), Uniform(0.1, 0.4), When("objective", "ppo")] = 0.2,
        entropy: Annotated[float, Field(ge=0), Uniform(0.0, 0.1)] = 0.0,
        value: Annotated[float, Field(ge=0), Uniform(0.2, 1.0)] = 0.5,
        normalize_rewards: bool = False,
    ) -> None:
        super().__init__(data)
        self.objective, self.environments, self.rollout, self.passes = objective, environments, rollout, passes
        self.discount, self.gae, self.clip, self.entropy, self.value = discount, gae, clip, entropy, value
        self.normalize_rewards = normalize_rewards

    @property
    def sizes(self) -> dict[str, int]:
        kept = {"environments": self.environments, "rollout": self.rollout, "passes": self.passes}
        return kept | {"normalize_rewards": self.normalize_rewards}

    def round_steps(self, size: int) -> int:
        whole = self.rollout * self.environments
        if size > whole:
            raise LabwrightError(
                f"train.batch_size: {size:,} is more than the {whole:,} steps of a round, task.rollout "
                f"{self.rollout:,} in each of {self.environments:,} task.environments."
            )
        return self.passes * -(-whole // size)

    def view(self, split: str, part: Split) -> Split:  # noqa: ARG002 - the part says what it is
        return Shown(part) if isinstance(part, RandomPlay) else part

    def begin(self, steps: Steps) -> Rounds:
        return Rounds(self, steps)

    def greedy(self, model: nn.Module, observations: Tensor) -> np.ndarray:
        policy = policy_of(self.actions)
        return policy.told(policy.greedy(model(observations)).cpu())

    def loss(self, model: nn.Module, batch: Rollout, criterion: Any, phase: str) -> dict[str, Tensor]:  # noqa: ARG002
        answers, values_B = model.both(batch.inputs[0])  # type: ignore[operator]
        logs_B, entropies_B = policy_of(self.actions).judged(answers.float(), batch.targets)
        advantages_B = batch.advantages
        if self.objective == "ppo":
            ratios_B = (logs_B - batch.log_probs).exp()
            within_B = ratios_B.clamp(1 - self.clip, 1 + self.clip)
            gains_B = torch.minimum(ratios_B * advantages_B, within_B * advantages_B)
        else:
            gains_B = logs_B * advantages_B
        parts = {"policy": -gains_B.mean(), "value": self.value * functional.mse_loss(values_B.float(), batch.returns)}
        return parts | ({"entropy": -self.entropy * entropies_B.mean()} if self.entropy else {})


@final
class Shown:
    """Random play as a batch of a round: what a batch looks like, before there is a round."""

    def __init__(self, part: RandomPlay) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Rollout:
        played: Transitions = self.part.fetch(indices, epoch, seed)
        rewards = self.part.played.rewards
        advantages = (played.rewards - rewards.mean()) / (rewards.std() + 1e-8)
        ports = self.part.data.ports()
        chance = 1 / ports[1].count if isinstance(ports[1], DiscreteActions) else 0.1
        logs = torch.full_like(played.rewards, chance).log()
        return Rollout(played.inputs, played.targets, logs, advantages, played.rewards)


@final
class Rounds:
    """The rounds of a training: environments, the round under way, and what normalises rewards."""

    def __init__(self, task: OnPolicy, steps: Steps) -> None:
        self.task, self.steps = task, steps
        settings = steps.run.recipe["train"]
        self.seed, self.size = settings["seed"], settings["batch_size"]
        self.environments = Environments(task.data, task.environments, self.seed)
        self.journal = Journal(("entropy", "explained variance"))
        self.scale = RewardScale(task.environments, task.discount) if task.normalize_rewards else None
        self.round: Rollout | None = None

    def state(self) -> dict[str, Any]:
        assert self.round is not None
        kept = {"observed": self.round.inputs[0], "actions": self.round.targets}
        kept |= {f.name: getattr(self.round, f.name) for f in fields(Rollout) if f.name not in ("inputs", "targets")}
        return kept | (self.scale.state() if self.scale else {})

    def load_state(self, state: Mapping[str, Any]) -> None:
        device = self.steps.device
        names = ("observed", "actions", "log_probs", "advantages", "returns")
        observed, *others = (state[name].to(device) for name in names)
        self.round = Rollout((observed,), *others)
        self.journal.load_state({name: state[f"journal/{name}"] for name in ("episodes", "rounds")})
        if self.scale:
            self.scale.load_state(state)

    def batches(self) -> Iterator[Rollout]:
        run, per_pass = self.steps.run, -(-self.task.rollout * self.task.environments // self.size)
        while run.step < run.total_steps:
            number, done = divmod(run.step, per_pass)
            if number % self.task.passes == 0 and done == 0:
                self._gather(number // self.task.passes)
            assert self.round is not None
            whole = len(self.round)
            order = torch.split(torch.randperm(whole, generator=generator(self.seed, number, _ORDER)), self.size)
            for rows in order[done : done + run.total_steps - run.step]:
                yield self._minibatch(rows.to(self.round.advantages.device))

    def _minibatch(self, rows: Tensor) -> Rollout:
        whole = self.round
        assert whole is not None
        advantages = whole.advantages[rows]
        if len(rows) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        inputs = (whole.inputs[0][rows],)
        return Rollout(inputs, whole.targets[rows], whole.log_probs[rows], advantages, whole.returns[rows])

    @torch.no_grad()
    def _gather(self, number: int) -> None:
        """Act for a round with the policy as it is."""
        task, environments, device = self.task, self.environments, self.steps.device
        model: Any = self.steps.model
        policy, actions = policy_of(task.actions), task.actions
        length, count = task.rollout, task.environments
        width = actions.count if isinstance(actions, DiscreteActions) else actions.dim  # type: ignore[attr-defined]
        noise = policy.noise((length, count), width, generator(self.seed, number, _NOISE)).to(device)
        observed, taken, last = [], [], []
        rewards, following_ends = np.empty((length, count), np.float32), []
        terminated, done = np.zeros((2, length, count), bool)
        before = number * length * count
        for at in range(length):
            seen = torch.from_numpy(environments.observations).to(device, copy=True)
            model.take_in(seen)
            observed.append(model.observed(seen))
            action = policy.sample(model.policy(observed[-1]), noise[at])
            taken.append(action)
            now = before + (at + 1) * count
            answer = environments.step(
                policy.told(action.cpu()), lambda *episode, now=now: self.journal.episodes.append((now, *episode))
            )
            rewards[at], terminated[at], done[at] = answer.rewards_N, answer.terminated_N, answer.done_N
            for place in np.flatnonzero(answer.truncated_N):
                following_ends.append((at, place))
                last.append(answer.following[place])
            if self.scale:
                rewards[at] = self.scale(rewards[at], done[at])
        # once for the whole round: it is cheaper, and the weights are the same
        observed_BD = torch.cat(observed)
        answers, values_B = _in_parts(model, observed_BD)
        actions_B = torch.cat(taken)
        logs_B, entropies_B = policy.judged(answers, actions_B)
        values = values_B.view(length, count).cpu().numpy()
        following = np.empty_like(values)
        following[:-1] = values[1:]
        # what an episode that was cut short would have gone on with, and what follows the round
        beyond = np.stack([*last, *environments.observations])
        _, beyond_values = _in_parts(model, model.observed(torch.from_numpy(beyond).to(device)))
        following[-1] = beyond_values[len(last) :].cpu().numpy()
        for cut, value in zip(following_ends, beyond_values[: len(last)].tolist(), strict=True):
            following[cut] = value
        advantages = advantages_of(rewards, values, following, terminated, done, task.discount, task.gae)
        returns = advantages + values
        flat = [torch.from_numpy(array).flatten().to(device) for array in (advantages, returns)]
        self.round = Rollout((observed_BD,), actions_B, logs_B, *flat)
        variance = float(returns.var())
        explained = 1 - float((returns - values).var()) / variance if variance else float("nan")
        self.journal.rounds.append((before + length * count, float(entropies_B.mean()), explained))


def advantages_of(
    rewards: np.ndarray,
    values: np.ndarray,
    following: np.ndarray,
    terminated: np.ndarray,
    done: np.ndarray,
    discount: float,
    gae: float,
) -> np.ndarray:
    """Advantages (T, N) by generalised advantage estimation (Schulman et al. 2016, equation 16).

    Args:
        rewards: (T, N), as everything else.
        values: of what was seen before each action.
        following: of what was seen after it, of an episode's last observation where it ended there.
        terminated: where the environment came to an end of its own, after which nothing follows.
        done: where an episode ended, of its own or because its time was up: the next step is of another one.
        discount: of what follows, a step.
        gae: the share of later advantages: 0 is the error of one step, 1 the whole return less the value.
    """
    errors = rewards + discount * following * ~terminated - values
    keep = discount * gae * ~done
    advantages, after = np.empty_like(errors), np.zeros_like(errors[0])
    for at in reversed(range(len(errors))):
        after = errors[at] + keep[at] * after
        advantages[at] = after
    rounded: np.ndarray = advantages.astype(np.float32)
    return rounded


_AT_ONCE = 4096  # rows of a round that go through the model together


def _in_parts(model: Any, observed: Tensor) -> tuple[Tensor, Tensor]:
    parts = [model.both(rows) for rows in torch.split(observed, _AT_ONCE)]
    answers, values = (torch.cat(column).float() for column in zip(*parts, strict=True))
    return answers, values
