"""Discovery: real distributions on sys.path, as pip would have left them."""

from __future__ import annotations

import copy
import os
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MENU, OK, Site
from labwright.base.errors import LabwrightError
from labwright.plugin import lockfile as locking
from labwright.plugin.discovery import Plugin
from labwright.plugin.hookspecs import Component, Recipe, hookimpl
from labwright.plugin.registry import Plugins

OBJECT = """\
import labwright as lw

class Stars:
    @lw.hookimpl
    def labwright_recipes(self):
        return []

stars = Stars()
"""


def found(name: str, plugins: Plugins) -> Plugin:
    (one,) = [plugin for plugin in plugins.plugins if plugin.name == name]
    return one


def test_an_installed_plugin_is_found_with_what_it_brings(site: Site):
    recipe = site.folder / "labwright_stars" / "sky.toml"
    package = site.install(
        "stars",
        OK + f"@lw.hookimpl\ndef labwright_recipes():\n    from pathlib import Path\n"
        f'    yield lw.Recipe("stars/sky", Path({str(recipe)!r}), "the sky")\n',
        models="class Ok: pass",
    )
    plugins = Plugins.discover()
    assert found("stars", plugins) == Plugin(
        "stars",
        "labwright-stars",
        "1.0",
        ">=0.2,<0.3",
        components=(Component("model", "stars/ok", "labwright_stars.models:Ok", "made by a test"),),
        recipes=(Recipe("stars/sky", recipe, "the sky"),),
    )
    assert "stars/ok" in plugins.names("model")
    assert f"{package}.models" not in sys.modules
    assert plugins.load("model", "stars/ok") is sys.modules[f"{package}.models"].Ok


def test_the_cores_own_plugin_comes_first_and_the_others_by_name(site: Site):
    for name in ("zebra", "ant"):
        site.install(name, MENU.format(kind="model", name=f"{name}/one", target="a:b"))
    names = [plugin.name for plugin in Plugins.discover().plugins]
    assert names == ["builtin", *sorted(names[1:])]
    assert {"ant", "zebra"} < set(names)


def test_names_without_a_domain_are_listed_first(site: Site):
    site.install("stars", OK.replace("stars/ok", "aa"))
    site.install("ant", MENU.format(kind="model", name="ant/one", target="a:b"))
    names = Plugins.discover().names("model")
    assert names == sorted(names, key=lambda name: ("/" in name, name))
    assert names[0] == "aa"


