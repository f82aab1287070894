"""What labwright-stripes brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_stripes"
    yield lw.Component("data", "stripes/four-ways", f"{here}.data:FourWays", "pictures striped in one of four ways")
    yield lw.Component("model", "stripes/edges", f"{here}.models:Edges", "a bank of filters and what is strongest")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    yield lw.Recipe("stripes/four-ways", folder / "four-ways.toml", "which way the stripes run, in seconds")
