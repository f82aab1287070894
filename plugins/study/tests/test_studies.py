"""Studies in one process: what is asked, pruned, told and written down, and that it is the same every time."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tomllib
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import optuna
import pytest
import torch
from labwright.base.search import Integers, Uniform
from labwright.train.trainer import Trainer
from labwright_study import grouping
from labwright_study.dominance import DominancePruner
from labwright_study.fused import Form, measuring
from labwright_study.progress import in_lines, short
from labwright_study.trial import Group, Result, Spec, Trials
from labwright_study.trial_store import TrialStore
from labwright_study.verbs.tune import tell
from optuna.trial import TrialState
from parts import Blobs, Net, Sorting, sorting
from pydantic import Field
from torch import Tensor, nn


class Searched(nn.Module):
    """A small net with marks; from a width of 60 on it can't be built, and with the highest bias it breaks."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(2, 40, log=True)] = 8,
        bias: Annotated[float, Uniform(-3.0, 3.0)] = 0.0,
    ) -> None:
        super().__init__()
        if width >= 60:
            raise ValueError("a width of 60 or more is too wide")
        self.body = nn.Sequential(nn.Linear(inputs.shape[0], width), nn.ReLU(), nn.Linear(width, len(outputs.names)))
        with torch.no_grad():
            self.body[2].bias.add_(bias)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.body(x_BD)


def experiment(**changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {"loss": "cross-entropy", "optimizer": {"name": "sgd", "lr": 0.05}}
    return sorting(Blobs(size=60, held_out=60), **(settings | {"model": Searched} | changed))


def study(folder: Path, trials: int = 10, **settings: Any) -> lw.Study:
    given: dict[str, Any] = {"search": {"only": ["model.*", "optimizer.lr"]}, "batch": 4, "quiet": True}
    return lw.Study(settings.pop("experiment", None) or experiment(), trials, folder=folder, **(given | settings))


def rows(one: lw.Study) -> list[tuple[Any, ...]]:
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values) for t in one.opened().trials()]


# --------------------------------------------------------------------------------------------------------- what is said


def test_each_new_best_says_what_changed_and_the_end_is_a_table_with_what_is_next(tmp_path: Path, capsys: Any):
    one = study(tmp_path / "a study", 8, quiet=False)
    found = one.run()
    tell(found, as_json=False)
    out, err = capsys.readouterr()
    trials = {trial["number"]: trial for trial in map(one.summary_of, one.opened().ended())}
    ended = {int(line.split()[1]): line for line in err.splitlines() if line.startswith("trial ")}
    assert sorted(ended) == list(range(8))
    assert all(line.count("  ") >= 3 and len(line.split("  ")[1]) == 8 for line in ended.values())  # aligned
    # told in the order in which they ended, here that of their numbers
    best: dict[str, Any] | None = None
    for number, line in ended.items():
        trial = trials[number]
        value = trial["values"].get("accuracy")
        if trial["state"] != "complete" or (best is not None and value <= best["values"]["accuracy"]):
            assert "best" not in line
            continue
        told = dict(re.findall(r"(width|bias|lr) (\S+ -> \S+|\S+)", line.partition("best so far")[2]))
        before = best["settings"] if best else {}
        assert told == {
            path.rpartition(".")[2]: f"{short(before[path])} -> {short(now)}" if path in before else short(now)
            for path, now in trial["settings"].items()
            if before.get(path) != now
        }
        best = trial
    assert best is not None
    lines = out.splitlines()
    assert lines[1].startswith(f"best: trial {best['number']}  accuracy ")
    table = [line.split() for line in lines[3 : 3 + len(found.shown)]]
    complete = sorted((t for t in trials.values() if t["state"] == "complete"), key=lambda t: -t["values"]["accuracy"])
    assert [int(row[0]) for row in table][:5] == [trial["number"] for trial in complete][:5]
    (recipe,) = (row for row in table if row[0] == "0")
    assert recipe[2:] == ["it", "is", "the", "recipe"]
    for row in table:
        assert {cell for cell in row if cell in ("width", "bias", "lr")} == {
            path.rpartition(".")[2]
            for path, value in trials[int(row[0])]["settings"].items()
            if value != trials[0]["settings"][path]
        }
    assert err.splitlines()[-1] == f"Next: labwright run '{tmp_path / 'a study' / 'best.toml'}'"