# ---------------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("core", "lines", "range_shown", "state"),
    [
        ("0.1.0", ["labwright>=0.1,<0.2"], ">=0.1,<0.2", "loaded"),
        ("0.1.0", ["labwright<0.2,>=0.1"], ">=0.1,<0.2", "loaded"),  # as hatchling writes it
        ("0.1.0", ["labwright (>=0.1)"], ">=0.1", "loaded"),  # metadata of old tools
        ("0.1.0", ["torch>=2", "labwright-tasks>=9", "labwright>=0.1"], ">=0.1", "loaded"),
        ("0.1.0", ["Labwright[tensorboard]>=0.2"], ">=0.2", "quarantined"),
        ("0.2.0", ["labwright>=0.1,<0.2"], ">=0.1,<0.2", "quarantined"),
        ("0.1.0", ["labwright>=0.2,<0.3"], ">=0.2,<0.3", "quarantined"),
        ("0.10.0", ["labwright>=0.9"], ">=0.9", "loaded"),  # numbers, not texts
        ("0.1.0", ["labwright==0.1"], "==0.1", "loaded"),  # 0.1 is 0.1.0 (PEP 440, zero padding)
        ("0.1.3", ["labwright~=0.1.2"], "~=0.1.2", "loaded"),
        ("0.1.0", ["labwright!=0.1.0"], "!=0.1.0", "quarantined"),
        ("0.1.0", ["labwright>=0.1", "labwright<0.1"], ">=0.1,<0.1", "quarantined"),
        ("0.1.0", ["labwright>=9; extra == 'more'", "labwright>=0.1"], ">=0.1", "loaded"),
        ("0.1.0", ["labwright>=9; extra == 'more'"], None, "loaded"),
        ("0.1.0", ["labwright>=9; python_version < '3'", "labwright>=0.1; python_version > '3'"], ">=0.1", "loaded"),
        ("0.1.0", [], None, "loaded"),
        ("0.1.0", ["labwright"], None, "loaded"),
        ("0.1.0", ["labwright @ https://example.org/labwright.whl"], None, "loaded"),
        ("0.2.0.dev3", ["labwright>=0.2,<0.3"], ">=0.2,<0.3", "loaded"),  # a pre-release of the right base version
        ("0.2.0rc1", ["labwright>=0.2,<0.3"], ">=0.2,<0.3", "loaded"),
        ("0.2.0rc1", ["labwright>=0.1,<0.2"], ">=0.1,<0.2", "quarantined"),  # nor does pip take it for a 0.1
        ("0.2.0rc1", ["labwright==0.2.0rc1"], "==0.2.0rc1", "loaded"),
        ("0.1.0+cpu", ["labwright>=0.1,<0.2"], ">=0.1,<0.2", "loaded"),
        ("0.1.0", ["labwright>=one"], ">=one", "quarantined"),
    ],
)
def test_a_plugin_says_which_cores_it_works_with(site: Site, core, lines, range_shown, state):
    (site.folder / f"labwright-{core}.dist-info").mkdir()  # found before the installed one
    (site.folder / f"labwright-{core}.dist-info" / "METADATA").write_text(f"Name: labwright\nVersion: {core}\n")
    points = "[labwright]\nbuiltin = labwright.builtin\n"
    (site.folder / f"labwright-{core}.dist-info" / "entry_points.txt").write_text(points)
    site.install("stars", OK, requires=lines)
    plugin = found("stars", Plugins.discover())
    assert (plugin.requires, plugin.state) == (range_shown, state)
    if state == "quarantined" and "one" not in plugin.requires:
        needs = f"labwright-stars needs labwright{range_shown}; this is labwright {core}"
        hint = "; docs/how-to/core-versions.md says what to change"
        assert plugin.reason == needs + (hint if range_shown == ">=0.1,<0.2" else "")
    assert ("labwright_stars.plugin" in sys.modules) == (state == "loaded")


# -------------------------------------------------------------------------------------------------- quarantine

