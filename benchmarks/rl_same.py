"""What labwright-rl and Stable-Baselines3 make of the same steps of Hopper-v5: how far their numbers lie apart.

PYTHONPATH=plugins/rl/src benchmarks/.venv/bin/python benchmarks/rl_same.py

Returns of a few seeds say little about whether two programs do the same. Here SB3 plays and learns for three rounds
and plays a fourth; normalised observations and rewards, advantages, and the weights after a pass of a PPO update are
computed anew by labwright-rl from what the environment gave.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from labwright_rl.environments import Gymnasium
from labwright_rl.models.actor_critic import ActorCritic
from labwright_rl.models.layers import Normalizer
from labwright_rl.on_policy import OnPolicy, Rollout, advantages_of
from labwright_rl.scaling import RewardScale
from rl import ROLLOUT, SETTINGS, ppo_of_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn
from torch.nn import functional

NAME, ROUNDS = "Hopper-v5", 4
KEPT = ("observations", "actions", "rewards", "advantages", "returns", "values", "log_probs")


class Seen(DummyVecEnv):
    """An environment that keeps what it has given."""

    def __init__(self) -> None:
        super().__init__([lambda: Monitor(gymnasium.make(NAME))])
        self.observed: list[np.ndarray] = []
        self.answers: list[tuple[np.ndarray, np.ndarray]] = []

    def reset(self) -> Any:
        self.observed.append(super().reset().copy())
        return self.observed[-1].copy()

    def step_wait(self) -> Any:
        observed, rewards, done, infos = super().step_wait()
        self.observed.append(observed.copy())
        self.answers.append((rewards.copy(), done.copy()))
        return observed, rewards, done, infos


def main() -> None:
    torch.set_num_threads(1)
    chosen, seen = SETTINGS[NAME], Seen()
    model = ppo_of_sb3(NAME, VecNormalize(seen, gamma=chosen["discount"]), seed=0)
    _, callback = model._setup_learn(ROUNDS * ROLLOUT, None)
    rounds = []
    for number in range(ROUNDS):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=ROLLOUT)
        rounds.append({name: getattr(model.rollout_buffer, name).copy() for name in KEPT})
        if number < ROUNDS - 1:
            model.train()
    last, steps = rounds[-1], ROUNDS * ROLLOUT
    normalizer, scale = Normalizer((11,)), RewardScale(1, chosen["discount"])
    observed = np.stack([_taken_in(normalizer, one) for one in seen.observed])[:steps, 0]
    rewards = np.stack([scale(reward.astype(np.float32), done) for reward, done in seen.answers])
    done = np.stack([done for _, done in seen.answers])
    print(f"episodes that ended: {int(done.sum())} in {steps:,} steps")
    _tell("observations", observed, np.concatenate([one["observations"] for one in rounds])[:, 0])
    _tell("rewards", rewards, np.concatenate([one["rewards"] for one in rounds]))
    following = np.empty_like(last["values"])
    following[:-1] = last["values"][1:]
    following[-1] = model.policy.predict_values(torch.as_tensor(model._last_obs)).detach().numpy().ravel()
    ended = done[-ROLLOUT:]
    ours = advantages_of(last["rewards"], last["values"], following, ended, ended, chosen["discount"], chosen["gae"])
    _tell("advantages", ours, last["advantages"])
    _tell("weights after a pass", *_updated(model.policy, last, chosen))


def _taken_in(normalizer: Normalizer, observed: np.ndarray) -> np.ndarray:
    x_BD = torch.from_numpy(observed).float()
    normalizer.take_in(x_BD)
    normalized: np.ndarray = normalizer(x_BD).numpy()
    return normalized


def _tell(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    print(f"{what}: {np.abs(ours - theirs).max():.1e} apart at most, {np.abs(theirs).max():.3g} the largest")


def _updated(policy: Any, kept: dict[str, np.ndarray], chosen: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Our weights and theirs after a pass over a round, in the same order, each by its own loss."""
    of_task = {key: chosen[key] for key in ("discount", "gae", "clip", "entropy", "value", "passes")}
    task = OnPolicy(Gymnasium(id=NAME, episodes=1), environments=1, rollout=ROLLOUT, **of_task)
    task.prepare()
    mine = ActorCritic(
        *task.ports(), width=256, activation="relu", normalize=True, orthogonal=False, log_deviation=-2.0
    )
    theirs = [*_linear(policy.mlp_extractor.policy_net), policy.action_net]
    theirs += [*_linear(policy.mlp_extractor.value_net), policy.value_net]
    ours = [*_linear(mine.actor), *_linear(mine.critic)]
    for one, other in zip(ours, theirs, strict=True):
        one.load_state_dict(other.state_dict())
    assert mine.log_deviation is not None
    mine.log_deviation.data.copy_(policy.log_std.data)
    columns = {name: torch.as_tensor(array).flatten(0, 1).float() for name, array in kept.items()}
    optimizers = [torch.optim.Adam(one.parameters(), lr=chosen["lr"], eps=1e-5) for one in (policy, mine)]
    for rows in torch.randperm(ROLLOUT, generator=torch.Generator().manual_seed(0)).split(chosen["batch"]):
        part = {name: column[rows] for name, column in columns.items()}
        advantages = (part["advantages"] - part["advantages"].mean()) / (part["advantages"].std() + 1e-8)
        batch = Rollout((part["observations"],), part["actions"], part["log_probs"], advantages, part["returns"])
        losses = (_of_sb3(policy, part, advantages, chosen), sum(task.loss(mine, batch, None, "train").values()))
        for network, optimizer, loss in zip((policy, mine), optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), chosen["norm"])
            optimizer.step()
    return _weights(ours), _weights(theirs)


def _of_sb3(policy: Any, part: dict[str, Tensor], advantages: Tensor, chosen: dict[str, Any]) -> Tensor:
    """The loss of `PPO.train`."""
    values, logs, entropies = policy.evaluate_actions(part["observations"], part["actions"])
    ratio, clip = (logs - part["log_probs"]).exp(), chosen["clip"]
    policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    value_loss = functional.mse_loss(part["returns"], values.flatten())
    return policy_loss - chosen["entropy"] * entropies.mean() + chosen["value"] * value_loss


def _linear(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def _weights(layers: list[nn.Linear]) -> np.ndarray:
    flat: np.ndarray = torch.cat([layer.weight.detach().flatten() for layer in layers]).numpy()
    return flat


if __name__ == "__main__":
    main()
