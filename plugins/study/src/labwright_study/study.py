"""A study: trials of one experiment over its search space, pruned, in parallel, resumable, and the same each time.

Reproducible studies ask for their trials in batches, train a batch in whatever order there are workers for, and tell it
in the trials' order: so the number of workers changes nothing. Asynchronous ones ask as soon as a worker is free.
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import optuna
import tomli_w
from labwright import Experiment, LabwrightError, Plugins, derived_seed, listed, ranks, sentence
from labwright.engine import ComponentSpec, Shown, Where, interruptions, resolve, write_json, write_text
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from labwright_study.confirm import Confirmation, Plan, confirmed, name_of
from labwright_study.definition import DEFINITION, differences, label, parsed_goal
from labwright_study.description import Description
from labwright_study.findings import Findings
from labwright_study.folder import JOURNAL, Marker, check_folder, checked_name, claim, cleared
from labwright_study.grouping import Grouping
from labwright_study.progress import TrialProgress, say
from labwright_study.ranks import checked, led
from labwright_study.report.sections import write_report
from labwright_study.samplers import Grid, Sampler
from labwright_study.space import Space
from labwright_study.storage import LEASE, SECONDS, Lease, alone, is_there, opened, reached, without_password
from labwright_study.trial import Group, Result, Spec, Trials
from labwright_study.trial_store import (
    BASELINE,
    RESULT,
    TrialStore,
    quiet_optuna,
    settings_of,
    state_of,
    unwarned,
    vain,
)
from labwright_study.workers import Here, Pool, Workers, order_of


class InVain(LabwrightError):
    """A study of which nothing can come."""


class Study(Shown):
    """Trials of an experiment. `Study(experiment, trials=50).run()` begins one, or goes on with the one of that name.

    `name` is that of its folder in `studies`; `folder` gives another place. `storage` is a URL, by default a journal in
    the folder. `search` adds to the experiment's own `[search]`, `fixed` are patterns of what isn't searched. `goals`
    are metrics of `valid`, `parameters` or `step_seconds`, with `:minimize` or `:maximize` where the task doesn't say
    it; the task's goal if there are none. `workers` are processes of `threads` threads each; with one the trials run in
    this process, or each in all those together that torchrun or srun started. `batch` trials are asked for at once.
    `asynchronous` asks as workers become free, which is faster and isn't reproducible, and lets other machines join;
    one that isn't heard of for `lease` seconds has lost its trials. `on` names a cluster whose machines the workers run
    on instead, such as "ray" or "ray://HOST:PORT".

    Raises LabwrightError for what doesn't fit; `run` does for a name whose study searches something else.

    Example: `lw.Study(lw.Experiment.from_recipe("vision/digits-mlp"), trials=20, workers=2).run().best`
    """

    def __init__(
        self,
        experiment: Experiment,
        trials: int = 50,
        *,
        name: str | None = None,
        folder: Path | str | None = None,
        storage: str | None = None,
        search: Mapping[str, Any] | None = None,
        fixed: Sequence[str] = (),
        goals: Sequence[str] = (),
        sampler: Any = "tpe",
        pruner: Any = None,
        workers: int = 1,
        on: Any = None,
        threads: int = 1,
        batch: int = 8,
        seed: int = 0,
        asynchronous: bool = False,
        fuse: Literal["none", "auto"] = "none",
        lease: float = SECONDS,
        quiet: bool = False,
    ) -> None:
        numbers = {"trials": trials, "workers": workers, "threads": threads, "batch": batch, "seed": seed}
        for key, value in numbers.items():
            least = 0 if key == "seed" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise LabwrightError(f"{key}: given {value!r}; it should be a whole number from {least} on.")
        self.experiment, self.count = experiment, trials
        self.name = checked_name(name if name is not None else experiment.name.replace("/", "-"))
        self.folder = Path(folder) if folder is not None else Path("studies") / self.name
        self.url = storage or f"journal:{self.folder / 'journal.log'}"
        self.search, self.fixed = dict(search or {}), list(fixed)
        self.goals = [parsed_goal(text, experiment) for text in goals] or [experiment.goal]
        if len({goal.metric for goal in self.goals}) < len(self.goals):
            raise LabwrightError(f"goals: given {listed(goals)}; each metric once.")
        plugins = experiment.plugins
        self.sampler = resolve("sampler", sampler, plugins, Where() / "sampler")
        pruner = pruner if pruner is not None else "median" if len(self.goals) == 1 else "dominated"
        self.pruner = resolve("pruner", pruner, plugins, Where() / "pruner")
        if len(self.goals) > 1 and self.pruner.name not in ("dominated", "none"):
            raise LabwrightError(
                f"pruner {self.pruner.label!r} knows one goal, and this study has {len(self.goals)}: take 'dominated' "
                "or 'none'."
            )
        self.workers, self.threads, self.batch, self.seed = workers, threads, batch, seed
        self.cluster = None if on is None else _cluster(on, plugins)
        self.asynchronous, self.quiet, self.fuse = asynchronous, quiet, fuse
        if fuse not in ("none", "auto") or (fuse == "auto" and asynchronous):
            reason = "asynchronous trials are asked one by one" if fuse == "auto" else "it is none or auto"
            raise LabwrightError(f"fuse: given {fuse!r}; {reason}.")
        self.lease = Lease(float(lease))
        self.joins = False
        self._sampler: Sampler = self.sampler.build()
        widened = not isinstance(self._sampler, Grid)
        self._whole = Space.of(experiment, search=search, fixed=fixed, widened=widened)
        self.id, self.samples = uuid.uuid4().hex, None  # type: tuple[str, int | None]
        self._trials = Trials(experiment, self.goals, threads)
        self._look_within(None)

    # ----------------------------------------------------------------------------------------------------- running

    def run(self) -> Findings:
        """Run what is missing of the trials, write down the best and the report. Returns what it has come to.

        Ctrl-C ends it when the trials under way have ended, a second one at once; both leave a study that goes on. What
        a study can't be made of is refused before anything is written: data that isn't there or has no `valid` part, a
        metric that no evaluation gives, a recipe that can't be built. Of several processes all have to call it, as
        they have to call `confirm`; all get the same.
        """
        with quiet_optuna():
            self._join()
            return led(self._trials, self._searched)

    def _join(self) -> None:
        """Join the processes that train each trial together, if there are others; a worker trains its own.

        Raises LabwrightError for what trains trials side by side.
        """
        if not self.joins:
            ranks.join()
        beside = {
            "workers": self.workers > 1,
            "on": self.cluster is not None,
            "asynchronous": self.asynchronous,
            "fuse": self.fuse != "none",
        }
        given = [name for name, is_given in beside.items() if is_given]
        if given and ranks.count() > 1:
            raise LabwrightError(
                f"{' and '.join(given)}: torchrun or srun has started {ranks.count()} processes, which train one trial "
                "at a time, together. Leave that out, or begin the study on one process."
            )

    def _searched(self) -> Findings:
        with reached(self.url):
            storage, new = self._checked(), not self.folder.exists()
            with nullcontext() if self.joins else alone(self.folder):
                try:
                    store = self.opened(storage)
                except LabwrightError:
                    if new:
                        cleared(self.folder)
                    raise
                try:
                    return self._run(store)
                except InVain:
                    store.storage.delete_study(store.study._study_id)
                    cleared(self.folder)
                    raise

    def _run(self, store: TrialStore) -> Findings:
        self._claim()
        pool = self._pool()
        try:
            with (
                self._driven(store, pool),
                interruptions(True) as pool.signals,
                TrialProgress(self.described(), store.ended(), quiet=self.quiet) as progress,
            ):
                if self.asynchronous:
                    self._at_once(store, pool, progress)
                else:
                    self._in_batches(store, pool, progress, self._grouping(store, progress))
        finally:
            pool.close()
        findings = self.findings(store, interrupted=pool.stopping)
        if not self.joins:  # whoever began the study has its folder
            self._write_down(store, findings)
        return findings

    def confirm(self, top: int = 3, seeds: int = 5) -> Confirmation:
        """Run the best trials again over fresh seeds, and say how much of the winner's lead was luck.

        Writes confirmed.json, confirmed.toml and the report.

        Args:
            top: How many of the best trials.
            seeds: How many fresh seeds, each for all of these trials.

        Raises LabwrightError if there is no complete trial, or the study has several goals; KeyboardInterrupt if it is
        interrupted before the first seed is whole.
        """
        if len(self.goals) > 1:
            raise LabwrightError("--confirm is about one winner, and a study of several goals has none.")
        with quiet_optuna():
            self._join()
            return led(self._trials, partial(self._confirmed, top, seeds))

    def _confirmed(self, top: int, seeds: int) -> Confirmation:
        check_folder(self.folder, begun=True, journal=self._own_journal())
        with alone(self.folder), reached(self.url):
            store = self.opened()
            self._claim()
            complete = store.trials(TrialState.COMPLETE)
            if not complete:
                raise LabwrightError(f"the study {self.name!r} has no complete trial to confirm.")
            fresh = [derived_seed(self.seed, 11, number) % 2**31 for number in range(seeds)]
            pool = self._pool()

            def train(plan: Plan) -> Iterator[Result]:
                groups = (Group((self._spec_again(place, *pair),)) for place, pair in enumerate(plan))
                return pool.run(groups, lambda *_: False)

            try:
                with interruptions(True) as pool.signals:
                    again = confirmed(complete, self.goals[0], top=top, seeds=fresh, train=train, say=self._say)
            finally:
                pool.close()
            self._write_confirmed(again, complete)
            write_report(self.described(), store, self.findings(store))
        return again

    def _spec_again(self, place: int, trial: FrozenTrial, seed: int) -> Spec:
        folder = self.folder / "confirm" / f"{trial.number:04d}" / f"seed-{seed}"
        return Spec(place, self.values(trial) | {"train.seed": seed}, str(folder), tested=True)

    def opened(self, storage: BaseStorage | None = None) -> TrialStore:
        """The study in its storage: a new one, or the one that is there if it searches the same."""
        with quiet_optuna():
            storage = storage or opened(self.url)
            try:
                study = self._kept(storage) or self._begun(storage)
            except DuplicatedStudyError:  # another machine was quicker
                study = self._kept(storage) or self._begun(storage)
        with unwarned():
            pruner = self.pruner.build()
        return TrialStore(
            study,
            storage,
            space=self.space,
            goals=self.goals,
            sampler=self._sampler,
            pruner=pruner,
            seed=self.seed,
            baseline=None if isinstance(self._sampler, Grid) else self.space.point(),
        )

    def _kept(self, storage: BaseStorage) -> optuna.Study | None:
        """The study that the storage has. Raises LabwrightError if it searches something else.

        One of which nothing has come is none; and whoever began one may have died before it was described.
        """
        if self.name not in optuna.get_all_study_names(storage):
            return None
        study = optuna.load_study(study_name=self.name, storage=storage)
        kept = study.user_attrs.get(DEFINITION)
        if kept is None and study.get_trials(deepcopy=False):
            raise LabwrightError(f"the storage has a study {self.name!r} that labwright didn't begin: give another.")
        if kept is None:
            self._read_data()
            kept = json.loads(json.dumps(self.definition()))
            study.set_user_attr(DEFINITION, kept)
        self._look_within(kept.get("samples"))
        self.id = kept.get("id", self.id)
        differing = list(differences(kept, json.loads(json.dumps(self.definition()))))
        held = self.lease.held_by(storage.get_study_system_attrs(study._study_id).get(LEASE))
        if differing and vain(study) and not held and not self.asynchronous:
            storage.delete_study(study._study_id)
            self._look_within(None)
            return None
        if differing:
            raise LabwrightError(
                f"the study {self.name!r} is there and differs: {'; '.join(differing)}. Give it as it was, or begin "
                "another one with --name."
            )
        if kept["trials"] != self.count or "id" not in kept:
            study.set_user_attr(DEFINITION, self.definition())
        return study

    def _begun(self, storage: BaseStorage) -> optuna.Study:
        """The study, new in the storage."""
        self._read_data()
        directions = [goal.direction for goal in self.goals]
        study = optuna.create_study(study_name=self.name, storage=storage, directions=directions)
        study.set_user_attr(DEFINITION, self.definition())
        with unwarned():
            study.set_metric_names([goal.metric for goal in self.goals])
        return study

    def _checked(self) -> BaseStorage | None:
        """The storage, if it is there. Raises LabwrightError for what no new study can be made of."""
        if self._apart():
            order_of(self._trials, self.threads)
        storage = opened(self.url) if is_there(self.url) else None
        begun = storage is not None and self.name in optuna.get_all_study_names(storage)
        check_folder(self.folder, begun=begun, journal=self._own_journal())
        if not begun:
            self._read_data()
        return storage

    def _read_data(self) -> None:
        """Look within what the data has, if nobody has yet."""
        if self.samples is None:
            self._look_within(checked(self._trials))
            if self._apart():
                self._trials.tasks.forget()  # workers have their own

    def _claim(self) -> None:
        claim(self.folder, Marker(self.id, self.name, without_password(self.url)))

    def _own_journal(self) -> bool:
        """Whether the study is kept in its own folder."""
        return self.url == f"journal:{self.folder / JOURNAL}"

    def _look_within(self, samples: int | None) -> None:
        """Search what makes sense with so many training samples; None leaves that open."""
        self.samples, self.space = samples, self._whole.within(samples)
        if not self.space.dimensions:
            raise LabwrightError(f"there is nothing to search. {' '.join(self.space.notes)}")
        with unwarned():
            self._sampler.make(0, self.space)  # whether it can search this space
        if isinstance(self._sampler, Grid):
            combinations = math.prod(map(len, self._sampler.values(self.space).values()))
            self.count = min(self.count, combinations)

    def definition(self) -> dict[str, Any]:
        """What is studied, ready for JSON: enough for another machine to join."""
        return {
            "id": self.id,
            "samples": self.samples,
            "experiment": json.loads(json.dumps(self.experiment.given, default=label)),
            "name": self.experiment.name,
            "search": self.search,
            "fixed": self.fixed,
            "space": self.space.json(),
            "goals": [[goal.metric, goal.direction] for goal in self.goals],
            "sampler": self.sampler.table(),
            "pruner": self.pruner.table(),
            "trials": self.count,
            "seed": self.seed,
            "batch": self.batch,
            "threads": self.threads,
            "asynchronous": self.asynchronous,
            "fuse": self.fuse,
            "lease": self.lease.seconds,
        }

    def _pool(self) -> Pool:
        if not self._apart():
            return Here(self._trials)
        order = order_of(self._trials, self.threads)
        return Workers(self.workers, order, None if self.cluster is None else self.cluster.build())

    def _apart(self) -> bool:
        """Whether trials run in other processes than this one."""
        return self.workers > 1 or self.cluster is not None

    def _in_batches(self, store: TrialStore, pool: Pool, progress: TrialProgress, grouping: Grouping | None) -> None:
        while batch := store.batch(self.batch, self.count):
            store.begin()
            by_number = {trial.number: trial for trial in batch}
            results = {
                number: Result(**trial.system_attrs[RESULT])
                for number, trial in by_number.items()
                if RESULT in trial.system_attrs
            }
            due = [self._spec(trial) for number, trial in by_number.items() if number not in results]
            groups = iter([Group((spec,)) for spec in due]) if grouping is None else grouping.groups(due)
            for result in pool.run(groups, store.answer):
                results[result.number] = result
                store.keep(by_number[result.number], result)
                progress.ended(by_number[result.number], result)
            if len(results) < len(batch):
                return
            for number in sorted(results):
                store.tell(by_number[number], results[number])
            self._check_begun(store, results.values())

    def _at_once(self, store: TrialStore, pool: Pool, progress: TrialProgress) -> None:
        under_way: dict[int, FrozenTrial] = {}

        def due() -> Iterator[Group]:
            while True:
                gone = store.taken_over(self.lease)
                if len(store.counted()) + len(store.running()) >= self.count:
                    return
                lease = self.lease.now()
                trial = store.ask(lease=lease) if gone is None else store.again(gone, lease=lease)
                if store.surplus(trial, self.count):
                    store.drop(trial)
                    return
                under_way[trial.number] = trial
                yield Group((self._spec(trial),))

        with self.lease.renewed(lambda: store.renew(under_way.values(), self.lease)):
            try:
                while not pool.stopping:
                    ran = False
                    for result in pool.run(due(), lambda number, seen: store.answer_now(under_way[number], seen)):
                        ran = True
                        trial = under_way.pop(result.number)
                        if store.tell(trial, result):
                            progress.ended(trial, result)
                            self._check_begun(store, [result], least=self.batch)
                    if not ran and (len(store.counted()) >= self.count or not store.running()):
                        return
                    if not ran:
                        threading.Event().wait(1.0)  # another machine has the last ones: it may be lost yet
            finally:
                store.release(under_way.values())

    def _grouping(self, store: TrialStore, progress: TrialProgress) -> Grouping | None:
        """How trials are put into programs, if they are; what was measured is kept with the study."""
        if self.fuse == "none":
            return None
        study_id = store.study._study_id
        return Grouping(
            self._trials,
            self.count,
            self.workers,
            lambda key: store.storage.get_study_system_attrs(study_id).get(f"labwright:form:{key}"),
            lambda key, form: store.storage.set_study_system_attr(study_id, f"labwright:form:{key}", form),
            progress.say,
        )

    def _spec(self, trial: FrozenTrial) -> Spec:
        return Spec(trial.number, self.values(trial), str(self.folder / "trials" / f"{trial.number:04d}"))

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a trial changes in the experiment: nothing if it is the recipe itself."""
        return {} if trial.user_attrs.get(BASELINE) else self.space.values(trial.params)

    def _check_begun(self, store: TrialStore, results: Iterable[Result], *, least: int = 1) -> None:
        """Raises LabwrightError if nothing has come of the first trials: the study won't either, and isn't kept."""
        ended = store.counted()
        failed = all(result.state == "failed" for result in results)
        failed = failed and all(state_of(trial) == "failed" for trial in ended)
        if not failed or len(ended) < least:
            return
        reason = str(ended[0].user_attrs.get("reason", "nobody knows why"))
        message = f"every trial failed; the first: {sentence(reason)}"
        if self.joins or store.running():  # others are at it
            raise LabwrightError(message)
        raise InVain(f"{message} Nothing is kept of the study; the recipe by itself, with `labwright run`, says more.")

    @contextmanager
    def _driven(self, store: TrialStore, pool: Pool) -> Iterator[None]:
        """A reproducible study is driven by one process: its lease is the study's."""
        if self.asynchronous:
            yield
            return
        study_id = store.study._study_id

        def read() -> Any:
            return store.storage.get_study_system_attrs(study_id).get(LEASE)

        other, over = self.lease.watched(read, self._say)

        def renew() -> None:
            nonlocal other
            held = read()
            other = "" if held == over else self.lease.held_by(held)
            if other:
                pool.given_up = True
            else:
                store.storage.set_study_system_attr(study_id, LEASE, self.lease.now())

        try:
            if not other:
                with self.lease.renewed(renew):
                    if not other:
                        yield
        finally:
            if not other:
                store.storage.set_study_system_attr(study_id, LEASE, None)
        if other:
            raise LabwrightError(
                f"the study {self.name!r} is being run by {other}. Wait for it, or begin one with --asynchronous, "
                "which machines can share."
            )

    # ----------------------------------------------------------------------------------------------------- findings

    def described(self) -> Description:
        """What is asked of the study, for its progress and its report."""
        return Description(
            name=self.name,
            folder=self.folder,
            storage=without_password(self.url),
            experiment=self.experiment.name,
            trials=self.count,
            goals=self.goals,
            space=self.space,
            sampler=self.sampler.label,
            pruner=self.pruner.label,
            seed=self.seed,
            batch=self.batch,
            asynchronous=self.asynchronous,
        )

    def __repr__(self) -> str:
        return repr(self.described())

    def sketch(self) -> Any:
        """What a notebook shows."""
        return self.described().sketch()

    def findings(self, store: TrialStore, *, interrupted: bool = False) -> Findings:
        """How far the study is, and its best trials."""
        trials = store.ended()
        counts = Counter(map(state_of, trials))
        return Findings(
            self.name,
            self.folder,
            len(trials),
            counts["complete"],
            counts["pruned"],
            counts["diverged"],
            counts["failed"],
            [self.summary_of(trial) for trial in store.best()],
            interrupted,
            self.space.notes,
            shown=[self.summary_of(one) | {"recipe": bool(one.user_attrs.get(BASELINE))} for one in store.shown()],
        )

    def summary_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """A trial ready for JSON: its number, values by goal, and settings by path."""
        values = dict(zip((goal.metric for goal in self.goals), trial.values or (), strict=False))
        settings = settings_of(self.space, trial)
        return {"number": trial.number, "state": state_of(trial), "values": values, "settings": settings}

    def recipe_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """A trial's complete recipe, which runs by itself."""
        table = self.experiment.varied(self.values(trial)).table()
        table.pop("search", None)
        return table

    def _write_down(self, store: TrialStore, findings: Findings) -> None:
        """The recipes of the best trials, and the report."""
        trials = {trial.number: trial for trial in store.ended()}
        for best in findings.best:
            file = self.folder / ("best.toml" if len(self.goals) == 1 else f"front/{best['number']:04d}.toml")
            file.parent.mkdir(exist_ok=True)
            self._write_recipe(file, trials[best["number"]])
        write_report(self.described(), store, findings)

    def _write_confirmed(self, again: Confirmation, complete: Iterable[FrozenTrial]) -> None:
        write_json(self.folder / "confirmed.json", again.json())
        for trial in complete:
            if name_of(trial) == again.selection.first:
                self._write_recipe(self.folder / "confirmed.toml", trial)

    def _write_recipe(self, file: Path, trial: FrozenTrial) -> None:
        with suppress(TypeError):  # objects from Python have no recipe
            write_text(file, tomli_w.dumps(self.recipe_of(trial)))

    def _say(self, line: str) -> None:
        """A line for the person, unless the study is quiet."""
        if not self.quiet:
            say(line)


def _cluster(given: Any, plugins: Plugins) -> ComponentSpec:
    """What `on` names: a cluster's name, a URL whose scheme is its name, or a table. Raises LabwrightError."""
    if "cluster" not in plugins.kinds:
        raise LabwrightError(
            f"on: given {given!r}, and clusters come with labwright-cluster: pip install labwright[cluster]"
        )
    if isinstance(given, str) and "://" in given:
        given = {"name": given.partition("://")[0], "address": given}
    return resolve("cluster", given, plugins, Where() / "on")
