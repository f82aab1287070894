"""Advantages, by hand; what an episode's end means; distributions as PyTorch has them; the losses."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from labwright_rl.environments import Environments, Gymnasium
from labwright_rl.models.layers import Normalizer
from labwright_rl.on_policy import OnPolicy, Rollout, advantages_of
from labwright_rl.policies import Categorical, Gaussian
from labwright_rl.ports import ContinuousActions
from labwright_rl.scaling import RewardScale
from torch import Tensor, nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal


def test_an_end_of_its_own_has_no_value_after_it_and_one_cut_short_has() -> None:
    """Worked out by hand with discount 0.5 and gae 0.5: errors are r + 0.5 v' - v, and each takes 0.25 of the next."""
    rewards = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]], np.float32)
    values = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], np.float32)
    following = np.array([[1.0, 1.0], [8.0, 8.0], [2.0, 2.0]], np.float32)
    terminated = np.array([[False, False], [True, False], [False, False]])
    done = np.array([[False, False], [True, True], [False, False]])
    advantages = advantages_of(rewards, values, following, terminated, done, 0.5, 0.5)
    # the last step: 4 + 0.5 * 2 - 1 = 4, and nothing of it reaches over the end of the episode before
    # the second: 2 - 1 = 1 where it ended, 2 + 0.5 * 8 - 1 = 5 where its time was up
    # the first: 1 + 0.5 * 1 - 1 = 0.5, and 0.25 of the second
    assert advantages.tolist() == [[0.75, 1.75], [1.0, 5.0], [4.0, 4.0]]


@pytest.mark.parametrize("gae", [0.0, 0.6, 1.0])
def test_advantages_are_the_sum_of_discounted_errors(gae: float) -> None:
    """Equation 16 of Schulman et al. (2016), term by term, in an episode without an end."""
    chance = np.random.default_rng(0)
    rewards, values, following = chance.standard_normal((3, 7, 2)).astype(np.float32)
    nothing = np.zeros((7, 2), bool)
    errors = rewards + 0.9 * following - values
    summed = [sum((0.9 * gae) ** (later - at) * errors[later] for later in range(at, 7)) for at in range(7)]
    found = advantages_of(rewards, values, following, nothing, nothing, 0.9, gae)
    np.testing.assert_allclose(found, np.stack(summed), rtol=1e-5)


def test_no_step_is_made_up_between_two_episodes() -> None:
    """As Gymnasium's own vector of environments, without the step by which that one begins the next episode."""
    ours = Environments(Gymnasium(id="Counting-v0", options={"end": 3}), 2, seed=0)
    theirs = gymnasium.make_vec("Counting-v0", 2, "sync", end=3)
    theirs.reset(seed=0)
    before, resets = np.zeros(2, bool), 0
    rows = []
    for _ in range(16):
        seen, rewards, terminated, truncated, _ = theirs.step(np.zeros(2, int))
        if before[0]:
            resets += 1  # a step of no action, whose reward is 0
        else:
            rows.append((seen.tolist(), rewards.tolist(), terminated.tolist(), truncated.tolist()))
        before = terminated | truncated
    assert resets == 4
    for row in rows:
        answer = ours.step(np.zeros(2, int), lambda *_: None)
        own = (answer.following, answer.rewards_N, answer.terminated_N, answer.truncated_N)
        assert tuple(part.tolist() for part in own) == row


