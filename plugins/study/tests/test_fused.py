"""Fused trials: each equals its own serial run, in every form; what stops or fails leaves the others as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from fusing import Trials, check_equal
from labwright.base.errors import RunFailed
from labwright.base.search import Part, PerTrial
from labwright.config.signature import signature
from labwright.train.settings import Train
from labwright_study.fused import FORMS, CannotFuse, Form, fit_fused, fuse_key, why_not
from labwright_study.fused.fused_loop import FusedLoop, program_for
from labwright_study.fused.measuring import gain
from parts import Blobs, Duel, Hinge, Net, Pair, Sorting
from torch import Tensor, nn
from torch.nn import functional

Make = Callable[..., lw.Experiment]
PLATEAU = {"name": "reduce-on-plateau", "patience": 1, "min_delta": 0.9}  # nothing is that much better
FORM = pytest.mark.parametrize("form", FORMS)


class Dropped(nn.Module):
    """Declares its dropout, and uses it as a function."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: int = 16,
        dropout: Annotated[float, PerTrial()] = 0.3,
    ) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(inputs.shape[0], width), nn.Linear(width, len(outputs.names))
        self.share = dropout

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(functional.dropout(self.first(x_BD).relu(), self.share, self.training))


class HalfFrozen(Net):
    """Its first layer stays as it was drawn."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        next(self.children()).requires_grad_(False)


@pytest.fixture
def sorted_() -> Make:
    """Makes experiments over one task, so that objects are equal to themselves."""
    task = Sorting(Blobs(noise=0.3))

    def make(
        *,
        model: Any = None,
        optimizer: Mapping[str, Any] | None = None,
        loss: Any = "cross-entropy",
        train: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model=model or Net,
            loss=loss,
            optimizer={"name": "adamw", "lr": 0.01} | dict(optimizer or {}),
            train={"epochs": 3, "batch_size": 15} | dict(train or {}),
            **({"device": "cpu", "log": ()} | rest),
        )

    return make


@pytest.fixture
def duelling() -> Make:
    task, loss = Duel(Blobs(noise=0.2)), Hinge()

    def make(lr: float = 0.01, seed: int = 0, **optimizer: Any) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model=Pair,
            loss=loss,
            optimizer={"name": "adamw", "lr": lr, "generator": {"lr": lr / 2}} | optimizer,
            device="cpu",
            train={"steps": 14, "batch_size": 15, "seed": seed},
            log=(),
        )

    return make


# ------------------------------------------------------------------------------------------------ equal to serial


@FORM
def test_trials_that_differ_in_numbers_equal_their_serial_runs(sorted_: Make, tmp_path: Path, form: Form) -> None:
    changes = [
        {"optimizer": {"lr": 0.01, "weight_decay": 0.1, "betas": [0.8, 0.99]}, "train": {"clip": 0.5}},
        {"optimizer": {"lr": 0.05, "eps": 1e-6, "schedule": "cosine"}, "loss": {"name": "cross-entropy"}},
        {
            "optimizer": {"warmup": 0.2, "end": 0.1, "schedule": PLATEAU},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.2},
        },
    ]
    check_equal(sorted_, changes, tmp_path, form)


@FORM
def test_batches_that_weigh_nothing_are_0_in_every_trial(sorted_: Make, tmp_path: Path, form: Form) -> None:
    weighed = {"name": "cross-entropy", "weights": [0.0, 1.0, 0.0]}
    changes = [{"loss": weighed | {"label_smoothing": share}, "train": {"batch_size": 3}} for share in (0.0, 0.1)]
    result = check_equal(sorted_, changes, tmp_path, form)
    assert all(not isinstance(outcome, RunFailed) for outcome in result.outcomes)


@FORM
def test_trials_of_their_own_seeds_have_their_own_order_masks_and_first_weights(
    sorted_: Make, tmp_path: Path, form: Form
) -> None:
    check_equal(sorted_, [{"train": {"seed": seed}} for seed in (0, 1, 1)], tmp_path, form)


@FORM
def test_the_momentum_of_sgd_is_each_trials_own_and_may_be_none(sorted_: Make, tmp_path: Path, form: Form) -> None:
    sgd = {"name": "sgd", "lr": 0.1}
    changes = [{"optimizer": sgd | {"momentum": one}} for one in (0.0, 0.5, 0.9)]
    check_equal(sorted_, [*changes, {"optimizer": sgd | {"momentum": 0.9, "dampening": 0.5}}], tmp_path, form)


@FORM
def test_the_share_of_dropout_is_each_trials_own_and_may_be_0(sorted_: Make, tmp_path: Path, form: Form) -> None:
    changes = [
        {"model": {"name": Dropped, "dropout": share}, "train": {"seed": seed}}
        for share, seed in ((0.0, 0), (0.2, 0), (0.5, 0), (0.5, 1))
    ]
    check_equal(sorted_, changes, tmp_path, form)


def test_averaged_weights_are_each_trials_own(sorted_: Make, tmp_path: Path) -> None:
    train = {"ema": 0.9, "evaluate_every": "4 steps", "final": "best"}
    check_equal(sorted_, [{"optimizer": {"lr": lr}, "train": train} for lr in (0.01, 0.03)], tmp_path, "grouped")


@FORM
def test_two_phases_of_which_one_is_due_less_often(duelling: Make, tmp_path: Path, form: Form) -> None:
    check_equal(duelling, [{"lr": 0.01}, {"lr": 0.02, "seed": 3}, {"lr": 0.03}], tmp_path, form)


def test_an_optimizer_of_the_library_updates_each_trial_by_itself(sorted_: Make, tmp_path: Path) -> None:
    check_equal(sorted_, [{"optimizer": {"name": "torch/NAdam", "lr": 0.01}}] * 2, tmp_path, "grouped")


def test_trials_that_start_from_a_run_with_layers_of_their_own_rates_equal_serial_ones(
    sorted_: Make, tmp_path: Path
) -> None:
    start = str(sorted_(train={"seed": 8, "ema": 0.5}).run(tmp_path / "source").folder)
    optimizers = [{"lr": 0.02, "layer_decay": 0.3}, {"lr": 0.02, "layer_decay": 0.8}, {"lr": 0.01}]
    result = check_equal(sorted_, [{"start": start, "optimizer": one} for one in optimizers], tmp_path, "grouped")
    first, second, _ = [one.metrics["valid"] for one in result.outcomes if isinstance(one, lw.Outcome)]
    assert first != second


def test_a_penalty_on_the_weights_is_each_trials_own(sorted_: Make, tmp_path: Path) -> None:
    loss = {"name": "penalized", "loss": "cross-entropy", "l2": 0.01}
    check_equal(sorted_, [{"loss": loss, "optimizer": {"lr": lr}} for lr in (0.01, 0.02)], tmp_path, "grouped")


@FORM
def test_what_a_models_author_froze_stays_as_it_was_in_every_form(sorted_: Make, tmp_path: Path, form: Form) -> None:
    loss = {"name": "penalized", "loss": "cross-entropy", "l2": 0.01}
    changes = [{"model": HalfFrozen, "optimizer": {"lr": lr, "weight_decay": 0.1}, "loss": loss} for lr in (0.01, 0.02)]
    check_equal(sorted_, changes, tmp_path, form)


def test_a_fused_run_logs_and_saves_as_a_serial_one_does(sorted_: Make, tmp_path: Path) -> None:
    trainers = [sorted_(train={"seed": seed, "log_every": 5}).trainer(tmp_path / str(seed)) for seed in (0, 1)]
    outcomes = fit_fused(trainers).outcomes
    for trainer, outcome in zip(trainers, outcomes, strict=True):
        assert isinstance(outcome, lw.Outcome) and outcome.status == "finished" and "test" in outcome.metrics
        assert {"metrics.jsonl", "checkpoints", "outcome.json"} <= {path.name for path in trainer.run.folder.iterdir()}
        assert trainer.checkpoints.steps()


# ------------------------------------------------------------------------------------------------ leaving the program


@FORM
def test_a_trial_that_is_stopped_leaves_and_the_others_go_on_exactly(sorted_: Make, tmp_path: Path, form: Form) -> None:
    changes = [{"optimizer": {"lr": 0.01 * number}, "train": {"seed": number % 2}} for number in (1, 2, 3, 4)]
    result = check_equal(sorted_, changes, tmp_path, form, stops={0: 4, 2: 7})
    assert [one.status for one in result.outcomes if isinstance(one, lw.Outcome)] == [
        "stopped",
        "finished",
        "stopped",
        "finished",
    ]


def test_a_trial_that_diverges_fails_alone_and_the_others_are_the_same_to_the_last_bit(
    sorted_: Make, tmp_path: Path
) -> None:
    def weights(rates: tuple[float, ...], folder: Path) -> tuple[list[Any], list[dict[str, Tensor]]]:
        train = {"log_every": 5, "epochs": 2}
        experiments = [sorted_(optimizer={"name": "sgd", "lr": lr}, train=train) for lr in rates]
        trials = Trials(experiments, folder, experiments[0].prepared())
        return trials.fused("grouped").outcomes, [trainer.model.state_dict() for trainer in trials.trainers]

    outcomes, broken = weights((0.1, 1e300, 0.2), tmp_path / "broken")
    assert isinstance(outcomes[1], RunFailed) and "became nan" in str(outcomes[1])
    _, whole = weights((0.1, 0.15, 0.2), tmp_path / "whole")
    for number in (0, 2):
        assert isinstance(outcomes[number], lw.Outcome)
        for name, tensor in whole[number].items():
            assert torch.equal(broken[number][name], tensor)


def test_an_error_in_one_trials_listener_fails_that_trial(sorted_: Make, tmp_path: Path) -> None:
    class Breaks:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            if step == 3:
                raise ValueError("broken")

    first = sorted_().trainer(tmp_path / "0", listeners=[Breaks()])
    outcomes = fit_fused([first, sorted_(train={"seed": 1}).trainer(tmp_path / "1")]).outcomes
    assert isinstance(outcomes[0], RunFailed) and "broken" in str(outcomes[0])
    assert isinstance(outcomes[1], lw.Outcome) and outcomes[1].status == "finished"


# ------------------------------------------------------------------------------------------------- what can't be fused


class Undecided(nn.Module):
    """Looks at a value, which no transform allows."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.shape[0], len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        y: Tensor = self.head(x_BD)
        return -y if float(y.detach().sum()) > 1e9 else y


