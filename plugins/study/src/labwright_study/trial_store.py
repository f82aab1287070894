"""The trials of a study in its storage: what Optuna is asked, told and made to decide, and nothing else knows of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from operator import le
from typing import Any

import optuna
from labwright import Goal, derived_seed
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from labwright_study.dominance import REPORTS
from labwright_study.pending_trial import PendingTrial
from labwright_study.samplers import Sampler
from labwright_study.space import Space
from labwright_study.storage import LEASE, RELEASED, Lease
from labwright_study.trial import Result, State

BATCH = "labwright:batch"  # the number of the batch a trial was asked in
RESULT = "labwright:result"  # what came out of it, before it is told
LOST = "labwright:lost"  # of a failed trial: why it doesn't count, such as that whoever ran it is gone
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
TOLD: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,  # so that the sampler learns to keep away
    "failed": TrialState.FAIL,
}
DIVERGED = "diverged"  # user attribute of such a trial
MOST_SHOWN = 5  # trials, when a study has ended
BASELINE = "baseline"  # user attribute of the trial that is the recipe itself
RETRY = "retry_of"  # user attribute: the number of the lost trial whose point this is


def state_of(trial: FrozenTrial) -> State:
    """How a finished trial ended."""
    states: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    return "diverged" if trial.user_attrs.get(DIVERGED) else states.get(trial.state, "failed")


def settings_of(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    """A trial's settings by path; of the recipe itself those too that no mark can hold."""
    return space.shown(trial.params) | (space.beside if trial.user_attrs.get(BASELINE) else {})


