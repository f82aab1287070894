"""The last of thousands of trials costs a study as much as the first, but for what its sampler computes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import labwright as lw
import optuna
import pytest
from labwright_study import journal
from labwright_study.dominance import REPORTS
from labwright_study.trial import Result
from labwright_study.trial_store import BATCH, TrialStore
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from test_studies import study


def with_history(one: lw.Study, count: int) -> TrialStore:
    """A study's trials as another process left them: so many of them complete, three reports each."""
    store = one.opened()
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(count):
        asked = drawing.ask()
        one.space.suggest(asked)
        values = [[number / count + report / 10] for report in range(3)]
        trial = optuna.trial.create_trial(
            values=values[-1],
            params=asked.params,
            distributions=asked.distributions,
            intermediate_values={report + 1: value for report, (value,) in enumerate(values)},
            system_attrs={REPORTS: values, BATCH: number // 8},
        )
        store.storage.create_new_trial(store.study._study_id, trial)
    return one.opened()


def one_batch(store: TrialStore, size: int, most: int) -> None:
    """Eight trials of three reports, as a study asks for them, answers and tells them."""
    batch = store.batch(size, most)
    assert len(batch) == size
    store.begin()
    reports = [[0.1], [0.2], [1.5]]
    for trial in batch:
        for report in (1, 2):
            store.answer(trial.number, reports[:report])
        store.keep(trial, Result(trial.number, "complete", reports[-1], reports))
    for trial in batch:
        assert store.tell(trial, Result(trial.number, "complete", reports[-1], reports))


@pytest.mark.parametrize("pruner", ["median", "successive-halving", "dominated"])
def test_a_batch_reads_copies_and_compares_no_more_trials_after_a_long_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruner: str
):
    counts: Counter[str] = Counter()

    def counted(owner: Any, name: str) -> None:
        whole = getattr(owner, name)

        def counting(*given: Any, **settings: Any) -> Any:
            counts[name] += 1
            return whole(*given, **settings)

        monkeypatch.setattr(owner, name, counting)

    counted(journal, "_entry")  # a line of the journal is read
    counted(JournalStorage, "get_all_trials")
    counted(FrozenTrial, "__reduce_ex__")  # a trial is copied, deep or not
    counted(FrozenTrial, "__init__")
    counted(BaseDistribution, "__eq__")  # a trial's space is compared with that of others
    work = []
    for history in (32, 320):
        one = study(tmp_path / str(history), history + 16, batch=8, pruner=pruner)
        store = with_history(one, history)
        one_batch(store, 8, history + 8)  # looks at the history once
        counts.clear()
        one_batch(store, 8, history + 16)
        work.append(dict(counts))
        assert len(store.trials(TrialState.COMPLETE)) == history + 16
    assert work[0] == work[1]
    assert work[0]["_entry"] <= 8 * 24  # lines that these trials have written, each read once
