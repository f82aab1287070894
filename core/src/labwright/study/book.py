"""A study's book: what Optuna is asked, told and made to decide. Everything that knows Optuna's trials is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from labwright.builtin.samplers import Sampler
from labwright.feeding import derived
from labwright.interfaces import Goal
from labwright.study.dominance import REPORTS
from labwright.study.space import Space
from labwright.study.storage import LEASE, Lease
from labwright.study.trial import Result

BATCH = "labwright:batch"  # the number of the batch a trial was asked in
RESULT = "labwright:result"  # what came out of it, before it is told
LOST = "labwright:lost"  # whoever ran it is gone, or there were more trials than asked for: it doesn't count
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
CLOSE = (optuna.exceptions.UpdateFinishedTrialError, RuntimeError, ValueError)  # of a trial that is over already


class Book:
    """The trials of one study in its storage."""

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        *,
        space: Space,
        goals: Sequence[Goal],
        sampler: Sampler,
        pruner: BasePruner,
        seed: int,
    ) -> None:
        self.study, self.storage, self.space, self.goals = study, storage, space, goals
        self.sampler, self.pruner, self.seed = sampler, pruner, seed
        self.single = len(goals) == 1
        self._past: list[FrozenTrial] = []  # what the pruner of the batch under way looks at

    # ------------------------------------------------------------------------------------------------------- asking

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> list[FrozenTrial]:
        """The finished trials that count: those whose worker was lost were asked again."""
        return [trial for trial in self.trials(*FINISHED) if LOST not in trial.system_attrs]

    def running(self) -> list[FrozenTrial]:
        return self.trials(TrialState.RUNNING)

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Have a point tried before the sampler is asked."""
        self.study.enqueue_trial(dict(params), user_attrs={"baseline": True})

    def ask(self, **attributes: Any) -> FrozenTrial:
        """A new trial with all its parameters. Its sampler is seeded by its number."""
        waiting = self.trials(TrialState.WAITING)
        number = waiting[0].number if waiting else len(self.trials())
        seed = self.seed if self.sampler.own_seed else derived(self.seed, number, 7)
        self.study.sampler = self.sampler.make(seed % 2**32, self.space)
        trial = self.study.ask()
        self.space.suggest(trial)
        for key, value in attributes.items():
            self.storage.set_trial_system_attr(trial._trial_id, f"labwright:{key}", value)
        return self.storage.get_trial(trial._trial_id)

    def batch(self, size: int, most: int) -> list[FrozenTrial]:
        """The trials of the batch under way, asked as far as they are missing; none if `most` trials are there.

        What a pruner may look at is what was finished before the batch.
        """
        members = self.running()
        finished = self.counted()
        now = members[0].system_attrs.get(BATCH, 0) if members else self._last_batch() + 1
        begun = any(trial.system_attrs.get(BATCH) == now for trial in finished)
        self._past = [trial for trial in finished if trial.system_attrs.get(BATCH) != now]
        while not begun and len(members) < min(size, most - len(finished)):
            members.append(self.ask(batch=now))
        return members

    def _last_batch(self) -> int:
        return max((trial.system_attrs.get(BATCH, -1) for trial in self.trials()), default=-1)

    # ------------------------------------------------------------------------------------------------------ pruning

    def answer(self, number: int, values: Sequence[Sequence[float]]) -> bool:
        """Whether a trial of the batch under way is pruned after these reports, by what the batches before it did."""
        if isinstance(self.pruner, NopPruner):
            return False
        mirror = self._mirrors.get(number)
        if mirror is None:
            mirror = self._mirrors[number] = Mirror(self, number)
        return mirror.prunes(values)

    def answer_now(self, trial: FrozenTrial, values: Sequence[Sequence[float]]) -> bool:
        """Whether a trial is pruned after these reports, by what is in the storage at this moment."""
        self._report(self.storage, trial._trial_id, values, len(values))
        if isinstance(self.pruner, NopPruner):
            return False
        return bool(self.pruner.prune(self.study, self.storage.get_trial(trial._trial_id)))

    def begin(self) -> None:
        """A new batch: the last one's pruning is over."""
        self._mirrors: dict[int, Mirror] = {}

    def _report(self, storage: BaseStorage, trial_id: int, values: Sequence[Sequence[float]], first: int = 1) -> None:
        """Write reports from number `first` on."""
        if self.single:
            for report in range(first, len(values) + 1):
                storage.set_trial_intermediate_value(trial_id, report, values[report - 1][0])
        storage.set_trial_system_attr(trial_id, REPORTS, [list(one) for one in values])

    # ------------------------------------------------------------------------------------------------------ telling

    def keep(self, trial: FrozenTrial, result: Result) -> None:
        """Write down what came out of a trial that will be told with its batch."""
        trial_id = trial._trial_id
        mirror = self._mirrors.get(trial.number)
        for key, value in mirror.rungs().items() if mirror else ():
            self.storage.set_trial_system_attr(trial_id, key, value)
        self._report(self.storage, trial_id, result.reports)
        self.storage.set_trial_system_attr(trial_id, RESULT, {**result.json(), "reports": []})

    def tell(self, trial: FrozenTrial, result: Result) -> bool:
        """Close a trial. False if it was closed already: its lease had expired, and it is run elsewhere.

        A trial that failed because its numbers did is told as pruned, so that the sampler learns to keep away; one that
        couldn't be built or broke is told as failed.
        """
        trial_id = trial._trial_id
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[result.state]
        if result.diverged:
            state = TrialState.PRUNED
        with suppress(*CLOSE):
            attributes = {"steps": result.steps, "seconds": result.seconds, "reason": result.reason}
            for key, value in attributes.items():
                if value:
                    self.storage.set_trial_user_attr(trial_id, key, value)
            self.study.tell(trial.number, result.values if state is TrialState.COMPLETE else None, state=state)
            return True
        return False

    def drop(self, trial: FrozenTrial) -> None:
        """Close a trial that isn't wanted: others were quicker to ask for the last ones."""
        with suppress(*CLOSE):
            self.storage.set_trial_system_attr(trial._trial_id, LOST, "surplus")
            self.study.tell(trial.number, state=TrialState.FAIL)

    def surplus(self, trial: FrozenTrial, most: int) -> bool:
        """Whether enough others have been asked for before this one."""
        before = (one for one in self.trials() if one.number < trial.number and LOST not in one.system_attrs)
        return sum(1 for _ in before) >= most

    def renew(self, trials: Iterable[FrozenTrial], lease: Lease) -> None:
        for trial in list(trials):
            with suppress(*CLOSE):
                self.storage.set_trial_system_attr(trial._trial_id, LEASE, lease.now())


