"""What the tests of fused trials share: the same experiments trained one after another and as one program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import labwright as lw
import torch
from labwright.base.errors import RunFailed
from labwright.train.trainer import Trainer
from labwright_study.fused import Form, Fused, fit_fused, fuse_key
from torch import Tensor


class Heard:
    """Keeps the losses of every step and every evaluation; may stop the run after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: dict[int, dict[str, float]] = {}
        self.evaluated: list[tuple[int, str, Mapping[str, float]]] = []
        self.stop_after = stop_after

    @lw.hookimpl
    def labwright_step_ended(self, step: int, losses: Mapping[str, Tensor]) -> None:
        self.losses[step] = {phase: float(loss) for phase, loss in losses.items()}
        if step == self.stop_after:
            raise lw.StopRun("enough")

    @lw.hookimpl
    def labwright_evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self.evaluated.append((step, split, metrics))


class Trials:
    """Some experiments over one prepared task, each with a listener, trained in float64."""

    def __init__(
        self, experiments: Sequence[lw.Experiment], folder: Path, task: lw.Task, stops: Mapping[int, int] | None = None
    ) -> None:
        self.heard = [Heard((stops or {}).get(number)) for number in range(len(experiments))]
        self.trainers = [
            in_double(experiment.trial(folder / str(number), task, listeners=[heard]))
            for number, (experiment, heard) in enumerate(zip(experiments, self.heard, strict=True))
        ]

    def one_after_another(self) -> list[Any]:
        outcomes: list[Any] = []
        for trainer in self.trainers:
            try:
                outcomes.append(trainer.fit())
            except RunFailed as failure:
                outcomes.append(failure)
        return outcomes

    def fused(self, form: Form) -> Fused:
        return fit_fused(self.trainers, form)


def in_double(trainer: Trainer) -> Trainer:
    """The same trainer in float64, data included."""
    trainer.model.double()
    for update in trainer.phase_steps:
        for average in update.average:
            average.data = average.data.double()
    batches = trainer.batches
    trainer.batches = lambda: (doubled(batch) for batch in batches())  # type: ignore[method-assign]
    drawn = trainer.drawn
    trainer.drawn = lambda batch: doubled(drawn(batch))  # type: ignore[method-assign]
    task = trainer.task
    if not hasattr(task, "evaluated_in_double"):
        evaluate = task.evaluate

        def in_double(model: Any, batch: Any) -> Any:
            if next(model.parameters()).dtype is not torch.float64:  # another's, tried before it is trained
                return evaluate(model, batch)
            torch.set_default_dtype(torch.float64)  # of latents drawn there
            try:
                return doubled(evaluate(model, doubled(batch)), torch.float32)
            finally:
                torch.set_default_dtype(torch.float32)

        task.evaluate = in_double  # type: ignore[method-assign]
        task.evaluated_in_double = True  # type: ignore[attr-defined]
    return trainer


def doubled(value: Any, dtype: torch.dtype = torch.float64) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(doubled(one, dtype) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: doubled(getattr(value, field.name), dtype) for field in fields(value)})
    return value


def check_equal(
    make: Callable[..., lw.Experiment],
    changes: Sequence[Mapping[str, Any]],
    folder: Path,
    form: Form,
    *,
    tolerance: float = 1e-10,
    stops: Mapping[int, int] | None = None,
    is_in_form: bool = True,
) -> Fused:
    """Train `make(**changes)` for each of the changes, one after another and fused; every figure must agree."""
    experiments = [make(**one) for one in changes]
    assert len({fuse_key(one) for one in experiments}) == 1
    task = experiments[0].prepared()
    serial = Trials(experiments, folder / "serial", task, stops)
    expected = serial.one_after_another()
    together = Trials(experiments, folder / "fused", task, stops)
    result = together.fused(form)
    assert not is_in_form or result.form == form, result.reasons
    for number, (want, got) in enumerate(zip(expected, result.outcomes, strict=True)):
        if isinstance(want, RunFailed):
            assert isinstance(got, RunFailed)
            continue
        assert (got.status, got.step) == (want.status, want.step), (number, got)
        one, other = serial.heard[number], together.heard[number]
        assert one.losses.keys() == other.losses.keys()
        for step, losses in one.losses.items():
            for phase, loss in losses.items():
                assert abs(other.losses[step][phase] - loss) <= tolerance * max(1, abs(loss)), (number, step, phase)
        close(one.evaluated, other.evaluated, tolerance)
        weights = serial.trainers[number].model.state_dict()
        for name, tensor in together.trainers[number].model.state_dict().items():
            torch.testing.assert_close(tensor, weights[name], rtol=1e-7, atol=1e-8)
    return result


def close(one: Sequence[Any], other: Sequence[Any], tolerance: float) -> None:
    assert [entry[:2] for entry in one] == [entry[:2] for entry in other]
    for (*_, metrics), (*_, others) in zip(one, other, strict=True):
        for name, value in metrics.items():
            assert abs(others[name] - value) <= 1e-5 * max(1, abs(value)), name