BROKEN = {
    "import": (
        "import no_such_module",
        "labwright_import.plugin failed to import: ModuleNotFoundError: No module named",
    ),
    "exit": ("raise SystemExit(3)", "labwright_exit.plugin failed to import: SystemExit: 3"),
    "syntax": ("def (:", r"SyntaxError: invalid syntax \(plugin.py, line 1\)"),
    "skipped": ("import pytest\npytest.skip('not here', allow_module_level=True)", "failed to import: Skipped"),
    "base-exception": ("class Ended(BaseException): ...\nraise Ended", "failed to import: Ended$"),
    "unspeakable": ("class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd", "failed to import: Odd$"),
    "unknown-hook": (
        "import labwright as lw\n@lw.hookimpl\ndef labwright_componets(): ...",
        r"unknown hook 'labwright_componets'; did you mean 'labwright_components'\?$",
    ),
    "hook-argument": (
        "import labwright as lw\n@lw.hookimpl\ndef labwright_evaluated(metric): ...",
        r"labwright_evaluated gives run, step, split, metrics; here it asks for 'metric'; did you mean 'metrics'\?$",
    ),
    "no-arguments": (
        "import labwright as lw\n@lw.hookimpl\ndef labwright_components(run): ...",
        "labwright_components gives nothing; here it asks for 'run'$",
    ),
    "wrapper": (
        "import labwright as lw\n@lw.hookimpl(wrapper=True)\ndef labwright_run_started():\n    yield",
        "labwright_run_started is a wrapper; .*never wrapped",
    ),
    "unmarked": (
        "def labwright_components(): ...",
        "labwright_components isn't marked with labwright.hookimpl, so that it would never be called",
    ),
    "empty": ("", "implements none of labwright's hooks"),
    "no-component": (
        OK.replace("yield lw.Component(", "yield ("),
        r"labwright_components yields a labwright.Component each time, gave \('model', ",
    ),
    "raising": (
        OK.replace("yield", "1 / 0; yield"),
        "labwright_components failed: ZeroDivisionError: division by zero",
    ),
    "exiting": (OK.replace("yield", "raise SystemExit; yield"), "labwright_components failed: SystemExit$"),
    "three-arguments": (OK.replace(', "made by a test"', ""), "labwright_components failed: TypeError.*summary"),
    "kind": (
        OK.replace("'model'", "'modle'"),
        r"component 'stars/ok': no kind is called 'modle'; did you mean 'model'\?",
    ),
    "kind-none": (OK.replace("'model'", "None"), "component 'stars/ok': its kind is text, given None"),
    "name": (OK.replace("stars/ok", "Stars/Ok"), "component 'Stars/Ok': a name is kebab-case"),
    "name-two": (OK.replace("stars/ok", "a/b/c"), "component 'a/b/c': a name is kebab-case"),
    "name-star": (OK.replace("stars/ok", "*"), r"component '\*': a name is kebab-case"),
    "target": (OK.replace("models:Ok", "models.Ok"), "component 'stars/ok': a target is 'module:attribute', given"),
    "twice": (OK + "    yield lw.Component('model', 'stars/ok', 'a:b', '')", "model 'stars/ok' is declared twice"),
    "recipe-name": (
        "import labwright as lw\nfrom pathlib import Path\n@lw.hookimpl\ndef labwright_recipes():\n"
        "    yield lw.Recipe('sky', Path('sky.toml'), '')",
        "recipe 'sky': a name is kebab-case, with its domain",
    ),
    "recipe-path": (
        "import labwright as lw\n@lw.hookimpl\ndef labwright_recipes():\n    yield lw.Recipe('a/b', 'b.toml', '')",
        "recipe 'a/b': its path is a pathlib.Path, given 'b.toml'",
    ),
}


def test_a_broken_plugin_is_set_aside_with_its_reason_and_the_others_work(site: Site):
    for name, (source, _) in BROKEN.items():
        site.install(name, source)
    site.install("nowhere", entry_points="[labwright]\nnowhere = labwright_nowhere.absent\n")
    site.install("garbled", entry_points="[labwright]\ngarbled = !!\n")
    site.install("stars", OK, models="class Ok: pass")
    plugins = Plugins.discover()
    for name, (_, reason) in BROKEN.items():
        plugin = found(name, plugins)
        assert plugin.state == "quarantined", name
        assert re.search(reason, plugin.reason), (name, plugin.reason)
        assert "\n" not in plugin.reason
    assert "No module named 'labwright_nowhere.absent'" in found("nowhere", plugins).reason
    assert found("garbled", plugins).state == "quarantined"
    assert found("builtin", plugins).state == found("stars", plugins).state == "loaded"
    assert plugins.load("model", "stars/ok").__name__ == "Ok"
    assert "adamw" in plugins.names("optimizer")


