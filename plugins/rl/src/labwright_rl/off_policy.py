"""Learning from all that was done, by whatever policy: DQN and SAC, from a replay buffer. B batch, N environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, final

import numpy as np
import torch
from labwright import Batch, Choice, Integers, LabwrightError, Part, Phase, Steps, Uniform, generator
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_rl.acting import Acting
from labwright_rl.environments import Environments, Gymnasium, Transitions
from labwright_rl.journal import Journal
from labwright_rl.learners import DeepQ, Learner, SoftPolicy
from labwright_rl.ports import DiscreteActions
from labwright_rl.replay import Replay

_ACTIONS, _ROWS = 23, 24  # streams of random numbers: of actions, and of what is learned from
_TOLD = 1000  # steps of the environments between two entries of the journal; and what stands for an epoch

Share = Annotated[float, Field(ge=0, le=1)]


@final
class OffPolicy(Acting):
    """Keep what was done, and learn from some of it at each step: DQN for one of several actions, SAC for numbers.

    `environments` take `collect` steps each, and then there are `updates` steps of the run, each an update by
    train.batch_size transitions from `memory`. An episode whose time was up goes on, one that came to an end doesn't.

    Args:
        environments: environments that are acted in side by side.
        collect: steps that each environment takes between two rounds of updates.
        updates: steps of the run after each `collect` steps, each an update.
        memory: transitions that are kept, the last ones.
        warmup: transitions of random play before anything is learned.
        discount: factor by which a reward counts less for each step that it comes later.
        target_rate: share of the way that target networks go to the trained ones at each update.
        double: of DQN alone, whether the network chooses the action that the target network values (van Hasselt et al.
            2016); left out, it does.
        exploration: of DQN alone, the probability of a random action at first and at last, and the share of the run in
            which it goes from one to the other; left out, 1, 0.05 and 0.2.
        target_entropy: of SAC alone, the entropy of actions in -1..1, in nats, that the temperature aims at; left out,
            -1 for each number of an action.

    Raises LabwrightError for a setting of the other one.
    """

    def __init__(
        self,
        data: Annotated[Gymnasium, Part("data")],
        *,
        environments: Annotated[int, Field(ge=1, le=4096)] = 1,
        collect: Annotated[int, Field(ge=1), Choice(1, 4, 16, 64)] = 1,
        updates: Annotated[int, Field(ge=1)] = 1,
        memory: Annotated[int, Field(ge=1)] = 100_000,
        warmup: Annotated[int, Field(ge=1), Integers(100, 10_000, log=True)] = 1000,
        discount: Annotated[float, Field(ge=0, le=1), Uniform(0.9, 0.999)] = 0.99,
        target_rate: Annotated[float, Field(gt=0, le=1), Uniform(0.001, 0.1, log=True)] = 0.005,
        double: bool | None = None,
        exploration: tuple[Share, Share, Annotated[float, Field(gt=0, le=1)]] | None = None,
        target_entropy: float | None = None,
    ) -> None:
        super().__init__(data)
        self.environments, self.collect_steps, self.updates = environments, collect, updates
        self.memory, self.warmup, self.discount, self.target_rate = memory, warmup, discount, target_rate
        self.double, self.exploration, self.target_entropy = double, exploration, target_entropy

    @cached_property
    def learner(self) -> Learner:
        """How it is learned, which the kind of actions decides."""
        port = self.actions
        if isinstance(port, DiscreteActions):
            self._refuse("SAC, for actions that are numbers", target_entropy=self.target_entropy)
            return DeepQ(self.discount, self.double is not False, self.exploration or (1.0, 0.05, 0.2))
        self._refuse("DQN, for one of several actions", double=self.double, exploration=self.exploration)
        return SoftPolicy(self.discount, port.dim, self.target_entropy)  # type: ignore[attr-defined]

    def _refuse(self, whose: str, **settings: Any) -> None:
        for name, given in settings.items():
            if given is not None:
                raise LabwrightError(f"task.{name} is a setting of {whose}; {self.data.id} takes others. Leave it out.")

    @property
    def model_contract(self) -> type:  # type: ignore[override]  # it depends on the kind of actions
        return self.learner.contract

    def phases(self) -> tuple[Phase, ...]:
        return self.learner.phases

    @property
    def sizes(self) -> dict[str, int]:
        kept = {"environments": self.environments, "collect": self.collect_steps, "updates": self.updates}
        return kept | {"memory": self.memory, "warmup": self.warmup}

    def round_steps(self, size: int) -> int:
        if size > self.memory:
            raise LabwrightError(f"train.batch_size: {size:,} is more than task.memory={self.memory:,} transitions.")
        return max(1, _TOLD // (self.collect_steps * self.environments)) * self.updates

    def begin(self, steps: Steps) -> Experience:
        return Experience(self, steps)

    def greedy(self, model: nn.Module, observations: Tensor) -> np.ndarray:
        return self.learner.greedy(model, observations)

    def draw(self, batch: Batch, generator: Generator) -> Batch:
        return self.learner.drawn(batch, generator)

    def loss(self, model: nn.Module, batch: Batch, criterion: Any, phase: str) -> Tensor:  # noqa: ARG002
        return self.learner.loss(model, batch, phase)

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:  # noqa: ARG002
        if phase == self.learner.target_phase:
            model.follow(self.target_rate)  # type: ignore[operator]


@final
class Experience:
    """What was done in a training: environments, and the replay buffer."""

    def __init__(self, task: OffPolicy, steps: Steps) -> None:
        self.task, self.steps = task, steps
        settings = steps.run.recipe["train"]
        self.seed, self.size = settings["seed"], settings["batch_size"]
        self.environments = Environments(task.data, task.environments, self.seed)
        self.journal = Journal((task.learner.told,))
        rounds = -(-steps.run.total_steps // task.updates)
        planned = task.warmup + task.environments * (1 + rounds * task.collect_steps)
        self.replay = Replay(min(task.memory, planned))
        self.round = -1  # what was collected last

    def state(self) -> dict[str, Any]:
        return {"round": self.round, **{f"replay/{name}": table for name, table in self.replay.state().items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.round = state["round"]
        within = {part: [name for name in state if name.startswith(f"{part}/")] for part in ("replay", "journal")}
        self.replay.load_state({name.partition("/")[2]: state[name] for name in within["replay"]})
        self.journal.load_state({name.partition("/")[2]: state[name] for name in within["journal"]})

    def batches(self) -> Iterator[Transitions]:
        run = self.steps.run
        while run.step < run.total_steps:
            if self.round < run.step // self.task.updates:
                self.round = run.step // self.task.updates
                self._gather()
            chance = generator(self.seed, run.step, _ROWS)
            yield self.replay.drawn(torch.randint(len(self.replay), (self.size,), generator=chance))

    @torch.no_grad()
    def _gather(self) -> None:
        """Act for a round; before the first one at random, for as long as the warm-up takes."""
        task, run, count = self.task, self.steps.run, self.task.environments
        learner, model, device = task.learner, self.steps.model, self.steps.device
        chance = generator(self.seed, self.round, _ACTIONS)
        warmup = -(-task.warmup // count) if not self.round else 0
        progress, port = run.step / run.total_steps, task.actions
        for at in range(warmup + task.collect_steps):
            seen = torch.from_numpy(self.environments.observations.copy())
            if at < warmup:
                actions = port.example(count, chance)[0].numpy()
            else:
                actions = learner.exploring(model, seen.to(device), progress, chance)
            now = self.replay.count + count
            answer = self.environments.step(
                actions, lambda *episode, now=now: self.journal.episodes.append((now, *episode))
            )
            columns = {"rewards": answer.rewards_N, "following": answer.following, "actions": actions}
            rows = {name: torch.from_numpy(column) for name, column in columns.items()}
            ended = torch.from_numpy(answer.terminated_N).float()
            self.replay.add({**rows, "observations": seen, "ended": ended})
            if now // _TOLD > (now - count) // _TOLD:
                self.journal.rounds.append((now, learner.tell(model, progress)))
