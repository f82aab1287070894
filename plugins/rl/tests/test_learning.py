"""What the recipes reach with their own seed: greedy returns of 20 episodes at the end, on the test part."""

from __future__ import annotations

from pathlib import Path

import labwright as lw
import pytest
from labwright_rl.environments import Gymnasium
from labwright_rl.playing import played

REACHED = {"rl/cartpole-ppo": 475, "rl/cartpole-dqn": 400, "rl/acrobot-ppo": -100, "rl/pendulum-sac": -180}


@pytest.mark.release
@pytest.mark.parametrize("recipe", REACHED)
def test_a_recipe_reaches_what_it_is_to_reach(recipe: str, tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe(recipe, ["log=[]"]).run(tmp_path / "run")
    assert run.metrics["test"]["return"] >= REACHED[recipe]


def test_a_rule_of_one_line_balances_a_pole() -> None:
    """What README.md, the recipe and the how-to say of it."""
    data = Gymnasium(id="CartPole-v1")
    returns, _ = played(data, data.seeds("test"), lambda seen: (3 * seen[:, 2] + seen[:, 3] > 0).long().numpy())
    assert returns.mean() == 500


def test_a_pole_is_balanced_better_than_by_chance(tmp_path: Path) -> None:
    """Random play has a return of 22; 10,000 steps are enough to be well above it."""
    overrides = ["train.steps=160", "log=[]", "train.evaluate_every=160 steps", "optimizer.schedule=constant"]
    run = lw.Experiment.from_recipe("rl/cartpole-ppo", overrides).run(tmp_path / "run")
    assert run.metrics["test"]["return"] > 60
