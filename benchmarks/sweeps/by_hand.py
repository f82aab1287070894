"""Optuna, as one would write it with its documentation open: a journal file, reports, pruning asked after each."""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
import torch
from labwright import StopRun
from labwright.plugin.hookspecs import hookimpl
from objective import SPACE, Objective
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


class Reporting:
    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.count = trial, 0

    @hookimpl
    def labwright_evaluated(self, split: str, metrics: dict[str, float]) -> None:
        if split == "valid":
            self.count += 1
            self.trial.report(metrics["accuracy"], self.count)
            if self.trial.should_prune():
                raise StopRun("pruned")


def search(trials: int, epochs: int, folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = Objective(epochs, folder)

    def objective(trial: optuna.Trial) -> float:
        values = {path: trial.suggest_float(path, low, high, log=True) for path, (low, high) in SPACE.items()}
        return run(trial.number, values, Reporting(trial))

    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    study.optimize(objective, n_trials=trials)


if __name__ == "__main__":
    torch.set_num_threads(1)
    search(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
