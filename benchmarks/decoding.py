"""Pictures a second: `vision/shards` with 0, 1 and 2 loader workers, beside a DataLoader over a plain folder.

Made JPEGs lie in tar shards and, the same ones, as files in folders. Both sides decode with Pillow, cut, resize and
scale to the same tensors, which is checked; the DataLoader is the usual one: a Dataset of one picture, default collate,
persistent workers. An epoch each in turn, so that a busy minute hits all; the first of each, which starts workers,
isn't counted. Beside the medians stands the time an epoch's first batch took.

Example: `.venv/bin/python benchmarks/decoding.py --rounds 7 --out benchmarks/DECODING.md`.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import labwright as lw
import numpy as np
import torch
from labwright_tasks.classification import Classification
from labwright_vision.data.own_pictures import Reader
from labwright_vision.data.shards import Shards
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

CLASSES, SIDE, SIZE, BATCH = 5, 300, 128, 64


def made(folder: Path, pictures: int, shards: int) -> None:
    """The same pictures as shards and as files: smooth noise, which compresses as photographs do."""
    chance = np.random.default_rng(0)
    (folder / "shards").mkdir()
    for label in range(CLASSES):
        (folder / "files" / str(label)).mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / "shards" / f"train-{shard:04}.tar", "w") as tar:
            for number in range(shard, pictures, shards):
                coarse = Image.fromarray(chance.integers(0, 256, (SIDE // 6, SIDE // 6, 3), dtype=np.uint8))
                output = io.BytesIO()
                coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(output, "JPEG", quality=90)
                label = number % CLASSES
                (folder / "files" / str(label) / f"{number:06}.jpg").write_bytes(output.getvalue())
                for suffix, content in (("jpg", output.getvalue()), ("cls", str(label).encode())):
                    header = tarfile.TarInfo(f"{number:06}.{suffix}")
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))


class Folder(Dataset[Any]):
    """One picture at a time, as one writes it by hand; `reader` is labwright's, so that the work is the same."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(root.rglob("*.jpg"))
        self.reader = Reader(channels=3, size=SIZE, white=None, background=255)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        return self.reader([path])[0], int(path.parent.name)


def by_labwright(root: Path, workers: int) -> Callable[[int], Iterable[Tensor]]:
    task = Classification(Shards(folder=root, size=SIZE, valid=0.0, test=0.0))
    task.prepare()
    helpers = lw.Workers(task.part, workers) if workers else None

    def epoch(number: int) -> Iterable[Tensor]:
        batches = task.batches("train", size=BATCH, seed=0, epoch=number, workers=helpers)
        return (batch.inputs[0] for batch in batches or ())

    return epoch


def by_hand(root: Path, workers: int) -> Callable[[int], Iterable[Tensor]]:
    loader = DataLoader(
        Folder(root), batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda number: (x_BCHW for x_BCHW, _ in loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="labwright-") as scratch:
        folder = Path(scratch)
        made(folder, options.pictures, options.shards)
        contenders = {
            (name, workers): begin(folder / part, workers)
            for workers in (0, 1, 2)
            for name, part, begin in (("vision/shards", "shards", by_labwright), ("a folder", "files", by_hand))
        }
        rates: dict[tuple[str, int], list[float]] = {key: [] for key in contenders}
        firsts: dict[tuple[str, int], list[float]] = {key: [] for key in contenders}
        expected = 0.0  # the sum of all values, of the first that was gone through
        for number in range(options.rounds + 1):
            for key, epoch in contenders.items():
                begun, total, first, count = time.perf_counter(), 0.0, 0.0, 0
                for x_BCHW in epoch(number):
                    first = first or time.perf_counter() - begun
                    total += float(x_BCHW.double().sum())
                    count += len(x_BCHW)
                if number:
                    rates[key].append(count / (time.perf_counter() - begun))
                    firsts[key].append(first)
                expected = expected or total
                assert count == options.pictures and abs(total - expected) < 1e-6 * abs(expected), key
    lines = [
        f"{options.pictures:,} JPEGs of {SIDE} x {SIDE} in {options.shards} shards, decoded to {SIZE} x {SIZE},",
        f"{BATCH} a batch. Pictures a second, and the time to an epoch's first batch; medians of {options.rounds}.",
        "",
        "| workers | vision/shards | DataLoader, a folder | first batch | its first batch |",
        "| --- | --: | --: | --: | --: |",
    ]
    for workers in (0, 1, 2):
        keys = [("vision/shards", workers), ("a folder", workers)]
        figures = [f"{statistics.median(rates[key]):,.0f}" for key in keys]
        figures += [f"{statistics.median(firsts[key]):.2f} s" for key in keys]
        lines.append(f"| {workers} | " + " | ".join(figures) + " |")
    text = "\n".join(lines)
    print(text)
    if options.out:
        options.out.write_text(f"# Decoding\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
