"""`labwright runs` over real short runs: what it says of them is what their outcomes and recipes say."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright.base.locks import Lock
from labwright.cli import main
from labwright.report import charts
from labwright_instruments.runs.diff import difference
from labwright_instruments.runs.entries import Entry, entries_below, entry_of
from labwright_instruments.runs.goals import directions, goal_of
from labwright_instruments.runs.notes import Notes, read_notes
from labwright_instruments.runs.overlay import MOST_RUNS, curves_of
from labwright_instruments.runs.query import chosen, differing, parsed_condition, short_names, sorted_by

RATES = {"slow": 1e-4, "fast": 0.03, "wild": 0.3}


@pytest.fixture(scope="module")
def plugins() -> lw.Plugins:
    return lw.Plugins.discover()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one recipe with other rates, one of them of another width."""
    folder = tmp_path_factory.mktemp("trained")
    for number, (name, rate) in enumerate(RATES.items()):
        width = 16 if name == "wild" else 8
        overrides = [f"optimizer.lr={rate}", f"model.width={width}", "train.epochs=3", "train.log_every=5", "log=[]"]
        lw.Experiment.from_recipe("vision/digits-mlp", overrides).run(folder / "runs" / name)
        for file in ("recipe.toml", "environment.json", "task/read.json"):  # a minute apart, whatever the clock said
            os.utime(folder / "runs" / name / file, (1e9 + 60 * number, 1e9 + 60 * number))
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the runs."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["labwright", "runs", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def outcome(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "outcome.json").read_text())


def rows(out: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in out.splitlines()]


# ----------------------------------------------------------------------------------------------------------- the table


def test_the_table_has_the_goal_of_each_split_and_the_settings_that_differ(here: Path, said: Any):
    code, out, err = said()
    assert code == 0, err
    header, *lines = rows(out)
    assert header == ["name", "status", "step", "valid.accuracy", "test.accuracy", "width", "lr", "when", "time"]
    assert [line[0] for line in lines] == [f"runs/{name}" for name in RATES]  # as they were begun
    for line, (name, rate) in zip(lines, RATES.items(), strict=True):
        metrics = outcome(here / "runs" / name)["metrics"]
        assert line[1:3] == ["finished", "63 of 63"]
        assert line[3:5] == [f"{metrics[split]['accuracy']:.5g}" for split in ("valid", "test")]
        assert float(line[6]) == rate


def test_a_run_of_a_variant_says_of_which(here: Path, said: Any):
    text = 'base = "vision/digits-mlp"\nlog = []\n[variants.short]\ntrain.steps = 2\n'
    (here / "mine.toml").write_text(text)
    lw.Experiment.from_recipe("mine.toml:short").run()
    (header, *_), (line,) = rows(said("--columns", "variant,step")[1]), rows(said("--where", "variant=short")[1])[1:]
    assert header == ["name", "variant", "step"]
    assert line[:4] == ["runs/mine-short-001", "short", "finished", "2 of 2"]
    assert [run["variant"] for run in json.loads(said("--json")[1])] == [None, None, None, "short"]


