"""Plugins that are single files, of a project that isn't packaged: `--plugin FILE`, or `local` in the settings.

A file is loaded only when it is asked for in one of these ways, never because it lies in the working folder.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from labwright.discovery import Plugin, examined, words
from labwright.errors import LabwrightError, sentence


def loaded(file: Path, *, blocked: bool = False) -> Plugin:
    """The plugin in a file, imported as a module of the file's name, which its targets begin with: `FILE:Class`.

    Raises LabwrightError if it can't be used: what was asked for by name is mended, not set aside.
    """
    file = file.expanduser().resolve()
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    if blocked:
        return Plugin(file.stem, str(shown), "", state="blocked", reason="blocked by --no-plugin", file=file)
    plugin = examined(Plugin(file.stem, str(shown), "", module=_module(file), file=file))
    if plugin.state != "loaded":
        raise LabwrightError(f"plugin {file}: {sentence(plugin.reason)}")
    return plugin


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
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise LabwrightError(f"plugin {file} failed to import: {sentence(words(error))}") from error
    return module
