"""The one file that an instrument leaves: never over another."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from labwright import LabwrightError, listed, nearest


def output_file(out: Path | None, name: str, kinds: tuple[str, ...]) -> Path:
    """The file to write: `out`, or NAME-001 in the working directory with the first of the kinds, or the next free.

    Raises LabwrightError for one that is there, that can't be, or whose name doesn't end in one of the kinds.
    """
    if out is None:
        stem = name.replace("/", "-")
        return next(path for number in count(1) if not (path := Path(f"{stem}-{number:03d}{kinds[0]}")).exists())
    if not out.name.endswith(kinds):
        raise LabwrightError(
            f"--out: {out.name!r} ends in none of {listed(kinds)}{nearest(out.suffix, kinds)} The end of its name says "
            "what is written."
        )
    if out.exists():
        raise LabwrightError(f"--out: {str(out)!r} is there already. Give another name, or move it.")
    if not out.parent.is_dir():
        raise LabwrightError(f"--out: there is no folder {str(out.parent)!r} to write {out.name!r} in. Make it first.")
    return out