@pytest.mark.parametrize("columns", [60, 120])
def test_a_line_of_a_study_is_cut_between_its_cells(columns: int):
    cells = ["trial 3", "complete", "accuracy 0.81882", "best so far", *(f"setting_{n} {n} -> {n}.5" for n in range(9))]
    lines = in_lines("  ".join(cells), columns).splitlines()
    assert [cell for line in lines for cell in line.strip().split("  ")] == cells
    assert max(map(len, lines)) <= columns < min(len(a) + 2 + len(b.split("  ")[2]) for a, b in pairwise(lines))


# --------------------------------------------------------------------------------------------------- what is searched


def test_the_first_trial_is_the_recipe_itself_and_the_best_is_a_recipe_that_runs(tmp_path: Path):
    one = study(tmp_path / "s", pruner="none")
    found = one.run()
    assert (found.trials, found.complete, found.failed) == (10, 10, 0)
    first = rows(one)[0]
    assert first[2] == {"model.width": 8, "model.bias": 0.0, "optimizer.lr": 0.05}
    values = [row[3][0] for row in rows(one)]
    assert found.best[0]["values"]["accuracy"] == max(values)
    best = found.best[0]["settings"]
    again = experiment(
        model={"name": Searched, "width": best["model.width"], "bias": best["model.bias"]},
        optimizer={"name": "sgd", "lr": best["optimizer.lr"]},
    )
    assert again.run(tmp_path / "again").metrics["valid"]["accuracy"] == max(values)  # trials are ordinary runs


def test_the_first_trial_is_the_recipe_also_where_no_range_holds_its_values(tmp_path: Path):
    whole = experiment(
        optimizer={"name": "sgd", "lr": 0.05, "weight_decay": 0.0}, train={"epochs": 2, "batch_size": 60}
    )
    searched = {
        "only": ["optimizer.lr", "optimizer.weight_decay", "train.batch_size"],
        "optimizer.lr": [0.01, 0.1],
        "optimizer.weight_decay": {"low": 1e-4, "high": 0.1, "log": True},
    }
    one = study(tmp_path / "s", 6, experiment=whole, search=searched, pruner="none", sampler="gp")
    found = one.run()
    assert found.complete == 6
    assert found.notes == (
        "the recipe's own values are searched too: optimizer.lr 0.05, train.batch_size 60.",
        "optimizer.weight_decay: 0.0, the recipe's own, is none of 0.0001 to 0.1, log, so that only the first trial "
        "has it.",
        "train.batch_size: the training part has 60 samples, so that larger batches aren't searched.",
    )
    run = whole.run(tmp_path / "run")
    assert rows(one)[0][3] == [run.metrics["valid"]["accuracy"]]
    book = one.opened()
    assert one.summary_of(book.trials()[0])["settings"]["optimizer.weight_decay"] == 0.0
    assert all(row[2]["optimizer.weight_decay"] >= 1e-4 and row[2]["train.batch_size"] <= 60 for row in rows(one)[1:])
    assert one.recipe_of(book.trials()[0])["optimizer"]["weight_decay"] == 0.0


