"""The method that fits a temperature on the `valid` part, in a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError, Method, Run, Steps, Task, Update, evaluating, listed
from torch import Tensor, nn

from labwright_tasks.calibration.fitting import Fit, fitted, measured
from labwright_tasks.calibration.model import Calibrated
from labwright_tasks.classification import Classification
from labwright_tasks.learned import differing

_SHOWN = ("valid", "test")
_OPTIMIZER = {"name": "sgd", "lr": 1.0, "momentum": 0.0, "schedule": "constant", "warmup": 0.0}


class TemperatureScaling(Method):
    """Fit the temperature of the model `calibrated` on the `valid` part by LBFGS; all other weights stand still.

    It leaves the distance from the best temperature, in logarithms, as its gradient, so that a step of `sgd` with a
    rate of 1 is there: that is what it goes with. Where the task shows a sample in several views, what is fitted is
    their mean. The temperature with its interval, and cross-entropy and expected calibration error (15 bins) of `valid`
    and `test` before and after it are figures of the run. `labwright calibrate RUN` writes such a recipe and runs it.
    Source: Guo et al. 2017, section 4.2.
    """

    def __init__(self) -> None:
        self.task: Classification | None = None
        self.device = torch.device("cpu")
        self.run: Run | None = None
        self.size = 1
        self.told: dict[str, float] = {}

    def check(self, task: Task, model: nn.Module) -> None:
        if not isinstance(task, Classification) or not isinstance(model, Calibrated):
            raise LabwrightError(
                f"method: 'temperature-scaling' fits the temperature of model 'calibrated' in task 'classification'; "
                f"here is {type(model).__name__} in {type(task).__name__}. `labwright calibrate RUN` writes a recipe."
            )

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        valid = task.part("valid", plain=True)
        if not valid:
            raise LabwrightError(
                "method: 'temperature-scaling' fits on the 'valid' part, and this data has none: fitted on what was "
                "trained on, a model would seem surer than it is. Train with task.data.valid=0.1, or data with a part."
            )
        self.size = recipe["train"]["batch_size"]
        optimizer, train = recipe.get("optimizer", {}), recipe["train"]
        wrong = [f"optimizer.{key}={value}" for key, value in _OPTIMIZER.items() if optimizer.get(key) != value]
        wrong += [f"train.{key}=" for key in ("clip", "ema") if key in train]
        if wrong:
            raise LabwrightError(
                f"method: 'temperature-scaling' is where it goes after a whole step of its own. Add {' '.join(wrong)}"
            )
        return [*_unlike(task, recipe["start"])] if "start" in recipe else []

    def feed(self, steps: Steps) -> Iterator[Any]:
        assert isinstance(steps.task, Classification)
        self.task, self.device, self.run = steps.task, steps.device, steps.run
        return steps.batches()

    def gradients(
        self,
        update: Update,
        batches: Sequence[Any],  # noqa: ARG002 - they are of the training part
        weights: Sequence[float],  # noqa: ARG002
    ) -> Mapping[str, Tensor]:
        model = update.model
        assert isinstance(model, Calibrated) and self.task is not None and self.run is not None
        before = float(model.log_temperature.detach())
        seen = {split: some for split in _SHOWN if (some := self._seen(model, split, before)) is not None}
        fit = fitted(*seen["valid"])
        self.told = {"temperature": fit.temperature, "temperature_low": fit.low, "temperature_high": fit.high}
        for split, some in seen.items():
            (nats, error), (nats_after, error_after) = measured(*some, 1.0), measured(*some, fit.temperature)
            self.told |= {f"{split}/nll_before": nats, f"{split}/nll_after": nats_after}
            self.told |= {f"{split}/ece_before": error, f"{split}/ece_after": error_after}
        self.run.notes += [f"temperature: {note}" for note in (*fit.notes, *self._worse(fit))]
        log_temperature = torch.tensor(fit.temperature, dtype=torch.float64).log().item()
        model.log_temperature.grad = torch.full_like(model.log_temperature, before - log_temperature)
        return {update.name: torch.tensor(self.told["valid/nll_before"], device=self.device)}

    def figures(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - after the first it stays what it is
        return self.told

    def state(self) -> Mapping[str, Any]:
        return {"told": {name: value for name, value in self.told.items() if value < float("inf")}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.told = dict(state["told"])

    def _worse(self, fit: Fit) -> Iterator[str]:
        after, before = (self.told.get(f"test/nll_{when}", 0.0) for when in ("after", "before"))
        if fit.temperature != 1 and after > before:
            yield (
                f"on test the cross-entropy rises from {before:.4g} to {after:.4g}: what is fitted on valid doesn't "
                "hold there."
            )

    @torch.no_grad()
    def _seen(self, model: Calibrated, split: str, log_temperature: float) -> tuple[Tensor, Tensor] | None:
        """Logits (V, N, C) of a part as they are without a temperature, and labels (N,), on the CPU."""
        assert self.task is not None
        batches = self.task.batches(split, size=self.size, seed=0, epoch=0, plain=True)
        if not batches:
            return None
        views, labels = [], []
        with evaluating(model):
            for batch in batches:
                moved = batch.to(self.device)
                views.append(self.task.views(model, moved).cpu().double() * torch.tensor(log_temperature).exp())
                labels.append(batch.targets)
        return torch.cat(views, dim=1), torch.cat(labels)


def _unlike(task: Task, start: Mapping[str, Any]) -> Iterator[str]:
    """What to know of data that isn't as the run had it. Raises LabwrightError if its model would read it wrongly."""
    run = Path(start["run"]).expanduser()
    if not (run / "task").is_dir():
        return
    learned, same_samples = differing(task.data, run)
    if learned:
        raise LabwrightError(
            f"task.data: the task learns something else of this data than {run} did ({listed(learned)} in its task/): "
            "its model would be given other numbers for the same things. Put the data back as it was."
        )
    if not same_samples:
        yield f"the training samples aren't those of {run}: what it has learned from may be in valid now."