def test_entry_points_of_any_distribution_that_cannot_be_read_are_noted_and_the_plugins_work(site: Site, monkeypatch):
    site.install("stars", OK)
    other = site.folder / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: Other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[console_scripts]\nno equals sign here\n")
    for name in ("TORCH_DEVICE_BACKEND_AUTOLOAD", "PYDANTIC_DISABLE_PLUGINS"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    plugins = Plugins.discover()
    assert found("stars", plugins).state == "loaded"
    (note,) = plugins.notes
    assert re.match(r"the entry points of other can't be read \(TypeError.*\): install it again, or remove it\.", note)


def test_an_entry_point_may_name_an_object_and_is_locked_by_its_files(site: Site):
    package = site.install("stars", OBJECT, entry_points="[labwright]\nstars = labwright_stars.plugin:stars\n")
    plugin = found("stars", Plugins.discover())
    assert plugin.state == "loaded"
    locking.lock((plugin,), Path("labwright.lock"))
    there = locking.read()
    assert there is not None and not locking.differences((plugin,), there[1])
    (site.folder / package / "more.py").write_text("")
    assert locking.differences((plugin,), there[1]) == ["the files of stars have changed"]


def test_what_a_module_prints_while_it_is_imported_is_kept_off_stdout(site: Site, tmp_path: Path, capsys):
    loud = "print('here I am')\n"
    declared = OK.replace("    yield", "    print('a component')\n    yield")
    site.install("stars", loud + declared, models=loud + "class Ok: pass")
    (tmp_path / "loud_local.py").write_text(loud + OK.replace("stars/ok", "loud/ok"))
    Plugins.discover(local=[Path("loud_local.py")]).load("model", "stars/ok")
    said = capsys.readouterr()
    sys.modules.pop("loud_local")
    assert said.out == ""
    assert said.err.splitlines() == ["here I am", "a component", "here I am", "here I am"]


def test_copies_of_plugins_and_what_is_pickled_bring_the_same(site: Site, tmp_path: Path):
    site.install("stars", OK, models="class Ok: pass")
    site.install("wrong", "import no_such_module")
    (tmp_path / "copied_local.py").write_text(OK.replace("stars/ok", "mine/ok"))
    plugins = Plugins.discover(local=[Path("copied_local.py")]).extended([Brings()])
    again = pickle.loads(pickle.dumps(plugins))
    sys.modules.pop("copied_local")
    assert copy.deepcopy(plugins) is plugins
    assert again.plugins == plugins.plugins
    assert [one.hooks.keys() for one in again.plugins] == [one.hooks.keys() for one in plugins.plugins]
    assert again.load("model", "stars/ok") is plugins.load("model", "stars/ok")
    assert again.load("model", "brought/net").__name__ == "Identity"


class Brings:
    """A plugin in a test's hand."""

    @hookimpl
    def labwright_components(self):
        yield Component("model", "brought/net", "torch.nn:Identity", "nothing")


def test_a_distribution_without_metadata_is_set_aside(site: Site):
    site.install("stars", OK)
    site.install("torn", OK)
    (site.folder / "labwright_torn-1.0.dist-info" / "METADATA").unlink()
    plugins = Plugins.discover()
    assert "metadata" in found("torn", plugins).reason
    assert found("stars", plugins).state == "loaded"


def test_an_optional_hook_of_a_later_core_is_no_fault(site: Site):
    site.install("stars", OK + "@lw.hookimpl(optionalhook=True)\ndef labwright_trial_pruned(): ...\n")
    assert found("stars", Plugins.discover()).state == "loaded"


# ---------------------------------------------------------------------------------------------------- blocking


def test_a_file_of_the_settings_is_blocked_like_any_plugin(site: Site, tmp_path: Path, monkeypatch):
    (tmp_path / "mine_local.py").write_text("raise SystemExit")
    (tmp_path / "labwright.toml").write_text('local = ["mine_local.py"]\ndisable = ["mine-local"]\n')
    assert blocked("mine_local") == f"blocked by {tmp_path / 'labwright.toml'}"


def blocked(name: str, *by_option: str) -> str:
    plugin = found(name, Plugins.discover(by_option))
    return plugin.reason if plugin.state == "blocked" else plugin.state


def test_an_option_blocks_a_plugin_by_its_name_or_its_distributions(stars: Site):
    assert blocked("stars") == "loaded"
    assert blocked("stars", "stars") == "blocked by --no-plugin"
    assert blocked("stars", "labwright-stars") == "blocked by --no-plugin"
    assert blocked("tasks", "stars") == "loaded"


@pytest.mark.parametrize("name", ["labwright_stars", "Labwright.Stars", "STARS"])
def test_every_spelling_of_a_name_that_packaging_takes_for_the_same_blocks(stars: Site, monkeypatch, tmp_path, name):
    assert blocked("stars", name) == "blocked by --no-plugin"
    monkeypatch.setenv("LABWRIGHT_DISABLE_PLUGINS", name)
    assert blocked("stars") == "blocked by LABWRIGHT_DISABLE_PLUGINS"
    monkeypatch.delenv("LABWRIGHT_DISABLE_PLUGINS")
    (tmp_path / "labwright.toml").write_text(f'allow = ["{name}"]\n')
    assert blocked("stars") == "loaded"


def test_a_name_to_block_that_no_plugin_has_is_said_with_the_nearest(stars: Site, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("LABWRIGHT_DISABLE_PLUGINS", "star,tasks")
    (tmp_path / "labwright.toml").write_text('disable = ["satrs"]\n')
    assert Plugins.discover().notes == (
        "LABWRIGHT_DISABLE_PLUGINS: no plugin is called 'star'; did you mean 'stars'?",
        f"{tmp_path / 'labwright.toml'}: no plugin is called 'satrs'; did you mean 'stars'?",
    )
    monkeypatch.delenv("LABWRIGHT_DISABLE_PLUGINS")
    (tmp_path / "labwright.toml").unlink()
    assert Plugins.discover().notes == ()


def test_a_blocked_plugin_is_not_imported(stars: Site):
    Plugins.discover(["stars"])
    assert "labwright_stars.plugin" not in sys.modules


def test_an_option_that_blocks_nothing_is_refused_with_the_nearest(stars: Site):
    with pytest.raises(LabwrightError) as caught:
        Plugins.discover(["star"])
    assert str(caught.value) == (
        "no plugin is called 'star'; did you mean 'stars'? `labwright plugins` shows the installed ones."
    )


def test_the_environment_blocks_plugins_also_such_as_are_not_installed(stars: Site, monkeypatch):
    monkeypatch.setenv("LABWRIGHT_DISABLE_PLUGINS", "absent, stars")
    assert blocked("stars") == "blocked by LABWRIGHT_DISABLE_PLUGINS"


def test_the_nearest_pyproject_blocks_plugins(stars: Site, tmp_path: Path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.labwright]\ndisable = ["stars"]\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert blocked("stars") == f"blocked by [tool.labwright] in {tmp_path / 'pyproject.toml'}"
    (tmp_path / "below" / "pyproject.toml").write_text("[project]\n")
    assert blocked("stars") == "loaded"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[tool.labwright]\ndisable = 'stars'",
            r"disable is a list of plugin names, such as \[\"nlp\"\], not 'stars'\.$",
        ),
        (
            "[tool.labwright]\ndisabled = ['stars']",
            r"no setting 'disabled'; did you mean 'disable'\? It has allow, disable(,| and) local\.$",
        ),
        ("[tool]\nlabwright = 'stars'", "it is a table with allow, disable(,| and) local, not 'stars'"),
        ("[tool.labwright", r"can't be read: .*Expected"),
    ],
)
def test_a_pyproject_that_blocks_nothing_as_it_stands_is_named(stars: Site, tmp_path: Path, text, said):
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(LabwrightError, match=f"pyproject.toml.*{said}"):
        Plugins.discover()


