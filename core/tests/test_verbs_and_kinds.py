"""Verbs and kinds that plugins add: by the same rules as components, and as the command line shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MENU, Answer, Site
from labwright.base.errors import LabwrightError
from labwright.plugin.discovery import Plugin
from labwright.plugin.registry import Plugins

Command = Callable[..., Answer]
VERB = """\
import labwright as lw

@lw.hookimpl
def labwright_verbs():
    yield lw.Verb({name!r}, {target!r}, "made by a test")
"""
KIND = """\
import labwright as lw

@lw.hookimpl
def labwright_kinds():
    yield lw.Kind("trick", "torch.nn:Module", "tricks", "`labwright juggle --trick`")
"""
JUGGLE = '''\
import sys
import typer
from typing import Annotated
from labwright.cli.shared import Json, echo, print_json, say

print("the module is imported")


def verb(ctx: typer.Context, trick: Annotated[str, typer.Option()] = "moons/spin", as_json: Json = False) -> None:
    """Show a trick.

    Example: labwright juggle --trick moons/spin
    """
    print("a library prints")
    found = ctx.obj.plugins.load("trick", trick).__name__
    say("one moment")
    if as_json:
        print_json({"trick": found})
    else:
        echo(found)
    if trick == "moons/fail":
        raise typer.Exit(1)
'''


def quarantined(name: str, plugins: Plugins | None = None) -> str:
    plugin: Plugin = next(one for one in (plugins or Plugins.discover()).plugins if one.name == name)
    return plugin.reason if plugin.state == "quarantined" else plugin.state


@pytest.fixture
def juggling(site: Site) -> Site:
    """A plugin with a verb, another with a kind and a component of it, a third with a component of that kind."""
    site.install("stars", VERB.format(name="juggle", target="labwright_stars.juggle:verb"), juggle=JUGGLE)
    menu = KIND + MENU.format(kind="trick", name="moons/spin", target="torch.nn:Identity").replace(
        "import labwright as lw", ""
    )
    site.install("moons", menu)
    site.install("comets", MENU.format(kind="trick", name="comets/tail", target="torch.nn:Flatten"))
    return site


def test_a_verb_is_listed_with_its_plugin_and_only_its_use_imports_it(juggling: Site, command: Command, tmp_path: Path):
    shown = command("--help", site=juggling.folder, cwd=tmp_path)
    assert shown.code == 0
    assert re.search(r"juggle +made by a test \(stars\)", shown.out)
    assert not {"labwright_stars.juggle", "torch", "labwright.cli.run"} & shown.modules
    own = command("juggle", "--help", site=juggling.folder, cwd=tmp_path)
    assert own.code == 0
    assert "Example: labwright juggle --trick moons/spin" in own.out
    assert "labwright_stars.juggle" in own.modules
    assert not {"torch", "labwright.cli.run", "labwright.cli.plugins"} & own.modules


def test_a_verb_answers_as_its_exit_code_and_json_say(juggling: Site, command: Command, tmp_path: Path):
    answer = command("juggle", "--trick", "comets/tail", "--json", site=juggling.folder, cwd=tmp_path)
    assert (answer.code, json.loads(answer.out)) == (0, {"trick": "Flatten"})
    for printed in ("the module is imported", "a library prints", "one moment"):
        assert printed in answer.err
    wrong = command("juggle", "--trick", "moons/spim", site=juggling.folder, cwd=tmp_path)
    assert wrong.code == 2
    assert (
        "error: no trick is called 'moons/spim'; did you mean 'moons/spin'? `labwright list tricks` shows" in wrong.err
    )
    usage = command("juggle", "--tirck", "moons/spin", site=juggling.folder, cwd=tmp_path)
    assert usage.code == 2 and "--tirck" in usage.err


def test_a_kind_is_listed_and_shown_like_the_cores_own(juggling: Site, command: Command, tmp_path: Path):
    answer = command("list", "tricks", "--json", site=juggling.folder, cwd=tmp_path)
    assert [(row["kind"], row["name"], row["plugin"]) for row in json.loads(answer.out)] == [
        ("trick", "comets/tail", "comets"),
        ("trick", "moons/spin", "moons"),
    ]
    assert "torch" not in answer.modules
    shown = command("plugins", "--json", site=juggling.folder, cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(shown.out)}
    assert (rows["moons"]["kinds"], rows["stars"]["verbs"]) == (["trick"], ["juggle"])


# ------------------------------------------------------------------------------------------------------- names taken


def test_a_verb_of_two_plugins_is_refused_naming_both_and_how_to_block_one(
    site: Site, command: Command, tmp_path: Path
):
    site.install("stars", VERB.format(name="run", target="a:b"))
    answer = command("run", "vision/digits", site=site.folder, cwd=tmp_path)
    assert answer.code == 2
    assert answer.err == (
        "error: verb 'run' is brought by builtin (labwright 0.2.0) and stars (labwright-stars 1.0): block one of them, "
        "for example with `--no-plugin labwright-stars`.\n"
    )
    assert re.search(
        r"run +train a recipe \(builtin and stars\)", command("--help", site=site.folder, cwd=tmp_path).out
    )
    blocked = command("--no-plugin", "labwright-stars", "run", "no/such", site=site.folder, cwd=tmp_path)
    assert "no recipe is called 'no/such'" in blocked.err


def test_a_kind_that_is_there_already_sets_its_second_plugin_aside(site: Site):
    site.install("moons", KIND)
    site.install("stars", KIND + MENU.format(kind="model", name="stars/ok", target="a:b"))
    site.install("twin", KIND.replace('"trick"', '"model"'))
    plugins = Plugins.discover()
    assert quarantined("moons", plugins) == "loaded"
    assert quarantined("stars", plugins) == "kind 'trick' is brought by moons (labwright-moons 1.0) already"
    assert quarantined("twin", plugins) == "kind 'model' is brought by builtin (labwright 0.2.0) already"
    assert "stars/ok" not in plugins.names("model")
    assert quarantined("stars", Plugins.discover(["moons"])) == "loaded"


def test_a_component_of_a_kind_that_nobody_brings_sets_its_plugin_aside(juggling: Site):
    juggling.install("dust", MENU.format(kind="sampler", name="dust/walk", target="a:b"))
    assert quarantined("comets") == "loaded"
    plugins = Plugins.discover(["moons", "study"])
    assert quarantined("comets", plugins).startswith(
        "component 'comets/tail': no kind is called 'trick'; did you mean 'metric'? Kinds here are "
    )
    assert "no kind is called 'sampler'; labwright-study brings it." in quarantined("dust", plugins)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (VERB.format(name="Juggle", target="a:b"), "verb 'Juggle': a name is kebab-case"),
        (VERB.format(name="juggle", target="a.b"), "verb 'juggle': a target is 'module:attribute', given 'a.b'"),
        (VERB.format(name="juggle", target=None), "verb 'juggle': its target is text, given None"),
        (VERB.format(name="a", target="a:b") + "    yield lw.Verb('a', 'a:b', '')", "verb 'a' is declared twice"),
        (KIND.replace('"trick"', '"verb"'), "kind 'verb': a name is kebab-case, and none of kind, recipe, verb"),
        (KIND.replace('"tricks"', '""'), "kind 'trick': it has no heading"),
        (KIND.replace("torch.nn:Module", "Module"), "kind 'trick': a target is 'module:attribute', given 'Module'"),
        (KIND.replace("lw.Kind", "lw.Verb"), "labwright_kinds yields a labwright.Kind each time, gave Verb"),
    ],
)
def test_a_verb_or_kind_that_cannot_be_used_sets_its_plugin_aside(site: Site, source: str, reason: str):
    site.install("stars", source)
    assert reason in quarantined("stars")


# ------------------------------------------------------------------------------------------------- what does not load


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("labwright_stars.absent:verb", "can't be loaded from 'labwright_stars.absent:verb': ModuleNotFoundError"),
        ("labwright_stars.juggle:vreb", "can't be loaded from 'labwright_stars.juggle:vreb': AttributeError"),
        ("labwright_stars.odd:verb", "can't be used as Typer takes functions: "),
        (
            "labwright_stars.odd:NUMBER",
            "can't be loaded from 'labwright_stars.odd:NUMBER': TypeError: it is of type int",
        ),
    ],
)
def test_a_verb_whose_target_cannot_be_used_is_one_message(
    site: Site, command: Command, tmp_path: Path, target: str, said: str
):
    odd = "NUMBER = 7\ndef verb(what: 'Absent'): ...\n"
    site.install("stars", VERB.format(name="juggle", target=target), juggle=JUGGLE, odd=odd)
    for arguments in (["juggle"], ["juggle", "--help"]):
        answer = command(*arguments, site=site.folder, cwd=tmp_path)
        assert answer.code == 2, answer.err
        assert f"error: verb 'juggle' of plugin stars (labwright-stars 1.0) {said}" in answer.err
        assert "Traceback" not in answer.err
    assert command("list", "devices", site=site.folder, cwd=tmp_path).code == 0


def test_a_kind_whose_base_cannot_be_loaded_is_one_message(site: Site):
    site.install("stars", KIND.replace("torch.nn:Module", "labwright_stars.absent:Base"))
    with pytest.raises(
        LabwrightError, match=r"kind 'trick' of plugin stars .* can't be loaded from 'labwright_stars.ab"
    ):
        Plugins.discover().base("trick")


def test_a_misspelt_verb_is_answered_with_the_nearest_and_one_of_another_distribution_with_its_name(
    command: Command, tmp_path: Path
):
    answer = command("tuen", cwd=tmp_path)
    assert answer.code == 2
    assert re.match(
        r"error: no verb is called 'tuen'; did you mean 'tune'\? `labwright --help` shows all \d+\.\n", answer.err
    )
    for verb, extra in (("tune", "study"), ("check", "testing"), ("doctor", "testing"), ("export", "export")):
        absent = command("--no-plugin", f"labwright-{extra}", verb, cwd=tmp_path)
        assert absent.code == 2
        assert f"`{verb}` comes with labwright-{extra}: pip install labwright[{extra}]" in absent.err


def test_labwright_itself_cannot_be_left_out(site: Site, monkeypatch: pytest.MonkeyPatch):
    for name in ("builtin", "labwright"):
        with pytest.raises(LabwrightError, match=f"--no-plugin: '{name}' is labwright itself"):
            Plugins.discover([name])
    monkeypatch.setenv("LABWRIGHT_DISABLE_PLUGINS", "builtin")
    with pytest.raises(LabwrightError, match="LABWRIGHT_DISABLE_PLUGINS: 'builtin' is labwright itself"):
        Plugins.discover()


# ------------------------------------------------------------------------------------------------------ one file, trace


def test_a_plugin_in_a_file_brings_a_verb_that_help_shows(command: Command, tmp_path: Path):
    menu = VERB.format(name="juggle", target="labwright_local:verb") + JUGGLE
    (tmp_path / "labwright_local.py").write_text(
        menu.replace("moons/spin", "adamw").replace('"trick", trick', '"optimizer", trick')
    )
    shown = command("--plugin", "labwright_local.py", "--help", cwd=tmp_path)
    assert re.search(r"juggle +made by a test \(labwright_local\)", shown.out)
    answer = command("--plugin", "labwright_local.py", "juggle", cwd=tmp_path)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "AdamW")


def test_hooks_that_bring_verbs_and_kinds_are_traced(juggling: Site, monkeypatch: Any, capsys: Any):
    monkeypatch.setenv("LABWRIGHT_TRACE_HOOKS", "1")
    Plugins.discover()
    traced = capsys.readouterr().err
    assert re.search(r"hook labwright_verbs  stars \(labwright-stars 1.0\)  took", traced)
    assert re.search(r"hook labwright_kinds  moons \(labwright-moons 1.0\)  took", traced)


def test_help_groups_verbs_in_the_order_of_work(command: Command, tmp_path: Path):
    shown = command("--help", cwd=tmp_path).out
    headings = re.findall(r"^╭─ ([A-Z][\w ]+?) ─", shown, re.MULTILINE)
    assert headings == ["Options", "Train", "Search and compare", "Look", "Make plugins", "Privacy"]
