"""Recipes that are laid on a base, and variants that are laid on recipes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from conftest import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright.base.errors import LabwrightError
from labwright.cli import main
from labwright.config.recipe import laid
from labwright.plugin.hookspecs import Recipe, hookimpl
from labwright.plugin.registry import Plugins, parted
from labwright.runs.experiment import Experiment
from labwright.runs.resume import resume

PLUGINS = toys()
COMMON: dict[str, Any] = {
    "task": {"name": "sorting", "data": {"name": "toys/blobs", "size": 30, "held_out": 30}},
    "model": {"name": "toys/net", "width": 8, "dropout": 0.1},
    "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
    "optimizer": {"name": "adamw", "lr": 0.01, "betas": [0.8, 0.9], "groups": {"*.bias": {"lr_factor": 2.0}}},
    "device": "cpu",
    "train": {"epochs": 2, "batch_size": 10, "seed": 3},
    "log": [],
    "stop": [{"name": "early", "patience": 2}],
}


def written(folder: Path, **files: dict[str, Any]) -> Path:
    """Recipe files in a folder: the last of them."""
    for name, table in files.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(table))
    return folder / f"{name}.toml"


@pytest.fixture
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with common.toml."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, common=COMMON)
    return tmp_path


# ------------------------------------------------------------------------------------------------------- what is laid

# A component with settings, as somebody merges two by hand: those of another component are not looked at.
SETTINGS = {
    "adamw": st.fixed_dictionaries(
        {}, optional={"lr": st.just(0.5), "weight_decay": st.just(0.25), "eps": st.just(1e-3)}
    ),
    "sgd": st.fixed_dictionaries({}, optional={"lr": st.just(0.75), "momentum": st.sampled_from([0.5, 0.25])}),
}
LISTS = st.lists(st.sampled_from(["progress", "report"]), unique=True)


def components(named: bool) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    names = st.sampled_from([*SETTINGS] if named else [*SETTINGS, ""])
    return names.flatmap(lambda name: st.tuples(st.just(name), SETTINGS[name or "adamw"]))


@settings(max_examples=40)
@given(components(True), components(False), st.integers(1, 9), st.none() | st.integers(1, 9), LISTS, st.none() | LISTS)
def test_a_recipe_with_a_base_is_the_one_merged_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    under: tuple[str, dict[str, Any]],
    over: tuple[str, dict[str, Any]],
    seed: int,
    other: int | None,
    log: list[str],
    other_log: list[str] | None,
):
    (name, below), (another, above) = under, over
    if not another and name == "sgd":  # settings of AdamW, without a name: they are for AdamW only
        above = {key: value for key, value in above.items() if key == "lr"}
    base = COMMON | {"optimizer": {"name": name, **below}, "train": COMMON["train"] | {"seed": seed}, "log": log}
    own: dict[str, Any] = {"base": "below.toml", "optimizer": above | ({"name": another} if another else {})}
    own |= {} if other is None else {"train": {"seed": other}}
    own |= {} if other_log is None else {"log": other_log}
    by_hand = COMMON | {
        "optimizer": {"name": name, **below, **above} if another in ("", name) else {"name": another, **above},
        "train": COMMON["train"] | {"seed": seed if other is None else other},
        "log": log if other_log is None else other_log,
    }
    file = written(tmp_path_factory.mktemp("recipe"), below=base, mine=own)
    assert (
        Experiment.from_recipe(file, plugins=PLUGINS).table() == Experiment.from_table(by_hand, plugins=PLUGINS).table()
    )


PATHS = st.dictionaries(
    st.sampled_from(["model.width", "optimizer.lr", "train.batch_size", "optimizer.weight_decay", "task.data.size"]),
    st.integers(1, 40),
    min_size=1,
)


@settings(max_examples=25)
@given(PATHS)
def test_a_variant_is_the_recipe_with_these_overrides(tmp_path_factory: pytest.TempPathFactory, values: dict[str, int]):
    """However they are written: `model.width = 8` or `model = { width = 8 }`."""
    folder = tmp_path_factory.mktemp("recipe")
    file = written(folder, mine=COMMON)
    lines = [f"{path} = {value}" for path, value in values.items()]
    file.write_text("\n".join([file.read_text(), "[variants.other]", *lines]) + "\n")
    overrides = [f"{path}={value}" for path, value in values.items()]
    assert (
        Experiment.from_recipe(f"{file}:other", plugins=PLUGINS).table()
        == Experiment.from_recipe(file, overrides, plugins=PLUGINS).table()
    )
    assert (
        Experiment.from_recipe(file, plugins=PLUGINS).table() == Experiment.from_table(COMMON, plugins=PLUGINS).table()
    )


@pytest.mark.parametrize(
    ("over", "came", "notes"),
    [
        # a name alone and a table are the same component
        ({"device": {"threads": 1}}, {"device": {"name": "cpu", "threads": 1}}, []),
        ({"model": "toys/net"}, {"model": COMMON["model"]}, []),
        (
            {"model": "toys/other"},
            {"model": "toys/other"},
            ["settings of model 'toys/net' dropped: dropout, width"],
        ),
        (
            {"model": {"name": "toys/other", "width": 3}},
            {"model": {"name": "toys/other", "width": 3}},
            ["settings of model 'toys/net' dropped: dropout"],
        ),
        (
            {"task": {"data": {"name": "toys/other"}}},
            {"task": {"name": "sorting", "data": {"name": "toys/other"}}},
            ["settings of task.data 'toys/blobs' dropped: held_out, size"],
        ),
        # a list takes the place of the one before
        ({"stop": ["seconds"]}, {"stop": ["seconds"]}, []),
        ({"optimizer": {"betas": [0.5, 0.6]}}, {"optimizer": COMMON["optimizer"] | {"betas": [0.5, 0.6]}}, []),
        # tables that are no components
        (
            {"optimizer": {"groups": {"head.*": {"frozen": True}}}},
            {"optimizer": COMMON["optimizer"] | {"groups": {"*.bias": {"lr_factor": 2.0}, "head.*": {"frozen": True}}}},
            [],
        ),
        # as in an override: left out, and one length instead of the other
        ({"loss": ""}, {"loss": None}, []),
        (
            {"train": {"steps": 7}},
            {"train": {"batch_size": 10, "seed": 3, "steps": 7}},
            ["train.epochs=2 is left out: train.steps=7 says how long."],
        ),
        ({"train": {"epochs": "", "steps": 7}}, {"train": {"batch_size": 10, "seed": 3, "steps": 7}}, []),
    ],
)
def test_tables_are_merged_and_components_are_not(over, came, notes):
    before = json.dumps(COMMON)
    result, told = laid(COMMON, over)
    assert result == {key: one for key, one in (COMMON | came).items() if one is not None}
    assert told == notes
    assert json.dumps(COMMON) == before


def test_what_a_run_starts_from_by_its_path_alone_gets_settings():
    result, notes = laid({"start": "runs/one"}, {"start": {"strict": False}})
    assert (result, notes) == ({"start": {"run": "runs/one", "strict": False}}, [])


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("mine.toml", ("mine.toml", "")),
        ("mine.toml:wide", ("mine.toml", "wide")),
        ("toys/blobs:wide", ("toys/blobs", "wide")),
        ("a:b/mine.toml", ("a:b/mine.toml", "")),
        ("a:b/mine.toml:wide", ("a:b/mine.toml", "wide")),
        ("a:b/mine", ("a:b/mine", "")),
        ("mine.toml:", ("mine.toml:", "")),
    ],
)
def test_a_variant_stands_behind_a_colon(asked, parts):
    assert parted(asked) == parts


# ---------------------------------------------------------------------------------------- where things are, and slips


def test_the_base_may_be_an_installed_recipe_or_a_file_beside_and_a_plugins_recipe_may_have_one(common: Path):
    folder = common / "elsewhere"
    folder.mkdir()
    mine = written(folder, beside=COMMON, mine={"base": "beside.toml", "model": {"width": 3}})

    class Bringing:
        @hookimpl
        def labwright_recipes(self) -> Iterator[Recipe]:
            yield Recipe("toys/first", folder / "beside.toml", "whole")
            yield Recipe("toys/second", folder / "mine.toml", "with a base")

    plugins = PLUGINS.extended([Bringing()])
    named = written(folder, named={"base": "toys/first", "model": {"width": 3}})
    of_file, of_plugin, of_name = (
        Experiment.from_recipe(recipe, plugins=plugins) for recipe in (mine, "toys/second", named)
    )
    assert of_file.table() == of_plugin.table() == of_name.table()
    assert of_file.table()["model"] == COMMON["model"] | {"width": 3}
    assert of_plugin.name == "toys/second" and of_file.name == "mine"


LAYERED = """\
base = "common.toml"
model.width = 9
optimizer = { name = "sgd", lr = 0.5 }

