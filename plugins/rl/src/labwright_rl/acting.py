"""What learning to act is, whichever way it is done: data that is collected, and returns of episodes as its measure.

B batch, or episodes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np
import torch
from labwright import (
    Attachment,
    Batch,
    Figure,
    Film,
    Goal,
    LabwrightError,
    Mean,
    Metric,
    Port,
    Section,
    Steps,
    Task,
    Text,
    evaluating,
)
from labwright_tasks.intervals import with_intervals
from torch import Tensor, nn

from labwright_rl.environments import Environments, Gymnasium
from labwright_rl.journal import Journal
from labwright_rl.playing import filmed, played
from labwright_rl.ports import DiscreteActions


class Collection(Protocol):
    """What a task has collected so far, and where its environments are: a state that a checkpoint keeps."""

    environments: Environments
    journal: Journal

    def batches(self) -> Iterator[Batch]:
        """The batch of each step that is still to do."""
        ...

    def state(self) -> Mapping[str, Any]: ...

    def load_state(self, state: Mapping[str, Any]) -> None: ...


class Acting(Task):
    """Learning to act in an environment: the parts that don't depend on how.

    A collection belongs to one training. It begins anew unless a checkpoint was taken up before, which is kept until
    then: environments take their actions again, and have no place to do so earlier.

    Args:
        data: the environment that is acted in.
    """

    goal = Goal("return", "maximize")
    data: Gymnasium

    def __init__(self, data: Gymnasium) -> None:
        self.data = data
        self.collection: Collection | None = None
        self._kept: Mapping[str, Any] = {}

    @property
    def actions(self) -> Port:
        return self.data.ports()[1]

    def port_types(self) -> tuple[type[Port], type[Port]]:
        """Which kind of actions an environment takes decides which models fit: it is asked."""
        observations, actions = self.data.ports()
        return type(observations), type(actions)

    # ---------------------------------------------------------------------------------------------------- collecting

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Settings that what was collected goes with: a run that is resumed keeps them."""

    @abstractmethod
    def begin(self, steps: Steps) -> Collection:
        """A collection in which nothing has happened yet."""

    def collect(self, steps: Steps) -> Iterator[Batch]:
        run = steps.run
        if run.step >= run.total_steps:
            return
        kept = self.state() if run.step else {}  # of a checkpoint, or of this training's steps so far
        self.collection = self.begin(steps)
        try:
            if run.step:
                self.collection.load_state(kept)
                exact = self.collection.environments.load_state(_below("environments/", kept))
                if not exact:
                    run.notes.append(
                        f"{self.data.id} isn't where it was after the same actions: it isn't deterministic, and the "
                        "run isn't the one it would have been."
                    )
            self._kept = {}
            yield from self.collection.batches()
        finally:
            self.collection.environments.close()

    def state(self) -> Mapping[str, Any]:
        if self._kept or self.collection is None:
            return self._kept
        parts = {"environments": self.collection.environments.state(), "journal": self.collection.journal.state()}
        within = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        return {"sizes": dict(self.sizes), **self.collection.state(), **within}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises LabwrightError for what was collected with other sizes."""
        for name, now in self.sizes.items():
            before = state["sizes"][name] if "sizes" in state else now
            if before != now:
                raise LabwrightError(
                    f"task.{name} was {before} and is {now} now: what the run has collected goes with it. Leave it as "
                    "it was, or start a new run."
                )
        self._kept = dict(state)

    # ----------------------------------------------------------------------------------------------------- measuring

    @abstractmethod
    def greedy(self, model: nn.Module, observations: Tensor) -> np.ndarray:
        """The best actions that a model knows, as environments take them."""

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns and lengths (B,) of the episodes whose seeds are the targets. Raises LabwrightError for others."""
        if type(batch) is not Batch:
            raise LabwrightError(
                "the split train is random play, and no policy is measured on it: give valid or test, and leave "
                "train.evaluate_train out."
            )
        return played(self.data, batch.targets.tolist(), self._acting(model))

    def metrics(self) -> dict[str, Metric]:
        """Over episodes the mean return, its standard deviation, the mean length; `collected` of those learned from."""
        metrics: dict[str, Metric] = {"return": Returns(), "spread": Spread(), "length": Lengths()}
        if self.collection is not None:
            metrics["collected"] = Collected(self.collection.journal)
        return with_intervals(metrics, self.data)

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Random play; where there are few actions, the best one taken always."""
        seeds = self.data.seeds(split)
        port, chance = self.actions, torch.Generator().manual_seed(0)
        rules: dict[str, Callable[[Tensor], np.ndarray]] = {
            "random play": lambda seen: port.example(len(seen), chance)[0].numpy()
        }
        if isinstance(port, DiscreteActions) and port.count <= _FEW:
            for number in range(port.count):
                rules[f"action {number} always"] = lambda seen, number=number: np.full(len(seen), number)  # type: ignore[misc]
        returns = {rule: float(played(self.data, seeds, act)[0].mean()) for rule, act in rules.items()}
        best = max(returns, key=lambda rule: (rule != "random play", returns[rule]))
        return {rule: {"return": returns[rule]} for rule in dict.fromkeys(("random play", best))}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """The action for each observation; from a seed's first one the episode is played, and its film kept."""
        answers = []
        for row, seed in enumerate(origins):
            action = self._acting(model)(inputs[0][row : row + 1])[0]
            answer: dict[str, Any] = {"action": action.tolist()}
            if seed is not None:
                film = filmed(self.data, seed, self._acting(model))
                answer = {"return": film.gain, "length": film.length}
                answer |= {"film": Attachment(film.gif, ".gif")} if film.gif else {}
            answers.append(answer)
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:  # noqa: ARG002
        sections: list[Section] = []
        with evaluating(model):
            film = filmed(self.data, self.data.seeds(split)[0], self._acting(model))
        told = f"The first episode of {split}: return {film.gain:.6g} in {film.length:,} steps."
        sections.append(Film("The policy", film.gif, told) if film.gif else Text("The policy", [told, film.why]))
        canvas = self.collection.journal.figure() if self.collection is not None else None
        if canvas is not None:
            note = "Over the steps of all environments; shaded is one standard deviation over environments."
            sections.append(Figure("Collected while learning", canvas, note))
        return sections

    def _acting(self, model: nn.Module) -> Callable[[Tensor], np.ndarray]:
        device = next(model.parameters()).device
        return lambda observations: self.greedy(model, observations.to(device))


