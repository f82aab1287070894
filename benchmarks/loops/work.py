"""What is trained: the works (model, data, optimizer) and the job a contender gets.

Importing this file imports torch and nothing else, because the start of every contender is timed with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from loops import models


@dataclass(frozen=True)
class Work:
    """One thing to train. A fit of `epochs` epochs and one of twice as many give the cost of a step."""

    model: str
    optimizer: str
    lr: float
    rows: int
    batch_size: int
    epochs: int
    on_disk: bool = False

    @property
    def steps(self) -> int:
        """Optimizer steps in one epoch; the last batch may be smaller."""
        return -(-self.rows // self.batch_size)


WORKS = {
    "mlp": Work("mlp", "sgd", 0.1, rows=50_000, batch_size=64, epochs=1),
    "mlp-adamw": Work("mlp", "adamw", 1e-3, rows=50_000, batch_size=64, epochs=1),
    "items": Work("mlp", "sgd", 0.1, rows=50_000, batch_size=64, epochs=1, on_disk=True),
    "cnn": Work("cnn", "sgd", 0.05, rows=32 * 40, batch_size=32, epochs=1),
    "gpt": Work("gpt", "adamw", 1e-3, rows=12 * 24, batch_size=12, epochs=1),
}


@dataclass(frozen=True)
class Job:
    """One fit: what to train, on which rows, for how long, and where files may go.

    `stepped`, where given, is to be called when an optimizer step has ended. Contenders that use a torch.optim
    optimizer need not: the child process listens to torch's own hook.
    """

    work: Work
    data: Dataset
    epochs: int
    folder: Path
    stepped: Callable[[], None] | None = None

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """All inputs and all targets of data held in memory."""
        return self.data.tensors


class Items(Dataset):
    """Rows read one at a time from two memory-mapped files, as data sets that don't fit in memory are."""

    def __init__(self, folder: Path, inputs: Tensor, targets: Tensor) -> None:
        import numpy as np

        np.save(folder / "inputs.npy", inputs.numpy())
        np.save(folder / "targets.npy", targets.numpy())
        self.inputs = np.load(folder / "inputs.npy", mmap_mode="r")
        self.targets = np.load(folder / "targets.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.inputs[index].copy()), int(self.targets[index])


def make_data(work: Work, folder: Path) -> Dataset:
    """The rows to train on: always the same ones, with targets that a model can learn."""
    generator = torch.Generator().manual_seed(0)
    if work.model == "gpt":
        ids = (torch.randint(0, 65, (work.rows, 1), generator=generator) + 7 * torch.arange(65)) % 65
        return TensorDataset(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    shape = (1, 28, 28) if work.model == "cnn" else (64,)
    inputs = torch.randn(work.rows, *shape, generator=generator)
    teacher = torch.randn(inputs[0].numel(), 10, generator=generator)
    targets = (inputs.flatten(1) @ teacher).argmax(dim=1)
    return Items(folder, inputs, targets) if work.on_disk else TensorDataset(inputs, targets)


def build_model(work: Work) -> nn.Module:
    """The work's model, with the same first weights each time."""
    torch.manual_seed(0)
    return {"mlp": models.mlp, "cnn": models.cnn, "gpt": models.GPT}[work.model]()


def build_optimizer(work: Work, model: nn.Module) -> torch.optim.Optimizer:
    """The work's optimizer, as torch offers it by default."""
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[work.optimizer]
    return kind(model.parameters(), lr=work.lr)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy; a row of targets counts once for each of its tokens."""
    return nn.functional.cross_entropy(logits, targets.flatten())


def loss_over(model: Callable[[Tensor], Tensor], data: Dataset) -> float:
    """The loss over the first 480 rows, the same measure for everyone: did it learn?"""
    rows = [data[index] for index in range(min(480, len(data)))]
    inputs = torch.stack([row[0] for row in rows])
    targets = torch.stack([torch.as_tensor(row[1]) for row in rows])
    with torch.no_grad():
        return float(loss_of(model(inputs), targets))
