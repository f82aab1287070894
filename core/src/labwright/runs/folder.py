"""The run folder: recipe, environment, what the task learned, log, checkpoints, outcome.

recipe.toml        complete; enough to run it again
environment.json   versions, threads, hardware, git commit
task/              what the task learned from its data, checksummed
metrics.jsonl      one line for each stretch of training and each evaluation
checkpoints/       see train/checkpoints.py
outcome.json       how it ended
report.html        curves, tables, samples
.lock              held by the process that writes here, see base/locks.py

Every file is written whole or not at all and through no link, see base/files.py.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from labwright.base.errors import LabwrightError
from labwright.base.files import refuse_links
from labwright.base.locks import Lock


def new_folder(name: str, parent: Path = Path("runs")) -> Path:
    """Make and return `parent/NAME-001`, or the next number that is free.

    Raises LabwrightError if the folder can't be written.
    """
    stem = name.replace("/", "-")
    number = 1
    while True:
        folder = parent / f"{stem}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            if not parent.is_dir():
                raise LabwrightError(f"can't make the run folder {folder}: {parent} is a file.") from error
            number += 1
            continue
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder


def claim_folder(folder: Path, *, of_run: bool = True) -> Path:
    """Make the folder a run, or else a page, was told to use.

    Raises LabwrightError if something is in it or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise _unwritable(folder, error, "the run folder" if of_run else "the folder") from error
    if filled and of_run:
        raise LabwrightError(
            f"the run folder {folder} isn't empty. Give another one, or go on with `labwright resume {folder}`."
        )
    if filled:
        raise LabwrightError(f"the folder {folder} isn't empty. Give another one.")
    return folder


def set_aside(folder: Path) -> Path:
    """Rename the folder of a run that came to no checkpoint, and return its new name.

    Raises LabwrightError if the run goes on, or the folder can't be renamed.
    """
    refuse_links(folder)
    lock = Lock(folder)
    lock.acquire()
    asides = (folder.with_name(f"{folder.name}-begun-{number}") for number in count(1))
    aside = next(path for path in asides if not path.exists())
    try:
        folder.rename(aside)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        lock.release()
    return aside


def _unwritable(folder: Path, error: OSError, what: str = "the run folder") -> LabwrightError:
    return LabwrightError(f"can't write {what} {folder}: {error.strerror}. Give another one.")
