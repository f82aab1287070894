"""The menu of labwright-tasks."""

from __future__ import annotations

import subprocess
import sys

from labwright import Plugins


def test_the_menu_imports_no_torch() -> None:
    code = "import sys, labwright_tasks.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_plugin_loads_with_all_it_brings() -> None:
    plugins = Plugins.discover()
    (found,) = [one for one in plugins.plugins if one.distribution == "labwright-tasks"]
    assert (found.state, found.reason) == ("loaded", "")
    for component in found.components:
        family = component.name.endswith("/*")
        assert (plugins.target(component) if family else plugins.load(component.kind, component.name)) is not None
