"""Which commit the working folder is at, asked so that nothing a repository's configuration names is run.

A folder that somebody sent may hold a repository of theirs, and git runs programs that its configuration names: file
system monitors, hooks, filters, and what fetches objects that are missing.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Any

SECONDS = 5
_HARMLESS = (
    "--no-optional-locks",
    *("-c", "core.fsmonitor="),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "safe.bareRepository=explicit"),  # a repository is a .git, and no folder that looks like the inside of one
)
_FETCHING_NOTHING = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


def commit() -> dict[str, Any] | None:
    """The commit, and whether files it holds are changed; None without git or a repository.

    `changed` is None where git can't tell without running filters that the repository itself configures, or soon.
    """
    found: dict[str, Any] | None = None
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        found = {"commit": _said("rev-parse", "HEAD").strip(), "changed": None}
        if not _has_filters():
            words = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
            found["changed"] = bool(_said(*words))
    return found


def _has_filters() -> bool:
    """Whether the repository's own configuration, not the user's, names programs that file contents go through."""
    listed = _said("config", "--list", "--show-scope", "--name-only", "-z").split("\0")
    pairs = zip(listed[::2], listed[1::2], strict=False)
    return any(scope in ("local", "worktree") and name.startswith("filter.") for scope, name in pairs)


def _said(*words: str) -> str:
    command = ["git", *_HARMLESS, *words]
    environment = os.environ | _FETCHING_NOTHING
    done = subprocess.run(command, capture_output=True, env=environment, check=True, timeout=SECONDS)
    return done.stdout.decode(errors="replace")
