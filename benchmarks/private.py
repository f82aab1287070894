"""A step of DP-SGD beside Opacus': the same model, batch, bound and noise; time and memory, both accounted for.

Both draw nothing here: each step is given the same batch, so that what is measured are per-sample gradients, clipping,
noise and the update. Times are medians over rounds that take turns in one process; memory is the peak of a process of
its own, beyond what it had after a first step of two samples, which imports what is imported late.
`benchmarks/.venv/bin/python benchmarks/private.py`, a few minutes on two cores; Opacus comes with labwright-privacy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

import labwright as lw
import torch
from torch import Tensor, nn

BOUND, NOISE, LR, SIDE = 1.0, 1.0, 0.1, 28
BATCHES = (64, 256)
ROUNDS, STEPS = 9, 5


class Perceptron(nn.Sequential):
    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__(nn.Flatten(), nn.Linear(SIDE * SIDE, 256), nn.ReLU(), nn.Linear(256, 10))


class Convolutions(nn.Sequential):
    """The CNN of Opacus' MNIST example, with GroupNorm behind its first convolution."""

    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        first = nn.Conv2d(1, 16, 8, 2, padding=3), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2, 1)
        second = nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.MaxPool2d(2, 1)
        super().__init__(*first, *second, nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10))


MODELS: dict[str, type[nn.Module]] = {"perceptron": Perceptron, "convolutions": Convolutions}


class Random(lw.Data):
    """Random pictures of ten classes, one batch of them."""

    item, target = lw.Image, lw.Classes
    source, licence = "made here", "none"

    def __init__(self, *, size: int = 64) -> None:
        self.size = size

    def prepare(self) -> None:
        """Nothing is read."""

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), lw.Classes(tuple("abcdefghij"))

    def split(self, name: str) -> lw.Split | None:
        return lw.TensorSplit(*rows(self.size)) if name == "train" else None


def rows(size: int) -> tuple[tuple[Tensor], Tensor]:
    random = torch.Generator().manual_seed(0)
    return (torch.randn(size, 1, SIDE, SIDE, generator=random),), torch.randint(10, (size,), generator=random)


def by_labwright(model: type[nn.Module], size: int, scratch: Path) -> Callable[[], None]:
    """Every unit is drawn in every step, at rate 1."""
    os.environ["LABWRIGHT_PRIVACY_SECRETS"] = str(scratch / "secrets")
    trainer = lw.Experiment(
        task={"name": "classification", "data": {"name": Random, "size": size}},
        model=model,
        loss="cross-entropy",
        optimizer={"name": "sgd", "lr": LR, "momentum": 0.0},
        method={"name": "privacy/dp-sgd", "noise": NOISE, "bound": BOUND, "delta": 1e-5, "accountant": "rdp"},
        device={"name": "cpu", "threads": 1},
        train={"steps": 100_000, "batch_size": size},
        log=[],
    ).trainer(scratch / "run")
    fed: Any = trainer.built.method.feed(trainer)
    return lambda: trainer.step(next(fed)) and None


def by_opacus(model: type[nn.Module], size: int, scratch: Path) -> Callable[[], None]:
    with warnings.catch_warnings(action="ignore"):
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer
    torch.manual_seed(0)
    wrapped = GradSampleModule(model(lw.Image(1, SIDE, SIDE), lw.Classes(tuple("abcdefghij"))))
    sgd = torch.optim.SGD(wrapped.parameters(), lr=LR)
    optimizer = DPOptimizer(sgd, noise_multiplier=NOISE, max_grad_norm=BOUND, expected_batch_size=size)
    (x_BCHW,), labels_B = rows(size)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(wrapped(x_BCHW), labels_B).backward()
        optimizer.step()

    return step


WAYS = {"labwright": by_labwright, "Opacus": by_opacus}


def alone(way: str, model: str, size: int) -> None:
    """In a process of its own: print by how many bytes the peak grows with some steps."""
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(action="ignore"):
        step = WAYS[way](MODELS[model], size, Path(scratch))
        WAYS[way](Perceptron, 2, Path(scratch) / "first")()  # what is imported with the first step is no step's memory
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of imports
        before = resident("VmRSS")
        for _ in range(STEPS):
            step()
        print(resident("VmHWM") - before)


def resident(which: str) -> int:
    """Bytes of this process's memory, now (VmRSS) or at its peak (VmHWM); Linux alone says so."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", nargs=3, metavar=("WAY", "MODEL", "SIZE"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.alone:
        alone(given.alone[0], given.alone[1], int(given.alone[2]))
        return
    print("| model | batch | labwright, ms | Opacus, ms | labwright, MB | Opacus, MB |\n|---|---|---|---|---|---|")
    for model in MODELS:
        for size in BATCHES:
            with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(action="ignore"):
                steps = {way: make(MODELS[model], size, Path(scratch)) for way, make in WAYS.items()}
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                for number in range(given.rounds + 1):
                    for way, step in steps.items():
                        begun = time.process_time()
                        for _ in range(STEPS):
                            step()
                        if number:  # the first round warms up
                            times[way].append((time.process_time() - begun) / STEPS)
            medians = [f"{1000 * statistics.median(times[way]):.1f}" for way in WAYS]
            command = [sys.executable, __file__, "--alone"]
            said = [subprocess.check_output([*command, way, model, str(size)], text=True) for way in WAYS]
            peaks = [f"{int(one.split()[-1]) / 1e6:.0f}" for one in said]
            print(f"| {model} | {size} | {' | '.join(medians)} | {' | '.join(peaks)} |", flush=True)


if __name__ == "__main__":
    main()
