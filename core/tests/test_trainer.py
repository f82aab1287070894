"""The loop: what a step computes, what is logged, and how a run ends."""

from __future__ import annotations

import json
import os
import platform
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.interfaces.run import Run
from labwright.train.log import read_log
from parts import Blobs, Duel, Hinge, Net, Pair, Sorting, duel, sorting
from torch import Tensor, nn

TRAIN = {"epochs": 2, "batch_size": 15}


class Kept:
    """Listens and keeps what it hears."""

    def __init__(self) -> None:
        self.losses: dict[int, dict[str, float]] = {}
        self.logged: dict[int, Mapping[str, float]] = {}
        self.evaluated: list[tuple[int, Mapping[str, float]]] = []
        self.outcomes: list[lw.Outcome] = []

    @lw.hookimpl
    def labwright_step_ended(self, step: int, losses: Mapping[str, Tensor]) -> None:
        self.losses[step] = {phase: float(loss) for phase, loss in losses.items()}

    @lw.hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        self.logged[step] = values

    @lw.hookimpl
    def labwright_evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self.evaluated.append((step, metrics))

    @lw.hookimpl
    def labwright_run_ended(self, outcome: lw.Outcome) -> None:
        self.outcomes.append(outcome)


def test_a_run_equals_the_loop_one_would_write_by_hand(tmp_path: Path) -> None:
    kept = Kept()
    experiment = sorting(model={"name": Net, "dropout": 0.0}, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9})
    start = experiment.build()
    run = experiment.run(tmp_path / "run", listeners=[kept])
    model = start.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = 0
    for epoch in range(4):
        for batch in start.task.batches("train", size=15, seed=0, epoch=epoch) or ():
            loss = nn.functional.cross_entropy(model(*batch.inputs), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            assert kept.losses[step] == {"train": pytest.approx(loss.item(), rel=1e-5)}
    assert step == len(kept.losses) == 24
    for name, tensor in run.model.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


class Weighted(Sorting):
    """Counts some samples twice, so that micro-batches have unlike weights."""

    def weight(self, batch: lw.Batch) -> float:
        return float(len(batch) + (batch.targets == 0).sum())

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        losses_B = nn.functional.cross_entropy(model(*batch.inputs), batch.targets, reduction="none")
        weights_B = 1.0 + (batch.targets == 0)
        return (weights_B * losses_B).sum() / weights_B.sum()


class Linear(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs.shape[0], len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layer(x_BD)


@pytest.mark.parametrize("task", [Sorting, Weighted])
def test_accumulating_uneven_micro_batches_gives_the_loss_of_the_whole_batch(
    tmp_path: Path, task: type[lw.Task]
) -> None:
    def losses(accumulate: int) -> list[float]:
        kept = Kept()
        lw.Experiment(
            task=task(Blobs(size=83)),  # type: ignore[call-arg]
            model=Linear,
            loss="cross-entropy",
            optimizer={"name": "sgd", "lr": 0.5},
            device={"name": "cpu", "accumulate": accumulate},
            train={"epochs": 3, "batch_size": 30},  # batches of 30, 30 and 23: as micro-batches of 7, 8, 8
            log=(),
        ).run(tmp_path / f"{accumulate}", listeners=[kept])
        return [loss["train"] for loss in kept.losses.values()]

    whole, cut = losses(1), losses(3)
    assert len(whole) == 9
    assert cut == pytest.approx(whole, rel=1e-4)


def test_each_phase_trains_its_own_parameters_when_it_is_due(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []

    class Weights:
        @lw.hookimpl
        def labwright_step_ended(self, run: Run) -> None:
            seen.append({name: tensor.detach().clone() for name, tensor in run.model.named_parameters()})

    kept = Kept()
    duel(train={"steps": 7, "batch_size": 15}).run(tmp_path / "run", listeners=[Weights(), kept])
    for number, (before, after) in enumerate(pairwise(seen), 2):
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == ({"critic", "generator"} if number % 3 == 0 else {"critic"}), number
        assert set(kept.losses[number]) == moved
    assert set(kept.losses[1]) == {"critic"}


def test_a_table_named_after_a_phase_overrides_the_common_settings() -> None:
    built = duel().build()
    assert (built.optimizers["critic"].lr, built.optimizers["generator"].lr) == (0.01, 0.005)
    other = duel(optimizer={"name": "adam", "lr": 0.01, "generator": {"name": "sgd", "momentum": 0.9}}).build()
    assert type(other.optimizers["generator"]).__name__ == "SGD"
    assert other.optimizers["generator"].lr == 0.1  # its own default: another optimizer shares nothing


def test_clipping_bounds_the_norm_of_a_phases_gradients(tmp_path: Path) -> None:
    def distance(**train: Any) -> float:
        experiment = sorting(
            model=Linear, optimizer={"name": "sgd", "lr": 1.0}, train={"steps": 1, "batch_size": 15} | train
        )
        before = experiment.build().model.state_dict()
        after = experiment.run(tmp_path / f"{train}").model.state_dict()
        return float(torch.cat([(after[name] - before[name]).flatten() for name in before]).norm())

    assert distance() > 0.1
    assert distance(clip=0.01) == pytest.approx(0.01, rel=1e-3)


def test_averaged_weights_follow_their_law_and_are_what_is_evaluated(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Weights:
        @lw.hookimpl
        def labwright_step_ended(self, run: Run) -> None:
            seen.append(run.model.state_dict()["layer.weight"].clone())

    experiment = sorting(model=Linear, train={"epochs": 5, "batch_size": 15, "ema": 0.5})
    average = experiment.build().model.state_dict()["layer.weight"].clone()
    run = experiment.run(tmp_path / "run", listeners=[Weights()])
    for step, weight in enumerate(seen):
        average.lerp_(weight, 1 - min(0.5, (1 + step) / (10 + step)))
    torch.testing.assert_close(run.model.state_dict()["layer.weight"], average)
    assert not torch.equal(seen[-1], average)


def test_the_log_holds_means_weighted_by_samples_over_each_stretch(tmp_path: Path) -> None:
    kept = Kept()
    sorting(Blobs(size=83), train={"epochs": 1, "batch_size": 30, "log_every": 3}).run(
        tmp_path / "run", listeners=[kept]
    )
    one, two, three = (kept.losses[step]["train"] for step in (1, 2, 3))
    (record,) = [record for record in read_log(tmp_path / "run" / "metrics.jsonl") if record["event"] == "train"]
    assert record["loss"] == pytest.approx((30 * one + 30 * two + 23 * three) / 83, rel=1e-6)
    assert kept.logged[3]["loss"] == record["loss"]
    assert record["lr"] == 0.01


class Poison:
    """Makes the weights infinite after a step."""

    def __init__(self, after: int) -> None:
        self.after = after

    @lw.hookimpl
    def labwright_step_ended(self, run: Run, step: int) -> None:
        if step == self.after:
            next(run.model.parameters()).data.fill_(float("inf"))


@pytest.mark.parametrize("log_every", [1, 50])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, log_every: int
) -> None:
    kept = Kept()
    experiment = sorting(model=Linear, train=TRAIN | {"log_every": log_every, "save_every": "4 steps"})
    with pytest.raises(lw.RunFailed, match=r"(became nan at step 6|no finite number).*checkpoint of step 4 is kept"):
        experiment.run(tmp_path / "run", listeners=[Poison(5), kept])
    assert json.loads((tmp_path / "run" / "outcome.json").read_text())["status"] == "failed"
    assert kept.outcomes[0].status == "failed"
    trainer, _ = experiment.resumed(tmp_path / "run")
    assert trainer.run.step == 4
    assert trainer.fit().status == "finished"


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_goes_on_exactly(tmp_path: Path, number: signal.Signals) -> None:
    class Interrupt:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            if step == 5:
                os.kill(os.getpid(), number)

    experiment = sorting()
    run = experiment.run(tmp_path / "run", listeners=[Interrupt()])
    assert run.outcome is not None
    assert (run.outcome.status, run.step) == ("interrupted", 5)
    trainer, _ = experiment.resumed(tmp_path / "run")
    trainer.fit()
    for name, tensor in experiment.run(tmp_path / "whole").model.state_dict().items():
        assert torch.equal(tensor, trainer.model.state_dict()[name])


def test_a_hook_can_stop_a_run_early(tmp_path: Path) -> None:
    class Enough:
        @lw.hookimpl
        def labwright_evaluated(self, step: int) -> None:
            raise lw.StopRun(f"enough after {step}")

    run = sorting().run(tmp_path / "run", listeners=[Enough()])
    assert run.outcome is not None
    assert (run.outcome.status, run.outcome.reason) == ("stopped", "enough after 6")
    assert set(run.outcome.metrics) == {"valid", "test"}
    assert run.folder.joinpath("checkpoints", "step-00000006").is_dir()


def test_any_other_error_in_a_hook_ends_the_run_as_failed(tmp_path: Path) -> None:
    class Broken:
        @lw.hookimpl
        def labwright_evaluated(self) -> None:
            raise ZeroDivisionError("a plugin's mistake")

    with pytest.raises(ZeroDivisionError):
        sorting().run(tmp_path / "run", listeners=[Broken()])
    outcome = json.loads((tmp_path / "run" / "outcome.json").read_text())
    assert (outcome["status"], outcome["reason"]) == ("failed", "ZeroDivisionError: a plugin's mistake")


def test_the_best_weights_are_kept_and_a_run_can_end_with_them(tmp_path: Path) -> None:
    class Spoil:
        """Turns the weights round after step 12, so that what follows is worse."""

        @lw.hookimpl
        def labwright_step_ended(self, run: Run, step: int) -> None:
            if step == 12:
                for parameter in run.model.parameters():
                    parameter.data.neg_()

    experiment = sorting(
        model=Linear,
        optimizer={"name": "sgd", "lr": 0.1},
        train={"steps": 13, "batch_size": 15, "final": "best", "keep": 1, "evaluate_every": "4 steps"},
    )
    kept = Kept()
    run = experiment.run(tmp_path / "run", listeners=[Spoil(), kept])
    values = {step: metrics["accuracy"] for step, metrics in kept.evaluated[:-1]}
    best = max(values, key=lambda step: values[step])
    assert best in (4, 8)
    assert run.best == values[best] > values[13]
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        f"step-{best:08d}",
        "step-00000013",
    ]
    assert kept.evaluated[-1][1]["accuracy"] > values[13]
    assert run.metrics["valid"] == kept.evaluated[best // 4 - 1][1]  # of the weights it ended with
    assert json.loads((tmp_path / "run" / "outcome.json").read_text())["metrics"] == run.metrics


def test_precision_bf16_keeps_float32_weights_and_learns(tmp_path: Path) -> None:
    run = sorting(device={"name": "cpu", "precision": "bf16"}, train={"epochs": 20, "batch_size": 15}).run(
        tmp_path / "run"
    )
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert run.metrics["test"]["accuracy"] > 0.9
    # oneDNN computes bf16 from AVX-512 on; below it each product goes through float32 element by element
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2") and platform.machine() == "x86_64":
        assert any("only emulates bf16" in note for note in run.notes)
    else:
        assert not any("emulates" in note for note in run.notes)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_value_is_read_from_the_device_within_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    reads: list[str] = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "numpy", "cpu"):
        original = getattr(Tensor, name)

        def reading(self: Tensor, *args: Any, name: str = name, original: Any = original, **kwargs: Any) -> Any:
            reads.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, reading)
    within: list[int] = []

    class Counts:
        @lw.hookimpl
        def labwright_step_ended(self) -> None:
            within.append(len(reads))

    train = {
        "steps": 30,
        "batch_size": 15,
        "clip": 1.0,
        "ema": 0.9,
        "evaluate_every": "30 steps",
        "save_every": "30 steps",
        "log_every": 30,
    }
    duel(train=train, device={"name": "cpu", "precision": precision}).run(tmp_path / "run", listeners=[Counts()])
    assert within[0] == within[-1]
    assert len(reads) > within[-1]  # the counting works: the end of the run reads


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_run_gives_the_losses_of_an_ordinary_one(tmp_path: Path) -> None:
    losses = []
    for compiled in (False, True):
        kept = Kept()
        sorting(model=Linear, device={"name": "cpu", "compile": compiled}, train={"steps": 6, "batch_size": 15}).run(
            tmp_path / f"{compiled}", listeners=[kept]
        )
        losses.append([loss["train"] for loss in kept.losses.values()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_model_given_as_an_object_stays_as_it_was(tmp_path: Path) -> None:
    net = Net(lw.Features((4,)), lw.Classes(("a", "b", "c")))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run = sorting(model=net, train={"epochs": 20, "batch_size": 15}).run(tmp_path / "run")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert run.metrics["test"]["accuracy"] > 0.9


def test_an_adversarial_run_learns_where_the_data_is(tmp_path: Path) -> None:
    run = lw.Experiment(
        task=Duel(Blobs(held_out=900), critic_steps=2),
        model=Pair,
        loss=Hinge(),
        optimizer={"name": "adam", "lr": 0.005, "betas": [0.5, 0.9]},
        device="cpu",
        train={"steps": 600, "batch_size": 90, "ema": 0.99, "evaluate_every": "200 steps", "save_every": "200 steps"},
        log=(),
    ).run(tmp_path / "run")
    assert run.metrics["test"]["distance"] < 1.0  # the blobs' mean lies 2.3 from the origin
