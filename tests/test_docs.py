"""What the documentation shows is what happens: its commands and code run, recipes are read, links lead somewhere.

A page's blocks run in order, in a folder of the page's own:

- `python`: executed, all in one namespace; an `output` block right after it is what it prints.
- `console`: each line after `$ ` is run by bash, and what stands below it is what it says, on stdout and stderr. Below
  a line `^C` stands what comes after Ctrl-C. Set-up commands (git, make, pip) are not run; that make targets exist is
  tested.
- `cd` into a folder that is there is done, as a person would; a clone that isn't there is none.
- `toml` with a task and a model: a whole recipe, which must be valid. Any other is read as TOML.
- `toml` or `python` that begins with a comment of the file it is, `# NAME.toml`, is put there for the blocks after it.

In what is shown, `...` stands for anything, durations and speeds may be any, and a number with decimals need only be
near: its last digits differ from processor to processor.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import labwright as lw
import labwright_export
import labwright_testing
import pytest
import torch
from labwright.cli import main
from labwright.config.recipe import TABLES
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment
from labwright_testing.new import TEMPLATES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CORE = ROOT / "core" / "src" / "labwright"
WRITTEN = sorted(DOCS.rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "core" / "README.md", *WRITTEN]
SETTING_UP = ("git ", "make ", "pip ", "python3 -m venv ", "source ")
LANGUAGES = ("python", "output", "console", "toml", "json", "text", "ini")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line it begins on."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    found = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if fence := re.match(r"( *)```(\w*)", line):
            inside = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                inside.append(inner.removeprefix(fence[1]))
            found.append(Block(fence[2], "\n".join(inside) + "\n", number))
    return found


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --------------------------------------------------------------------------------------------------- what is compared

_LOOSE = re.compile(
    r"\.\.\.|\d+ min \d\d s|\d[\d.,]* s\b|\d[\d.,]* steps/s|(?<=accuracy )\d+\b(?!\.\d)|\d+\.\d+(?:e[-+]?\d+)?"
)


def differs(shown: str, said: str) -> str:
    """How what a page shows differs from what was said, or nothing."""
    pattern, numbers, end = "", [], 0
    for loose in _LOOSE.finditer(shown):
        pattern += re.escape(shown[end : loose.start()])
        end = loose.end()
        if loose[0] == "...":
            pattern += ".*?"
        elif loose[0].endswith("s"):
            pattern += r"(?:\d+ h \d\d min|\d+ min \d\d s|[\d.,]+ s|[\d.,]+ steps/s)"
        else:
            pattern += r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
            numbers.append(float(loose[0]))
    match = re.fullmatch(pattern + re.escape(shown[end:]), said, re.DOTALL)
    if not match:
        return f"the page shows\n{shown}\nbut this was said\n{said}"
    for number, there in zip(numbers, match.groups(), strict=True):
        if not math.isclose(number, float(there), rel_tol=0.1, abs_tol=0.05):
            return f"the page shows {number}, but {there} was said, in\n{said}"
    return ""


def test_shown_output_may_leave_out_what_differs_from_machine_to_machine():
    said = "step 21/42  154.1 steps/s  loss 1.09\nfinished in 12 s\n"
    assert not differs("step 21/42  9 steps/s  loss 1.1\nfinished in 1 min 02 s\n", said)
    assert not differs("step 21/42 ...\nfinished in 3.0 s\n", said)
    assert differs("step 20/42 ...\nfinished in 3.0 s\n", said)
    assert differs("step 21/42  9 steps/s  loss 1.5\nfinished in 3.0 s\n", said)


# ------------------------------------------------------------------------------------------------------- what is run


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = command[:-1] + more.removeprefix("> ")
        yield command, shown


def said_by(command: str, shown: str, here: bool) -> tuple[str, int]:
    """What a command says, stdout and stderr as they come, and its exit code.

    A plain `labwright ...` runs in this process, if it may: starting Python and importing torch would be most of its
    time.
    """
    first, *rest = words = shlex.split(command)
    if here and first == "labwright" and not {"|", ">", "<", "&&"} & set(words):
        before, interrupted, _ = shown.partition("^C\n")
        return said_here(rest, before.count("\n") if interrupted else None)
    assert "^C\n" not in shown, command
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout, done.returncode


class Said(io.StringIO):
    """What is said; Ctrl-C is pressed when it has so many lines, however long whoever says it would go on."""

    def __init__(self, interrupted_after: int | None) -> None:
        super().__init__()
        self.left = interrupted_after

    def write(self, text: str) -> int:
        length = super().write(text)
        if self.left is not None:
            self.left -= text.count("\n")
            if self.left <= 0:
                self.left = None
                super().write("^C\n")
                signal.raise_signal(signal.SIGINT)
        return length


def said_here(words: list[str], interrupted_after: int | None = None) -> tuple[str, int]:
    said = Said(interrupted_after)
    forget_the_plugin()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", ["labwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return said.getvalue(), int(ended.value.code or 0)


def run_console(block: Block, page: Path) -> None:
    for command, shown in commands(block.text):
        first, _, rest = command.partition(" ")
        if first == "cd" and Path(rest).is_dir():
            os.chdir(rest)
        if command == "pip install -e '.[test]'":
            install_editable()
        if command.startswith((*SETTING_UP, "cd ")):
            continue
        said, code = said_by(command, shown, here=label(page) not in APART)
        place = f"{label(page)}, line {block.line}: $ {command}\n"
        expected = 130 if "^C\n" in shown else 2 if re.search("^error: ", shown, re.MULTILINE) else 0
        expected = 1 if re.search(r"^\d+ failed, ", shown, re.MULTILINE) else expected  # pytest's last line
        assert code == expected, f"{place}ended with exit code {code}:\n{said}"
        fault = differs(shown, said) if shown else ""
        assert not fault, place + fault


def run_python(block: Block, page: Path, namespace: dict[str, object]) -> str:
    printed = io.StringIO()
    padded = "\n" * block.line + block.text  # so that a traceback has the page's line numbers
    with contextlib.redirect_stdout(printed):
        exec(compile(padded, label(page), "exec"), namespace)
    return printed.getvalue()


def run_page(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        named = re.match(r"# ([\w./-]+\.(?:py|toml))\n", block.text)
        if named and block.language in ("python", "toml"):
            Path(named[1]).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            printed = run_python(block, page, namespace)
        elif block.language == "output":
            fault = differs(block.text, printed)
            assert not fault, f"{label(page)}, line {block.line}: {fault}"
        elif block.language == "console":
            run_console(block, page)


def a_plugin_for_a_later_core(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution, as pip would have left it, that asks for a labwright there isn't yet."""
    there = folder / "elsewhere"
    info = there / "labwright_proteins-0.3.0.dist-info"
    info.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: labwright-proteins\nVersion: 0.3.0\nRequires-Dist: labwright>=0.3,<0.4\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text("[labwright]\nproteins = labwright_proteins.plugin\n")
    monkeypatch.syspath_prepend(there)
    monkeypatch.setenv("PYTHONPATH", str(there), prepend=os.pathsep)


