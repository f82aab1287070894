"""What a person says of a run: a note and tags, in notes.toml of its folder, which nothing else writes."""

from __future__ import annotations

import os
import secrets
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from labwright import LabwrightError

FILE = "notes.toml"
LONGEST = 40  # characters of a tag


@dataclass(frozen=True)
class Notes:
    """A note, and tags in the order in which they were given."""

    note: str = ""
    tags: tuple[str, ...] = ()

    def tagged(self, tag: str, *, remove: bool = False) -> Notes:
        """These with a tag more, or less. Raises LabwrightError for one that couldn't be asked for, or isn't there."""
        if remove:
            if tag not in self.tags:
                has = f"its tags are {', '.join(self.tags)}" if self.tags else "it has no tags"
                raise LabwrightError(f"there is no tag {tag!r} to remove: {has}.")
            return replace(self, tags=tuple(one for one in self.tags if one != tag))
        plain = tag.isprintable() and tag == tag.strip() and not set(tag) & set(" ,*?[]<>=!")
        if not plain or not 0 < len(tag) <= LONGEST:
            raise LabwrightError(
                f"given the tag {tag!r}; it is a word of up to {LONGEST} characters, without blanks, commas and "
                "* ? [ ] < > = !, such as good or paper-1."
            )
        return self if tag in self.tags else replace(self, tags=(*self.tags, tag))


def read_notes(folder: Path, faults: list[str]) -> Notes:
    """The notes of a run folder, none where there is no file; one that can't be read is added to `faults`."""
    try:
        told = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
        note, tags = told.get("note", ""), told.get("tags", [])
        if not isinstance(note, str) or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError("note should be a text and tags a list of texts")
        return Notes(note, tuple(tags))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        faults.append(f"{FILE} can't be read: {error}")
    return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Write a run folder's notes.toml, whole or not at all; empty notes leave no file.

    Raises LabwrightError if the folder can't be written.
    """
    import tomli_w

    file = folder / FILE
    unfinished = file.with_name(f".{FILE}.{secrets.token_hex(4)}.part")
    table = {key: value for key, value in (("note", notes.note), ("tags", list(notes.tags))) if value}
    try:
        if not table:
            file.unlink(missing_ok=True)
            return
        with unfinished.open("x", encoding="utf-8") as out:
            out.write(tomli_w.dumps(table))
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(file)  # a link of that name is replaced and not followed
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise LabwrightError(f"can't write {file}: {error.strerror or error}.") from error
