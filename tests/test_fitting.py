"""What goes with what, across all plugins: `list --for` names exactly the models whose ports fit."""

from __future__ import annotations

import pytest
from labwright.base.errors import LabwrightError
from labwright.config.compatibility import fitting_names
from labwright.config.signature import signature
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment

FITTING = {  # a recipe of each kind of input, and the domains whose models take it
    "vision/digits-mlp": {"vision"},
    "nlp/languages": {"nlp"},
    "nlp/pydoc": {"nlp"},
    "gan/ring": {"gan"},
    "speech/commands": {"speech"},
    "recsys/synthetic": {"recsys"},
    "tabular/diabetes": {"tabular"},
    "rl/cartpole-ppo": {"rl"},
    "rl/pendulum-sac": {"rl"},
}
PLUGINS = Plugins.discover()


@pytest.mark.parametrize("recipe", FITTING)
def test_models_that_are_listed_can_be_put_into_the_recipe_and_no_others(recipe: str) -> None:
    listed = set(fitting_names("model", recipe, PLUGINS))
    # models without a domain go with any
    assert listed and {name.partition("/")[0] for name in listed if "/" in name} == FITTING[recipe]
    for name in PLUGINS.names("model"):
        if any(setting.required for setting in signature(PLUGINS.load("model", name)).settings.values()):
            continue  # it can't be chosen by its name alone
        try:
            Experiment.from_recipe(recipe, [f"model={name}"], plugins=PLUGINS)
            fits = True
        except LabwrightError as error:
            fits = "closed form" in str(error)  # it fits, and the recipe's optimizer has to be left out
        assert fits == (name in listed), name


def test_a_wrong_pairing_says_what_does_not_fit() -> None:
    with pytest.raises(LabwrightError, match=r"model 'nlp/lstm' takes Tokens; data 'vision/digits' offers Image"):
        Experiment.from_recipe("vision/digits-mlp", ["model=nlp/lstm"], plugins=PLUGINS)
