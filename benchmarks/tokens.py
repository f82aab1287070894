"""Training on 200 million made tokens in a file: resident memory, time to the first batch, resumption anywhere.

    .venv/bin/python benchmarks/tokens.py --tokens 200_000_000 --out benchmarks/TOKENS.md

A process of its own prepares data `nlp/tokens` and goes through batches of it; it prints what is resident (VmRSS)
before the data is looked at, with the first batch, and as batches pass. Beside it is the same file as one writes it by
hand: mapped once, mapped for each batch as nanoGPT does, and read whole. The first batch is timed from the call of
`prepare` on. Then batches at random steps are asked for by a new object, as a resumed run does, and compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labwright_tasks.language_model import LanguageModel

CONTEXT, SIZE, SHOWN = 256, 64, 5
VOCABULARY = 50_257


def made(folder: Path, tokens: int) -> None:
    import numpy as np

    chance = np.random.default_rng(0)
    with (folder / "train.bin").open("wb") as file:
        for begin in range(0, tokens, 10_000_000):
            count = min(10_000_000, tokens - begin)
            file.write(chance.integers(0, VOCABULARY, count, dtype=np.uint16).tobytes())
    (folder / "tokens.json").write_text(json.dumps({"vocab_size": VOCABULARY, "dtype": "uint16"}))


def resident() -> float:
    """MB of this process that are in memory, those of mapped files included."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def measured(way: str, folder: Path, batches: int) -> dict[str, object]:
    import labwright as lw
    import numpy as np
    import torch
    from labwright_nlp.data.token_files import TokenFiles
    from labwright_tasks.language_model import LanguageModel

    torch.set_num_threads(1)
    points = {"before": resident()}
    begun = time.perf_counter()

    def task_of() -> LanguageModel:
        task = LanguageModel(TokenFiles(path=folder, context=CONTEXT))
        task.prepare()
        return task

    def by_labwright() -> Callable[[int], object]:
        batches = iter(task_of().batches("train", size=SIZE, seed=0, epoch=0) or ())
        return lambda number: next(batches)

    def by_hand(ids: Callable[[], np.ndarray]) -> Callable[[int], object]:
        order = lw.epoch_order((len(ids()) - 1) // CONTEXT, seed=0, epoch=0).numpy()

        def batch(number: int) -> torch.Tensor:
            starts = order[number * SIZE : (number + 1) * SIZE] * CONTEXT
            return torch.from_numpy(ids()[starts[:, None] + np.arange(CONTEXT + 1)].astype(np.int64))

        return batch

    file = folder / "train.bin"
    once = cache(partial(np.memmap, file, np.uint16, mode="r"))
    ways = {
        "labwright": by_labwright,
        "mapped once": lambda: by_hand(once),
        "mapped anew": lambda: by_hand(partial(np.memmap, file, np.uint16, mode="r")),
        "read whole": lambda: by_hand(cache(partial(np.fromfile, file, np.uint16))),
    }
    batch = ways[way]()
    batch(0)
    first, points["first batch"] = time.perf_counter() - begun, resident()
    begun = time.perf_counter()
    for number in range(1, batches):
        batch(number)
        if number % (batches // SHOWN) == 0:
            points[f"{number} batches"] = resident()
    each = (time.perf_counter() - begun) / (batches - 1)
    exact = _exact(task_of) if way == "labwright" else None
    return {"way": way, "resident_mb": points, "first_batch_s": first, "batch_ms": each * 1000, "resumed_alike": exact}


def _exact(task_of: Callable[[], LanguageModel]) -> bool:
    """Whether the batch of a random step, by an object that begins there, is that of the whole epoch."""
    import labwright as lw
    import torch

    whole = task_of().batches("train", size=SIZE, seed=0, epoch=3)
    assert whole is not None
    for step in torch.randint(len(whole), (20,), generator=lw.generator(0)).tolist():
        expected = whole.split.fetch(whole.parts[step], 3, 0)
        resumed = next(iter(task_of().batches("train", size=SIZE, seed=0, epoch=3, start=step) or ()))
        if not torch.equal(expected.inputs[0], resumed.inputs[0]) or not torch.equal(expected.targets, resumed.targets):
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000_000)
    parser.add_argument("--batches", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="of the token file; by default one that goes away")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.folder, options.batches)))
        return
    with TemporaryDirectory(prefix="labwright-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "train.bin").is_file():
            made(folder, options.tokens)
        rows, exact = [], False
        for way in ("labwright", "mapped once", "mapped anew", "read whole"):
            command = [sys.executable, __file__, "--way", way, "--folder", folder, "--batches", options.batches]
            told = json.loads(subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout)
            columns = [*told["resident_mb"], "time to it", "another batch"]
            times = [f"{told['first_batch_s']:.2f} s", f"{told['batch_ms']:.2f} ms"]
            rows.append([way, *(f"{mb:,.0f}" for mb in told["resident_mb"].values()), *times])
            exact = exact or bool(told["resumed_alike"])
    size = options.tokens * 2 / 1e6
    text = "\n".join(
        [
            f"{options.tokens:,} tokens of uint16, {size:,.0f} MB; windows of {CONTEXT}, {SIZE} a batch, one thread.",
            "Resident memory is in MB.",
            "",
            "| | " + " | ".join(columns) + " |",
            "| --- |" + " --: |" * len(columns),
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            f"The batches of 20 random steps of epoch 3, by new objects: {'all equal' if exact else 'NOT equal'}.",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(f"# Tokens that aren't in memory\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
