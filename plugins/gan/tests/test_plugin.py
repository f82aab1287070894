"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_gan import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_gan.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-gan"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        assert plugins.load(component.kind, component.name) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str, tmp_path: Path) -> None:
    if "ring" not in name:
        pytest.importorskip("labwright_vision", reason="its data comes with labwright-vision")
    overrides = [f"task.data.folder={tmp_path}"] if "mnist" in name else []
    task = "gan/diffusion" if "diffusion" in name else "gan/adversarial"
    assert lw.Experiment.from_recipe(name, overrides).table()["task"]["name"] == task


def test_the_ring_imports_no_matplotlib_pillow_or_scipy_to_train() -> None:
    code = (
        "import sys, labwright as lw, labwright_gan.task, labwright_gan.models.mlp;"
        "print([name for name in ('PIL', 'matplotlib', 'scipy', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
