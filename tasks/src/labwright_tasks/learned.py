"""What a finished run has learned of its data, beside what is learned of this: whether its model can stand here."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from labwright import Data

TEACHER, NAMED = "teacher", "teacher.json"  # of a run that had one
FACTS = "facts.json"  # what the training samples are like
_ABOUT = {"checksums.json", "read.json", FACTS}  # what tells of the data, and changes nothing that is learned


def differing(data: Data, run: Path) -> tuple[list[str], bool]:
    """The files by which a run's model is given other numbers for the same things, such as another vocabulary's.

    And whether the training samples are the same, as far as is known. `data` is prepared.

    Example: `learned, same_samples = differing(task.data, Path("runs/first"))`
    """
    with TemporaryDirectory(prefix="labwright-") as scratch:
        data.save(Path(scratch))
        ours, theirs = _files(Path(scratch)), _files(run / "task")
    names = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    return sorted(names - _ABOUT), FACTS not in names


def _files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by its path there, but for a teacher's copy."""
    files = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {str(name): path.read_bytes() for name, path in files if name.parts[0] not in (TEACHER, NAMED)}
