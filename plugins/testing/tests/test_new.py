"""`labwright new`: what it writes is a plugin, and it writes nothing it can't finish."""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labwright.base.errors import LabwrightError
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment
from labwright.runs.load import load
from labwright_testing.new import SUMMARIES, fitting_range, new_component, new_plugin
from packaging.specifiers import SpecifierSet
from packaging.version import Version


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plugin(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a new plugin `rings`, in which the test works."""
    new_plugin("rings")
    monkeypatch.chdir(here / "labwright-rings")
    return here / "labwright-rings"


def files_of(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """What labwright finds when the plugin is installed as `pip install -e` does it."""
    info = folder / "src" / "labwright_rings-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labwright-rings\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[labwright]\nrings = labwright_rings.plugin\n")
    monkeypatch.syspath_prepend(folder / "src")
    for name in [one for one in sys.modules if one.startswith("labwright_rings")]:  # of another test
        del sys.modules[name]
    return Plugins.discover()


def test_a_new_plugin_is_named_throughout(here: Path):
    written = new_plugin("labwright-protein-folds")
    assert {str(file) for file in written} == {
        f"labwright-protein-folds/{name}" for name in files_of(here / written[0].parts[0])
    }
    for name, text in files_of(here).items():
        assert "geometry" not in name + text
    project = tomllib.loads((here / "labwright-protein-folds" / "pyproject.toml").read_text())
    assert project["project"]["name"] == "labwright-protein-folds"
    assert project["project"]["entry-points"]["labwright"] == {"protein-folds": "labwright_protein_folds.plugin"}
    recipe = here / "labwright-protein-folds/src/labwright_protein_folds/recipes/spirals.toml"
    assert tomllib.loads(recipe.read_text())["model"]["name"] == "protein-folds/mlp"


def test_a_new_plugin_may_have_a_task_of_its_own_that_learns(here: Path, monkeypatch: pytest.MonkeyPatch):
    written = new_plugin("rings", "task")
    folder = here / "labwright-rings"
    assert {str(file.relative_to("labwright-rings")) for file in written} == set(files_of(folder))
    assert not [name for name, text in files_of(folder).items() if "geometry" in name + text]
    found = installed(folder, monkeypatch)
    experiment = Experiment.from_recipe("rings/spirals", ["device=cpu", "log=[]"], plugins=found)
    run = experiment.varied({"train.epochs": 3}).run(here / "run")
    assert run.metrics["test"]["accuracy"] > 0.5  # by chance 0.33; all 30 epochs are the plugin's own test
    loaded = load(here / "run", plugins=found)
    given = loaded.task.parse("0.5,0.1 -0.2,0.9")
    (answer,) = loaded.task.predict(loaded.model, given, [given.origin])
    assert list(answer["points"]) == ["0.5,0.1", "-0.2,0.9"]
    with pytest.raises(LabwrightError, match=r"no plugin begins with 'tsk'; did you mean 'task'\? It begins with data"):
        new_plugin("stars", "tsk")


def test_what_a_template_begins_with_is_for_a_plugin(here: Path, command: Callable[..., Any]):
    told = command("new", "model", "net", "--template", "task", cwd=here)
    assert told.code == 2 and "--template is for a plugin; a model begins as it does." in told.err


@pytest.mark.parametrize("version", ["0.1.0", "0.9.3.dev4", "1.0.0", "1.4.2", "2.0rc1"])
def test_a_new_plugin_asks_for_versions_its_author_may_rely_on(version: str):
    """PEP 440: what works with 0.Y works with 0.Y.*, what works with X.Y works with X.Z for Z >= Y."""
    asked = SpecifierSet(fitting_range(version), prereleases=True)
    major, minor = Version(version).major, Version(version).minor
    assert f"{major}.{minor}.7" in asked
    assert (f"{major}.{minor + 1}" in asked) == (major > 0)
    assert f"{major + 1}.0" not in asked
    assert minor == 0 or f"{major}.{minor - 1}.9" not in asked


def test_each_kind_of_component_is_declared_and_can_be_loaded(plugin: Path, monkeypatch: pytest.MonkeyPatch):
    for kind in SUMMARIES:
        new_component(kind, f"my-{kind}")
    found = installed(plugin, monkeypatch)
    (mine,) = (one for one in found.loaded if one.name == "rings")
    for kind in set(SUMMARIES) - {"verb"}:
        assert found.load(kind, f"rings/my-{kind}").__name__ == f"My{kind.capitalize()}"
    assert "Example: labwright my-verb " in found.target(found.verb("my-verb")).__doc__
    assert [one.name for one in mine.recipes] == ["rings/spirals", "rings/my-task"]
    assert tomllib.loads(mine.recipes[1].path.read_text())["task"] == {"name": "rings/my-task", "data": "rings/spirals"}


def test_a_new_logger_and_a_new_rule_are_heard_of_in_a_run(plugin: Path, monkeypatch: pytest.MonkeyPatch):
    new_component("logger", "lines")
    new_component("stop", "enough")
    found = installed(plugin, monkeypatch)
    changed = ["device=cpu", 'log=["rings/lines"]', 'stop=[{name="rings/enough",target=0.34}]', "train.epochs=9"]
    run = Experiment.from_recipe("rings/spirals", changed, plugins=found).run(plugin / "run")
    assert run.outcome is not None
    lines = (run.folder / "evaluations.txt").read_text().splitlines()
    reached = [float(line.partition("accuracy ")[2].partition(",")[0]) >= 0.34 for line in lines]
    first = reached.index(True)
    assert run.outcome.status == "stopped" and run.outcome.reason == "accuracy has reached 0.34"
    assert [line.split()[2] for line in lines] == ["valid:"] * (first + 1) + ["test:"]


def test_a_new_sampler_gives_a_study_its_points(plugin: Path, monkeypatch: pytest.MonkeyPatch):
    import optuna

    new_component("sampler", "by-chance")
    sampler = installed(plugin, monkeypatch).load("sampler", "rings/by-chance")().make(7, None)
    drawn = [
        study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"]
        for study in (
            optuna.create_study(sampler=sampler),
            optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7)),
        )
    ]
    assert drawn[0] == drawn[1]  # as Optuna's own with the same seed


def test_a_verb_gets_its_hook_where_the_module_has_none(plugin: Path):
    menu = plugin / "src" / "labwright_rings" / "plugin.py"
    before = menu.read_text()
    new_component("verb", "weigh", "what a model is made of")
    new_component("verb", "look-at")
    added = menu.read_text().removeprefix(before).splitlines()
    assert added == [
        "",
        "",
        "@lw.hookimpl",
        "def labwright_verbs() -> Iterator[lw.Verb]:",
        '    yield lw.Verb("weigh", "labwright_rings.weigh:verb", "what a model is made of")',
        '    yield lw.Verb("look-at", "labwright_rings.look_at:verb", "the largest parameters of a model")',
    ]
    with pytest.raises(LabwrightError, match=r'plugin.py declares lw.Verb\("weigh", ...\) already'):
        new_component("verb", "weigh")


@pytest.mark.long
def test_a_verb_of_a_new_plugin_works_and_one_that_is_taken_is_refused(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]
):
    new_component("verb", "weigh")
    installed(plugin, monkeypatch)
    answer = command("weigh", "rings/spirals", "--most", "2", "--json", site=plugin / "src", cwd=plugin)
    assert (answer.code, json.loads(answer.out)) == (0, {"layers.2.weight": 64 * 64, "layers.4.weight": 3 * 64})
    found = command("check", "--quick", "rings", site=plugin / "src", cwd=plugin)
    assert "nothing found" in found.out
    taken = command("new", "verb", "list", cwd=plugin)
    assert taken.code == 2
    assert "a verb called 'list' is brought by builtin (labwright 0.2.0): choose another name." in taken.err


def test_a_component_leaves_everything_else_as_it_was(plugin: Path):
    before = files_of(plugin)
    changed = new_component("loss", "rings/focal")
    assert [str(file.relative_to(plugin)) for file in changed] == [
        "src/labwright_rings/focal.py",
        "src/labwright_rings/plugin.py",
    ]
    after = files_of(plugin)
    menu = "src/labwright_rings/plugin.py"
    assert {name: text for name, text in after.items() if name not in (menu, "src/labwright_rings/focal.py")} == {
        name: text for name, text in before.items() if name != menu
    }
    lines, old = after[menu].splitlines(), before[menu].splitlines()
    added = [line for line in lines if line not in old]
    assert added == [
        '    yield lw.Component("loss", "rings/focal", "labwright_rings.focal:Focal", "focal cross-entropy")'
    ]
    assert [line for line in lines if line not in added] == old


def test_it_works_from_a_folder_below_and_without_src(here: Path, monkeypatch: pytest.MonkeyPatch):
    new_plugin("rings")
    root = here / "labwright-rings"
    (root / "src" / "labwright_rings").rename(root / "labwright_rings")
    monkeypatch.chdir(root / "tests")
    assert new_component("model", "net")[0] == root / "labwright_rings" / "net.py"


@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), min_size=1, max_size=3).map("-".join))
@pytest.mark.long
def test_a_name_is_refused_or_makes_modules_that_python_reads(tmp_path_factory: pytest.TempPathFactory, name: str):
    folder = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            new_plugin(name)
            patch.chdir(folder / f"labwright-{name}")
            new_component("model", name)
        except LabwrightError as error:
            assert "can't be called" in str(error)
            return
        for file in folder.rglob("*.py"):
            ast.parse(file.read_text())


def test_a_summary_is_what_is_listed(plugin: Path, monkeypatch: pytest.MonkeyPatch):
    new_component("loss", "focal", 'weighs down what is "right"')
    (mine,) = (one for one in installed(plugin, monkeypatch).loaded if one.name == "rings")
    assert mine.components[-1].summary == 'weighs down what is "right"'
    with pytest.raises(LabwrightError, match="a summary is one line of 80 characters at most, given 81"):
        new_component("loss", "long", "x" * 81)


def test_a_name_that_is_taken_is_refused(plugin: Path, here: Path, monkeypatch: pytest.MonkeyPatch):
    before = files_of(here)
    with pytest.raises(LabwrightError, match=r'plugin.py declares lw.Component\("model", "rings/mlp", ...\) already'):
        new_component("model", "mlp")
    with pytest.raises(LabwrightError, match=r'plugin.py declares lw.Recipe\("rings/spirals", ...\) already'):
        new_component("task", "spirals")
    with pytest.raises(LabwrightError, match=r"a model of this plugin is called rings/NAME; given 'stars/net'"):
        new_component("model", "stars/net")
    with pytest.raises(LabwrightError, match="is a plugin itself: go into another folder"):
        new_plugin("stars")
    monkeypatch.chdir(here)
    with pytest.raises(LabwrightError, match="a plugin called 'builtin' is installed, of labwright: choose another"):
        new_plugin("builtin")
    assert files_of(here) == before


@pytest.mark.parametrize("name", ["Rings", "two rings", "1ring", "class", "", "a--b", "../up"])
def test_a_name_that_is_none_is_refused_before_anything_is_written(here: Path, name: str):
    with pytest.raises(LabwrightError, match="can't be called"):
        new_plugin(name)
    assert not any(here.iterdir())


def test_nothing_is_written_over(here: Path, monkeypatch: pytest.MonkeyPatch):
    new_plugin("rings")
    before = files_of(here)
    with pytest.raises(LabwrightError, match="labwright-rings is there already"):
        new_plugin("rings")
    monkeypatch.chdir(here / "labwright-rings")
    with pytest.raises(LabwrightError, match=r"models\.py is there already: choose another name for the loss"):
        new_component("loss", "models")
    assert files_of(here) == before


def test_without_a_plugin_there_is_nothing_to_add_to(here: Path):
    with pytest.raises(LabwrightError, match=r"no pyproject.toml here or above. Go into a plugin's folder"):
        new_component("model", "net")
    (here / "pyproject.toml").write_text('[project]\nname = "other"\n')
    with pytest.raises(LabwrightError, match=r"has no \[project.entry-points.labwright\]"):
        new_component("model", "net")
    (here / "pyproject.toml").write_text('[project.entry-points.labwright]\none = "one.plugin"\ntwo = "two"\n')
    with pytest.raises(LabwrightError, match="several plugins, one, two"):
        new_component("model", "net")
    (here / "pyproject.toml").write_text('[project.entry-points.labwright]\none = "one.plugin"\n')
    with pytest.raises(LabwrightError, match=r"module one.plugin is neither .*src/one/plugin.py nor .*one/plugin.py"):
        new_component("model", "net")
    (here / "pyproject.toml").write_text("[project\n")
    with pytest.raises(LabwrightError, match="can't be read"):
        new_component("model", "net")


@pytest.mark.parametrize(
    ("menu", "said"),
    [
        ("def labwright_components():\n    return [\n", "plugin.py:2: "),
        (
            "import labwright as lw\n\ndef labwright_components():\n    return []\n",
            "has no labwright_components that ends",
        ),
        ("import labwright as lw\n", "has no import of Iterator"),
        ("import labwright\n\ndef labwright_components():\n    yield 1\n", "has no import of lw"),
    ],
)
def test_a_module_without_a_place_for_the_line_is_left_alone_and_the_line_is_told(plugin: Path, menu: str, said: str):
    file = plugin / "src" / "labwright_rings" / "plugin.py"
    file.write_text(menu)
    before = files_of(plugin)
    with pytest.raises(LabwrightError) as error:
        new_component("model", "net")
    assert said in str(error.value)
    assert "plugin.py:" in said or 'yield lw.Component("model", "rings/net", "labwright_rings.net:Net"' in str(
        error.value
    )
    assert files_of(plugin) == before


def test_the_command_says_what_it_wrote_and_imports_nothing_heavy(here: Path, command: Callable[..., Any]):
    answer = command("new", "plugin", "rings", "--json", cwd=here)
    assert answer.code == 0, answer.err
    assert "labwright-rings/pyproject.toml" in json.loads(answer.out)
    assert not {"torch", "numpy", "optuna"} & answer.modules
    again = command("new", "plugin", "rings", cwd=here)
    assert again.code == 2
    assert "labwright-rings is there already" in again.err
    assert "did you mean 'model'?" in command("new", "modle", "net", cwd=here).err
