"""What labwright-export brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb("export", "labwright_export.verb:verb", "write a run's model as ONNX", "Train", trains=True)
