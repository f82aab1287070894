"""What `labwright` forwards to the plugin of studies, and what it says where that isn't installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import labwright
import labwright_study
import pytest

NAMES = ("Comparison", "Study", "compare")
WITHOUT = """\
import sys
from importlib import metadata

every, found = metadata.entry_points, metadata.distributions
metadata.entry_points = lambda **which: [point for point in every(**which) if point.name != "study"]
metadata.distributions = lambda **which: (one for one in found(**which) if one.name != "labwright-study")

from labwright.cli import main
sys.argv[0] = "labwright"
main()
"""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one in which the plugin isn't installed: there is no entry point, and nothing was asked for."""
    every = metadata.entry_points

    def others(**which: Any) -> Iterable[metadata.EntryPoint]:
        return [point for point in every(**which) if point.name != "study"]

    monkeypatch.setattr(metadata, "entry_points", others)
    for name in NAMES:
        monkeypatch.delitem(vars(labwright), name, raising=False)


def test_the_names_are_the_plugin_s():
    for name in NAMES:
        assert name in labwright.__all__
        assert getattr(labwright, name) is getattr(labwright_study, name)


def test_without_the_plugin_they_say_what_to_install(without: None):
    for name in NAMES:
        with pytest.raises(ImportError) as asked:
            getattr(labwright, name)
        assert str(asked.value) == f"labwright.{name} comes with labwright-study: pip install labwright[study]"
    with pytest.raises(ImportError) as imported:
        from labwright import Study  # noqa: F401
    assert str(imported.value) == "labwright.Study comes with labwright-study: pip install labwright[study]"


@pytest.mark.parametrize("verb", ["tune", "compare"])
def test_without_the_plugin_its_verbs_say_what_to_install(verb: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, verb, "vision/digits"],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2
    expected = f"error: `{verb}` comes with labwright-study: pip install labwright[study]"
    assert done.stderr.splitlines()[0] == expected  # below it may stand a plugin that did not load
