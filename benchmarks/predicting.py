"""What answering in batches saves `labwright predict` on a folder of pictures: the whole of reading and answering.

A residual network as `vision/image-folder` has it, random pictures of 32 x 32 in PNG. One after another and in
batches are interleaved, in one process with one thread.

Example: `.venv/bin/python benchmarks/predicting.py --pictures 2000 --rounds 3`
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path

import labwright as lw
import torch
from labwright.runs.load import built_from, predictions
from PIL import Image

ONE_BY_ONE, TOGETHER = 1, 64


def pictures(folder: Path, count: int, size: int) -> Path:
    """Random pictures in two classes."""
    random = torch.Generator().manual_seed(0)
    for number in range(count):
        x_HWC = torch.randint(0, 256, (size, size, 3), generator=random, dtype=torch.uint8)
        file = folder / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x_HWC.numpy()).save(file)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pictures(Path(scratch, "pictures"), given.pictures, given.size)
        overrides = [
            f"task.data.folder={folder}",
            f"task.data.size={given.size}",
            "train.epochs=",
            "train.steps=1",
            "log=[]",
        ]
        experiment = lw.Experiment.from_recipe("vision/image-folder", overrides)
        run = experiment.run(Path(scratch, "run"))
        built = built_from(run.folder, experiment)
        files = built.task.data.files(folder)
        seconds: dict[int, list[float]] = {ONE_BY_ONE: [], TOGETHER: []}
        for _ in range(given.rounds):
            for at_once in seconds:
                begun = time.perf_counter()
                inputs = ((str(file), partial(built.task.data.read, file)) for file in files)
                deque(predictions(built, inputs, at_once=at_once), maxlen=0)
                seconds[at_once].append(time.perf_counter() - begun)
    alone, together = (statistics.median(taken) for taken in seconds.values())
    print(f"{len(files)} pictures: one by one {alone:.2f} s, in batches {together:.2f} s, {alone / together:.1f} times")


if __name__ == "__main__":
    main()