class Draws(nn.Module):
    """Draws noise of its own in training, uniform and normal."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.shape[0], len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        if self.training:
            x_BD = x_BD + torch.randn_like(x_BD) * torch.rand(len(x_BD), 1, dtype=x_BD.dtype)
        return self.head(x_BD)


class Permutes(Draws):
    """Draws what isn't known to be drawn."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD[torch.randperm(len(x_BD))] if self.training else x_BD)


@FORM
def test_noise_within_a_model_is_each_trials_own(sorted_: Make, tmp_path: Path, form: Form) -> None:
    check_equal(sorted_, [{"model": Draws, "train": {"seed": seed}} for seed in (0, 1, 1)], tmp_path, form)


@pytest.mark.parametrize(("model", "said"), [(Undecided, "vmap"), (Permutes, "random")])
def test_what_no_form_can_do_is_trained_one_after_another_and_the_reason_said(
    sorted_: Make, tmp_path: Path, model: type, said: str
) -> None:
    changes = [{"model": model, "optimizer": {"lr": lr}} for lr in (0.01, 0.02)]
    result = check_equal(sorted_, changes, tmp_path, "grouped", is_in_form=False)
    assert result.form is None and len(result.reasons) == len(FORMS) and said in result.reasons[0]


class Ragged(Blobs):
    """Batches whose fields differ from one to the next, as texts of other lengths do."""

    def split(self, name: str) -> Any:
        points = super().split(name)
        fetch = points.fetch

        def padded(indices: Tensor, epoch: int, seed: int) -> lw.Batch:
            batch = fetch(indices, epoch, seed)
            return lw.Batch((functional.pad(batch.inputs[0], (0, int(indices[0]) % 2)),), batch.targets)

        points.fetch = padded
        return points