def test_a_trial_trains_as_a_run_does_and_leaves_the_test_part_alone(tmp_path: Path):
    whole = experiment(train={"epochs": 4, "batch_size": 15, "final": "best"})
    run = whole.run(tmp_path / "run")
    alone = Group((Spec(0, {}, str(tmp_path / "trial")),))
    (result,) = Trials(whole, [whole.goal], threads=1).run(alone, lambda *_: False)
    assert result.values == [run.metrics["valid"]["accuracy"]]
    assert len(result.reports) == 4 and result.steps == run.step
    assert result.metrics.keys() == {"valid"}
    assert sorted(file.name for file in (tmp_path / "trial").iterdir()) == [
        "metrics.jsonl",
        "outcome.json",
        "recipe.toml",
    ]

    def losses(folder: Path) -> list[dict[str, Any]]:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in lines
            if '"split": "test"' not in line
        ]

    assert losses(tmp_path / "trial") == losses(tmp_path / "run")


@pytest.mark.parametrize(
    "sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.long) for name in ("gp", "nsga-ii", "qmc", "random"))]
)
def test_the_same_study_has_the_same_trials_also_in_two_pieces(tmp_path: Path, sampler: str):
    whole, cut = study(tmp_path / "whole", 16, sampler=sampler), study(tmp_path / "cut", 16, sampler=sampler)
    whole.run()
    answer, asked = TrialStore.answer, []

    def interrupted(self: TrialStore, number: int, values: Any) -> bool:
        asked.append(number)
        if number == 10:
            raise KeyboardInterrupt
        return answer(self, number, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialStore, "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cut.run()
    begun = rows(cut)
    assert [row[1] for row in begun[8:12]] == ["RUNNING"] * 4  # 8 and 9 are over, and told with their batch
    study(tmp_path / "cut", 16, sampler=sampler).run()
    assert rows(cut) == rows(whole)
    assert rows(cut)[:8] == begun[:8]


def test_another_seed_gives_other_trials(tmp_path: Path):
    one, other = study(tmp_path / "one", 3), study(tmp_path / "other", 3, seed=1)
    one.run()
    other.run()
    assert rows(one)[0][2] == rows(other)[0][2]
    assert rows(one)[1][2] != rows(other)[1][2]


def test_more_trials_go_on_and_enough_are_enough(tmp_path: Path):
    study(tmp_path / "s", 4).run()
    before = rows(study(tmp_path / "s", 4))
    assert study(tmp_path / "s", 4).run().trials == 4
    assert study(tmp_path / "s", 7).run().trials == 7
    assert rows(study(tmp_path / "s", 7))[:4] == before


def test_a_grid_is_gone_through_once(tmp_path: Path):
    grid = {"only": ["model.*"], "model.width": [4, 8], "model.bias": {"low": 0, "high": 1, "step": 0.5}}
    one = study(tmp_path / "s", 50, sampler="grid", search=grid)
    assert one.run().trials == 6
    points = {tuple(row[2].values()) for row in rows(one)}
    assert points == {(width, bias) for width in (4, 8) for bias in (0.0, 0.5, 1.0)}


# -------------------------------------------------------------------------------------------------------- when it fails


def test_a_trial_that_cannot_be_built_or_diverges_is_a_point_and_not_the_end(tmp_path: Path):
    search = {"only": ["model.width", "optimizer.lr"], "model.width": [8, 70], "optimizer.lr": [0.05, 1e30]}
    one = study(
        tmp_path / "s",
        12,
        search=search,
        sampler="random",
        experiment=experiment(train={"epochs": 2, "batch_size": 15, "log_every": 1}),
    )
    found = one.run()
    assert found.trials == 12 and found.failed and found.complete
    for number, state, params, *_ in rows(one):
        wanted = "FAIL" if params["model.width"] == 70 else "PRUNED" if params["optimizer.lr"] == 1e30 else "COMPLETE"
        assert state == wanted, (number, params)
    reasons = {
        trial.params["model.width"]: trial.user_attrs.get("reason") for trial in one.opened().trials(TrialState.FAIL)
    }
    assert "a width of 60 or more is too wide" in reasons[70]


def test_a_recipe_that_cannot_be_built_is_refused_before_anything_is_written(tmp_path: Path):
    one = study(
        tmp_path / "s",
        search={"only": ["model.width"], "model.width": [70, 80]},
        experiment=experiment(model={"name": Searched, "width": 70}),
    )
    with pytest.raises(lw.LabwrightError, match=r"can't be built: a width of 60 or more is too wide"):
        one.run()
    assert not (tmp_path / "s").exists()


class Breaking(Searched):
    """A net that can be built and tried, and breaks in its second step."""

    steps = 0

    def forward(self, x_BD: Tensor) -> Tensor:
        self.steps += self.training
        if self.steps > 1:
            raise ValueError("it breaks")
        return super().forward(x_BD)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_study_of_which_nothing_can_come_ends_and_leaves_nothing(tmp_path: Path, storage: str, asynchronous: bool):
    url = None if storage == "journal" else f"sqlite:///{tmp_path / 'studies.db'}"
    given: dict[str, Any] = {"storage": url, "asynchronous": asynchronous, "name": "s"}
    with pytest.raises(
        lw.LabwrightError, match=r"every trial failed; the first: ValueError: it breaks \(.*\)\. Nothing is kept"
    ):
        study(tmp_path / "s", 50, experiment=experiment(model=Breaking), **given).run()
    assert not (tmp_path / "s").exists()
    mended = study(tmp_path / "s", 2, seed=3, **given)
    assert mended.run().complete == 2


def test_a_study_of_which_nothing_has_come_gives_way_to_another(tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialStore, "answer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "s", 2).run()
    assert [row[1] for row in rows(study(tmp_path / "s", 2))] == ["RUNNING"] * 2
    assert study(tmp_path / "s", 2, fixed=["model.bias"], seed=1).run().complete == 2


@pytest.mark.timing
def test_an_interrupted_study_counts_what_it_has(tmp_path: Path):
    one = study(tmp_path / "s", 4, pruner="none")
    keep, kept = TrialStore.keep, []

    def interrupted(self: TrialStore, trial: Any, result: Result) -> None:
        keep(self, trial, result)
        kept.append(result)
        if len(kept) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialStore, "keep", interrupted)
        found = one.run()
    assert (found.trials, found.complete, found.interrupted) == (3, 3, True)
    assert found.best[0]["values"]["accuracy"] == max(result.values[0] for result in kept)
    assert study(tmp_path / "s", 4, pruner="none").run().trials == 4


@pytest.mark.timing
def test_an_interrupted_confirmation_says_what_whole_seeds_say(tmp_path: Path):
    one = study(tmp_path / "s", 3, pruner="none")
    one.run()
    run, made = Trials.run, []

    def interrupted(self: Trials, group: Group, answer: Any) -> Any:
        for result in run(self, group, answer):
            made.append(result)
            if len(made) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "run", interrupted)
        again = one.confirm(2, 4)
    assert again.interrupted and len(again.seeds) == 2  # the fifth run was the first of the third seed
    assert [(trial.seeds, trial.failed) for trial in again.selection.trials] == [(2, 0), (2, 0)]
    assert list(again.lines())[-1] == "It was interrupted: this is what 2 of 4 seeds say."
    assert json.loads((tmp_path / "s" / "confirmed.json").read_text())["seeds"] == again.seeds
    whole = one.confirm(2, 4)
    assert not whole.interrupted and whole.seeds[:2] == again.seeds


