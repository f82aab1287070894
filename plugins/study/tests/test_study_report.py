"""The report of a study, from real small studies: its sections, and that what it says is what the study found."""

from __future__ import annotations

import html
import json
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import optuna
import pytest
from labwright.base.search import Choice, Integers, Uniform
from labwright.report.charts import SERIES
from labwright_study.dimension import Dimension
from labwright_study.dominance import REPORTS
from labwright_study.importance import LEAST, importances
from labwright_study.report import figures
from labwright_study.report import sections as sections_of_report
from labwright_study.report.axes import Scale
from labwright_study.report.rows import Row, number, rows_of
from labwright_study.trial_store import TrialStore
from optuna.trial import TrialState
from test_studies import Searched, experiment, study

CHARTS = (
    "accuracy of each trial",
    "accuracy after each evaluation",
    "Time of each trial",
    "Each complete trial is a line",
)


def page_of(folder: Path) -> str:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)  # it needs no other file
    assert not re.search(r"#a[12]00\d\d", text), "a colour that isn't the page's"
    assert len(SERIES) == 4
    return text


def sections(text: str) -> dict[str, str]:
    """The sections of a page by their titles."""
    parts = re.split(r"<section[^>]*>\s*<h2>(.*?)</h2>", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows_below(section: str) -> list[list[str]]:
    """The cells of a section's last table, as they are read."""
    body = section.rpartition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [html.unescape(cell).replace("\u00a0", " ") for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[lw.Study, Any, str]:
    one = study(tmp_path_factory.mktemp("studies") / "one", 16)
    return one, one.run(), page_of(one.folder)


# ------------------------------------------------------------------------------------------------------- what it says


def test_a_report_has_its_sections_and_charts(finished):
    _, _, text = finished
    wanted = [
        "Results",
        "How it went",
        "The best trials",
        "What mattered",
        "Settings and accuracy",
        "Settings together",
    ]
    assert [title for title in sections(text) if title in wanted] == wanted
    for chart in CHARTS:
        assert f"<h3>{chart}</h3>" in text
    assert text.count("<svg") >= 8


def test_the_best_trials_are_those_of_the_study_in_order_and_the_recipe_is_among_them(finished):
    one, found, text = finished
    complete = sorted(one.opened().trials(TrialState.COMPLETE), key=lambda trial: -trial.values[0])
    shown = rows_below(sections(text)["The best trials"])
    assert [row[1] for row in shown[:10]] == [number(trial.values[0]) for trial in complete[:10]]
    assert shown[0][0].split()[0] == str(found.best[0]["number"])
    assert sum("(recipe)" in row[0] for row in shown) == 1
    assert f">{number(complete[0].values[0])}</div>" in sections(text)["Results"]


def test_counts_steps_and_the_space_are_those_of_the_study(finished):
    one, found, text = finished
    head = text.partition("<section ")[0]
    trials = one.opened().counted()
    assert f"trials <b>{found.trials} of 16</b>" in head
    assert f"complete <b>{found.complete}</b>" in head
    assert f"steps <b>{sum(trial.user_attrs['steps'] for trial in trials):,}</b>" in head
    shown = {row[0]: row[1] for row in rows_below(sections(text)["Where it looked"])}
    assert shown == {one.path: str(one.mark) for one in one.space.dimensions}


def test_pointing_at_a_mark_says_which_trial_it_is(finished):
    one, _, text = finished
    for trial in one.opened().trials(TrialState.COMPLETE):
        assert f"<title>trial {trial.number}: accuracy {number(trial.values[0])}</title>" in text


def test_it_says_how_to_go_on(finished):
    one, _, text = finished
    after = html.unescape(sections(text)["Go on"])
    assert f"labwright run {one.folder}/best.toml" in after
    assert f"labwright study best {one.name} --storage {one.url}" in after


# ------------------------------------------------------------------------------------------------- studies of all kinds


def test_one_trial_is_enough_for_a_report(tmp_path, caplog):
    one = study(tmp_path / "one", 1)
    one.run()
    text = page_of(one.folder)
    assert f"It takes {LEAST} complete trials to say what mattered; there is 1." in text
    assert "Settings together" not in sections(text)
    assert not caplog.records


def test_with_several_goals_there_is_a_front(tmp_path, caplog):
    one = study(tmp_path / "two", 12, goals=["accuracy", "parameters", "cross_entropy:minimize"])
    found = one.run()
    there = sections(page_of(one.folder))
    for title in ("accuracy and parameters", "accuracy and cross_entropy", "parameters and cross_entropy"):
        assert f"<h3>{title}</h3>" in there["The front"]
    front = {int(row[0].split()[0]) for row in rows_below(there["The trials of the front"])}
    assert front >= {best["number"] for best in found.best}
    assert {"Settings and accuracy", "Settings and parameters"} <= there.keys()
    assert f"{len(found.best)} trial" in there["Results"]
    assert not caplog.records


def test_settings_that_only_some_trials_have_are_told_apart(tmp_path, caplog):
    pytest.importorskip("labwright_vision")
    recipe = {
        "task": {"name": "classification", "data": "vision/digits"},
        "model": "vision/mlp",
        "loss": "cross-entropy",
        "optimizer": "adamw",
        "train": {"steps": 2},
        "log": [],
        "search": {"model": ["vision/mlp", "vision/cnn"], "only": ["model", "model.*"]},
    }
    one = study(tmp_path / "both", 12, experiment=lw.Experiment(**recipe), search={}, sampler="random")
    one.run()
    there = sections(page_of(one.folder))
    assert there["Settings and accuracy"].count("<h3>model.depth</h3>") == 2
    assert "if model is vision/mlp" in there["Settings and accuracy"]
    assert "depth (mlp)" in there["Settings together"]
    assert "depth (cnn)" in there["Settings together"]
    assert "not there" in there["Settings together"]
    assert not caplog.records


def test_a_study_without_a_complete_trial_says_so(tmp_path, caplog):
    diverging = experiment(optimizer={"name": "sgd", "lr": 1e30})
    one = study(tmp_path / "lost", 6, experiment=diverging, search={"only": ["model.*"]})
    one.run()
    there = sections(page_of(one.folder))
    assert "no trial trained to its end" in there["Results"]
    failed = rows_below(there["What failed"])
    assert sum(int(row[1]) for row in failed) == 6
    assert {row[0] for row in failed} == {"diverged"}
    assert "best.toml" not in there["Go on"]
    assert not caplog.records


def test_reasons_of_failures_are_counted(tmp_path):
    class Breaking(Searched):
        def forward(self, x_BD: Any) -> Any:
            if self.body[0].out_features > 10:
                raise RuntimeError("too wide <for me>")
            return super().forward(x_BD)

    one = study(tmp_path / "some", 12, experiment=experiment(model=Breaking), sampler="random")
    found = one.run()
    assert found.failed
    [row] = rows_below(sections(page_of(one.folder))["What failed"])
    assert row[:2] == ["failed", str(found.failed)]
    assert row[3].startswith("RuntimeError: too wide <for me> (test_study_report.py, line ")


def test_an_interrupted_study_has_its_report_too(tmp_path):
    one = study(tmp_path / "more", 4)
    one.run()
    longer = study(tmp_path / "more", 8)
    store = longer.opened()
    sections_of_report.write_report(longer.described(), store, longer.findings(store, interrupted=True))
    text = page_of(one.folder)
    assert ">interrupted</span>" in text
    assert "4 of 8 trials are there; the same command goes on." in text


def test_what_was_confirmed_is_shown(tmp_path):
    one = study(tmp_path / "sure", 6)
    one.run()
    one.confirm(2, 3)
    kept = json.loads((one.folder / "confirmed.json").read_text())
    shown = rows_below(sections(page_of(one.folder))["Again over fresh seeds"])
    assert [row[0] for row in shown] == [trial["name"] for trial in kept["trials"]]
    assert shown[0][2] == number(kept["trials"][0]["mean"])


# --------------------------------------------------------------------------------------------------- when it goes wrong


def test_a_section_that_cannot_be_drawn_is_named_and_the_study_is_whole(tmp_path, monkeypatch, caplog):
    def broken(*_: Any) -> str:
        raise ValueError("no ink")

    monkeypatch.setattr(figures, "parallel", broken)
    one = study(tmp_path / "one", 4)
    assert one.run().complete
    there = sections(page_of(one.folder))
    assert "This part is missing" in there["Settings together"]
    assert "ValueError: no ink" in there["Settings together"]
    assert "The best trials" in there
    assert ["no ink" in record.message for record in caplog.records] == [True]


def test_a_report_that_cannot_be_written_costs_nothing_but_itself(tmp_path, monkeypatch, caplog):
    def broken(*_: Any) -> str:
        raise OSError("no paper")

    monkeypatch.setattr("labwright.report.page.write_text", broken)
    one = study(tmp_path / "one", 2)
    assert one.run().complete
    assert (one.folder / "best.toml").is_file()
    assert "no paper" in caplog.text


# ------------------------------------------------------------------------------------------------------- what mattered


def tried(trials: int, value: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=3))
    one.optimize(lambda trial: value(*(trial.suggest_float(name, 0, 1) for name in "abc")), n_trials=trials)
    return one


def test_what_decides_alone_is_beyond_chance_and_what_does_nothing_is_not():
    found = {one.name: one for one in importances(tried(60, lambda a, b, c: -((a - 0.3) ** 2)), seed=0)}
    assert sum(one.share for one in found.values()) == pytest.approx(1)
    assert next(iter(found)) == "a"
    assert [name for name, one in found.items() if one.certain] == ["a"]


def test_chance_is_rarely_beyond_itself():
    beyond = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        beyond += sum(one.certain for one in importances(tried(30, partial(_drawn, random)), seed))
    assert beyond <= 4  # of 18; one in twenty is expected


def _drawn(random: np.random.Generator, *_: float) -> float:
    return float(random.random())


def test_equal_or_few_trials_say_nothing_of_importance():
    assert importances(tried(30, lambda *_: 1.0), 0) == []
    assert importances(tried(LEAST - 1, lambda a, *_: a), 0) == []


# --------------------------------------------------------------------------------------------------------- where it is


def row(**changed: Any) -> Row:
    given: dict[str, Any] = {"number": 0, "state": "complete", "values": (0.5,), "reports": [], "params": {}}
    more: dict[str, Any] = {"steps": 1, "seconds": 1.0, "reason": "", "baseline": False, "best": False}
    return Row(**(given | more | changed))


def test_places_on_an_axis_follow_the_mark():
    def place(mark: Any, value: Any) -> float:
        return Scale.of(Dimension("x", "x", mark)).place(value, row())

    assert place(Uniform(0, 4), 1) == pytest.approx(0.25)
    assert place(Uniform(1e-4, 1, log=True), 1e-3) == pytest.approx(0.25)
    assert place(Integers(1, 5), 3) == pytest.approx(0.5)
    choices = Choice(None, 1, "a")
    assert [round(place(choices, one), 1) for one in (None, 1, "a")] == [0.1, 0.4, 0.8]


def test_hundreds_of_trials_are_thinned_and_the_best_stay():
    goal = lw.Goal("accuracy", "maximize")
    many = [row(number=one, values=(one / 1000,), baseline=one == 7) for one in range(1000)]
    kept = [one.number for one in figures.thinned(many, goal, 0, 150)]
    assert len(kept) <= 151
    assert kept[:3] == [999, 998, 997]
    assert {7, 950} <= set(kept)
    assert min(kept) < 10


def test_a_front_stays_whole_where_trials_are_thinned_and_a_wide_one_is_thinned_too():
    goal = lw.Goal("loss", "minimize")

    def kept(front: int) -> list[Row]:
        return figures.thinned(
            [row(number=one, values=(one / 1000,), best=one >= 1000 - front) for one in range(1000)], goal, 0, 150
        )

    assert sum(row.best for row in kept(50)) == 50 and len(kept(50)) <= 150
    assert len(kept(900)) <= 150


@pytest.mark.long
def test_a_report_of_two_thousand_trials_is_below_three_megabytes_and_says_what_it_draws(tmp_path):
    """The most that one has to draw: a wide space, three goals, and an evaluation after each of ten epochs."""
    goals = ["accuracy", "cross_entropy:minimize", "parameters"]
    one = study(tmp_path / "wide", 2000, goals=goals, search={}, sampler="random", pruner="none")
    store = one.opened(optuna.storages.InMemoryStorage())
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    random = np.random.default_rng(0)
    for place in range(2000):
        asked = drawing.ask()
        one.space.suggest(asked)
        reports = random.random((1 + place % 10, 3)).tolist()
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE if len(reports) == 10 else TrialState.PRUNED,
            values=reports[-1],
            params=asked.params,
            distributions=asked.distributions,
            user_attrs={"steps": len(reports), "seconds": len(reports) / 8},
            system_attrs={REPORTS: reports},
        )
        store.storage.create_new_trial(store.study._study_id, trial)
    one.folder.mkdir()
    sections_of_report.write_report(one.described(), store, one.findings(store))
    text = page_of(one.folder)
    print(len(text) / 1e6, len(one.space.dimensions))
    assert len(text.encode()) < 3e6
    assert "Figures draw the best of the 2,000 trials and every nth of the others" in text
    drawn = re.findall(r"<title>trial (\d+):", sections(text)["How it went"])
    assert {best["number"] for best in one.findings(store).best} <= set(map(int, drawn))


def test_the_rows_are_made_of_what_the_store_has(finished):
    one, found, _ = finished
    store: TrialStore = one.opened()
    rows = rows_of(store.ended(), {best["number"] for best in found.best})
    assert [(row.number, row.params) for row in rows] == [(trial.number, trial.params) for trial in store.counted()]
    assert [row.number for row in rows if row.baseline] == [0]
    assert [row.number for row in rows if row.best] == [found.best[0]["number"]]
