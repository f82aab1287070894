"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_vision import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_vision.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-vision"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        assert plugins.load(component.kind, component.name.replace("/*", "/lamb")) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str, tmp_path: Path) -> None:
    place = "path" if name == "vision/pneumonia" else "folder"
    overrides = [] if "digits" in name or "shapes" in name else [f"task.data.{place}={tmp_path}"]
    experiment = lw.Experiment.from_recipe(name, overrides)
    others = {"simclr": "two-views", "byol": "two-views", "heads": "multi", "mae": "vision/masked-pictures"}
    others |= {"detection": "vision/detection", "instances": "vision/detection", "segmentation": "dense-labels"}
    others |= {"coco": "vision/detection", "ade20k": "dense-labels"}
    learned = next((task for word, task in others.items() if word in name), "classification")
    assert experiment.table()["task"]["name"] == learned
