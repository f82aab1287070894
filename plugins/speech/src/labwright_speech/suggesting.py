"""A recipe for a folder of recordings."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from statistics import median

from labwright_tasks.suggesting.sizes import CHOSEN, GOAL, sized
from labwright_tasks.suggesting.suggestion import Suggestion

from labwright_speech.data.layout import laid_out
from labwright_speech.data.stores import Store

_LOOKED_AT = 60  # recordings whose rates and lengths are looked at
_HIGHEST_RATE = 16_000  # words need no more
_RARE = 10  # recordings of a class
_OFTEN = 5  # recordings of a class, in the mean, where their names say what they are
_BEGINNING = "(^|/)(?P<label>[^/_.-]+)[^/]*$"


def class_recordings(path: Path) -> Suggestion | None:
    """Recordings in a sub-folder for each class, or whose names begin with it; also in zip archives.

    Args:
        path: folder or zip archive that may hold such recordings.

    Raises LabwrightError for recordings that lie otherwise.
    """
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return None
    files, by_folder = _files(path)
    counts = Counter(name.split("/")[0] if by_folder else re.split("[_.-]", name)[0] for _, name in files)
    if len(counts) < 2 or (not by_folder and len(files) < _OFTEN * len(counts)):
        return None
    rate, seconds = _rate_and_seconds(files)
    sizes = sized(len(files))
    few = [f"{name} {count}" for name, count in counts.items() if count < _RARE]
    named = ", ".join([f"{name} {count:,}" for name, count in [*sorted(counts.items())][:6]])
    return Suggestion(
        f"{len(files):,} recordings of {len(counts)} classes ({named}{', ...' if len(counts) > 6 else ''})",
        {
            "task": {
                "name": "classification",
                "data": {
                    "name": "speech/folder",
                    "folder": str(path),
                    **({} if by_folder else {"pattern": _BEGINNING}),
                    "rate": rate,
                    "seconds": seconds,
                    "speed": 0.1,
                    "shift": 0.05,
                    "noise": 0.02,
                },
                "goal": GOAL,
            },
            "model": {"name": "speech/bc-resnet", "scale": 2.0, "dropout": min(0.3, sizes.dropout)},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.05, "schedule": "one-cycle"},
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                *(() if by_folder else ("What names begin with is taken for the class; task.data.pattern says so.",)),
                f"19 of 20 recordings last {seconds:g} seconds or less; longer ones are cut to their middle.",
                f"Most have {rate:,} samples a second or more; speech needs no more than {_HIGHEST_RATE:,}.",
                "Where the names tell speakers, hold out whole speakers: task.data.by=speaker.",
                CHOSEN,
            ),
            "train": sizes.reasons,
        },
        (f"Classes of fewer than {_RARE} recordings: {', '.join(few)}.",) if few else (),
        fit=0.9,
    )


def _files(path: Path) -> tuple[list[tuple[Store, str]], bool]:
    """Where recordings lie, with their names, and whether these are in sub-folders: then those in one alone."""
    parts = laid_out(path, "task.data.folder", by_folder=False).parts
    files = [(lie, name) for _, lie, names in parts for name in names]
    if not any("/" in name for _, name in files):
        return files, False
    parts = laid_out(path, "task.data.folder", by_folder=True).parts
    return [(lie, name) for _, lie, names in parts for name in names if "/" in name], True


def _rate_and_seconds(files: list[tuple[Store, str]]) -> tuple[int, float]:
    """Samples a second that most of some recordings have, and how long 19 of 20 last at most."""
    import soundfile

    facts = []
    for lie, name in files[:: -(-len(files) // _LOOKED_AT)]:
        try:
            sound = lie.open(name)
            facts.append(soundfile.info(io.BytesIO(sound) if isinstance(sound, bytes) else sound))
        except (RuntimeError, OSError):
            continue  # a run, or check-data, names it
    rate = min(_HIGHEST_RATE, int(median(one.samplerate for one in facts))) if facts else _HIGHEST_RATE
    lengths = sorted(one.duration for one in facts) or [1.0]
    return rate, round(min(60.0, max(0.05, lengths[len(lengths) * 95 // 100])), 2)
