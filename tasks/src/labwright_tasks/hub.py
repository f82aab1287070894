"""Data sets of the Hugging Face datasets library: of the hub, or of a folder that the library wrote or can read."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labwright import LabwrightError, located, sentence

_WRITTEN = ("dataset_dict.json", "state.json")


def written_by_library(folder: Path) -> bool:
    """Whether `save_to_disk` made the folder."""
    return any((folder / name).is_file() for name in _WRITTEN)


def loaded(dataset: str, subset: str | None, *, needs: str) -> dict[str, Any]:
    """The splits of a data set by name, of a folder, if there is one of that name, else of the hub.

    Args:
        dataset: a folder, or a name on the hub.
        subset: its configuration.
        needs: says who needs the library and what brings it, where it isn't installed.

    Raises LabwrightError in the library's words if there is no such data set within reach.
    """
    folder = Path(dataset).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or dataset.startswith(".") or dataset.count("/") > 1):
        raise LabwrightError(f"task.data.dataset: there is no folder {located(folder)}.")
    if find_spec("datasets") is None:
        raise LabwrightError(needs)
    import datasets

    datasets.disable_progress_bars()
    asking = logging.getLogger("huggingface_hub")
    before = asking.level
    asking.setLevel(logging.ERROR)  # it announces each time it asks again
    try:
        if written_by_library(folder):
            found = datasets.load_from_disk(str(folder))
        else:
            found = datasets.load_dataset(str(folder) if folder.is_dir() else dataset, subset)
    except Exception as error:  # whatever the hub, the network or a file has to say
        reason = str(error).strip().split("\n")[0]
        raise LabwrightError(
            f"task.data.dataset: {dataset!r} can't be loaded: {type(error).__name__}: {sentence(reason)} It is a name "
            "on the Hugging Face hub, which needs the network the first time, or a folder."
        ) from error
    finally:
        asking.setLevel(before)
    return dict(found) if isinstance(found, dict) else {"train": found}
