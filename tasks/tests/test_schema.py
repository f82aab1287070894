"""The JSON schema of recipes accepts what labwright accepts, and refuses what it refuses."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tomli_w
from conftest import toys
from jsonschema import Draft202012Validator
from labwright import builtin
from labwright.base.errors import LabwrightError
from labwright.config.recipe import override
from labwright.plugin.hookspecs import Component
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment
from labwright_tasks.schemas.recipes import recipe_schema
from parts import Net

GOOD: dict[str, Any] = {
    "task": {"name": "sorting", "data": {"name": "toys/blobs", "size": 60}},
    "model": {"name": "toys/net", "width": 8},
    "loss": {"name": "penalized", "loss": {"name": "cross-entropy", "label_smoothing": 0.1}},
    "optimizer": {"name": "adamw", "lr": 0.01, "betas": [0.9, 0.99], "groups": {"*.bias": {"lr_factor": 2}}},
    "device": {"name": "cpu", "threads": 1},
    "train": {"epochs": 2, "evaluate_every": "3 steps"},
    "log": ["progress", {"name": "report"}],
    "stop": [{"name": "early", "patience": 2}],
}
FAMILY = {"net": Net}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return toys()


@pytest.fixture(scope="module")
def validator(plugins: Plugins) -> Draft202012Validator:
    schema = recipe_schema(plugins)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def accepts(validator: Draft202012Validator, recipe: dict[str, Any]) -> bool:
    return bool(validator.is_valid(recipe))


def test_every_installed_recipe_is_valid(validator: Draft202012Validator, plugins: Plugins):
    for name in plugins.names("recipe"):
        recipe = tomllib.loads(plugins.recipe(name).path.read_text(encoding="utf-8"))
        assert not list(validator.iter_errors(recipe)), name


def test_a_recipe_that_runs_is_valid(validator: Draft202012Validator, plugins: Plugins):
    Experiment.from_table(deepcopy(GOOD), plugins=plugins)
    assert accepts(validator, GOOD)
    assert accepts(validator, Experiment.from_table(deepcopy(GOOD), plugins=plugins).table())


@pytest.mark.parametrize(
    "change",
    [
        "trian.epochs=3",
        "train.epoch=3",
        "train.epochs=0",
        "train.epochs=true",
        "train={epochs = 3, steps = 5}",
        "train.evaluate_every=often",
        "train.final=first",
        "task={name = 'sorting'}",
        "task=srting",
        "task.data=toys/blob",
        "task.data.sise=3",
        'task.data.size="3"',
        "model.widht=8",
        "model.width=8.5",
        "model=toys/nt",
        "loss.loss.label_smoothing=1.5",
        "loss.loss.smoothing=0.1",
        "optimizer.lrr=0.1",
        "optimizer.lr=0",
        "optimizer.schedule=cosin",
        "optimizer.betas=[0.9]",
        'optimizer.groups={"*" = {lr_facotr = 2}}',
        'optimizer.groups={"*" = {lr_factor = -2}}',
        "device=gpu",
        "device.threads=0",
        "device={precison = 'bf16'}",
        'log=["progres"]',
        "log=progress",
        "stop=[{name = 'early', patience = 0}]",
        "stop=[{name = 'early', pattience = 1}]",
        "optimizer={name = 'torch/SGD', lrr = 0.1}",
        "optimizer={name = 'torch/SGD', lr = '0.1'}",
        "optimizer={name = 'torch/'}",
    ],
)
def test_what_labwright_refuses_the_schema_refuses(validator: Draft202012Validator, plugins: Plugins, change):
    recipe: dict[str, Any] = deepcopy(GOOD)
    if change.startswith("trian"):
        recipe["trian"] = {}
    else:
        recipe, _ = override(recipe, [change])
    assert not accepts(validator, recipe)
    with pytest.raises(LabwrightError):
        Experiment.from_table(recipe, plugins=plugins)


@pytest.mark.parametrize(
    ("change", "path", "allowed"),
    [
        ("model.widht=8", "model.widht", "width"),
        ("model.width=8.5", "model.width", "integer"),
        ("model=toys/nt", "model", "toys/net"),
        ("model={name = 'toys/nt'}", "model.name", "toys/net"),
        ("task=classification", "task", "object"),  # it needs settings
        ("task.data.sise=3", "task.data.sise", "size"),
        ("loss.loss.smoothing=0.1", "loss.loss.smoothing", "label_smoothing"),
        ("optimizer.lrr=0.1", "optimizer.lrr", "weight_decay"),
        ("optimizer={name = 'torch/SGD', lrr = 0.1}", "optimizer.lrr", "weight_decay"),
        ('optimizer.groups={"*" = {lr_facotr = 2}}', "optimizer.groups.*.lr_facotr", "lr_factor"),
        ("optimizer.critic={lrr = 0.1}", "optimizer.critic.lrr", "weight_decay"),  # of a phase
        ("train.epoch=3", "train.epoch", "epochs"),
        ("train.final=first", "train.final", "best"),
        ("device={precison = 'bf16'}", "device.precison", "precision"),
        ("stop=[{name = 'early', pattience = 1}]", "stop.0.pattience", "patience"),
        ("log=['progres']", "log.0", "report"),
    ],
)
def test_each_error_is_about_the_one_key_and_says_what_is_allowed(
    validator: Draft202012Validator, change, path, allowed
):
    errors = list(validator.iter_errors(override(deepcopy(GOOD), [change])[0]))
    for error in errors:
        own = [error.instance] if error.schema_path[-1] == "enum" and "propertyNames" in error.schema_path else []
        assert ".".join(map(str, [*error.absolute_path, *own])) == path
    assert any(allowed in error.message for error in errors)


@pytest.mark.parametrize(
    "change",
    [
        "loss=mse",
        "optimizer=adamw",
        "optimizer=torch/SGD",
        "optimizer={name = 'torch/SGD', lr = 0.1, options = {momentum = 0.9}, groups = {'*' = {lr_factor = 2}}}",
        "optimizer={name = 'adam', critic = {lr = 0.1}}",  # a phase's own settings
        "optimizer={name = 'adam', critic = {name = 'sgd', lr = 0.1}}",
        "optimizer={name = 'adam', critic = 'sgd'}",
        "train={steps = 3}",
        "device=auto",
        "device={precision = 'bf16'}",  # of the default device
        "log=[]",
        "search={model = {width = [1, 2]}}",
    ],
)
def test_every_form_a_recipe_may_take_is_valid(validator: Draft202012Validator, change):
    assert accepts(validator, override(deepcopy(GOOD), [change])[0])


@pytest.mark.parametrize(
    "recipe",
    [
        {"base": "vision/digits-mlp"},
        {"base": "common.toml", "model": {"width": 9}, "train": {"clip": 1.0}},  # settings of the base's model
        {"base": "vision/digits-mlp", "task": {"data": {"valid": 0.2}}, "loss": "", "log": ""},  # left out
        {"base": "vision/digits-mlp", "train": {"epochs": "", "steps": 5}},
        GOOD | {"variants": {"wide": {"model": {"width": 512}}, "other": {"model": "toys/net", "train": {"clip": 1}}}},
        {"base": "vision/digits-mlp", "variants": {"wide": {"model": {"width": 512}}}},
    ],
)
def test_a_recipe_with_a_base_and_variants_is_valid(validator: Draft202012Validator, recipe):
    assert accepts(validator, recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        {"base": "vision/digist"},
        {"base": 3},
        {"base": "vision/digits-mlp", "modle": {"width": 9}},
        {"base": "vision/digits-mlp", "train": {"epoch": 3}},
        {"base": "vision/digits-mlp", "log": "progress"},
        GOOD | {"variants": {"wide": {}}},
        GOOD | {"variants": {"wide": {"modle": {"width": 512}}}},
        GOOD | {"variants": {"wide": {"base": "vision/digits-mlp"}}},
        GOOD | {"variants": ["wide"]},
        GOOD | {"variants": {"wide": {"model": {"width": 512}}}, "model": {"width": 8}},  # no base, no name
    ],
)
def test_a_base_or_variant_that_labwright_refuses_the_schema_refuses(
    validator: Draft202012Validator, plugins: Plugins, tmp_path: Path, recipe
):
    assert not accepts(validator, recipe)
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(recipe))
    variant = ":wide" if "wide" in recipe.get("variants", ()) else ""
    with pytest.raises(LabwrightError):
        Experiment.from_recipe(f"{tmp_path}/mine.toml{variant}", plugins=plugins)


def test_a_missing_table_is_refused(validator: Draft202012Validator):
    for table in ("task", "model", "train"):
        assert not accepts(validator, {key: one for key, one in GOOD.items() if key != table})
    assert accepts(validator, {key: one for key, one in GOOD.items() if key in ("task", "model", "train")})


def test_defaults_limits_and_marks_are_in_the_schema_for_editors_to_show(plugins: Plugins):
    adamw = recipe_schema(plugins)["$defs"]["optimizer:adamw"]
    assert adamw["properties"]["lr"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 0.001,
        "description": "learning rate, the highest of the run. searched: 1e-05 to 0.1, log",
    }
    assert adamw["description"] == plugins.find("optimizer", "adamw").summary


def test_components_that_cannot_be_loaded_are_left_out_and_families_are_listed():
    class Broken:
        @lw.hookimpl
        def labwright_components(self):
            yield Component("model", "broken/net", "no_such_module:Net", "")
            yield Component("model", "family/*", "test_schema:FAMILY", "")

    schema = recipe_schema(Plugins([]).extended([builtin, Broken()]))
    Draft202012Validator.check_schema(schema)
    assert [key for key in schema["$defs"] if key.startswith("model:")] == ["model:family:net"]  # under its own name
    table = schema["$defs"]["model:family:net"]
    assert table["properties"]["name"]["const"] == "family/net"
    assert "family/net" in schema["$defs"]["model"]["else"]["enum"]
    assert table["properties"]["width"]["default"] == 16
