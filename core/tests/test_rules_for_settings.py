"""The rules for settings (docs/reference/settings.md), each with a test of its name; the tenth has its own file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import labwright as lw
import numpy as np
import pytest
import tomli_w
import torch
from conftest import toys
from labwright.base.errors import LabwrightError
from labwright.base.search import Part
from labwright.builtin.optimizers import SGD
from labwright.config.recipe import Source, override
from labwright.config.resolve import ComponentSpec, Where, resolve
from labwright.config.signature import signature
from labwright.runs.experiment import Experiment
from parts import Blobs, Net, Sorting
from torch import nn

if TYPE_CHECKING:
    from fractions import Fraction

PLUGINS = toys()


class Model(nn.Module):
    """A model with a setting of each kind."""

    def __init__(
        self,
        inputs: lw.Features,
        *,
        width: int = 8,
        rate: float = 0.5,
        deep: bool = False,
        shape: tuple[int, int] = (3, 3),
        size: Literal[1, 2, 3] = 2,
        act: Literal["relu", "gelu"] = "relu",
        file: Path | None = None,
        options: dict[str, Any] | None = None,
        groups: dict[str, lw.Group] | None = None,
    ) -> None:
        super().__init__()


def settings(**given: Any) -> dict[str, Any]:
    return resolve("model", {"name": Model, **given}, PLUGINS, Where(("model",))).settings


def refusal(*overrides: str, **given: Any) -> str:
    with pytest.raises(LabwrightError) as caught:
        if overrides:
            table, _ = override({"model": {}}, overrides)
            settings(**table["model"])
        else:
            settings(**given)
    return str(caught.value)


def fault(target: Any) -> str:
    with pytest.raises(LabwrightError) as caught:
        signature(target)
    return str(caught.value)


# ---------------------------------------------------------------------------------------- rule 1: annotations resolve


def test_rule_1_annotations_resolve_at_run_time_or_the_error_names_class_and_annotation():
    class Hidden(nn.Module):
        def __init__(self, *, width: int, share: Fraction) -> None: ...

    class Missing(nn.Module):
        def __init__(self, *, share=1) -> None: ...

    said = fault(Hidden)
    assert (
        "Hidden, parameter 'share': its annotation 'Fraction' can't be resolved (name 'Fraction' is not defined)"
        in said
    )
    assert said.endswith("import what it names at module level, not under TYPE_CHECKING.")
    assert "Missing, parameter 'share': it has no annotation" in fault(Missing)


def test_rule_1_fields_of_a_dataclass_resolve_where_its_bases_were_written():
    @dataclass(eq=False, kw_only=True)
    class Remote(lw.Device):
        host: str

        def find(self) -> torch.device:
            return torch.device("cpu")

    settings = signature(Remote).settings
    assert list(settings)[-1] == "host" and settings["precision"].validated("bf16") == "bf16"
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        settings["accumulate"].validated(0)


# ---------------------------------------------------------------------------------------- rule 2: parts in components


class Around(nn.Module):
    """A loss around another, with a default, and one that may be left out."""

    def __init__(
        self,
        *,
        loss: Annotated[nn.Module, Part("loss")] = "mse",  # type: ignore[assignment]
        other: Annotated[nn.Module, Part("loss")] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.other = loss, other


class Penalizing(nn.Module):
    """A loss around another that is usually Huber's."""

    def __init__(self, *, loss: Annotated[nn.Module, Part("loss")] = "huber") -> None:  # type: ignore[assignment]
        super().__init__()


