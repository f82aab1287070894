"""Small real components for the core's tests: data that is made, a net with dropout and BatchNorm, a two-phase task."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from labwright.base.search import Part
from labwright.base.seeding import draws, generator
from labwright.train.metrics import Accuracy, LogLoss, Mean
from torch import Tensor, nn


class Points:
    """A split: features with noise drawn for each sample and epoch, and labels."""

    def __init__(self, x_ND: Tensor, y_N: Tensor, noise: float = 0.0) -> None:
        self.x_ND, self.y_N, self.noise = x_ND, y_N, noise

    def __len__(self) -> int:
        return len(self.y_N)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        x_BD = self.x_ND[indices]
        if self.noise:
            x_BD = x_BD + self.noise * (draws(len(self), x_BD.shape[1], seed=seed, epoch=epoch)[indices] - 0.5)
        return lw.Batch((x_BD,), self.y_N[indices])


class Blobs(lw.Data):
    """Three Gaussian blobs in four dimensions, 4 standard deviations from the origin.

    Args:
        size: samples to learn from.
        noise: deviation of what is added to a sample each time.
        held_out: samples of each other part.
    """

    item = lw.Features
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def __init__(self, *, size: int = 90, noise: float = 0.0, held_out: int = 300) -> None:
        self.size, self.noise, self.held_out = size, noise, held_out

    def prepare(self) -> None:
        random = generator(7)
        self.splits = {
            name: self._points(length, noise, random)
            for name, length, noise in (
                ("train", self.size, self.noise),
                ("valid", self.held_out, 0.0),
                ("test", self.held_out, 0.0),
            )
        }

    @staticmethod
    def _points(length: int, noise: float, random: torch.Generator) -> Points:
        y_N = torch.arange(length) % 3
        centres = torch.eye(3, 4) * 4.0
        return Points(centres[y_N] + torch.randn(length, 4, generator=random), y_N, noise)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((4,)), lw.Classes(("a", "b", "c"))

    def split(self, name: str) -> Points | None:
        split = self.splits.get(name)
        return split if split is not None and len(split) else None


class BlobsElsewhere(Blobs):
    """The same, fetched by loader workers as if it were read from files."""

    in_memory = False


class Sorting(lw.Task):
    """Classification as the tests need it: one phase, accuracy.

    Args:
        data: what is sorted.
    """

    goal = lw.Goal("accuracy", "maximize")

    class Contract(Protocol):
        def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...

    contract = Contract

    def __init__(self, data: Annotated[lw.Data, Part("data")]) -> None:
        self.data = data

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return criterion(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        return model(*batch.inputs), batch.targets

    def metrics(self) -> dict[str, lw.Metric]:
        return {"accuracy": Accuracy(), "cross_entropy": LogLoss()}


class Net(nn.Module):
    """Linear, BatchNorm, dropout, linear.

    Args:
        width: hidden features.
        dropout: share of them that are zeroed.
    """

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs.shape[0], width), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(x_BD)))


class Pair(nn.Module):
    """A generator of points and a critic of them."""

    def __init__(self, inputs: lw.Features, *, width: int = 16) -> None:
        super().__init__()
        dim = inputs.shape[0]
        self.generator = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, dim))
        self.critic = nn.Sequential(nn.Linear(dim, width), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(width, 1))


class Hinge(nn.Module):
    """The hinge losses of Lim & Ye 2017."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.mean()


class Duel(lw.Task):
    """Adversarial: the critic every step, the generator every `critic_steps`."""

    goal = lw.Goal("distance", "minimize")

    class Contract(Protocol):
        def critic(self, real: Tensor, fake: Tensor) -> Tensor: ...

        def generator(self, fake: Tensor) -> Tensor: ...

    contract = Contract

    def __init__(self, data: Annotated[lw.Data, Part("data")], *, critic_steps: int = 3) -> None:
        self.data, self.critic_steps = data, critic_steps

    def phases(self) -> tuple[lw.Phase, ...]:
        return lw.Phase("critic", ("critic",)), lw.Phase("generator", ("generator",), every=self.critic_steps)

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        return lw.Batch((batch.inputs[0], torch.randn(len(batch), 2, generator=generator)), batch.targets)

    def loss(self, model: Pair, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        x_BD, z_BD = batch.inputs
        if phase == "critic":
            return criterion.critic(model.critic(x_BD), model.critic(model.generator(z_BD).detach()))
        return criterion.generator(model.critic(model.generator(z_BD)))

    def evaluate(self, model: Pair, batch: lw.Batch) -> tuple[Tensor]:
        z_BD = torch.randn(len(batch), 2)
        return ((model.generator(z_BD).mean(0) - batch.inputs[0].mean(0)).norm(),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"distance": Mean()}


def sorting(data: lw.Data | None = None, model: Any = None, **changed: Any) -> lw.Experiment:
    """A quiet experiment over Blobs: 90 samples, batches of 15, so that an epoch has 6 steps."""
    settings: dict[str, Any] = {
        "task": Sorting(data or Blobs()),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": {"name": "adamw", "lr": 0.01},
        "device": "cpu",
        "train": {"epochs": 4, "batch_size": 15},
        "log": (),
    } | changed
    return lw.Experiment(model=model or Net, **settings)


def duel(**changed: Any) -> lw.Experiment:
    """A quiet adversarial experiment; the generator is due every third step."""
    settings: dict[str, Any] = {
        "task": Duel(Blobs(noise=0.2)),
        "model": Pair,
        "loss": Hinge(),
        "optimizer": {"name": "adam", "lr": 0.01, "generator": {"lr": 0.005}},
        "device": "cpu",
        "train": {"steps": 20, "batch_size": 15},
        "log": (),
    } | changed
    return lw.Experiment(**settings)
