"""What reinforcement learning is given wrongly is refused before a folder is made, in words that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from labwright import LabwrightError
from labwright_rl.environments import Gymnasium

PPO, DQN, SAC = "rl/cartpole-ppo", "rl/cartpole-dqn", "rl/pendulum-sac"


@pytest.mark.parametrize(
    ("recipe", "changed", "words"),
    [
        (PPO, {"model": "rl/soft-actor-critic"}, "returns ContinuousActions; .* has targets DiscreteActions"),
        (SAC, {"model": "rl/q-network"}, "returns DiscreteActions; .* has targets ContinuousActions"),
        (SAC, {"task.data.id": "CartPole-v1"}, "returns ContinuousActions; .* has targets DiscreteActions"),
        (SAC, {"task.double": True}, r"task\.double is a setting of DQN, .* Leave it out"),
        (DQN, {"task.target_entropy": -1.0}, r"task\.target_entropy is a setting of SAC, .* Leave it out"),
        (DQN, {"task.memory": 64, "train.batch_size": 128}, r"128 is more than task\.memory=64 transitions"),
        (PPO, {"task.rollout": 4, "task.environments": 2, "train.batch_size": 64}, "more than the 8 steps of a round"),
        (PPO, {"train.evaluate_train": "all"}, r"no policy is measured on it: .* leave train\.evaluate_train out"),
        (PPO, {"train.epochs": 3}, "both of epochs and steps"),
        (PPO, {"task.environments": 0}, r"task\.environments: given 0"),
        (PPO, {"task.discount": 1.5}, r"task\.discount: given 1\.5; .* less than or equal to 1"),
        (PPO, {"task.objective": "trpo"}, "given 'trpo'; it should be 'ppo' or 'a2c'"),
        (PPO, {"task.data": "vision/digits"}, "takes Observations; data 'vision/digits' offers Image"),
        (PPO, {"loss": "cross-entropy"}, "has an objective of its own. Leave loss out"),
        (PPO, {"task.data.options": {"gravitation": 1}}, r"'CartPole-v1' can't be made with .*gravitation"),
        (PPO, {"method": {"name": "privacy/dp-sgd", "epsilon": 3.0, "delta": 1e-5}}, "makes its own training data"),
    ],
)
def test_what_does_not_fit_is_refused(recipe: str, changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=words):
        lw.Experiment.from_recipe(recipe).varied(changed).trainer(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", ["one", "-1", "1.5", str(2**40)])
def test_a_seed_of_an_episode_is_a_whole_number(seed: str) -> None:
    with pytest.raises(LabwrightError, match=r"a seed is a whole number from 0 to 2,147,483,647, given"):
        Gymnasium(id="CartPole-v1").parse(seed)
