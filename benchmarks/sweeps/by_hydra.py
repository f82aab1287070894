"""Hydra's Optuna sweeper over the same objective: `by_hydra.py TRIALS EPOCHS FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
import torch
from objective import Objective
from omegaconf import DictConfig

runs: list[Objective] = []  # the launcher runs jobs in this process, so that data is read once


@hydra.main(version_base=None, config_path=None, config_name=None)
def main(config: DictConfig) -> float:
    torch.set_num_threads(1)
    if not runs:
        runs.append(Objective(int(os.environ["EPOCHS"]), Path(os.environ["FOLDER"])))
    number = hydra.core.hydra_config.HydraConfig.get().job.num
    return runs[0](number, {"optimizer.lr": config.lr, "optimizer.weight_decay": config.weight_decay})


if __name__ == "__main__":
    trials, os.environ["EPOCHS"], os.environ["FOLDER"] = sys.argv[1:]
    sys.argv[1:] = [
        "--multirun",
        "hydra/sweeper=optuna",
        "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.n_trials={trials}",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.sampler.seed=0",
        f"hydra.sweep.dir={os.environ['FOLDER']}/multirun",
        "+lr=tag(log, interval(1e-5, 1e-1))",
        "+weight_decay=tag(log, interval(1e-4, 1e-1))",
    ]
    main()