def test_data_that_is_not_there_is_refused_once_and_nothing_is_written(tmp_path: Path):
    class Gone(Blobs):
        def prepare(self) -> None:
            raise lw.LabwrightError("there is no folder 'here'.")

    with pytest.raises(lw.LabwrightError, match=r"^there is no folder 'here'"):
        study(tmp_path / "s", experiment=sorting(Gone(), model=Searched, loss="cross-entropy")).run()
    assert not (tmp_path / "s").exists()


def test_a_program_s_own_settings_of_optuna_and_signals_are_as_before(tmp_path: Path):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    filters, state, threads = list(warnings.filters), torch.get_rng_state(), torch.get_num_threads()
    one = study(tmp_path / "s", 2, threads=2)
    one.run()
    one.confirm(1, 2)
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert list(warnings.filters) == filters and torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trials": 0}, "trials: given 0; it should be a whole number from 1 on"),
        ({"goals": ["accuracy", "accuracy"]}, "each metric once"),
        ({"goals": ["cross_entropy"]}, "Of another metric say in which direction, such as cross_entropy:minimize"),
        ({"goals": ["acuracy:maximize"]}, "nothing is called 'acuracy' .*did you mean 'accuracy'"),
        ({"goals": ["accuracy", "parameters"], "pruner": "median"}, "pruner 'median' knows one goal"),
        ({"sampler": "tpee"}, "no sampler is called 'tpee'; did you mean 'tpe'"),
        ({"sampler": {"name": "tpe", "startups": 3}}, "has no setting 'startups'; did you mean 'startup'"),
        ({"sampler": "grid"}, "sampler 'grid' goes through every combination, and the space has endlessly many"),
        ({"pruner": "medin"}, "no pruner is called 'medin'; did you mean 'median'"),
        ({"storage": "somewhere"}, "it is journal:FILE"),
        ({"workers": 2}, "worker processes know components by their names only"),
    ],
)
def test_a_slip_gets_one_message(tmp_path: Path, settings: dict[str, Any], said: str):
    with pytest.raises(lw.LabwrightError, match=said):
        study(tmp_path / "s", **settings).run()


