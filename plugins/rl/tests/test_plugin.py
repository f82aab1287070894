"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright_rl import plugin

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_neither_torch_nor_gymnasium() -> None:
    code = "import sys, labwright_rl.plugin; print([name for name in ('torch', 'gymnasium') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (loaded,) = [one for one in plugins.plugins if one.distribution == "labwright-rl"]
    assert (loaded.state, loaded.reason) == ("loaded", "")
    for component in loaded.components:
        assert plugins.load(component.kind, component.name) is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds(name: str) -> None:
    built = lw.Experiment.from_recipe(name).build()
    assert built.optimizers and built.task.goal.metric == "return"


@pytest.mark.parametrize(
    ("recipe", "models"),
    [
        ("rl/cartpole-ppo", {"rl/actor-critic"}),
        ("rl/cartpole-dqn", {"rl/q-network"}),
        ("rl/pendulum-sac", {"rl/soft-actor-critic"}),
    ],
)
def test_the_models_that_fit_are_those_of_the_kind_of_actions(recipe: str, models: set[str]) -> None:
    listed = lw.fitting_names("model", recipe, Plugins.discover())
    assert {name for name in listed if name.startswith("rl/")} == models
