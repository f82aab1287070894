"""Studies as a person runs them: any number of workers, two plugins at once, under torchrun, and what is kept."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import labwright as lw
import optuna
import pytest
from labwright.plugin.registry import Plugins
from labwright_study.samplers import TPE
from labwright_study.space import Space
from labwright_study.trial_store import TrialStore
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage

BIN = Path(sys.executable).parent
STRIPES = Path(__file__).parent / "third_party" / "labwright-stripes"
RECIPE = """\
task = { name = "classification", data = { name = "vision/digits", valid = 0.2 } }
model = { name = "vision/mlp", width = 32 }
loss = "cross-entropy"
optimizer = { name = "adamw", lr = 3e-3 }
train = { epochs = 4, batch_size = 64 }

[search]
only = ["model.*", "optimizer.lr"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with a recipe."""
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


def said(folder: Path, *command: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"} | environment
    words = [str(BIN / str(command[0])), *map(str, command[1:])]
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=1800)
    assert done.returncode == code, done.stderr
    return done


def exported(folder: Path, name: str) -> list[dict[str, Any]]:
    """The trials of a study, without what differs from time to time."""
    rows = json.loads(said(folder, "labwright", "study", "export", name, "--json").stdout)
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.long
@pytest.mark.timing
def test_any_number_of_workers_has_the_same_trials(place: Path) -> None:
    found = {}
    for workers in (1, 4):
        name = f"with-{workers}"
        said(place, "labwright", "tune", "mine.toml", "--trials", "12", "--workers", workers, "--name", name)
        found[workers] = exported(place, name)
    assert len(found[1]) == 12 and {"complete", "pruned"} == {row["state"] for row in found[1]}
    assert found[1] == found[4]


@pytest.mark.release
def test_under_torchrun_all_processes_train_each_trial(place: Path) -> None:
    tune = ("tune", "mine.toml", "--trials", "4")
    said(place, "labwright", *tune, "--name", "alone")
    torchrun = ("torchrun", "--standalone", "--nproc-per-node", "2", "-m", "labwright")
    found = json.loads(said(place, *torchrun, *tune, "--confirm", "1", "--seeds", "2", "--json").stdout)
    assert found["trials"] == 4 and len(found["confirmed"]["seeds"]) == 2  # said once, by the first process
    settings = [[row["settings"] for row in exported(place, name)] for name in ("mine", "alone")]
    assert settings[0] == settings[1]
    folders = sorted((place / "studies" / "mine" / "trials").iterdir())
    assert [folder.name for folder in folders] == ["0000", "0001", "0002", "0003"]
    refused = said(place, *torchrun, *tune, "--workers", "2", code=1)  # torchrun's own code
    assert refused.stderr.count("error: workers: torchrun or srun has started 2 processes") == 1


@pytest.mark.long
@pytest.mark.slow
def test_models_of_two_plugins_are_searched_at_once_from_a_recipe_file(place: Path) -> None:
    site = place / "site"
    shutil.copytree(STRIPES / "src", site)
    info = site / "labwright_stripes-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: labwright-stripes\nVersion: 0.1.0\nRequires-Dist: labwright>=0.2\n"
    )
    (info / "entry_points.txt").write_text("[labwright]\nstripes = labwright_stripes.plugin\n")
    recipe = RECIPE.replace(
        'only = ["model.*", "optimizer.lr"]',
        'only = ["model*", "optimizer.lr"]\nmodel = ["vision/mlp", "stripes/edges"]',
    )
    (place / "both.toml").write_text(recipe)
    paths = {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}
    space = json.loads(said(place, "labwright", "space", "both.toml", "--json", **paths).stdout)
    assert space["model[vision/mlp].depth"]["if"] == "model = vision/mlp"
    tuned = said(place, "labwright", "tune", "both.toml", "--trials", "10", "--workers", "2", "--json", **paths)
    found = json.loads(tuned.stdout)
    assert (found["trials"], found["failed"]) == (10, 0)
    rows = json.loads(said(place, "labwright", "study", "export", "both", "--json", **paths).stdout)
    assert {row["settings"]["model"] for row in rows} == {"vision/mlp", "stripes/edges"}
    assert all(("model.dropout" in row["settings"]) == (row["settings"]["model"] == "vision/mlp") for row in rows)
    best = tomllib.loads((place / "studies" / "both" / "best.toml").read_text())
    assert best["model"]["name"] == found["best"][0]["settings"]["model"]


@pytest.mark.long
@pytest.mark.slow
def test_a_study_is_shown_exported_continued_and_deleted(place: Path) -> None:
    said(place, "labwright", "tune", "mine.toml", "--trials", "3", "--goal", "accuracy", "--goal", "parameters")
    shown = said(place, "labwright", "study", "show", "mine").stdout
    assert "3 of 3 trials, maximize accuracy and minimize parameters" in shown
    rows = list(csv.DictReader(io.StringIO(said(place, "labwright", "study", "export", "mine").stdout)))
    assert [row["number"] for row in rows] == ["0", "1", "2"] and float(
        rows[0]["parameters"]
    ) == 32 * 64 + 32 + 32 * 32 + 32 + 330
    recipe = said(place, "labwright", "study", "best", "mine", "--trial", "1").stdout
    assert tomllib.loads(recipe)["model"]["width"] == int(rows[1]["model.width"])
    said(place, "labwright", "run", place / "studies" / "mine" / "trials" / "0001" / "recipe.toml", "train.epochs=1")
    refused = said(place, "labwright", "tune", "mine.toml", "model.depth=2", code=2)
    assert "error: the study 'mine' is there and differs:" in refused.stderr
    assert "model.depth: was 1 to 4, is not there" in refused.stderr
    said(place, "labwright", "study", "delete", "mine")
    assert not (place / "studies" / "mine").exists()
    gone = said(place, "labwright", "study", "show", "mine", code=2)
    assert "there is no study 'mine' in studies/" in gone.stderr


def recipes() -> list[str]:
    return Plugins.discover().names("recipe")


@pytest.mark.parametrize("name", recipes())
def test_the_first_trial_of_any_recipe_is_the_recipe_in_every_setting(name: str) -> None:
    recipe = lw.Experiment.from_recipe(name)
    space = Space.of(recipe)
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, direction="minimize")
    sampler, point = TPE(), space.point()
    book = TrialStore(
        study, storage, space=space, goals=[recipe.goal], sampler=sampler, pruner=NopPruner(), seed=0, baseline=point
    )
    first = book.ask()
    assert first.user_attrs["baseline"] and first.params == point and space.whole(point)
    assert recipe.varied(space.values(first.params)).table() == recipe.table()
    assert space.whole(book.ask().params)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vision/digits-mlp", ["train.epochs=2", "optimizer.schedule=linear", "train.batch_size=48"]),
        ("gan/ring", ["train.epochs=", "train.steps=40", "optimizer.weight_decay=0.5"]),
    ],
)
def test_the_first_trial_has_the_losses_of_the_recipe(tmp_path: Path, name: str, changes: list[str]) -> None:
    recipe = lw.Experiment.from_recipe(name, [*changes, "log=[]", "device.threads=1"])
    lw.Study(recipe, 1, name="s", folder=tmp_path / "s", quiet=True).run()
    recipe.run(tmp_path / "run")

    def lines(folder: Path) -> list[dict[str, Any]]:
        read = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in one.items() if k != "seconds"} for one in read if one.get("split") != "test"]

    assert lines(tmp_path / "s" / "trials" / "0000") == lines(tmp_path / "run") != []
