"""Models and losses that aren't as simple as one would think: they train and resume, or one sentence says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.plugin.registry import Plugins
from labwright.runs.load import evaluated
from labwright.train.loss_log import LossLog
from parts import Blobs, BlobsElsewhere, Net, Sorting, sorting
from torch import Tensor, nn


def small(**train: Any) -> dict[str, Any]:
    return {"epochs": 2, "batch_size": 15} | train


class Lazy(nn.Module):
    """Finds its sizes in the first forward pass."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(len(outputs.names)))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD)


def test_lazy_layers_are_complete_before_training_and_in_everything_after_it(tmp_path: Path) -> None:
    plugin = type("Own", (), {"labwright_components": staticmethod(_components)})
    recipe = {
        "task": {"name": "sorting", "data": "blobs"},
        "model": "lazy",
        "loss": "cross-entropy",
        "optimizer": "adamw",
        "device": {"name": "cpu"},
        "train": small(ema=0.9),
        "log": [],
    }
    plugins = Plugins.discover().extended([plugin()])
    experiment = lw.Experiment.from_table(recipe, plugins=plugins)
    whole = experiment.run(tmp_path / "whole")
    experiment.trainer(tmp_path / "cut").fit(until=5)
    resumed, _ = experiment.resumed(tmp_path / "cut")
    resumed.fit()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name])
    figures = evaluated(tmp_path / "whole", plugins, "test", "final")
    assert dict(getattr(figures, "metrics", figures)) == whole.metrics["test"]


@lw.hookimpl
def _components() -> Any:
    yield lw.Component("task", "sorting", "parts:Sorting", "classification as the tests need it")
    yield lw.Component("data", "blobs", "parts:Blobs", "three blobs")
    yield lw.Component("model", "lazy", f"{__name__}:Lazy", "lazy layers")


class Counts(nn.Linear):
    """Keeps a count beside its tensors."""

    calls = 0

    def forward(self, x_BD: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x_BD)

    def get_extra_state(self) -> Any:
        return {"calls": self.calls, "note": "ünïcode", "none": None, "list": [1, 2.5, True]}

    def set_extra_state(self, state: Any) -> None:
        self.calls = state["calls"]


def test_extra_state_that_json_can_hold_is_kept(tmp_path: Path) -> None:
    experiment = sorting(model=Counts(4, 3), train=small())
    whole = experiment.run(tmp_path / "whole")
    experiment.trainer(tmp_path / "cut").fit(until=5)
    resumed, _ = experiment.resumed(tmp_path / "cut")
    assert resumed.model.calls == 5
    resumed.fit()
    assert resumed.model.calls == whole.model.calls == 12


@pytest.mark.parametrize(
    "state", [{1, 2}, {1: "key"}, float("nan"), object()], ids=["a set", "a number as key", "nan", "an object"]
)
def test_extra_state_that_json_cannot_hold_is_refused_before_training(tmp_path: Path, state: Any) -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> Any:
            return state

        def set_extra_state(self, state: Any) -> None:
            pass

    with pytest.raises(lw.LabwrightError, match=r"'_extra_state' of Odd is a .* that JSON can't hold"):
        sorting(model=Odd(4, 3)).run(tmp_path / "run")


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_an_object_whose_weight_is_computed_is_copied_and_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    normalised = nn.utils.weight_norm(nn.Linear(4, 3))
    before = normalised.weight_v.clone()
    run = sorting(model=nn.Sequential(normalised), train=small(epochs=10)).run(tmp_path / "run")
    assert torch.equal(normalised.weight_v, before)
    assert run.metrics["test"]["accuracy"] > 0.9


def test_a_batch_of_one_under_batchnorm_is_told_before_there_is_a_folder(tmp_path: Path) -> None:
    one_left = sorting(Blobs(size=91), train=small())
    with pytest.raises(lw.LabwrightError, match=r"train.drop_last=true leaves that batch out"):
        one_left.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    ones = sorting(Blobs(size=92), train=small(), device={"name": "cpu", "accumulate": 15})
    with pytest.raises(lw.LabwrightError, match="only one, and BatchNorm has no statistics of one"):
        ones.run(tmp_path / "run")
    cut = sorting(Blobs(size=94), train=small(epochs=1), device={"name": "cpu", "accumulate": 5})
    assert cut.run(tmp_path / "cut").outcome.status == "finished"  # the last batch of 4 is cut in two of 2
    run = one_left.varied({"train.drop_last": True}).run(tmp_path / "dropped")
    assert (run.steps_per_epoch, run.outcome.step) == (6, 12)  # of 91 samples, 90 in batches of 15
    assert sorting(Blobs(size=91), model={"name": NoNorm}, train=small()).run(tmp_path / "none").steps_per_epoch == 7