class Ensemble(nn.Module):
    """A model made of another, which is built once the ports are known."""

    def __init__(
        self, inputs: lw.Features, outputs: lw.Classes, *, of: Annotated[Callable[..., Any], Part("model")]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(of(inputs=inputs, outputs=outputs) for _ in range(2))


def test_rule_2_a_part_is_given_by_its_name_or_a_table():
    by_name = resolve("loss", {"name": Around, "loss": "huber"}, PLUGINS, Where())
    by_table = resolve(
        "loss", {"name": Around, "loss": {"name": "huber", "delta": 2.0}, "other": "mae"}, PLUGINS, Where()
    )
    assert by_name.settings["loss"].settings == {}
    assert by_table.settings["loss"].settings == {"delta": 2.0}
    built = by_table.build()
    assert (built.loss.delta, type(built.other).__name__) == (2.0, "MeanAbsoluteError")


def test_rule_2_a_part_has_its_default_and_may_be_left_out():
    built = resolve("loss", Around, PLUGINS, Where()).build()
    assert (type(built.loss).__name__, built.other) == ("MeanSquaredError", None)


def test_rule_2_a_table_without_a_name_is_of_the_default_part():
    part = resolve("loss", {"name": Penalizing, "loss": {"delta": 3.0}}, PLUGINS, Where()).settings["loss"]
    assert (part.name, part.settings) == ("huber", {"delta": 3.0})
    with pytest.raises(LabwrightError, match=r"^other: given a table without a name \(delta\); a loss has one: "):
        resolve("loss", {"name": Around, "other": {"delta": 3.0}}, PLUGINS, Where())


def test_rule_2_settings_of_the_default_device_need_no_name():
    recipe = {"task": {"name": "sorting", "data": "toys/blobs"}, "model": "toys/net", "loss": "cross-entropy"}
    recipe |= {"optimizer": "sgd", "train": {"steps": 1}}
    table, _ = override(recipe, ["device.threads=1"])
    assert Experiment.from_table(table, plugins=PLUGINS).table()["device"]["name"] == "auto"


def test_rule_2_a_part_that_needs_ports_arrives_as_a_callable_awaiting_them():
    ensemble = resolve("model", {"name": Ensemble, "of": {"name": Net, "width": 5}}, PLUGINS, Where())
    built = ensemble.build(inputs=lw.Features((4,)), outputs=lw.Classes(("a", "b")))
    assert [member.body[0].out_features for member in built.members] == [5, 5]


class Mixed(nn.Module):
    """Losses in a list and in a table."""

    def __init__(
        self,
        *,
        first: list[Annotated[nn.Module, Part("loss")]] | None = None,
        named: dict[str, Annotated[nn.Module, Part("loss", contract=Sorting.Contract)]] | None = None,
    ) -> None:
        super().__init__()
        self.first, self.named = first or [], named or {}


def test_rule_2_a_list_or_a_table_may_hold_several_parts():
    given = {"first": ["mae", {"name": "huber", "delta": 2.0}], "named": {"class": "cross-entropy"}}
    spec = resolve("loss", {"name": Mixed, **given}, PLUGINS, Where())
    built = spec.build()
    assert [type(loss).__name__ for loss in built.first] == ["MeanAbsoluteError", "Huber"]
    assert {name: type(loss).__name__ for name, loss in built.named.items()} == {"class": "CrossEntropy"}
    assert list(spec.parts()) == ["first.0", "first.1", "named.class"]
    assert {"first.1.delta", "named.class.label_smoothing"} <= spec.marks().keys()
    table = spec.table()
    assert (table["first"][1]["delta"], table["named"]["class"]["label_smoothing"]) == (2.0, 0.0)
    again = {key: table[key] for key in given}
    assert resolve("loss", {"name": Mixed, **again}, PLUGINS, Where()).table() == table
    assert resolve("loss", Mixed, PLUGINS, Where()).build().named == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first": "mae"}, r"^first: given 'mae'; it is a list of losses, such as \["),
        ({"first": ["mae", {"name": "huber", "delta": 0}]}, r"^first\[1\]\.delta: given 0; it should be greater"),
        ({"first": ["meh"]}, r"^first\[0\]: no loss is called 'meh'"),
        ({"named": "mae"}, "^named: given 'mae'; it is a table of losses, each under its own name"),
        ({"named": {"name": "mae"}}, "^named: given .*; it is a table of losses, each under its own name"),
        ({"named": {"class": {"label_smoothing": 0.1}}}, r"^named\.class: given a table without a name"),
    ],
)
def test_rule_2_what_is_no_list_or_table_of_parts_is_refused(given, said):
    with pytest.raises(LabwrightError, match=said):
        resolve("loss", {"name": Mixed, **given}, PLUGINS, Where())


