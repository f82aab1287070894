"""Random recipes: a run is a function of its recipe, wherever it is cut, and however its work is divided.

`LABWRIGHT_RECIPES=60` tries that many instead of a few.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from labwright.base.seeding import generator
from parts import BlobsElsewhere, Duel, Hinge, Net, Pair, Points, Sorting
from safetensors.torch import save_file
from torch import Tensor, nn

SIZE, BATCH = 53, 12  # an epoch has 5 steps, the last of 5 samples: with 3 micro-batches of 4, of 2 and 3
EXAMPLES = int(os.environ.get("LABWRIGHT_RECIPES", "3"))


class Doubles(BlobsElsewhere):
    """Points in double precision, augmented, and fetched by loader workers if there are any."""

    def __init__(self) -> None:
        super().__init__(size=SIZE, noise=0.5, held_out=20)

    def prepare(self) -> None:
        super().prepare()
        for split in self.splits.values():
            split.x_ND = split.x_ND.to(torch.get_default_dtype())


class Lengthy(Points):
    """Points that are said to be of some length each."""

    @property
    def lengths(self) -> Tensor:
        return (torch.arange(len(self)) * 7) % 11


class Ragged(Doubles):
    """The same, in batches of like length."""

    def prepare(self) -> None:
        super().prepare()
        self.splits = {name: Lengthy(part.x_ND, part.y_N, part.noise) for name, part in self.splits.items()}


class InParts(Sorting):
    """A loss of two parts, and metrics that a recipe chooses, of what `evaluate` gives by name."""

    def __init__(
        self,
        data: Annotated[lw.Data, lw.Part("data")],
        *,
        metrics: list[Annotated[Any, lw.Part("metric")]] | None = None,
    ) -> None:
        super().__init__(data)
        self.chosen = metrics or []

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        logits = model(*batch.inputs)
        return {"class": criterion(logits, batch.targets), "size": 0.1 * logits.square().mean()}

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> dict[str, Tensor]:
        return {"logits": model(*batch.inputs), "labels": batch.targets}

    def metrics(self) -> dict[str, lw.Metric]:
        chosen = {f"chosen/{number}": made() for number, made in enumerate(self.chosen)}
        return {
            "accuracy": lw.Of(lw.Accuracy(), "logits", "labels"),
            **{name: lw.Of(metric, "logits", "labels", splits=["test"]) for name, metric in chosen.items()},
        }


class Carried(lw.Method):
    """Half of the gradient before is added to each, which is a state of the method's own."""

    def __init__(self) -> None:
        self.before: dict[str, Tensor] = {}

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        for number, parameter in enumerate(update.parameters):
            if parameter.grad is not None:
                key, fresh = f"{update.name}/{number}", parameter.grad.clone()
                parameter.grad += self.before.get(key, torch.zeros_like(fresh)) / 2
                self.before[key] = fresh
        return losses

    def state(self) -> dict[str, Tensor]:
        return dict(self.before)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.before = dict(state)


GROUPS: list[dict[str, Any]] = [
    {},
    {"groups": {"*.0.weight": {"frozen": True}}},
    {"groups": {"*.0.*": {"unfreeze": "4 steps"}}},
    {"groups": {"*.0.*": {"unfreeze": "1 epoch", "lr_factor": 0.5}, "*.bias": {"weight_decay": 0.0}}},
]
STARTS: list[dict[str, str] | None] = [None, {"*": "*"}, {"*.0.weight": "*.0.weight"}]


