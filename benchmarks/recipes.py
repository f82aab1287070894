"""The figures that the shipped recipes promise, on real data: means over seeds, seconds of one core.

Each run is a process of its own with one thread; the seconds are its whole CPU time, imports and report included.
Figures are kept in recipes.json, and docs/reference/recipes.md is written from it: a part of the recipes can be run
anew. The data is not part of the repository: see the folders' names in PROMISES.

Example: `python benchmarks/recipes.py --only vision/digits vision/mnist --data ../shared/data`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from report import cpu_model

HERE = Path(__file__).parent
KEPT = HERE / "recipes.json"
PAGE = HERE.parent / "docs" / "reference" / "recipes.md"


@dataclass(frozen=True)
class Promise:
    """A figure and its bar: `metric` of the split, the mean over seeds; `minutes` of one core for one run.

    `data` is what must lie in the data folder, for overrides that contain DATA.
    """

    recipe: str
    metric: str
    bar: str  # ">= 0.995" or "<= 1.92"
    minutes: float
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    data: str = ""
    split: str = "test"

    @property
    def key(self) -> str:
        return " ".join((self.recipe, *self.overrides))

    def kept_by(self, value: float) -> bool:
        sign, _, number = self.bar.partition(" ")
        return value >= float(number) if sign == ">=" else value <= float(number)


PROMISES = (
    Promise("vision/digits-mlp", "accuracy", ">= 0.95", 0.5, seeds=5),
    Promise("vision/digits", "accuracy", ">= 0.997", 0.5, seeds=5),
    Promise("vision/mnist", "accuracy", ">= 0.995", 4, overrides=("task.data.folder=DATA/mnist",), data="mnist"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder of the data")
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="names of recipes")
    options = parser.parse_args()
    chosen = [one for one in PROMISES if not options.only or one.recipe in options.only]
    if not chosen:
        parser.error(f"--only knows no {options.only}; there are {', '.join(one.recipe for one in PROMISES)}")
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    for promise in chosen:
        if promise.data and not (options.data / promise.data).exists():
            print(f"{promise.recipe} is left out: there is no {options.data / promise.data}", file=sys.stderr)
            continue
        kept[promise.key] = measured(promise, options.data)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(kept), encoding="utf-8")
    ran = [promise for promise in chosen if promise.key in kept]
    short = [promise.key for promise in ran if not promise.kept_by(kept[promise.key]["mean"])]
    print(PAGE.read_text(encoding="utf-8"))
    if short:
        sys.exit(f"below their bar: {', '.join(short)}")


def measured(promise: Promise, data: Path) -> dict:
    """Values and seconds of every seed, and what they hold for."""
    runs = [one_run(promise, seed, data) for seed in range(promise.seeds)]
    values = [value for value, _ in runs]
    return {
        "mean": statistics.mean(values),
        "values": values,
        "seconds": statistics.median(seconds for _, seconds in runs),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{cpu_model()}, one core, {platform.system()}",
        "torch": metadata.version("torch"),
    }


def one_run(promise: Promise, seed: int, data: Path) -> tuple[float, float]:
    """The metric and the CPU seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    overrides = [one.replace("DATA", str(data.resolve())) for one in promise.overrides]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "labwright.cli", "run", promise.recipe, f"train.seed={seed}", *overrides]
        ended = subprocess.run(
            [*command, "--json", "--folder", f"{scratch}/run"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    value = json.loads(ended.stdout)["metrics"][promise.split][promise.metric]
    print(f"{promise.recipe} seed {seed}: {promise.metric} {value:.4f} in {seconds:.1f} s", file=sys.stderr)
    return value, seconds


def page(kept: dict[str, dict]) -> str:
    """docs/reference/recipes.md."""
    lines = [
        "# Recipes, measured",
        "",
        "What the shipped recipes reach on real data. Each figure is the mean over seeds 0, 1, ... of whole runs from",
        "the command line; the time is the CPU time of one run, everything included, with one thread. DATA is the",
        "folder with the data; recipes without it run offline. `make recipes` measures them anew and writes this page.",
        "",
        "| run | metric | bar | mean | seeds | each | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for promise in PROMISES:
        if promise.key in kept:
            one = kept[promise.key]
            each = " ".join(f"{value:.4f}" for value in one["values"]) if promise.seeds > 1 else ""
            lines.append(
                f"| `labwright run {promise.key}` | {promise.split} {promise.metric} | {promise.bar} | "
                f"{one['mean']:.4f} | {promise.seeds} | {each} | {one['seconds']:.0f} of {promise.minutes * 60:.0f} |"
            )
    holds = sorted({f"{one['machine']}, torch {one['torch']}, {one['date']}" for one in kept.values()})
    return "\n".join([*lines, "", *(f"Measured on: {one}." for one in holds)]) + "\n"


if __name__ == "__main__":
    main()
