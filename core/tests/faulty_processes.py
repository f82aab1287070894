"""A plugin file: a task in which something goes wrong on one of several processes."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import labwright as lw
from divided import Doubles, Plain
from labwright.base.search import Part
from parts import Blobs, Net, Sorting
from torch import Tensor, nn

Fault = Literal["none", "stops", "diverges", "breaks", "hangs", "fills the disk"]


class Faulty(Sorting):
    """Sorting, until step `at` on process `process`."""

    def __init__(
        self, data: Annotated[lw.Data, Part("data")], *, fault: Fault = "none", process: int = 1, at: int = 5
    ) -> None:
        super().__init__(data)
        self.fault, self.process, self.at = fault, process, at
        self.losses = 0

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        loss = super().loss(model, batch, criterion, phase)
        self.losses += model.training
        if self.losses != self.at or lw.ranks.number() != self.process:
            return loss
        match self.fault:
            case "diverges":
                return loss * float("inf")
            case "breaks":
                raise ZeroDivisionError("of this test")
            case "hangs":
                signal.pause()  # until it is told to end: torchrun would wait half a minute before it kills
                os._exit(1)
            case "fills the disk":
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        return loss


class Stops:
    """Ends the run at step `at` of process `process`."""

    def __init__(self, *, process: int = 1, at: int = 5) -> None:
        self.process, self.at = process, at

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        if step == self.at and lw.ranks.number() == self.process:
            raise lw.StopRun("as the test says")

    labwright_step_ended.every_process = True  # type: ignore[attr-defined]


class Inseparable(lw.Loss):
    """Cross-entropy that says it compares the samples of a batch."""

    separable = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels)


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("data", "made/blobs", f"{Blobs.__module__}:Blobs", "three blobs")
    yield lw.Component("data", "made/doubles", f"{Doubles.__module__}:Doubles", "three blobs in float64")
    yield lw.Component("model", "made/plain", f"{Plain.__module__}:Plain", "layers in float64")
    yield lw.Component("loss", "made/inseparable", f"{__name__}:Inseparable", "refuses to be divided")
    yield lw.Component("task", "faulty", f"{__name__}:Faulty", "goes wrong on one process")
    yield lw.Component("model", "made/net", f"{Net.__module__}:Net", "dropout and BatchNorm")
    yield lw.Component("stop", "one-process", f"{__name__}:Stops", "ends a run")
