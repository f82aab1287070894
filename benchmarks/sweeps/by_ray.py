"""Ray Tune with its Optuna search over the same objective, one trial at a time: `by_ray.py TRIALS EPOCHS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray
import torch
from objective import SPACE, Objective
from ray import tune
from ray.tune.search.optuna import OptunaSearch


def main(trials: int, epochs: int, folder: Path) -> None:
    here = str(Path(__file__).parent)
    ray.init(num_cpus=1, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": here}})

    def objective(values: dict[str, Any]) -> dict[str, float]:
        torch.set_num_threads(1)
        number = tune.get_context().get_trial_id()
        return {"accuracy": Objective(epochs, folder)(number, values)}

    tuner = tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space={path: tune.loguniform(low, high) for path, (low, high) in SPACE.items()},
        tune_config=tune.TuneConfig(
            metric="accuracy", mode="max", num_samples=trials, search_alg=OptunaSearch(seed=0), max_concurrent_trials=1
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    tuner.fit()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())
