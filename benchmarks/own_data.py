"""Data of one's own by the user's path alone, at first try: `labwright run`, or `labwright suggest` and then `run`.

Sets of several kinds lie as they were published (--data), or are made of what packages ship, as anyone would save them:
scikit-learn's as tables and pictures, names from Babel, docstrings of Python, commands by eSpeak NG as WAV files. Each
run is a process of its own with one thread; its seconds are its whole CPU time, imports, floors and report included, as
the machine's cores may have other work. What is kept of each run is a row of own_data.json, and OWN_DATA.md is written
from it: some of the rows can be run anew, and rows are never chosen by their test figures.

Example: `nice python benchmarks/own_data.py --only adult wine`.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import inspect
import json
import pkgutil
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labwright_tasks.intervals import wilson
from report import cpu_model

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "own_data.json", HERE / "OWN_DATA.md"
_PACKAGES = """
    os json http email asyncio logging unittest xml multiprocessing concurrent tkinter ctypes importlib urllib
    collections curses sqlite3 decimal datetime pathlib threading socket ssl subprocess statistics typing tarfile
    zipfile pickle
"""
_LANGUAGES = """
    en de fr es it pt nl sv da nb fi is et lv lt pl cs sk sl hr hu ro sq tr ga cy eu ca gl mt