@contextmanager
def unwarned() -> Iterator[None]:
    """Within it Optuna doesn't say which of its parts may still change: its version is bounded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within it Optuna says nothing but errors; afterwards it says what the program wants it to."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def vain(study: optuna.Study) -> bool:
    """Whether nothing has come of a study: no trial has ended but by failing."""
    return all(
        trial.state in (TrialState.FAIL, TrialState.WAITING)
        or (trial.state is TrialState.RUNNING and RESULT not in trial.system_attrs)
        for trial in study.get_trials(deepcopy=False)
    )


class TrialStore:
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
        baseline: Mapping[str, Any] | None = None,
    ) -> None:
        self.study, self.storage, self.space, self.goals = study, storage, space, goals
        self.sampler, self.pruner, self.seed, self.baseline = sampler, pruner, seed, baseline
        self.single = len(goals) == 1
        self._past: list[FrozenTrial] = []  # by number: what pruners of the batch under way look at
        self._shared_spaces: dict[str, IntersectionSearchSpace] = {}

    # ------------------------------------------------------------------------------------------------------- asking

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> list[FrozenTrial]:
        """The finished trials that count: those whose worker was lost were asked again."""
        return [trial for trial in self.trials(*FINISHED) if not lost(trial)]

    def ended(self) -> list[FrozenTrial]:
        """Those that count, and those that have ended and will be told with their batch, as if they were told."""
        waiting = [_told(trial) for trial in self.running() if RESULT in trial.system_attrs]
        return sorted([*self.counted(), *waiting], key=lambda trial: trial.number)

    def best(self) -> list[FrozenTrial]:
        """The best of those that have ended, the first of equals; with several goals those that no other dominates."""
        if self.single:
            return self.ranked()[:1]
        complete = [trial for trial in self.ended() if trial.state is TrialState.COMPLETE]
        costs = list(map(self._costs, complete))

        def dominated(cost: tuple[float, ...]) -> bool:
            return any(other != cost and all(map(le, other, cost)) for other in costs)

        return [trial for trial, cost in zip(complete, costs, strict=True) if not dominated(cost)]

    def ranked(self) -> list[FrozenTrial]:
        """Those that are complete, the best by the first goal before the others."""
        return sorted((one for one in self.ended() if one.state is TrialState.COMPLETE), key=self._costs)

    def shown(self) -> list[FrozenTrial]:
        """The best few, or those of the front, and the recipe itself."""
        ranked = self.ranked()
        first = ranked[:MOST_SHOWN] if self.single else self.best()[:MOST_SHOWN]
        return [*first, *(one for one in ranked if one.user_attrs.get(BASELINE) and one not in first)]

    def _costs(self, trial: FrozenTrial) -> tuple[float, ...]:
        signs = (1.0 if goal.direction == "minimize" else -1.0 for goal in self.goals)
        return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))

    def running(self) -> list[FrozenTrial]:
        return self.trials(TrialState.RUNNING)

    def ask(
        self, point: Mapping[str, Any] | None = None, *, marks: Mapping[str, Any] | None = None, **attributes: Any
    ) -> FrozenTrial:
        """A new trial with all its parameters, those of `point` as they are. Its sampler is seeded by its number.

        The first trial of a study is its baseline. `marks` are user attributes, `attributes` our own.
        """
        if point is None and (waiting := self.trials(TrialState.WAITING)):  # somebody else wants this one tried
            point = waiting[0].system_attrs.get("fixed_params") if self.claim(waiting[0], "asked") else None
        ours = {f"labwright:{key}": value for key, value in attributes.items()}
        while True:
            trials = self.trials()
            number = len(trials)
            if not trials and point is None and self.baseline is not None:
                drawn = self._drawn(trials, self.baseline, ours, {BASELINE: True}, whole=True)
            else:
                drawn = self._drawn(trials, point, ours, marks or {}, whole=RETRY in (marks or {}))
            if len(self.trials()) != number:  # somebody asked meanwhile; a trial to drop would be in others' way too
                continue
            trial = self.storage.get_trial(self.study._storage.create_new_trial(self.study._study_id, drawn))
            if trial.number == number:
                return trial
            self.drop(trial)  # another machine asked at this moment, and has what was drawn for that number

    def _drawn(
        self,
        trials: Sequence[FrozenTrial],
        point: Mapping[str, Any] | None,
        attributes: Mapping[str, Any],
        marks: Mapping[str, Any],
        *,
        whole: bool,
    ) -> FrozenTrial:
        """A trial to be created after `trials`; `whole` says that what `point` leaves out isn't to be drawn."""
        number = len(trials)
        learned = [trial for trial in trials if not self._partial(trial)]
        pending = PendingTrial(self.study._storage, learned, number, point)
        with unwarned():
            study = optuna.Study(self.study.study_name, pending, sampler=self._sampler_of(number))
            self.space.suggest(study.ask(), point if whole else None)
        return pending.finished(attributes, marks)

    def _partial(self, trial: FrozenTrial) -> bool:
        """Whether a trial is the recipe itself with a value that the space can't hold: no sampler can learn from it."""
        return bool(trial.user_attrs.get(BASELINE)) and not self.space.whole(trial.params)

    def _sampler_of(self, number: int) -> BaseSampler:
        """A new sampler. What samplers before it have read off the trials, the space they share, it needn't read."""
        seed = self.seed if self.sampler.own_seed else derived_seed(self.seed, number, 7)
        sampler = self.sampler.make(seed % 2**32, self.space)
        for name, value in list(vars(sampler).items()):
            if isinstance(value, IntersectionSearchSpace):
                setattr(sampler, name, self._shared_spaces.setdefault(name, value))
        return sampler

    def batch(self, size: int, most: int) -> list[FrozenTrial]:
        """The trials of the batch under way, asked as far as they are missing; none if `most` trials are there.

        What a pruner may look at is what was finished before the batch.
        """
        members = self.running()
        finished = self.counted()
        now = members[0].system_attrs.get(BATCH, 0) if members else self._last_batch() + 1
        begun = any(trial.system_attrs.get(BATCH) == now for trial in finished)
        while not begun and len(members) < min(size, most - len(finished)):
            members.append(self.ask(batch=now))
        past = {trial.number: trial for trial in finished if trial.system_attrs.get(BATCH) != now}
        last = max((trial.number for trial in members), default=0)
        self._past = [past.get(number) or _unreported(number) for number in range(last)]
        return members

    def _last_batch(self) -> int:
        return max((trial.system_attrs.get(BATCH, -1) for trial in self.trials()), default=-1)

    # ------------------------------------------------------------------------------------------------------ pruning

    def answer(self, number: int, values: Sequence[Sequence[float]]) -> bool:
        """Whether a trial of the batch under way is pruned after these reports, by what the batches before it did."""
        if isinstance(self.pruner, NopPruner):
            return False
        view = self._views.get(number)
        if view is None:
            view = self._views[number] = PrunerView(self, number)
        return view.prunes(values)

    def answer_now(self, trial: FrozenTrial, values: Sequence[Sequence[float]]) -> bool:
        """Whether a trial is pruned after these reports, by what is in the storage at this moment.

        One that was taken over ends here too: it is run elsewhere.
        """
        try:
            self._report(self.storage, trial._trial_id, values, len(values))
        except UpdateFinishedTrialError:
            return True
        if isinstance(self.pruner, NopPruner):
            return False
        return bool(self.pruner.prune(self.study, self.storage.get_trial(trial._trial_id)))

    def begin(self) -> None:
        """A new batch: the last one's pruning is over."""
        self._views: dict[int, PrunerView] = {}

    def _report(self, storage: BaseStorage, trial_id: int, values: Sequence[Sequence[float]], first: int = 1) -> None:
        """Write reports from number `first` on."""
        if self.single:
            for report in range(first, len(values) + 1):
                storage.set_trial_intermediate_value(trial_id, report, values[report - 1][0])
        storage.set_trial_system_attr(trial_id, REPORTS, [list(report) for report in values])

    # ------------------------------------------------------------------------------------------------------ telling

    def keep(self, trial: FrozenTrial, result: Result) -> None:
        """Write down what came out of a trial that will be told with its batch."""
        trial_id = trial._trial_id
        view = self._views.get(trial.number)
        for key, value in view.rungs().items() if view else ():
            self.storage.set_trial_system_attr(trial_id, key, value)
        self._report(self.storage, trial_id, result.reports)
        self.storage.set_trial_system_attr(trial_id, RESULT, {**result.json(), "reports": []})

    def tell(self, trial: FrozenTrial, result: Result) -> bool:
        """Close a trial. False if it was closed already: its lease had expired, and it is run elsewhere.

        A trial that diverged is told as pruned; one that couldn't be built or broke is told as failed.
        """
        trial_id = trial._trial_id
        state = TOLD[result.state]
        attributes = _attributes(result)
        seen = len(self.storage.get_trial(trial_id).system_attrs.get(REPORTS, []))
        try:
            if seen < len(result.reports):  # the last one of a trial asks for no answer
                self._report(self.storage, trial_id, result.reports, seen + 1)
            for key, value in attributes.items():
                if value:
                    self.storage.set_trial_user_attr(trial_id, key, value)
            with unwarned():
                self.study.sampler = self._sampler_of(trial.number)
                self.study.tell(trial.number, result.values if state is TrialState.COMPLETE else None, state=state)
        except UpdateFinishedTrialError:
            return False
        except (RuntimeError, ValueError):  # what a sampler does after a trial; or somebody was faster just now
            told = self.storage.get_trial(trial_id)
            return told.state is state and not lost(told)
        return True

    def claim(self, trial: FrozenTrial, why: str) -> bool:
        """Close a trial so that it doesn't count. False if its owner told it, or somebody else claimed it, before."""
        try:
            self.storage.set_trial_system_attr(trial._trial_id, LOST, why)
            return self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False

    def drop(self, trial: FrozenTrial) -> None:
        """Close a trial that isn't wanted: others were quicker to ask for the last ones."""
        self.claim(trial, "surplus")

    def surplus(self, trial: FrozenTrial, most: int) -> bool:
        """Whether enough others have been asked for before this one."""
        before = [other for other in self.trials() if other.number < trial.number and not lost(other)]
        return len(before) >= most

    # ----------------------------------------------------------------------------------------------------- sharing

    def taken_over(self, lease: Lease) -> FrozenTrial | None:
        """A trial whose owner is gone, closed here and nowhere else; it is to be asked again. None if there is none."""
        for trial in self.running():
            if lease.over(trial.number, trial.system_attrs.get(LEASE)) and self.claim(trial, "its owner is gone"):
                return trial
        return None

    def again(self, trial: FrozenTrial, **attributes: Any) -> FrozenTrial:
        """A new trial at the point of a lost one."""
        kept = {key: value for key, value in trial.user_attrs.items() if key == BASELINE}
        return self.ask(trial.params, marks=kept | {RETRY: trial.number}, **attributes)

    def renew(self, trials: Iterable[FrozenTrial], lease: Lease) -> None:
        for trial in list(trials):
            with suppress(UpdateFinishedTrialError):
                self.storage.set_trial_system_attr(trial._trial_id, LEASE, lease.now())

    def release(self, trials: Iterable[FrozenTrial]) -> None:
        """Say of trials that nobody works at them any more."""
        for trial in list(trials):
            with suppress(UpdateFinishedTrialError):
                self.storage.set_trial_system_attr(trial._trial_id, LEASE, RELEASED)


