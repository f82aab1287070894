"""What labwright-geometry brings. This module is imported whenever plugins are listed: it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("data", "geometry/spirals", "labwright_geometry.data:Spirals", "points on interleaved spirals")
    yield lw.Component("model", "geometry/mlp", "labwright_geometry.models:MLP", "two hidden layers")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    yield lw.Recipe("geometry/spirals", folder / "spirals.toml", "tell spirals apart, in seconds")
