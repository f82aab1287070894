"""Imports point one way: plugins -> tasks -> core; and core names no distribution of a plugin."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {file.parent: tomllib.loads(file.read_text()) for file in sorted(ROOT.glob("*/pyproject.toml"))}
DISTRIBUTIONS |= {
    file.parent: tomllib.loads(file.read_text()) for file in sorted(ROOT.glob("plugins/*/pyproject.toml"))
}
PACKAGES = {next((folder / "src").iterdir()).name: folder for folder in DISTRIBUTIONS}
BASE = {"labwright", "labwright_tasks"}
MAY_IMPORT = {"labwright": {"labwright"}, "labwright_tasks": BASE}


def allowed(package: str) -> set[str]:
    return MAY_IMPORT.get(package, BASE | {package})


def sources(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / "src").rglob("*.py"))


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Every module a file imports, wherever in it, with the line; also by `import_module` of a literal."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import"
            yield node.lineno, str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((node.lineno, str(one.value)) for one in node.args[:1] if isinstance(one, ast.Constant))


def test_the_layers_are_all_here():
    assert set(PACKAGES) > BASE
    assert any(folder.parent.name == "plugins" for folder in PACKAGES.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    for file in sources(package):
        for line, module in imported(file):
            top = module.partition(".")[0]
            if top.startswith("labwright"):
                assert top in allowed(package), f"{file.relative_to(ROOT)}:{line} imports {module}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_distribution_depends_on_what_it_imports_of_labwright_and_on_nothing_above(package):
    project = DISTRIBUTIONS[PACKAGES[package]]["project"]
    names = [re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in project["dependencies"]]
    ours = {name for name in names if name.startswith("labwright")}
    uses = {module.partition(".")[0] for file in sources(package) for _, module in imported(file)}
    needed = {name for name in uses if name.startswith("labwright")} - {package}
    assert needed <= ours <= allowed(package)  # a recipe may name tasks of a distribution that no code imports


def test_the_core_names_no_distribution_of_a_plugin():
    plugins = {package for package in PACKAGES if package not in MAY_IMPORT}
    words = "|".join(sorted(plugins | {name.replace("_", "-") for name in plugins}))
    for file in sources("labwright"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert not re.search(rf"\b({words})\b", line), f"{file.relative_to(ROOT)}:{number}: {line.strip()}"


def test_the_modules_that_plugins_are_found_through_import_nothing_but_labwright():
    standard = {"__future__", "collections", "pathlib", "typing"}
    for package, folder in PACKAGES.items():
        for target in DISTRIBUTIONS[folder]["project"]["entry-points"]["labwright"].values():
            module = folder / "src" / Path(*target.split("."))
            file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            for menu in {file, folder / "src" / package / "__init__.py"} - {
                folder / "src" / "labwright" / "__init__.py"
            }:
                tops = {name.partition(".")[0] for _, name in imported(menu)}
                assert tops <= standard | {"labwright"}, menu


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_longer_than_600_lines(package):
    long = {file.name: file.read_text(encoding="utf-8").count("\n") for file in sources(package)}
    assert {name: lines for name, lines in long.items() if lines > 600} == {}
