"""Environments of Gymnasium as data: episodes to be measured on, and several environments that are acted in at once.

N environments, D numbers of an observation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, final

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from labwright import Batch, Data, Input, LabwrightError, Split, derived_seed, generator, nearest
from pydantic import Field
from torch import Tensor

from labwright_rl.ports import Actions, ContinuousActions, DiscreteActions, Observations

SHOWN = 256  # transitions of random play that stand for an environment
_COMPARED = 16  # of them, by which an environment is known that is another each time
_MOST_SEED = 2**31  # what every environment takes
_SEEDS = {"valid": 1, "test": 2}
_BROUGHT_BY = {"mujoco": "mujoco", "ale": "atari", "atari": "atari"}  # extras of labwright-rl


@dataclass(frozen=True)
class Transitions(Batch):
    """What happened: observations, actions as `targets`, (B,) rewards, what was seen next, and whether that was an end.

    `ended` is 1.0 where the environment came to an end of its own (terminated), not where its time was up.
    """

    rewards: Tensor
    following: Tensor
    ended: Tensor


@final
class Gymnasium(Data):
    """An environment of Gymnasium.

    Observations that are pictures (uint8, with three axes) stay so, the colours first; anything else becomes one row of
    numbers, choices among several one-hot. Actions are one of several, or numbers. A policy is measured over episodes
    whose seeds are always the same, others for `valid` than for `test`. The `train` part is random play, by which an
    environment that has changed is noticed; what is learned from is collected by the model itself.

    Args:
        id: what Gymnasium calls it, such as CartPole-v1.
        options: what `gymnasium.make` takes besides; left out, nothing.
        episodes: episodes that a policy is measured over, in each part.
    """

    item = Observations
    target = Actions
    source = "the environments of Gymnasium, https://gymnasium.farama.org"
    licence = "MIT for Gymnasium's own"
    line = "seed"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - Gymnasium's name for it
        options: dict[str, Any] | None = None,
        episodes: Annotated[int, Field(ge=1, le=10_000)] = 20,
    ) -> None:
        self.id, self.options, self.episodes = id, options or {}, episodes
        self._idle: list[Environment] = []
        self._ports: tuple[Observations, Actions] | None = None

    def prepare(self) -> None:
        self.ports()

    def ports(self) -> tuple[Observations, Actions]:
        if self._ports is None:
            first = self.take()
            self._ports = first.observations, first.actions
            self.give_back(first)
        return self._ports

    def split(self, name: str) -> Split | None:
        if name == "train":
            return RandomPlay(self)
        return Episodes(self, name) if name in _SEEDS else None

    def identity(self, split: str) -> list[str] | None:
        """The seeds of what is measured; random play is digested as it is, unless it is another each time."""
        if split != "train":
            return [f"{split} {seed}" for seed in self.seeds(split)]
        once, again = (RandomPlay(self, _COMPARED).played for _ in range(2))
        same = torch.equal(once.following, again.following) and torch.equal(once.rewards, again.rewards)
        return None if same else [f"{self.id}, whose episodes differ from time to time"]

    def seeds(self, split: str) -> list[int]:
        return [derived_seed(_SEEDS[split], number) % _MOST_SEED for number in range(self.episodes)]

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """The first observation of the episode of a seed, which `predict` plays."""
        if not line.isdecimal() or int(line) >= _MOST_SEED:
            raise LabwrightError(f"a seed is a whole number from 0 to {_MOST_SEED - 1:,}, given {line!r}.")
        environment = self.take()
        first = environment.reset(int(line))
        self.give_back(environment)
        return Input((torch.from_numpy(first)[None],), origin=int(line))

    def save(self, folder: Path) -> None:
        observations, actions = self.ports()
        kept = {"observations": asdict(observations), "kind": type(actions).__name__, "actions": asdict(actions)}
        (folder / "spaces.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / "spaces.json").read_text(encoding="utf-8"))
        observations = Observations(tuple(kept["observations"]["shape"]), kept["observations"]["pictures"])
        kind = {"DiscreteActions": DiscreteActions, "ContinuousActions": ContinuousActions}[kept["kind"]]
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in kept["actions"].items()}
        self._ports = observations, kind(**fields)

    def take(self, **options: Any) -> Environment:
        """An environment that nobody uses, or a new one; with options, such as a way to be drawn, a new one.

        Raises LabwrightError for one that Gymnasium doesn't know or can't make.
        """
        if self._idle and not options:
            return self._idle.pop()
        return Environment(self.id, {**self.options, **options})

    def give_back(self, *environments: Environment) -> None:
        """Keep environments for whoever takes one next: making one may take longer than an episode."""
        self._idle += environments


@final
class Environment:
    """One environment, its observations as arrays of the port's shape and its actions as the port gives them."""

    def __init__(self, id: str, options: Mapping[str, Any]) -> None:  # noqa: A002
        where = f"task.data.id: {id!r}"
        try:
            # the checker looks for faults of an environment's author at each step
            self.inner: gymnasium.Env[Any, Any] = gymnasium.make(id, **{"disable_env_checker": True, **options})
        except gymnasium.error.DependencyNotInstalled as error:
            words = str(error).lower()
            extra = next((extra for word, extra in _BROUGHT_BY.items() if word in words), "")
            hint = f" `pip install 'labwright-rl[{extra}]'` brings it." if extra else ""
            raise LabwrightError(f"{where} needs what isn't installed: {error}{hint}") from error
        except gymnasium.error.UnregisteredEnv as error:
            known = sorted(name for name in gymnasium.registry if "/" not in name)
            raise LabwrightError(f"{where}: Gymnasium has no such environment{nearest(id, known)}") from error
        except Exception as error:
            given = f" with {dict(options)}" if options else ""
            raise LabwrightError(f"{where} can't be made{given}: {error}") from error
        space = self.inner.observation_space
        shape = space.shape or ()
        self.pictures = isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(shape) == 3
        # frames that are stacked stand first, colours last: there are fewer of them than of rows
        self.last = self.pictures and shape[2] < shape[0]
        self.plain = isinstance(space, spaces.Box) and not self.pictures
        self.first_action = 0
        self.observations, self.actions = self._observations(where), self._actions(where)

    def _observations(self, where: str) -> Observations:
        space = self.inner.observation_space
        if self.pictures:
            assert space.shape is not None
            return Observations((space.shape[2], *space.shape[:2]) if self.last else tuple(space.shape), pictures=True)
        try:
            return Observations((spaces.utils.flatdim(space),))
        except (NotImplementedError, ValueError) as error:
            raise LabwrightError(f"{where} shows {space}, which has no fixed number of numbers.") from error

    def _actions(self, where: str) -> Actions:
        space = self.inner.action_space
        if isinstance(space, spaces.Discrete):
            self.first_action = int(space.start)
            return DiscreteActions(int(space.n))
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
            return ContinuousActions(tuple(map(float, space.low)), tuple(map(float, space.high)))
        raise LabwrightError(
            f"{where} takes actions of {space}; here they are one of several (Discrete) or a row of numbers (Box) that "
            "aren't whole ones."
        )

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of a seed: every random number in it follows from that."""
        return self.read(self.inner.reset(seed=seed)[0])

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """What is seen next, the reward, whether the environment came to an end, and whether its time was up."""
        told = int(action) + self.first_action if isinstance(self.actions, DiscreteActions) else action
        seen, reward, terminated, truncated, _ = self.inner.step(told)
        return self.read(seen), float(reward), bool(terminated), bool(truncated)

    def read(self, seen: Any) -> np.ndarray:
        # copies: there are environments that show the same array each time, and change it
        if self.plain:
            return np.array(seen, dtype=np.float32).reshape(-1)
        if self.pictures:
            return np.array(np.moveaxis(seen, 2, 0) if self.last else seen, order="C")
        return np.array(spaces.utils.flatten(self.inner.observation_space, seen), dtype=np.float32)


@dataclass(frozen=True)
class Seen:
    """What N environments answered to an action: what came next in each, its own last one where it came to an end."""

    following: np.ndarray
    rewards_N: np.ndarray
    terminated_N: np.ndarray
    truncated_N: np.ndarray

    @property
    def done_N(self) -> np.ndarray:
        done_N: np.ndarray = self.terminated_N | self.truncated_N
        return done_N


@final
class Environments:
    """N environments side by side. Where an episode ends, the next begins within the same step: no step is made up.

    The seed of an episode follows from `seed`, the environment's number and the episode's, so that a state is the
    numbers of the episodes and the actions so far in each: taken again, they lead to where it was.
    """

    def __init__(self, data: Gymnasium, count: int, seed: int) -> None:
        self.data, self.seed = data, seed
        self.all = [data.take() for _ in range(count)]
        port = data.ports()[0]
        self.observations = np.zeros((count, *port.shape), np.uint8 if port.pictures else np.float32)
        self.episodes = [0] * count
        self.taken: list[list[Any]] = [[] for _ in range(count)]  # actions of the episode under way
        self.returns = [0.0] * count
        for number in range(count):
            self._begin(number)

    def _begin(self, number: int) -> None:
        seed = derived_seed(self.seed, number, self.episodes[number]) % _MOST_SEED
        self.observations[number] = self.all[number].reset(seed)
        self.taken[number], self.returns[number] = [], 0.0

    def step(self, actions: np.ndarray, ended: Callable[[int, float, int], None]) -> Seen:
        """Act in each. `ended` is told of each episode that came to an end: where, its return and its length."""
        following = np.empty_like(self.observations)
        count = len(self.all)
        rewards_N, flags = np.empty(count, np.float32), np.zeros((2, count), bool)
        for number, (environment, action) in enumerate(zip(self.all, actions, strict=True)):
            seen, reward, terminated, truncated = environment.step(action)
            following[number], rewards_N[number] = seen, reward
            self.taken[number].append(action)
            self.returns[number] += reward
            if terminated or truncated:
                flags[:, number] = terminated, truncated and not terminated
                ended(number, self.returns[number], len(self.taken[number]))
                self.episodes[number] += 1
                self._begin(number)
            else:
                self.observations[number] = seen
        return Seen(following, rewards_N, *flags)

    def close(self) -> None:
        self.data.give_back(*self.all)
        self.all = []

    def state(self) -> dict[str, Any]:
        taken = [torch.from_numpy(np.asarray(actions)) for actions in self.taken if actions]
        return {
            "episodes": list(self.episodes),
            "lengths": list(map(len, self.taken)),
            "taken": torch.cat(taken) if taken else torch.empty(0),
            "observations": torch.from_numpy(self.observations.copy()),
        }

    def load_state(self, state: Mapping[str, Any]) -> bool:
        """Take up what `state` gave, by taking the actions again. Returns whether that led to where it was."""
        self.episodes = list(state["episodes"])
        actions, exact = iter(state["taken"].numpy()), True
        for number, length in enumerate(state["lengths"]):
            self._begin(number)
            for action in islice(actions, length):
                seen, reward, terminated, truncated = self.all[number].step(action)
                self.observations[number] = seen
                self.taken[number].append(action)
                self.returns[number] += reward
                if terminated or truncated:  # which it hadn't when the actions were taken first
                    exact = False
                    self._begin(number)
        return exact and np.array_equal(self.observations, state["observations"].numpy())


@final
class RandomPlay:
    """What an environment does when it is acted in at random: so many transitions, always the same."""

    def __init__(self, data: Gymnasium, count: int = SHOWN) -> None:
        self.data, self.count = data, count

    def __len__(self) -> int:
        return self.count

    @cached_property
    def played(self) -> Transitions:
        environments, (_, port) = Environments(self.data, 1, seed=0), self.data.ports()
        (actions,) = port.example(self.count, generator(0))
        rows = []
        for action in actions.numpy():
            before = environments.observations.copy()
            seen = environments.step(action[None], lambda *_: None)
            rows.append((before, seen.rewards_N, seen.following, seen.terminated_N))
        environments.close()
        columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*rows, strict=True)]
        return Transitions((columns[0],), actions, columns[1], columns[2], columns[3].float())

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Transitions:  # noqa: ARG002 - nothing is augmented
        all_of = self.played
        rewards, following, ended = all_of.rewards[indices], all_of.following[indices], all_of.ended[indices]
        return Transitions((all_of.inputs[0][indices],), all_of.targets[indices], rewards, following, ended)


@final
class Episodes:
    """Episodes to be measured on: the first observation of each, and its seed as the target."""

    def __init__(self, data: Gymnasium, name: str) -> None:
        self.data, self.seeds = data, torch.tensor(data.seeds(name))

    def __len__(self) -> int:
        return len(self.seeds)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        seeds = self.seeds[indices]
        environment = self.data.take()
        first = np.stack([environment.reset(one) for one in seeds.tolist()])
        self.data.give_back(environment)
        return Batch((torch.from_numpy(first),), seeds)
