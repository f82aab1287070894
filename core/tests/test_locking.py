"""labwright.lock: what a change of an installed plugin leads to."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from conftest import MENU, Site
from labwright.base.errors import LabwrightError
from labwright.plugin import lockfile as locking
from labwright.plugin.registry import Plugins

OK = MENU.format(kind="model", name="stars/ok", target="labwright_stars.models:Ok")


@pytest.fixture
def locked(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Stars and moons are installed and locked."""
    monkeypatch.chdir(tmp_path)
    site.install("stars", OK, models="class Ok: pass")
    site.install("moons", OK.replace("stars", "moons"))
    locking.lock(Plugins.discover().loaded, tmp_path / locking.FILE)
    return site


def said(*blocked: str) -> str:
    return locking.check(Plugins.discover(blocked).loaded, refuse=False)


def test_what_is_locked_is_each_plugin_in_use(locked: Site, tmp_path: Path):
    kept = tomllib.loads((tmp_path / locking.FILE).read_text())
    assert set(kept) == {plugin.name for plugin in Plugins.discover().loaded}
    assert kept["stars"]["distribution"] == "labwright-stars" and kept["stars"]["version"] == "1.0"
    assert said() == ""


def rewritten(site: Site) -> None:
    (site.folder / "labwright_stars" / "models.py").write_text("class Ok: bad = 1")


def one_file_more(site: Site) -> None:
    (site.folder / "labwright_stars" / "more.txt").write_text("")


def another_version(site: Site) -> None:
    metadata = site.folder / "labwright_stars-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))


def another_plugin(site: Site) -> None:
    site.install("suns", OK.replace("stars", "suns"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (rewritten, "the files of stars have changed"),
        (one_file_more, "the files of stars have changed"),
        (another_version, "stars was labwright-stars 1.0 and is labwright-stars 1.1"),
        (another_plugin, "suns was not in use"),
    ],
)
def test_every_change_is_named(locked: Site, change, expected: str):
    change(locked)
    assert f"{locking.FILE}: {expected}. `labwright plugins lock`" in said()


def test_bytecode_is_no_change_and_a_plugin_left_out_is_one(locked: Site):
    cache = locked.folder / "labwright_stars" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "models.cpython-311.pyc").write_bytes(b"1")
    assert said() == ""
    assert "moons is not in use" in said("moons")


def test_a_lock_that_is_not_there_or_cannot_be_read(locked: Site, tmp_path: Path):
    file = tmp_path / locking.FILE
    file.write_text("[stars]\nversion = 1\n")
    with pytest.raises(LabwrightError, match=f"{file} can't be read: .*`labwright plugins lock` writes it anew"):
        said()
    file.unlink()
    assert said() == ""
    with pytest.raises(LabwrightError, match=r"--locked: there is no labwright\.lock here or above"):
        locking.check(Plugins.discover().loaded, refuse=True)


def test_a_run_warns_and_locked_refuses(locked: Site, command, tmp_path: Path):
    (locked.folder / "labwright_moons" / "__init__.py").write_text("# changed\n")
    warned = command("run", "absent/recipe", site=locked.folder, cwd=tmp_path)
    assert warned.code == 2 and warned.err.startswith("warning: the plugins aren't those of")
    refused = command("--locked", "run", "absent/recipe", site=locked.folder, cwd=tmp_path)
    assert refused.code == 2 and refused.err.startswith("error: the plugins aren't those of")
    assert "the files of moons have changed" in refused.err
    again = command("plugins", "lock", site=locked.folder, cwd=tmp_path)
    assert again.code == 0 and "plugins are locked" in again.err
    assert command("--locked", "list", "devices", site=locked.folder, cwd=tmp_path).code == 0
    named = command("plugins", "lock", "moons", site=locked.folder, cwd=tmp_path)
    assert named.code == 2 and "`labwright plugins` takes `lock` or nothing, given 'lock moons'." in named.err
    unknown = command("plugins", "look", site=locked.folder, cwd=tmp_path)
    assert unknown.code == 2 and "given 'look'; did you mean 'lock'?" in unknown.err
