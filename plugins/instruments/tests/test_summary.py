"""Layers, operations and memory against what a reader with a pencil finds."""

from __future__ import annotations

import json
from typing import Any

import labwright as lw
import pytest
import torch
from instrument_lines import Perceptron, Said, said  # noqa: F401 - a fixture
from labwright_instruments.layers import Passed, passed
from labwright_instruments.parts_of_memory import Parts, parts_of_memory
from labwright_instruments.workbench import first_cut, workbench
from parts import Blobs, Sorting, duel, sorting
from torch import Tensor, nn

WEIGHTS = 4 * 8 + 8 + 8 * 3 + 3  # of the perceptron
POPULARITY = ("model=recsys/popularity", "loss=", "optimizer=", "train.epochs=", "train.steps=")
FLOAT, LONG, BATCH = 4, 8, 15  # bytes, bytes, samples


def measured(experiment: lw.Experiment) -> tuple[Passed, Parts]:
    with workbench(experiment) as trainer:
        batches, shares = first_cut(trainer)
        return passed(trainer, batches), parts_of_memory(trainer, batches, shares)


def test_a_perceptron_is_what_a_pencil_finds():
    through, parts = measured(sorting(model=Perceptron))
    layers = {layer.name: layer for layer in through.layers}
    assert through.flops == 2 * BATCH * (4 * 8 + 8 * 3)  # a multiplication and an addition for each weight and sample
    assert layers["first"].flops == 2 * BATCH * 4 * 8
    assert {name: layer.output for name, layer in layers.items()} == {
        "": "15x3",
        "first": "15x8",
        "relu": "15x8",
        "head": "15x3",
    }
    assert (layers[""].parameters, layers["head"].parameters, layers[""].frozen) == (WEIGHTS, 8 * 3 + 3, 0)
    assert through.uncounted == ()
    assert (parts.weights, parts.gradients, parts.averages) == (WEIGHTS * FLOAT, WEIGHTS * FLOAT, 0)
    assert parts.optimizer == 2 * WEIGHTS * FLOAT  # AdamW's two means
    assert parts.batch == BATCH * (4 * FLOAT + LONG)
    # the rectifier's output, which the head needs as well; log-probabilities; the sum of the classes' weights
    assert parts.activations == BATCH * 8 * FLOAT + BATCH * 3 * FLOAT + FLOAT
    assert parts.together == sum((parts.weights, parts.gradients, parts.optimizer, parts.batch, parts.activations))


class Convolved(nn.Module):
    """A convolution over the four features as a picture of 2x2, padded by one, so that 3x3 come out."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 5, 2, padding=1)
        self.head = nn.Linear(5 * 9, 3)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.convolution(x_BD.view(-1, 1, 2, 2)).flatten(1))


def test_a_convolution_is_what_a_pencil_finds():
    through, _ = measured(sorting(model=Convolved))
    layer = next(layer for layer in through.layers if layer.name == "convolution")
    assert layer.flops == 2 * BATCH * (3 * 3) * 5 * (2 * 2)
    assert layer.output == "15x5x3x3"
    assert layer.parameters == 5 * 2 * 2 + 5


def test_what_is_frozen_has_neither_gradient_nor_state_and_averages_are_a_copy():
    groups = {"first.*": {"frozen": True}}
    experiment = sorting(
        model=Perceptron,
        optimizer={"name": "sgd", "momentum": 0.9, "groups": groups},
        train={"epochs": 1, "batch_size": BATCH, "ema": 0.9},
    )
    through, parts = measured(experiment)
    free = 8 * 3 + 3
    assert next(layer.frozen for layer in through.layers if not layer.name) == WEIGHTS - free
    assert (parts.gradients, parts.optimizer) == (free * FLOAT, free * FLOAT)  # one momentum for each
    assert parts.averages == WEIGHTS * FLOAT


def test_of_micro_batches_one_is_kept_at_a_time_and_all_are_computed():
    train = {"epochs": 1, "batch_size": BATCH}
    through, parts = measured(sorting(model=Perceptron, train=train, device={"name": "cpu", "accumulate": 3}))
    assert through.flops == 2 * BATCH * (4 * 8 + 8 * 3)
    assert parts.activations == 5 * 8 * FLOAT + 5 * 3 * FLOAT + FLOAT
    assert parts.batch == BATCH * (4 * FLOAT + LONG)  # cut from one, which stays whole


def test_of_several_phases_the_largest_counts():
    _, parts = measured(duel())
    generator, critic = 2 * 16 + 16 + 16 * 4 + 4, 4 * 16 + 16 + 16 + 1
    assert parts.weights == (generator + critic) * FLOAT
    assert parts.gradients == max(generator, critic) * FLOAT
    assert parts.optimizer == 2 * (generator + critic) * FLOAT


class Crossed(nn.Module):
    """A bilinear layer, whose operation the counter doesn't know."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.crossed = nn.Bilinear(4, 4, 3)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.crossed(x_BD, x_BD)


def test_a_layer_whose_operations_are_not_counted_is_named():
    through, _ = measured(sorting(model=Crossed))
    assert (through.flops, through.uncounted) == (0, ("crossed (Bilinear)",))


class Smooth(Sorting):
    """Sorting with a penalty on the gradient with respect to the inputs."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        x_BD = batch.inputs[0]
        slope_BD = torch.func.grad(lambda x_BD: model(x_BD).sum())(x_BD)
        return criterion(model(x_BD), batch.targets) + slope_BD.square().mean()


def test_where_activations_can_not_be_told_it_is_said():
    _, parts = measured(sorting(task=Smooth(Blobs()), model=Perceptron))
    assert parts.activations is None
    assert parts.json()["activations_bytes"] is None
    assert "torch.func" in parts.notes[0]


@pytest.mark.long
def test_the_verb_shows_a_recipe_and_a_run_and_leaves_nothing(said: Said, tmp_path: Any):  # noqa: F811
    code, out, _ = said("summary", "vision/digits-mlp", "device=cpu", "--json")
    told = json.loads(out)
    weights = 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10  # two hidden layers of 128
    assert (code, told["parameters"], told["batch_samples"]) == (0, weights, 64)
    assert told["flops"] == 2 * 64 * (64 * 128 + 128 * 128 + 128 * 10)
    assert list(tmp_path.iterdir()) == []
    assert said("run", "vision/digits-mlp", "train={steps=1}", "model.width=32", "log=[]", "--folder", "run")[0] == 0
    code, out, _ = said("summary", "run", "--depth", "1")
    assert code == 0
    assert "parameters: 3,466, all of them trained" in out  # 64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert "hidden (Sequential)" in out and "deeper ones are in the sums" in out


def test_a_model_in_closed_form_has_weights_alone(said: Said):  # noqa: F811
    code, out, _ = said("summary", "recsys/synthetic", *POPULARITY, "--json")
    assert code == 0
    assert json.loads(out)["weights_bytes"] > 0
