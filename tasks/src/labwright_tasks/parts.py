"""What people call the parts of data: the names of folders, files and splits that are `train`, `valid` or `test`."""

from __future__ import annotations

NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}
_PARTS = {name: part for part, names in NAMES.items() for name in names}


def part_named(name: str) -> str | None:
    """The part that a folder, a file's stem or a split of that name is, whatever its case; None: it is no part's."""
    return _PARTS.get(name.casefold())
