"""The search space: what components declare, what `[search]` makes of it, and the way from a trial to a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import labwright as lw
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from labwright.base.search import Choice, Integers, Uniform
from labwright_study.dimension import Dimension
from labwright_study.space import Space
from parts import sorting
from pydantic import Field
from torch import nn


class Deep(nn.Module):
    """A model with a mark of each kind."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(8, 64, log=True)] = 16,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.0,
        kind: Annotated[str, Choice("a", "b")] = "a",
        sizes: list[int] | None = None,
        plain: int = 3,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.shape[0], len(outputs.names))


class Flat(nn.Module):
    """Another one, with a setting of the same name and one of its own."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(2, 4)] = 2,
        rank: Annotated[int, Field(ge=1), Integers(1, 3)] = 1,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.shape[0], len(outputs.names))


class Coded(nn.Module):
    """A model with settings that count under others, one of which isn't searched, and two that need each other."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        bins: Annotated[int, Field(ge=1), Integers(2, 9), lw.When("kind", "binned")] = 4,
        kind: Annotated[str, Choice("plain", "binned", "waves")] = "waves",
        sigma: Annotated[float, Uniform(0.1, 1.0), lw.When("kind", "waves")] = 0.5,
        power: Annotated[int, Field(ge=1), lw.When("kind", "waves")] = 1,
        bands: Annotated[int, Integers(0, 2), lw.When("band", but=(0,))] = 2,
        band: Annotated[int, Integers(0, 3), lw.When("bands", but=(0,))] = 1,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.shape[0], len(outputs.names))


class Deeper(Deep):
    """One more, which is no choice anywhere."""


class Models:
    @lw.hookimpl
    def labwright_components(self) -> list[lw.Component]:
        return [
            lw.Component("model", "toys/deep", f"{__name__}:Deep", "one"),
            lw.Component("model", "toys/flat", f"{__name__}:Flat", "another"),
            lw.Component("model", "toys/coded", f"{__name__}:Coded", "settings that count under others"),
            lw.Component("model", "toys/deeper", f"{__name__}:Deeper", "one more"),
        ]


def experiment(model: Any = "toys/deep", **changed: Any) -> lw.Experiment:
    return sorting(model=model, plugins=[Models()], loss="cross-entropy", **changed)


def space(search: dict[str, Any] | None = None, fixed: tuple[str, ...] = (), **changed: Any) -> Space:
    return Space.of(experiment(**changed), search=search, fixed=fixed)


def names(found: Space) -> list[str]:
    return [one.name for one in found.dimensions]


