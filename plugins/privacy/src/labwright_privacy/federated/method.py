"""Federated averaging as a method: each step of a run is a round of clients, simulated in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from labwright import (
    Choice,
    LabwrightError,
    Method,
    Stateful,
    Steps,
    Task,
    Uniform,
    Update,
    When,
    derived_seed,
    generator,
    listed,
)
from labwright_tasks.fold_data import Chosen
from labwright_tasks.sam import refuse_without_dense_gradients
from pydantic import Field
from torch import Tensor, nn

from labwright_privacy.differential.refusals import learned_from_data
from labwright_privacy.federated import averaging
from labwright_privacy.federated.clients import Division, divided
from labwright_privacy.federated.local_training import Local, Round, train

Clients = Annotated[
    int,
    Field(
        ge=1,
        description="how many clients there are; left out, 10. A division by `group` or `folder` has as many as the "
        "data has groups or folders.",
    ),
    When("division", "even", "dirichlet"),
]
Alpha = Annotated[
    float,
    Field(
        gt=0,
        description="of the Dirichlet distribution: with 0.1 clients are far from alike, with 100 nearly alike.",
    ),
    When("division", "dirichlet"),
]
LocalRate = Annotated[
    float, Field(gt=0, description="learning rate of the clients' plain descent."), Uniform(1e-3, 1.0, log=True)
]
LocalEpochs = Annotated[
    int,
    Field(ge=1, description="times that a client goes through its samples in a round."),
    Choice(1, 2, 5),
    When("local_steps", None),
]
LocalSteps = Annotated[
    int, Field(ge=1, description="batches that a client takes in a round; left out, `local_epochs` says how many.")
]
Proximal = Annotated[
    float,
    Field(
        ge=0,
        description="mu of FedProx (Li et al. 2020), which pulls a client's weights to those that the round began "
        "with; 0 is off.",
    ),
    Uniform(0.0, 1.0),
]


class Federated(Method):
    """What rounds have in common, whoever trains in them, and what can't be trained so.

    A step of the run is a round: its optimizer is the server's, `train.steps` counts rounds, and `train.batch_size`
    is that of clients.
    """

    steps: Steps | None = None

    def check(self, task: Task, model: nn.Module) -> None:
        refuse_without_dense_gradients("privacy/federated", model)
        if len(task.phases()) > 1:
            names = ", ".join(phase.name for phase in task.phases())
            raise LabwrightError(
                f"method: 'privacy/federated' averages one model that is trained as a whole, and task "
                f"{type(task).__name__} has the phases {names}."
            )
        if isinstance(task, Stateful):
            raise LabwrightError(
                f"method: task {type(task).__name__} keeps a state of its own from step to step, which clients would "
                "share. Take a task without."
            )

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002 - the recipe decides
        train, device = recipe["train"], recipe["device"]
        for refused, why in (
            (train.get("drop_last"), "train.drop_last: a client may have fewer samples than a batch; leave it out"),
            (device.get("accumulate", 1) > 1, "device.accumulate: clients take small batches; set train.batch_size"),
            (device.get("precision") == "fp16", "device.precision: what clients change has no loss scale; use bf16"),
        ):
            if refused:
                raise LabwrightError(f"{why}. Method 'privacy/federated' doesn't go with it.")
        learned = learned_from_data(task)
        if not learned:
            return []
        return [
            f"learned from all clients' samples together, before the first round: {listed(learned)} in task/. Clients "
            "that share nothing would have to agree on it."
        ]

    def feed(self, steps: Steps) -> Iterator[Any]:
        """A batch of all samples for each round, which says that a round is due; clients fetch their own."""
        self.steps = steps
        return steps.batches()

    def round(self) -> Round:
        """The round that is due."""
        assert self.steps is not None
        return round_of(self.steps, self.steps.run.step)


class FederatedAveraging(Federated):
    """Train at clients that keep their samples; a step of the run is a round of some of them. Simulated here.

    The mean of what the clients of a round changed, by how many samples they have, is the gradient of the run's
    optimizer: `sgd` at rate 1 without momentum is FedAvg (McMahan et al. 2017), `adamw` FedAdam (Reddi et al. 2021).
    Running statistics are averaged too.

    `train.steps` counts rounds. What the data learned when it was read, such as a vocabulary, it learned from all
    clients: the run names it. This is no differential privacy: a sum still tells of samples.

    Args:
        per_round: clients that a round begins with, drawn anew for each; left out, all.
        dropped: probability that a client of a round doesn't answer; at least one does.
        secure: whether what clients send is summed under pairwise masks that cancel, in fixed point of 2**-32, so that
            the server sees the sum alone.
    """

    def __init__(
        self,
        *,
        clients: Clients | None = None,
        division: Division = "even",
        alpha: Alpha = 1.0,
        per_round: Annotated[int, Field(ge=1)] | None = None,
        local_lr: LocalRate = 0.1,
        local_epochs: LocalEpochs = 1,
        local_steps: LocalSteps | None = None,
        proximal: Proximal = 0.0,
        dropped: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        secure: bool = False,
    ) -> None:
        self.local = Local(local_lr, local_epochs, local_steps, proximal)
        if clients is not None and per_round is not None and per_round > clients:
            raise LabwrightError(f"method.per_round: given {per_round}, of {clients} clients.")
        self.clients, self.division, self.alpha = clients, division, alpha
        self.per_round, self.dropped, self.secure = per_round, dropped, secure
        self.members: list[Chosen] = []  # the samples of each client

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        notes = super().begin(task, model, criterion, recipe)
        part = task.part("train")
        if part is None or not len(part):
            return notes  # which is refused by itself
        members = divided(
            part, task.data, self.division, clients=self.clients, alpha=self.alpha, seed=recipe["train"]["seed"]
        )
        self.members = [Chosen([part], rows) for rows in members]
        sizes = sorted(map(len, members))
        per_round = self.per_round or len(sizes)
        if per_round > len(sizes):
            raise LabwrightError(f"method.per_round: given {per_round}; {len(sizes)} clients have samples.")
        without = (self.clients or len(sizes)) - len(sizes)
        clients = (
            f"{len(sizes)} clients of {sizes[0]:,} to {sizes[-1]:,} samples (median {sizes[len(sizes) // 2]:,}), "
            f"{per_round} in a round" + (f"; {without} have none and never take part." if without else ".")
        )
        return [clients, *notes]

    def taking_part(self, round_: Round) -> tuple[list[int], list[int]]:
        """The clients that a round begins with, and those of them that answer: a function of seed and round."""
        random = generator(round_.seed, round_.number, 33)
        chosen = torch.randperm(len(self.members), generator=random)[: self.per_round or len(self.members)]
        answering = torch.rand(len(chosen), generator=random) >= self.dropped
        answering[0] |= not bool(answering.any())
        return sorted(chosen.tolist()), sorted(chosen[answering].tolist())

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:  # noqa: ARG002 - theirs
        assert self.steps is not None
        round_ = self.round()
        chosen, answering = self.taking_part(round_)
        updates = {
            client: train(update, self.steps.task, self.members[client], client, round_, self.local)
            for client in answering
        }
        answers = list(updates.values())
        if self.secure:
            means = averaging.secure_means(updates, chosen, derived_seed(round_.seed, round_.number, 34))
        else:
            means = averaging.weighted_means(answers)
        return averaging.apply(update, answers, means)


def round_of(steps: Steps, number: int) -> Round:
    train = steps.run.recipe["train"]
    return Round(number, train["seed"], train["batch_size"])
