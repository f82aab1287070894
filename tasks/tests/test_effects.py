"""What overrides and a variant changed of a recipe is said in a line: old and new, defaults and removals too."""

from __future__ import annotations

from pathlib import Path

import labwright as lw
import pytest

MINE = """\
base = "vision/digits-mlp"
[model]
width = 24
[variants.wide]
model.width = 64
train.epochs = 20
"""


@pytest.fixture(scope="module")
def plugins() -> lw.Plugins:
    return lw.Plugins.discover()


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["optimizer.lr=1e-2", "model.width=64"], "optimizer.lr 0.003 -> 0.01, model.width 128 -> 64"),
        (["train.clip=1"], "train.clip unset -> 1.0"),
        (["train.epochs=", "train.steps=7"], "train.epochs 20 -> unset, train.steps unset -> 7"),
        (["train.epochs=20", "train.seed=1"], "train.epochs is 20 already, train.seed 0 -> 1"),
        (["model.dropout=0.2"], "model.dropout is 0.2 already"),  # which the recipe leaves to the default
        (["train={epochs=2,clip=1.0}"], "train.epochs 20 -> 2, train.clip unset -> 1.0"),
        (["model=vision/cnn", "model.width=64"], "model vision/mlp -> vision/cnn, model.width 128 -> 64"),
        (["model.name=vision/cnn"], "model vision/mlp -> vision/cnn"),
        (["log=[]", 'stop=["early"]'], "log [progress, report] -> [], stop [] -> [early]"),
        (['log=["progress",{name="report"}]'], "log is [progress, report] already"),
        (
            ['log=[{name="progress",every=1.0},"report"]'],  # the names alone would be the same
            'log [{"name": "progress", "every": 30.0}, {"name": "report"}] -> '
            '[{"name": "progress", "every": 1.0}, {"name": "report"}]',
        ),
        (['optimizer.groups."*.bias".weight_decay=0'], "optimizer.groups.*.bias.weight_decay unset -> 0.0"),
    ],
)
def test_the_first_note_says_old_and_new(plugins: lw.Plugins, overrides: list[str], note: str):
    assert lw.Experiment.from_recipe("vision/digits-mlp", overrides, plugins=plugins).notes[0] == note


def test_without_overrides_nothing_is_said(plugins: lw.Plugins):
    assert lw.Experiment.from_recipe("vision/digits-mlp", plugins=plugins).notes == []


def test_a_variant_is_said_as_overrides_are_and_they_are_laid_on_it(plugins: lw.Plugins, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(MINE)
    made = lw.Experiment.from_recipe(f"{tmp_path}/mine.toml:wide", ["train.epochs=3"], plugins=plugins)
    assert made.notes == ["model.width 24 -> 64, train.epochs 20 -> 3"]


def test_of_a_recipe_that_is_none_without_them_what_is_written_is_compared(plugins: lw.Plugins, tmp_path: Path):
    (tmp_path / "bare.toml").write_text(
        'model = "vision/cnn"\nloss = "cross-entropy"\noptimizer = "sgd"\ntrain.epochs = 2\n'
        'task.name = "classification"\n'
    )
    made = lw.Experiment.from_recipe(
        tmp_path / "bare.toml", ["task.data=vision/digits", "train.epochs=3"], plugins=plugins
    )
    assert made.notes == ["task.data unset -> vision/digits, train.epochs 2 -> 3"]
