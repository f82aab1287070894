"""Whether what is about to be computed fits into the machine's memory: said in numbers before it begins."""

from __future__ import annotations

from labwright import LabwrightError, free_memory


def enough(needed: int, what: str, instead: str) -> None:
    """Raises LabwrightError if there is less memory than `what` needs, in bytes; `instead` is what to do then."""
    free = free_memory()
    if free is not None and needed > free:
        raise LabwrightError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free. {instead}"
        )
