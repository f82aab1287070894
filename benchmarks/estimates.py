"""What `labwright run RECIPE --dry-run` says a run takes, beside the run: seconds, memory and disk of every recipe.

Recipes that run offline, made shorter by an override so that training takes some seconds. The estimate and the run are
each a process of its own, with one thread. Compared are seconds that the process spent on a processor, all of it:
imports, data, training, evaluation, simple rules, report. The machine's cores may have other work, by which seconds of
the clock, which are kept as well, are as much the others' as the run's. `training` is what lies between the first step
and the figures of the test part, in which no imports and no report hide what steps were thought to take.

A line of estimates.jsonl is kept of each recipe, and ESTIMATES.md is written from the last one of each, so that some of
them can be measured anew.

Example: `nice python benchmarks/estimates.py --only rl/cartpole-ppo nlp/languages`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from labwright.plugin.registry import Plugins
from report import cpu_model

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "estimates.jsonl", HERE / "ESTIMATES.md"
CLOSE = 0.25  # that an estimate may be beside the truth
CASES = {
    "gan/digits": ("train.epochs=12", "train.evaluate_every=6 epochs", "task.judge_epochs=5"),
    "gan/digits-diffusion": ("train.epochs=12", "train.evaluate_every=6 epochs", "task.judge_epochs=5"),
    "gan/ring": ("train.steps=1200",),
    "gan/ring-diffusion": ("train.steps=1200", "train.evaluate_every=600 steps"),
    "gan/ring-wgan-gp": ("train.steps=800",),
    "nlp/languages": ("train.epochs=5",),
    "nlp/pydoc": ("train.steps=150", "train.evaluate_every=75 steps"),
    "nlp/pydoc-masked": ("train.steps=200", "train.evaluate_every=100 steps"),
    "nlp/synthetic-questions": ("train.epochs=1",),
    "nlp/synthetic-tags": ("train.epochs=2",),
    "nlp/territories": ("train.epochs=4", "train.evaluate_every=2 epochs"),
    "privacy/digits": ("train.epochs=10",),
    "privacy/digits-federated": ("train.steps=10",),
    "recsys/synthetic": ("train.epochs=8",),
    "rl/acrobot-ppo": ("train.steps=480", "train.evaluate_every=10 epochs"),
    "rl/cartpole-dqn": ("train.steps=5000",),
    "rl/cartpole-ppo": ("train.steps=640",),
    "rl/pendulum-sac": ("train.steps=1500", "train.evaluate_every=500 steps"),
    "speech/commands": ("train.epochs=1",),
    "speech/phrases": ("train.epochs=1",),
    "tabular/breast-cancer": (),
    "tabular/diabetes": (),
    "tabular/diabetes-quantiles": (),
    "tabular/wine": (),
    "vision/digits": ("train.epochs=12",),
    "vision/digits-byol": ("train.epochs=12",),
    "vision/digits-heads": ("train.epochs=10",),
    "vision/digits-mae": ("train.epochs=10",),
    "vision/digits-mlp": (),
    "vision/digits-simclr": ("train.epochs=6",),
    "vision/shapes-detection": ("train.epochs=2",),
    "vision/shapes-instances": ("train.steps=40",),
    "vision/shapes-segmentation": ("train.epochs=2",),
}


# so large that libraries and data don't hide what a step keeps: weights, activations, both
LARGE = (
    ("vision/digits-mlp", "model.width=4096", "model.depth=3", "train.steps=6"),
    ("vision/digits", "model.width=64", "train.batch_size=512", "train.steps=3"),
    ("vision/shapes-segmentation", "train.batch_size=128", "train.steps=3"),
    ("nlp/pydoc", "model.width=512", "model.depth=6", "train.batch_size=8", "train.steps=3"),
    ("tabular/wine", "model.width=8192", "optimizer=sgd", "optimizer.lr=1e-3", "train.steps=6"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="of these, or of a line of LARGE")
    parser.add_argument("--missing", action="store_true", help="those that haven't been measured yet")
    parser.add_argument("--child", nargs="+", metavar="WHAT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, folder, recipe, *overrides = options.child
        print("\n" + json.dumps(CHILDREN[what](Path(folder), recipe, overrides)))
        return
    for case in [*((name, *overrides) for name, overrides in CASES.items()), *LARGE]:
        key = " ".join(case)
        if options.only and not {key, *([] if case in LARGE else case[:1])} & {*options.only}:
            continue
        if options.missing and key in read():
            continue
        row = measured(*case)
        with KEPT.open("a", encoding="utf-8") as kept:
            kept.write(json.dumps(row) + "\n")
        PAGE.write_text(page(read()), encoding="utf-8")
        print(line(row), flush=True)


# ------------------------------------------------------------------------------------------------ in their own process


def estimate(folder: Path, recipe: str, overrides: list[str]) -> dict[str, Any]:
    """What a dry run says, and before it what it took to come to it, which a run takes as well."""
    import labwright as lw
    from labwright_instruments.dry_run import dry_run

    experiment = lw.Experiment.from_recipe(recipe, overrides)
    before = time.process_time()
    told = dry_run(experiment)
    return {
        "seconds": before + told["processor_seconds"],
        "wall": before + told["seconds"],
        "training": sum(told["processor"].values()) - told["processor"]["start"] - told["processor"]["end"],
        "steps": told["steps"],
        "peak": told["peak_memory_bytes"],
        "step_memory": told["memory"]["together_bytes"] - told["memory"]["weights_bytes"],
        "disk": told["disk_bytes"],
        "spent": time.process_time(),
        "told": {key: value for key, value in told.items() if key not in ("data", "notes", "one_batch", "memory")},
    }


def run(folder: Path, recipe: str, overrides: list[str]) -> dict[str, Any]:
    """The run, as it was."""
    import labwright as lw

    clock: dict[str, Any] = {}

    class Clock:
        @lw.hookimpl
        def labwright_run_started(self) -> None:
            clock["begun"], clock["resident"] = time.process_time(), resident()

        @lw.hookimpl(tryfirst=True)
        def labwright_evaluated(self, split: str) -> None:
            if clock.get("split") != "test":  # the last one, of recipes without such a part
                clock.update(split=split, over=time.process_time(), most=peak())

    begun = time.perf_counter()
    lw.Experiment.from_recipe(recipe, overrides).run(folder / "run", listeners=[Clock()])
    return {
        "seconds": time.process_time(),
        "wall": time.perf_counter() - begun + clock["begun"],
        "training": clock["over"] - clock["begun"],
        "begun": clock["begun"],
        "peak": peak(),
        "growth": clock["most"] - clock["resident"],
        "disk": sum(file.stat().st_size for file in (folder / "run").rglob("*") if file.is_file()),
    }


CHILDREN = {"estimate": estimate, "run": run}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ------------------------------------------------------------------------------------------------------------- outside


def measured(recipe: str, *overrides: str) -> dict[str, Any]:
    """The estimate and the truth of a recipe, the estimate first."""
    row: dict[str, Any] = {"recipe": recipe, "overrides": overrides}
    quiet = ("device={name='cpu',threads=1}", "log=['report']")
    with tempfile.TemporaryDirectory() as scratch:
        for what in CHILDREN:
            command = [sys.executable, __file__, "--child", what, scratch, recipe, *row["overrides"], *quiet]
            ended = subprocess.run(
                command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
            )
            if ended.returncode:
                sys.exit(f"{recipe}: {what} failed:\n{ended.stderr[-2000:]}")
            row[what] = json.loads(ended.stdout.splitlines()[-1])
    return row


def read() -> dict[str, dict[str, Any]]:
    """The newest measurement of each case."""
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.is_file() else []
    rows = map(json.loads, lines)
    return {name_of(row): row for row in rows}


def name_of(row: dict[str, Any]) -> str:
    return " ".join((row["recipe"], *row["overrides"]))


def ratio(row: dict[str, Any], what: str) -> float:
    return row["estimate"][what] / row["run"][what]


def of_disk(row: dict[str, Any]) -> float:
    """How far the truth is outside of the two figures that are said, as a ratio: 1 within them."""
    low, high = row["estimate"]["disk"]
    truth = row["run"]["disk"]
    return low / truth if truth < low else high / truth if truth > high else 1.0


def close(value: float) -> bool:
    return abs(value - 1) <= CLOSE


def line(row: dict[str, Any]) -> str:
    told, truth = row["estimate"], row["run"]
    ratios = [*(ratio(row, what) for what in ("seconds", "training", "wall", "peak")), of_disk(row)]
    cells = (
        name_of(row),
        f"{told['steps']:,}",
        f"{told['seconds']:.1f}",
        f"{truth['seconds']:.1f}",
        *(f"{one:.2f}" for one in ratios),
        f"{told['spent']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def of_memory(row: dict[str, Any]) -> str:
    said, grown = (value / 1e6 for value in (row["estimate"]["step_memory"], row["run"]["growth"]))
    return f"| {name_of(row)} | {said:.0f} | {grown:.0f} | {said / grown:.2f} |"


def page(kept: dict[str, dict[str, Any]]) -> str:
    names = {" ".join((name, *overrides)): name for name, overrides in CASES.items()}
    rows = [kept[name] for name in names if name in kept]
    large = [kept[name] for name in map(" ".join, LARGE) if name in kept]
    shares = {
        what: f"{sum(close(ratio(row, what)) for row in rows)} of {len(rows)}"
        for what in ("seconds", "training", "peak")
    }
    worst = {what: max(rows, key=lambda row, what=what: abs(ratio(row, what) - 1)) for what in shares}
    far = [f"{row['recipe']} ({ratio(row, what):.2f})" for what, row in worst.items()]
    middle = statistics.median(row["estimate"]["spent"] for row in rows)
    disk = sum(close(of_disk(row)) for row in rows)
    plugins = Plugins.discover()
    waiting = [name for key, name in names.items() if key not in kept]
    others = [name for name in plugins.names("recipe") if name not in CASES]
    head = f"""# What a dry run says, and what a run takes