def test_a_list_of_allowed_plugins_blocks_the_others_but_the_core(stars: Site, tmp_path: Path):
    stars.install("ant", MENU.format(kind="model", name="ant/one", target="a:b"))
    (tmp_path / "pyproject.toml").write_text('[tool.labwright]\ndisable = ["ant"]\n')
    (tmp_path / "labwright.toml").write_text('allow = ["labwright-stars", "absent"]\n')
    assert blocked("stars") == "loaded" and found("builtin", Plugins.discover()).state == "loaded"
    reason = f"blocked by {tmp_path / 'labwright.toml'}, which doesn't allow it"
    assert blocked("ant") == reason  # labwright.toml stands alone
    assert blocked("stars", "stars") == "blocked by --no-plugin"
    (tmp_path / "labwright.toml").write_text("allow = []\n")
    assert [plugin.name for plugin in Plugins.discover().loaded] == ["builtin"]


# ------------------------------------------------------------------------------------------------------- files

LOCAL = """\
import labwright as lw
from torch import nn

class Straight(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.line = nn.Linear(inputs.size, len(outputs.names))

@lw.hookimpl
def labwright_components():
    yield lw.Component("model", "mine/straight", "labwright_local:Straight", "a line")
"""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder with a file that is a plugin."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labwright_local.py").write_text(LOCAL)
    yield tmp_path / "labwright_local.py"
    sys.modules.pop("labwright_local", None)