def test_rule_2_the_path_of_a_parts_setting_leads_through_the_part():
    with pytest.raises(LabwrightError, match=r"^loss\.loss\.delta: given 0; it should be greater than 0"):
        resolve("loss", {"name": Around, "loss": {"name": "huber", "delta": 0}}, PLUGINS, Where(("loss",)))


# -------------------------------------------------------------------------------------------- rule 3: `name` is taken


@pytest.mark.parametrize("reserved", ["name", "object"])
def test_rule_3_name_is_reserved(reserved):
    namespace: dict[str, Any] = {}
    exec(f"def factory(*, {reserved}: str = 'x') -> None: ...", namespace)
    assert f"parameter '{reserved}': the name is reserved" in fault(namespace["factory"])


# ------------------------------------------------------------------------------------------------ rule 4: no **kwargs


def test_rule_4_open_ended_arguments_are_refused():
    class Open(nn.Module):
        def __init__(self, **options: Any) -> None: ...

    class Listed(nn.Module):
        def __init__(self, *layers: int) -> None: ...

    for target in (Open, Listed):
        assert "*args and **kwargs can't be checked; take `options: dict[str, Any]` instead." in fault(target)


def test_rule_4_options_take_anything_a_recipe_can_hold():
    options = {"depth": 3, "rate": 0.5, "names": ["a", "b"], "deep": {"on": True}}
    assert settings(options=options)["options"] == options
    said = refusal(options={"tensor": object()})
    assert "which no recipe can hold: object is neither number, text, list nor table" in said


def test_rule_4_what_a_builder_complains_about_becomes_the_message():
    class Fussy(nn.Module):
        def __init__(self, *, options: dict[str, Any]) -> None:
            raise ValueError("there is no architecture 'resnt'")

    spec = resolve("model", {"name": Fussy, "options": {}}, PLUGINS, Where(("model",)))
    with pytest.raises(
        LabwrightError, match=r"^model: model 'Fussy' can't be built: there is no architecture 'resnt'$"
    ):
        spec.build()


# --------------------------------------------------------------------------------------------------- rule 5: families


def test_rule_5_a_family_is_one_component_that_maps_listed_names_to_classes():
    assert "torch/*" in PLUGINS.names("optimizer")
    assert resolve("optimizer", "torch/SGD", PLUGINS, Where()).target.__name__ == "SGD"
    with pytest.raises(LabwrightError, match=r"'torch/SDG'; did you mean 'torch/SGD'\? torch/\* has ASGD, "):
        resolve("optimizer", "torch/SDG", PLUGINS, Where())


