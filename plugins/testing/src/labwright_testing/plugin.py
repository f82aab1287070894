"""What labwright-testing brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    summary = "try all that a plugin brings, as its tests do"
    yield lw.Verb("check", "labwright_testing.verb:verb", summary, "Make plugins")
