"""What labwright-instruments brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    target = "labwright_instruments.event_files:TensorBoard"
    yield lw.Component("logger", "tensorboard", target, "event files for TensorBoard")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb("runs", "labwright_instruments.runs.verb:verb", "list runs, compare, draw and note them", "Look")
