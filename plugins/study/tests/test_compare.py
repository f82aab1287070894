"""Comparisons from end to end, over small real runs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import Site, toys
from labwright.base.errors import LabwrightError
from labwright.base.locks import Lock
from labwright.cli import main
from labwright.interfaces.run import Outcome
from labwright.plugin.registry import Plugins
from labwright.runs.prepared import Prepared
from labwright_study.comparing import comparison, runs
from labwright_study.comparing.candidates import candidates
from labwright_study.comparing.runs import Job
from parts import Blobs, Net, duel, sorting
from torch import nn

RECIPE = """\
task = {{ name = "sorting", data = "toys/blobs" }}
model = {{ name = "toys/net", width = {width}, dropout = 0.0 }}
loss = "cross-entropy"
optimizer = {{ name = "adamw", lr = {lr} }}
device = "cpu"
train = {{ epochs = 2, batch_size = 15 }}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe that learns and one that hardly does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(RECIPE.format(width=16, lr=0.02))
    (tmp_path / "slow.toml").write_text(RECIPE.format(width=16, lr=1e-5))
    return tmp_path


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return toys()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which runs are really made."""
    made: list[tuple[str, int]] = []
    real = runs.run_here

    def counting(jobs: Iterator[Job], tasks: Prepared) -> Iterator[tuple[Job, Outcome]]:
        for job, outcome in real(jobs, tasks):
            made.append((job.name, job.seed))
            yield job, outcome

    monkeypatch.setattr(runs, "run_here", counting)
    return made


class Breaking(nn.Module):
    """A net whose numbers cease to be numbers with some seeds."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.net = Net(inputs, outputs)
        self.broken = torch.initial_seed() % 2 == 0
        self.steps = 0

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        # not at once: that would be refused before anything is compared
        return self.net(x_BD) * (float("nan") if self.broken and self.steps > 1 else 1.0)


# ------------------------------------------------------------------------------------------------------- the whole way


def test_the_better_recipe_is_found_and_everything_is_written_down(here, plugins, capsys):
    found = lw.compare(["good.toml", "slow.toml"], seeds=6, plugins=plugins)
    (pair,) = found.pairs
    assert (pair.verdict, pair.better, pair.seeds, pair.p) == ("better", "good", 6, 2 / 64)
    assert pair.mean is not None
    assert pair.mean > 0.2
    assert (found.metric, found.split, found.best, found.winner) == ("accuracy", "test", "good", "good")
    assert found.settings == {"optimizer.lr": {"good": 0.02, "slow": 1e-5}}
    assert found.folder == Path("comparisons/good-vs-slow-001")
    told = json.loads((found.folder / "comparison.json").read_text())
    assert told["state"] == "done"
    assert told["pairs"][0]["better"] == "good"
    assert [one["values"] for one in told["candidates"]] == [one.values for one in found.candidates]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "comparisons/good-vs-slow-001: 12 runs of good, slow; maximize accuracy"
    assert lines[1].startswith("good, seed 0: test accuracy ")
    assert lines[2].startswith("slow, seed 0: test accuracy ")
    assert len(lines) == 13
    run = found.folder / "good" / "seed-3"
    assert sorted(one.name for one in run.iterdir()) == ["metrics.jsonl", "outcome.json", "recipe.toml"]


def test_a_run_of_a_comparison_is_the_run_its_recipe_gives(here, plugins):
    found = lw.compare(["good.toml", "slow.toml"], seeds=2, folder="both", plugins=plugins, quiet=True)
    again = lw.Experiment.from_recipe("both/good/seed-1/recipe.toml", plugins=plugins).run()
    assert again.metrics["test"]["accuracy"] == found.candidates[0].values[1]


