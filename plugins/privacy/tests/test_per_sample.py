"""Per-sample gradients: autograd one by one in float64, and Opacus' GradSampleModule where it has the layer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_privacy.differential.per_sample import PerSample, trained
from torch import Tensor, nn
from torch.nn import functional

SAMPLES = 7


class Perceptron(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 4))


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        layers = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 6, 3, stride=2)
        super().__init__(*layers, nn.Flatten(), nn.Linear(6, 4))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(20, 5), nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        given = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids_BT), lengths_B.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(self.lstm(given)[1][0][-1])


class Attentive(nn.Module):
    """Attention by `scaled_dot_product_attention`, the embedding tied to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        embedded = self.embedding(ids_BT)
        attended = functional.scaled_dot_product_attention(embedded, embedded, embedded, is_causal=True)
        return self.head(self.layer(embedded + attended).mean(1))


@dataclass
class Supervised:
    """An update of one phase with cross-entropy, as the core gives it to a method."""

    model: nn.Module
    name: str = "train"

    @property
    def parameters(self) -> Sequence[Tensor]:
        return list(self.model.parameters())

    def losses(self, batch: lw.Batch) -> Tensor | Mapping[str, Tensor]:
        return functional.cross_entropy(self.model(*batch.inputs), batch.targets)


def pictures() -> lw.Batch:
    random = torch.Generator().manual_seed(1)
    x_BCHW = torch.randn(SAMPLES, 3, 4, 4, generator=random, dtype=torch.float64)
    return lw.Batch((x_BCHW,), torch.randint(4, (SAMPLES,), generator=random))


def texts() -> lw.Batch:
    random = torch.Generator().manual_seed(1)
    ids_BT = torch.randint(20, (SAMPLES, 6), generator=random)
    return lw.Batch((ids_BT, torch.tensor([6, 2, 3, 6, 1, 4, 5])), torch.randint(4, (SAMPLES,), generator=random))


CASES = [(Perceptron, pictures), (Convolutions, pictures), (Recurrent, texts), (Attentive, texts)]


def by_plugin(update: Any, batch: lw.Batch, at_once: int = 100) -> tuple[list[Tensor], PerSample]:
    per_sample = PerSample()
    parts = [gradients for _, gradients, _ in per_sample(update, batch, at_once)]
    return [torch.cat(column) for column in zip(*parts, strict=True)], per_sample


def one_by_one(update: Any, batch: lw.Batch) -> list[Tensor]:
    parameters = list(trained(update).values())
    rows = []
    for row in range(len(batch)):
        loss = update.losses(batch.rows(slice(row, row + 1)))
        rows.append(torch.autograd.grad(loss, parameters))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("model", "data"), CASES, ids=lambda case: case.__name__)
def test_each_samples_gradient_is_autograds_of_that_sample_alone(model: type[nn.Module], data: Any):
    torch.manual_seed(0)
    update, batch = Supervised(model().double()), data()
    expected = one_by_one(update, batch)
    for at_once in (100, 3):
        found, per_sample = by_plugin(update, batch, at_once)
        assert bool(per_sample.why) == (model is Recurrent), per_sample.why  # the others go through it together
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("model", "data"), CASES[:2], ids=lambda case: case.__name__)
def test_they_are_those_of_opacus_where_it_has_the_layers(model: type[nn.Module], data: Any):
    with warnings.catch_warnings(action="ignore"):
        from opacus import GradSampleModule
    torch.manual_seed(0)
    update, batch = Supervised(model().double()), data()
    found, _ = by_plugin(update, batch)
    with warnings.catch_warnings(action="ignore"):
        theirs = GradSampleModule(update.model, loss_reduction="mean")
        functional.cross_entropy(theirs(*batch.inputs), batch.targets).backward()
    for ours, parameter in zip(found, update.model.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad_sample, rtol=1e-10, atol=1e-12)


@dataclass(frozen=True)
class Counted(lw.Batch):
    """A batch whose loss divides by a number that the host knows, so that it has its own way of cutting."""

    words: int

    def rows(self, some: slice) -> Counted:
        inputs = tuple(value[some] for value in self.inputs)
        return Counted(inputs, self.targets[some], int(inputs[1].sum()))


class ByWord(Supervised):
    def losses(self, batch: Counted) -> dict[str, Tensor]:
        logits_BC = self.model(*batch.inputs)
        each = functional.cross_entropy(logits_BC, batch.targets, reduction="sum") / batch.words
        return {"words": each, "size": 0.1 * logits_BC.square().mean()}

    def whole(self, batch: Counted) -> Tensor:
        return torch.stack(tuple(self.losses(batch).values())).sum()


def test_a_batch_that_counts_something_is_cut_by_its_own_rows():
    torch.manual_seed(0)
    update, plain = ByWord(Attentive().double()), texts()
    batch = Counted(plain.inputs, plain.targets, int(plain.inputs[1].sum()))
    found, per_sample = by_plugin(update, batch)
    assert not per_sample.why
    for row in range(SAMPLES):
        whole = update.whole(batch.rows(slice(row, row + 1)))
        for ours, theirs in zip(found, torch.autograd.grad(whole, update.parameters), strict=True):
            torch.testing.assert_close(ours[row], theirs, rtol=1e-10, atol=1e-12)
    losses = next(iter(PerSample()(update, batch, 100)))[2]
    assert losses.keys() == {"train", "train/words", "train/size"}
    assert torch.allclose(losses["train"], losses["train/words"] + losses["train/size"])


def test_frozen_parameters_have_none():
    model = Perceptron().double()
    model[1].weight.requires_grad_(False)
    found, _ = by_plugin(Supervised(model), pictures())
    assert [tuple(gradient.shape[1:]) for gradient in found] == [(10,), (4, 10), (4,)]
