"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_nlp import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_nlp.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_components_are_loaded_without_the_libraries_that_few_need() -> None:
    code = (
        "import sys; from labwright import Plugins; plugins = Plugins.discover()\n"
        "for plugin in plugins.plugins:\n"
        "    for one in plugin.components if plugin.distribution == 'labwright-nlp' else ():\n"
        "        plugins.load(one.kind, one.name)\n"
        "print([name for name in ('transformers', 'tokenizers', 'datasets', 'babel') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-nlp"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        assert plugins.load(component.kind, component.name) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str) -> None:
    experiment = lw.Experiment.from_recipe(name)
    tasks = ("classification", "dense-labels", "language-model", "nlp/answers", "sequence-to-sequence", "two-views")
    assert experiment.table()["task"]["name"] in tasks
    assert RECIPES[name].path.read_text().startswith("# ")
