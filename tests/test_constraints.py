"""What we promise to be tested with: constraints.txt, the workspace's own copy of it, and what is installed."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
CONSTRAINTS = [line for line in LINES if line and not line.startswith("#")]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_workspace_has_the_constraints_of_the_file():
    assert WORKSPACE["tool"]["uv"]["constraint-dependencies"] == CONSTRAINTS


def test_constraints_are_sorted_exact_and_name_each_package_once():
    found = [Requirement(line) for line in CONSTRAINTS]
    names = [one.name for one in found]
    assert names == sorted(set(names))
    for one in found:
        (clause,) = one.specifier
        assert clause.operator == "=="


def test_what_is_installed_is_what_the_constraints_say():
    assert {one.name: metadata.version(one.name).partition("+")[0] for one in map(Requirement, CONSTRAINTS)} == {
        one.name: str(one.specifier).removeprefix("==") for one in map(Requirement, CONSTRAINTS)
    }


def test_every_direct_dependency_is_constrained():
    direct = {Requirement(line).name for line in WORKSPACE["dependency-groups"]["dev"]}
    for file in (ROOT / "core", ROOT / "tasks", *(ROOT / "plugins").iterdir()):
        project = tomllib.loads((file / "pyproject.toml").read_text())["project"]
        for lines in (project["dependencies"], *project.get("optional-dependencies", {}).values()):
            direct |= {Requirement(line).name for line in lines}
    ours = {name for name in direct if name.startswith("labwright")}
    assert direct - ours == {Requirement(line).name for line in CONSTRAINTS}
