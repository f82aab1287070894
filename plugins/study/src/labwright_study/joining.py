"""A study as its storage tells it: to join it from another machine, or to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from labwright import Experiment, LabwrightError, Plugins, listed, nearest
from optuna.storages import BaseStorage

from labwright_study.definition import DEFINITION
from labwright_study.folder import JOURNAL, checked_name
from labwright_study.storage import SECONDS, is_there, opened, reached, without_password
from labwright_study.study import Study
from labwright_study.trial_store import quiet_optuna


def url_of(name: str, storage: str) -> str:
    """The storage's URL, or that of the journal in the study's folder. Raises LabwrightError if there is none."""
    checked_name(name)
    if storage:
        return storage
    journal = Path("studies") / name / JOURNAL
    if not journal.is_file():
        names = sorted(file.parent.name for file in Path("studies").glob(f"*/{JOURNAL}"))
        raise LabwrightError(
            f"there is no study {name!r} in studies/{nearest(name, names)} There are {listed(names)}. One that is kept "
            "elsewhere is found with --storage."
        )
    return f"journal:{journal}"


def stored(name: str, storage: str) -> tuple[BaseStorage, optuna.Study, Mapping[str, Any]]:
    """The storage, the study of that name in it, and what it studies. Raises LabwrightError if there is none."""
    url = url_of(name, storage)
    with reached(url), quiet_optuna():
        if not is_there(url):
            raise LabwrightError(f"there is no storage {without_password(url)!r}.")
        found = opened(url)
        names = optuna.get_all_study_names(found)
        if name not in names:
            raise LabwrightError(f"the storage has no study {name!r}{nearest(name, names)} It has {listed(names)}.")
        study = optuna.load_study(study_name=name, storage=found)
    kept = study.user_attrs.get(DEFINITION)
    if not isinstance(kept, Mapping):
        raise LabwrightError(f"study {name!r} wasn't begun by labwright.")
    return found, study, kept


def recalled(name: str, storage: str, plugins: Plugins, *, workers: int = 1) -> Study:
    """The study of that name, as it was begun. Raises LabwrightError if the storage has none."""
    _, _, kept = stored(name, storage)
    try:
        experiment = Experiment(**kept["experiment"], plugins=plugins, name=kept["name"])
        return Study(
            experiment,
            kept["trials"],
            name=name,
            storage=url_of(name, storage),
            search=kept["search"],
            fixed=kept["fixed"],
            goals=[":".join(goal) for goal in kept["goals"]],
            sampler=kept["sampler"],
            pruner=kept["pruner"],
            workers=workers,
            threads=kept["threads"],
            batch=kept["batch"],
            seed=kept["seed"],
            asynchronous=kept["asynchronous"],
            fuse=kept["fuse"],
            lease=kept.get("lease", SECONDS),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabwrightError(
            f"what the storage says of study {name!r} is damaged: {type(error).__name__}: {error}."
        ) from error


def joined(name: str, storage: str, plugins: Plugins, *, workers: int) -> Study:
    """A study to run trials of. Raises LabwrightError if it is one that a single process drives."""
    study = recalled(name, storage, plugins, workers=workers)
    if not study.asynchronous:
        raise LabwrightError(
            f"study {name!r} is reproducible, so that one `labwright tune` drives it. For one that machines share, "
            "begin it with --asynchronous."
        )
    study.joins = True
    return study
