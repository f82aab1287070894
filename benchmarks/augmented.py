"""Whether a classifier of few pictures gains by generated ones: draws of real pictures, paired, as many steps each.

For each draw so many training pictures of MNIST are taken by chance. A conditional generator is trained on them alone,
with a judge of its own that has seen no others; then classifiers with the same seed and as many steps: on the real
pictures; with ordinary augmentation; with generated pictures beside them; with both. The test part measures each once;
the generator is measured on the first 2,000 of it. Printed are the differences to the first, with their 95 % interval
by Student's t over the draws. Draws that stand in the file of `--out`, of the same settings, aren't made again.

    python benchmarks/augmented.py DATA/mnist --draws 10 --real 300 --generated 3000
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

import labwright as lw
import numpy as np
from scipy import stats

GENERATOR = {
    "gan": ["gan/mnist", 'task.augment=["translation"]', "task.critic_steps=1"],
    "diffusion": ["gan/mnist-diffusion"],
}
MEASURED = 2_000  # test pictures that a generator is measured on
TURNED = {"rotate": 12.0, "shift": 0.08, "scale": 0.12}  # ordinary augmentation, as in `vision/mnist`


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path, help="where mnist.npz is")
    asked.add_argument("--draws", type=int, default=10)
    asked.add_argument("--real", type=int, default=300)
    asked.add_argument("--generated", type=int, default=3000)
    asked.add_argument("--generator", choices=GENERATOR, default="gan")
    asked.add_argument("--generator-steps", type=int, default=3000)
    asked.add_argument("--steps", type=int, default=600, help="of each classifier")
    asked.add_argument("--out", type=Path, help="a file of JSON lines, one for each draw")
    given = asked.parse_args()
    with np.load(given.folder / "mnist.npz") as kept:
        whole = {name: kept[name] for name in kept.files}
    there = given.out.read_text(encoding="utf-8").splitlines() if given.out and given.out.is_file() else []
    asked_for = {name: getattr(given, name) for name in ("generator", "real", "generated", "generator_steps", "steps")}
    rows = [row for row in map(json.loads, there) if row.pop("settings") == asked_for]
    kept = {row.pop("draw"): row for row in rows}
    draws = []
    for draw in range(given.draws):
        if draw in kept:
            draws.append(kept[draw])
            continue
        with tempfile.TemporaryDirectory() as scratch:
            draws.append(one_draw(whole, draw, Path(scratch), given))
        print(json.dumps(draws[-1]), flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"draw": draw, "settings": asked_for, **draws[-1]}) + "\n")
    for way in [name for name in draws[0] if name not in ("real", "read_as_asked", "memorised")]:
        print(way, interval([draw[way] - draw["real"] for draw in draws]))
    print("both beside augmentation", interval([draw["both"] - draw["augmentation"] for draw in draws]))


def one_draw(whole: dict[str, np.ndarray], draw: int, scratch: Path, given: argparse.Namespace) -> dict[str, float]:
    """The test accuracies of each way of training, of one draw of real pictures, each class alike."""
    chance, labels = np.random.default_rng(draw), whole["y_train"]
    each = [chance.choice(np.flatnonzero(labels == label), given.real // 10, replace=False) for label in range(10)]
    rows = np.concatenate(each)
    some = whole | {name: whole[name][rows] for name in ("x_train", "y_train")}
    np.savez(scratch / "mnist.npz", **some)
    (scratch / "few").mkdir()
    np.savez(scratch / "few" / "mnist.npz", **some | {name: whole[name][:MEASURED] for name in ("x_test", "y_test")})
    data = f'name="vision/mnist",folder="{scratch}",valid=0.0'
    recipe, *settings = GENERATOR[given.generator]
    # nothing is chosen by a validation part: there is none, and all steps are taken
    few = data.replace(str(scratch), str(scratch / "few"))
    settings += [f"task.data={{{few}}}", "task.judge_epochs=30", "task.film=0", "train.epochs=", "log=[]"]
    settings += [
        f"train.steps={given.generator_steps}",
        "train.evaluate_every=",
        "train.save_every=",
        f"train.seed={draw}",
    ]
    made = lw.Experiment.from_recipe(recipe, settings).run(scratch / "generator")
    augmented = ",".join(f"{name}={value}" for name, value in TURNED.items())
    added = f'run="{scratch}/generator",count={given.generated}'
    ways = {
        "real": f"{{{data}}}",
        "augmentation": f"{{{data},{augmented}}}",
        "generated": f'{{name="gan/augmented",data={{{data}}},{added}}}',
        "both": f'{{name="gan/augmented",data={{{data},{augmented}}},{added}}}',
    }
    accuracies = {name: accuracy(where, draw, given.steps, scratch / name) for name, where in ways.items()}
    measured = made.metrics["test"]
    return accuracies | {name: measured[name] for name in ("read_as_asked", "memorised")}


def accuracy(data: str, seed: int, steps: int, folder: Path) -> float:
    """Of a classifier after so many steps, on the test part."""
    settings = [f"task.data={data}", "train.epochs=", f"train.steps={steps}", f"train.seed={seed}", "log=[]", "stop=[]"]
    settings += ["train.evaluate_every=", "train.save_every="]
    return float(lw.Experiment.from_recipe("vision/mnist", settings).run(folder).metrics["test"]["accuracy"])


def interval(differences: list[float]) -> str:
    mean, count = statistics.mean(differences), len(differences)
    if count < 2:
        return f"{mean:+.4f} of one draw"
    half = stats.t.ppf(0.975, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}] over {count} draws"


if __name__ == "__main__":
    main()
