"""Experiments are values: they can be copied, and pickled for another process."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import labwright as lw
import pytest
import torch
from labwright.plugin.registry import Plugins
from parts import Net, sorting

PLUGINS = Plugins.discover()


@pytest.mark.parametrize("recipe", PLUGINS.names("recipe"))
def test_every_recipes_experiment_is_the_same_once_copied_or_pickled(recipe: str):
    experiment = lw.Experiment.from_recipe(recipe, plugins=PLUGINS)
    for again in (copy.deepcopy(experiment), pickle.loads(pickle.dumps(experiment))):
        assert again.table() == experiment.table()
        assert again.marks().keys() == experiment.marks().keys()
        assert again.plugins.plugins == PLUGINS.plugins


def test_objects_given_from_python_come_along_and_the_copy_trains_to_the_same_bits(tmp_path: Path):
    experiment = sorting(train={"steps": 3, "batch_size": 15})
    again = pickle.loads(pickle.dumps(experiment))
    first, second = experiment.run(tmp_path / "first"), again.run(tmp_path / "second")
    assert first.metrics == second.metrics
    weights = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in weights)


def test_lists_and_tables_that_are_none_are_refused_from_python_as_from_a_recipe():
    for given, said in (
        ({"log": "progress"}, r"^log: given 'progress'; it is a list, such as \[\"progress\"\]\.$"),
        ({"stop": 3}, r"^stop: given 3; it is a list, such as \[\"early\"\]\.$"),
        ({"search": [1]}, r"^search: given \[1\]; it is a table"),
        ({"search": {"model.width": {1, object}}}, r"^search: it has what no recipe can hold: type is neither"),
    ):
        with pytest.raises(lw.LabwrightError, match=said):
            sorting(**given)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("bogus.x", "^path 'bogus.x': a recipe has no 'bogus'"),
        ("modle.width", "^path 'modle.width': a recipe has no 'modle'; did you mean 'model'?"),
        ("", "^path '': a recipe has no ''"),
        ("train" + ".a" * 99, "leads 100 tables deep; a recipe has 50 at most"),
    ],
)
def test_a_variation_of_what_no_recipe_has_is_refused(path: str, said: str):
    with pytest.raises(lw.LabwrightError, match=said):
        sorting().varied({path: 1})


def test_a_table_that_is_given_stays_the_callers():
    given = {"name": Net, "width": 4}
    varied = sorting().varied({"model": given, "model.width": 8})
    assert varied.model.table()["width"] == 8 and given == {"name": Net, "width": 4}


def test_a_model_that_memory_does_not_hold_is_refused_with_what_it_would_take(tmp_path: Path):
    """10**12 rows of four float32 are 16,000 GB."""
    experiment = sorting(model={"name": Net, "width": 10**12})
    with pytest.raises(lw.LabwrightError, match=r"shape \(1000000000000, 4\), which takes 16,000\.0 GB of memory"):
        experiment.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