def test_json_and_csv_have_every_digit(here: Path, said: Any):
    _, out, _ = said("--json")
    listed = json.loads(out)
    assert [run["metrics"] for run in listed] == [outcome(here / "runs" / name)["metrics"] for name in RATES]
    assert listed[0]["goal"] == {"metric": "accuracy", "direction": "maximize"}
    assert listed[2]["differs"] == {"model.width": 16, "optimizer.lr": 0.3}
    assert listed[0]["settings"]["model"] == "vision/mlp"
    _, out, _ = said("--csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert [float(row["optimizer.lr"]) for row in table] == [*RATES.values()]
    assert [float(row["test.accuracy"]) for row in table] == [run["metrics"]["test"]["accuracy"] for run in listed]


def test_runs_are_sorted_by_the_goals_direction_and_chosen_by_conditions(trained: Path, plugins: lw.Plugins):
    entries = entries_below([trained], plugins)
    accuracy = {entry.folder.name: outcome(entry.folder)["metrics"]["valid"]["accuracy"] for entry in entries}
    loss = {entry.folder.name: outcome(entry.folder)["metrics"]["valid"]["cross_entropy"] for entry in entries}
    assert len({*accuracy.values()}) == len({*loss.values()}) == 3

    def ordered(field: str) -> list[str]:
        return [entry.folder.name for entry in sorted_by(entries, field, lambda: directions(plugins))]

    def names(*where: str, last: int | None = None) -> list[str]:
        return [entry.folder.name for entry in chosen(entries, where, last)]

    by_accuracy = sorted(RATES, key=lambda name: -accuracy[name])
    assert ordered("accuracy") == ordered("valid") == by_accuracy
    assert ordered("valid.accuracy:minimize") == by_accuracy[::-1]
    assert ordered("cross_entropy") == sorted(RATES, key=lambda name: loss[name])  # the goal of other tasks
    assert ordered("optimizer.lr") == sorted(RATES, key=lambda name: RATES[name])
    assert ordered("when") == names() == [*RATES]
    assert names(last=2) == ["fast", "wild"]
    assert names("model.width=8") == ["slow", "fast"]
    best = accuracy[by_accuracy[0]]
    assert names(f"accuracy>={best}") == by_accuracy[:1]
    assert names(f"valid.accuracy<{best}", "optimizer.lr>0.001") == [
        name for name in RATES if accuracy[name] < best and RATES[name] > 0.001
    ]
    assert names("model=vision/*", "name!=*slow") == ["fast", "wild"]
    assert names("when>2001-09-09") == [*RATES] and names("when>2001-09-10", "status=failed") == []


def test_the_table_is_sorted_and_says_if_nothing_is_left(here: Path, said: Any):
    assert [row[0] for row in rows(said("--sort", "lr:maximize", "--columns", "status")[1])[1:]] == [
        f"runs/{name}" for name in ("wild", "fast", "slow")
    ]
    assert said("--where", "status=failed")[1] == "no run fulfils --where\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--where", "acuracy>1"), "no run has 'acuracy'; did you mean 'accuracy'"),
        (("--where", "accuracy"), "--where 'accuracy' is no condition: write FIELD=VALUE"),
        (("--sort", "figure"), "no run has 'figure'"),
        (("--columns", "status,,step"), "write fields with commas"),
        (("rnus",), "there is no folder 'rnus' in"),
        (("diff", "runs/slow"), "takes two runs or more, given 1"),
        (("diff", "runs/slow", "runs/fats"), "'runs/fats' is no run folder; did you mean 'runs/fast'?"),
        (("tag", "runs/slow", "a,b"), "given the tag 'a,b'; it is a word"),
        (("tag", "runs/slow", "good", "--remove"), "there is no tag 'good' to remove: it has no tags"),
        (("note", "runs/slow"), "takes a run and text, given 1"),
        (("diff", "runs/slow", "runs/fast", "--sort", "lr"), "--sort goes with `runs` and `runs report`, not"),
        (("report", "--out", "page.txt"), "a name that ends in .html"),
        (("index", "runs", "studies"), "takes one folder"),
        (("runs/slow/task",), "there is no run in runs/slow/task or below"),
        (("--json", "--csv"), "say which"),
    ],
)
def test_what_cannot_be_done_is_one_message(here: Path, said: Any, words: tuple[str, ...], message: str):
    code, out, err = said(*words)
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1


def test_a_metric_no_task_has_for_its_goal_needs_a_direction(plugins: lw.Plugins):
    entries = [Entry(Path("a"), "finished", metrics={"valid": {"oddness": 1.0}})]
    with pytest.raises(lw.LabwrightError, match=r"oddness:minimize or valid\.oddness:maximize"):
        sorted_by(entries, "oddness", lambda: directions(plugins))
    assert sorted_by(entries, "oddness:minimize", dict) == entries


