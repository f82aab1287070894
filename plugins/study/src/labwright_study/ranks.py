"""A study whose trials several processes train together, each batch divided among them.

The first process asks, decides and writes. It says what is to be checked or trained next, and the others do it along
with it, until it says what has come of it all. A run that is pruned ends on all of them, as any run that is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from labwright import LabwrightError, RunFailed, ranks
from labwright.engine import interruptions

from labwright_study.trial import Group, Trials

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """What has come of it, or the error that ended it."""

    value: Any = None
    error: BaseException | None = None


def led(trials: Trials, lead: Callable[[], T]) -> T:
    """What `lead` returns or raises on the first process, on all; the others check and train what it does."""
    if not ranks.first():
        with interruptions(True):  # a signal comes to all of them: what becomes of it is for the first to say
            return _followed(trials)  # type: ignore[no-any-return]
    try:
        value = lead()
    except BaseException as error:
        alike = isinstance(error, LabwrightError | KeyboardInterrupt)
        ranks.shared(_End(error=error if alike else RunFailed(f"the first process failed: {error!r}.")))
        raise
    ranks.shared(_End(value))
    return value


def checked(trials: Trials) -> int:
    """The number of training samples of what all processes have checked; for the first one."""
    ranks.shared("check")
    return trials.check()


def _followed(trials: Trials) -> Any:
    while True:
        order: Any = ranks.shared(None)
        if isinstance(order, Group):
            for _ in trials.run(order, lambda *_: False):
                pass  # what came of it is for the first to say
        elif isinstance(order, _End) and order.error is not None:
            raise order.error
        elif isinstance(order, _End):
            return order.value
        else:
            trials.check()
