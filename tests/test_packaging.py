"""What is handed out: each wheel and each sdist has the licence, its metadata, and dependencies that hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from labwright_testing.new import new_plugin
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "core", ROOT / "tasks", *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in FOLDERS}
LICENCE = (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_distribution_says_what_it_is_under_which_licence_and_for_which_pythons(folder: Path):
    project = PROJECTS[folder]
    assert (folder / "LICENSE").read_text() == LICENCE
    assert (folder / project["readme"]).read_text().startswith(f"# {project['name']}")
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert project["authors"] == PROJECTS[ROOT / "core"]["authors"]
    said = set(project["classifiers"])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= said
    assert any(one.startswith("Topic :: ") for one in said)
    assert not any(one.startswith("License :: ") for one in said)  # PEP 639: the expression says it
    assert project["requires-python"] == PROJECTS[ROOT / "core"]["requires-python"] == ">=3.11.5,<3.14"


def test_every_dependency_has_a_lower_bound():
    for project in PROJECTS.values():
        extras = project.get("optional-dependencies", {}).values()
        lines = [line for lines in (project["dependencies"], *extras) for line in lines]
        bare = [one for one in map(Requirement, lines) if ">=" not in str(one.specifier)]
        assert not bare, (project["name"], bare)


def asked(project: dict[str, Any]) -> dict[str, str]:
    """What a distribution depends on, extras apart, with the versions it asks for."""
    return {one.name: str(one.specifier) for one in map(Requirement, project["dependencies"])}


@pytest.mark.parametrize(("folder", "names"), [("core", {"torch"}), ("plugins/study", {"torch", "optuna"})])
def test_what_is_used_of_torch_and_optuna_beside_their_public_api_has_an_upper_bound(folder: str, names: set[str]):
    versions = asked(PROJECTS[ROOT / folder])
    for name in names:
        assert "<" in versions[name], f"{folder}/pyproject.toml: {name}{versions[name]}"


def test_the_core_asks_for_little_and_says_what_each_package_is_for():
    little = {"jinja2", "markupsafe", "matplotlib", "numpy", "packaging", "pluggy", "pydantic", "rich", "safetensors"}
    little |= {"tomli-w", "torch", "typer"}
    assert asked(PROJECTS[ROOT / "core"]).keys() == little
    readme = (ROOT / "core" / "README.md").read_text()
    assert [name for name in little if f"| {name} |" not in readme] == []


def test_the_extras_of_the_core_bring_distributions_of_this_version():
    extras = PROJECTS[ROOT / "core"]["optional-dependencies"]
    assert extras.keys() == {
        "all",
        "cluster",
        "export",
        "instruments",
        "mlflow",
        "privacy",
        "sharded",
        "study",
        "tasks",
        "tensorboard",
        "testing",
        "wandb",
    }
    plugins = {project["name"] for folder, project in PROJECTS.items() if folder.parent.name == "plugins"}
    assert {Requirement(line).name for line in extras["all"]} == plugins
    for line in (line for extra in extras.values() for line in extra):
        assert PROJECTS[ROOT / "core"]["version"] in Requirement(line).specifier, line


def test_a_new_plugin_brings_a_licence_and_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    new_plugin("proteins")
    project = tomllib.loads(Path("labwright-proteins/pyproject.toml").read_text())["project"]
    assert Path("labwright-proteins/LICENSE").read_text() == LICENCE
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert project["authors"] and project["classifiers"]


@pytest.mark.long
def test_wheels_and_source_distributions_hold_the_licence_the_readme_and_the_metadata(tmp_path: Path):
    own = ROOT / ".uv" / "bin" / "uv"
    uv = str(own) if own.is_file() else shutil.which("uv")
    if uv is None:
        pytest.skip("uv isn't there to build with; `make setup` brings it")
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    command = [uv, "build", "--quiet", "--all-packages", "--out-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    for folder, project in PROJECTS.items():
        stem = f"{project['name'].replace('-', '_')}-{project['version']}"
        with ZipFile(tmp_path / f"{stem}-py3-none-any.whl") as wheel:
            assert wheel.read(f"{stem}.dist-info/licenses/LICENSE").decode() == LICENCE
            metadata = message_from_string(wheel.read(f"{stem}.dist-info/METADATA").decode())
            package = project["name"].replace("-", "_")
            assert f"{package}/py.typed" in wheel.namelist()
        assert_metadata(metadata, project, (folder / "README.md").read_text())
        with tarfile.open(tmp_path / f"{stem}.tar.gz") as source:
            licence = source.extractfile(f"{stem}/LICENSE")
            assert licence is not None and licence.read().decode() == LICENCE


def assert_metadata(metadata: Message, project: dict[str, Any], readme: str) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"] == "The labwright developers"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).strip() == readme.strip()
    assert sorted(metadata.get_all("Classifier") or ()) == sorted(project["classifiers"])