# ------------------------------------------------------------------------------------------------- rule 6: strictness


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": True}, "model.width: given True; it should be a whole number (model 'Model')."),
        (
            {"width": "64"},
            "model.width: given '64'; it should be a whole number; write 64, without quotes (model 'Model').",
        ),
        ({"width": 3.0}, "model.width: given 3.0; it should be a whole number; write 3 (model 'Model')."),
        ({"width": 3.5}, "model.width: given 3.5; it should be a whole number (model 'Model')."),
        ({"rate": True}, "model.rate: given True; it should be a number (model 'Model')."),
        ({"rate": ".5"}, "model.rate: given '.5'; it should be a number; write 0.5 (model 'Model')."),
        ({"deep": 1}, "model.deep: given 1; it should be true or false (model 'Model')."),
        ({"deep": "True"}, "model.deep: given 'True'; it should be true or false; write true (model 'Model')."),
        ({"size": True}, "model.size: given True; it should be a whole number (model 'Model')."),
        ({"size": 2.0}, "model.size: given 2.0; it should be a whole number (model 'Model')."),
        ({"shape": [3, "x"]}, "model.shape[1]: given 'x'; it should be a whole number (model 'Model')."),
        ({"shape": [3, 3, 3]}, "model.shape: given [3, 3, 3]; it should have at most 2 items, not 3 (model 'Model')."),
        (
            {"act": "rel"},
            "model.act: given 'rel'; it should be 'relu' or 'gelu'; did you mean 'relu'? (model 'Model').",
        ),
        (
            {"file": 7},
            "model.file: given 7; it should be text; as text it is written \"7\", in quotes (model 'Model').",
        ),
        ({"widht": 3}, "model.widht: model 'Model' has no setting 'widht'; did you mean 'width'? It takes act, deep, "),
        (
            {"groups": {"*.bias": {"lr_facotr": 2.0}}},
            "model.groups.\"*.bias\".lr_facotr: there is no such field; did you mean 'lr_factor'? "
            "It takes frozen, lr_factor, unfreeze, weight_decay (model 'Model').",
        ),
        (
            {"groups": {"head": {"lr_factor": -1}}},
            "model.groups.head.lr_factor: given -1; it should be greater than or equal to 0 (model 'Model').",
        ),
    ],
)
def test_rule_6_nothing_is_taken_for_something_else(given, said):
    assert refusal(**given).startswith(said)


def test_rule_6_whole_numbers_are_numbers_and_lists_fill_tuples():
    assert settings(rate=1, shape=[5, 7]) == {"rate": 1.0, "shape": (5, 7)}
    assert type(settings(rate=1)["rate"]) is float


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"width": np.int64(3)}, 3),
        ({"width": np.uint8(255)}, 255),
        ({"rate": np.float32(0.1)}, float(np.float32(0.1))),  # the number it is: 0.10000000149...
        ({"rate": np.float64(0.1)}, 0.1),
        ({"rate": np.float16(65504)}, 65504.0),
        ({"rate": np.int32(1)}, 1.0),
        ({"deep": np.bool_(True)}, True),
        ({"act": np.str_("gelu")}, "gelu"),
        ({"size": np.int8(3)}, 3),
        ({"shape": (np.int64(5), np.int64(7))}, (5, 7)),
        ({"options": {"a": [np.float32(0.5)]}}, {"a": [0.5]}),
    ],
)
def test_rule_6_a_number_of_numpys_is_the_number_it_is(given, value):
    ((name, one),) = settings(**given).items()
    assert one == value and type(one) is type(value)
    assert tomllib.loads(tomli_w.dumps({name: one})) == {name: list(value) if isinstance(value, tuple) else value}


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError


ROUND: list[Any] = []
ROUND.append(ROUND)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": np.float64(3.5)}, "; it should be a whole number (model 'Model')."),
        ({"rate": np.bool_(True)}, "; it should be a number (model 'Model')."),
        ({"width": np.array(3)}, "which no recipe can hold: a ndarray is no plain value; give its .tolist()."),
        ({"width": torch.tensor(3)}, "which no recipe can hold: a Tensor is no plain value; give its .tolist()."),
        ({"shape": np.array([3, 3])}, "which no recipe can hold: a ndarray is no plain value; give its .tolist()."),
        ({"rate": np.longdouble(1)}, "which no recipe can hold: longdouble is neither number, text, list nor table."),
        ({"rate": np.complex64(1)}, "which no recipe can hold: complex is neither number, text, list nor table."),
        ({"rate": np.datetime64("2026-01-01")}, "which no recipe can hold: date is neither number, text, list nor"),
        ({"rate": float("nan")}, "model.rate: model 'Model' is given nan, which no recipe can hold: nan is no number."),
        ({"width": 2**63}, "which no recipe can hold: a whole number has 64 bits at most."),
        ({"width": 10**5_000}, "is given <int that can't be shown: ValueError>, which no recipe can hold: a whole"),
        ({"options": {"a": ROUND}}, "which no recipe can hold: it is nested without an end."),
        ({"act": "\ud800"}, "which no recipe can hold: it is no Unicode text."),
        ({"file": Path("\udcff")}, "which no recipe can hold: it is no Unicode text."),
        ({"options": {"a": Unspeakable()}}, "which no recipe can hold: Unspeakable is neither number, text, list"),
        ({"file": "~nobody-at-all/x"}, "model.file: given '~nobody-at-all/x'; there is nobody called 'nobody-at-all'"),
        ({"file": Path("a" * 300)}, "; the name is too long for a file (model 'Model')."),
        ({"act": "x" * 9_999}, "x'; it should be 'relu' or 'gelu' (model 'Model')."),
    ],
)
def test_rule_6_what_no_recipe_can_hold_is_refused_in_words_of_a_readable_length(given, said):
    found = refusal(**given)
    assert said in found and len(found) < 500


