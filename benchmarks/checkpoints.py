"""How long training stands still for a checkpoint: written at once by the core, and beside the steps that follow.

One process trains a model of 100 million parameters with AdamW, whose checkpoint has three times as many numbers, and
saves every few steps. What is measured is the wall time of `Trainer.save`, waiting for the checkpoint before included;
the first, which makes the copies' memory, stands by itself. Medians; the ways take turns.
`.venv/bin/python benchmarks/checkpoints.py --out benchmarks/CHECKPOINTS.md`, some five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": ""}

import labwright as lw
import torch
from torch import Tensor, nn

WAYS: dict[str, dict[str, Any]] = {
    "at once": {"name": "cpu"},
    "beside the steps": {"name": "sharded/parameters", "on": "cpu", "save_async": True},
}
EVERY = 15  # steps between two checkpoints: longer than one takes to be written


class Points(lw.Split):
    """A thousand random points; what they are makes no difference."""

    def __len__(self) -> int:
        return 1000

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        x_BD = torch.randn(len(indices), 64, generator=torch.Generator().manual_seed(int(indices[0])))
        return lw.Batch((x_BD,), indices % 10)


class Random(lw.Data):
    """Random points of ten classes."""

    item, target = lw.Features, lw.Classes
    source, licence = "made here", "none"

    def prepare(self) -> None:
        """Nothing is read."""

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((64,)), lw.Classes(tuple("abcdefghij"))

    def split(self, name: str) -> lw.Split | None:
        return Points() if name == "train" else None


class Wide(nn.Module):
    """Four layers of `width` by `width`."""

    width = 5000

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        width = self.width
        middle = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.ReLU())]
        self.layers = nn.Sequential(nn.Linear(inputs.shape[0], width), *middle, nn.Linear(width, len(outputs.names)))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD)  # type: ignore[no-any-return]


def measured(device: dict[str, Any], width: int, saves: int) -> dict[str, Any]:
    """Seconds that each checkpoint of a run took from the loop, and what one holds."""
    from labwright_tasks.classification import Classification

    Wide.width = width
    seconds: list[float] = []
    train = {"steps": EVERY * saves, "batch_size": 8, "save_every": f"{EVERY} steps", "keep": 1, "log_every": EVERY}
    with tempfile.TemporaryDirectory() as folder:
        experiment = lw.Experiment(
            task=Classification(Random()),
            model=Wide,
            loss="cross-entropy",
            optimizer="adamw",
            device=device,
            train=train,
            log=(),
        )
        trainer = experiment.trainer(Path(folder) / "run")
        save = trainer.save

        def timed() -> None:
            begun = time.perf_counter()
            save()
            seconds.append(time.perf_counter() - begun)

        trainer.save = timed  # type: ignore[method-assign]
        trainer.fit()
        held = sum(file.stat().st_size for file in (Path(folder) / "run").glob("checkpoints/*/*.safetensors"))
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return {"seconds": seconds[:-1], "bytes": held, "parameters": parameters}  # the last save is the end's


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    first = next(iter(results.values()))[0]
    rows = []
    medians = {}
    for way, runs in results.items():
        later = [second for run in runs for second in run["seconds"][1:]]
        medians[way] = statistics.median(later)
        begin = statistics.median(run["seconds"][0] for run in runs)
        share = medians[way] / medians["at once"]
        spread = f"{medians[way]:.2f} [{min(later):.2f}, {max(later):.2f}]"
        rows.append(f"| {way} | {spread} | {share:.3f} | {begin:.2f} |")
    return "\n".join(
        [
            "# How long a checkpoint stops the loop",
            "",
            f"{first['parameters'] / 1e6:.0f} million parameters and AdamW's state, {first['bytes'] / 1e9:.2f} GB, "
            "which copies take in memory as well; one process on the CPU.",
            "",
            "| written | seconds the loop stands still | to at once | the first |",
            "| --- | ---: | ---: | ---: |",
            *rows,
            "",
            f"{os.cpu_count()} cores, torch {torch.__version__}; medians, with the least and the largest. "
            "`python benchmarks/checkpoints.py`",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to write the table to")
    parser.add_argument("--width", type=int, default=5000, help="of the four layers; 5000 makes 100 million parameters")
    parser.add_argument("--saves", type=int, default=4, help="checkpoints of a run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # in a process of its own
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measured(WAYS[given.way], given.width, given.saves)))
        return
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--width", str(given.width), "--saves", str(given.saves)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    text = table(results)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