_FEW = 10  # actions that are each tried as a rule


def _below(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@final
class Returns:
    """The mean return of episodes."""

    higher_is_better = True

    def __init__(self) -> None:
        self._mean, self.root = Mean(), False

    def of_each(self, returns_B: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        return returns_B

    def update(self, returns_B: Tensor, lengths_B: Tensor) -> None:  # noqa: ARG002
        self._mean.update(returns_B)

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


@final
class Lengths:
    """The mean number of steps of an episode."""

    def __init__(self) -> None:
        self._mean, self.root = Mean(), False

    def of_each(self, returns_B: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002
        return lengths_B

    def update(self, returns_B: Tensor, lengths_B: Tensor) -> None:  # noqa: ARG002
        self._mean.update(lengths_B)

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


@final
class Spread:
    """The standard deviation of the returns of episodes."""

    def __init__(self) -> None:
        self._returns: list[Tensor] = []

    def update(self, returns_B: Tensor, lengths_B: Tensor) -> None:  # noqa: ARG002
        self._returns.append(returns_B)

    def compute(self) -> float:
        return float(torch.cat(self._returns).std(correction=0))

    def reset(self) -> None:
        self._returns = []


@final
class Collected:
    """What was collected lately while learning: see `Journal.recent`."""

    splits = ("valid",)

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def update(self, returns_B: Tensor, lengths_B: Tensor) -> None: ...

    def compute(self) -> dict[str, float]:
        return self._journal.recent()

    def reset(self) -> None: ...
