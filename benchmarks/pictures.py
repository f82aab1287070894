"""labwright-vision beside peers: decoding, detection, segmentation, classification. Writes PICTURES_BESIDE_PEERS.md.

python benchmarks/pictures.py decoding --data DATA
python benchmarks/pictures.py detection --data DATA --seconds 600 --seeds 3 --split test

DATA is a folder with bccd_detection, camvid_segmentation and cifar10. All sides run in the peers' environment,
benchmarks/.venv, which `make bench` makes of peers.txt. Each (part, seed, side) is a process of its own, one side after
the other within a seed, with one thread, and a line of pictures.jsonl: what stands there isn't run again, so that it
can be done in pieces. A side trains for `--seconds` of the processor. What each does, and with which settings, is said
at the top of its file in picture_sides/. `--split valid`, which is the default, is for choosing; the test part is for
the figures at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
KEPT, PAGE, PEERS = HERE / "pictures.jsonl", HERE / "PICTURES_BESIDE_PEERS.md", HERE / ".venv" / "bin" / "python"
SETS = {"detection": "bccd_detection", "segmentation": "camvid_segmentation", "classification": "cifar10"}
SIDES = {
    "detection": ("labwright", "torchvision", "ultralytics"),
    "segmentation": ("labwright", "smp"),
    "classification": ("labwright", "timm", "timm, our model"),
}
ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HERE)}


def kept() -> list[dict[str, Any]]:
    return [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.is_file() else []


def page() -> str:
    lines = [
        "# Pictures, beside peers",
        "",
        "One thread of a processor that may have had other work, so that seconds are of the processor. `pictures.py`",
        "measures it; what each side does is said in `picture_sides/`.",
    ]
    decoding = [row for row in kept() if row["part"] == "decoding"]
    if decoding:
        lines += ["", "| batches of | side | pictures a second | labwright beside it |", "| --- | --- | --: | --: |"]
    for name, figures in decoding[-1]["figures"].items() if decoding else ():
        for side in (side for side in figures if not side.startswith("beside ")):
            share = figures.get(f"beside {side}")
            lines.append(f"| {name} | {side} | {figures[side]:.0f} | {'' if share is None else f'{share:.2f}'} |")
    trained = [row for row in kept() if row["part"] in SETS]
    for part, split, seconds in sorted({(row["part"], row["split"], row["seconds"]) for row in trained}):
        rows = [row for row in trained if (row["part"], row["split"], row["seconds"]) == (part, split, seconds)]
        names = [name for name in rows[0]["figures"] if name not in ("processor", "pictures", "parameters")]
        head = ["side", "seeds", *names, "each", "pictures a second", "trained for, s", "parameters"]
        lines += ["", f"## {part.capitalize()}, {seconds:g} s, measured on {split}", ""]
        lines += [f"| {' | '.join(head)} |", f"| --- |{' --: |' * (len(head) - 1)}"]
        for side in SIDES[part]:
            own = [row["figures"] for row in sorted(rows, key=lambda row: row["seed"]) if row["side"] == side]
            if not own:
                continue
            means = [f"{statistics.fmean(figures[name] for figures in own):.3f}" for name in names]
            each = " ".join(f"{figures[names[0]]:.3f}" for figures in own)
            speed = statistics.median(figures["pictures"] / figures["processor"] for figures in own)
            spent = statistics.median(figures["processor"] for figures in own)
            size = f"{own[0]['parameters'] / 1e6:.2f} M"
            lines.append(
                f"| {' | '.join(map(str, [side, len(own), *means, each, f'{speed:.0f}', f'{spent:.0f}', size]))} |"
            )
    return "\n".join(lines) + "\n"


def in_this_process(chosen: argparse.Namespace) -> Any:
    """One piece, by the peers' environment."""
    import torch
    from picture_sides import Piece

    torch.set_num_threads(1)
    module = import_module(f"picture_sides.{chosen.part}")
    with TemporaryDirectory() as scratch:
        if chosen.part == "decoding":
            return module.measured(chosen.data, Path(scratch), chosen.rounds)
        piece = Piece(chosen.data / SETS[chosen.part], Path(scratch), chosen.seconds, chosen.seed, chosen.split)
        return module.SIDES[chosen.side](piece)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["decoding", *SETS])
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the processor, for the training of a side")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--rounds", type=int, default=7, help="of decoding")
    parser.add_argument("--only", help="one side")
    parser.add_argument("--side", help="measure one side in this process")
    parser.add_argument("--seed", type=int, default=0, help="of that")
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps(in_this_process(chosen)))
        return
    seeds = range(1 if chosen.part == "decoding" else chosen.seeds)
    sides = ("all",) if chosen.part == "decoding" else SIDES[chosen.part]
    for seed in seeds:
        for side in (side for side in sides if chosen.only in (None, side)):
            what = {"part": chosen.part, "side": side, "seed": seed}
            if chosen.part == "decoding":
                what["rounds"] = chosen.rounds
            else:
                what |= {"seconds": chosen.seconds, "split": chosen.split}
            if any(what.items() <= row.items() for row in kept()):
                continue
            options = [f"--{name}={getattr(chosen, name)}" for name in ("data", "seconds", "split", "rounds")]
            command = [PEERS, __file__, chosen.part, *options, f"--side={side}", f"--seed={seed}"]
            done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, env=os.environ | ALONE)
            if done.returncode:
                sys.exit(f"{side} of {chosen.part} ended with {done.returncode}; its messages stand above.")
            with KEPT.open("a") as lines:
                lines.write(json.dumps(what | {"figures": json.loads(done.stdout.splitlines()[-1])}) + "\n")
            PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
