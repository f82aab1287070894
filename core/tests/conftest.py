"""What the core's tests share: distributions as pip would leave them, and the command line in its own process."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from labwright.plugin.hookspecs import Component, hookimpl
from labwright.plugin.registry import Plugins

MENU = """\
import labwright as lw

@lw.hookimpl
def labwright_components():
    yield lw.Component({kind!r}, {name!r}, {target!r}, "made by a test")
"""
OK = MENU.format(kind="model", name="stars/ok", target="labwright_stars.models:Ok")
_WATCHED = """\
import atexit, json, sys
from labwright.cli import main
atexit.register(lambda: print("modules:" + json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv[0] = "labwright"
main()
"""


class Toys:
    """A plugin with the parts of parts.py."""

    @hookimpl
    def labwright_components(self) -> Iterator[Component]:
        yield Component("task", "sorting", "parts:Sorting", "tell blobs apart")
        yield Component("data", "toys/blobs", "parts:Blobs", "three blobs")
        yield Component("model", "toys/net", "parts:Net", "a small net")


def toys() -> Plugins:
    """The installed plugins and the toys."""
    return Plugins.discover().extended([Toys()])


@dataclass
class Site:
    """A folder of installed distributions."""

    folder: Path

    def install(
        self,
        name: str,
        plugin: str = "",
        *,
        requires: Sequence[str] = ("labwright>=0.2,<0.3",),
        version: str = "1.0",
        entry_points: str | None = None,
        **files: str,
    ) -> str:
        """A distribution `labwright-NAME` whose plugin NAME has this source, and `files` as further modules.

        Returns its package, `labwright_NAME`.
        """
        distribution, package = f"labwright-{name}", f"labwright_{name.replace('-', '_')}"
        info = self.folder / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n")
        (info / "entry_points.txt").write_text(entry_points or f"[labwright]\n{name} = {package}.plugin\n")
        (self.folder / package).mkdir()
        for module, source in {"__init__": "", "plugin": plugin, **files}.items():
            (self.folder / package / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        return package


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site folder, first on sys.path, in a working folder without a pyproject.toml above it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABWRIGHT_DISABLE_PLUGINS", raising=False)
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def stars(site: Site) -> Site:
    """The distribution labwright-stars, which brings a model."""
    site.install("stars", OK)
    return site


@dataclass(frozen=True)
class Answer:
    """What a command said, how it ended, and which modules it had imported by then."""

    code: int
    out: str
    err: str
    modules: frozenset[str]


@pytest.fixture(scope="session")
def command() -> Callable[..., Answer]:
    """The command line in a process of its own: `command("list", "models", site=folder)`."""

    def run(*arguments: str, site: Path | None = None, cwd: Path | None = None) -> Answer:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        if site is not None:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-c", _WATCHED, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=300)
        err, _, modules = done.stderr.rpartition("modules:")
        return Answer(done.returncode, done.stdout, err, frozenset(json.loads(modules)))

    return run
