"""What can't be private, and slips: one message each, before there is a run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_privacy.differential import refusals
from labwright_tasks.multi import HeadBatch
from labwright_tasks.weights import WeightedBatch
from torch import Tensor, nn

PRIVATE = {"name": "privacy/dp-sgd", "noise": 1.0, "delta": 1e-6, "accountant": "rdp"}
DIGITS = "vision/digits-mlp"

TWICE = {"name": "joined", "sets": {"plain": "vision/digits", "turned": {"name": "vision/digits", "rotate": 15.0}}}

# a recipe, what is changed in it, and the message
SLIPS: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "neither epsilon nor noise": (DIGITS, {"method.noise": None}, r"takes epsilon or noise, and neither is given"),
    "both": (DIGITS, {"method.epsilon": 3.0}, r"takes epsilon or noise, and both is given"),
    "no noise": (DIGITS, {"method.noise": 0.0}, r"method\.noise: .*greater than 0"),
    "no epsilon": (
        DIGITS,
        {"method": {**PRIVATE, "noise": None, "epsilon": 0.0}},
        r"method\.epsilon: .*greater than 0",
    ),
    "no bound": (DIGITS, {"method.bound": 0.0}, r"method\.bound: .*greater than 0"),
    "a delta for one of them": (
        DIGITS,
        {"method.delta": 0.01},
        r"method\.delta: 0\.01 allows for as much as",
    ),
    "a misspelt setting": (DIGITS, {"method.epsilom": 1.0}, r"no setting 'epsilom'; did you mean 'epsilon'"),
    "an accountant there isn't": (DIGITS, {"method.accountant": "gdp"}, r"method\.accountant: .*'prv' or 'rdp'"),
    "users of pictures": (DIGITS, {"method.unit": "user"}, r"method\.unit: Digits has no users: it offers Image"),
    "a secret elsewhere": (DIGITS, {"method.secret": "../mine"}, r"method\.secret: '\.\./mine'; letters, digits"),
    "the best weights": (DIGITS, {"train.final": "best"}, r'train\.final: "best" chooses the weights'),
    "early stopping": (DIGITS, {"stop": ["early"]}, r"stop: a rule that ends the run looks at metrics without noise"),
    "fp16": (DIGITS, {"device.precision": "fp16"}, r"device\.precision: fp16 scales gradients"),
    "compiled": (DIGITS, {"device.compile": True}, r"device\.compile: what is compiled can't be differentiated"),
    "accumulated": (DIGITS, {"device.accumulate": 2}, r"device\.accumulate: the number of samples of a step is drawn"),
    "balanced classes": (DIGITS, {"task.sampling": "balanced"}, r"Classification draws its samples by what they are"),
    "weights of classes": (
        DIGITS,
        {"loss": {"name": "cross-entropy", "weights": [2.0, *[1.0] * 9]}},
        r"loss: CrossEntropy weighs samples by their classes, and here each unit counts alike",
    ),
    "weights by how often there are classes": (
        DIGITS,
        {"loss": {"name": "penalized", "loss": {"name": "cross-entropy", "weights": "balanced"}, "l2": 0.1}},
        r"loss: CrossEntropy weighs each class by how many samples it has",
    ),
    "weights of a head's classes": (
        "vision/digits-heads",
        {"model.trunk": "vision/mlp", "task.losses": {"class": {"name": "cross-entropy", "weights": "balanced"}}},
        r"loss: CrossEntropy weighs each class by how many samples it has",
    ),
    "BatchNorm": (DIGITS, {"model": "vision/cnn"}, r"of model CNN is BatchNorm2d, which mixes the samples of a batch"),
    "a pair of networks": ("gan/ring", {}, r"has the phases 'critic' and 'generator'|has the phases "),
    "heads that not every sample has": (
        "vision/digits-heads",
        {"model.trunk": "vision/mlp", "loss.weights.ink": None, "task.data": TWICE, "method.delta": 1e-7},
        r"what the loss sees of a sample of .* depends on the others",
    ),
    "a graph of the samples": (
        "recsys/synthetic",
        {},
        r"model LightGCN keeps what its inputs say of the",
    ),
    "a closed form": (
        "recsys/synthetic",
        {"model": "recsys/popularity", "loss": None, "optimizer": None, "train": {}},
        r"model Popularity is computed from all of the data in closed form",
    ),
    "epsilon that no noise keeps to": (
        DIGITS,
        {"method": {**PRIVATE, "noise": None, "epsilon": 1e-7}},
        r"method\.epsilon: no noise keeps 1?[\d,]+ more steps",
    ),
}


@pytest.mark.parametrize("case", SLIPS)
def test_it_is_refused_with_the_reason(case: str, tmp_path: Path):
    recipe, changes, message = SLIPS[case]
    changes = {"method": PRIVATE, "train.final": "last", "device": "cpu", "log": [], **changes}
    changes["method"] = dict(changes["method"])
    with pytest.raises(lw.LabwrightError) as refused:
        lw.Experiment.from_recipe(recipe).varied(changes).run(tmp_path / "run")
    assert re.search(message, str(refused.value), re.DOTALL), refused.value
    assert not (tmp_path / "run").exists()


class Contrast(lw.Loss):
    separable = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.square().mean()


class Centred(lw.Loss):
    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits - self.centre).square().mean()


@pytest.mark.parametrize(
    ("loss", "message"),
    [(Contrast, "Contrast compares the samples of a batch"), (Centred, "Centred learns parameters of its own")],
)
def test_losses_that_mix_or_learn_are_refused(loss: type[lw.Loss], message: str):
    with pytest.raises(lw.LabwrightError, match=message):
        lw.Experiment.from_recipe(DIGITS).varied({"method": dict(PRIVATE), "loss": loss, "log": []}).build()


class Remembers(nn.Module):
    """It keeps a mean of what it has seen, under no name that could be known."""

    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(64))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        with torch.no_grad():
            self.seen += x_BCHW.flatten(1).detach().mean(0)
        return self.head(x_BCHW.flatten(1))


def test_a_buffer_that_takes_up_samples_is_found(tmp_path: Path):
    experiment = lw.Experiment.from_recipe(DIGITS).varied({"method": dict(PRIVATE), "model": Remembers, "log": []})
    with pytest.raises(lw.LabwrightError, match="changes its buffer 'seen', which takes up samples without noise"):
        experiment.run(tmp_path / "run")


class Mixing(lw.Task):
    """A task whose random part mixes each sample with another (mixup), and of which nothing else is asked."""

    loss = evaluate = metrics = lambda *_: None  # type: ignore[assignment]

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        (x_BF,) = batch.inputs
        return lw.Batch(((x_BF + x_BF[torch.randperm(len(x_BF), generator=generator)]) / 2,), batch.targets)


def test_samples_that_are_mixed_are_refused():
    rows = lw.TensorSplit((torch.randn(20, 3),), torch.zeros(20))
    batches = lw.IndexedBatches.in_order(rows, 5)
    with pytest.raises(lw.LabwrightError, match=r"of Mixing depends on the others in its batch \(inputs of Batch\)"):
        refusals.refuse_mixing(Mixing(), batches)


def test_in_the_terminal_it_is_one_message(labwright: Any, tmp_path: Path):
    said = labwright("run", DIGITS, "method=privacy/dp-sgd", "method.noise=1.0", "train.final=best")
    assert said.code == 2
    assert said.errors.count("error: ") == 1 and "Traceback" not in said.errors
    assert labwright("audit-privacy", "runs/nothing").code == 2
    assert labwright("run", DIGITS, "train.steps=2", "--folder", "plain").code == 0
    audited = labwright("audit-privacy", "plain")
    assert audited.code == 2 and "method: 'descent' claims no privacy" in audited.errors


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("find-lr",)])
def test_steps_that_are_taken_to_look_leave_no_secret(words: tuple[str, ...], labwright: Any, secrets: Path):
    verb, *options = words
    assert labwright(verb, "privacy/digits", "method.accountant=rdp", "train.epochs=3", *options).code == 0
    assert not [*secrets.iterdir()]


class Weighed(lw.Task):
    """A task whose samples are weighed, and of which nothing else is asked."""

    loss = evaluate = metrics = lambda *_: None  # type: ignore[assignment]

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        return WeightedBatch(batch.inputs, batch.targets, torch.ones(len(batch)))


class WeighedHeads(Weighed):
    """As `multi`, which puts weights elsewhere in its batches."""

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        return HeadBatch.of(super().draw(lw.Batch(batch.inputs, {"kind": batch.targets.long()}), generator))


class Dropping(Weighed):
    """A task whose draw leaves weights out: those of the data are found all the same."""

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        return lw.Batch(batch.inputs, batch.targets)


class WeighedRows(lw.TensorSplit):
    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        batch = super().fetch(indices, epoch, seed)
        return WeightedBatch(batch.inputs, batch.targets, torch.ones(len(batch)))


@pytest.mark.parametrize(
    ("task", "rows"), [(Weighed, lw.TensorSplit), (WeighedHeads, lw.TensorSplit), (Dropping, WeighedRows)]
)
def test_weights_of_samples_are_refused(task: type[lw.Task], rows: type[lw.TensorSplit]):
    batches = lw.IndexedBatches.in_order(rows((torch.randn(20, 3),), torch.zeros(20)), 5)
    with pytest.raises(lw.LabwrightError, match=r"task\.data\.weight: samples are weighed there"):
        refusals.refuse_mixing(task(), batches)
