"""How the house is built: arrows of imports point one way, and files and functions stay short enough to read.

Every import counts: of a module, in a function, under TYPE_CHECKING, and by `import_module` of a literal.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import labwright
import pytest

ROOT = Path(__file__).parents[1]
FILES = [*ROOT.glob("*/pyproject.toml"), *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
DISTRIBUTIONS = {file.parent: tomllib.loads(file.read_text())["project"] for file in FILES}
PACKAGES = {project["name"].replace("-", "_"): folder for folder, project in DISTRIBUTIONS.items()}
BASE = {"labwright", "labwright_tasks"}
MAY_IMPORT = {"labwright": {"labwright"}, "labwright_tasks": BASE}

# From the ground up. `labwright` itself and `labwright.engine` stand above them all: they gather what others use.
ROOMS = ("base", "data", "interfaces", "plugin", "config", "train", "runs", "report", "builtin", "cli")
STABILITY = ROOT / "docs" / "reference" / "stability.md"
PUBLIC_MODULES = set(re.findall(r"^\| `(labwright[\w.]*)` \|", STABILITY.read_text(encoding="utf-8"), re.MULTILINE))

# Where the kit was in 0.1; it forwards, with a warning, in all of 0.2 and is gone in 0.3.
FORWARDING = ROOT / "core" / "src" / "labwright" / "testing.py"

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 60
MOST_CODE_OF_THE_CORE = 8_300  # lines, with the mechanisms and ranks
MOST_NAMES_OF_THE_ENGINE = 25


def allowed(package: str) -> set[str]:
    return MAY_IMPORT.get(package, BASE | {package})


def sources(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / "src").rglob("*.py"))


def code_of(package: str) -> list[Path]:
    """The files without templates, which are copied and not imported, and without what forwards elsewhere."""
    return [file for file in sources(package) if "templates" not in file.parts and file != FORWARDING]


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


# -------------------------------------------------------------------------------------------------------- the arrows


@dataclass(frozen=True)
class Arrow:
    """An import: what it is of, the name that is taken from there, and where it stands."""

    module: str
    name: str | None
    place: str


def imports(file: Path) -> Iterator[Arrow]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (Arrow(alias.name, None, place(file, node.lineno)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(file, node.lineno)}: a relative import; write the whole name"
            yield from (Arrow(str(node.module), alias.name, place(file, node.lineno)) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            literals = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from (Arrow(str(module), None, place(file, node.lineno)) for module in literals)


@cache
def modules() -> Mapping[str, Path]:
    """Every module of every distribution, with its file."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in code_of(package):
            parts = file.relative_to(folder / "src").with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


@cache
def arrows() -> Mapping[str, Mapping[str, str]]:
    """For each module the modules of ours it imports, with the place of the first such import."""
    found: dict[str, dict[str, str]] = {}
    for module, file in modules().items():
        found[module] = {}
        for arrow in imports(file):
            whole = f"{arrow.module}.{arrow.name}"
            target = whole if whole in modules() else arrow.module
            if target in modules():
                found[module].setdefault(target, arrow.place)
    return found


def reached(start: str) -> set[str]:
    """Every module that an import of this one leads to."""
    found: set[str] = set()
    todo = [start]
    while todo:
        for target in arrows()[todo.pop()]:
            if target not in found:
                found.add(target)
                todo.append(target)
    return found


def test_no_module_is_reached_by_its_own_imports():
    ways = {module: reached(module) for module in modules()}
    left = {module for module in ways if module in ways[module]}
    circles = []
    while left:
        first = min(left)
        circle = {module for module in ways[first] if first in ways[module]}
        left -= circle
        inside = [
            f"  {where}: {module} imports {target}"
            for module in sorted(circle)
            for target, where in arrows()[module].items()
            if target in circle
        ]
        circles.append("\n".join([f"{len(circle)} modules import one another:", *inside]))
    advice = "Move what they share into a module below them, or hand it over as an argument."
    assert not circles, "\n".join([*circles, advice])


# --------------------------------------------------------------------------------------------------------- the rooms


def room_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("labwright.") else ""


@cache
def may_import(room: str) -> set[str]:
    """What the last line of a room's docstring allows it."""
    text = ast.get_docstring(tree(modules()[f"labwright.{room}"])) or ""
    lines = [line for line in text.splitlines() if line]
    assert len(lines) == 3 and lines[2].startswith("May import: "), (
        f"core/src/labwright/{room}/__init__.py: its docstring has three lines: what lives here, what one should know "
        'of it, and "May import: base, data."'
    )
    words = lines[2].removeprefix("May import: ").removesuffix(".")
    return set() if words == "no other room" else set(words.split(", "))


def test_the_core_has_these_rooms():
    found = {file.parent.name for file in (PACKAGES["labwright"] / "src" / "labwright").glob("*/__init__.py")}
    assert found == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_that_it_imports_those_below_it(room):
    below = set(ROOMS[: ROOMS.index(room)])
    assert may_import(room) <= below, f"core/src/labwright/{room}/__init__.py: below it are {sorted(below)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_says(room):
    wrong = [
        f"{where} imports {target}"
        for module in modules()
        if room_of(module) == room
        for target, where in arrows()[module].items()
        if target.startswith("labwright") and room_of(target) not in {room, *may_import(room)}
    ]
    advice = f"{room} may import: {', '.join(sorted(may_import(room))) or 'no other room'}. Move what is needed down, "
    assert not wrong, "\n".join([*wrong, advice + "or take it as an argument."])


# ------------------------------------------------------------------------------------------------- the distributions


