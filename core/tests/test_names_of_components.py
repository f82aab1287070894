"""What a name finds among the plugins, and what is said where it finds nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import OK, Site
from labwright.base.errors import LabwrightError
from labwright.plugin.hookspecs import Component, hookimpl
from labwright.plugin.registry import Plugins


def answer(plugins: Plugins, kind: str, name: str) -> str:
    with pytest.raises(LabwrightError) as caught:
        plugins.load(kind, name)
    return str(caught.value)


def test_a_name_that_two_plugins_bring_names_both_distributions(site: Site):
    site.install("stars", OK)
    site.install("moons", OK, version="2.5")
    plugins = Plugins.discover()
    assert answer(plugins, "model", "stars/ok") == (
        "model 'stars/ok' is brought by moons (labwright-moons 2.5) and stars (labwright-stars 1.0): block one of "
        "them, for example with `--no-plugin labwright-stars`."
    )
    assert Plugins.discover(["labwright-stars"]).find("model", "stars/ok")


def test_a_misspelt_name_is_answered_with_the_nearest_and_the_plugins_that_did_not_load(site: Site):
    site.install("stars", OK)
    site.install("nlp", OK, requires=["labwright>=0.3,<0.4"])
    assert answer(Plugins.discover(), "model", "stars/okay") == (
        "no model is called 'stars/okay'; did you mean 'stars/ok'? `labwright list models` shows all "
        f"{len(Plugins.discover().names('model'))}.\n"
        "1 plugin did not load and may offer it: nlp (labwright-nlp needs labwright>=0.3,<0.4; this is labwright 0.2.0)"
    )
    said = answer(Plugins.discover(["stars"]), "model", "nothing-like-it")
    assert said.startswith("no model is called 'nothing-like-it'. `labwright list models` ")
    assert "2 plugins did not load and may offer it: nlp (" in said
    assert said.endswith(", stars (blocked by --no-plugin)")


@pytest.mark.parametrize(("given", "meant"), [("ok", "stars/ok"), ("Stars/OK", "stars/ok"), ("star/ok", "stars/ok")])
def test_the_nearest_name_may_lack_its_domain_or_differ_in_case(stars: Site, given, meant):
    assert f"'{given}'; did you mean '{meant}'? `labwright" in answer(Plugins.discover(), "model", given)


def test_a_name_of_another_kind_is_answered_with_that_kind(stars: Site):
    said = answer(Plugins.discover(), "data", "stars/ok")
    assert "no data is called 'stars/ok'; it names a model (`labwright show model stars/ok`). " in said


def test_a_kind_nobody_brings_is_said_to_be_empty():
    assert answer(Plugins([]), "model", "any") == "no model is called 'any'. No plugin brings any."


def test_a_member_of_a_family_is_found_by_its_whole_name(site: Site):
    site.install("stars", OK.replace("stars/ok", "stars/*"), models="class Sun: pass\nOk = {'Sun': Sun}")
    plugins = Plugins.discover()
    assert plugins.load("model", "stars/Sun").__name__ == "Sun"
    assert answer(plugins, "model", "stars/Sum") == (
        "no model is called 'stars/Sum'; did you mean 'stars/Sun'? stars/* has Sun."
    )
    assert "stars/*" in plugins.names("model")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "AttributeError: module 'labwright_stars.models' has no attribute 'Ok'"),
        ("Ok = 3", "TypeError: it is of type int, not a class or a function"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("class Ended(BaseException): ...\nraise Ended('now')", "Ended: now"),
    ],
)
def test_a_component_that_cannot_be_loaded_names_its_plugin(site: Site, source, reason):
    site.install("stars", OK, models=source)
    assert answer(Plugins.discover(), "model", "stars/ok") == (
        "model 'stars/ok' of plugin stars (labwright-stars 1.0) can't be loaded from 'labwright_stars.models:Ok': "
        f"{reason}. `labwright doctor` checks the installed versions."
    )


def test_a_recipe_whose_file_is_missing_names_its_plugin(site: Site):
    site.install(
        "stars",
        "import labwright as lw\nfrom pathlib import Path\n@lw.hookimpl\ndef labwright_recipes():\n"
        "    yield lw.Recipe('stars/sky', Path('/nowhere/sky.toml'), '')\n",
    )
    with pytest.raises(LabwrightError) as caught:
        Plugins.discover().recipe("stars/sky")
    assert str(caught.value) == (
        "recipe 'stars/sky' of plugin stars (labwright-stars 1.0) has no file: /nowhere/sky.toml isn't there."
    )


def test_objects_given_from_python_bring_components_or_are_refused():
    class Mine:
        @hookimpl
        def labwright_components(self):
            yield Component("model", "mine/net", "torch.nn:Identity", "nothing")

    class Wrong:
        @hookimpl
        def labwright_evaluated(self, metric): ...

    assert Plugins.discover().extended([Mine()]).load("model", "mine/net").__name__ == "Identity"
    with pytest.raises(LabwrightError, match="plugin 'Wrong', given from Python: labwright_evaluated gives run, step"):
        Plugins([]).extended([Wrong()])


def test_the_command_line_shows_every_plugin_and_goes_on_without_those_it_cannot_use(
    site: Site, tmp_path: Path, command
):
    site.install("free", OK, requires=[])
    site.install("moons", OK.replace("stars/ok", "moons/ok"))
    site.install("later", OK, requires=["labwright>=0.3,<0.4"])
    site.install("wrong", "import no_such_module")
    site.install("twin", OK)
    shown = command("--no-plugin", "moons", "plugins", site=site.folder, cwd=tmp_path)
    assert shown.code == 0
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in shown.out.splitlines()}
    assert rows["free"] == ["free", "labwright-free", "1.0", "no range", "loaded", "1 model"]
    assert rows["moons"][4:] == ["blocked", "blocked by --no-plugin"]
    assert rows["later"][3:5] == [">=0.3,<0.4", "quarantined"]
    assert rows["wrong"][5].startswith("labwright_wrong.plugin failed to import: ModuleNotFoundError")
    listed = command("list", "models", site=site.folder, cwd=tmp_path)
    assert listed.code == 0
    assert re.search(r"^  stars/ok +made by a test +\[free and twin\]$", listed.out, re.MULTILINE)
    assert "moons/ok" in listed.out
    assert (
        "plugin later did not load: labwright-later needs labwright>=0.3,<0.4; this is labwright 0.2.0\n" in listed.err
    )