def _attributes(result: Result) -> dict[str, Any]:
    """What a trial that ended has in its user attributes."""
    return {
        "steps": result.steps,
        "seconds": result.seconds,
        "reason": result.reason,
        DIVERGED: result.state == "diverged",
    }


def _told(trial: FrozenTrial) -> FrozenTrial:
    """A trial whose result is kept, as it will be when it is told."""
    result = Result(**trial.system_attrs[RESULT])
    told = copy(trial)
    told.state = TOLD[result.state]
    told.values = result.values if told.state is TrialState.COMPLETE else None
    told.user_attrs = trial.user_attrs | {key: value for key, value in _attributes(result).items() if value}
    return told


def lost(trial: FrozenTrial) -> bool:
    """Whether a trial doesn't count. One that its owner told while it was being claimed does."""
    return trial.state is TrialState.FAIL and LOST in trial.system_attrs


class PrunerView:
    """A study as one trial's pruner sees it: what was finished before its batch, and the trial itself.

    Its numbers are those of the study; the trial's neighbours in the batch are there and haven't reported.
    """

    def __init__(self, store: TrialStore, number: int) -> None:
        self.store = store
        self.storage = PendingTrial(store.study._storage, store._past[:number], number)
        self.study = optuna.Study(store.study.study_name, self.storage, pruner=store.pruner)
        self.trial_id = self.storage.create_new_trial(self.study._study_id)

    def prunes(self, values: Sequence[Sequence[float]]) -> bool:
        self.store._report(self.storage, self.trial_id, values, len(values))
        return bool(self.store.pruner.prune(self.study, self.storage.get_trial(self.trial_id)))

    def rungs(self) -> dict[str, Any]:
        """What the pruner noted about the trial, for those that come after."""
        attributes = self.storage.get_trial(self.trial_id).system_attrs
        return {key: value for key, value in attributes.items() if not key.startswith("labwright:")}


def _unreported(number: int) -> FrozenTrial:
    trial = optuna.trial.create_trial(state=TrialState.WAITING)
    trial.number = number
    return trial