@pytest.mark.parametrize("text", ["12e4", "7", "1_000", "true", "nan", "2026-01-01"])
def test_rule_6_what_looks_like_a_number_on_the_command_line_is_text_where_text_is_asked_for(text):
    table, _ = override({"model": {"name": Model}}, [f"model.file={text}"])
    where = Where(("model",), Source(Path("recipe.toml"), "").with_overrides([f"model.file={text}"]))
    assert resolve("model", table["model"], PLUGINS, where).settings == {"file": Path(text)}


def test_rule_6_unknown_keys_are_refused_inside_any_dataclass():
    @dataclass
    class Plain:
        """Of a plugin: it says nothing of unknown keys."""

        size: int = 1

    def takes(*, one: Plain | None = None, many: list[Plain] | None = None) -> None: ...

    takes.__annotations__ = {"one": Plain | None, "many": list[Plain] | None}
    for table, path in (({"one": {"sise": 1}}, "one.sise"), ({"many": [{"size": 2}, {"sise": 1}]}, "many[1].sise")):
        with pytest.raises(LabwrightError) as caught:
            resolve("stop", {"name": type("Stop", (), {"__init__": _with_self(takes)}), **table}, PLUGINS, Where())
        assert str(caught.value).startswith(f"{path}: there is no such field; did you mean 'size'? It takes size")


def _with_self(function: Any) -> Any:
    def method(self: Any, *, one: Any = None, many: Any = None) -> None: ...

    method.__annotations__ = function.__annotations__
    return method


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("width=16", {"width": 16}),
        ("rate=1e-3", {"rate": 1e-3}),
        ("deep=true", {"deep": True}),
        ("shape=[1, 2]", {"shape": (1, 2)}),
        ("act=gelu", {"act": "gelu"}),
        ("file=a/b.txt", {"file": Path("a/b.txt")}),
        ("options={depth = 3}", {"options": {"depth": 3}}),
        ("options.depth=3", {"options": {"depth": 3}}),
        ('groups."*.bias".lr_factor=2', {"groups": {"*.bias": lw.Group(lr_factor=2.0)}}),
    ],
)
def test_rule_6_overrides_are_read_as_toml_else_as_text(text, value):
    table, _ = override({"model": {}}, [f"model.{text}"])
    assert settings(**table["model"]) == value


# ------------------------------------------------------------------------------------------- rule 7: None is left out


def test_rule_7_none_is_the_field_left_out():
    assert settings(file=None) == {}
    assert "file" not in ComponentSpec("model", "", Model, settings(file=None)).table()
    assert refusal(width=None) == "model.width: given None, which means left out; its default is 8."
    assert settings(groups={"a": {"weight_decay": None}}) == {"groups": {"a": lw.Group()}}
    assert "no recipe can hold: NoneType" in refusal(options={"list": [1, None]})


