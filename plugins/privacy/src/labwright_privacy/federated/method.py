"""Federated averaging as a method: each step of a run is a round of clients, simulated in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from labwright import Choice, LabwrightError, Method, Steps, Task, Uniform, Update, derived_seed, generator, listed
from labwright_tasks.fold_data import Chosen
from labwright_tasks.sam import refuse_without_dense_gradients
from pydantic import Field
from torch import Tensor, nn

from labwright_privacy.federated import averaging
from labwright_privacy.federated.clients import Division, divided
from labwright_privacy.federated.local_training import Local, Round, train

LocalRate = Annotated[float, Field(gt=0), Uniform(1e-3, 1.0, log=True)]
LocalEpochs = Annotated[int, Field(ge=1), Choice(1, 2, 5)]
_OF_ALL = ("read.json", "facts.json")  # in task/: what was read, and what tells other data from it


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

    def feed(self, steps: Steps) -> Iterator[Any]:
        """A batch of all samples for each round, which says that a round is due; clients fetch their own."""
        train, device = steps.run.recipe["train"], steps.run.recipe.get("device", {})
        for refused, why in (
            (train.get("drop_last", False), "train.drop_last: a client may have fewer samples than a batch"),
            (device.get("accumulate", 1) > 1, "device.accumulate: clients take small batches; set train.batch_size"),
            (device.get("precision") == "fp16", "device.precision: what clients change has no loss scale; use bf16"),
        ):
            if refused:
                raise LabwrightError(f"{why}. Method 'privacy/federated' can't go with it.")
        self.steps = steps
        if note := learned_of_all(steps.run.folder / "task"):
            steps.run.notes.append(note)
        return steps.batches()

    def round(self) -> Round:
        """The round that is due."""
        assert self.steps is not None
        return round_of(self.steps, self.steps.run.step)


class FederatedAveraging(Federated):
    """Train at clients that keep their samples; a step of the run is a round of some of them. Simulated here.

    In a round `per_round` clients, all if it is left out, go through their own samples `local_epochs` times, or for
    `local_steps` batches, by plain descent at `local_lr`. The mean of what they changed, by how many samples they have,
    is the gradient of the run's optimizer: `sgd` at rate 1 without momentum is FedAvg (McMahan et al. 2017), `adamw`
    FedAdam (Reddi et al. 2021). `proximal` is FedProx's mu (Li et al. 2020). Running statistics are averaged too.

    `division` says who has which samples: `even` by chance, `dirichlet` each class in shares drawn with `alpha`, where
    0.1 is far from alike and 100 nearly alike, both to so many `clients` (10 if left out); `group` as a column of the
    data says; `folder` as files lie. Of the clients in a round the share `dropped` doesn't answer, by chance; at least
    one does. `secure` sums what they send under pairwise masks that cancel, in fixed point of 2**-32, so that the
    server sees the sum alone.

    `train.steps` counts rounds. What the data learned when it was read, such as a vocabulary, it learned from all
    clients: the run names it. This is no differential privacy: a sum still tells of samples.
    """

    def __init__(
        self,
        *,
        clients: Annotated[int, Field(ge=1)] | None = None,
        division: Division = "even",
        alpha: Annotated[float, Field(gt=0)] = 1.0,
        per_round: Annotated[int, Field(ge=1)] | None = None,
        local_lr: LocalRate = 0.1,
        local_epochs: LocalEpochs = 1,
        local_steps: Annotated[int, Field(ge=1)] | None = None,
        proximal: Annotated[float, Field(ge=0), Uniform(1e-3, 1.0, log=True)] = 0.0,
        dropped: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        secure: bool = False,
    ) -> None:
        self.local = Local(local_lr, local_epochs, local_steps, proximal)
        if clients is not None and per_round is not None and per_round > clients:
            raise LabwrightError(f"method.per_round: given {per_round}, of {clients} clients.")
        self.clients, self.division, self.alpha = clients, division, alpha
        self.per_round, self.dropped, self.secure = per_round, dropped, secure
        self.members: list[Chosen] = []  # the samples of each client

    def feed(self, steps: Steps) -> Iterator[Any]:
        batches = super().feed(steps)
        self.members = self.samples_of(steps.task, steps.run.recipe["train"]["seed"])
        sizes = sorted(map(len, self.members))
        per_round = self.per_round or len(sizes)
        if per_round > len(sizes):
            raise LabwrightError(f"method.per_round: given {per_round}; {len(sizes)} clients have samples.")
        without = (self.clients or len(sizes)) - len(sizes)
        steps.run.notes.append(
            f"{len(sizes)} clients of {sizes[0]:,} to {sizes[-1]:,} samples (median {sizes[len(sizes) // 2]:,}), "
            f"{per_round} in a round" + (f"; {without} have none and never take part." if without else ".")
        )
        return batches

    def samples_of(self, task: Task, seed: int) -> list[Chosen]:
        """The samples of each client that has any. Raises LabwrightError for data that can't be divided so."""
        part = task.part("train")
        assert part is not None
        members = divided(part, task.data, self.division, clients=self.clients, alpha=self.alpha, seed=seed)
        return [Chosen([part], rows) for rows in members]

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


def learned_of_all(folder: Path) -> str:
    """What a run keeps of its data that clients would have to agree on first, in a sentence; "" if nothing is."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    learned = [file for file in files if Path(file).name not in _OF_ALL and not file.startswith(("checksums", "."))]
    if not learned:
        return ""
    return (
        f"learned from all clients' samples together, before the first round: task/{listed(learned)}. Clients that "
        "share nothing would have to agree on it."
    )
