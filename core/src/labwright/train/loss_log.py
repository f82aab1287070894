"""Losses on their way from the device to the log, without making the device wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labwright.base import ranks
from labwright.base.errors import Diverged

Losses = Mapping[str, Tensor]  # by phase


@dataclass
class MeanLosses:
    """The mean losses of a stretch of steps that ended with `step`, by phase, weighted as the steps were."""

    step: int
    losses: dict[str, float]


class LossLog:
    """Collects each step's losses as tensors; `close` sends them to the host and returns the means that have arrived.

    On the CPU those of the window just closed; on a GPU those of the window before, copied in the meantime.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[tuple[int, float, Losses]] = []
        self._sent: tuple[Any, ...] | None = None
        self._under_way: list[tuple[int, float, Losses]] = []
        # of the steps after `_asked`, as far as they have arrived: by phase, the weighted sum of losses and the weight
        self._sums: dict[str, tuple[float, float]] = {}
        self._asked = 0

    def add(self, step: int, weight: float, losses: Losses) -> None:
        self.steps.append((step, weight, losses))

    def close(self) -> list[MeanLosses]:
        """Raises Diverged naming the step and the phase, if a loss that has arrived is no finite number."""
        return self._means(wait=self.device.type != "cuda")

    def flush(self) -> list[MeanLosses]:
        """The means that are still under way, now: the device is waited for."""
        return self._means(wait=True)

    def recent(self) -> dict[str, float]:
        """The mean losses by phase of the steps since it was asked last, weighted as the steps were.

        The device is waited for. Raises Diverged.
        """
        steps = [one for one in (*self._under_way, *self.steps) if one[0] > self._asked]
        for row in _over_all(steps):
            self._sum(*row)
        means = {phase: total / weight for phase, (total, weight) in self._sums.items() if weight}
        self._sums, self._asked = {}, steps[-1][0] if steps else self._asked
        return means

    def _sum(self, step: int, weight: float, losses: Mapping[str, float]) -> None:
        for phase, loss in losses.items() if step > self._asked else ():
            total, weights = self._sums.get(phase, (0.0, 0.0))
            self._sums[phase] = total + weight * loss, weights + weight

    def _means(self, *, wait: bool) -> list[MeanLosses]:
        means = [self._arrived()]
        self._send()
        if wait:
            means.append(self._arrived())
        return [mean for mean in means if mean]

    def state(self) -> dict[str, Any]:
        """What was sent and hasn't arrived, the open window and what `recent` has to go by, for a checkpoint.

        Raises Diverged.
        """
        sent, opened = _over_all(self._under_way), _over_all(self.steps)
        return {"sent": sent, "open": opened, "asked": self._asked, "sums": self._sums}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._asked, self._sums = state.get("asked", 0), state.get("sums", {})  # which older checkpoints don't have
        # in the order they came: what was under way is sent again, then the open stretch goes on
        self.steps = self._tensors(state["sent"])
        self._send()
        self.steps = self._tensors(state["open"])

    def _tensors(self, numbers: list[Any]) -> list[tuple[int, float, Losses]]:
        # of several processes the first takes up what was summed over all
        share = 1.0 if ranks.first() else 0.0
        return [
            (step, weight, {name: torch.tensor(loss * share, device=self.device) for name, loss in losses.items()})
            for step, weight, losses in numbers
        ]

    def _send(self) -> None:
        if not self.steps:
            return
        by_phase: dict[str, list[tuple[int, float, Tensor]]] = {}
        for step, weight, losses in self.steps:
            for phase, loss in losses.items():
                by_phase.setdefault(phase, []).append((step, weight, loss))
        # one copy for a whole stretch: a GPU would be waited for at every single number
        stacked = {phase: torch.stack([loss.float() for *_, loss in seen]) for phase, seen in by_phase.items()}
        event = None
        if self.device.type == "cuda":
            stacked = {phase: losses.to("cpu", non_blocking=True) for phase, losses in stacked.items()}
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._sent = (self.steps[-1][0], by_phase, stacked, event)
        self._under_way, self.steps = self.steps, []

    def _arrived(self) -> MeanLosses | None:
        if self._sent is None:
            return None
        step, by_phase, stacked, event = self._sent
        self._sent, self._under_way = None, []
        # done by now as a rule, as a whole stretch lies between
        if event is not None:
            event.synchronize()
        means = {}
        for phase, seen in by_phase.items():
            losses = ranks.summed(stacked[phase].tolist())  # each process has its share
            for (at, weight, _), loss in zip(seen, losses, strict=True):
                _check(at, phase, loss)
                self._sum(at, weight, {phase: loss})
            total = sum(weight for _, weight, _ in seen)
            means[phase] = sum(weight * loss for (_, weight, _), loss in zip(seen, losses, strict=True)) / total
        return MeanLosses(step, means)


def _over_all(steps: list[tuple[int, float, Losses]]) -> list[Any]:
    """The losses as numbers, summed over all processes, each of which has its share. Raises Diverged on all alike."""
    sums = iter(ranks.summed([float(loss) for _, _, losses in steps for loss in losses.values()]))
    numbers: list[Any] = [[step, weight, {phase: next(sums) for phase in losses}] for step, weight, losses in steps]
    for step, _, losses in numbers:
        for phase, loss in losses.items():
            _check(step, phase, loss)
    return numbers


def _check(step: int, phase: str, loss: float) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the loss of phase {phase!r} became {loss} at step {step}.")