class Narrow(Net):
    """Reads the first four features of however many there are."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD[:, :4])


def test_a_step_whose_batches_differ_in_shape_is_taken_one_after_another(tmp_path: Path) -> None:
    task = Sorting(Ragged(noise=0.3))

    def make(seed: int) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model=Narrow,
            loss="cross-entropy",
            optimizer="adamw",
            device="cpu",
            log=(),
            train={"epochs": 3, "batch_size": 15, "seed": seed},
        )

    check_equal(make, [{"seed": seed} for seed in range(3)], tmp_path, "grouped", is_in_form=False)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"device": {"name": "cpu", "compile": True}}, "device.compile"),
        ({"device": {"name": "cpu", "precision": "bf16"}}, "device.precision=bf16"),
        ({"device": {"name": "cpu", "accumulate": 3}}, "device.accumulate"),
        ({"optimizer": {"groups": {"body.*": {"frozen": True}}}}, "optimizer.groups: 'body.*' is frozen"),
        ({"optimizer": {"groups": {"body.*": {"unfreeze": "1 epoch"}}}}, "optimizer.groups: 'body.*' is frozen"),
    ],
)
def test_why_not_names_the_setting(sorted_: Make, changed: dict[str, Any], said: str) -> None:
    assert why_not(sorted_()) == ""
    assert said in why_not(sorted_(**changed))


# --------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"name": Net, "width": 8}},
        {"model": {"name": Net, "dropout": 0.1}},  # it isn't declared
        {"model": Dropped},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"amsgrad": True}},
        {"optimizer": {"groups": {"*bias": {"weight_decay": 0.0}}}},
        {"loss": {"name": "penalized", "loss": "cross-entropy", "l2": 0.1}},
        {"train": {"batch_size": 10}},
        {"train": {"epochs": 4}},
        {"train": {"ema": 0.9}},
        {"train": {"evaluate_every": "2 steps"}},
        {"train": {"final": "best"}},
        {"device": {"name": "cpu", "precision": "bf16"}},
        {"device": {"name": "cpu", "accumulate": 3}},
        {"start": "runs/first"},
    ],
)
def test_the_key_differs_where_a_structural_setting_does(sorted_: Make, changed: dict[str, Any]) -> None:
    assert fuse_key(sorted_(**changed)) != fuse_key(sorted_())


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": {"lr": 0.5, "weight_decay": 0.2, "betas": [0.5, 0.9], "eps": 1e-3, "warmup": 0.1}},
        {"optimizer": {"schedule": "one-cycle", "end": 0.5}},
        {"optimizer": {"schedule": PLATEAU}},
        {"optimizer": {"layer_decay": 0.5}},
        {"loss": {"name": "cross-entropy", "label_smoothing": 0.3}},
        {"train": {"seed": 9}},
        {"train": {"clip": 1.0}},
        {"log": ["progress"]},
    ],
)
def test_the_key_is_the_same_where_trials_may_differ(sorted_: Make, changed: dict[str, Any]) -> None:
    assert fuse_key(sorted_(**changed)) == fuse_key(sorted_())


def test_a_task_of_another_object_has_another_key(sorted_: Make) -> None:
    other = lw.Experiment(
        task=Sorting(Blobs(noise=0.3)),
        model=Net,
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 0.01},
        train={"epochs": 3, "batch_size": 15},
        device="cpu",
        log=(),
    )
    assert fuse_key(other) != fuse_key(sorted_())


def test_a_setting_is_structural_unless_it_is_declared() -> None:
    declared = {key for key, setting in signature(Train).settings.items() if setting.per_trial}
    assert declared == {"seed", "clip"}
    assert signature(Dropped).settings["dropout"].per_trial and not signature(Dropped).settings["width"].per_trial


# ---------------------------------------------------------------------------------------------------- layers, measure


class Own(nn.Module):
    """A layer of a plugin that knows how it goes over stacks."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(outputs.names), inputs.shape[0]) / 10)
        self.called = [0]

    def forward(self, x_BD: Tensor) -> Tensor:
        return x_BD @ self.weight.T

    def grouped(self, stacks: Mapping[str, Tensor], x_NBD: Tensor) -> Tensor:
        self.called[0] += 1
        return x_NBD @ stacks["weight"].transpose(1, 2)


