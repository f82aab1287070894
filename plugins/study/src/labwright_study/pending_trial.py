"""A trial that is asked for in memory first, so that it comes into the storage whole, in one write.

Optuna creates a trial and then writes its parameters one by one. A process that dies in between leaves half a trial,
which nobody could draw again as it would have been. What a sampler notes about the study (a sequence's place, say) goes
with the trial too, and is read back from the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from copy import copy
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
    """What is in a storage but for the trials that are `hidden`, and one trial more. Nothing is written to it."""

    def __init__(
        self,
        storage: BaseStorage,
        number: int,
        fixed: Mapping[str, Any] | None = None,
        *,
        hidden: Callable[[FrozenTrial], bool],
    ) -> None:
        self._storage, self._hidden = storage, hidden
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

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self._notes[key] = value

    # ------------------------------------------------------------------------------------------------- what is there

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attributes = dict(self._storage.get_study_system_attrs(study_id))
        for trial in self._storage.get_all_trials(study_id, deepcopy=False):
            attributes.update(trial.system_attrs.get(NOTES, {}))
        return attributes | self._notes

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        trials = [trial for trial in trials if not self._hidden(trial)]
        here = states is None or TrialState.RUNNING in states
        return [*trials, copy(self._trial)] if here else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return copy(self._trial) if trial_id == _ID else self._storage.get_trial(trial_id)

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

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        raise NotImplementedError

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise NotImplementedError

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise NotImplementedError