def test_the_report_is_a_page_that_needs_nothing_else(here, plugins):
    found = lw.compare({"a<b>": "good.toml", "slow": "slow.toml"}, 2, plugins=plugins, quiet=True)
    text = (found.folder / "report.html").read_text()
    open_tags: list[str] = []

    class Checking(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_startendtag(self, tag: str, attrs: Any) -> None:
            """It is closed already."""

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checking().feed(text)
    assert open_tags == []
    assert text.count("<svg") == 2
    assert "a&lt;b&gt;" in text
    assert "a<b>" not in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "No verdict on a&lt;b&gt; and slow from 2 seeds, it needs 6" in text


def test_candidates_are_recipes_with_changes_run_folders_and_trials(here, plugins):
    first = lw.Experiment.from_recipe("good.toml", ["train.seed=7"], plugins=plugins).run(here / "runs" / "one")
    trial = here / "studies" / "mine" / "trials" / "0012"
    trial.mkdir(parents=True)
    (trial / "recipe.toml").write_text((first.folder / "recipe.toml").read_text())
    sources = ["good.toml", "good.toml model.width=8", "runs/one", Path("studies/mine/trials/0012"), "x=runs/one"]
    found = lw.compare(sources, seeds=2, plugins=plugins, quiet=True, overrides=["train.epochs=1"])
    names = ["good", "good model.width=8", "one", "mine/0012", "x"]
    assert [one.name for one in found.candidates] == names
    assert found.settings == {"model.width": {name: 8 if "width" in name else 16 for name in names}}
    values = {one.name: one.values for one in found.candidates}
    assert values["good"] == values["one"] == values["mine/0012"] == values["x"]  # the seeds are the comparison's
    assert len(found.pairs) == 10
    assert {pair.verdict for pair in found.pairs if "width" not in pair.first + pair.second} == {"same values"}
    recipe = (found.folder / "one" / "seed-1" / "recipe.toml").read_text()
    assert "epochs = 1" in recipe


def test_variants_of_a_file_are_candidates(here, plugins):
    good = (here / "good.toml").read_text()
    (here / "good.toml").write_text(f"{good}\n[variants]\nwide.model.width = 32\nnarrow.model.width = 2\n")
    (here / "good").mkdir()  # no folder of runs
    texts = ["good.toml:wide", "small=good.toml:narrow model.dropout=0.5", "./good.toml"]
    compared = candidates(texts, ["train.epochs=1"], plugins)
    assert [(one.name, one.folder) for one in compared] == [
        ("good:wide", "good-wide"),
        ("small", "small"),
        ("good", "good"),
    ]
    settings = [one.experiment.model.settings for one in compared]
    assert settings == [{"width": 32, "dropout": 0.0}, {"width": 2, "dropout": 0.5}, {"width": 16, "dropout": 0.0}]
    assert {one.experiment.train.epochs for one in compared} == {1}
    with pytest.raises(LabwrightError, match=r"good\.toml: no variant is called 'wid'; did you mean 'wide'\?"):
        candidates(["good.toml:wid", "good.toml"], [], plugins)


def test_experiments_of_objects_can_be_compared_and_keep_their_stopping_rules(here):
    found = lw.compare({"one": sorting(stop=["early"]), "same": sorting(stop=["early"])}, 2, quiet=True)
    assert found.pairs[0].verdict == "same values"
    assert found.best is None and found.winner is None  # nobody is painted as the better one
    assert 'class="card goal"' not in (found.folder / "report.html").read_text()
    assert 'name = "early"' in (found.folder / "same" / "seed-1" / "recipe.toml").read_text()


# --------------------------------------------------------------------------------------------------------- going on


def test_a_comparison_that_was_interrupted_goes_on_and_makes_no_run_twice(here, plugins, counted, monkeypatch):
    real = runs.value_of

    def interrupt(outcome: Outcome, split: str, metric: str, name: str) -> float:
        if len(counted) == 3:
            raise KeyboardInterrupt
        return real(outcome, split, metric, name)

    monkeypatch.setattr(runs, "value_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lw.compare(["good.toml", "slow.toml"], seeds=3, folder="both", plugins=plugins, quiet=True)
    assert json.loads((here / "both" / "comparison.json").read_text())["state"] == "begun"
    monkeypatch.setattr(runs, "value_of", real)
    found = lw.compare(["good.toml", "slow.toml"], seeds=3, folder="both", plugins=plugins, quiet=True)
    assert sorted(counted) == [(name, seed) for name in ("good", "slow") for seed in range(3)]
    whole = lw.compare(["good.toml", "slow.toml"], seeds=3, folder="whole", plugins=plugins, quiet=True)
    assert [one.values for one in found.candidates] == [one.values for one in whole.candidates]


def test_more_seeds_are_added_without_naming_the_candidates_again(here, plugins, counted):
    lw.compare({"a": "good.toml", "b": "slow.toml"}, seeds=2, folder="both", plugins=plugins, quiet=True)
    found = lw.compare(seeds=4, folder="both", plugins=plugins, quiet=True)
    assert [(one.name, len(one.values)) for one in found.candidates] == [("a", 4), ("b", 4)]
    assert len(counted) == 8


def test_two_processes_do_not_make_the_same_comparison_at_once(here, plugins):
    lw.compare(["good.toml", "slow.toml"], seeds=2, folder="both", plugins=plugins, quiet=True)
    held = Lock(here / "both")
    held.acquire()
    with pytest.raises(lw.LabwrightError, match="both is under way"):
        lw.compare(seeds=3, folder="both", plugins=plugins, quiet=True)
    held.release()
    assert lw.compare(seeds=3, folder="both", plugins=plugins, quiet=True).seeds == 3


def test_a_run_that_was_cut_off_is_made_again(here, plugins, counted):
    lw.compare(["good.toml", "slow.toml"], seeds=2, folder="both", plugins=plugins, quiet=True)
    (here / "both" / "good" / "seed-1" / "outcome.json").unlink()
    (here / "both" / "slow" / "seed-0" / "outcome.json").write_text("{")
    counted.clear()
    lw.compare(folder="both", seeds=2, plugins=plugins, quiet=True)
    assert counted == [("slow", 0), ("good", 1)]


def test_a_folder_of_other_candidates_is_refused(here, plugins):
    lw.compare(["good.toml", "slow.toml"], seeds=2, folder="both", plugins=plugins, quiet=True)
    with pytest.raises(lw.LabwrightError, match=r"both compares good, slow; given good, x\. Give another --folder"):
        lw.compare(["good.toml", "x=slow.toml"], seeds=2, folder="both", plugins=plugins)
    with pytest.raises(lw.LabwrightError, match=r"another 'slow': optimizer.lr was 1e-05, is 0.1"):
        lw.compare(["good.toml", "slow=slow.toml optimizer.lr=0.1"], seeds=2, folder="both", plugins=plugins)
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").touch()
    with pytest.raises(lw.LabwrightError, match="full is there and holds no comparison"):
        lw.compare(["good.toml", "slow.toml"], seeds=2, folder="full", plugins=plugins)
    with pytest.raises(lw.LabwrightError, match="full holds no comparison to go on with"):
        lw.compare(folder="full", plugins=plugins)


# --------------------------------------------------------------------------------------------------------- what fails


def test_a_run_that_fails_does_not_lose_the_rest_and_is_said(here, counted):
    sources = {"net": sorting(), "breaking": sorting(model=Breaking)}
    found = lw.compare(sources, seeds=6, folder="both", quiet=True)
    net, breaking = found.candidates
    lost = len(breaking.failures)
    assert 0 < lost < 6
    assert None not in net.values
    assert [seed for seed, value in enumerate(breaking.values) if value is None] == list(breaking.failures)
    assert (found.pairs[0].seeds, found.pairs[0].left_out) == (6 - lost, lost)
    assert found.pairs[0].verdict in ("too few seeds", "same values")
    assert any(note.startswith(f"breaking failed with {lost} of 6 seeds (") for note in found.notes)
    counted.clear()
    lw.compare(sources, seeds=6, folder="both", quiet=True)
    assert counted == [("breaking", seed) for seed in breaking.failures]  # it may have been the machine


def test_a_metric_that_is_no_number_is_a_failure(here, plugins, monkeypatch):
    monkeypatch.setattr(comparison, "value_of", lambda outcome, split, metric, name: float("nan"))
    found = lw.compare(["good.toml", "slow.toml"], seeds=2, plugins=plugins, quiet=True)
    assert found.candidates[0].failures == {0: "accuracy is nan", 1: "accuracy is nan"}
    assert found.best is None
    assert (found.folder / "report.html").is_file()


# ------------------------------------------------------------------------------------------------------ what is given


@pytest.mark.parametrize(
    ("sources", "how", "said"),
    [
        (["good.toml"], {}, "needs two candidates or more; given good"),
        ([], {}, "needs two candidates or more; given none"),
        ("good.toml", {}, "needs two candidates or more"),
        (["good.toml", "good.toml"], {}, "two candidates are called 'good'"),
        (["a/b=good.toml", "a-b=slow.toml"], {}, "'a/b' and 'a-b' would have the same folder, 'a-b'"),
        (["good.toml", "vision/digitz"], {}, "no recipe is called 'vision/digitz'"),
        (["good.toml", "godo.toml"], {}, "there is no recipe file 'godo.toml'; did you mean 'good.toml'?"),
        (["good.toml", "runs/none"], {}, "no recipe is called 'runs/none'"),
        (["good.toml", "studies/mine"], {}, "'studies/mine' is a study; a candidate is one of its trials, such as"),
        (["good.toml", "studies/other"], {}, "'studies/other' is no run folder: it has no recipe.toml"),
        (["good.toml", "slow.toml model.widht=3"], {}, "has no setting 'widht'; did you mean 'width'?"),
        (["good.toml", "slow.toml train.seed=3"], {}, "the comparison sets train.seed itself"),
        (["good.toml", "slow.toml"], {"overrides": ["train.seed=3"]}, "the comparison sets train.seed itself"),
        (["good.toml", "slow.toml"], {"seeds": 1}, "seeds: given 1; a comparison needs a whole number from 2 on"),
        (["good.toml", "slow.toml"], {"level": 5}, "level: given 5; it is the rate of false alarms"),
        (["good.toml", "slow.toml"], {"metric": "f1"}, "say whether lower or higher is better: f1:minimize or"),
        (["good.toml", "slow.toml"], {"metric": "acuracy:maximize"}, "reports no 'acuracy' on test; did you mean 'acc"),
        (["good.toml", "...=slow.toml"], {}, "needs a name with a letter"),
    ],
)
def test_a_slip_is_answered_with_what_is_meant(here, plugins, sources, how, said):
    (here / "studies" / "mine" / "trials").mkdir(parents=True)
    (here / "studies" / "other").mkdir()
    with pytest.raises(lw.LabwrightError) as error:
        lw.compare(sources, plugins=plugins, quiet=True, **({"seeds": 2} | how))
    assert said in str(error.value)


def test_candidates_with_different_goals_need_a_metric(here):
    with pytest.raises(lw.LabwrightError) as error:
        lw.compare({"sorting": sorting(), "duel": duel()}, seeds=2)
    assert "sorting has accuracy (maximize), duel has distance (minimize). Name a metric" in str(error.value)


def test_another_metric_is_compared_in_its_direction(here, plugins):
    how: dict[str, Any] = {"seeds": 6, "plugins": plugins, "quiet": True, "folder": "both"}
    found = lw.compare(["good.toml", "slow.toml"], metric="cross_entropy:minimize", **how)
    assert (found.metric, found.direction, found.best, found.pairs[0].better) == (
        *("cross_entropy", "minimize"),
        *("good", "good"),
    )
    assert found.pairs[0].mean is not None
    assert found.pairs[0].mean < 0


def test_without_a_test_part_valid_is_compared_and_said(here):
    class Untested(Blobs):
        def split(self, name: str) -> Any:
            return None if name == "test" else super().split(name)

    found = lw.compare({"a": sorting(Untested()), "b": sorting(Untested(noise=0.3))}, 2, quiet=True)
    assert found.split == "valid"
    assert any(note.startswith("measured on valid, because there is no test part for all") for note in found.notes)


# ------------------------------------------------------------------------------------------------------ command line

PARTS = Path(inspect.getfile(Blobs)).read_text(encoding="utf-8")
MENU = """\
import labwright as lw
@lw.hookimpl
def labwright_components():
    yield lw.Component("task", "sorting", "labwright_toys.parts:Sorting", "")
    yield lw.Component("data", "toys/blobs", "labwright_toys.parts:Blobs", "")
    yield lw.Component("model", "toys/net", "labwright_toys.parts:Net", "")
"""


def said_by(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, in this process."""
    monkeypatch.setattr("sys.argv", ["labwright", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_the_command_says_who_is_better_and_goes_on(site: Site, here, capsys, monkeypatch):
    site.install("toys", MENU, parts=PARTS)
    words = ["compare", "good.toml", "slow.toml", "--seeds", "6", "--set", "train.epochs=1", "--folder", "both"]
    code, out, err = said_by(capsys, monkeypatch, *words)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("good  test accuracy 0.")
    assert lines[1].startswith("slow  test accuracy 0.")
    assert "  95% interval 0." in lines[0]
    assert lines[2].startswith("good is better than slow: difference +0.")
    assert lines[2].endswith(", ahead on 6 of 6, p 0.031.")
    assert lines[3] == "report: both/report.html"
    code, out, err = said_by(capsys, monkeypatch, "compare", "--folder", "both", "--seeds", "6", "--json")
    assert code == 0, err
    assert json.loads(out)["pairs"][0]["better"] == "good"
    assert err.splitlines() == ["both: 12 runs of good, slow, 12 of them are there; maximize accuracy"]


def test_the_command_ends_with_1_where_a_run_failed(site: Site, here, capsys, monkeypatch):
    site.install("toys", MENU, parts=PARTS)
    diverging = "wild=good.toml optimizer.lr=1e30"
    code, out, err = said_by(capsys, monkeypatch, "compare", "good.toml", diverging, "--seeds", "2")
    assert code == 1
    assert "wild, seed 0: failed: " in err
    assert "note: wild failed with 2 of 2 seeds (0, 1), which are left out" in err
    assert "No verdict on good and wild from 0 seeds, it needs 6. 2 seeds left out, because a run failed." in out