def test_rule_7_a_field_that_can_be_none_has_none_as_its_default():
    def factory(*, width: int | None = 3) -> None: ...

    assert "a field that can be None has None as its default" in fault(factory)


def test_rule_7_an_override_without_a_value_leaves_the_field_out():
    assert override({"train": {"epochs": 5, "clip": 1.0}}, ["train.clip="])[0] == {"train": {"epochs": 5}}
    assert override({"loss": "mse", "model": "a"}, ["loss="])[0] == {"model": "a"}


# ----------------------------------------------------------------------------------------------- rule 8: another name


@pytest.mark.parametrize("text", ["model=b", "model.name=b", 'model={name="b"}'])
def test_rule_8_an_override_that_changes_a_name_drops_the_tables_other_settings_and_says_which(text):
    changed, notes = override({"model": {"name": "a", "width": 3, "depth": 2}}, [text])
    assert changed["model"] in ("b", {"name": "b"})
    assert notes == ["settings of model 'a' dropped: depth, width"]


def test_rule_8_the_same_name_drops_nothing():
    recipe = {"model": {"name": "a", "width": 3}}
    assert override(recipe, ["model=a", "model.name=a"]) == (recipe, [])


def test_rule_8_what_is_overridden_after_the_name_is_the_new_components():
    recipe = {
        "task": {"name": "t", "data": {"name": "d", "valid": 0.1}},
        "optimizer": {"name": "adam", "critic": {"lr": 1}},
    }
    changed, notes = override(recipe, ["task.data=e", "task.data.fold=2", "optimizer.critic=sgd"])
    assert changed["task"]["data"] == {"name": "e", "fold": 2}
    assert changed["optimizer"] == {"name": "adam", "critic": "sgd"}
    assert notes == [
        "settings of task.data 'd' dropped: valid",
        "settings of optimizer.critic dropped: lr",
    ]


# ------------------------------------------------------------------------------------------ rule 9: objects of Python


def test_rule_9_objects_given_from_python_are_named_in_the_recipe_and_refused_from_it():
    experiment = lw.Experiment(
        task=Sorting(Blobs()), model=Net, loss="cross-entropy", optimizer="sgd", train={"epochs": 1}, log=()
    )
    table = experiment.table()
    assert table["task"] == {"object": "parts.Sorting"}
    assert table["model"] == {"object": "parts.Net", "width": 16, "dropout": 0.3}
    with pytest.raises(
        LabwrightError, match=r"task: this task was an object given from Python \(parts.Sorting\); only "
    ):
        Experiment.from_table(table, plugins=PLUGINS)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (
            "model",
            Blobs(),
            "given a parts.Blobs, which is no torch.nn.modules.module.Module; a model is one, or a name.",
        ),
        ("data", Blobs, None),
        ("data", Net, "given a parts.Net, which is no labwright.data.dataset.Data; a data is one, or a name."),
        ("task", 3, "given 3; a task is a name or a table with a name."),
        ("model", {}, "given an empty table; a model has one: "),
        ("model", {"name": 3}, "given 3; a model is one of "),
    ],
)
def test_rule_9_an_object_must_be_of_the_kind_it_is_given_for(kind, given, said):
    if said is None:
        assert resolve(kind, given, PLUGINS, Where()).target is given
        return
    with pytest.raises(LabwrightError) as caught:
        resolve(kind, given, PLUGINS, Where((kind,)))
    assert said in str(caught.value)


def test_rule_9_an_optimizer_is_given_by_its_class_because_it_is_built_over_parameters():
    given = SGD({"weight": nn.Parameter()}, lr=0.1)
    with pytest.raises(
        LabwrightError, match=r"given a labwright.builtin.optimizers.SGD; an optimizer is built over the"
    ):
        resolve("optimizer", given, PLUGINS, Where())
    assert resolve("optimizer", {"name": SGD, "lr": 0.1}, PLUGINS, Where()).settings["lr"] == 0.1
