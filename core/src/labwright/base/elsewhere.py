"""What another distribution brings, found through its entry point: the core imports no plugin."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

from labwright.base.errors import LabwrightError


class Absent(LabwrightError, ImportError):
    """A name of a distribution that isn't installed."""


def brought(plugin: str, name: str, called: str = "") -> Any:
    """A name of the package whose entry point is called `study`, `instruments` or the like.

    `called` is what a person knows it by. Raises Absent where it isn't installed: of an AttributeError
    `from labwright import Study` would lose the text.
    """
    from importlib import metadata  # here: it takes a third of what `import labwright` does

    for point in metadata.entry_points(group="labwright", name=plugin):
        return getattr(importlib.import_module(point.module.partition(".")[0]), name)
    raise Absent(f"{called or f'labwright.{name}'} comes with labwright-{plugin}: pip install labwright[{plugin}]")


class Shown:
    """What a notebook shows as a table, which comes with labwright-instruments; without it, as its `repr`."""

    def _repr_html_(self) -> Any:
        with suppress(Absent):
            return brought("instruments", "html")(self)
