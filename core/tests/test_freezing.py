"""Frozen groups, unfreezing and layer-wise decay: what torch.optim does without those parameters, and nothing moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import toys
from labwright.builtin.optimizers import SGD
from labwright.interfaces.optimizer import Group, grouped, layer_factors
from labwright.runs.resume import resume
from labwright.train.freezing import Freezing
from labwright_testing.verify_resume import verify_resume
from parts import Net
from torch import Tensor, nn

STEP = {"steps": 12, "batch_size": 15, "save_every": "1 step", "evaluate_every": "6 steps", "keep": 99}
OPTIMIZERS = ["sgd", "adamw", "torch/RAdam"]


def experiment(groups: dict[str, Any] | None = None, **changed: Any) -> lw.Experiment:
    name, optimizer = changed.pop("name", "adamw"), changed.pop("optimizer", {})
    settings = {"name": name, "lr": 0.01, **optimizer} | ({} if groups is None else {"groups": groups})
    parts: dict[str, Any] = {
        "task": {"name": "sorting", "data": "toys/blobs"},
        "model": "toys/net",
        "loss": "cross-entropy",
        "train": STEP,
    }
    return lw.Experiment(**parts | changed, optimizer=settings, log=(), plugins=toys())


class Dropped(Net):
    """The net with dropout in its body too."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__(inputs, outputs, width=width, dropout=dropout)
        self.body.append(nn.Dropout(0.5))