def test_a_layer_with_a_way_over_stacks_is_asked_for_it(sorted_: Make, tmp_path: Path) -> None:
    changes = [{"model": Own, "optimizer": {"lr": lr}} for lr in (0.01, 0.02)]
    check_equal(sorted_, changes, tmp_path, "grouped")
    trainers = [sorted_(**one).trainer(tmp_path / str(number)) for number, one in enumerate(changes)]
    program, _ = program_for(trainers, ["grouped"])
    assert program is not None
    shell: Any = program.rows.shell
    before = shell.called[0]
    FusedLoop(program).advance()
    assert shell.called[0] == before + 1


class Shifting(nn.Module):
    """A loss that a task holds, with a parameter or with a buffer that changes."""

    def __init__(self, *, learned: bool) -> None:
        super().__init__()
        self.learned = learned
        if learned:
            self.shift = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("shift", torch.zeros(()))

    def forward(self, logits_BC: Tensor) -> Tensor:
        if not self.learned:
            self.shift += 0.1
        return (logits_BC - self.shift).square().mean()


class WithShift(Sorting):
    def __init__(self, data: Annotated[lw.Data, Part("data")], *, beside: Annotated[Any, Part("loss")]) -> None:
        super().__init__(data)
        self.beside = beside

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        logits_BC = model(*batch.inputs)
        return criterion(logits_BC, batch.targets) + self.beside(logits_BC)


