"""A study as its storage tells it: to join it from another machine, or to look at it."""

from __future__ import annotations

from pathlib import Path

import optuna

from labwright.errors import LabwrightError, listed, nearest
from labwright.experiment import Experiment
from labwright.plugins import Plugins
from labwright.study.definition import DEFINITION
from labwright.study.storage import SECONDS, opened, reached
from labwright.study.study import Study


def url_of(name: str, storage: str) -> str:
    """The storage's URL, or that of the journal in the study's folder. Raises LabwrightError if there is none."""
    if storage:
        return storage
    journal = Path("studies") / name / "journal.log"
    if not journal.is_file():
        there = sorted(file.parent.name for file in Path("studies").glob("*/journal.log"))
        raise LabwrightError(
            f"there is no study {name!r} in studies/{nearest(name, there)} There are {listed(there)}. One that is kept "
            "elsewhere is found with --storage."
        )
    return f"journal:{journal}"


def recalled(name: str, storage: str, plugins: Plugins, *, workers: int = 1) -> Study:
    """The study of that name, as it was begun. Raises LabwrightError if the storage has none."""
    url = url_of(name, storage)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with reached(url):
        there = opened(url)
        names = optuna.get_all_study_names(there)
        if name not in names:
            raise LabwrightError(f"the storage has no study {name!r}{nearest(name, names)} It has {listed(names)}.")
        kept = optuna.load_study(study_name=name, storage=there).user_attrs.get(DEFINITION)
    if kept is None:
        raise LabwrightError(f"study {name!r} wasn't begun by labwright.")
    experiment = Experiment(**kept["experiment"], plugins=plugins, name=kept["name"])
    return Study(
        experiment,
        kept["trials"],
        name=name,
        storage=url,
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
