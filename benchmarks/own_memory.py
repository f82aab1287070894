"""What much data of one's own takes in memory, and how much of a batch of texts is padding.

Pictures in folders (JPEGs of 32 by 32 pixels) and a table of ratings are made at two sizes. A process of its own for
each reads them as a run does, goes through batches, and says its peak resident memory: what grows between the sizes is
what a sample takes.

Example: `nice python benchmarks/own_memory.py --out benchmarks/own_data_memory.md`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PICTURES, RATINGS = (10_000, 50_000), (1_000_000, 5_000_000)
_CLASSES, _BATCH, _BATCHES = 10, 64, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the page to write")
    parser.add_argument("--texts", nargs="*", type=Path, default=[], help="tables of texts, for the shares of padding")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "PATH"), help="what this process is to measure")
    options = parser.parse_args()
    if options.measure:
        what, path = options.measure
        print(json.dumps(MEASURES[what](Path(path))))
        return
    lines = [
        "## Memory",
        "",
        "Peak resident memory of a process that reads the data and goes through 100 batches; `before` it read none.",
        "",
        "| what | samples | on the disk | before | peak | grown by | a sample | CPU s |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # so that every picture is looked at
        for what, make, sizes in (("pictures", pictures, PICTURES), ("ratings", ratings, RATINGS)):
            for size in sizes:
                path = make(Path(scratch) / f"{what}-{size}", size)
                seen = measured(what, path)
                grown = seen["peak"] - seen["before"]
                lines.append(
                    f"| {what} | {size:,} | {on_disk(path) / 1e6:,.0f} MB | {seen['before'] / 1e6:,.0f} MB | "
                    f"{seen['peak'] / 1e6:,.0f} MB | {grown / 1e6:,.0f} MB | {grown / size:,.0f} bytes | "
                    f"{seen['seconds']:.0f} |"
                )
                print(lines[-1], flush=True)
    lines += [
        "",
        "## Padding",
        "",
        "The share of a batch of 64 training texts that is padding, where batches hold texts of like length, and in "
        "random order.",
        "",
        "| texts | of like length | in random order |",
        "| --- | --: | --: |",
    ]
    for path in options.texts:
        seen = measured("padding", path)
        lines.append(f"| {path.name} | {seen['bucketed']:.0%} | {seen['random']:.0%} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def measured(what: str, path: Path) -> dict[str, Any]:
    call = [sys.executable, __file__, "--measure", what, str(path)]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return seen


def on_disk(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pictures(path: Path, size: int) -> Path:
    """JPEGs of noise, which differ from one another, in a folder for each class."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(size):
        folder = path / f"class-{number % _CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"{number:06}.jpg", quality=75)
    return path


def ratings(path: Path, size: int) -> Path:
    """Of a user for each hundred, of 20,000 items."""
    draw = np.random.default_rng(0)
    path = path.with_suffix(".csv")
    with path.open("w", encoding="utf-8") as file:
        file.write("user,item,rating,time\n")
        for start in range(0, size, 100_000):
            count = min(100_000, size - start)
            users, items = draw.integers(0, size // 100, count), draw.integers(0, 20_000, count)
            stars, times = draw.integers(1, 6, count), draw.integers(10**9, 2 * 10**9, count)
            rows = io.StringIO()
            np.savetxt(rows, np.stack([users, items, stars, times], 1), fmt="%d", delimiter=",")
            file.write(rows.getvalue())
    return path


def of_task(task: Any) -> dict[str, float]:
    before, began = peak(), time.process_time()
    task.prepare()
    batches = task.batches("train", size=_BATCH, seed=0, epoch=0)
    for batch, _ in zip(batches, range(_BATCHES), strict=False):
        assert len(batch)
    return {"before": before, "peak": peak(), "seconds": time.process_time() - began}


def of_pictures(path: Path) -> dict[str, float]:
    from labwright_tasks.classification import Classification
    from labwright_vision.data.image_folder import ImageFolder

    return of_task(Classification(ImageFolder(folder=path, size=32, flip=True)))


def of_ratings(path: Path) -> dict[str, float]:
    from labwright_recsys.data.interactions import OwnInteractions
    from labwright_recsys.top_n import TopN

    return of_task(TopN(OwnInteractions(file=path, rating="rating", time="time")))


def padding(path: Path) -> dict[str, float]:
    from labwright_nlp.data.text_files import TextFiles
    from labwright_tasks.classification import Classification

    task = Classification(TextFiles(path=path, case="lower", length=256))
    task.prepare()
    part = task.part("train")
    lengths = part.lengths.numpy()
    order = np.random.default_rng(0).permutation(len(lengths))
    random = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    bucketed = [batch.numpy() for batch in task.order("train", part, size=_BATCH, seed=0, epoch=0)]
    return {name: _padded(lengths, batches) for name, batches in (("bucketed", bucketed), ("random", random))}


def _padded(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    cells = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - int(lengths.sum()) / cells


MEASURES: dict[str, Callable[[Path], dict[str, float]]] = {
    "pictures": of_pictures,
    "ratings": of_ratings,
    "padding": padding,
}


if __name__ == "__main__":
    main()
