"""The figures that the shipped recipes promise, on real data: accuracy over seeds, seconds of one core each.

Example: `python benchmarks/recipes.py --seeds 5 --data ../shared/data`. Each run is a process of its
own with one thread; the seconds are its whole CPU time, imports and report included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder with mnist/mnist.npz"
    )
    parser.add_argument("--only", nargs="*", help="names of recipes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mnist = options.data / "mnist"
    recipes = {"vision/digits-mlp": [], "vision/digits": []}
    if (mnist / "mnist.npz").is_file():
        recipes["vision/mnist"] = [f"task.data.folder={mnist}"]
    else:
        print(f"vision/mnist is left out: there is no {mnist / 'mnist.npz'}", file=sys.stderr)
    rows = []
    for recipe, overrides in recipes.items():
        if options.only and recipe not in options.only:
            continue
        runs = [measured(recipe, seed, overrides) for seed in range(options.seeds)]
        values = [accuracy for accuracy, _ in runs]
        rows.append(
            {
                "recipe": recipe,
                "seeds": options.seeds,
                "test_accuracy_mean": round(statistics.mean(values), 5),
                "test_accuracy": [round(value, 5) for value in values],
                "cpu_seconds_median": round(statistics.median(seconds for _, seconds in runs), 1),
                "cpu_seconds_max": round(max(seconds for _, seconds in runs), 1),
            }
        )
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| recipe | seeds | mean test accuracy | each | CPU seconds, median (max) |\n|---|---|---|---|---|")
    for row in rows:
        each = " ".join(f"{value:.4f}" for value in row["test_accuracy"])
        print(
            f"| {row['recipe']} | {row['seeds']} | {row['test_accuracy_mean']:.4f} | {each} "
            f"| {row['cpu_seconds_median']} ({row['cpu_seconds_max']}) |"
        )


def measured(recipe: str, seed: int, overrides: list[str]) -> tuple[float, float]:
    """Test accuracy and CPU seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "labwright.cli", "run", recipe, f"train.seed={seed}", *overrides, "--json"]
        ended = subprocess.run(
            [*command, "--folder", f"{scratch}/run"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    accuracy = json.loads(ended.stdout)["metrics"]["test"]["accuracy"]
    print(f"{recipe} seed {seed}: {accuracy:.4f} in {seconds:.1f} s", file=sys.stderr)
    return accuracy, seconds


if __name__ == "__main__":
    main()
