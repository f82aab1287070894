"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_tabular import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_tabular.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_table_of_your_own_needs_no_scikit_learn() -> None:
    code = (
        "import sys; from labwright_tabular.data import embedded, table;"
        "from labwright_tabular.models import ft_transformer, mlp, resnet, wide_and_deep;"
        "print([name for name in ('sklearn', 'scipy', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (tabular,) = [loaded for loaded in plugins.plugins if loaded.distribution == "labwright-tabular"]
    assert (tabular.state, tabular.reason) == ("loaded", "")
    for component in tabular.components:
        assert plugins.load(component.kind, component.name) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str) -> None:
    task = lw.Experiment.from_recipe(name).table()["task"]["name"]
    regressions = {f"tabular/{name}": "regression" for name in ("diabetes", "california", "number-table")}
    quantiles = {"tabular/diabetes-quantiles": "tabular/quantiles"}
    assert task == (regressions | quantiles).get(name, "classification")
