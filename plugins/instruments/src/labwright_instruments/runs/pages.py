"""Pages that `labwright runs` writes: one that is there is only replaced if it is one of these."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path

from labwright import LabwrightError
from labwright.engine import page, write_text

MARK = "<!-- written by labwright runs; it will be written anew -->"


def check_page(file: Path) -> None:
    """Raises LabwrightError if a page can't be written there, or something else is there."""
    if file.suffix != ".html":
        raise LabwrightError(f"{file} is to be a page: give a name that ends in .html.")
    if not file.parent.is_dir():
        raise LabwrightError(f"there is no folder {str(file.parent)!r} to write {file.name} into.")
    if file.is_symlink() or file.exists():
        try:
            ours = not file.is_symlink() and file.read_text(encoding="utf-8", errors="replace").rstrip().endswith(MARK)
        except OSError:
            ours = False
        if not ours:
            raise LabwrightError(
                f"{file} is there, and `labwright runs` didn't write it: move it away, or give another place."
            )


def write_page(file: Path, title: str, body: Iterable[str]) -> None:
    """Write a page in the frame of a run's report, whole or not at all. Raises RunFailed if it can't be written."""
    made = f"labwright {metadata.version('labwright')}, {datetime.now().astimezone():%d %B %Y, %H:%M %Z}"
    write_text(file, f"{page.document(title, body, made)}\n{MARK}\n")
