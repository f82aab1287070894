"""A recipe for a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from labwright_tasks.suggesting.sizes import sized
from labwright_tasks.suggesting.suggestion import Suggestion
from PIL import Image

from labwright_vision.data.folders import Tally, class_folders, laid_out, pictures

_LOOKED_AT = 60  # pictures whose sizes are looked at
_SIZES = (32, 64, 96, 128)  # pixels along a side
_RARE = 10  # pictures of a class


def class_pictures(path: Path) -> Suggestion | None:
    """Pictures in a sub-folder for each class. Raises LabwrightError for pictures that lie otherwise."""
    if not path.is_dir() or not pictures(path, Tally()):
        return None
    layout = laid_out(path, Tally())
    classes = class_folders(layout.parts["train"]).items()
    of_class = {name: pictures(folder, Tally()) for name, folder in classes if isinstance(folder, Path)}
    counts = {name: len(some) for name, some in of_class.items()}
    seen = [picture for some in of_class.values() for picture in some[: -(-_LOOKED_AT // len(of_class))]]
    shapes, grey = _looked_at(seen)
    side = int(median(min(shape) for shape in shapes)) if shapes else _SIZES[1]
    size = max((known for known in _SIZES if known <= side), default=_SIZES[0])
    signs = all(len(name) == 1 for name in of_class)  # digits and letters, which are others mirrored
    sizes = sized(sum(counts.values()))
    data = {"name": "vision/image-folder", "folder": str(path), "size": size, "channels": 1 if grey else 3}
    turned = {"rotate": 10.0, "shift": 0.1, "scale": 0.1, "flip": not signs}
    few = [f"{name} {count}" for name, count in counts.items() if count < _RARE]
    return Suggestion(
        f"{sum(counts.values()):,} pictures of {len(counts)} classes ({_named(counts)})",
        {
            "task": {"name": "classification", "data": data | turned},
            "model": {"name": "vision/resnet", "depth": 20, "width": 16},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05},
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"The pictures are about {side} pixels along their shorter side, {'grey' if grey else 'coloured'}.",
                "Turned, shifted and scaled a little, so that few go further"
                + ("; not mirrored, as single signs are others then." if signs else ", and mirrored."),
            ),
            "train": sizes.reasons,
        },
        (f"Classes of fewer than {_RARE} pictures: {', '.join(few)}.",) if few else (),
        fit=0.9,
    )


def _looked_at(files: list[Path]) -> tuple[list[tuple[int, int]], bool]:
    """The sizes of those that can be read, and whether all are grey."""
    shapes, modes = [], set()
    for file in files:
        try:
            with Image.open(file) as picture:
                shapes.append(picture.size)
                modes.add(picture.mode)
        except (OSError, ValueError):
            continue  # a run, or check-data, names it
    return shapes, bool(modes) and modes <= {"L", "1", "I;16", "LA"}


def _named(counts: dict[str, int]) -> str:
    few = [f"{name} {count:,}" for name, count in [*counts.items()][:6]]
    return ", ".join(few + (["..."] if len(counts) > len(few) else []))
