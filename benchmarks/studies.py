"""What a study costs beside its training: CPU time of a trial, interleaved with Optuna written by hand.

`by hand` is what one would write with Optuna's documentation open, around the same training function: a journal file, a
sampler of the same kind, reports, pruning asked after each. Only rates are searched, so that every trial has the same
work. The report, which a study draws once at its end, is left out. One process, one thread.

Example: `python benchmarks/studies.py --trials 32 --rounds 5`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import labwright as lw
import optuna
import torch
from labwright.hookspecs import hookimpl
from labwright.study import report
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

RESULTS = Path(__file__).parent / "STUDIES.md"


def experiment(epochs: int) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "classification", "data": {"name": "vision/digits", "valid": 0.2}},
        model={"name": "vision/mlp", "width": 128},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 3e-3},
        train={"epochs": epochs, "batch_size": 32},
        device={"name": "cpu", "threads": 1},
        search={"only": ["optimizer.lr", "optimizer.weight_decay"]},
        log=(),
    )


def by_labwright(base: lw.Experiment, trials: int, folder: Path, pruner: str) -> None:
    report.write = lambda *_: None  # type: ignore[assignment]
    lw.Study(base, trials, folder=folder, pruner=pruner, quiet=True).run()


def by_hand(base: lw.Experiment, trials: int, folder: Path, pruner: str) -> None:
    """Optuna's ask-and-tell is `optimize` here; data is read once, as anybody would."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir()
    task = base.prepared()

    class Reporting:
        def __init__(self, trial: optuna.Trial) -> None:
            self.trial, self.count, self.value = trial, 0, 0.0

        @hookimpl
        def labwright_evaluated(self, split: str, metrics: dict[str, float]) -> None:
            self.value = metrics["accuracy"]
            if split == "valid":
                self.count += 1
                self.trial.report(self.value, self.count)
                if self.trial.should_prune():
                    raise lw.StopRun("pruned")

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, Any] = {
            "optimizer.lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
            "optimizer.weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        }
        reporting = Reporting(trial)
        base.varied(values).trial(folder / str(trial.number), task, listeners=[reporting]).fit()
        return reporting.value

    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    pruners = {"none": optuna.pruners.NopPruner(), "median": optuna.pruners.MedianPruner()}
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler, pruner=pruners[pruner])
    study.optimize(objective, n_trials=trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs="*", default=[2, 10])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for epochs in options.epochs:
        base = experiment(epochs)
        seen: dict[str, list[float]] = {"by hand": [], "labwright": []}
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(options.rounds + 1):  # the first warms up
                for name, way in (("by hand", by_hand), ("labwright", by_labwright)):
                    begun = time.process_time()
                    way(base, options.trials, Path(scratch) / f"{number}-{name}", "none")
                    if number:
                        seen[name].append((time.process_time() - begun) / options.trials * 1000)
        ratios = [mine / theirs for mine, theirs in zip(seen["labwright"], seen["by hand"], strict=True)]
        hand, mine = (statistics.median(seen[name]) for name in ("by hand", "labwright"))
        rows.append(f"| {epochs} epochs | {hand:.0f} | {mine:.0f} | {statistics.median(ratios):.2f} |")
        print(rows[-1], flush=True)
    head = ["| a trial of | by hand, ms | labwright, ms | ratio |", "| --- | --- | --- | --- |"]
    note = f"CPU milliseconds of one trial of {options.trials}, training included; medians of {options.rounds} rounds."
    RESULTS.write_text("\n".join(["# What a study costs", "", note, "", *head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
