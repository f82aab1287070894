"""labwright from Python as it comes: progress, log, checkpoints and report, with the benchmark's own data and model."""

import labwright as lw
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from loops.work import Job, build_model


class Rows:
    """Rows in memory, indexed by whole batches."""

    def __init__(self, data: TensorDataset) -> None:
        self.inputs, self.targets = data.tensors

    def __len__(self) -> int:
        return len(self.inputs)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.inputs[indices],), self.targets[indices])


class RowsOnDisk:
    """Rows read one at a time, as the hand-written loop's DataLoader reads them."""

    def __init__(self, data: torch.utils.data.Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        inputs, targets = zip(*(self.data[index] for index in indices.tolist()), strict=True)
        return lw.Batch((torch.stack(inputs),), torch.tensor(targets))


class Made(lw.Data):
    """The job's rows as the `train` split; there is no other."""

    item = lw.Features
    target = lw.Classes
    source = "made by the benchmark"
    licence = "none needed"

    def __init__(self, job: Job) -> None:
        self.job = job

    def prepare(self) -> None:
        self.rows = RowsOnDisk(self.job.data) if self.job.work.on_disk else Rows(self.job.data)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        names = tuple(str(number) for number in range(65 if self.job.work.model == "gpt" else 10))
        return lw.Features(tuple(self.job.data[0][0].shape)), lw.Classes(names)

    def split(self, name: str) -> lw.Split | None:
        return self.rows if name == "train" else None


class MadeOnDisk(Made):
    """The same for rows that stay on disk."""

    in_memory = False


class NextToken(lw.Task):
    """The GPT's objective: logits and targets of all tokens, one row each."""

    goal = lw.Goal("loss", "minimize")

    def __init__(self, data: lw.Data) -> None:
        self.data = data

    def weight(self, batch: lw.Batch) -> float:
        return batch.targets.numel()

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: nn.Module, phase: str) -> Tensor:
        return criterion(model(*batch.inputs), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, ...]:
        return (model(*batch.inputs),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"loss": lw.Mean()}


class Stepped:
    """Tells the job that a step has ended."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        self.job.stepped()


def fit(job: Job) -> nn.Module:
    work = job.work
    data = MadeOnDisk(job) if work.on_disk else Made(job)
    experiment = lw.Experiment(
        task=NextToken(data) if work.model == "gpt" else {"name": "classification", "data": data},
        model=build_model(work),
        loss="cross-entropy",
        optimizer={"name": work.optimizer, "lr": work.lr},
        device="cpu",
        train={"epochs": job.epochs, "batch_size": work.batch_size, "seed": 0},
    )
    return experiment.run(folder=job.folder, listeners=[Stepped(job)] if job.stepped else []).model
