"""The proof of exact resumption: run 2n steps; run n, stop, resume n; compare every loss and the state at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from labwright import Experiment, ranks
from torch import Tensor

from labwright_testing.training import Losses


@dataclass(frozen=True)
class Verdict:
    """What was compared: `exact` if no loss of a step and no tensor of the last checkpoints differs in a bit."""

    exact: bool
    steps: int
    stopped_at: int
    first_difference: int | None
    tensors_compared: int
    tensors_that_differ: tuple[str, ...]
    largest_difference: float

    def json(self) -> dict[str, Any]:
        return asdict(self)


def verify_resume(experiment: Experiment, n: int) -> Verdict:
    """Train 2n steps twice, once stopped after n and resumed in a new trainer; schedules see the recipe's length.

    A recipe that has fewer steps is stopped in its own middle.
    """
    quiet = experiment.quiet()
    there, here = Losses(), Losses()
    with TemporaryDirectory(prefix="labwright-") as scratch:
        scratch = ranks.shared(scratch)
        whole, cut = Path(scratch) / "whole", Path(scratch) / "cut"
        uninterrupted = quiet.trainer(whole, listeners=[there])
        # schedules depend on the length, so that the recipe's own is kept and only less of it is run
        n = min(n, max(1, uninterrupted.run.total_steps // 2))
        last = min(2 * n, uninterrupted.run.total_steps)
        uninterrupted.fit(until=last)
        # another trainer: what an object remembers would hide what a checkpoint lacks
        quiet.trainer(cut, listeners=[here]).fit(until=n)
        resumed, _ = quiet.resumed(cut, listeners=[here])
        resumed.fit(until=last)
        return ranks.by_first(lambda: _verdict(n, there, here, _state(uninterrupted), _state(resumed)))


def _verdict(n: int, there: Losses, here: Losses, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Verdict:
    wrong = [
        step
        for step, losses in there.of_step.items()
        if step not in here.of_step or _different(losses, here.of_step[step])
    ]
    tensors = _different(left, right)
    largest = max(
        (_distance(left[name], right[name]) for name in tensors if name in left and name in right), default=0.0
    )
    exact = not wrong and not tensors
    return Verdict(exact, max(there.of_step), n, min(wrong, default=None), len(left), tuple(tensors), largest)


def _state(trainer: Any) -> dict[str, Tensor]:
    checkpoint = trainer.checkpoints.read(trainer.run.step)
    # what tasks, methods and listeners keep beside tensors is compared as the text it is kept as
    texts = {owner: json.dumps(rest, sort_keys=True).encode() for owner, rest in checkpoint.state["states"].items()}
    rest = {f"state/{owner}": torch.tensor(list(text), dtype=torch.uint8) for owner, text in texts.items()}
    tables = {name: table.rows for name, table in checkpoint.tables.items()}
    return {**checkpoint.model, **checkpoint.training, **tables, **rest}


def _different(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> list[str]:
    return sorted(
        name
        for name in left.keys() | right.keys()
        if name not in left or name not in right or not torch.equal(left[name], right[name])
    )


def _distance(left: Tensor, right: Tensor) -> float:
    return float((left.double() - right.double()).abs().max()) if left.shape == right.shape else float("inf")
