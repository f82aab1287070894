"""A constructor's signature is its settings: read, validated, completed, written and read again."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import labwright as lw
import pytest
import tomli_w
from conftest import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright import builtin
from labwright.base.errors import LabwrightError
from labwright.base.search import Part
from labwright.config.compatibility import described, fitting_names
from labwright.config.resolve import Where, resolve
from labwright.config.signature import signature
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment
from labwright.train.settings import Train
from pydantic import Field
from torch import nn

NOBODY = Plugins([]).extended([builtin])


class Shade(Enum):
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True)
class Crop:
    """Of a plugin that knows nothing of pydantic."""

    size: int = 8
    shade: Shade | None = None
    inner: list[Crop] = field(default_factory=list)


class Everything(nn.Module):
    """A setting of every type a recipe can hold."""

    def __init__(
        self,
        *,
        whole: int = 3,
        number: float = 0.5,
        flag: bool = False,
        text: str = "",
        word: Literal["relu", "gelu"] = "relu",
        size: Literal[1, 2] | None = None,
        shade: Shade = Shade.LIGHT,
        path: Path | None = None,
        whole_or_text: int | str = 3,
        numbers: tuple[float, ...] = (1.0, 2.0),
        pair: tuple[str, int] | None = None,
        lists: list[list[int]] | None = None,
        names: frozenset[str] = frozenset(),
        table: dict[str, float] | None = None,
        crop: Crop = Crop(),
        crops: dict[str, Crop] | None = None,
        groups: dict[str, lw.Group] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)  # what TOML has
FILES = st.text(st.characters(codec="utf-8", exclude_characters="\0~"), max_size=60)  # what may be a file's name
ANYTHING = st.recursive(
    st.booleans() | WHOLE | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CROPS = st.fixed_dictionaries(
    {}, optional={"size": WHOLE, "shade": st.sampled_from(["light", "dark"]), "inner": st.just([{"size": 1}])}
)
GROUPS = st.fixed_dictionaries({}, optional={"lr_factor": st.floats(0, 9), "weight_decay": st.floats(0, 9)})
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "whole": WHOLE,
        "number": FLOATS | st.integers(-(2**53), 2**53),
        "flag": st.booleans(),
        "text": st.text(),
        "word": st.sampled_from(["relu", "gelu"]),
        "size": st.sampled_from([1, 2]),
        "shade": st.sampled_from(["light", "dark"]),
        "path": FILES.map(lambda text: str(Path(text))),
        "whole_or_text": WHOLE | st.text(),
        "numbers": st.lists(FLOATS, max_size=3) | st.tuples(FLOATS),
        "pair": st.tuples(st.text(), WHOLE),
        "lists": st.lists(st.lists(WHOLE, max_size=2), max_size=2),
        "names": st.lists(st.text(), max_size=3),
        "table": st.dictionaries(st.text(), FLOATS, max_size=3),
        "crop": CROPS,
        "crops": st.dictionaries(st.text(), CROPS, max_size=2),
        "groups": st.dictionaries(st.text(), GROUPS, max_size=2),
        "options": st.dictionaries(st.text(), ANYTHING, max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(table=TABLES)
def test_a_validated_table_written_as_toml_and_read_again_gives_the_same_settings(table):
    first = resolve("model", {"name": Everything, **table}, NOBODY, Where())
    assert set(first.settings) == set(table)
    written = {key: value for key, value in first.table().items() if key != "object"}
    again = tomllib.loads(tomli_w.dumps(written))
    second = resolve("model", {"name": Everything, **again}, NOBODY, Where())
    assert {key: second.settings[key] for key in table} == first.settings
    assert {key: type(second.settings[key]) for key in table} == {key: type(one) for key, one in first.settings.items()}
    assert set(second.settings) == {name for name, one in signature(Everything).settings.items() if name in written}
    assert {key: value for key, value in second.table().items() if key not in ("object", "names")} == {
        key: value for key, value in written.items() if key != "names"
    }


def test_a_complete_recipe_read_again_is_the_same_experiment(tmp_path):
    plugins = toys()
    first = Experiment.from_table(
        {
            "task": {"name": "sorting", "data": {"name": "toys/blobs", "noise": 0.1}},
            "model": "toys/net",
            "loss": {"name": "penalized", "loss": "cross-entropy"},
            "optimizer": {"name": "adamw", "groups": {"*.bias": {"weight_decay": 0.0}}},
            "device": "cpu",
            "train": {"steps": 3, "clip": 1.0},
            "stop": [{"name": "early", "patience": 3}],
        },
        plugins=plugins,
    )
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(first.table()))
    again = Experiment.from_recipe(tmp_path / "recipe.toml", plugins=plugins)
    assert again.table() == first.table()
    assert again.train == first.train == Train(steps=3, clip=1.0)


def test_python_values_are_taken_as_a_recipe_would_write_them():
    given_values = {
        "path": Path("a/b"),
        "numbers": (1, 2),
        "groups": {"*": lw.Group(lr_factor=2.0)},
        "shade": Shade.DARK,
        "crop": Crop(size=3, shade=Shade.DARK),
        "names": {"a"},
    }
    spec = resolve("model", {"name": Everything, **given_values}, NOBODY, Where()).settings
    assert spec == given_values | {"numbers": (1.0, 2.0), "names": frozenset({"a"})}


# ----------------------------------------------------------------------------------- what a constructor may not ask for


def of(**annotations: Any) -> Any:
    """A function with these keyword-only parameters, each with a type or with (type, default)."""
    lines = [
        f"{name}: _{name}" + (f" = _d_{name}" if isinstance(one, tuple) else "") for name, one in annotations.items()
    ]
    scope: dict[str, Any] = {}
    for name, one in annotations.items():
        scope[f"_{name}"], scope[f"_d_{name}"] = one if isinstance(one, tuple) else (one, None)
    exec(f"def factory(*, {', '.join(lines)}): ...", scope)
    return scope["factory"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            of(net=nn.Module),
            "parameter 'net': <class 'torch.nn.modules.module.Module'> can't be a setting. Settings are ",
        ),
        (of(width=(int, 1.5)), "parameter 'width': its default 1.5 isn't what its annotation allows"),
        (of(width=(Annotated[int, Field(ge=1)], 0)), "its default 0 isn't what its annotation allows"),
        (of(call=(Callable[[], int], len)), "parameter 'call': its default <built-in function len> isn't what its"),
        (of(image=lw.Image), "parameter 'image': a port is called `inputs` or `outputs`."),
        (of(data=(Annotated[lw.Data, Part("data")], 3)), "the default of a part is the name of a data, given 3."),
        (lambda width, /: None, "parameter 'width': settings are given by name; a parameter before / has none."),
        (3, "3 is neither class nor function."),
    ],
)
def test_a_constructor_that_asks_for_what_no_recipe_can_give_is_refused(target, said):
    with pytest.raises(LabwrightError) as caught:
        signature(target)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "parameter"), [("data", "parameters"), ("model", "parameters"), ("optimizer", "inputs")]
)
def test_what_the_core_gives_to_another_kind_is_refused(kind, parameter):
    base = {"data": lw.Data, "model": nn.Module, "optimizer": lw.Optimizer}[kind]

    class Asking(base):  # type: ignore[misc, valid-type]
        def __init__(self, **_: Any) -> None: ...

    Asking.__init__ = _asking_for(parameter)  # type: ignore[assignment]
    with pytest.raises(LabwrightError, match=f"asks for {parameter} in its constructor, which no {kind} is given"):
        resolve(kind, Asking, NOBODY, Where())


def _asking_for(parameter: str) -> Any:
    scope: dict[str, Any] = {"Kind": lw.Features if parameter == "inputs" else dict}
    exec(f"def __init__(self, {parameter}: Kind) -> None: ...", scope)
    return scope["__init__"]


def test_a_class_without_a_constructor_has_no_settings():
    class Plain(nn.Module):
        pass

    assert dict(signature(Plain).settings) == {}
    with pytest.raises(LabwrightError, match=r"model 'Plain' has no setting 'width'. It has no settings."):
        resolve("model", {"name": Plain, "width": 3}, NOBODY, Where())


def test_a_setting_without_a_default_is_needed():
    with pytest.raises(LabwrightError, match=r"^model\.width: model 'factory' needs this setting\.$"):
        resolve(
            "model", {"name": type("factory", (nn.Module,), {"__init__": _needing_width})}, NOBODY, Where(("model",))
        )


def _needing_width(self: Any, *, width: int) -> None: ...


def test_a_missing_field_of_a_table_is_named():
    @dataclass
    class Area:
        low: int
        high: int

    with pytest.raises(LabwrightError, match=r"^stop\.area\.high: this field is needed \(stop 'Stop'\)\.$"):
        resolve("stop", {"name": _stop_with(Area), "area": {"low": 1}}, NOBODY, Where(("stop",)))


def _stop_with(kind: type) -> type:
    scope: dict[str, Any] = {"Area": kind}
    exec("def __init__(self, *, area: Area) -> None: ...", scope)
    return type("Stop", (), {"__init__": scope["__init__"]})


def test_a_value_of_none_of_several_types_is_answered_with_all_of_them():
    with pytest.raises(LabwrightError, match=r"whole_or_text: given \[1\]; it should be a whole number or be text "):
        resolve("model", {"name": Everything, "whole_or_text": [1]}, NOBODY, Where())


# ------------------------------------------------------------------------------------------------------- list and show


def test_what_fits_a_recipe_follows_from_its_task_alone(tmp_path):
    plugins = toys()
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'task = { name = "sorting", data = "toys/blobs" }\nmodel = "no/such"\n'
    )  # list --for helps to mend it
    assert "toys/net" in fitting_names("model", str(recipe), plugins)
    losses = fitting_names("loss", str(recipe), plugins)
    assert "cross-entropy" in losses  # logits, labels
    assert "penalized" in losses  # as what is in it
    assert "mse" not in losses  # predictions, targets
    assert "toys/blobs" in fitting_names("data", str(recipe), plugins)
    assert fitting_names("optimizer", str(recipe), plugins) == plugins.names("optimizer")
    for name in fitting_names("model", str(recipe), plugins):
        assert not name.startswith("vision/")  # they take Image


def test_a_component_is_described_with_its_ports_and_settings():
    found = described("model", "toys/net", toys())
    assert found["documentation"] == "Linear, BatchNorm, dropout, linear."  # without what it says of its settings
    assert found["ports"] == {"inputs": "Features", "outputs": "Classes"}
    width = {"name": "width", "type": "int", "default": "16", "needed": False, "search": ""}
    assert found["settings"][0] == width | {"description": "hidden features."}
    adamw = {one["name"]: one for one in described("optimizer", "adamw", toys())["settings"]}
    lr = {"name": "lr", "type": "float > 0", "default": "0.001", "search": "1e-05 to 0.1, log"}
    assert lr.items() <= adamw["lr"].items()
    assert adamw["groups"]["type"] == "table of Group" and adamw["betas"]["default"] == "[0.9, 0.999]"
    assert adamw["schedule"]["type"] == "a schedule" and adamw["schedule"]["default"] == '"constant"'