[variants.wide]
model.width = 64
[variants.wide.train]
clip = 2.0
"""


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("lr = 0.5", "lr = -1", "mine.toml:3: optimizer.lr: given -1"),
        ("width = 64", "width = 64.5", "mine.toml:6: model.width: given 64.5"),
        ("clip = 2.0", "clip = -1", "mine.toml:8: train.clip: given -1"),
        ("clip = 2.0", "clap = 1", "mine.toml:8: train.clap: train has no setting 'clap'; did you mean 'clip'?"),
        ("train]", "trian]", "mine.toml:7: trian: a recipe has no 'trian'; did you mean 'train'?"),
        ("lr = 0.5", "betas = [0.1, 0.2]", "mine.toml:3: optimizer.betas: optimizer 'sgd' has no setting 'betas'"),
    ],
)
def test_a_message_gives_the_line_of_the_file_that_says_it(common: Path, before: str, after: str, place: str):
    assert before in LAYERED
    Path("mine.toml").write_text(LAYERED.replace(before, after))
    with pytest.raises(LabwrightError) as caught:
        Experiment.from_recipe("mine.toml:wide", plugins=PLUGINS)
    assert str(caught.value).startswith(place)


def test_a_fault_of_the_base_is_shown_there_and_what_fell_away_of_it_is_not(common: Path):
    written(common, mine={"base": "common.toml", "model": {"dropout": 0.2}})
    text = Path("common.toml").read_text()
    line = text.split("\n").index("lr = 0.01") + 1
    Path("common.toml").write_text(text.replace("lr = 0.01", 'lr = "fast"'))
    with pytest.raises(LabwrightError, match=rf"^common\.toml:{line}: optimizer\.lr: given 'fast'"):
        Experiment.from_recipe("mine.toml", plugins=PLUGINS)
    # the base has a `data`, but of a task that is another one now
    written(common, common=COMMON | {"task": {"name": "no-such", "data": "toys/blobs"}}, mine={"base": "common.toml"})
    written(common, mine={"base": "common.toml", "task": {"name": "sorting"}})
    with pytest.raises(LabwrightError, match=r"^mine\.toml:3: task\.data: task 'sorting' needs this setting"):
        Experiment.from_recipe("mine.toml", plugins=PLUGINS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'base = "vision/digist"',
            r"^mine\.toml:1: base: no recipe is called 'vision/digist'; did you mean 'vision/digits'",
        ),
        (
            'base = "comon.toml"',
            r"^mine\.toml:1: base: there is no recipe file 'comon\.toml'; did you mean 'common\.toml'",
        ),
        (
            'base = "common.toml:wide"',
            r"^mine\.toml:1: base: no recipe is called 'common\.toml:wide'; did you mean 'common",
        ),
        ("base = 3", r"^mine\.toml:1: base: given 3; it is a recipe's name, or a file that ends in \.toml"),
        (
            'base = "second.toml"',
            r"^mine\.toml:1: base: 'second\.toml' has a base itself, 'common\.toml', and one level is all there is: "
            r"name that one, and write here what 'second\.toml' changes of it\.",
        ),
        ('base = "mine.toml"', r"^mine\.toml:1: base: 'mine\.toml' has a base itself, 'mine\.toml'"),
        (
            'base = "common.toml"\n[variants]\nwider.model.width = 9\nnarrow.model.width = 1',
            r"^mine\.toml: no variant is called 'wide'; did you mean 'wider'\? It has narrow, wider\.",
        ),
        ('base = "common.toml"', r"^mine\.toml: no variant is called 'wide'\. It has none\."),
        (
            'base = "common.toml"\n[variants.wide]',
            r"^mine\.toml:2: variants: given \{'wide': \{\}\}; each is a table of",
        ),
        ('base = "common.toml"\nvariants = ["wide"]', r"^mine\.toml:2: variants: given \['wide'\]; each is a table of"),
        (
            'base = "common.toml"\n[variants.wide]\nmodle.width = 9',
            r"^mine\.toml:3: modle: a recipe has no 'modle'; did you mean 'model'\?",
        ),
    ],
)
def test_a_base_or_a_variant_that_is_none_is_one_message(common: Path, text: str, said: str):
    written(common, second={"base": "common.toml"})
    Path("mine.toml").write_text(text + "\n")
    with pytest.raises(LabwrightError, match=said):
        Experiment.from_recipe("mine.toml:wide", plugins=PLUGINS)


def test_a_misspelt_base_is_answered_with_what_is_meant_and_tables_from_python_have_none(common: Path):
    Path("mine.toml").write_text('bsae = "common.toml"\n')
    with pytest.raises(LabwrightError, match=r"^mine\.toml:1: bsae: a recipe has no 'bsae'; did you mean 'base'\?"):
        Experiment.from_recipe("mine.toml", plugins=PLUGINS)
    with pytest.raises(LabwrightError, match=r"^base: a recipe has no 'base'\. It has task, "):
        Experiment.from_table({"base": "vision/digits"}, plugins=PLUGINS)


# -------------------------------------------------------------------------------------------- runs, and what is told


def test_a_run_has_the_whole_recipe_and_says_what_it_came_from_after_resuming_too(common: Path):
    Path("mine.toml").write_text(LAYERED)
    experiment = Experiment.from_recipe("mine.toml:wide", plugins=PLUGINS)
    assert experiment.name == "mine-wide"
    changed = "model.width 9 -> 64, train.clip unset -> 2.0"
    assert experiment.notes == [changed, "file mine.toml: settings of optimizer 'adamw' dropped: betas, groups"]
    folder = experiment.run().folder
    assert folder == Path("runs/mine-wide-001")
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    assert not {"base", "variants"} & recipe.keys()
    assert (recipe["model"]["width"], recipe["optimizer"]["lr"], recipe["train"]["clip"]) == (64, 0.5, 2.0)
    came_from = {"base": "common.toml", "file": "mine.toml", "variant": "wide"}
    assert json.loads((folder / "environment.json").read_text())["recipe"] == came_from
    Path("common.toml").unlink()  # a run needs its base no more
    trainer, _ = resume(folder, PLUGINS, ["train.epochs=3"])
    trainer.fit()
    assert json.loads((folder / "environment.json").read_text())["recipe"] == came_from


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command line says, in this process."""
    monkeypatch.setattr(Plugins, "discover", lambda *_: PLUGINS)

    def run(*words: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["labwright", *words])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr()

    return run