{inspect.getdoc(sys.modules[__name__]).split("Example:")[0].strip()}

{cpu_model()}. Within {CLOSE:.0%} of the run: seconds of {shares["seconds"]} recipes, those of training alone of
{shares["training"]}, the peak of the process's memory of {shares["peak"]}, the disk of {disk} (within the two figures
that are said, or {CLOSE:.0%} outside of them). Farthest off is {far[0]}, by training alone {far[1]}, by memory
{far[2]}. A dry run itself takes {middle:.0f} s, the median.

| recipe | steps | estimate, s | run, s | ratio | training | clock | peak memory | disk | dry run, s |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
"""
    foot = "\n".join(
        [
            "",
            "## Memory by part",
            "",
            "Models and batches so large that what a step keeps (weights, gradients, the optimizer's state, the batch,",
            "activations: `together_bytes` of the estimate) isn't hidden by libraries and data. Beside it is what the",
            "process grew by from the first step to its peak, before the report: by what a step keeps but the weights,",
            "which were there before, and by what operations take while they run and the allocator doesn't give back.",
            "",
            "| recipe | said without weights, MB | grown by, MB | ratio |",
            "| --- | --: | --: | --: |",
            *map(of_memory, large),
            "",
            *([f"Not measured yet: {', '.join(waiting)}.", ""] if waiting else []),
            f"Left out, as they need data or weights that aren't in the packages: {', '.join(others)}.",
        ]
    )
    return head + "\n".join(line(row) for row in rows) + "\n" + foot + "\n"


if __name__ == "__main__":
    main()