def room_for_a_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = (folder / "elsewhere", folder / "labwright-geometry" / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)), prepend=os.pathsep)
    for path in paths:
        monkeypatch.syspath_prepend(path)


def forget_the_plugin() -> None:
    """The next command reads labwright-geometry anew, as a process of its own would: a page may have changed it."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "labwright_geometry"]:
        del sys.modules[module]
    importlib.invalidate_caches()


def install_editable() -> None:
    """What `pip install -e` leaves of labwright-geometry, in its folder."""
    info = Path.cwd().parent / "elsewhere" / "labwright_geometry-0.1.0.dist-info"
    info.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: labwright-geometry\nVersion: 0.1.0\nRequires-Dist: labwright>=0.2,<0.3\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text("[labwright]\ngeometry = labwright_geometry.plugin\n")


FIRST_PLUGIN = "docs/tutorial/first-plugin.md"
SEVERAL = "docs/how-to/several-processes.md"
APART = (SEVERAL,)  # pages whose commands are processes, which write for themselves
PREPARED = {"docs/how-to/install-plugins.md": a_plugin_for_a_later_core, FIRST_PLUGIN: room_for_a_plugin}
TOGETHER = [page for page in PAGES if any(one.language in ("python", "console") for one in blocks(page))]


# pages whose commands take more than five seconds, and more than a minute
LONG = (
    FIRST_PLUGIN,
    *(
        f"docs/how-to/{name}.md"
        for name in (
            *("adapt-with-lora", "answer-questions", "bigger-than-memory", "compare", "cross-validate", "detection"),
            *("draw-pictures", "generate-text", "instances", "learn-without-labels", "local-parts", "own-images"),
            "look-before-training",
            *("own-ratings", "own-recordings", "own-tables", "own-texts", "predict", "pretrain-text"),
            *("private-training", "resume", "segmentation", "several-tasks", "track-runs", "translate"),
            "tune-on-instructions",
            "vary-a-recipe",
        )
    ),
)
LONGEST = (SEVERAL, "docs/how-to/reinforcement-learning.md")


def marked(page: Path) -> Any:
    """A page as a parameter: where Ctrl-C is pressed, its moment must not matter."""
    interrupts = any("^C\n" in block.text for block in blocks(page))
    marks = [pytest.mark.timing] if interrupts else []
    marks += [pytest.mark.long] if label(page) in LONG else [pytest.mark.release] if label(page) in LONGEST else []
    return pytest.param(page, id=label(page), marks=marks)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the processes the pages start, so that a run may go on here that began there, and the other way round."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("page", [marked(page) for page in TOGETHER])
@pytest.mark.usefixtures("one_thread")
def test_the_code_of_a_page_does_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if label(page) in PREPARED:
        PREPARED[label(page)](tmp_path, monkeypatch)
    run_page(page)
    forget_the_plugin()


def test_the_tutorial_shows_the_files_that_are_written():
    shown = {}
    for block in blocks(ROOT / FIRST_PLUGIN):
        if named := re.match(r"# ([\w./-]+)\n", block.text):
            shown[named[1]] = block.text.partition("\n")[2]
    package = ("plugin.py", "models.py", "data.py", "recipes/spirals.toml")
    for name in ("pyproject.toml", *(f"src/labwright_geometry/{one}" for one in package)):
        assert shown[name] == (TEMPLATES / "plugin" / name).read_text(encoding="utf-8"), name


# -------------------------------------------------------------------------------------------- what is read and followed


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{label(page)}, line {block.line}: ```{block.language}"


def test_recipes_on_the_pages_are_valid():
    plugins = Plugins.discover()
    whole = 0
    for page in PAGES:
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)
            elif block.language == "toml":
                table = tomllib.loads(block.text)
                of_a_plugin = block.text.startswith("# src/")  # one that the page makes, and runs
                if "task" in table and "model" in table and not of_a_plugin:
                    Experiment.from_table(table, plugins=plugins)
                    whole += 1
    assert whole >= 2


@cache
def generator() -> Any:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def generated() -> dict[str, str]:
    """The pages that are made when the site is built, by their place below docs/."""
    pages: dict[str, str] = generator().pages(Plugins.discover())
    return pages


def test_the_figures_of_pages_are_drawn_as_things_are():
    for file in generator().DRAWN:
        page = file.read_text(encoding="utf-8")
        assert page == generator().drawn(page), f"{file.name}: `python docs/generate.py` draws it anew"


def test_the_files_that_the_architecture_names_exist():
    page = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]\w*/[\w./-]+\.\w+)`", page)) - {"cli/NAME.py"}
    assert len(named) > 30
    assert [name for name in sorted(named) if not any((root / name).is_file() for root in (ROOT, CORE))] == []


@pytest.mark.slow
def test_links_lead_to_files_that_exist():
    made = {DOCS / uri for uri in (*generated(), *generator().pictures())}
    for page in PAGES:
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if target.startswith(("https://", "#")):
                continue
            file = Path(os.path.normpath(page.parent / target.partition("#")[0]))
            assert file in made or file.exists(), f"{label(page)} links to {target}"


@pytest.mark.long
@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    built = subprocess.run(
        [BIN / "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link\b(?=[^>]*rel=\"?(?:stylesheet|preconnect|icon))[^>]*\bhref=\"?([^\s\">]+)", text)
        assert loaded
        assert not [one for one in loaded if "//" in one], f"{page.name} loads from elsewhere"


# ------------------------------------------------------------------------------------------ pages that must be complete


def test_every_verb_that_is_named_exists():
    installed = set(Plugins.discover().names("verb"))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        verbs = installed | set(re.findall(r"lw\.Verb\(\s*\"([a-z-]+)\"", text))  # which a page shows how to add
        named = re.findall(r"(?:`|^\$ (?:\w+=\S+ )?)labwright (?:--no-plugin \S+ )?([a-z][a-z-]*)", text, re.MULTILINE)
        assert set(named) <= verbs, label(page)


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= targets


def test_what_verbs_write_into_the_working_folder_is_no_change_of_a_clone():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/runs/", "studies/", "comparisons/"} <= set(ignored)  # the core has a room called runs


def test_the_readme_fits_on_a_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 90


def test_the_recipe_page_explains_every_table():
    text = (DOCS / "reference" / "recipe.md").read_text(encoding="utf-8")
    assert [table for table in TABLES if f"`{table}`" not in text] == []


PYTHON = ("interfaces", "ports", "python")  # the pages of public names
PACKAGES = {"lw": lw, "labwright_testing": labwright_testing, "labwright_export": labwright_export}
PUBLIC = [f"{package}.{name}" for package, module in PACKAGES.items() for name in module.__all__]


def sections_of_names() -> dict[str, str]:
    """What the reference says of each public name, by the name."""
    text = "".join(generated()[f"reference/{page}.md"] for page in PYTHON)
    parts = re.split(rf"^#{{2,3}} ({'|'.join(PUBLIC)})$", text, flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2])), "a name has two sections"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_public_name_has_its_section():
    assert sections_of_names().keys() == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_in_python(name):
    example = re.search(r"Example: `(.+?)`(?:\n|$)", sections_of_names()[name], re.DOTALL)
    assert example, f"the docstring of {name} needs an `Example: `"
    compile(example[1], name, "exec")


@pytest.mark.parametrize("name", lw.ranks.__all__)
def test_every_function_of_ranks_has_an_example_in_python(name):
    section = sections_of_names()["lw.ranks"].partition(f"#### `ranks.{name}`")[2].partition("####")[0]
    example = re.search(r"Example: `(.+?)`(?:\n|$)", section, re.DOTALL)
    assert example, f"the docstring of lw.ranks.{name} needs an `Example: `"
    compile(example[1], name, "exec")


@pytest.mark.slow
def test_every_component_and_every_verb_has_its_section():
    made = generated()
    plugins = Plugins.discover()
    for plugin in plugins.loaded:
        for component in plugin.components:
            page = made[f"reference/components/{plugins.heading(component.kind)}.md"]
            assert f"\n## {component.name}\n" in page
    for verb in plugins.names("verb"):
        assert f"\n## {verb}\n" in made["reference/verbs.md"]
