"""Whether `--fuse auto` chooses well: whole studies, each way forced, beside those that measure and choose.

Seconds of `Study.run` without its report, measuring included; rates are searched and nothing is pruned, so that each
trial has the same work. CPU time with one worker, which is this process; wall time with several. Rounds are
interleaved, each in another order, and figures are medians. The last column is auto's time over that of the best way,
of the same round.

Example: `OMP_NUM_THREADS=1 .venv/bin/python benchmarks/auto.py --rounds 5 --out benchmarks/AUTO.md`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import labwright as lw
import torch
from fused import CASES
from labwright_study import study as studies
from labwright_study.grouping import Grouping

STEPS = {"mlp": 1200, "neumf": 450, "gan": 300, "transformer": 100, "cnn": 200}


def seconds(case: str, way: str, steps: int, trials: int, workers: int, folder: Path) -> float:
    """A study's time; `way` is serial, auto, or a form that is forced with all trials of a batch."""
    table = CASES[case][1]("cpu")
    table["train"] = table["train"] | {"steps": steps, "log_every": 50}
    study = lw.Study(
        lw.Experiment(**table, log=()),
        trials,
        folder=folder,
        search={"only": ["optimizer.lr"], "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
        sampler="random",
        pruner="none",
        workers=workers,
        batch=trials,
        fuse="none" if way == "serial" else "auto",
        quiet=True,
    )
    with ExitStack() as patched:
        patched.enter_context(patch.object(studies, "write_report"))
        if way not in ("serial", "auto"):
            patched.enter_context(patch.object(Grouping, "_way", lambda _, __, specs: (way, -(-len(specs) // workers))))
        clock = time.process_time if workers == 1 else time.perf_counter
        begun = clock()
        study.run()
        return clock() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(STEPS), help=f"cases: {', '.join(STEPS)}")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways = ("serial", "grouped", "vmap", "auto")
    rows = [
        f"| of {options.trials} trials | {' | '.join(f'{way}, s' for way in ways)} | auto / best |",
        "|---" * 6 + "|",
    ]
    for case in options.only.split(","):
        seen: dict[str, list[float]] = {way: [] for way in ways}
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(options.rounds + 1):  # the first, which is short, warms up
                for way in (*ways[number % len(ways) :], *ways[: number % len(ways)]):
                    steps, folder = STEPS[case] if number else 5, Path(scratch) / f"{number}-{way}"
                    spent = seconds(case, way, steps, options.trials, options.workers, folder)
                    seen[way] += [spent] if number else []
        medians = {way: statistics.median(found) for way, found in seen.items()}
        best = min(medians, key=lambda way: medians[way] if way != "auto" else float("inf"))
        ratio = statistics.median(one / other for one, other in zip(seen["auto"], seen[best], strict=True))
        cells = " | ".join(f"{medians[way]:.2f}" for way in ways)
        rows.append(f"| {CASES[case][0]}, {STEPS[case]} steps | {cells} | {ratio:.3f} ({best}) |")
        print(rows[-1], flush=True)
    text = "\n".join(rows)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