class Constant(nn.Module):
    """Values everything at 10, and takes either action: what `ActorCriticContract` asks for, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def take_in(self, observations: Tensor) -> None: ...

    def observed(self, observations: Tensor) -> Tensor:
        return observations

    def policy(self, observed: Tensor) -> Tensor:
        return torch.zeros(len(observed), 2)

    def both(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observed), torch.full((len(observed),), 10.0) + self.weight


class Steps:
    """A training of four updates by a whole round each."""

    def __init__(self, task: OnPolicy, size: int) -> None:
        self.task, self.model, self.device = task, Constant(), torch.device("cpu")
        self.run: Any = type("Run", (), {"step": 0, "total_steps": 4, "notes": []})()
        self.run.recipe = {"train": {"seed": 0, "batch_size": size}}

    def batches(self) -> Any:
        raise AssertionError("it collects its own")


@pytest.mark.parametrize(("end", "last"), [(3, 3.0), (None, 3.0 + 0.9 * 10)])
def test_returns_of_a_round_are_those_worked_out_by_hand(end: int | None, last: float) -> None:
    """Rewards are 1, 2, 3; after the third the episode is at its end, or goes on with what the next is worth: 10."""
    data = Gymnasium(id="Counting-v0", options={"end": end, "max_episode_steps": 3})
    task = OnPolicy(data, environments=1, rollout=6, passes=1, discount=0.9, gae=1.0)
    steps = Steps(task, 6)
    next(task.collect(steps))  # type: ignore[arg-type]
    third = last
    second = 2 + 0.9 * third
    episode = [1 + 0.9 * second, second, third]
    assert task.collection is not None
    rollout: Rollout = task.collection.round  # type: ignore[attr-defined]
    torch.testing.assert_close(rollout.returns, torch.tensor(episode * 2))
    torch.testing.assert_close(rollout.advantages, torch.tensor(episode * 2) - 10)
    assert rollout.inputs[0].flatten().tolist() == [0, 1, 2, 0, 1, 2]  # none of them shown after an end


def test_each_step_of_a_round_is_learned_from_once_a_pass() -> None:
    task = OnPolicy(Gymnasium(id="Counting-v0"), environments=2, rollout=5, passes=2)
    steps = Steps(task, 4)
    steps.run.total_steps = 6
    seen = []
    for batch in task.collect(steps):  # type: ignore[arg-type]
        seen.append(batch)
        steps.run.step += 1
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2 and task.round_steps(4) == 6
    returns = task.collection.round.returns.sort().values  # type: ignore[union-attr]
    for one_pass in (seen[:3], seen[3:]):
        assert torch.equal(torch.cat([batch.returns for batch in one_pass]).sort().values, returns)
    assert float(seen[0].advantages.mean()) == pytest.approx(0, abs=1e-6)
    assert float(seen[0].advantages.std()) == pytest.approx(1, abs=1e-6)


def test_categorical_is_as_torch_has_it() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    actions = torch.tensor([0, 2, 1, 1, 0])
    logs, entropies = Categorical().judged(logits, actions)
    torch.testing.assert_close(logs, TorchCategorical(logits=logits).log_prob(actions))
    torch.testing.assert_close(entropies, TorchCategorical(logits=logits).entropy())
    noise = Categorical().noise((20_000,), 3, torch.Generator().manual_seed(0))
    drawn = Categorical().sample(logits[:1].expand(20_000, 3), noise)
    shares = drawn.bincount(minlength=3) / 20_000
    torch.testing.assert_close(shares, logits[0].softmax(0), atol=0.01, rtol=0)


def test_gaussian_is_as_torch_has_it_and_told_within_bounds() -> None:
    answers = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    policy = Gaussian(ContinuousActions((-0.5, -1.0), (0.5, 1.0)))
    actions = policy.sample(answers, policy.noise((5,), 2, torch.Generator().manual_seed(1)))
    torch_policy = Normal(answers[:, :2], answers[:, 2:].exp())
    logs, entropies = policy.judged(answers, actions)
    torch.testing.assert_close(logs, torch_policy.log_prob(actions).sum(1))
    torch.testing.assert_close(entropies, torch_policy.entropy().sum(1))
    told = policy.told(torch.tensor([[3.0, -3.0]]))
    assert told.tolist() == [[0.5, -1.0]]


def test_the_loss_of_ppo_is_bounded_and_that_of_a2c_is_not() -> None:
    """One sample whose action has become 1.5 times as likely: PPO's gain is that of 1.2 times, and has no gradient."""
    data = Gymnasium(id="Counting-v0")
    logits = torch.tensor([[1.0, 0.0]], requires_grad=True)
    log = logits.detach().log_softmax(-1)[0, 0]
    batch = Rollout(
        (torch.zeros(1, 1),), torch.tensor([0]), (log - math.log(1.5))[None], torch.tensor([2.0]), torch.tensor([3.0])
    )
    model: Any = type("Model", (), {"both": lambda self, x: (logits, torch.tensor([1.0]))})()
    ppo = OnPolicy(data, value=0.5).loss(model, batch, None, "train")
    assert ppo["policy"].item() == pytest.approx(-1.2 * 2)
    assert ppo["value"].item() == pytest.approx(0.5 * 4)
    assert torch.autograd.grad(ppo["policy"], logits)[0].abs().max() == 0
    a2c = OnPolicy(data, objective="a2c", entropy=0.1).loss(model, batch, None, "train")
    assert a2c["policy"].item() == pytest.approx(-2 * float(log))
    entropy = float(TorchCategorical(logits=logits.detach()).entropy()[0])
    assert a2c["entropy"].item() == pytest.approx(-0.1 * entropy)


def test_statistics_of_observations_are_those_of_all_that_was_seen() -> None:
    seen = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * 4 + 2
    normalizer = Normalizer((3,))
    for some in (*seen[:10].split(1), *seen[10:].split(25)):
        normalizer.take_in(some)
    torch.testing.assert_close(normalizer.mean, seen.mean(0), rtol=1e-4, atol=1e-4)
    variance = normalizer.squares / normalizer.count
    torch.testing.assert_close(variance, seen.var(0, correction=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(normalizer(seen).std(0, correction=0), torch.ones(3), rtol=1e-3, atol=1e-3)


def test_statistics_stay_exact_where_the_same_is_seen_for_long() -> None:
    """As by a policy that stands still: in float32 alone the mean is 0.17 deviations off after 200,000 steps."""
    moving = 1.2 + 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    normalizer, still = Normalizer((2,)), torch.tensor([[1.25, 1.1]])
    for some in (*moving.split(1), *[still] * 8000):
        normalizer.take_in(some)
    seen = torch.cat([moving, still.expand(8000, -1)]).double()
    count = len(seen) + 1e-4  # with what is taken to have been seen before: mean 0, variance 1
    mean = seen.sum(0) / count
    variance = ((seen - mean).square().sum(0) + 1e-4 * (1 + mean.square())) / count
    assert (
        float(((normalizer.mean - mean) / variance.sqrt()).abs().max()) < 4e-6
    )  # half a step of float32 there is 2e-6
    torch.testing.assert_close((normalizer.squares / normalizer.count).double(), variance, rtol=1e-6, atol=0)


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return() -> None:
    scale, returns, history = RewardScale(2, 0.5), np.zeros(2), []
    for rewards in ([1.0, 3.0], [2.0, 0.0], [4.0, 1.0]):
        returns = returns * 0.5 + rewards
        history.append(returns)
        scaled = scale(np.array(rewards), np.zeros(2, bool))
    expected = np.array([4.0, 1.0]) / np.concatenate(history).std()
    np.testing.assert_allclose(scaled, expected, rtol=1e-3)
