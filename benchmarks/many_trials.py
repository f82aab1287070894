"""What a trial costs as a study grows: labwright's studies beside Optuna by itself, with the same storage and sampler.

Both search the same two settings with TPE and the median pruner, keep their trials in a journal file, and train the
same three steps with an evaluation after each, so that nearly all of a trial's time is what a search costs. In
milliseconds of CPU time: the mean of the 80 trials up to each place. What grows in Optuna's own row is TPE, which
models all finished trials anew for each one.

Example: `OMP_NUM_THREADS=1 .venv/bin/python benchmarks/many_trials.py --places 100 500 --samplers tpe`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import labwright as lw
import optuna
import torch
from labwright_study.trial_store import TrialStore
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

sys.path.insert(0, str(Path(__file__).parent / "sweeps"))
from by_hand import Reporting
from objective import SPACE, Last, experiment

AROUND = 80  # trials that a figure is the mean of: ten batches
TINY = experiment(3).varied({"train.batch_size": 2048, "model.width": 8})  # three steps, one an epoch


def by_optuna(trials: int, sampler: str, folder: Path) -> list[float]:
    """CPU seconds until each trial had ended."""
    task, ended = TINY.prepared(), []

    def objective(trial: optuna.Trial) -> float:
        values = {path: trial.suggest_float(path, low, high, log=True) for path, (low, high) in SPACE.items()}
        last, reporting = Last(), Reporting(trial)
        TINY.varied(values).trial(folder / "runs" / str(trial.number), task, listeners=[last, reporting]).fit()
        if reporting.count < 3:
            raise optuna.TrialPruned
        return last.value

    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        direction="maximize",
        sampler=samplers[sampler](seed=0),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, n_trials=trials, callbacks=[lambda *_: ended.append(time.process_time())])
    return ended


def by_labwright(trials: int, sampler: str, folder: Path) -> list[float]:
    """CPU seconds until each trial had ended."""
    ended, tell = [], TrialStore.tell

    def told(self: TrialStore, *given: Any) -> bool:
        ended.append(time.process_time())
        return tell(self, *given)

    TrialStore.tell = told  # type: ignore[method-assign]
    lw.Study(TINY, trials, folder=folder, sampler=sampler, quiet=True).run()
    TrialStore.tell = tell  # type: ignore[method-assign]
    size = (folder / "report.html").stat().st_size / 1e6
    print(f"the report, {size:.1f} MB, took {time.process_time() - ended[-1]:.1f} s", file=sys.stderr)
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, nargs="*", default=[100, 500, 1000, 2000], help=f"each over {AROUND}")
    parser.add_argument("--samplers", nargs="*", default=["tpe", "random"], choices=["tpe", "random"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| sampler | tool | " + " | ".join(f"trial {place:,}" for place in options.places) + " |")
    print("| --- | --- |" + " --- |" * len(options.places))
    for sampler in options.samplers:
        for tool, search in (("Optuna", by_optuna), ("labwright", by_labwright)):
            with tempfile.TemporaryDirectory() as scratch:
                ended = search(max(options.places), sampler, Path(scratch))
            costs = [(ended[place - 1] - ended[place - 1 - AROUND]) / AROUND * 1000 for place in options.places]
            print(f"| {sampler} | {tool} | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |", flush=True)


if __name__ == "__main__":
    main()
