"""What a study costs beside its training, interleaved with Optuna written by hand and with other tools that search.

First the CPU time of a trial in a warm process, against what one would write with Optuna's documentation open around
the same training function; the report, which a study draws once at its end, is left out. Then whole commands, from
starting the process to its end, reports included: the wall time of a trial beyond its training, with one process and
one thread. Only rates are searched, so that every trial has the same work. The tools are in sweeps/.

Other tools need environments of their own, which benchmarks/README.md tells how to make.

Example: `OMP_NUM_THREADS=1 .venv/bin/python benchmarks/studies.py --trials 32 --rounds 5`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
SWEEPS = HERE / "sweeps"
RESULTS = HERE / "STUDIES.md"
TOOLS = {  # its script, and the Python that has it
    "by hand": ("by_hand", Path(sys.executable)),
    "labwright": ("by_labwright", Path(sys.executable)),
    "Hydra's Optuna sweeper": ("by_hydra", SWEEPS / ".venv-hydra" / "bin" / "python"),
    "Ray Tune": ("by_ray", SWEEPS / ".venv-ray" / "bin" / "python"),
}

sys.path.insert(0, str(SWEEPS))
import by_hand  # noqa: E402
import by_labwright  # noqa: E402


def warm(trials: int, epochs: int, rounds: int) -> str:
    """CPU milliseconds of a trial in this process, training included."""
    hand, mine = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds + 1):  # the first warms up
            for kept in (hand, mine) if number % 2 else (mine, hand):
                folder = Path(scratch) / f"{number}-{kept is mine}"
                folder.mkdir()
                begun = time.process_time()
                if kept is mine:
                    by_labwright.search(trials, epochs, folder, reported=False)
                else:
                    by_hand.search(trials, epochs, folder)
                if number:
                    kept.append((time.process_time() - begun) / trials * 1000)
    ratios = sorted(one / other for one, other in zip(mine, hand, strict=True))
    spread = f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
    return f"| {epochs} epochs | {statistics.median(hand):.0f} | {statistics.median(mine):.0f} | {spread} |"


def command(tool: str, python: Path, trials: int, epochs: int) -> tuple[float, float]:
    """Wall seconds of a whole command, and what of it was training."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "search"
        folder.mkdir()
        words = [str(python), str(SWEEPS / f"{tool}.py"), str(trials), str(epochs), str(folder)]
        begun = time.perf_counter()
        ended = subprocess.run(words, cwd=scratch, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
        wall = time.perf_counter() - begun
        trained = [float(json.loads(line)) for line in (folder / "trained.jsonl").read_text().splitlines()]
        if ended.returncode or len(trained) != trials:
            sys.exit(f"{tool} ended with {ended.returncode} after {len(trained)} trials:\n{ended.stderr.decode()}")
    return wall, sum(trained)


def commands(trials: int, epochs: int, rounds: int) -> list[str]:
    there = {name: tool for name, tool in TOOLS.items() if tool[1].exists()}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, tool in there.items():
            seen[name].append(command(*tool, trials, epochs))
            print(name, *(f"{one:.1f}" for one in seen[name][-1]), flush=True)
    rows = []
    for name, pairs in seen.items():
        wall, trained = (statistics.median(column) for column in zip(*pairs, strict=True))
        beyond = statistics.median((whole - part) / trials * 1000 for whole, part in pairs)
        rows.append(f"| {name} | {wall:.1f} | {trained / trials * 1000:.0f} | {beyond:.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commands", type=int, default=3, help="rounds of whole commands; Ray takes five minutes each")
    parser.add_argument("--epochs", type=int, nargs="*", default=[2, 10])
    options = parser.parse_args()
    torch.set_num_threads(1)
    said = ["# What a study costs", "", f"CPU milliseconds of one trial of {options.trials}, training included, in a"]
    said += [f"warm process; medians of {options.rounds} rounds, the ratios with the least and the largest.", ""]
    said += ["| a trial of | by hand, ms | labwright, ms | ratio |", "| --- | --- | --- | --- |"]
    for epochs in options.epochs:
        said.append(warm(options.trials, epochs, options.rounds))
        print(said[-1], flush=True)
    epochs = options.epochs[-1]
    said += ["", f"Whole commands of {options.trials} trials of {epochs} epochs, from start to end; medians of"]
    said += [f"{options.commands} rounds. labwright's has drawn its report.", ""]
    said += ["| tool | wall, s | training, ms a trial | beyond training, ms a trial |", "| --- | --- | --- | --- |"]
    said += commands(options.trials, epochs, options.commands)
    RESULTS.write_text("\n".join(said) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