@pytest.mark.parametrize(
    ("learned", "reason"), [(True, "has parameters of its own"), (False, "changes buffers of its")]
)
def test_trials_whose_task_holds_a_loss_that_changes_are_not_fused(learned: bool, reason: str, tmp_path: Path) -> None:
    spec = lw.Experiment(
        task={"name": WithShift, "data": Blobs, "beside": {"name": Shifting, "learned": learned}},
        model=Net,
        loss="cross-entropy",
        optimizer="sgd",
        train={"steps": 2, "batch_size": 15},
        device={"name": "cpu"},
    )
    task = spec.prepared()
    trainers = [spec.trial(tmp_path / str(number), task) for number in range(2)]
    program, reasons = program_for(trainers, ("grouped",))
    assert program is None and len(reasons) == 1 and reason in reasons[0]


def test_the_gain_is_measured_in_the_first_form_that_can_be_taken(sorted_: Make, tmp_path: Path) -> None:
    trainers = [sorted_(train={"seed": seed}).trainer(tmp_path / str(seed)) for seed in range(8)]
    form, faster = gain(trainers)
    assert form == "grouped"
    assert faster > 0


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_a_step_or_two_is_no_trouble_to_measure(sorted_: Make, tmp_path: Path, steps: int) -> None:
    train = {"epochs": None, "steps": steps}
    trainers = [sorted_(train=train | {"seed": seed}).trainer(tmp_path / str(seed)) for seed in range(4)]
    if steps == 1:
        with pytest.raises(CannotFuse, match="a trial of a single step is over before it is measured"):
            gain(trainers)
    else:
        assert gain(trainers)[0] == "grouped"


def test_without_a_form_it_is_said_why_there_is_none(sorted_: Make, tmp_path: Path) -> None:
    class Looking(nn.Module):
        """It looks at values, which no transform can."""

        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__()
            self.line = nn.Linear(inputs.shape[0], len(outputs.names))

        def forward(self, x_BF: Tensor) -> Tensor:
            out: Tensor = self.line(x_BF)
            return out if float(out.detach().sum()) > 0 else -out

    trainers = [sorted_(model=Looking, train={"seed": seed}).trainer(tmp_path / str(seed)) for seed in range(4)]
    with pytest.raises(CannotFuse, match=r"grouped: .*; vmap: .*; vmap-grad: "):
        gain(trainers)
