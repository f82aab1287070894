"""What pruning saves in a study with two goals, and what it costs of the front: accuracy against parameters.

A perceptron on scikit-learn's digits, with its width (4 to 512), depth, dropout and rate searched; 40 epochs, reported
after each. The same study is run to the end and with `dominated`, over several seeds. `random` proposes the same trials
both ways, so that only the pruning differs; NSGA-II goes its own way in each. The hypervolume is that of the finished
trials, over error and the logarithm of the number of parameters, up to an error of 0.5 and the largest model.

Example: `OMP_NUM_THREADS=1 python benchmarks/pareto.py --trials 100 --seeds 5`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

import labwright as lw
import optuna
import torch
from labwright_study import study as studies
from labwright_study.trial_store import RESULT

RESULTS = Path(__file__).parent / "PARETO.md"
WORST = (0.5, math.log10(2e6))  # error, parameters: the corner that the hypervolume is measured from


def study(folder: Path, sampler: str, pruner: str, trials: int, seed: int) -> tuple[float, int, int]:
    """The front's hypervolume, the steps that were trained, and the trials that were pruned."""
    experiment = lw.Experiment(
        task={"name": "classification", "data": {"name": "vision/digits", "valid": 0.3}},
        model={"name": "vision/mlp"},
        loss="cross-entropy",
        optimizer={"name": "adamw", "schedule": "one-cycle"},
        train={"epochs": 40, "batch_size": 64},
        device={"name": "cpu", "threads": 1},
        search={
            "only": ["model.width", "model.depth", "model.dropout", "optimizer.lr"],
            "model.width": {"low": 4, "high": 512, "log": True},
            "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        },
        log=(),
    )
    goals = ["accuracy:maximize", "parameters:minimize"]
    one = lw.Study(
        experiment, trials, folder=folder, goals=goals, sampler=sampler, pruner=pruner, seed=seed, quiet=True
    )
    found = one.run()
    points = [(1 - best["values"]["accuracy"], math.log10(best["values"]["parameters"])) for best in found.best]
    kept = optuna.load_study(study_name=one.name, storage=one.opened().storage).get_trials(deepcopy=False)
    return hypervolume(points), sum(trial.system_attrs[RESULT]["steps"] for trial in kept), found.pruned


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """The area that the points dominate, both coordinates to be small, up to WORST."""
    area, right = 0.0, WORST[1]
    for error, size in sorted(points, key=lambda point: (-point[1], point[0])):
        area += max(0.0, WORST[0] - error) * max(0.0, right - size)
        right = min(right, size)
    return area


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samplers", nargs="*", default=["random", "nsga-ii"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    studies.write_report = lambda *_: None  # type: ignore[assignment]
    rows = []
    for sampler in options.samplers:
        saved, kept, pruned = [], [], []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                whole = study(Path(scratch) / "whole", sampler, "none", options.trials, seed)
                cut = study(Path(scratch) / "cut", sampler, "dominated", options.trials, seed)
            saved.append(1 - cut[1] / whole[1])
            kept.append(cut[0] / whole[0])
            pruned.append(cut[2])
            print(
                sampler, seed, f"steps saved {saved[-1]:.3f} hypervolume {kept[-1]:.4f} pruned {pruned[-1]}", flush=True
            )
        rows.append(
            f"| {sampler} | {statistics.mean(saved):.0%} ({min(saved):.0%} to {max(saved):.0%}) "
            f"| {statistics.mean(kept):.4f} ({min(kept):.4f} to {max(kept):.4f}) | {statistics.mean(pruned):.0f} |"
        )
    head = ["| sampler | steps saved | hypervolume, pruned / whole | pruned |", "| --- | --- | --- | --- |"]
    note = f"{options.trials} trials; means of {options.seeds} seeds, with the least and the largest."
    said = ["# What pruning saves in a study with two goals", "", *(__doc__ or "").strip().splitlines()[2:6]]
    RESULTS.write_text("\n".join([*said, "", note, "", *head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
