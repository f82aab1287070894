"""What the tests of studies share with the core's: distributions as pip would leave them, and the command line.

Loaded from its file, since `import conftest` here is this very module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from lab import PLUGIN, Lab

FILE = Path(__file__).parents[3] / "core" / "tests" / "conftest.py"

_spec = spec_from_file_location("core_conftest", FILE)
assert _spec is not None and _spec.loader is not None
_core = sys.modules["core_conftest"] = module_from_spec(_spec)
_spec.loader.exec_module(_core)

MENU, Answer, Site, Toys = _core.MENU, _core.Answer, _core.Site, _core.Toys
command, site, toys = _core.command, _core.site, _core.toys


@pytest.fixture
def lab(site: Any) -> Iterator[Lab]:
    """Machines that run a study of toys, ended with the test."""
    site.install("toys", PLUGIN)
    machines = Lab(site.folder.parent, site.folder)
    yield machines
    machines.close()
