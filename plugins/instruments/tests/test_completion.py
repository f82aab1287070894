"""Completion: in the shells themselves, on a terminal; what it says against the components; and what it costs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import labwright as lw
import pyte
import pytest
from labwright_instruments.completion.__main__ import split
from labwright_instruments.completion.candidates import GLOBAL, candidates
from labwright_instruments.completion.menu import Menu
from labwright_instruments.completion.sources import about, settings
from waiting import until

OWN = """\
import labwright as lw
from typing import Annotated
from pydantic import Field
from torch import nn

@lw.hookimpl
def labwright_components():
    yield lw.Component("model", "own/net", "extra:Net", "of my own")


class Net(nn.Module):
    \'\'\'A net.

    Args:
        width: of each layer.
    \'\'\'

    def __init__(self, inputs: lw.Image, outputs: lw.Classes, *, width: Annotated[int, Field(ge=1)] = 8) -> None: ...


raise SystemExit("to complete a word runs no code")
"""
PATIENCE = 60.0  # seconds, for what is only waited for


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own, and in it the menu."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        Menu.kept()
        yield folder


@pytest.fixture(scope="module")
def plugins() -> lw.Plugins:
    return lw.Plugins.discover()


@pytest.fixture
def here(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run, another folder, a study, a recipe and a plugin's file."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "digits-001"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text('model = "vision/mlp"\n')
    told = {"status": "finished", "metrics": {"test": {"accuracy": 0.9876}}}
    (run / "outcome.json").write_text(json.dumps(told))
    (tmp_path / "runs" / "notes").mkdir()
    study = tmp_path / "studies" / "first"
    study.mkdir(parents=True)
    (study / "study.json").write_text("{}")
    (tmp_path / "mine.toml").write_text('model = { name = "vision/resnet", width = 24 }\n')
    (tmp_path / "extra.py").write_text("raise SystemExit('to complete a word runs no code')\n")
    (tmp_path / "labwright.toml").write_text('local = ["extra.py"]\n')
    return tmp_path


def asked(line: str) -> dict[str, str]:
    words = split(line)
    return dict(candidates(Menu.kept(), words[1:-1], words[-1]))


# --------------------------------------------------------------------------------------------------- what is offered


def test_verbs_options_names_runs_studies_and_files_are_offered_where_they_go(here: Path, plugins: lw.Plugins):
    assert list(asked("labwright ")) == plugins.names("verb")
    assert asked("labwright ru")["run"] == "train a recipe"
    assert set(asked("labwright run ")) == {*plugins.names("recipe"), "mine.toml", "runs/", "studies/"}
    assert asked("labwright run vision/digits --dr") == {"--dry-run": "Take some steps, say time, memory and disk."}
    assert asked("labwright evaluate ") == {
        "runs/digits-001": "finished, accuracy 0.9876",
        "runs/": "",
        "studies/": "",
    }
    assert list(asked("labwright evaluate runs/")) == ["runs/digits-001", "runs/notes/"]
    assert list(asked("labwright evaluate runs/digits-001 --split ")) == ["train", "valid", "test"]
    assert list(asked("labwright evaluate runs/digits-001 --checkpoint=b")) == ["--checkpoint=best"]
    assert list(asked("labwright study ")) == ["list", "show", "best", "export", "delete"]
    assert list(asked("labwright study show ")) == ["first"]
    assert "extra.py" in asked("labwright --plugin ")
    assert "mine.toml" not in asked("labwright --plugin ")
    assert "run" in asked("labwright --plugin extra.py r")
    assert list(asked("labwright tune mine.toml --sampler ")) == plugins.names("sampler")
    assert list(asked("labwright show model vision/r")) == ["vision/resnet"]
    assert "models" in asked("labwright list ")
    assert list(asked("labwright list models --for vision/digits-ml")) == ["vision/digits-mlp"]


def test_settings_are_those_of_the_recipe_s_components_with_their_values(here: Path, plugins: lw.Plugins):
    def fields(name: str) -> set[str]:
        return {f"model.{key}=" for key in lw.signature(plugins.load("model", name)).settings}

    assert set(asked("labwright run vision/digits model.")) == fields("vision/cnn")
    assert asked("labwright run vision/digits model.wi")["model.width="].startswith("int >= 1, 32 if left out")
    assert list(asked("labwright run vision/digits model.strided=")) == ["model.strided=false", "model.strided=true"]
    assert list(asked("labwright run vision/digits model.norm=g")) == ["model.norm=group"]
    # the run's own recipe, and the overrides before
    assert "model.strided=" not in asked("labwright evaluate runs/digits-001 model.")
    assert asked("labwright run mine.toml model.width=2") == {"model.width=24": "in the recipe"}
    assert set(asked("labwright run vision/digits model=vision/mlp model.")) == fields("vision/mlp")
    assert {"optimizer=adamw", "optimizer=sgd", "optimizer=torch/"} <= set(asked("labwright run mine.toml optimizer="))
    schedules = set(asked("labwright run vision/digits optimizer.schedule="))
    assert schedules >= {f"optimizer.schedule={one}" for one in ("constant", "step", "reduce-on-plateau", "torch/")}
    assert {"train.", "model.", "model="} <= set(asked("labwright run mine.toml "))
    assert list(asked("labwright run mine.toml train.final=b")) == ["train.final=best"]
    assert asked("labwright run mine.toml train.clip")["train.clip="].startswith("float > 0. bounds the norm of")
    assert "task.data.rotate=" in asked("labwright run vision/digits task.data.ro")
    assert "optimizer.lr" in asked("labwright tune vision/digits --only optimizer.l")
    assert "optimizer.lr=" in asked("labwright tune vision/digits --search optimizer.l")


@pytest.mark.long
def test_members_of_a_family_and_their_settings_are_offered_once_another_process_has_listed_them(
    here: Path, cache: Path, plugins: lw.Plugins
):
    def offered(line: str) -> list[str]:
        return [one.partition("\t")[0] for one in said(f"labwright {line}").stdout.splitlines()]

    assert offered("run mine.toml optimizer=torch/") == ["optimizer=torch/"]  # at once; the other process begins
    until(lambda: not [*cache.rglob("*.lock")])
    members = sorted(f"torch/{name}" for name in plugins.target(plugins.find("optimizer", "torch/*")))
    assert sorted(offered("run mine.toml optimizer=torch/")) == [f"optimizer={name}" for name in members]
    assert sorted(offered("show optimizer torch/")) == members
    assert "optimizer=torch/RMSprop" not in offered("run mine.toml optimizer=")  # until its family is typed
    settings_of = lw.signature(plugins.load("optimizer", "torch/RMSprop")).settings
    given = offered("run mine.toml optimizer=torch/RMSprop optimizer.")
    assert set(given) == {f"optimizer.{name}=" for name in settings_of} | {"optimizer.schedule."}  # which has its own


def test_components_of_a_plugin_that_is_a_file_are_offered_and_it_is_not_run(here: Path):
    (here / "extra.py").write_text(OWN)
    assert asked("labwright run mine.toml model=own/") == {"model=own/net": "of my own"}
    offered = asked("labwright run mine.toml model=own/net model.")
    assert offered == {"model.width=": "int >= 1, 8 if left out. of each layer"}
    assert asked("labwright show model own/n") == {"own/net": "of my own"}
    (here / "labwright.toml").unlink()
    assert asked("labwright run mine.toml model=own/") == {}
    assert list(asked("labwright --plugin extra.py run mine.toml model=own/")) == ["model=own/net"]
    (here / "pyproject.toml").write_text('[tool.labwright]\nlocal = ["extra.py"]\n')
    assert list(asked("labwright run mine.toml model=own/")) == ["model=own/net"]
    (here / "pyproject.toml").write_text("[tool.labwright]\nlocal = 3\n")  # which `labwright` itself complains of
    assert asked("labwright run mine.toml model=own/") == {}


def test_the_options_before_a_verb_are_those_of_the_help():
    command = [sys.executable, "-m", "labwright", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"NO_COLOR": "1"})
    assert set(re.findall(r"(--[a-z][a-z-]*)", told.stdout.partition("Train")[0])) == set(GLOBAL)


def test_a_source_says_the_settings_that_a_signature_says(plugins: lw.Plugins):
    compared = 0
    for kind in ("task", "loss", "optimizer", "schedule", "method", "device", "logger", "stop"):
        for name in plugins.names(kind):
            declared = plugins.find(kind, name)
            if name.endswith("/*") or not declared.target.startswith(("labwright.", "labwright_tasks.")):
                continue
            imported = lw.signature(plugins.load(kind, name)).settings
            read = {one.name: one for one in settings(declared.target)}
            assert set(read) == set(imported), name
            for key, one in imported.items():
                assert read[key].kind == (one.part.kind if one.part else ""), (name, key)
                assert (read[key].default == "") == (one.required or one.default in (None, "")), (name, key)
            compared += len(read)
    assert compared > 50


def test_what_a_setting_is_about_is_its_entry_under_args_else_the_sentence_that_names_it():
    text = (
        "A net.\n\nOf `width` channels. `depth` says how\ndeep. `width` counts.\n\n"
        "Args:\n    rate: how fast, in\n        steps.\n    x: none."
    )
    assert about("rate", text) == "how fast, in steps."
    assert about("depth", text) == "`depth` says how deep."
    assert about("width", text) == "`width` counts."  # the one that begins with it
    assert about("other", text) == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("labwright ", ["labwright", ""]),
        ("labwright ru", ["labwright", "ru"]),
        ("labwright run 'a b' x", ["labwright", "run", "a b", "x"]),
        ("labwright run 'a b", ["labwright", "run", "a b"]),
        ('labwright run "a ', ["labwright", "run", "a "]),
        ("labwright run a\\ b", ["labwright", "run", "a b"]),
    ],
)
def test_a_line_is_cut_into_words_as_a_shell_cuts_it(line: str, words: list[str]):
    assert split(line) == words


# ------------------------------------------------------------------------------------------------------ what it costs


def said(line: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *more, "-P", "-m", "labwright_instruments.completion", "bash", line]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | env)


def test_a_word_is_completed_without_anything_heavy_and_without_a_folder_s_code(here: Path):
    said("labwright ")  # what finds out what there is
    answer = said("labwright run vision/digits model.wid", "-X", "importtime")
    assert answer.stdout.startswith("model.width=\tint >= 1")
    imported = set(re.findall(r"\| +([\w.]+)$", answer.stderr, re.MULTILINE))
    assert "json" in imported
    assert not imported & {"torch", "numpy", "typer", "rich", "pluggy", "labwright", "labwright_vision", "extra"}


def test_what_is_installed_or_changed_meanwhile_is_known_at_once(here: Path, tmp_path: Path):
    site = tmp_path / "site"
    site.mkdir()
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    assert said("labwright run stars/", PYTHONPATH=path).stdout == ""
    info, package = site / "labwright_stars-1.0.dist-info", site / "labwright_stars"
    info.mkdir()
    package.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labwright-stars\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[labwright]\nstars = labwright_stars.plugin\n")
    (package / "__init__.py").write_text("")
    menu = (
        "import labwright as lw\nfrom pathlib import Path\n@lw.hookimpl\ndef labwright_recipes():\n"
        "    yield lw.Recipe('stars/{}', Path(__file__).with_name('sky.toml'), 'many')\n"
    )
    (package / "sky.toml").write_text("")
    (package / "plugin.py").write_text(menu.format("sky"))
    assert said("labwright run stars/", PYTHONPATH=path).stdout == "stars/sky\tmany\n"
    (package / "plugin.py").write_text(menu.format("heavens"))
    assert said("labwright run stars/", PYTHONPATH=path).stdout == "stars/heavens\tmany\n"
    shutil.rmtree(info)
    assert said("labwright run stars/", PYTHONPATH=path).stdout == ""


# --------------------------------------------------------------------------------------------------------- the shells


class Shell:
    """A shell on a terminal of 100 columns: `typed` keys, and waited until the screen shows something."""

    def __init__(self, *command: str, home: Path) -> None:
        self.screen = pyte.Screen(100, 30)
        self.stream = pyte.ByteStream(self.screen)
        child, self.terminal = pty.fork()
        if not child:  # pragma: no cover - another process
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            os.environ.update(TERM="xterm-256color", PS1="$ ", HOME=str(home))
            os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            os.execvp(command[0], command)
        self.child = child

    def typed(self, keys: str, shown: str) -> str:
        """The screen, once it shows what is waited for, a regular expression."""
        os.write(self.terminal, keys.encode())
        end = time.monotonic() + PATIENCE
        while not re.search(shown, text := "\n".join(line.rstrip() for line in self.screen.display)):
            assert time.monotonic() < end, f"no {shown!r} in\n{text}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                sent = os.read(self.terminal, 65536)
                self.stream.feed(sent)
                if b"\x1b[c" in sent or b"\x1b[0c" in sent:  # a shell asks what kind of terminal it is
                    os.write(self.terminal, b"\x1b[?62;c")
        return text

    def close(self) -> None:
        os.close(self.terminal)
        os.waitpid(self.child, 0)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(labwright completion bash)"; echo re""ady\r'),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(labwright completion zsh)"; echo re""ady\r'),
    "fish": (["fish", "--no-config", "-i"], "labwright completion fish | source; echo re''ady\r"),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_on_a_terminal(name: str, here: Path):
    (here / "labwright.toml").unlink()  # `labwright completion` itself is told of it
    command, begin = SHELLS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{name} isn't installed")
    shell = Shell(*command, home=here)
    try:
        shell.typed("", "[$#>]")
        shell.typed(begin, r"ready\n.*[$#>]")  # keys typed before there is a prompt are echoed as they are
        shell.typed("labwright evaluate runs/d\t", "evaluate runs/digits-001")
        shell.typed("--spl\t", "digits-001 --split")
        shell.typed("va\t", "--split valid")
        shell.typed("model.dep\t", "valid model.depth=")
        shell.typed("2 train.fin\t", "model.depth=2 train.final=")  # it went on without a space
        shell.typed("be\t", "train.final=best")
        # both, in any order, as a shell may draw one before the other
        both = r"(?=[\s\S]*model\.depth= .*int >= 1)(?=[\s\S]*model\.dropout= .*float >= 0, < 1)"
        shell.typed("model.d\t\t", both)
    finally:
        shell.close()
