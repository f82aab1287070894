"""What labwright-sharded brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    target = "labwright_sharded.device:Sharded"
    yield lw.Component("device", "sharded/parameters", target, "any device, where each process holds a part of a model")