def test_data_without_a_valid_part_is_refused_with_the_way_out(tmp_path: Path):
    one = study(tmp_path / "s", experiment=sorting(NoValid(size=60), model=Searched, loss="cross-entropy"))
    with pytest.raises(lw.LabwrightError, match="a study chooses by the `valid` split, and the data has none"):
        one.run()


class NoValid(Blobs):
    def split(self, name: str) -> Any:
        return None if name == "valid" else super().split(name)


def test_a_study_that_searches_something_else_is_not_gone_on_with(tmp_path: Path):
    study(tmp_path / "s", 2).run()
    with pytest.raises(
        lw.LabwrightError, match=r"the search space, model.bias: was -3 to 3, is not there; .*the seed was 0, is 1"
    ):
        study(tmp_path / "s", 2, fixed=["model.bias"], seed=1).run()
    assert len(rows(study(tmp_path / "s", 2))) == 2


# ---------------------------------------------------------------------------------------------------------- pruning


@pytest.mark.long
@pytest.mark.parametrize("pruner", ["median", "percentile", "successive-halving", "hyperband", "patient", "dominated"])
def test_pruned_trials_save_steps_and_the_best_is_kept(tmp_path: Path, pruner: str):
    longer = experiment(train={"epochs": 12, "batch_size": 15})
    full, cut = (
        study(tmp_path / name, 24, sampler="random", pruner=name, experiment=longer) for name in ("none", pruner)
    )
    best = full.run().best[0]["values"]["accuracy"]
    found = cut.run()
    assert found.pruned >= 3
    steps = {one: sum(trial.user_attrs["steps"] for trial in one.opened().counted()) for one in (full, cut)}
    most = 1.0 if pruner == "patient" else 0.95  # it waits until a trial stops improving, and these are short
    assert steps[cut] < most * steps[full]
    assert found.best[0]["values"]["accuracy"] >= best - 0.02
    assert [row[2] for row in rows(cut)] == [row[2] for row in rows(full)]  # random points don't depend on outcomes


