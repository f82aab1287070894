"""What the loop trains: a task, a model, a loss and an optimizer for each phase, ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labwright.base.errors import LabwrightError
from labwright.data.batching import Workers
from labwright.data.dataset import Batch
from labwright.data.summary import SPLITS, summarised
from labwright.interfaces.device import Device, Sharding
from labwright.interfaces.loss import normalizer
from labwright.interfaces.method import Method
from labwright.interfaces.optimizer import Optimizer
from labwright.interfaces.task import Phase, Task
from labwright.train.checkpoints import Read
from labwright.train.evaluation import Evaluated, evaluate
from labwright.train.freezing import Freezing


@dataclass
class Built:
    """What an experiment is made of, ready to train; `notes` say what its person should know of it.

    What groups of the optimizers freeze is frozen. Raises LabwrightError for a phase all of whose parameters are.

    Example: `built = lw.Experiment.from_recipe("vision/digits-mlp").build()`
    """

    task: Task
    model: nn.Module
    criterion: Any
    device: torch.device
    device_settings: Device
    optimizers: dict[str, Optimizer]
    method: Method = field(default_factory=Method)
    sharding: Sharding | None = None  # where each of several processes holds a part of the parameters
    notes: list[str] = field(default_factory=list)
    beside: dict[str, Built] = field(default_factory=dict)  # other data that is measured while training, by its name
    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)  # of a batch of a split, before it is trained
    start: Mapping[str, str] = field(default_factory=dict)  # the files that its weights were taken from, with SHA-256

    def __post_init__(self) -> None:
        self.freezing = Freezing(self.model, self.optimizers)
        self.freezing.apply()
        self.workers = Workers(self.task.part, count) if (count := self.device_settings.workers) else None
        for phase, optimizer in self.optimizers.items():
            parameters = optimizer.parameters.values()
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                raise LabwrightError(
                    f"phase {phase!r} has nothing to train: all its {len(parameters)} parameters are frozen, by "
                    "optimizer.groups or by the model itself (requires_grad is False). Leave some of them free."
                )

    def on(self, path: Path | str) -> Built:
        """The same model with the task over other data, to evaluate its `test` part: see `Task.on`."""
        return replace(self, task=self.task.on(Path(path)), optimizers={}, beside={})

    def measure_beside(self, paths: Mapping[str, str]) -> None:
        """Have other data measured while training, each by its name. Raises LabwrightError for one that can't be."""
        for name, path in paths.items():
            if name in SPLITS:
                raise LabwrightError(
                    f"train.evaluate_on: {name!r} is a part of the run's own data; choose another name."
                )
            self.beside[name] = other = self.on(path)
            self.notes.append(f"measured beside it, {name}: {summarised(other.task.data).line()}.")

    def mixed(self) -> AbstractContextManager[Any]:
        """Within it whole tensors go with parameters of which this process may hold a part."""
        return self.sharding.mixed() if self.sharding else nullcontext()

    @property
    def read(self) -> Read | None:
        """What reads this process's part of a checkpoint; None where each holds all of it."""
        return self.sharding.read if self.sharding else None

    def calling(self) -> AbstractContextManager[None]:
        """Within it the model may be called, without gradients; where it is sharded all processes call it alike."""
        return self.sharding.evaluating() if self.sharding else nullcontext()

    def evaluate(self, split: str, *, size: int, seed: int, most: int | None = None, **drawn: Any) -> Evaluated | None:
        """The metrics over a split as `evaluate` gives them, on the device and in the precision of these settings."""
        with self.calling():
            return evaluate(
                self.task,
                self.model,
                split,
                device=self.device,
                size=size,
                seed=seed,
                workers=self.workers if most is None else None,  # for a few batches they would take longer to start
                autocast=partial(self.device_settings.autocast, self.device),
                most=most,
                **drawn,
            )

    def divisor(self, batch: Batch) -> float:
        """What the loss of a batch on the host divides by."""
        # of several heads, and of samples with weights, it is the task that knows what each divides by
        own = normalizer(self.criterion, batch.targets) if isinstance(batch.targets, Tensor) else None
        return self.task.weight(batch) if own is None or hasattr(batch, "weights") else own


def phase_parameters(model: nn.Module, criterion: Any, phases: Sequence[Phase]) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters that each phase trains, by name: those of the children it names, or all, frozen ones too.

    The loss's own, called `loss.NAME`, go to the phases that name `loss`, or to the first. Raises LabwrightError for a
    child that isn't there.
    """
    # by name, as checkpoints and groups of an optimizer know them
    own = dict(model.named_parameters())
    children = [name for name, _ in model.named_children()]
    of_loss = dict(criterion.named_parameters(prefix="loss")) if isinstance(criterion, nn.Module) else {}
    # a model may have a child called loss itself: then the name is the child's
    for_loss = [phase.name for phase in phases if "loss" in phase.parameters and "loss" not in children] or [
        phase.name for phase in phases[:1]
    ]
    if of_loss and own.keys() & of_loss.keys():
        raise LabwrightError(
            f"both model {type(model).__name__} and loss {type(criterion).__name__} have {min(of_loss)!r}; call the "
            "model's child something else than 'loss'."
        )
    trained = {}
    for phase in phases:
        for name in phase.parameters:
            if name not in children and not (name == "loss" and of_loss):
                raise LabwrightError(
                    f"phase {phase.name!r} trains {name!r}, which {type(model).__name__} lacks; it has "
                    f"{', '.join(children)}."
                )
        parameters = {
            name: parameter
            for name, parameter in own.items()
            if not phase.parameters or name.split(".")[0] in phase.parameters
        }
        parameters |= of_loss if phase.name in for_loss else {}
        trained[phase.name] = parameters
    return trained