def draw(found: Space, seed: int) -> tuple[optuna.trial.FrozenTrial, dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    values = found.suggest(study.ask())
    return study.trials[0], values


def test_without_a_search_table_it_is_what_the_components_mark():
    assert {one.name: one.mark for one in space(only_models()).dimensions} == {
        "model.width": Integers(8, 64, log=True),
        "model.dropout": Uniform(0.0, 0.5),
        "model.kind": Choice("a", "b"),
    }


def only_models(**entries: Any) -> dict[str, Any]:
    return {"only": ["model*"], **entries}


def test_a_search_table_narrows_widens_adds_and_leaves_out():
    found = space(
        only_models(
            **{
                "model.width": {"low": 4, "high": 400, "log": True},
                "model.dropout": {"low": 0, "high": 0.9, "step": 0.3},
                "model.kind": False,
                "model.plain": [1, 2, 5],
                "model.sizes": [[1, 2], [3]],
            }
        )
    )
    marks = {one.name: one.mark for one in found.dimensions}
    assert marks == {
        "model.width": Integers(4, 400, log=True),
        "model.dropout": Uniform(0, 0.9, step=0.3),
        "model.plain": Choice(1, 2, 5, 3),  # the recipe's own value is searched too
        "model.sizes": Choice("[1, 2]", "[3]", "null"),
    }
    _, values = draw(found, seed=0)
    assert values["model.sizes"] in ([1, 2], [3], None)


def test_what_is_fixed_is_not_searched():
    assert "optimizer.lr" not in names(space(fixed=("optimizer.*",)))
    assert names(space(only_models(), fixed=("model.w*", "model.kind"))) == ["model.dropout"]


def test_under_a_choice_of_models_each_has_its_own_settings():
    found = space(only_models(model=["toys/deep", {"name": "toys/flat", "rank": 2}], **{"model.width": [8, 16]}))
    assert names(found) == [
        "model",
        "model[toys/deep].width",
        "model[toys/deep].dropout",
        "model[toys/deep].kind",
        "model[toys/flat].width",
        "model[toys/flat].rank",
    ]
    assert found.dimensions[1].mark == found.dimensions[4].mark == Choice(8, 16)
    assert found.dimensions[4].when == ("model", "toys/flat")
    narrowed = space(only_models(model=["toys/deep", "toys/flat"], **{"model[toys/flat].width": [3, 4]}))
    assert [one.mark for one in narrowed.dimensions if one.path == "model.width"] == [
        Integers(8, 64, log=True),
        Choice(3, 4),
    ]


@settings(deadline=None, max_examples=25)
@given(some.integers(0, 2**32 - 1))
def test_every_point_builds_and_is_found_again(seed: int):
    base = experiment(model={"name": "toys/deep", "plain": 7})
    search = {"model": ["toys/deep", {"name": "toys/flat", "rank": 2}], "optimizer.betas": [[0.9, 0.99], [0.8, 0.9]]}
    found = Space.of(base, search=search)
    trial, values = draw(found, seed)
    varied = base.varied(values)
    table = varied.table()
    for one in found.dimensions:
        assert (one.name in trial.params) == (one.when is None or trial.params["model"] == one.when[1])
    chosen = trial.params["model"]
    assert table["model"]["name"] == chosen
    if chosen == "toys/deep":
        assert table["model"]["plain"] == 7  # the recipe's own settings stay under its own model
    for path, value in values.items():
        if path != "model":
            first, *rest = path.split(".")
            at: Any = table[first]
            for key in rest:
                at = at[key]
            assert at == value
    assert Space.of(varied, search=search).point() == trial.params


@given(
    some.floats(-1e3, 1e3),
    some.floats(1e-3, 1e3),
    some.floats(0.01, 1.0),
    some.floats(0, 1),
)
def test_a_range_contains_its_own_grid_and_no_more(low: float, width: float, share: float, where: float):
    one = Dimension("x", "x", Uniform(low, low + width, step=width * share))
    grid = one.grid()
    assert grid is not None and len(grid) == int(1 / share + 1e-8) + 1
    assert all(one.contains(value) for value in grid if value <= low + width)
    assert not one.contains(low + width * 1.01)
    assert not one.contains("x") and not one.contains(True)


def test_the_recipe_s_own_values_are_searched_too_and_that_is_said():
    found = space(
        only_models(**{"model.width": {"low": 32, "high": 64}, "model.kind": ["b", "c"], "model.plain": [1, 2]})
    )
    assert {one.path: one.mark for one in found.dimensions} == {
        "model.width": Integers(16, 64),
        "model.dropout": Uniform(0.0, 0.5),
        "model.kind": Choice("b", "c", "a"),
        "model.plain": Choice(1, 2, 3),
    }
    assert found.point() == {"model.width": 16, "model.dropout": 0.0, "model.kind": "a", "model.plain": 3}
    assert found.notes == (
        "the recipe's own values are searched too: model.width from 16, model.kind a, model.plain 3.",
    )
    assert space(only_models()).notes == ()


@pytest.mark.parametrize("model", ["toys/deeper", Deeper, {"name": "toys/flat", "rank": 3}])
def test_the_recipe_s_own_component_is_searched_too_with_its_settings(model: Any):
    base = experiment(model=model)
    found = Space.of(base, search=only_models(model=["toys/deep", {"name": "toys/flat", "rank": 1}]))
    assert base.varied(found.values(found.point())).table() == base.table()


def test_the_recipe_s_own_schedule_is_searched_too_with_its_settings_but_no_object_is():
    step = {"name": "step", "at": [0.5]}
    own = sorting(optimizer={"name": "adamw", "schedule": step})
    (found,) = (one for one in Space.of(own).dimensions if one.path == "optimizer.schedule")
    assert found.mark == Choice("constant", "cosine", "one-cycle", "step") and found.own == ("step",)
    (spec,) = own.varied({"optimizer.schedule": "step"}).optimizers.values()
    assert spec.settings["schedule"].settings["at"] == [0.5]
    given = sorting(optimizer={"name": "adamw", "schedule": lw.LRSchedule()})
    (found,) = (one for one in Space.of(given).dimensions if one.path == "optimizer.schedule")
    assert found.mark == Choice("constant", "cosine", "one-cycle") and found.own == ()


def test_a_choice_with_another_setting_than_the_recipe_s_does_not_stand_for_the_recipe():
    base = experiment(model={"name": "toys/deep", "plain": 7})
    found = Space.of(base, search=only_models(model=[{"name": "toys/deep", "plain": 5}, "toys/flat"]))
    assert found.point() == {}
    assert found.notes == (
        "model: toys/deep, the recipe's own, is none of toys/deep | toys/flat, so that only the first trial has it.",
    )


def test_what_no_range_can_hold_is_left_out_of_the_point_and_said():
    ranges = {
        "optimizer.weight_decay": {"low": 1e-4, "high": 0.1, "log": True},  # its own value is 0
        "train.clip": {"low": 0.1, "high": 1.0},  # left out
        "model.width": {"low": 8, "high": 64, "step": 7},  # 16
    }
    found = space({"only": list(ranges), **ranges}, optimizer={"name": "sgd", "lr": 0.1})
    assert found.point() == {} and len(found.notes) == 3 and not found.whole({})
    assert all("so that only the first trial has it" in note for note in found.notes)


def test_none_is_a_choice_in_python_and_in_toml():
    for none in (None, "none"):
        found = space({"only": ["train.clip"], "train.clip": [none, 1.0]})
        assert [one.mark for one in found.dimensions] == [Choice(None, 1.0)]
        assert str(found.dimensions[0].mark) == "none | 1.0"
        assert found.point() == {"train.clip": None}
        assert experiment().varied({"train.clip": 3.0}).varied({"train.clip": None}).train.clip is None


@pytest.mark.parametrize("weights", ["balanced", [1.0, 2.0, 3.0]])
def test_an_entry_is_searched_in_a_table_alone(weights: Any):
    def of(given: Any) -> Space:
        loss = {"name": "cross-entropy", "weights": given}
        made = sorting(model="toys/deep", plugins=[Models()], loss=loss)
        return Space.of(made, search={"only": ["loss.weights.b"], "loss.weights.b": [1.0, 2.0]})

    assert [one.mark for one in of({"a": 3.0, "b": 2.0, "c": 1.0}).dimensions] == [Choice(1.0, 2.0)]
    with pytest.raises(lw.LabwrightError, match=r"the recipe has .* for loss\.weights, which has no entries"):
        of(weights)


def test_brackets_of_a_name_stand_for_themselves():
    search = only_models(model=["toys/deep", "toys/flat"])
    assert "model[toys/flat].width" not in names(space(search, fixed=("model[toys/flat].width",)))
    assert "model[toys/deep].width" in names(space(search, fixed=("model[toys/flat].*",)))
    assert names(
        space(only_models(model=["toys/deep", "toys/flat"]) | {"only": ["model", "model[toys/flat].rank"]})
    ) == [
        "model",
        "model[toys/flat].rank",
    ]


def test_larger_batches_than_there_are_samples_are_not_offered_unless_the_recipe_has_one():
    wide = sorting(model=Flat, train={"epochs": 1, "batch_size": 64}, loss="cross-entropy")
    searched = Space.of(wide, search={"only": ["train.batch_size"]})

    def marks(samples: int | None, found: Space = searched) -> list[Any]:
        return [one.mark for one in found.within(samples).dimensions]

    assert marks(None) == marks(256) == [Choice(32, 64, 128, 256)] and searched.within(256).notes == ()
    assert marks(200) == [Choice(32, 64, 128)]
    assert marks(40) == [Choice(32, 64)]  # the recipe's own stays
    assert marks(20) == [Choice(32, 64)]
    assert "the training part has 40 samples" in searched.within(40).notes[0]
    ranged = Space.of(wide, search={"only": ["train.batch_size"], "train.batch_size": {"low": 16, "high": 512}})
    assert marks(100, ranged) == [Integers(16, 100)]
    assert marks(20, ranged) == [Integers(16, 64)]


@pytest.mark.parametrize(
    ("search", "fixed", "said"),
    [
        ({"model.widht": [1, 2]}, (), "has no setting 'model.widht'; did you mean 'model.width'"),
        (
            {"model.width": {"low": 0, "high": 9}},
            (),
            r'search."model.width".low: given 0; it should be greater than or',
        ),
        ({"model.width": {"low": 9, "high": 3}}, (), "low must lie below high, given 9 and 3"),
        ({"model.width": {"low": 9}}, (), "a range needs a number for high"),
        ({"model.width": {"low": 1, "hihg": 3}}, (), "a range has no 'hihg'; did you mean 'high'"),
        ({"model.width": 3}, (), "given 3; it is {"),
        ({"model.width": [3]}, (), "choices are a list of two values or more"),
        ({"model.kind": ["a", 3]}, (), r'"model.kind"\[1\]: given 3'),
        ({"model.dropout": [0, 0.5, 0.0]}, (), r"\[2\]: given 0.0, which stands there before"),
        ({"model.sizes": [[1], [1]]}, (), r"\[1\]: given \[1\], which stands there before"),
        ({"model.kind": ["a", None]}, (), r"\[1\]: given None, which means left out, and this setting can't be"),
        ({"model": "toys/flat"}, (), "a component is searched by a list of two names"),
        ({"model": ["toys/flat", "toys/flat"]}, (), "the choices need different names"),
        ({"model": ["toys/flat", "toys/fla"]}, (), "choice 'toys/fla' doesn't fit: .*did you mean 'toys/flat'"),
        ({"model": ["toys/flat", "vision/mlp"]}, (), "doesn't fit"),
        ({"only": "model.width"}, (), "it is a list of paths"),
        ({"only": ["model.widht"]}, (), "'model.widht' is nothing that is searched; did you mean 'model.width'"),
        ({}, ("optimizer.rl",), "'optimizer.rl' is nothing that is searched; did you mean 'optimizer.lr'"),
        ({}, ("*",), "there is nothing to search"),
    ],
)
def test_a_space_that_is_none_gets_one_message(search: dict[str, Any], fixed: tuple[str, ...], said: str):
    with pytest.raises(lw.LabwrightError, match=said):
        space(search, fixed)


def test_what_is_wrong_with_a_search_by_hand_names_the_option_and_one_of_a_recipe_its_file():
    experiment = lw.Experiment.from_recipe("vision/digits")
    with pytest.raises(lw.LabwrightError) as refused:
        Space.of(experiment, search={"model.widht": [8, 16]})
    assert str(refused.value).startswith('--search."model.widht": the experiment has no setting')
    with pytest.raises(lw.LabwrightError) as refused:
        Space.of(experiment, search={"model.width": {"low": 8}})
    assert str(refused.value) == "--search.\"model.width\": given {'low': 8}; a range needs a number for high."


CODED = {"name": "toys/coded", "power": 3}
OF_CODED = ("model.bins", "model.sigma", "model.bands", "model.band")


@pytest.fixture(scope="module")
def coded() -> lw.Experiment:
    return experiment(CODED)


@settings(max_examples=25, deadline=None)
@given(seed=some.integers(0, 2**31))
def test_a_setting_is_searched_where_it_counts_and_has_its_default_elsewhere(coded: lw.Experiment, seed: int):
    recipe, found = coded, Space.of(coded)
    trial, values = draw(found, seed)
    kind = values["model.kind"]
    assert ("model.bins" in trial.params) == (kind == "binned") and ("model.sigma" in trial.params) == (kind == "waves")
    assert ("model.bands" in trial.params) == (values["model.band"] != 0)
    assert found.whole(trial.params) and found.values(trial.params) == values
    own = recipe.varied(values).model.settings  # which isn't refused
    assert own.get("power", 1) == (3 if kind == "waves" else 1)
    assert "bins" in own if kind == "binned" else "bins" not in own


def test_a_dimension_stands_behind_what_it_depends_on_and_says_on_what(coded: lw.Experiment):
    found = Space.of(coded)
    assert names(found)[:5] == ["model.kind", "model.bins", "model.sigma", "model.band", "model.bands"]
    conditions = {one.path: one.condition for one in found.dimensions if one.condition}
    assert conditions == {
        "model.bins": 'kind is "binned"',
        "model.sigma": 'kind is "waves"',
        "model.bands": "band is not 0",
    }
    assert found.json()["model.bins"]["if"] == 'kind is "binned"'
    assert found.whole(found.point()) and "model.bins" not in found.point()


def test_what_a_trial_of_before_drew_without_effect_is_left_out(coded: lw.Experiment):
    found = Space.of(coded)
    values = found.values({"model.kind": "plain", "model.bins": 9, "model.bands": 1, "model.band": 0})
    assert values == {"model.kind": "plain", "model.bins": 4, "model.power": 1, "model.band": 0, "model.bands": 2}
    coded.varied(values)


def test_where_the_condition_is_fixed_it_is_searched_always_or_not_at_all(coded: lw.Experiment):
    found = Space.of(coded, fixed=("model.kind",))
    assert not {"model.bins", "model.kind"} & set(names(found)) and "model.sigma" in names(found)
    assert [one.condition for one in found.dimensions if one.path == "model.sigma"] == [""]
    assert found.notes[0] == 'without effect here and not searched: model.bins (it counts where kind is "binned").'
    with pytest.raises(lw.LabwrightError, match=r"\"model\.bins\": it has no effect here: .* Leave it out\."):
        Space.of(coded, search={"model.bins": [3, 5]}, fixed=("model.kind",))


def test_under_a_choice_of_models_each_setting_counts_within_its_own():
    recipe = experiment("toys/flat")
    found = Space.of(recipe, search={"model": ["toys/coded", "toys/flat"]})
    bins = next(one for one in found.dimensions if one.path == "model.bins")
    assert bins.condition == 'model is toys/coded and kind is "binned"'
    for seed in range(12):
        trial, values = draw(found, seed)
        assert (bins.name in trial.params) == (values.get("model.kind") == "binned")
        recipe.varied(values)
