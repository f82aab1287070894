"""Fused trials beside the same trials one after another: CPU time of a whole trial-step, feeding and update included.

One thread; rounds are interleaved (serial, fused, serial, fused, ...) and figures are medians over rounds. `--processes
2` runs two processes of each side by side and adds up what they do in a second of wall time. `--device cuda` measures
wall time on a GPU; it has not been run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import labwright as lw
import torch
from labwright.train.trainer import Trainer
from labwright_study.fused.fused_loop import FusedLoop, program_for
from labwright_study.fused.program import FORMS, Form

HERE = Path(__file__).resolve().parent
COUNTS = (4, 8, 16, 32)
SERIAL = "serial"
Way = tuple[str, int]  # a form or "serial", and how many trials at once


def recipe(task: Any, model: Any, loss: Any, optimizer: dict[str, Any], batch: int, device: str) -> dict[str, Any]:
    return {
        "task": task,
        "model": model,
        "loss": loss,
        "optimizer": optimizer,
        "device": device,
        "train": {"steps": 1_000_000, "batch_size": batch, "log_every": 1_000_000},
    }


CASES: dict[str, tuple[str, Callable[[str], dict[str, Any]], int]] = {
    "mlp": (
        "MLP 64-128-10, batch 64, SGD with momentum",
        lambda device: recipe(
            {"name": "classification", "data": "vision/digits"},
            {"name": "vision/mlp", "width": 128, "depth": 1},
            "cross-entropy",
            {"name": "sgd", "momentum": 0.9},
            64,
            device,
        ),
        40,
    ),
    "mlp-small": (
        "MLP 64-128-10, batch 8, AdamW",
        lambda device: recipe(
            {"name": "classification", "data": "vision/digits"},
            {"name": "vision/mlp", "width": 128, "depth": 1},
            "cross-entropy",
            {"name": "adamw"},
            8,
            device,
        ),
        40,
    ),
    "mlp-dropout": (
        "MLP 64-128-10, batch 64, dropout, clipping, AdamW",
        lambda device: (
            recipe(
                {"name": "classification", "data": "vision/digits"},
                {"name": "vision/mlp", "width": 128, "depth": 1, "dropout": 0.2},
                "cross-entropy",
                {"name": "adamw"},
                64,
                device,
            )
            | {"train": {"steps": 1_000_000, "batch_size": 64, "log_every": 1_000_000, "clip": 1.0}}
        ),
        40,
    ),
    "neumf": (
        "NeuMF, batch 128, Adam",
        lambda device: recipe(
            {"name": "recsys/top-n", "data": "recsys/synthetic"},
            {"name": "recsys/neumf", "dim": 16, "width": 32},
            "recsys/pointwise",
            {"name": "adam"},
            128,
            device,
        ),
        30,
    ),
    "gan": (
        "GAN of MLPs, batch 64, two AdamW",
        lambda device: recipe(
            {"name": "gan/adversarial", "data": "gan/ring", "latent": 16},
            {"name": "gan/mlp", "width": 64, "depth": 2},
            "gan/non-saturating",
            {"name": "adamw"},
            64,
            device,
        ),
        30,
    ),
    "gru": (
        "GRU of 32 units, texts of up to 24 characters, batch 16, AdamW (vmap-grad in both columns)",
        lambda device: recipe(
            {"name": "classification", "data": {"name": "nlp/languages", "length": 24}},
            {"name": "nlp/gru", "embedding": 32, "width": 32, "bidirectional": False, "dropout": 0.0},
            "cross-entropy",
            {"name": "adamw"},
            16,
            device,
        ),
        4,
    ),
    "transformer": (
        "Transformer of 2 blocks, width 64, context 32, batch 16, AdamW",
        lambda device: recipe(
            {"name": "language-model", "data": {"name": "nlp/pydoc", "context": 32}},
            {"name": "nlp/gpt", "width": 64, "depth": 2, "heads": 4},
            "cross-entropy",
            {"name": "adamw"},
            16,
            device,
        ),
        4,
    ),
    "cnn": (
        "CNN of 2 stages, 16 channels, batch 32, AdamW",
        lambda device: recipe(
            {"name": "classification", "data": "vision/digits"},
            {"name": "vision/cnn", "width": 16, "depth": 1},
            "cross-entropy",
            {"name": "adamw"},
            32,
            device,
        ),
        6,
    ),
}


def trainers_of(case: str, count: int, folder: Path, device: str, *, seeds: bool = False) -> list[Trainer]:
    """Trials that differ in the rate, and in the seed if asked for, over one prepared task."""
    table = CASES[case][1](device)
    task, made = None, []
    for number in range(count):
        changed = dict(table)
        changed["optimizer"] = table["optimizer"] | {"lr": 0.001 * (1 + number / 16)}
        changed["train"] = table["train"] | ({"seed": number} if seeds else {})
        experiment = lw.Experiment(**changed, log=())
        task = task or experiment.prepared()
        made.append(experiment.trial(folder / str(number), task))
    return made


def main() -> None:
    """Measure, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help=f"cases: {', '.join(CASES)}")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)))
    parser.add_argument("--forms", default="grouped,vmap")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seeds", action="store_true", help="each trial has its own seed: order, masks, first weights")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="where to write the table, such as benchmarks/FUSED.md")
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    forms: list[Form] = [form for form in FORMS if form in options.forms.split(",")]
    rows = []
    for case in options.only.split(","):
        with tempfile.TemporaryDirectory() as home:
            measure = alone if options.processes == 1 else side_by_side
            rows.append((case, measure(case, counts, forms, Path(home), options)))
        print(row(*rows[-1], counts, forms), flush=True)
    text = table(rows, counts, forms, options)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def alone(case: str, counts: list[int], forms: list[Form], home: Path, options: Any) -> dict[Way, float]:
    """Seconds of a trial-step, of each way, in one process of one thread."""
    torch.set_num_threads(1)
    trainers = trainers_of(case, max(counts), home, options.device, seeds=options.seeds)
    tries = [*forms, "vmap-grad"] if case == "gru" and "vmap-grad" not in forms else forms
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    seen: dict[Way, list[float]] = {(SERIAL, 1): []} | {(form, count): [] for count in counts for form in tries}
    for number in range(options.rounds + 1):  # the first warms up
        for way in list(seen):
            spent = timed(trainers, way, CASES[case][2], clock)
            if spent is None:
                del seen[way]
            elif number:
                seen[way].append(spent)
    return {way: statistics.median(spent) for way, spent in seen.items()}


