"""A recipe for a folder of recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median

from labwright_tasks.suggesting.sizes import sized
from labwright_tasks.suggesting.suggestion import Suggestion

from labwright_speech.data.layout import laid_out
from labwright_speech.data.waveform import SUFFIXES

_LOOKED_AT = 60  # recordings whose rates and lengths are looked at
_HIGHEST_RATE = 16_000  # words need no more
_RARE = 10  # recordings of a class


def class_recordings(path: Path) -> Suggestion | None:
    """Recordings in a sub-folder for each class. Raises LabwrightError for recordings that lie otherwise."""
    if not path.is_dir() or not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
        return None
    import soundfile

    names = [name for _, _, some in laid_out(path, "task.data.folder", by_folder=True).parts for name in some]
    counts = Counter(name.split("/")[-2] for name in names if "/" in name)
    if len(counts) < 2:
        return None
    facts = []
    for name in names[:: -(-len(names) // _LOOKED_AT)]:
        file = next((found for found in (path / name, *path.glob(f"*/{name}")) if found.is_file()), None)
        try:
            facts += [soundfile.info(file)] if file else []
        except (RuntimeError, OSError):
            continue  # a run, or check-data, names it
    rate = min(_HIGHEST_RATE, int(median(one.samplerate for one in facts))) if facts else _HIGHEST_RATE
    lengths = sorted(one.duration for one in facts) or [1.0]
    seconds = round(min(60.0, max(0.05, lengths[len(lengths) * 95 // 100])), 2)
    sizes = sized(len(names))
    few = [f"{name} {count}" for name, count in counts.items() if count < _RARE]
    named = ", ".join([f"{name} {count:,}" for name, count in [*sorted(counts.items())][:6]])
    return Suggestion(
        f"{len(names):,} recordings of {len(counts)} classes ({named}{', ...' if len(counts) > 6 else ''})",
        {
            "task": {
                "name": "classification",
                "data": {
                    "name": "speech/folder",
                    "folder": str(path),
                    "rate": rate,
                    "seconds": seconds,
                    "speed": 0.1,
                    "shift": 0.05,
                    "noise": 0.02,
                },
            },
            "model": {"name": "speech/bc-resnet", "scale": 2.0, "dropout": min(0.3, sizes.dropout)},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.05, "schedule": "one-cycle"},
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"19 of 20 recordings last {seconds:g} seconds or less; longer ones are cut to their middle.",
                f"Most have {rate:,} samples a second or more; speech needs no more than {_HIGHEST_RATE:,}.",
                "Where the names tell speakers, hold out whole speakers: task.data.by=speaker.",
            ),
            "train": sizes.reasons,
        },
        (f"Classes of fewer than {_RARE} recordings: {', '.join(few)}.",) if few else (),
        fit=0.9,
    )