def test_a_pruner_sees_the_batches_before_and_not_its_neighbours(tmp_path: Path):
    seen = []
    prune = DominancePruner.prune

    def looked(self: DominancePruner, among: Any, trial: Any) -> bool:
        finished = among.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        seen.append((trial.number, len(finished), len(among.get_trials())))
        return prune(self, among, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DominancePruner, "prune", looked)
        study(tmp_path / "s", 10, pruner="dominated").run()
    assert seen and all(finished == number // 4 * 4 for number, finished, _ in seen)
    assert all(there == number + 1 for number, _, there in seen)


def test_with_two_goals_dominated_trials_are_pruned_and_the_front_is_written_down(tmp_path: Path):
    longer = experiment(train={"epochs": 8, "batch_size": 15})
    one = study(tmp_path / "s", 30, goals=["accuracy", "parameters"], sampler="random", experiment=longer)
    found = one.run()
    assert found.pruned > 3 and found.trials == 30
    complete = {row[0]: row[3] for row in rows(one) if row[1] == "COMPLETE"}
    front = {
        number
        for number, (accuracy, size) in complete.items()
        if not any(a >= accuracy and p <= size and (a, p) != (accuracy, size) for a, p in complete.values())
    }
    assert {best["number"] for best in found.best} == front
    for trial in one.opened().trials(TrialState.PRUNED):
        by = 0
        mine = trial.system_attrs["labwright:reports"]
        for other in one.opened().trials(TrialState.COMPLETE, TrialState.PRUNED):
            theirs = other.system_attrs["labwright:reports"][: len(mine)]
            better = max(a for a, _ in theirs) >= max(a for a, _ in mine) and theirs[0][1] <= mine[0][1]
            by += better and len(theirs) == len(mine) and other.number // 4 < trial.number // 4
        assert by >= 3, trial.number


def test_fused_trials_are_those_of_a_study_without(tmp_path: Path, monkeypatch: Any, capsys: Any):
    """Whatever was measured; in float32 losses differ by rounding, so that accuracies over 60 samples are the same."""
    settings: dict[str, Any] = {"search": {"only": ["optimizer.lr"]}, "trials": 8, "experiment": experiment()}
    whole = study(tmp_path / "none", **settings)
    whole.run()
    monkeypatch.setattr(grouping, "WORTH", 0.0)
    fused = study(tmp_path / "auto", fuse="auto", quiet=False, **settings)
    fused.run()
    assert "trials are fused, 4 in a program (grouped)" in capsys.readouterr().err
    assert rows(fused) == rows(whole)
    again = study(tmp_path / "auto", fuse="auto", quiet=False, **(settings | {"trials": 12}))
    monkeypatch.setattr(grouping, "gain", None)  # what was measured is kept with the study
    again.run()
    assert "trials are fused, 4 in a program (grouped)" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(grouping, "WORTH", 1000.0)
    serial = study(tmp_path / "slow", fuse="auto", quiet=False, **settings)
    serial.run()
    assert "trials are trained one after another: that was measured to be fastest" in capsys.readouterr().err
    assert rows(serial) == rows(whole)


@pytest.mark.parametrize(("worth", "cost", "counts"), [(0.0, 0.001, [4]), (1000.0, 0.001, [4, 8]), (1000.0, 1e9, [4])])
def test_more_trials_are_measured_if_a_few_are_not_faster_and_the_study_is_long(
    tmp_path: Path, monkeypatch: Any, worth: float, cost: float, counts: list[int]
):
    measured = []

    def gain(trainers: Sequence[Trainer]) -> tuple[Form, float]:
        measured.append(len(trainers))
        return measuring.gain(trainers)

    monkeypatch.setattr(grouping, "gain", gain)
    monkeypatch.setattr(grouping, "WORTH", worth)
    monkeypatch.setattr(grouping, "COST", cost)
    settings: dict[str, Any] = {"search": {"only": ["optimizer.lr"]}, "experiment": experiment()}
    found = study(tmp_path / "s", 8, fuse="auto", batch=8, **settings).run()
    assert (measured, found.complete) == (counts, 8)


def test_trials_that_cannot_be_fused_are_trained_one_after_another_and_say_why(tmp_path: Path, capsys: Any):
    class Looking(Searched):
        def forward(self, x_BD: Tensor) -> Tensor:
            out = super().forward(x_BD)
            return out if float(out.detach().sum()) > 0 else -out

    settings: dict[str, Any] = {"search": {"only": ["optimizer.lr"]}, "experiment": experiment(model=Looking)}
    found = study(tmp_path / "s", 4, fuse="auto", quiet=False, **settings).run()
    assert (found.complete, found.failed) == (4, 0)
    assert "trials aren't fused: grouped: " in capsys.readouterr().err


def test_asynchronous_has_as_many_trials_and_knows_what_is_there_at_the_moment(tmp_path: Path):
    one = study(tmp_path / "s", 12, asynchronous=True, experiment=experiment(train={"epochs": 8, "batch_size": 15}))
    found = one.run()
    assert (found.trials, found.complete + found.pruned) == (12, 12)
    assert one.opened().running() == []
    complete = one.opened().trials(TrialState.COMPLETE)
    assert all(len(trial.intermediate_values) == 8 for trial in complete)


def test_a_metric_or_goal_beside_the_task_s_can_be_searched_for(tmp_path: Path):
    one = study(tmp_path / "s", 6, goals=["cross_entropy:minimize", "step_seconds"], pruner="none")
    found = one.run()
    assert found.best and all(best["values"]["step_seconds"] > 0 for best in found.best)


@pytest.mark.timing
def test_what_a_trial_costs_beside_its_training_hardly_grows_with_the_study(tmp_path: Path):
    """In calls of functions, as many on any machine: a guard against a search that reads or writes ever more."""
    calls, at_trial = 0, []

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    class Noting(Searched):
        def forward(self, x_BD: Tensor) -> Tensor:
            if self.training:  # its one step
                at_trial.append(calls)
            return super().forward(x_BD)

    train = {"steps": 1, "batch_size": 15}
    one = study(tmp_path / "s", 48, pruner="none", experiment=experiment(model=Noting, train=train))
    sys.setprofile(count)
    try:
        one.run()
    finally:
        sys.setprofile(None)
    early, late = at_trial[24] - at_trial[12], at_trial[47] - at_trial[35]
    assert late < 1.5 * early


def test_results_are_made_of_what_json_has():
    result = Result(3, "complete", [0.5], [[0.1], [0.5]], metrics={"valid": {"accuracy": 0.5}})
    assert Result(**json.loads(json.dumps(result.json()))) == result


def test_the_best_recipe_is_complete(tmp_path: Path):
    class Named:
        @lw.hookimpl
        def labwright_components(self) -> list[lw.Component]:
            return [
                lw.Component("model", "toys/searched", f"{__name__}:Searched", "a model"),
                lw.Component("task", "toys/sorting", "parts:Sorting", "a task"),
                lw.Component("data", "toys/blobs", "parts:Blobs", "data"),
            ]

    named = lw.Experiment(
        task={"name": "toys/sorting", "data": "toys/blobs"},
        model="toys/searched",
        loss="cross-entropy",
        optimizer="sgd",
        train={"epochs": 2, "batch_size": 15},
        search={"only": ["model.*"]},
        plugins=[Named()],
    )
    one = lw.Study(named, 5, folder=tmp_path / "s", quiet=True)
    found = one.run()
    recipe = tomllib.loads((tmp_path / "s" / "best.toml").read_text())
    assert recipe["model"] == {
        "name": "toys/searched",
        "width": found.best[0]["settings"]["model.width"],
        "bias": found.best[0]["settings"]["model.bias"],
    }
    assert "search" not in recipe
    run = lw.Experiment.from_table(recipe, plugins=named.plugins).quiet().run(tmp_path / "run")
    assert run.metrics["valid"]["accuracy"] == found.best[0]["values"]["accuracy"]


def test_parts_that_are_not_marked_have_nothing_to_search():
    with pytest.raises(lw.LabwrightError, match="there is nothing to search"):
        lw.Study(
            lw.Experiment(task=Sorting(Blobs()), model=Net, loss="cross-entropy", optimizer="sgd", train={"epochs": 1}),
            search={"only": []},
        )
