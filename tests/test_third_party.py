"""A stranger's plugin, from wheels, in an environment of its own, where nothing else of ours is but core and tasks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
STRIPES = ROOT / "tests" / "third_party" / "labwright-stripes"
SURVEY = ROOT / "tests" / "third_party" / "labwright-survey"
MADE = {  # distributions that can't be used, and why they say so
    "broken": ("labwright>=0.2,<0.3", "import no_such_library"),
    "tomorrow": ("labwright>=0.3,<0.4", ""),
    "yesterday": ("labwright>=0.1,<0.2", ""),
}
PROJECT = """\
[project]
name = "labwright-{name}"
version = "1.0"
dependencies = ["{requires}"]

[project.entry-points.labwright]
{name} = "labwright_{name}.plugin"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Labwright = Callable[..., Answer]


@dataclass(frozen=True)
class Environment:
    """A folder with an environment in it, `venv`, in which labwright and labwright-tasks are installed from wheels."""

    uv: str
    folder: Path

    def run(self, *command: str | Path, cwd: Path | None = None) -> Answer:
        """A command in the folder; a name that the environment has a program of is that program."""
        first, *rest = command
        own = self.folder / "venv" / "bin" / first
        out = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")  # compiled once, not by each command
        environment = {key: value for key, value in os.environ.items() if key not in out}
        environment |= {"UV_PYTHON_DOWNLOADS": "never", "OMP_NUM_THREADS": "1"}
        words = [own if own.exists() else first, *rest]
        done = subprocess.run(
            words, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, timeout=1800
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def do(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a command that ends well says on stdout."""
        answer = self.run(*command, cwd=cwd)
        assert answer.code == 0, f"{' '.join(map(str, command))}\n{answer.out}\n{answer.err}"
        return answer.out

    def install(self, *what: str | Path) -> None:
        python = self.folder / "venv" / "bin" / "python"
        constraints = ROOT / "constraints.txt"
        self.do(self.uv, "pip", "install", "--quiet", "--python", python, "--constraint", constraints, *what)


def tool() -> str:
    own = ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        pytest.skip("uv isn't there to build wheels and make an environment; `make setup` brings it")
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with labwright, its tasks and kit, labwright-stripes, labwright-survey and those of MADE."""
    here = Environment(tool(), tmp_path_factory.mktemp("third-party"))
    for name, (requires, source) in MADE.items():
        package = here.folder / name / "src" / f"labwright_{name}"
        package.mkdir(parents=True)
        (here.folder / name / "pyproject.toml").write_text(PROJECT.format(name=name, requires=requires))
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(source)
    ours = (ROOT / "core", ROOT / "tasks", ROOT / "plugins" / "testing")
    for source_tree in (*ours, STRIPES, SURVEY, *(here.folder / name for name in MADE)):
        here.do(here.uv, "build", "--quiet", "--wheel", source_tree, "--out-dir", here.folder / "wheels")
    wheels = sorted((here.folder / "wheels").glob("*.whl"))
    assert len(wheels) == 5 + len(MADE)
    here.do(here.uv, "venv", "--quiet", "--python", sys.executable, here.folder / "venv")
    unusable = [wheel for wheel in wheels if wheel.name.split("-")[0].removeprefix("labwright_") in MADE]
    here.install(*(wheel for wheel in wheels if wheel not in unusable))
    here.install("--no-deps", *unusable)  # as a person may who upgrades one of several
    yield here
    shutil.rmtree(here.folder / "venv")  # gigabytes, where uv's cache lies on another disk


@pytest.fixture(scope="module")
def labwright(environment: Environment) -> Labwright:
    """The command line of the environment."""
    return lambda *arguments: environment.run("labwright", *arguments)


def test_what_is_installed_is_listed_without_a_first_party_plugin(labwright: Labwright):
    answer = labwright("list", "--json")
    assert answer.code == 0, answer.err
    brought = {(row["kind"], row["name"]): row["plugin"] for row in json.loads(answer.out)}
    assert brought["recipe", "stripes/four-ways"] == "stripes"
    assert brought["data", "stripes/four-ways"] == "stripes"
    assert brought["model", "stripes/edges"] == "stripes"
    assert brought["task", "classification"] == "tasks"
    assert brought["optimizer", "adamw"] == "builtin"
    assert set(brought.values()) == {"stripes", "survey", "tasks", "builtin"}


def test_plugins_that_cannot_be_used_are_set_aside_with_their_reasons(labwright: Labwright):
    answer = labwright("plugins", "--json")
    assert answer.code == 0, answer.err
    found = {row["name"]: (row["state"], row["reason"]) for row in json.loads(answer.out)}
    assert found["stripes"] == found["tasks"] == found["builtin"] == ("loaded", "")
    assert found["broken"] == (
        "quarantined",
        "labwright_broken.plugin failed to import: ModuleNotFoundError: No module named 'no_such_library'",
    )
    assert found["tomorrow"] == ("quarantined", "labwright-tomorrow needs labwright>=0.3,<0.4; this is labwright 0.2.0")
    said = "labwright-yesterday needs labwright>=0.1,<0.2; this is labwright 0.2.0"
    hint = "docs/how-to/core-versions.md says what to change"
    assert found["yesterday"] == ("quarantined", f"{said}; {hint}")


def test_its_recipe_runs_beside_them_and_learns(labwright: Labwright):
    answer = labwright("run", "stripes/four-ways", "--folder", "run", "--json", "log=[]")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["metrics"]["test"]["accuracy"] > 0.9  # by chance 0.25


def test_a_misspelt_name_tells_of_the_plugins_that_did_not_load(labwright: Labwright):
    answer = labwright("run", "stripes/for-ways")
    assert answer.code == 2
    assert "no recipe is called 'stripes/for-ways'; did you mean 'stripes/four-ways'?" in answer.err
    assert "3 plugins did not load and may offer it: broken (" in answer.err


def test_its_recipe_is_valid_by_the_schema_made_there(labwright: Labwright):

    answer = labwright("schema")
    assert answer.code == 0, answer.err
    schema = json.loads(answer.out)
    recipe = tomllib.loads((STRIPES / "src/labwright_stripes/recipes/four-ways.toml").read_text(encoding="utf-8"))
    assert Draft202012Validator(schema).is_valid(recipe)
    assert not Draft202012Validator(schema).is_valid(recipe | {"model": {"name": "stripes/edges", "fliters": 16}})


def test_a_verb_a_kind_and_a_section_of_a_stranger_work_like_ones_own(labwright: Labwright, environment: Environment):
    assert "a statistic of a recipe's targets (survey)" in labwright("--help").out
    listed = labwright("list", "statistics", "--json")
    assert [row["name"] for row in json.loads(listed.out)] == ["survey/middle", "survey/spread"]
    answer = labwright("survey", "survey/plane", "--by", "survey/spread", "--json")
    assert answer.code == 0, answer.err
    assert set(json.loads(answer.out)["parts"]) == {"train", "valid", "test"}
    assert labwright("run", "survey/plane", "--folder", "plane", "log=['report']").code == 0
    page = (environment.folder / "plane" / "report.html").read_text(encoding="utf-8")
    assert "Errors surveyed" in page and "Spread" in page
    assert "nothing found" in labwright("check", "--quick", "survey").out
    everything = labwright("check", "survey")
    assert everything.code == 0, everything.out


def test_without_them_the_verb_the_kind_and_what_is_of_it_are_gone(labwright: Labwright):
    answer = labwright("--no-plugin", "survey", "survey", "survey/plane")
    assert answer.code == 2
    assert "no verb is called 'survey'" in answer.err and "survey (blocked by --no-plugin)" in answer.err
    assert "There are " in labwright("--no-plugin", "survey", "list", "statistics").err


def test_with_one_module_broken_the_plugin_is_set_aside_and_the_others_work(
    labwright: Labwright, environment: Environment
):
    (menu,) = (environment.folder / "venv").glob("lib/*/site-packages/labwright_survey/plugin.py")
    whole = menu.read_text(encoding="utf-8")
    for source, reason in (
        (whole + "\nimport no_such_library\n", "No module named 'no_such_library'"),
        (
            whole.replace('lw.Kind("statistic"', 'lw.Kind("model"'),
            "kind 'model' is brought by builtin (labwright 0.2.0)",
        ),
        (
            whole.replace('Component("statistic"', 'Component("statistics"'),
            "no kind is called 'statistics'; did you mean",
        ),
    ):
        menu.unlink()  # a link into the cache of whoever installed it
        menu.write_text(source, encoding="utf-8")
        try:
            found = {row["name"]: row for row in json.loads(labwright("plugins", "--json").out)}
            assert found["survey"]["state"] == "quarantined" and reason in found["survey"]["reason"]
            assert "no verb is called 'survey'" in labwright("survey", "survey/plane").err
            assert labwright("show", "stripes/four-ways").code == 0
        finally:
            menu.write_text(whole, encoding="utf-8")


def test_what_needs_a_distribution_that_is_not_there_says_which(labwright: Labwright):
    answer = labwright("tune", "stripes/four-ways")
    assert answer.code == 2
    assert "`tune` comes with labwright-study: pip install labwright[study]" in answer.err


@pytest.fixture
def gone_after(environment: Environment) -> Iterator[None]:
    """Other tests of this environment say what is installed in it."""
    yield
    python = environment.folder / "venv" / "bin" / "python"
    environment.do(environment.uv, "pip", "uninstall", "--quiet", "--python", python, "labwright-geometry")


@pytest.mark.usefixtures("gone_after")
def test_a_new_plugin_runs_passes_its_tests_and_works_from_its_wheel(environment: Environment):
    """As the tutorial has it, with a component of each kind added."""
    environment.do("labwright", "new", "plugin", "geometry")
    folder = environment.folder / "labwright-geometry"
    for kind in ("model", "task", "loss", "optimizer", "device", "data", "verb"):
        environment.do("labwright", "new", kind, f"my-{kind}", cwd=folder)
    environment.install("--editable", f"{folder}[test]")
    assert "passed" in environment.do("pytest", "--quiet", cwd=folder)
    assert "nothing found" in environment.do("labwright", "check", "--quick", "geometry")
    environment.do(environment.uv, "build", "--quiet", "--wheel", folder, "--out-dir", folder / "dist")
    shutil.rmtree(folder / "src")  # what follows can only come from the wheel
    environment.install("--no-deps", "--reinstall", *folder.glob("dist/*.whl"))
    said = environment.do("labwright", "run", "geometry/spirals", "--json", "log=[]")
    assert json.loads(said)["metrics"]["test"]["accuracy"] > 0.95
    mine = (
        "model=geometry/my-model",
        "loss=geometry/my-loss",
        "optimizer=geometry/my-optimizer",
        "device=geometry/my-device",
    )
    said = environment.do("labwright", "run", "geometry/my-task", *mine, "--json", "log=[]")
    assert json.loads(said)["metrics"]["test"]["accuracy"] > 0.5  # by chance 0.33
    said = environment.do("labwright", "my-verb", "geometry/spirals", "--json")
    assert json.loads(said)["layers.2.weight"] == 64 * 64
