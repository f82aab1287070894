"""Plugins that are single files, of a project that isn't packaged: `--plugin FILE`, or `local` in the settings.

A file is loaded only when it is asked for in one of these ways, never because it lies in the working folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from labwright.base.errors import LabwrightError
from labwright.plugin.discovery import Plugin, canonical, examined, guarded


def loaded(file: Path, off: Mapping[str, str] | None = None, distrust: str = "") -> Plugin:
    """The plugin in a file, imported as a module of the file's name, which its targets begin with: `FILE:Class`.

    `off` are the canonical names that are blocked, with what blocks them; `distrust` is why the file isn't used unless
    the person names it. Raises LabwrightError if it can't be used: what was asked for by name is mended, not set aside.
    """
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    plugin = Plugin(file.stem, str(shown), "", file=file)
    if by := (off or {}).get(canonical(file.stem)):
        return replace(plugin, state="blocked", reason=f"blocked by {by}")
    if distrust:
        return replace(plugin, state="quarantined", reason=f"{distrust}; `--plugin {shown}` uses it all the same")
    return examined(replace(plugin, module=_module(file)))


def _module(file: Path) -> ModuleType:
    name = file.stem
    if not file.is_file():
        raise LabwrightError(f"plugin {file}: there is no such file.")
    if file.suffix != ".py" or not name.isidentifier():
        raise LabwrightError(f"plugin {file}: it is a Python module, called like labwright_local.py.")
    there = sys.modules.get(name)
    origin = getattr(there, "__file__", None) if there else getattr(find_spec(name), "origin", None)
    if origin is not None and Path(origin).resolve() != file:
        raise LabwrightError(f"plugin {file}: another module is called {name!r}, {origin}: rename the file.")
    if there is not None:
        return there
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with guarded(f"plugin {file} failed to import", "."):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
