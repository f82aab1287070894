"""Learning without labels: what a student says of one view of a sample is to be what its teacher says of another.

N samples, B batch, F numbers of a sample, D of an embedding. Contrast as in SimCLR (Chen et al. 2020), a teacher that
is the running mean of the student as in BYOL (Grill et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

SIZES = {"train": 256, "valid": 64, "test": 64}
WIDTH = 16


@dataclass(frozen=True)
class Embedding(lw.Port):
    """Directions: forward returns embeddings_BD of length 1, D being the model's choice. There is no target."""

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return ()


class Waves(lw.Data):
    """Sine waves of random frequency, phase and height, without labels."""

    item, target = lw.Features, Embedding
    source, licence = "made by this plugin", "Apache-2.0"
    line = "wave"

    def prepare(self) -> None:
        self._splits = {}
        for seed, (name, size) in enumerate(SIZES.items()):
            frequency_N, phase_N, height_N = torch.rand(3, size, 1, generator=lw.generator(seed))
            angles_NF = torch.linspace(0, 6, WIDTH) * (0.5 + frequency_N) + 6 * phase_N
            self._splits[name] = lw.TensorSplit(((0.5 + height_N) * angles_NF.sin(),), ())

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((WIDTH,)), Embedding()

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """16 numbers with blanks between."""
        return (torch.tensor([[float(number) for number in line.split()]]),)


@dataclass(frozen=True)
class Views(lw.Batch):
    """`inputs` holds one view of each sample, `other` (B, F) another one."""

    other: Tensor


class SeenTwice:
    """A part of the data in two views, each with noise of its own; a function of seed, epoch and index."""

    def __init__(self, part: lw.Split) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Views:
        (x_BF,) = self.part.fetch(indices, epoch, seed).inputs
        noise_B2F = lw.draws(len(self), 2 * WIDTH, seed=seed, epoch=epoch)[indices].view(-1, 2, WIDTH) - 0.5
        return Views((x_BF + noise_B2F[:, 0],), (), x_BF + noise_B2F[:, 1])


class TwoSided(Protocol):
    """What the task calls on a model, both (B, F) -> (B, D): the student's query, and the teacher's key."""

    def query(self, x: Tensor) -> Tensor: ...

    def key(self, x: Tensor) -> Tensor: ...


class Siamese(nn.Module):
    """A student with a predictor, and a teacher that no gradient reaches.

    Args:
        width: units of the hidden layer, and numbers of a representation.
    """

    def __init__(
        self, inputs: lw.Features, outputs: Embedding, *, width: Annotated[int, Field(ge=2), lw.Integers(8, 64)] = 32
    ) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(inputs.shape[0], width), nn.ReLU(), nn.Linear(width, width))
        self.predictor = nn.Linear(width, width)
        self.teacher = deepcopy(self.student).requires_grad_(False)

    def forward(self, x_BF: Tensor) -> Tensor:
        return functional.normalize(self.student(x_BF), dim=-1)

    def query(self, x: Tensor) -> Tensor:
        return functional.normalize(self.predictor(self.student(x)), dim=-1)

    def key(self, x: Tensor) -> Tensor:
        return functional.normalize(self.teacher(x), dim=-1)


class Contrast(Protocol):
    """What a loss is called with: queries and keys, (B, D), each row's key belonging to its query."""

    def __call__(self, queries: Tensor, keys: Tensor) -> Tensor: ...


class InfoNCE(lw.Loss):
    """Cross-entropy of one's own key among all of the batch (van den Oord et al. 2018).

    Args:
        temperature: divides the cosines of queries and keys.
    """

    separable = False

    def __init__(self, *, temperature: Annotated[float, Field(gt=0), lw.Uniform(0.05, 0.5, log=True)] = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        likeness_BB = queries @ keys.mT / self.temperature
        return functional.cross_entropy(likeness_BB, torch.arange(len(queries), device=queries.device))


class Recognised:
    """The share of samples whose own key is the nearest to their query, among all of the split."""

    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def update(self, queries_BD: Tensor, keys_BD: Tensor) -> None:
        self.queries.append(queries_BD)
        self.keys.append(keys_BD)

    def compute(self) -> float:
        nearest_N = (torch.cat(self.queries) @ torch.cat(self.keys).mT).argmax(1)
        return float((nearest_N == torch.arange(len(nearest_N), device=nearest_N.device)).double().mean())

    def reset(self) -> None:
        self.queries: list[Tensor] = []
        self.keys: list[Tensor] = []


class TwoViews(lw.Task):
    """Recognise a sample in another view. Higher is better: recognised.

    Args:
        data: samples of which there are two views.
        momentum: share of itself that the teacher keeps at each step.
    """

    goal = lw.Goal("recognised", "maximize")
    contract = Contrast
    model_contract = TwoSided

    def __init__(
        self, data: Annotated[lw.Data, lw.Part("data")], *, momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    ) -> None:
        self.data, self.momentum = data, momentum

    def view(self, split: str, part: lw.Split) -> SeenTwice:
        return SeenTwice(part)

    def loss(self, model: Any, batch: Views, criterion: Contrast, phase: str) -> Tensor:
        (one, other) = (*batch.inputs, batch.other)
        return (criterion(model.query(one), model.key(other)) + criterion(model.query(other), model.key(one))) / 2

    def after_step(self, model: Any, phase: str, progress: float) -> None:
        with torch.no_grad():
            for teacher, student in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                teacher.lerp_(student, 1 - self.momentum)

    def evaluate(self, model: Any, batch: Views) -> tuple[Tensor, Tensor]:
        return model.query(*batch.inputs), model.key(batch.other)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"recognised": Recognised()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"embedding": row} for row in model(*inputs).tolist()]