def test_the_distributions_are_all_here():
    assert set(PACKAGES) > BASE | {"labwright_export", "labwright_study", "labwright_testing"}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    for file in code_of(package):
        for arrow in imports(file):
            top = arrow.module.partition(".")[0]
            if top.startswith("labwright"):
                assert top in allowed(package), f"{arrow.place} imports {arrow.module}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_distribution_depends_on_what_it_imports_of_labwright_and_on_nothing_above(package):
    project = DISTRIBUTIONS[PACKAGES[package]]
    names = [re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in project["dependencies"]]
    ours = {name for name in names if name.startswith("labwright")}
    uses = {arrow.module.partition(".")[0] for file in code_of(package) for arrow in imports(file)}
    needed = {name for name in uses if name.startswith("labwright")} - {package}
    assert needed <= ours <= allowed(package)  # a recipe may name tasks of a distribution that no code imports


def test_the_core_names_no_distribution_of_a_plugin_but_to_say_what_to_install():
    plugins = {package for package in PACKAGES if package not in MAY_IMPORT}
    words = "|".join(sorted(plugins | {name.replace("_", "-") for name in plugins}))
    for file in code_of("labwright"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            hint = re.search("pip install|comes with", line) or file.name == "registry.py"  # of what isn't there
            named = re.search(rf"\b({words})\b", line)
            assert hint or not named, f"{place(file, number)}: {line.strip()}"


def test_the_modules_that_plugins_are_found_through_import_nothing_but_labwright():
    light = {"__future__", "collections", "importlib", "labwright", "pathlib", "typing"}
    for package, folder in PACKAGES.items():
        targets = DISTRIBUTIONS[folder]["entry-points"].get("labwright", {}).values()
        packages = {package} - {"labwright"} if targets else set()
        for menu in (modules()[module] for module in {*targets, *packages}):
            for node in tree(menu).body:  # not what is under TYPE_CHECKING, or in functions that are called later
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                heavy = [name for name in names if name.partition(".")[0] not in light]
                assert not heavy, f"{place(menu, node.lineno)} imports {heavy[0]} whenever plugins are listed"


# ----------------------------------------------------------------------------------------------- what others may use

OF_THE_ENGINE = {"labwright_study", "labwright_instruments"}
FIRST_PARTY = [package for package in PACKAGES if package != "labwright"]


def public_names(file: Path) -> Iterator[tuple[str, str]]:
    """Each name of `labwright` itself that a file uses, with its place."""
    aliases = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name == "labwright"}
        elif isinstance(node, ast.ImportFrom) and node.module == "labwright":
            yield from ((alias.name, place(file, node.lineno)) for alias in node.names)
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield node.attr, place(file, node.lineno)


def test_stability_names_the_public_modules():
    assert {"labwright", "labwright.cli.shared", "labwright.engine", "labwright_testing"} <= PUBLIC_MODULES


@pytest.mark.parametrize("package", FIRST_PARTY)
def test_first_party_plugins_import_what_anybody_may(package):
    public = PUBLIC_MODULES - ({"labwright.engine"} if package not in OF_THE_ENGINE else set())
    files = code_of(package)
    private = [
        f"{arrow.place} imports {arrow.module}"
        for file in files
        for arrow in imports(file)
        if arrow.module.partition(".")[0] == "labwright" and arrow.module not in public
    ]
    unknown = [
        f"{where} uses labwright.{name}"
        for file in files
        for name, where in public_names(file)
        if name not in labwright.__all__ and f"labwright.{name}" not in public
    ]
    wrong = list(dict.fromkeys(private + unknown))
    advice = "What an author needs is a name of `labwright`; docs/reference/stability.md lists the public modules."
    assert not wrong, "\n".join([*wrong, advice])


def test_the_engine_has_few_names():
    engine = modules().get("labwright.engine")
    assert engine, "core/src/labwright/engine.py: what labwright-study needs beside the public names, and nobody else"
    listed = next(
        node.value
        for node in tree(engine).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    names = ast.literal_eval(listed)
    assert 0 < len(names) <= MOST_NAMES_OF_THE_ENGINE, f"labwright.engine has {len(names)} names"


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("package", PACKAGES)
def test_files_can_be_read_in_one_sitting(package):
    lines = {file: file.read_text(encoding="utf-8").count("\n") for file in sources(package)}
    long = [f"{place(file, 1)} has {count} lines" for file, count in lines.items() if count > MOST_LINES_OF_A_FILE]
    assert not long, "\n".join([*long, f"At most {MOST_LINES_OF_A_FILE}: a file follows one concept."])


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_fit_on_a_screen(package):
    long = [
        f"{place(file, node.lineno)}: {node.name} has {count} lines"
        for file in sources(package)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long, "\n".join([*long, f"At most {MOST_LINES_OF_A_FUNCTION}: a function does one thing."])


def code_lines(text: str) -> int:
    """Lines with code: neither blank, nor comment, nor docstring."""
    spans = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            spans |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - spans)


EXPLAINED = '''"""What."""

def f():
    """What.

    More.
    """
    # why
    return g(  # how
        1)
'''


def test_code_is_counted_without_what_explains_it():
    assert code_lines(EXPLAINED) == 3


def test_the_core_is_small():
    """The stub beside `__init__.py`, which lists the public names and where they are, is no code."""
    rooms: dict[str, int] = {}
    for file in code_of("labwright"):
        rooms[file.parent.name] = rooms.get(file.parent.name, 0) + code_lines(file.read_text(encoding="utf-8"))
    whole = sum(rooms.values())
    by_room = ", ".join(f"{room} {count:,}" for room, count in rooms.items())
    assert whole <= MOST_CODE_OF_THE_CORE, (
        f"{whole:,} lines of code, {MOST_CODE_OF_THE_CORE:,} at most ({by_room}). "
        "What can be a plugin is no part of the core."
    )
