"""A trial in memory beside those that were read: a sampler draws it and a pruner judges it there.

Optuna creates a trial and then writes its parameters one by one. A process that dies in between leaves half a trial,
which nobody could draw again as it would have been. Drawn here, it comes into the storage whole, in one write. What a
sampler notes about the study (a sequence's place, say) goes with the trial too, and is read back from the trials.

Samplers and pruners look at all trials many times over. They are handed the same list each time, read once.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

NOTES = "labwright:notes"  # a trial's system attribute: what its sampler noted about the study
_ID = -1  # the draft's; no storage gives it


class PendingTrial(BaseStorage):
    """Some of a storage's trials, as they were read, and one trial more. Nothing is written to the storage."""

    def __init__(
        self,
        storage: BaseStorage,
        trials: Sequence[FrozenTrial],
        number: int,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self._storage, self._trials = storage, trials
        self._notes: dict[str, Any] = {}
        self._trial = FrozenTrial(
            number=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={} if fixed is None else {"fixed_params": dict(fixed)},
            intermediate_values={},
            trial_id=_ID,
        )

    def finished(self, attributes: Mapping[str, Any], user_attributes: Mapping[str, Any]) -> FrozenTrial:
        """The trial as it is to be created."""
        notes = {NOTES: self._notes} if self._notes else {}
        self._trial.system_attrs = {**self._trial.system_attrs, **notes, **attributes}
        self._trial.user_attrs = dict(user_attributes)
        return self._trial

    # ------------------------------------------------------------------------------------------------- the new trial

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: ARG002
        return _ID

    def set_trial_param(
        self,
        trial_id: int,  # noqa: ARG002
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        value = distribution.to_external_repr(param_value_internal)
        self._trial.params = {**self._trial.params, param_name: value}
        self._trial.distributions = {**self._trial.distributions, param_name: distribution}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id == _ID:
            self._trial.system_attrs = {**self._trial.system_attrs, key: value}
        else:
            self._storage.set_trial_system_attr(trial_id, key, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:  # noqa: ARG002
        self._trial.intermediate_values = {**self._trial.intermediate_values, step: intermediate_value}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self._notes[key] = value

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:  # noqa: ARG002
        return False  # a waiting trial isn't this one: whoever enqueued it gets it asked by the study

    # ------------------------------------------------------------------------------------------------- what is there

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attributes = dict(self._storage.get_study_system_attrs(study_id))
        for trial in self._trials:
            attributes.update(trial.system_attrs.get(NOTES, {}))
        return attributes | self._notes

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        if states is None or TrialState.RUNNING in states:
            trials.append(copy.copy(self._trial))
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return copy.copy(self._trial) if trial_id == _ID else self._storage.get_trial(trial_id)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._storage.get_all_studies()

    # ---------------------------------------------------------------------------------------- what asking never does

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        raise NotImplementedError

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise NotImplementedError

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise NotImplementedError
