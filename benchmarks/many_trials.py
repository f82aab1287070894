"""What a trial costs as a study grows: labwright's studies beside Optuna by itself, with the same storage and sampler.

Both search the same two settings, keep their trials in a journal file, and ask the median pruner twice. Nothing is
trained: what is left is asking for a trial, answering its reports and telling it. They take turns of eight trials, so
that a busy machine is busy for both. What grows in both rows is TPE, which models all finished trials anew for each.

Example: `OMP_NUM_THREADS=1 .venv/bin/python benchmarks/many_trials.py`; it writes MANY_TRIALS.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import optuna
from labwright_study.trial import Result
from labwright_study.trial_store import BATCH
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

sys.path.insert(0, str(Path(__file__).parent / "sweeps"))
from objective import SPACE, experiment

RESULTS = Path(__file__).parent / "MANY_TRIALS.md"
TURN = 8  # trials: a batch
SAMPLERS = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
REPORTS = [[0.3], [0.4], [0.5]]


def drawn(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    for path, (low, high) in SPACE.items():
        trial.suggest_float(path, low, high, log=True)
    return trial


def past(count: int) -> list[FrozenTrial]:
    """Complete trials that a study has behind it."""
    drawing, trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), []
    for number in range(count):
        trial = drawn(drawing)
        values = {step: (number * 0.618 + step / 10) % 1 for step in (1, 2, 3)}
        parts = {"params": trial.params, "distributions": trial.distributions, "intermediate_values": values}
        trials.append(optuna.trial.create_trial(value=values[3], system_attrs={BATCH: number // TURN}, **parts))
    return trials


def by_optuna(folder: Path, sampler: str, trials: list[FrozenTrial]) -> Callable[[], None]:
    """A turn of eight trials, as one writes it with Optuna's documentation open."""
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "optuna.log"))),
        direction="maximize",
        sampler=SAMPLERS[sampler](seed=0),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.add_trials(trials)

    def turn() -> None:
        for _ in range(TURN):
            trial = drawn(study)
            for step, (value,) in enumerate(REPORTS, 1):
                trial.report(value, step)
                if step < len(REPORTS):
                    trial.should_prune()
            study.tell(trial, REPORTS[-1])

    return turn


def by_labwright(folder: Path, sampler: str, trials: list[FrozenTrial]) -> Callable[[], None]:
    """A turn of eight trials: a batch of a study."""
    most = 2 * len(trials) + 1000
    store = lw.Study(experiment(1), most, folder=folder / "study", sampler=sampler, quiet=True).opened()
    for trial in trials:
        store.storage.create_new_trial(store.study._study_id, trial)

    def turn() -> None:
        batch = store.batch(TURN, most)
        store.begin()
        for trial in batch:
            for step in range(1, len(REPORTS)):
                store.answer(trial.number, REPORTS[:step])
            store.keep(trial, Result(trial.number, "complete", REPORTS[-1], REPORTS))
        for trial in batch:
            store.tell(trial, Result(trial.number, "complete", REPORTS[-1], REPORTS))

    return turn


def measured(sampler: str, place: int, rounds: int) -> list[float]:
    """CPU milliseconds of a trial after so many: the medians of Optuna's turns and of labwright's."""
    with tempfile.TemporaryDirectory() as scratch:
        trials = past(place)
        turns = [search(Path(scratch), sampler, trials) for search in (by_optuna, by_labwright)]
        costs: list[list[float]] = [[], []]
        for number in range(rounds + 1):  # the first warms up
            for turn, kept in zip(turns, costs, strict=True):
                begun = time.process_time()
                turn()
                if number:
                    kept.append((time.process_time() - begun) / TURN * 1000)
    return [statistics.median(kept) for kept in costs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, nargs="*", default=[100, 500, 1000, 2000])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = ["# What a trial costs as a study grows", ""]
    lines += [f"CPU milliseconds of a trial beside its training; medians of {options.rounds} turns.", ""]
    lines += ["| sampler | tool | " + " | ".join(f"after {place:,}" for place in options.places) + " |"]
    lines += ["| --- | --- |" + " --- |" * len(options.places)]
    for sampler in SAMPLERS:
        columns = [measured(sampler, place, options.rounds) for place in options.places]
        for tool, costs in zip(("Optuna", "labwright"), zip(*columns, strict=True), strict=True):
            lines.append(f"| {sampler} | {tool} | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |")
            print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
