"""The replay buffer, and what is learned from it: targets by hand, densities as PyTorch has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from labwright_rl.environments import Transitions
from labwright_rl.learners import DeepQ, Noisy, SoftPolicy, squashed
from labwright_rl.models.value_networks import Duelling, QNetwork, SoftActorCritic, Twins
from labwright_rl.ports import ContinuousActions, DiscreteActions, Observations
from labwright_rl.replay import Replay
from torch.distributions import Normal, TanhTransform, TransformedDistribution
from torch.nn import functional


def rows(first: int, count: int) -> dict[str, torch.Tensor]:
    numbers = torch.arange(first, first + count, dtype=torch.float32)
    return {"observations": numbers[:, None], "following": numbers[:, None] + 1, "actions": numbers.long() % 2} | {
        "rewards": numbers,
        "ended": numbers * 0,
    }


def test_a_buffer_keeps_the_last_and_comes_back_row_for_row() -> None:
    replay = Replay(10)
    for first in range(0, 24, 4):
        replay.add(rows(first, 4))
    assert len(replay) == 10
    table = replay.state()["rewards"]
    assert (table.rows.tolist(), table.count) == (list(range(14, 24)), 24)
    again = Replay(10)
    again.load_state(replay.state())
    for name, column in replay.columns.items():
        assert torch.equal(again.columns[name], column)  # each where it was, so that the same places draw the same
    assert replay.drawn(torch.tensor([3])).rewards.tolist() == [23.0]


def test_of_more_than_a_buffer_holds_the_last_stay() -> None:
    replay = Replay(10)
    replay.add(rows(0, 25))
    assert sorted(replay.columns["rewards"].tolist()) == list(range(15, 25))
    assert replay.state()["rewards"].rows.tolist() == list(range(15, 25))


@pytest.mark.parametrize(("double", "goal"), [(False, 1 + 0.5 * 7), (True, 1 + 0.5 * 2)])
def test_targets_are_of_the_target_network_at_the_action_that_is_chosen(double: bool, goal: float) -> None:
    model: Any = type("Model", (), {"slow": lambda self, x: torch.tensor([[2.0, 7.0]] * 2)})
    model.__call__ = lambda self, x: torch.tensor([[9.0, 4.0]] * 2)
    batch = Transitions(
        (torch.zeros(2, 1),),
        torch.tensor([1, 1]),
        torch.tensor([1.0, 1.0]),
        torch.zeros(2, 1),
        torch.tensor([0.0, 1.0]),
    )
    loss = DeepQ(0.5, double, (1.0, 0.1, 0.5)).loss(model(), batch, "train")
    # the second transition came to an end, after which nothing counts
    assert float(loss) == pytest.approx(
        float(functional.smooth_l1_loss(torch.tensor([4.0, 4.0]), torch.tensor([goal, 1.0])))
    )


def test_duelling_tells_the_value_and_the_advantages_apart() -> None:
    layer, x = Duelling(4, 3), torch.randn(5, 4)
    torch.testing.assert_close(layer(x).mean(1), layer.value(x)[:, 0])
    torch.testing.assert_close(layer(x).argmax(1), layer.advantages(x).argmax(1))


def test_a_squashed_action_has_the_density_that_torch_gives_it() -> None:
    answers = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    actions, logs = squashed(answers, noise)
    normal = Normal(answers[:, :2], answers[:, 2:].exp())
    reference = TransformedDistribution(normal, [TanhTransform(cache_size=1)])
    torch.testing.assert_close(actions, (answers[:, :2] + answers[:, 2:].exp() * noise).tanh())
    torch.testing.assert_close(logs, reference.log_prob(actions).sum(1), rtol=1e-3, atol=1e-3)


def test_twins_are_two_networks_of_linear_layers() -> None:
    twins, x, actions = Twins(5, 8, 2), torch.randn(7, 3), torch.randn(7, 2)
    both = twins(x, actions)
    for number in range(2):
        inner = torch.cat([x, actions], 1)
        for layer, (weight, bias) in enumerate(zip(twins.weights, twins.biases, strict=True)):
            inner = inner @ weight[number] + bias[number, 0]
            inner = inner if layer == 2 else inner.relu()
        torch.testing.assert_close(both[number], inner[:, 0])


def test_the_losses_of_sac_are_those_of_the_paper() -> None:
    """Equations 3, 7 and 17 of Haarnoja et al. (2018b), put together from the parts."""
    torch.manual_seed(0)
    model = SoftActorCritic(Observations((3,)), ContinuousActions((-2.0,), (2.0,)), width=8)
    learner = SoftPolicy(0.9, 1, None)
    played = Transitions(
        (torch.randn(4, 3),),
        torch.rand(4, 1) * 4 - 2,
        torch.randn(4),
        torch.randn(4, 3),
        torch.tensor([0.0, 1.0, 0.0, 0.0]),
    )
    batch = learner.drawn(played, torch.Generator().manual_seed(0))
    assert isinstance(batch, Noisy)
    alpha = model.temperature().detach()
    following, following_logs = squashed(model(batch.following), batch.following_noise)
    soft = torch.minimum(*model.slow(batch.following, following)) - alpha * following_logs
    goals = (batch.rewards + 0.9 * (1 - batch.ended) * soft).detach()
    critic = sum(0.5 * functional.mse_loss(one, goals) for one in model.scores(batch.inputs[0], batch.targets / 2))
    torch.testing.assert_close(learner.loss(model, batch, "critic"), critic)
    actions, logs = squashed(model(batch.inputs[0]), batch.noise)
    actor = (alpha * logs - torch.minimum(*model.scores(batch.inputs[0], actions))).mean()
    torch.testing.assert_close(learner.loss(model, batch, "actor"), actor)
    temperature = -(model.temperature.log * (logs.detach() - 1)).mean()
    torch.testing.assert_close(learner.loss(model, batch, "temperature"), temperature)


def test_target_networks_go_their_share_of_the_way() -> None:
    model = QNetwork(Observations((3,)), DiscreteActions(2), width=4)
    with torch.no_grad():
        for parameter in model.online.parameters():
            parameter.fill_(1.0)
        for parameter in model.target.parameters():
            parameter.fill_(0.0)
    model.follow(0.25)
    assert all(float(parameter.min()) == float(parameter.max()) == 0.25 for parameter in model.target.parameters())


def test_random_actions_become_fewer() -> None:
    learner = DeepQ(0.9, True, (1.0, 0.1, 0.5))
    assert [round(learner.tell(None, progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.55, 0.1, 0.1]
