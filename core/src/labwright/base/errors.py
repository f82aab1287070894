"""The errors a user can cause or meet, and the wording they share."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class LabwrightError(Exception):
    """Something a person can put right. Its text is the whole message: where, what was given, what holds, what next.

    The command line prints it without a traceback and exits with 2.

    Example: `raise lw.LabwrightError(f"{file}: line {number} has no label; leave it out or give it one.")`
    """


class RunFailed(LabwrightError):
    """A run that was set up well and could not go on: a loss that is no number, a full disk. Exit code 1.

    Example: `raise lw.RunFailed("the simulator does not answer any more.")`
    """


class Diverged(RunFailed):
    """A run whose numbers ceased to be numbers, as with too high a rate.

    Example: `raise lw.Diverged(f"the reward is {reward} after step {step}.")`
    """


class StopRun(Exception):
    """Raised by a hook implementation to end the run early; the run is saved and ends as "stopped".

    Example: `raise lw.StopRun("accuracy reached 0.99")`
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def nearest(given: str, known: Iterable[str], otherwise: str = ".") -> str:
    """The end of a sentence: "; did you mean 'x'?", or `otherwise` if no known name is near. Case doesn't matter.

    Example: `raise lw.LabwrightError(f"no class is called {name!r}{lw.nearest(name, classes)}")`
    """
    names = {name.lower(): name for name in known}
    close = get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    if not close:  # a name given without its domain
        close = [name for name in names if name.rpartition("/")[2] == given.lower()][:1]
    return f"; did you mean {names[close[0]]!r}?" if close else otherwise


def sentence(text: str) -> str:
    """A text with a full stop, unless it has an end.

    Example: `lw.sentence(str(error))`
    """
    return text if text.endswith(("?", ".")) else f"{text}."


def a(kind: str) -> str:
    """A kind with its article: `a model`, `an optimizer`."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def shown(value: object, most: int = 200) -> str:
    """A value for a message, as `repr` writes it but of a length to be read, whatever it is."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - somebody's own __repr__, nested without end, a number of a million digits
        text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


def words(error: BaseException) -> str:
    """An error in one line: its type and the first line of what it says."""
    try:
        first, *_ = [*str(error).strip().splitlines(), ""]
    except Exception:  # noqa: BLE001 - somebody's own __str__
        first = ""
    return f"{type(error).__name__}: {first}".rstrip(".: ")


def path_fault(path: Path) -> str:
    """Why no file can have this path; "" if one can."""
    try:
        path.expanduser().lstat()
    except RuntimeError:
        return f"there is nobody called {path.parts[0][1:]!r} on this machine"
    except ValueError:
        return "a path has no zero bytes"
    except OSError as error:  # that it isn't there may be right; who reads it says what is wrong
        return "the name is too long for a file" if error.errno == errno.ENAMETOOLONG else ""
    return ""


def located(path: Path | str) -> str:
    """A path for a message, and where it was looked for unless it says that itself.

    Example: `raise lw.LabwrightError(f"there is no file {lw.located(file)}.")`
    """
    return f"{str(path)!r}" if Path(path).is_absolute() else f"{str(path)!r} in {Path.cwd()}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message: `a, b, c`, cut after `most`.

    Example: `lw.listed(["cat", "dog"])`
    """
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + rest