def test_a_file_is_a_plugin_only_where_it_is_asked_for(local: Path):
    assert "mine/straight" not in Plugins.discover().names("model")
    assert "labwright_local" not in sys.modules
    plugins = Plugins.discover(local=[Path("labwright_local.py")])
    assert found("labwright_local", plugins).distribution == local.name
    assert plugins.load("model", "mine/straight") is sys.modules["labwright_local"].Straight
    local.with_name("labwright.toml").write_text('local = ["labwright_local.py"]\n')
    both = Plugins.discover(local=[local])
    assert [plugin.name for plugin in both.plugins].count("labwright_local") == 1
    assert blocked("labwright_local", "labwright_local") == "blocked by --no-plugin"


def reason(plugins: Plugins) -> str:
    plugin = found("labwright_local", plugins)
    assert ("labwright_local" in sys.modules) == (plugin.state == "loaded")
    return plugin.reason or plugin.state


@pytest.mark.parametrize("whose", ["labwright.toml", "labwright_local.py", "."])
def test_a_file_that_others_may_write_is_used_only_by_its_name(local: Path, whose: str):
    local.with_name("labwright.toml").write_text('local = ["labwright_local.py"]\n')
    (local.parent / whose).chmod(0o777 if whose == "." else 0o666)
    said = f"others may write to {local.parent / whose}; `--plugin labwright_local.py` uses it all the same"
    assert reason(Plugins.discover()) == said
    assert reason(Plugins.discover(local=[local])) == "loaded"


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can give a file away")
@pytest.mark.parametrize("whose", ["labwright.toml", "labwright_local.py", "."])
def test_settings_of_somebody_else_run_nothing(local: Path, tmp_path: Path, monkeypatch, whose: str):
    """Also from a folder below: what lies in a folder of all, such as /tmp, holds for everybody who works there."""
    local.with_name("labwright.toml").write_text('local = ["labwright_local.py"]\n')
    os.chown(local.parent / whose, 12345, -1)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert reason(Plugins.discover()).startswith(f"{local.parent / whose} belongs to another user, 12345; `--plugin ")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.py", None, "there is no such file."),
        ("my-parts.py", LOCAL, "it is a Python module, called like labwright_local.py."),
        ("json.py", LOCAL, "another module is called 'json', .*: rename the file."),
        (
            "broken.py",
            "import absent_library",
            "failed to import: ModuleNotFoundError: No module named 'absent_library'",
        ),
        ("empty.py", "", "it implements none of labwright's hooks."),
    ],
)
def test_a_file_that_is_no_plugin_is_named(local: Path, name: str, text: str | None, said: str):
    file = local.with_name(name)
    if text is not None:
        file.write_text(text)
    with pytest.raises(LabwrightError, match=f"^plugin {file}:? {said}"):
        Plugins.discover(local=[file])
    sys.modules.pop("empty", None)
    assert "broken" not in sys.modules