class Mirror:
    """A study in memory as one trial's pruner sees it: what was finished before its batch, and the trial itself.

    Its numbers are those of the study; the trial's neighbours in the batch are there and haven't reported.
    """

    def __init__(self, book: Book, number: int) -> None:
        self.book = book
        self.storage = InMemoryStorage()
        self.study = optuna.create_study(
            storage=self.storage, study_name=book.study.study_name, directions=book.study.directions, pruner=book.pruner
        )
        past = {trial.number: trial for trial in book._past}
        for one in range(number):
            self.storage.create_new_trial(self.study._study_id, _bare(past[one]) if one in past else _unreported())
        self.trial_id = self.storage.create_new_trial(self.study._study_id)

    def prunes(self, values: Sequence[Sequence[float]]) -> bool:
        self.book._report(self.storage, self.trial_id, values, len(values))
        return bool(self.book.pruner.prune(self.study, self.storage.get_trial(self.trial_id)))

    def rungs(self) -> dict[str, Any]:
        """What the pruner noted about the trial, for those that come after."""
        attributes = self.storage.get_trial(self.trial_id).system_attrs
        return {key: value for key, value in attributes.items() if not key.startswith("labwright:")}


def _bare(trial: FrozenTrial) -> FrozenTrial:
    """A finished trial without its parameters."""
    return optuna.trial.create_trial(
        state=trial.state,
        values=trial.values if trial.state is TrialState.COMPLETE else None,
        intermediate_values=trial.intermediate_values,
        system_attrs={key: value for key, value in trial.system_attrs.items() if key not in (RESULT, LEASE)},
    )


def _unreported() -> FrozenTrial:
    return optuna.trial.create_trial(state=TrialState.WAITING)
