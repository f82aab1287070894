"""The menu: light to import, complete, and every recipe on it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright import Plugins
from labwright.config.compatibility import fitting_names
from labwright.config.signature import signature
from labwright_speech import plugin
from labwright_study.space import Space

RECIPES = {recipe.name: recipe for recipe in plugin.labwright_recipes()}


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_speech.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_components_load_neither_torchaudio_nor_soundfile_nor_jiwer() -> None:
    code = (
        "import sys; from labwright import Plugins; from labwright_speech import plugin;"
        "known = Plugins.discover(); [known.load(c.kind, c.name) for c in plugin.labwright_components()];"
        "print([n for n in ('torchaudio', 'soundfile', 'jiwer', 'matplotlib', 'espeakng_loader') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_recipe_file_is_on_the_menu() -> None:
    folder = Path(plugin.__file__).parent / "recipes"
    assert {recipe.path for recipe in RECIPES.values()} == set(folder.glob("*.toml"))


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-speech"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        target = plugins.load(component.kind, component.name)
        assert signature(target) is not None
        assert target.__doc__


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_complete_experiment(name: str) -> None:
    experiment = lw.Experiment.from_recipe(name)
    assert Space.of(experiment).dimensions
    assert RECIPES[name].path.read_text().startswith("# ")


def test_models_and_losses_are_listed_for_the_recipes_they_fit() -> None:
    plugins = Plugins.discover()
    # models without a domain go with any
    fitting = {name: fitting_names("model", f"speech/{name}", plugins) for name in ("commands", "an4")}
    assert [name for name in fitting["commands"] if "/" in name] == ["speech/bc-resnet", "speech/m5"]
    assert [name for name in fitting["an4"] if "/" in name] == ["speech/conformer", "speech/crnn"]
    assert "speech/ctc" in fitting_names("loss", "speech/an4", plugins)
    assert "cross-entropy" not in fitting_names("loss", "speech/an4", plugins)
    assert "speech/ctc" not in fitting_names("loss", "speech/commands", plugins)
