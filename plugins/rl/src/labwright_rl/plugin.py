"""What labwright-rl brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_rl"
    yield lw.Component("task", "rl/on-policy", f"{here}.on_policy:OnPolicy", "act, learn from it, forget it: PPO, A2C")
    yield lw.Component(
        "task", "rl/off-policy", f"{here}.off_policy:OffPolicy", "learn from all that was done: DQN, SAC"
    )
    yield lw.Component("data", "rl/gymnasium", f"{here}.environments:Gymnasium", "any environment of Gymnasium")
    models = f"{here}.models"
    yield lw.Component(
        "model", "rl/actor-critic", f"{models}.actor_critic:ActorCritic", "a policy and the value of what it sees"
    )
    networks = f"{models}.value_networks"
    yield lw.Component("model", "rl/q-network", f"{networks}:QNetwork", "values of actions, for DQN")
    yield lw.Component(
        "model", "rl/soft-actor-critic", f"{networks}:SoftActorCritic", "a policy and two critics, for SAC"
    )


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name, summary in (
        ("cartpole-ppo", "balance a pole on a cart, by PPO"),
        ("cartpole-dqn", "balance a pole on a cart, by DQN"),
        ("acrobot-ppo", "swing up two links, by PPO"),
        ("pendulum-sac", "swing up a pendulum and hold it, by SAC"),
    ):
        yield lw.Recipe(f"rl/{name}", folder / f"{name}.toml", summary)
