"""Studies that an older version began: they are shown, and gone on with as that version would have.

kept/ is what labwright 0.1.0 left of `labwright tune toy.toml --name kept --trials 4 --batch 4`, its trials apart;
EXPECTED is what 0.1.0 went on to with `--trials 8`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import Site
from labwright.cli import main

KEPT = Path(__file__).parent / "kept"
PLUGIN = """\
import labwright as lw

@lw.hookimpl
def labwright_components():
    yield lw.Component("task", "toys/sorting", "parts:Sorting", "tell blobs apart")
    yield lw.Component("data", "toys/blobs", "parts:Blobs", "three blobs")
    yield lw.Component("model", "toys/net", "parts:Net", "a small net")
"""
EXPECTED = [
    (0, 0.3333333333333333, 0.01, "constant", 8),
    (1, 0.3333333333333333, 0.0014028895534255574, "one-cycle", 4),
    (2, 0.48333333333333334, 0.004181925602627056, "cosine", 13),
    (3, 0.95, 0.11859911553382499, "one-cycle", 18),
    (4, 0.5666666666666667, 0.009237299261630168, "constant", 14),
    (5, 1.0, 0.13980700491903664, "one-cycle", 24),
    (6, 0.3333333333333333, 0.0023604703343320915, "cosine", 2),
    (7, 1.0, 0.2532465086917879, "constant", 20),
]


@pytest.fixture
def labwright(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command line in this process, in a folder that holds the study."""
    site.install("toys", PLUGIN)
    shutil.copytree(KEPT, Path("studies") / "kept", ignore=shutil.ignore_patterns("toy.toml"))
    shutil.copy(KEPT / "toy.toml", "toy.toml")

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["labwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code in (0, None), err
        return out

    return run


def rows(exported: str) -> list[tuple[Any, ...]]:
    return [(row["number"], row["values"]["accuracy"], *row["settings"].values()) for row in json.loads(exported)]


def test_a_study_of_version_0_1_is_shown_and_its_best_recipe_printed(labwright: Any):
    assert "study kept: 4 of 4 trials, maximize accuracy" in labwright("study", "show", "kept")
    best = tomllib.loads((KEPT / "best.toml").read_text())
    best["device"]["sync_batch_norm"] = False  # there since, and printed with its default
    best["train"]["log_every"] = "auto"  # the default since
    assert tomllib.loads(labwright("study", "best", "kept")) == best
    assert rows(labwright("study", "export", "kept", "--json")) == EXPECTED[:4]


def test_the_studies_of_a_folder_are_listed_those_that_cannot_be_read_as_well(labwright: Any, tmp_path: Path):
    (tmp_path / "studies" / "torn").mkdir()
    (tmp_path / "studies" / "torn" / "study.json").write_text("{")
    (tmp_path / "studies" / "no study").mkdir()
    kept, torn = json.loads(labwright("study", "list", "--json"))
    best = max(value for _, value, *_ in EXPECTED[:4])
    assert (kept["name"], kept["trials"], kept["of"], kept["best"]) == ("kept", 4, 4, {"accuracy": best})
    assert kept["goals"] == ["maximize accuracy"] and sum(kept["states"].values()) == 4
    assert torn["name"] == "torn" and "study.json can't be read" in torn["fault"]
    assert "kept   4 of 4" in labwright("study", "list", str(tmp_path / "studies"))


def test_a_study_of_version_0_1_goes_on_with_the_trials_it_would_have_had(labwright: Any):
    labwright("tune", "toy.toml", "--name", "kept", "--trials", "8", "--batch", "4")
    assert rows(labwright("study", "export", "kept", "--json")) == EXPECTED
    assert json.loads(labwright("study", "show", "kept", "--json"))["best"][0]["number"] == 5