class Coded(Net):
    """The net with a parameter that its author never trains."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__(inputs, outputs, width=width, dropout=dropout)
        self.body.register_parameter("codes", nn.Parameter(torch.ones(width), requires_grad=False))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_parameters_stand_still_with_their_buffers_and_have_no_state(name: str, tmp_path: Path) -> None:
    frozen = experiment({"body.*": {"frozen": True}}, name=name)
    before = {key: tensor.clone() for key, tensor in frozen.build().model.state_dict().items()}
    trainer = frozen.trainer(tmp_path / "run")
    trainer.fit()
    after = trainer.model.state_dict()
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert moved == {"head.weight", "head.bias"}
    # running mean, variance and count of BatchNorm among those that are bit-equal
    assert {"body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"} <= after.keys() - moved
    assert trainer.phase_steps[0].optimizer.state_dict().keys() <= {"head.weight", "head.bias"}
    assert all(parameter.grad is None for parameter in trainer.model.body.parameters())  # type: ignore[union-attr]


def test_a_frozen_run_is_that_of_torch_without_those_parameters(tmp_path: Path) -> None:
    model: dict[str, Any] = {"name": "toys/net", "dropout": 0.0}
    frozen = experiment({"body.*": {"frozen": True}}, model=model)
    trainer = frozen.trainer(tmp_path / "run")
    built = frozen.build()
    theirs = built.model
    theirs.requires_grad_(True)
    theirs.body.eval()  # type: ignore[union-attr]
    reference = torch.optim.AdamW(theirs.head.parameters(), lr=0.01, weight_decay=0.01)  # type: ignore[union-attr]
    for batch in trainer.batches():
        trainer.step(batch)
        reference.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(theirs(*batch.inputs), batch.targets))
        reference.step()
    for name, tensor in trainer.model.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-6, atol=1e-7)


def test_a_module_stands_still_if_all_in_it_is_frozen_also_between_evaluations() -> None:
    modes = {}
    for groups, model in (({"body.*": {"frozen": True}}, Dropped), ({"body.1.weight": {"frozen": True}}, Dropped)):
        built = experiment(groups, model=model).build()
        built.evaluate("valid", size=50, seed=0)
        modes[next(iter(groups))] = {name for name, module in built.model.named_modules() if not module.training}
    assert modes == {"body.*": {"body", "body.0", "body.1", "body.2", "body.3"}, "body.1.weight": set()}


def test_what_the_author_froze_stays_frozen_whatever_a_group_unfreezes(tmp_path: Path) -> None:
    trainer = experiment({"body.*": {"unfreeze": "3 steps"}}, model=Coded).trainer(tmp_path / "run")
    assert not trainer.model.get_submodule("body.1").training
    trainer.fit()
    free = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert free == {"body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.weight", "head.bias"}
    assert torch.equal(trainer.model.get_parameter("body.codes"), torch.ones(16))


# ------------------------------------------------------------------------------------------------------- unfreezing


class _Watch:
    """Which parameters moved in each step, and which modules were in training mode."""

    def __init__(self) -> None:
        self.moved: dict[int, set[str]] = {}
        self.training: dict[int, bool] = {}

    @lw.hookimpl
    def labwright_run_started(self, run: lw.Run) -> None:
        self.before = {name: one.detach().clone() for name, one in run.model.named_parameters()}

    @lw.hookimpl
    def labwright_step_ended(self, run: lw.Run, step: int) -> None:
        now = {name: one.detach().clone() for name, one in run.model.named_parameters()}
        self.moved[step] = {name.split(".")[0] for name in now if not torch.equal(now[name], self.before[name])}
        self.training[step], self.before = run.model.get_submodule("body.1").training, now


@pytest.mark.parametrize(("unfreeze", "first"), [("5 steps", 6), ("1 epoch", 7)])
def test_what_is_unfrozen_learns_from_that_step_on(unfreeze: str, first: int, tmp_path: Path) -> None:
    watch = _Watch()
    experiment({"body.*": {"unfreeze": unfreeze}}).run(tmp_path / "run", listeners=[watch])
    assert watch.moved == {step: {"head"} if step < first else {"head", "body"} for step in range(1, 13)}
    assert watch.training == {step: step >= first for step in range(1, 13)}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "adamw" else pytest.mark.long) for name in OPTIMIZERS]
)
def test_resuming_before_at_and_after_the_unfreezing_is_exact(name: str, tmp_path: Path) -> None:
    gradual = experiment({"body.0.*": {"unfreeze": "5 steps"}, "body.1.*": {"unfreeze": "3 steps"}}, name=name)
    whole = gradual.run(tmp_path / "whole").model.state_dict()
    for stopped in (2, 3, 5, 6):
        gradual.trainer(tmp_path / f"cut-{stopped}").fit(until=stopped)
        trainer, notes = resume(tmp_path / f"cut-{stopped}", toys())
        assert notes == []
        trainer.fit()
        ended = trainer.model.state_dict()
        assert [key for key, tensor in whole.items() if not torch.equal(tensor, ended[key])] == []
    verdict = verify_resume(gradual, 5)
    assert verdict.exact and verdict.stopped_at == 5


def test_averages_clipping_and_accumulation_go_with_it(tmp_path: Path) -> None:
    train = STEP | {"ema": 0.9, "clip": 0.5, "batch_size": 30}
    model = {"name": "toys/net", "dropout": 0.0}
    gradual = experiment({"body.*": {"unfreeze": "2 steps"}}, train=train, device={"accumulate": 2}, model=model)
    assert verify_resume(gradual, 2).exact
    frozen = experiment({"body.*": {"frozen": True}}, train=train)
    run = frozen.run(tmp_path / "run")
    before = frozen.build().model
    assert torch.equal(run.model.get_parameter("body.0.weight"), before.get_parameter("body.0.weight"))


def test_on_resuming_the_recipe_says_what_is_frozen(tmp_path: Path) -> None:
    experiment({"body.*": {"frozen": True}}).trainer(tmp_path / "run").fit(until=3)
    trainer, notes = resume(tmp_path / "run", toys(), ["optimizer.groups="])
    assert any("optimizer.groups" in note for note in notes)
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())
    assert all(module.training for module in trainer.model.modules())
    assert trainer.lock is not None
    trainer.lock.release()
    trainer, _ = resume(tmp_path / "run", toys(), ['optimizer.groups={"body.*" = {unfreeze = "2 steps"}}'])
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


# ------------------------------------------------------------------------------------------------ layer-wise decay

BERT = [
    "network.embeddings.word.weight", "network.embeddings.norm.weight",
    *(f"network.encoder.layer.{layer}.{part}" for layer in range(12) for part in ("attention.weight", "mlp.0.weight")),
    "network.pooler.weight", "head.weight", "head.bias",
]  # fmt: skip


def test_layer_decay_is_electras_closed_form() -> None:
    # google-research/electra, model/optimization.py: embeddings decay**(n + 1), layer i decay**(n - i), the head 1
    factors = layer_factors(BERT, 0.8)
    assert factors["network.embeddings.word.weight"] == factors["network.embeddings.norm.weight"] == 0.8**13
    for layer in range(12):
        assert factors[f"network.encoder.layer.{layer}.attention.weight"] == 0.8 ** (12 - layer)
        assert factors[f"network.encoder.layer.{layer}.mlp.0.weight"] == 0.8 ** (12 - layer)
    assert factors["network.pooler.weight"] == factors["head.bias"] == 1.0


def test_layers_are_told_by_the_first_number_and_what_stands_between_is_one_layer() -> None:
    names = [
        "stem.weight",
        "layer1.0.conv.weight",
        "layer1.1.conv.weight",
        "down.weight",
        "layer2.0.conv.weight",
        "fc.bias",
    ]
    assert layer_factors(names, 0.5) == dict(zip(names, [0.5**n for n in (5, 4, 3, 2, 1, 0)], strict=True))
    assert layer_factors(["0.weight", "0.bias", "2.weight"], 0.1) == {"0.weight": 0.1, "0.bias": 0.1, "2.weight": 1.0}


def test_layer_decay_and_a_groups_factor_multiply() -> None:
    names = ["body.0.weight", "body.1.weight", "head.weight"]
    groups = {"head.*": Group(lr_factor=10.0), "body.0.*": Group(weight_decay=0.0)}
    assert grouped(names, groups, 0.1, 0.5) == [
        (["body.0.weight"], 0.25, 0.0),
        (["body.1.weight"], 0.5, 0.1),
        (["head.weight"], 10.0, 0.1),
    ]


@pytest.mark.parametrize("name", ["sgd", "torch/SGD"])
def test_a_step_of_sgd_moves_each_layer_by_its_factor(name: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    parameters = dict(model.named_parameters())
    target = lw.Experiment(
        task={"name": "sorting", "data": "toys/blobs"}, model="toys/net", loss="cross-entropy",
        optimizer={"name": name, "lr": 0.5, "layer_decay": 0.1}, train={"steps": 1}, plugins=toys(),
    ).optimizers["train"]  # fmt: skip
    optimizer = target.build(parameters=parameters)
    before = {key: one.detach().clone() for key, one in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.5)
    for key, parameter in parameters.items():
        moved: Tensor = before[key] - parameter.detach()
        torch.testing.assert_close(moved, torch.full_like(moved, 0.5 * 0.1 ** (2 - int(key[0]))))


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("groups", "optimizer", "pattern"),
    [
        ({"*": {"frozen": True}}, {}, r"phase 'train' has nothing to train: all its 6 parameters are frozen, by opt"),
        ({"*": {"unfreeze": "1 epoch"}}, {}, r"phase 'train' has nothing to train"),
        ({"bdoy.0.bias": {"frozen": True}}, {}, r"no parameter matches 'bdoy.0.bias'; did you mean 'body.0.bias'\?"),
        ({"body.*": {"frozen": "yes"}}, {}, r"groups\.\"body\.\*\"\.frozen: given 'yes'; it should be true or false"),
        ({"body.*": {"unfreeze": 3}}, {}, r'unfreeze: given 3; it should be a number of steps or epochs, such as "500'),
        ({"body.*": {"unfreeze": "soon"}}, {}, r"unfreeze: given 'soon'; it should be a number of steps or epochs"),
        ({"body.*": {"unfreeze": "3 epohcs"}}, {}, r"it should be .*; did you mean '3 epochs'\?"),
        ({"body.*": {"unfreeze": "10steps"}}, {}, r"it should be .*; did you mean '10 steps'\?"),
        ({"body.*": {"unfreeze": "0 steps"}}, {}, r"unfreeze: given '0 steps'"),
        ({"body.*": {"freeze": True}}, {}, r"there is no such field; did you mean 'frozen'\?|there is no such field"),
        (None, {"layer_decay": 0.0}, r"optimizer\.layer_decay: given 0\.0; it should be greater than 0"),
        (None, {"layer_decay": 1.5}, r"optimizer\.layer_decay: given 1\.5; it should be less than or equal to 1"),
    ],
)  # fmt: skip
def test_slips_are_answered(groups: Any, optimizer: dict[str, Any], pattern: str) -> None:
    with pytest.raises(lw.LabwrightError, match=pattern) as caught:
        experiment(groups, optimizer=optimizer).build()
    assert "\n" not in str(caught.value)


def test_layer_decay_needs_layers() -> None:
    with pytest.raises(lw.LabwrightError, match=r"optimizer\.layer_decay: no parameter's name has a number"):
        grouped(["head.weight", "head.bias"], {}, 0.0, 0.5)


def test_phases_that_disagree_about_a_parameter_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    parameters = dict(model.named_parameters())
    optimizers = {"first": SGD(parameters, groups={"0.*": Group(frozen=True)}), "second": SGD(parameters)}
    with pytest.raises(lw.LabwrightError, match=r"phase 'second' trains '0\.weight' with another phase, and only one"):
        Freezing(model, optimizers)