def test_show_says_behind_each_setting_where_it_is_from(common: Path, said: Any):
    Path("mine.toml").write_text(LAYERED)
    out, err = said("show", "mine.toml:wide", "model.dropout=0.5", 'stop=[{name="seconds",limit=9}]')
    assert "note: file mine.toml: settings of optimizer 'adamw' dropped: betas, groups" in err
    lines = out.splitlines()
    assert lines[0] == "# base common.toml, file mine.toml, variant wide"
    for line in (
        "log = []  # base",
        "stop = [  # override",
        'name = "toys/blobs"  # base',
        "noise = 0.0  # default",
        'name = "toys/net"  # base',
        "width = 64  # variant",
        "dropout = 0.5  # override",
        'name = "sgd"  # this file',
        "lr = 0.5  # this file",
        "weight_decay = 0.0  # default",  # adamw's of the base is another
        'name = "cpu"  # base',
        "clip = 2.0  # variant",
        "epochs = 2  # base",
    ):
        assert line in lines, out
    changed = ["model.dropout=0.5", 'stop=[{name="seconds",limit=9}]']
    whole = Experiment.from_recipe("mine.toml:wide", changed, plugins=PLUGINS).table()
    assert tomllib.loads(out) == whole
    (common / "whole.toml").write_text(out)
    assert (
        said("show", "whole.toml")[0].rstrip() == tomli_w.dumps(whole).rstrip()
    )  # of one text there is nothing to say


def test_the_option_of_run_is_the_colon(common: Path, said: Any):
    Path("mine.toml").write_text(LAYERED)
    out, err = said("run", "mine.toml", "train.epochs=1", "--variant", "wide", "--json")
    assert json.loads(out)["folder"] == "runs/mine-wide-001", err
    assert (
        "no variant is called 'wid'; did you mean 'wide'? It has wide."
        in said("run", "mine.toml", "--variant", "wid")[1]
    )
