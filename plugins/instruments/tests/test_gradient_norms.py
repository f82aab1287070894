"""Norms of gradients, against the steps that plain descent takes by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from instrument_lines import Perceptron
from parts import duel, sorting
from torch import Tensor, nn

LR = 0.25


class Steps:
    """The weights before each step, and after the last."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def _keep(self, model: nn.Module) -> None:
        self.weights.append({name: one.detach().double() for name, one in model.named_parameters()})
        self.weights[-1] = {name: one.clone() for name, one in self.weights[-1].items()}

    @lw.hookimpl
    def labwright_run_started(self, run: lw.Run) -> None:
        self._keep(run.model)

    @lw.hookimpl
    def labwright_step_ended(self, run: lw.Run) -> None:
        self._keep(run.model)

    def gradient(self, step: int) -> dict[str, Tensor]:
        """What plain descent went down by in a step, counted from 1."""
        before, after = self.weights[step - 1], self.weights[step]
        return {name: (before[name] - after[name]) / LR for name in before}


def descending(**changed: Any) -> lw.Experiment:
    log = [{"name": "gradient-norms", "every": 2, "layers": True}]
    settings = {"optimizer": {"name": "sgd", "lr": LR}, "train": {"epochs": 1, "batch_size": 15}, "log": log} | changed
    return sorting(model=Perceptron, **settings)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gradient_norms.jsonl").read_text().splitlines()]


def norm(tensors: Sequence[Tensor]) -> float:
    return sum(float(tensor.square().sum()) for tensor in tensors) ** 0.5


@pytest.mark.parametrize("accumulate", [1, 3])
def test_norms_are_those_of_what_descent_goes_down_by(accumulate: int, tmp_path: Path):
    steps = Steps()
    device = {"name": "cpu", "accumulate": accumulate}
    descending(device=device).run(tmp_path / "run", listeners=[steps])
    written = lines(tmp_path / "run")
    assert [line["step"] for line in written] == [2, 4, 6]
    for line in written:
        gradient = steps.gradient(line["step"])
        assert line["norm"] == pytest.approx(norm([*gradient.values()]), rel=1e-4)
        assert line["layers"] == pytest.approx(
            {
                "first": norm([gradient["first.weight"], gradient["first.bias"]]),
                "head": norm([gradient["head.weight"], gradient["head.bias"]]),
            },
            rel=1e-4,
        )


def test_they_are_of_log_every_steps_before_clipping_and_of_what_is_not_frozen(tmp_path: Path):
    train = {"epochs": 1, "batch_size": 15, "log_every": 3, "clip": 1e-3}
    optimizer = {"name": "sgd", "lr": 1e-9, "groups": {"first.*": {"frozen": True, "unfreeze": "4 steps"}}}
    log = [{"name": "gradient-norms", "layers": True}]
    descending(train=train, optimizer=optimizer, log=log).run(tmp_path / "run")
    written = lines(tmp_path / "run")
    assert [(line["step"], *line["layers"]) for line in written] == [(3, "head"), (6, "head", "first")]
    assert written[0]["norm"] > 0.01  # ten times what it is clipped to


@pytest.mark.long
def test_a_resumed_run_has_each_step_once_and_the_same_numbers(tmp_path: Path):
    descending().run(tmp_path / "whole")
    train = {"epochs": 1, "batch_size": 15, "save_every": "3 steps"}
    descending(train=train).trainer(tmp_path / "cut").fit(until=5)
    for newest in sorted((tmp_path / "cut" / "checkpoints").iterdir())[1:]:  # as if killed after step 3
        for file in newest.iterdir():
            file.unlink()
        newest.rmdir()
    trainer, _ = descending(train=train).resumed(tmp_path / "cut")
    trainer.fit()
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_of_phases_those_that_were_due_have_norms(tmp_path: Path):
    log = [{"name": "gradient-norms", "every": 1, "layers": True}]
    duel(log=log, train={"steps": 3, "batch_size": 15}).run(tmp_path / "run")
    parts = [{layer.partition(".")[0] for layer in line["layers"]} for line in lines(tmp_path / "run")]
    assert parts == [{"critic"}, {"critic"}, {"critic", "generator"}]  # the generator is due every third step


class Aside(lw.Method):
    """Descent whose gradients come past autograd's own way."""

    def gradients(self, update: Any, batches: Sequence[Any], weights: Sequence[float]) -> dict[str, Tensor]:
        loss = update.losses(batches[0])
        for parameter, gradient in zip(update.parameters, update.derivative(loss), strict=True):
            parameter.grad = gradient
        return {update.name: loss.detach()}


def test_a_method_whose_gradients_pass_by_is_said(tmp_path: Path):
    run = descending(method=Aside).run(tmp_path / "run")
    assert run.outcome is not None
    assert lines(tmp_path / "run") == []
    assert [note for note in run.outcome.notes if "gradient-norms: step 2 left no gradient" in note]


def test_scaled_gradients_are_refused(tmp_path: Path):
    with pytest.raises(lw.LabwrightError, match="multiplied by a factor that changes"):
        descending(device={"name": "cpu", "precision": "fp16"}).run(tmp_path / "run")


@pytest.mark.long
def test_they_change_nothing(tmp_path: Path):
    with_norms = descending().run(tmp_path / "with")
    without = descending(log=[]).run(tmp_path / "without")
    pairs = zip(with_norms.model.parameters(), without.model.parameters(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)


def test_a_file_of_that_name_that_it_did_not_write_is_kept(tmp_path: Path):
    experiment, folder = descending(), tmp_path / "run"
    experiment.trainer(folder).fit(until=2)
    (folder / "gradient_norms.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(lw.LabwrightError, match=r"gradient_norms\.jsonl isn't a file that it wrote"):
        experiment.resumed(folder)[0].fit()
    assert (folder / "gradient_norms.jsonl").read_text() == '{"mine": 1}\n'