def timed(trainers: list[Trainer], way: Way, steps: int, clock: Callable[[], float]) -> float | None:
    """Seconds of a trial-step in this way, None if it can't be taken; the trainers begin anew after it."""
    form, count = way
    some = trainers[:count]
    program = None
    if form == SERIAL:
        feed = some[0].batches()
        advance: Callable[[], Any] = lambda: some[0].step(next(feed))  # noqa: E731
    else:
        program, _ = program_for(some, [one for one in FORMS if one == form])
        if program is None:
            return None
        advance = FusedLoop(program).advance
    advance()  # what is made once, such as the optimizer's state
    wait = torch.cuda.synchronize if some[0].device.type == "cuda" else nullcontext
    wait()
    begun = clock()
    for _ in range(steps):
        advance()
    wait()
    spent = (clock() - begun) / (steps * count)
    if program:
        program.rows.release()
    for trainer in some:
        trainer.run.step, trainer.loss_log.steps = 0, []
    return spent


def side_by_side(case: str, counts: list[int], forms: list[Form], home: Path, options: Any) -> dict[Way, float]:
    """Seconds of wall time of a trial-step, of several processes together, each going its own way."""
    spawn = multiprocessing.get_context("spawn")
    ways = [(SERIAL, 1), *((form, count) for form in forms for count in counts)]
    pipes = []
    for number in range(options.processes):
        here, there = spawn.Pipe()
        process = spawn.Process(target=worker, args=(there, case, max(counts), home / str(number), options.device))
        process.start()
        pipes.append((here, process))
    seen: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(options.rounds + 1):
        for way in list(seen):
            for here, _ in pipes:
                here.send(way)
            spent = [here.recv() for here, _ in pipes]
            if None in spent:
                del seen[way]
            elif number:
                seen[way].append(1 / sum(1 / one for one in spent))
    for here, process in pipes:
        here.send(None)
        process.join()
    return {way: statistics.median(spent) for way, spent in seen.items()}


def worker(pipe: Any, case: str, most: int, folder: Path, device: str) -> None:
    """Answer each way with the wall time of a trial-step, None if there is no such way."""
    torch.set_num_threads(1)
    trainers = trainers_of(case, most, folder, device)
    while (way := pipe.recv()) is not None:
        steps = CASES[case][2] * (4 if way[0] == SERIAL else 1)
        pipe.send(timed(trainers, way, steps, time.perf_counter))


def row(case: str, seconds: dict[Way, float], counts: list[int], forms: list[Form]) -> str:
    serial = seconds[SERIAL, 1]
    cells = [f"{serial * 1e6:,.0f}"]
    for form in forms:
        found = [seconds.get((form, count)) or seconds.get(("vmap-grad", count)) for count in counts]
        cells.append(" / ".join("-" if one is None else f"{serial / one:.2f}" for one in found))
    return f"| {CASES[case][0]} | " + " | ".join(cells) + " |"


def table(rows: list[Any], counts: list[int], forms: list[Form], options: Any) -> str:
    numbers = " / ".join(map(str, counts))
    head = f"| | serial, us a step | {' | '.join(f'{form}, N = {numbers}' for form in forms)} |"
    lines = [row(case, seconds, counts, forms) for case, seconds in rows]
    clock = "CPU time, one process" if options.processes == 1 else f"wall time, {options.processes} processes"
    if options.device != "cpu":
        clock = "wall time on a GPU"
    said = f"torch {torch.__version__}; {clock}; one thread each; medians of {options.rounds} interleaved rounds."
    return "\n".join([head, "|---" * (2 + len(forms)) + "|", *lines, "", said, f"`{' '.join(sys.argv)}`", ""])


if __name__ == "__main__":
    main()
