"""What labwright-testing brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    here = "labwright_testing.verbs"
    make, begin = "Make plugins", "begin a plugin, or a component of one"
    yield lw.Verb("new", f"{here}.new:verb", begin, make)
    yield lw.Verb("check", f"{here}.check:verb", "try all that a plugin brings, as its tests do", make)
    prove = "prove that a recipe resumes bit for bit"
    yield lw.Verb("verify-resume", f"{here}.verify_resume:verb", prove, "Train", trains=True)
    yield lw.Verb("doctor", f"{here}.doctor:verb", "check versions, the GPU, the compiler and plugins", "Look")