class NoNorm(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs.shape[0], 8), nn.Linear(8, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.last(self.first(x_BD).relu())


class Frozen(NoNorm):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.first.requires_grad_(False)


class Unfreezes:
    def __init__(self, after: int) -> None:
        self.after = after

    @lw.hookimpl
    def labwright_step_ended(self, run: lw.Run, step: int) -> None:
        if step == self.after:
            run.model.first.requires_grad_(True)


@pytest.mark.parametrize("cut", [3, 8], ids=["before", "after"])
def test_what_is_unfrozen_during_a_run_is_trained_from_then_on_also_after_resuming(tmp_path: Path, cut: int) -> None:
    experiment = sorting(model=Frozen, train=small(ema=0.5))
    begin = experiment.build().model.first.weight.detach()
    frozen = experiment.run(tmp_path / "frozen")
    assert torch.equal(frozen.model.first.weight, begin)
    whole = experiment.run(tmp_path / "whole", listeners=[Unfreezes(5)])
    assert not torch.equal(whole.model.first.weight, begin)
    experiment.trainer(tmp_path / "cut", listeners=[Unfreezes(5)]).fit(until=cut)
    resumed, _ = experiment.resumed(tmp_path / "cut", listeners=[Unfreezes(5)])
    resumed.fit()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_a_model_that_is_frozen_altogether_is_refused() -> None:
    class All(Frozen):
        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__(inputs, outputs)
            self.requires_grad_(False)

    with pytest.raises(lw.LabwrightError, match="phase 'train' has nothing to train: all its 4 parameters are frozen"):
        sorting(model=All).build()


def test_a_buffer_may_hold_infinities_a_parameter_may_not(tmp_path: Path) -> None:
    class Masked(NoNorm):
        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__(inputs, outputs)
            self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))

    assert sorting(model=Masked, train=small()).run(tmp_path / "run").outcome.status == "finished"

    class Poisoned:
        @lw.hookimpl
        def labwright_step_ended(self, run: lw.Run, step: int) -> None:
            if step == 4:
                run.model.body[1].running_mean.fill_(torch.inf)

    with pytest.raises(lw.RunFailed, match=r"'body.1.running_mean' holds a value that is no finite number"):
        sorting(model=Net, train=small()).run(tmp_path / "poisoned", listeners=[Poisoned()])


class Tempered(lw.Loss):
    """Divides the logits by a temperature that is learned, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.log_t = nn.Parameter(torch.zeros(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(logits / self.log_t.exp(), labels)


def test_a_losss_own_parameters_are_trained_and_its_buffers_kept(tmp_path: Path) -> None:
    def criterion(trainer: Any) -> Tempered:
        return trainer.criterion

    experiment = sorting(model=NoNorm, loss=Tempered, train=small(ema=0.9, clip=1.0))
    whole = experiment.trainer(tmp_path / "whole")
    whole.fit()
    assert abs(float(criterion(whole).log_t.detach())) > 0.01
    experiment.trainer(tmp_path / "cut").fit(until=5)
    resumed, _ = experiment.resumed(tmp_path / "cut")
    assert float(criterion(resumed).calls) == 5
    resumed.fit()
    assert torch.equal(criterion(resumed).log_t, criterion(whole).log_t)
    assert float(criterion(resumed).calls) == float(criterion(whole).calls) == 12
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name])
    still = sorting(
        model=NoNorm,
        loss=Tempered,
        optimizer={"name": "sgd", "lr": 0.1, "groups": {"loss.*": {"lr_factor": 0.0}}},
        train=small(),
    ).trainer(tmp_path / "still")
    still.fit()
    assert float(criterion(still).log_t.detach()) == 0.0


class TwoPhases(Sorting):
    """Two updates of the same parameters."""

    def phases(self) -> tuple[lw.Phase, ...]:
        return lw.Phase("a"), lw.Phase("b", every=2)


def test_evaluating_more_often_changes_nothing_of_averages_that_phases_share(tmp_path: Path) -> None:
    def weights(every: str) -> dict[str, Tensor]:
        task, train = TwoPhases(Blobs()), small(ema=0.9, evaluate_every=every)
        settings = {"task": task, "model": NoNorm, "loss": "cross-entropy", "optimizer": {"name": "sgd", "lr": 0.05}}
        return lw.Experiment(**settings, train=train, device="cpu", log=()).run(tmp_path / every).model.state_dict()

    seldom, often = weights("2 epochs"), weights("1 step")
    assert all(torch.equal(seldom[name], often[name]) for name in seldom)


def test_losses_on_their_way_to_the_host_are_in_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's window is read a window later; its event is all that is missing here."""

    class Event:
        def record(self) -> None: ...

        def synchronize(self) -> None: ...

    monkeypatch.setattr(torch.cuda, "Event", Event)

    def filled(window: LossLog, first: int, last: int) -> LossLog:
        for step in range(first, last + 1):
            window.add(step, 1.0, {"train": torch.tensor(float(step))})
        return window

    on_gpu = filled(LossLog(torch.device("cuda")), 1, 50)
    assert on_gpu.close() == []
    state = filled(on_gpu, 51, 60).state()
    resumed = LossLog(torch.device("cpu"))
    resumed.load_state(state)
    first, second = filled(resumed, 61, 100).close()
    assert (first.step, first.losses["train"]) == (50, pytest.approx(25.5))
    assert (second.step, second.losses["train"]) == (100, pytest.approx(75.5))


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_change_nothing_an_evaluation_draws(tmp_path: Path, workers: int) -> None:
    class Guessing(Sorting):
        def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
            logits_BC = model(*batch.inputs)
            return logits_BC + torch.randn(logits_BC.shape), batch.targets

    def metrics(count: int) -> Any:
        device = {"name": "cpu", "workers": count}
        task = Guessing(BlobsElsewhere())
        settings = {"model": NoNorm, "loss": "cross-entropy", "optimizer": "sgd", "train": small()}
        return lw.Experiment(task=task, **settings, device=device, log=()).run(tmp_path / f"{count}").metrics

    assert metrics(workers) == metrics(0)