class Plain(nn.Module):
    """Neither BatchNorm nor dropout."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs.shape[0], 8), nn.Tanh(), nn.Linear(8, len(outputs.names)))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD)


class PlainPair(Pair):
    def __init__(self, inputs: lw.Features) -> None:
        super().__init__(inputs)
        self.critic = nn.Sequential(nn.Linear(inputs.shape[0], 8), nn.Tanh(), nn.Linear(8, 1))


class ByLength(Sorting):
    """Batches of points that lie alike, as buckets by length."""

    def order(self, split: str, part: Any, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        if split != "train":
            return super().order(split, part, size=size, seed=seed, epoch=epoch)
        batches = torch.split(part.x_ND[:, 0].argsort(stable=True), size)
        mixed = torch.randperm(len(batches), generator=generator(seed, epoch, 7)).tolist()
        return [batches[number] for number in mixed]


@st.composite
def recipes(draw: st.DrawFn, *, exact: bool = False) -> dict[str, Any]:
    """Parts and settings of an experiment; `exact`: nothing that makes micro-batches differ from their whole."""
    two_phases = draw(st.booleans())
    optimizer: dict[str, Any] = {"name": draw(st.sampled_from(["sgd", "adam", "adamw", "torch/RMSprop"])), "lr": 0.01}
    optimizer["schedule"] = draw(st.sampled_from(["constant", "cosine", "one-cycle"]))
    optimizer["warmup"] = draw(st.sampled_from([0.0, 0.3]))
    optimizer |= draw(st.sampled_from(GROUPS)) | draw(st.sampled_from([{}, {"layer_decay": 0.7}]))
    train: dict[str, Any] = {"batch_size": BATCH, "seed": draw(st.integers(0, 1000)), "keep": 3}
    train |= draw(st.sampled_from([{"epochs": 3}, {"steps": 13}, {"steps": 8}]))
    train["evaluate_every"] = draw(st.sampled_from(["1 epoch", "3 steps", "4 steps"]))
    train["save_every"] = draw(st.sampled_from(["1 epoch", "2 steps"]))
    train["final"] = draw(st.sampled_from(["last", "best"]))
    train["drop_last"] = draw(st.booleans())
    train["log_every"] = draw(st.sampled_from([1, 4, 50]))
    train |= draw(st.sampled_from([{}, {"clip": 0.5}]))
    train |= draw(st.sampled_from([{}, {"ema": 0.9}]))
    precision = "fp32" if exact else draw(st.sampled_from(["fp32", "bf16"]))
    device = {"name": "cpu", "accumulate": draw(st.sampled_from([1, 2, 3])), "precision": precision, "threads": 1}
    model: Any = (PlainPair if two_phases else Plain) if exact or draw(st.booleans()) else Pair if two_phases else Net
    sorting = [{"name": Sorting}, {"name": ByLength}, {"name": InParts, "metrics": ["accuracy", "log-loss"]}]
    return {
        "task": {"name": Duel} if two_phases else draw(st.sampled_from(sorting)),
        "data": draw(st.sampled_from([Doubles, Ragged])),
        "start": draw(st.sampled_from(STARTS)),
        "method": draw(st.sampled_from(["descent", Carried])),
        "model": model,
        "loss": Hinge() if two_phases else "cross-entropy",
        "optimizer": optimizer,
        "device": device,
        "train": train,
        "stop": draw(st.sampled_from([[], [{"name": "early", "patience": 2}]])),
        "log": [],
    }


def experiment(recipe: Mapping[str, Any], scratch: Path | None = None, **device: Any) -> lw.Experiment:
    """An experiment of a recipe; what it starts from lies in `scratch`."""
    parts = {key: value for key, value in recipe.items() if key not in ("data", "start")}
    parts |= {"task": {**recipe["task"], "data": recipe["data"]}, "device": {**recipe["device"], **device}}
    if scratch is not None and recipe["start"]:
        file = scratch / "other.safetensors"
        if not file.exists():
            other = lw.Experiment(**{**parts, "train": {**parts["train"], "seed": 1001}}).build().model
            save_file(other.state_dict(), file)
        parts["start"] = {"run": file, "take": recipe["start"]}
    return lw.Experiment(**parts)


class Kept:
    def __init__(self) -> None:
        self.losses: dict[int, dict[str, float]] = {}

    @lw.hookimpl
    def labwright_step_ended(self, step: int, losses: Mapping[str, Tensor]) -> None:
        self.losses[step] = {phase: float(loss) for phase, loss in losses.items()}


def trained(folder: Path, recipe: Mapping[str, Any], cut: int | None = None, **device: Any) -> tuple[Any, ...]:
    """Losses, metrics, status and weights of a run, which may be cut after a step and resumed."""
    kept, scratch = Kept(), folder.parent
    if cut is None:
        trainer = experiment(recipe, scratch, **device).trainer(folder, listeners=[kept])
    else:
        experiment(recipe, scratch, **device).trainer(folder, listeners=[kept]).fit(until=cut)
        trainer, _ = experiment(recipe, scratch, **device).resumed(folder, listeners=[kept])
    outcome = trainer.fit()
    return kept.losses, outcome.metrics, outcome.status, trainer.model.state_dict()


def same(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    assert left[:3] == right[:3]
    for name, tensor in left[3].items():
        assert torch.equal(tensor, right[3][name]), name


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 20,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@often
@given(recipe=recipes(), cut=st.integers(1, 12), workers=st.just(1))
@pytest.mark.long
def test_a_run_is_the_same_bits_again_cut_anywhere_and_with_workers(
    recipe: dict[str, Any], cut: int, workers: int
) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole = trained(folder / "whole", recipe)
        same(whole, trained(folder / "again", recipe))
        if cut < max(whole[0]):  # an early stop may have come before
            note(f"cut after step {cut} of {max(whole[0])}")
            same(whole, trained(folder / "cut", recipe, cut))
        same(whole, trained(folder / "workers", recipe, workers=workers))


@often
@given(recipe=recipes(exact=True), accumulate=st.sampled_from([2, 3, 4, 6]))
@pytest.mark.usefixtures("float64")
def test_accumulating_otherwise_differs_in_the_last_digits_at_most(recipe: dict[str, Any], accumulate: int) -> None:
    recipe = recipe | {"stop": []}  # a metric's last digit may decide when an early stop comes
    with TemporaryDirectory() as scratch:
        whole = trained(Path(scratch) / "whole", recipe, accumulate=1)
        cut = trained(Path(scratch) / "cut", recipe, accumulate=accumulate)
        assert max(whole[0]) == max(cut[0])
        for step, losses in whole[0].items():
            assert losses == pytest.approx(cut[0][step], rel=1e-12, abs=1e-12)
        for name, tensor in whole[3].items():
            assert float((tensor - cut[3][name]).abs().max()) < 1e-12


@often
@given(recipe=recipes())
def test_what_accumulating_changes_is_said_and_nothing_else_is(recipe: dict[str, Any]) -> None:
    with TemporaryDirectory() as scratch:
        trainer = experiment(recipe).trainer(Path(scratch) / "run")
    inexact = recipe["model"] in (Net, Pair) or recipe["device"]["precision"] != "fp32"
    notes = [note for note in trainer.run.notes if "emulates" not in note]  # of a processor without bf16
    assert bool(notes) == (inexact and recipe["device"]["accumulate"] > 1)