"""


@dataclass(frozen=True)
class Case:
    """A set, and how it is trained on: by a recipe, or the one that is suggested for `path`. `metric` is compared."""

    kind: str
    name: str
    path: str  # below DATA, or below MADE
    recipe: str = "suggest"
    overrides: tuple[str, ...] = ()
    metric: str = "accuracy"
    lower: bool = False
    seeds: int = 1

    @property
    def key(self) -> str:
        return f"{self.name} {self.recipe}"

    def commands(self) -> str:
        """What a person types."""
        if self.recipe == "suggest":
            return f"`suggest {self.path}`, `run suggested.toml`"
        return f"`run {' '.join((self.recipe, *self.overrides))}`"


def _texts(name: str, path: str, recipes: tuple[str, ...], *more: str, seeds: int = 1) -> list[Case]:
    overrides = (f"task.data.path={path}", *more)
    return [
        Case("texts", name, path, recipe, () if recipe == "suggest" else overrides, seeds=seeds) for recipe in recipes
    ]


_OWN_TEXTS = ("suggest", "nlp/polarity-bag", "nlp/polarity-cnn", "nlp/polarity-lstm")
_TABLES = ("breast_cancer", "wine")
CASES = (
    Case("tables", "adult", "DATA/adult/adult.csv.gz", metric="cross_entropy", lower=True, seeds=3),
    Case("tables", "adult", "", "tabular/table", ("task.data.path=DATA/adult/adult.csv.gz", "task.data.target=income")),
    Case("tables", "california", "DATA/california_housing/california.csv.gz", metric="rmse", lower=True, seeds=3),
    Case("tables", "criteo, 2,000 rows", "DATA/criteo_tiny/criteo_2000.csv.gz", metric="cross_entropy", lower=True),
    *(Case("tables", name, f"MADE/{name}.csv", seeds=3) for name in _TABLES),
    Case("tables", "diabetes", "MADE/diabetes.csv", metric="r2", seeds=3),
    Case("ratings", "movielens_100k", "DATA/movielens_100k", metric="ndcg"),
    *_texts("mr_polarity", "DATA/mr_polarity", _OWN_TEXTS[1:2], seeds=3),
    *_texts("mr_polarity", "DATA/mr_polarity", ("suggest", *_OWN_TEXTS[2:])),
    *_texts("docstrings", "MADE/docstrings.csv", _OWN_TEXTS[:2]),
    *_texts("names", "MADE/names.csv", ("suggest",)),
    Case("pictures", "digits", "MADE/digits"),
    Case("pictures", "mnist, 1,000", "MADE/mnist_1000"),
    Case("pictures", "pneumoniamnist", "DATA/pneumoniamnist"),
    Case("recordings", "fsdd", "DATA/fsdd"),
    Case("recordings", "commands", "MADE/commands"),
    Case("pictures", "mnist, 20,000", "DATA/mnist"),
    Case("pictures", "cifar10, 7,000", "DATA/cifar10"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder of the data")
    parser.add_argument("--only", nargs="*", metavar="SET", help="names of sets, perhaps with that of a recipe")
    parser.add_argument("--made", type=Path, help="where sets of packages are put; a folder for the while, if left out")
    parser.add_argument("--seeds", type=int, help="no more seeds than that, to be quick")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = options.made or Path(scratch) / "made"
        made.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if options.only and not {case.name, case.key} & {*options.only}:
                continue
            name = Path(case.path).name if case.path.startswith("MADE") else ""
            if name and not (made / name).exists():
                MAKERS[name](made / name)
            where = {"DATA": str(options.data.resolve()), "MADE": str(made)}
            for seed in range(min(case.seeds, options.seeds or case.seeds)):
                run = one_run(case, seed, where, Path(scratch))
                kept = read()  # another part may have been measured beside
                kept[case.key] = kept.get(case.key, {}) | {str(seed): run}
                KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
                PAGE.write_text(page(kept), encoding="utf-8")
            print(row(case, [*kept[case.key].values()]), flush=True)


def one_run(case: Case, seed: int, where: dict[str, str], scratch: Path) -> dict:
    """The outcome's figures of one run and the CPU seconds of all its commands."""

    def placed(text: str) -> str:
        for name, folder in where.items():
            text = text.replace(name, folder)
        return text

    folder = Path(tempfile.mkdtemp(dir=scratch))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    recipe = case.recipe
    if recipe == "suggest":
        recipe = str(folder / "suggested.toml")
        command("suggest", placed(case.path), "--out", recipe)
    settings = [*map(placed, case.overrides), f"train.seed={seed}", "device.threads=1"]
    command("run", recipe, *settings, "--folder", str(folder / "run"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = json.loads((folder / "run" / "outcome.json").read_text(encoding="utf-8"))
    return {
        "step": outcome["step"],
        "samples": outcome["data"]["samples"],
        "valid": outcome["metrics"].get("valid", {}).get(case.metric),
        "test": outcome["metrics"]["test"][case.metric],
        "floors": {name: metrics[case.metric] for name, metrics in outcome["floors"].items() if case.metric in metrics},
        "seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def command(*arguments: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "labwright", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"labwright {' '.join(arguments)} failed:\n{ended.stderr}")


def read() -> dict[str, dict[str, dict]]:
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}


def row(case: Case, runs: list[dict]) -> str:
    mean = statistics.mean(one["test"] for one in runs)
    means = {name: statistics.mean(one["floors"][name] for one in runs) for name in runs[0]["floors"]}
    best = (min if case.lower else max)(means, key=lambda name: means[name])
    above = mean <= means[best] if case.lower else mean >= means[best]
    between, verdict = "-", "yes" if above else "no"
    if case.metric == "accuracy":
        count = runs[0]["samples"]["test"]
        low, high = wilson(mean * count, count)
        between = f"{low:.3f} to {high:.3f}"
        verdict = "within" if not above and means[best] <= high else verdict
    elif len(runs) > 1:
        between = " ".join(f"{one['test']:.4f}" for one in runs)
    seconds = statistics.median(one["seconds"] for one in runs)
    return (
        f"| {case.kind} | {case.name} | {runs[0]['samples']['train']:,} | {case.commands()} | {case.metric} | "
        f"{mean:.4f} | {between} | {means[best]:.4f} ({best.partition(' on ')[0]}) | {verdict} | {len(runs)} | "
        f"{seconds:.0f} |"
    )


def page(kept: dict[str, dict[str, dict]]) -> str:
    head = f"""# One's own data, at first try

{inspect.getdoc(sys.modules[__name__]).split("Example:")[0].strip()}

Measured on the `test` part by the weights that were best on `valid`; `floor` is the best of the simple rules that the
run's report has (a linear model, gradient boosting, popularity). `between` is the interval of an accuracy (Wilson,
95 %), or each seed's figure; a floor that is above the figure and `within` that interval can't be told from it.
{cpu_model()}, one core.

| kind | set | samples | typed behind `labwright` | metric | figure | between | floor | at or above | seeds | CPU s |
| --- | --- | --: | --- | --- | --: | --- | --: | --- | --: | --: |
"""
    rows = [row(case, [*kept[case.key].values()]) for case in CASES if case.key in kept]
    beside = HERE / "own_data_memory.md"
    memory = "\n" + beside.read_text(encoding="utf-8") if beside.is_file() else ""
    waiting = ", ".join(case.key for case in CASES if case.key not in kept)
    rest = f"\nNot run yet: {waiting}.\n" if waiting else ""
    return head + "\n".join(rows) + "\n" + rest + memory


def save_table(path: Path, header: list[str], rows: Iterator | list) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def of_sklearn(name: str) -> Callable[[Path], None]:
    """A table of scikit-learn's with names for its classes, as anyone would save it."""

    def make(path: Path) -> None:
        data = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
        named = data.get("target_names")
        targets = [float(one) if named is None else str(named[one]) for one in data.target]
        rows = [[*row, one] for row, one in zip(data.data, targets, strict=True)]
        save_table(path, [*map(str, data.feature_names), "target"], rows)

    return make


def names(path: Path) -> None:
    """What countries, languages and currencies are called in 30 languages; names that are in one of them alone."""
    from babel import Locale

    rows = []
    for code in _LANGUAGES.split():
        locale = Locale.parse(code)
        known = {*locale.languages.values(), *locale.territories.values(), *locale.currencies.values()}
        rows += [(name, code) for name in sorted(known)]
    often = Counter(name for name, _ in rows)
    rows = [row for row in rows if often[row[0]] == 1]
    random.Random(0).shuffle(rows)
    save_table(path, ["text", "label"], rows)


def docstrings(path: Path) -> None:
    """What Python's own modules say of their classes and functions, and the package that each is of."""
    texts: dict[str, str] = {}
    for package in _PACKAGES.split():
        for text in _told(package):
            texts.setdefault(" ".join(text.split()), package)
    often = Counter(texts.values())
    rows = [(text, package) for text, package in texts.items() if len(text) > 40 and often[package] >= 20]
    random.Random(0).shuffle(rows)
    save_table(path, ["text", "label"], rows)


def _told(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    below = [one.name for one in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    inner = [f"{package}.{name}" for name in below if name != "__main__"]  # that is a program, which would begin
    for name in [package, *inner]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                members = inspect.getmembers(importlib.import_module(name))
        except (ImportError, SystemExit, AttributeError):
            continue
        for _, thing in members:
            if str(getattr(thing, "__module__", "")).split(".")[0].lstrip("_") != package:
                continue
            of_class = [one for one in vars(thing).values() if inspect.isroutine(one)] if inspect.isclass(thing) else []
            yield from (one.__doc__ for one in [thing, *of_class] if isinstance(one.__doc__, str))


def digits(path: Path) -> None:
    """scikit-learn's digits as pictures in a folder for each."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for number, (image, label) in enumerate(zip(data.images, data.target, strict=True)):
        folder = path / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")


def mnist_1000(path: Path) -> None:
    whole = np.load(HERE.parent.parent / "shared" / "data" / "mnist" / "mnist.npz")
    path.mkdir(parents=True)
    arrays = {name: whole[name][:1000] if name.endswith("train") else whole[name] for name in whole.files}
    np.savez(path / "mnist.npz", **arrays)


def commands(path: Path) -> None:
    """Ten words by the voices of eSpeak NG, as WAV files in a folder for each word."""
    import soundfile
    from labwright_speech.data.espeak import Line, spoken

    words = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
    voices = [f"{accent}+{voice}" for accent in ("en-us", "en", "en-gb-scotland") for voice in _VOICES.split()]
    draw = random.Random(0)
    lines = [Line(word, voice, draw.randint(130, 210), draw.randint(35, 66)) for word in words for voice in voices]
    waves, rate = spoken(lines)
    for number, (line, wave) in enumerate(zip(lines, waves, strict=True)):
        (path / line.text).mkdir(parents=True, exist_ok=True)
        soundfile.write(path / line.text / f"{line.voice.replace('+', '-')}-{number}.wav", wave, rate)


_VOICES = """
    m1 m2 m3 m4 m5 m6 m7 f1 f2 f3 f4 f5 max Mike paul pedro rob robert john Lee shelby Hugo ian steph
"""
MAKERS: dict[str, Callable[[Path], None]] = {
    **{f"{name}.csv": of_sklearn(name) for name in (*_TABLES, "diabetes")},
    "names.csv": names,
    "docstrings.csv": docstrings,
    "digits": digits,
    "mnist_1000": mnist_1000,
    "commands": commands,
}


if __name__ == "__main__":
    main()
