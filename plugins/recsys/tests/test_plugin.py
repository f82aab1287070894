"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_recsys import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_recsys.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-recsys"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        assert plugins.load(component.kind, component.name) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str, tmp_path: Path) -> None:
    overrides = [f"task.data.folder={tmp_path}"] if "movielens" in name else []
    experiment = lw.Experiment.from_recipe(name, overrides)
    assert experiment.table()["task"]["name"] == ("recsys/clicks" if "deepfm" in name else "recsys/top-n")


def test_a_loss_of_one_task_is_refused_by_the_other(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=r"'recsys/binary-cross-entropy' doesn't fit task 'recsys/top-n'"):
        lw.Experiment.from_recipe("recsys/synthetic", ["loss=recsys/binary-cross-entropy"])
    with pytest.raises(lw.LabwrightError, match=r"'cross-entropy' doesn't fit task 'recsys/clicks'"):
        lw.Experiment.from_recipe("recsys/movielens-deepfm", [f"task.data.folder={tmp_path}", "loss=cross-entropy"])