def test_neither_torch_nor_any_other_heavy_library_is_imported_to_list_runs(trained: Path):
    code = (
        "import sys, resource; from labwright.cli import main; sys.argv = ['labwright', 'runs', '--json']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'optuna', 'pandas', 'jinja2'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert len(json.loads(done.stdout)) == 3


# ------------------------------------------------------------------------------------------- what isn't over, or whole


def test_a_run_that_is_trained_is_told_apart_from_one_whose_process_is_gone(here: Path, plugins: lw.Plugins):
    folder = here / "runs" / "slow"
    (folder / "outcome.json").unlink()
    lock = Lock(folder)
    lock.acquire()
    running = entry_of(folder, plugins)
    assert (running.status, running.fault, running.step, running.steps) == ("running", "", 63, 63)
    assert running.metrics["valid"].keys() == {"accuracy", "cross_entropy"}  # from the log
    lock.release()
    assert entry_of(folder, plugins).status == "crashed"


def test_a_resumed_run_that_was_killed_is_crashed_whatever_its_older_outcome_says(here: Path, plugins: lw.Plugins):
    """A process that is killed leaves its number in the lock; here it is that of one which has just ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (here / "runs" / "slow" / ".lock").write_text(f"{gone.pid} {socket.gethostname()}\n")
    entry = entry_of(here / "runs" / "slow", plugins)
    assert (entry.status, entry.fault) == (
        "crashed",
        f"process {gone.pid} on {socket.gethostname()} is gone without an outcome",
    )
    # a process that lives and has nothing to do with it has got the number meanwhile
    (here / "runs" / "slow" / ".lock").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    assert entry_of(here / "runs" / "slow", plugins).status == "crashed"
    (here / "runs" / "slow" / ".lock").write_text("12 elsewhere\n")
    entry = entry_of(here / "runs" / "slow", plugins)
    assert entry.status == "unfinished" and "can't be seen from here" in entry.fault


def test_damaged_and_half_written_folders_are_lines_that_say_so(here: Path, said: Any):
    runs = here / "runs"
    (runs / "slow" / "recipe.toml").write_text("[task\n")
    (runs / "fast" / "outcome.json").write_text('{"status": "finished", "metr')
    (runs / "wild" / "metrics.jsonl").write_bytes(b'{"event": "train"\n\xff\n{"event": "evaluation", "step": 3}\n[1]\n')
    (runs / "begun" / "task").mkdir(parents=True)
    (runs / "begun" / ".lock").touch()
    trial = runs / "trial"
    trial.mkdir()
    shutil.copy(runs / "wild" / "recipe.toml", trial)
    (trial / "metrics.jsonl").touch()
    (runs / "loop").symlink_to(here)
    (runs / "no run").mkdir()
    code, out, _ = said("--json")
    assert code == 0
    told = {Path(run["folder"]).name: (run["status"], run["fault"]) for run in json.loads(out)}
    assert told["slow"][0] == "damaged" and "recipe.toml can't be read" in told["slow"][1]
    assert told["fast"][0] == "damaged" and "outcome.json can't be read" in told["fast"][1]
    assert told["wild"] == ("finished", "")
    assert told["begun"] == ("damaged", "there is no recipe.toml")
    assert told["trial"][0] == "unfinished"
    assert len(told) == 5
    code, out, _ = said()
    assert code == 0 and len(out.splitlines()) == 6
    code, out, _ = said("report", "--json")
    assert code == 0


@given(
    st.binary(max_size=200), st.sampled_from(["recipe.toml", "outcome.json", "metrics.jsonl", "notes.toml", ".lock"])
)
def test_whatever_a_file_holds_a_folder_is_an_entry(content: bytes, name: str):
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "recipe.toml").write_text('task = "classification"')
        (folder / name).write_bytes(content)
        entry = entry_of(folder, lw.Plugins([]))
        assert entry.status in ("damaged", "unfinished", "crashed", "running")
        assert json.dumps(entry.fields, default=str)


# ------------------------------------------------------------------------------------------------------------ the goal


def test_goals_read_from_source_are_those_of_the_classes(plugins: lw.Plugins):
    """Origin: the classes themselves. A task whose goal depends on its data has one of several."""
    seen = 0
    for name in plugins.names("task"):
        goal = getattr(plugins.load("task", name), "goal", None)
        if isinstance(goal, lw.Goal):
            found = goal_of({"task": name}, {goal.metric}, plugins)
            assert found and (found.metric, found.direction) == (goal.metric, goal.direction), name
            seen += 1
    assert seen > 8


def test_a_goal_that_a_recipe_names_goes_before_the_tasks_own(plugins: lw.Plugins):
    def goal(**settings: str) -> tuple[str, str | None] | None:
        found = goal_of({f"task.{key}" if key != "task" else key: text for key, text in settings.items()}, (), plugins)
        return found and (found.metric, found.direction)

    assert goal(task="classification") == ("accuracy", "maximize")
    assert goal(task="classification", goal="f1/macro") == ("f1/macro", "maximize")
    assert goal(task="classification", goal="mine:minimize") == ("mine", "minimize")
    assert goal(task="classification", goal="mine") == ("mine", None)
    assert goal(task="nobody/knows") is None


# --------------------------------------------------------------------------------------------------------- conditions

FIELDS = st.sampled_from(["status", "valid.accuracy", "start.take.encoder.*", "betas"])
VALUES = st.text(" =<>!*a1.\u00e9'", min_size=1).map(str.strip).filter(lambda text: text and text[0] not in "=<>")


@settings(max_examples=50)
@given(FIELDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), VALUES, st.sampled_from(["", " "]))
def test_a_condition_is_what_it_was_put_together_from(field: str, sign: str, value: str, blank: str):
    condition = parsed_condition(f"{field}{blank}{sign}{blank}{value}")
    assert (condition.field, condition.sign, condition.value) == (field, sign, value.strip())


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_of_each_pair_of_signs_that_exclude_each_other_one_holds(there: float, given_: float):
    entry = Entry(Path("a"), "finished", settings={"x": there})

    def holds(sign: str) -> bool:
        return parsed_condition(f"x{sign}{given_!r}").holds(entry)

    assert holds("<") != holds(">=") and holds(">") != holds("<=") and holds("=") != holds("!=")
    assert holds("<=") == (holds("<") or holds("="))


def test_a_condition_on_what_a_run_lacks_holds_only_if_it_excludes():
    entry = Entry(Path("a"), "finished", settings={"on": True, "rate": float("nan")}, notes=Notes("x", ("good", "old")))
    entries = [entry, Entry(Path("b"), "failed", settings={"x": 1})]
    texts = (
        "x=1",
        "x>0",
        "x!=1",
        "rate<1",
        "on=true",
        "on=True",
        "on=false",
        "tag=good",
        "tag=bad",
        "tag!=old",
        "tags=o*",
    )
    held = {text for text in texts if chosen(entries, [text], None)[:1] == [entry]}
    assert held == {"x!=1", "on=true", "on=True", "tag=good", "tags=o*"}


def test_settings_that_follow_from_another_component_are_not_among_the_differences():
    def entry(**settings: Any) -> Entry:
        return Entry(Path("a"), "finished", settings={key.replace("__", "."): value for key, value in settings.items()})

    alike = {"loss": "mse", "train__clip": 1.0}
    entries = [
        entry(**alike, model="mlp", model__width=8, model__depth=2),
        entry(**alike, model="mlp", model__width=16, model__depth=2),
        entry(**alike, model="cnn", model__channels=3),
        Entry(Path("damaged"), "damaged"),
    ]
    assert differing(entries) == ["model", "model.width"]
    assert differing([entry(x=1), entry(x=1, y=2)]) == ["y"]
    assert short_names(["model.width", "task.data.width", "optimizer.lr", "task.name"]) == {
        "model.width": "model.width",
        "task.data.width": "data.width",
        "optimizer.lr": "lr",
        "task.name": "task.name",  # `name` is a column of its own
    }


# ------------------------------------------------------------------------------------------------------ notes and tags


def test_notes_and_tags_are_kept_beside_a_run_and_touch_nothing_else(here: Path, said: Any):
    folder = here / "runs" / "fast"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert said("note", "runs/fast", 'rate as in the "paper", é')[0] == 0
    assert said("tag", "runs/fast", "good")[0] == said("tag", "runs/fast", "paper-1")[0] == 0
    assert said("tag", "runs/fast", "good")[0] == 0  # once is enough
    assert read_notes(folder, []) == Notes('rate as in the "paper", é', ("good", "paper-1"))
    now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert tomllib.loads(now.pop(folder / "notes.toml").decode())["tags"] == ["good", "paper-1"]
    assert now == before
    _, out, _ = said("--where", "tag=good")
    assert rows(out)[1][-2:] == ["good, paper-1", 'rate as in the "paper", é'] and len(rows(out)) == 2
    assert 'rate as in the "paper"' in said("diff", "runs/slow", "runs/fast")[1]
    assert said("tag", "runs/fast", "good", "--remove")[1] == 'runs/fast: paper-1; rate as in the "paper", é\n'
    said("tag", "runs/fast", "paper-1", "--remove")
    assert said("note", "runs/fast", "")[1] == "runs/fast: no tags; no note\n"
    assert not (folder / "notes.toml").exists()


def test_notes_that_cannot_be_read_are_said_and_not_written_over(here: Path, said: Any):
    file = here / "runs" / "fast" / "notes.toml"
    file.write_text("note = [")
    code, _, err = said("tag", "runs/fast", "good")
    assert code == 2 and "notes.toml can't be read" in err
    assert file.read_text() == "note = ["
    assert "notes.toml can't be read" in said()[1]


def test_a_run_with_notes_is_gone_on_with_and_keeps_them(here: Path, said: Any):
    from labwright.runs.resume import resume

    said("note", "runs/fast", "longer")
    trainer, _ = resume(here / "runs" / "fast", lw.Plugins.discover(), ["train.epochs=4"])
    assert trainer.fit(interruptible=False).step == 84
    assert rows(said("--where", "note=longer")[1])[1][2] == "84 of 84"


# ------------------------------------------------------------------------------------------------------ what differs


def test_what_differs_is_settings_versions_and_metrics(here: Path, said: Any):
    file = here / "runs" / "fast" / "environment.json"
    environment = json.loads(file.read_text())
    environment["torch"], environment["git"] = "2.0.0", {"commit": "f" * 40, "changed": True}
    environment["command"] = ["another"]
    file.write_text(json.dumps(environment))
    code, out, _ = said("diff", "runs/slow", "runs/fast", "--json")
    told = json.loads(out)
    assert code == 0 and told["settings"] == {"optimizer.lr": [1e-4, 0.03]}
    assert (
        told["environment"]["torch"][1] == "2.0.0" and told["environment"]["commit"][1] == "ffffffffffff with changes"
    )
    assert told["environment"].keys() == {"torch", "commit"}
    for split in ("valid", "test"):
        values = [outcome(here / "runs" / name)["metrics"][split]["accuracy"] for name in ("slow", "fast")]
        assert told["metrics"][f"{split}.accuracy"] == values
    _, out, _ = said("diff", "runs/slow", "runs/fast")
    slow, fast = told["metrics"]["test.accuracy"]
    assert re.search(rf"test\.accuracy +{slow:.5g} +{fast:.5g} +{re.escape(f'{fast - slow:+.3g}')}\n", out)
    assert re.search(r"optimizer\.lr +0\.0001 +0\.03\n", out)


def test_what_is_the_same_is_said_to_be_and_what_is_not_known_too(here: Path, plugins: lw.Plugins, said: Any):
    twice = [entry_of(here / "runs" / "slow", plugins)] * 2
    assert difference(twice)["settings"] == difference(twice)["environment"] == {}
    (here / "runs" / "slow" / "environment.json").unlink()
    _, out, err = said("diff", "runs/slow", "runs/wild")
    assert "note: runs/slow has no environment.json that can be read" in err
    assert "versions and code: the same, as far as they are known" in out


# ---------------------------------------------------------------------------------------------------------------- pages


def test_a_page_has_the_curves_of_all_runs_and_needs_no_other_file(here: Path, said: Any):
    assert said("report", "runs", "--out", "page.html")[1] == "report of 3 runs: page.html\n"
    text = (here / "page.html").read_text()
    titles = re.findall(r"<h3>((?:Training|Validation)[^<]*)", text)
    assert titles == ["Training loss", "Validation accuracy", "Validation cross_entropy"]
    assert not re.search(r'(?:src|href)="(?!data:|#)', text) and "prefers-color-scheme: dark" in text
    assert not re.search(r"#a[12]00\d\d", text), "a colour that isn't the page's"
    for name in RATES:
        assert f"</span>{name}</div>" in text  # the legend
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert all(f"stroke: var(--series-{number})" in svg for number in (1, 2, 3))
        assert ">epoch</text>" in svg  # all have epochs of one length
        assert re.search(r"<title>\w+, step [0-9,]+: [0-9.e-]+</title>", svg)


def test_curves_are_the_logs_and_have_a_hundred_points_at_most(here: Path):
    folder = here / "runs" / "slow"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = curves_of(folder)
    valid = [line for line in lines if line["event"] == "evaluation" and line["split"] == "valid"]
    assert curves.metrics["accuracy"] == [(line["step"], line["metrics"]["accuracy"]) for line in valid]
    assert curves.losses["loss"] == [(line["step"], line["loss"]) for line in lines if line["event"] == "train"]
    points = [(step, float(step)) for step in range(1, 100_001)]
    drawn = charts.thinned(points)
    assert len(drawn) == 100 and drawn[-1][0] == 100_000
    assert drawn[0] == (1000, 500.5)  # the mean of 1 to 1000


def test_more_runs_than_can_be_told_apart_are_refused(here: Path, said: Any):
    for number in range(MOST_RUNS):
        shutil.copytree(here / "runs" / "slow", here / "runs" / f"copy-{number}")
    code, _, err = said("report")
    assert code == 2 and f"{MOST_RUNS + 3} runs can't be told apart on one page" in err
    assert said("report", "--last", "12")[0] == 0


def test_an_index_links_to_reports_and_is_written_over_only_if_it_is_one(here: Path, said: Any):
    (here / "runs" / "fast" / "report.html").write_text("a report")
    study = here / "studies" / "a study & more"
    shutil.copytree(here / "runs" / "slow", study / "trials" / "0000")
    (study / "study.json").write_text("{}")
    (study / "report.html").write_text("a report")
    assert said("index", ".")[1] == "index of 4: index.html\n"
    text = (here / "index.html").read_text()
    links = dict(re.findall(r'<a href="([^"#]*)">([^<]*)</a>', text))
    assert links == {
        "runs/fast/report.html": "runs/fast",
        "studies/a%20study%20%26%20more/report.html": "studies/a study &amp; more",
    }
    assert "runs/slow" in text and "trials/0000" not in text
    assert said("index", ".")[0] == 0
    (here / "index.html").write_text("mine")
    code, _, err = said("index", ".")
    assert code == 2 and "`labwright runs` didn't write it" in err
    assert (here / "index.html").read_text() == "mine"
    (here / "elsewhere").write_text("theirs")
    (here / "index.html").unlink()
    (here / "index.html").symlink_to(here / "elsewhere")
    assert said("index", ".")[0] == 2 and (here / "elsewhere").read_text() == "theirs"
