"""What masked pretraining brings: an encoder of our own on unlabelled English, then reviews with few labels.

The training parts of five sets are written to a folder, some hundred lines a document; documents are held out by
nlp/plain-text. First the task nlp/masked-language-model is trained on them; its figures stand beside counts of left and
right neighbours. Then 500 labelled sentences of film reviews are drawn for each seed, and the same network is trained
on them from those weights and from random ones: the same labels, steps and settings, the best epoch by the valid part,
figures on the test part, compared pair by pair. One thread; PRETRAINING.md is written.

Example: `python benchmarks/pretraining.py --data ../shared/data --made runs/pretraining --steps 6000 --seeds 5`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labwright as lw
from labwright_study.paired_tests import mean_interval

PAGE = Path(__file__).parent / "PRETRAINING.md"
LINES, LABELS = 100, 500
ENCODER = {"name": "nlp/transformer-encoder", "width": 128, "depth": 4, "heads": 4, "dropout": 0.1}
FORM = {"positions": "rotary", "norm": "rms", "activation": "swiglu"}
DEVICE = {"name": "cpu", "threads": 1}


def lines(data: Path) -> Iterator[tuple[str, list[str]]]:
    """The sentences, titles or paragraphs of each set's training part."""
    columns = {"mr_polarity": "text", "multi30k_en_de": "en", "xquad_en": "context", "wnut17_ner": "tokens"}
    for name, column in columns.items():
        with gzip.open(data / name / "train.jsonl.gz", "rt", encoding="utf-8") as rows:
            cells = [json.loads(row)[column] for row in rows]
        yield name, [*dict.fromkeys(" ".join(cell) if isinstance(cell, list) else cell for cell in cells)]
    with gzip.open(data / "tiny_shakespeare" / "input.txt.gz", "rt", encoding="utf-8") as play:
        text = play.read()
    yield "tiny_shakespeare", text[: int(0.9 * len(text))].split("\n")


def write_documents(data: Path, folder: Path) -> None:
    for name, rows in lines(data):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for first in range(0, len(rows), LINES):
            (folder / name / f"{first:06}.txt").write_text("\n".join(rows[first : first + LINES]), encoding="utf-8")


def pretrained(made: Path, steps: int) -> dict[str, Any]:
    """The figures of the pretraining run, its floors and its processor time; made if it isn't there."""
    folder = made / "pretrained"
    if not (made / "pretrained.json").is_file():
        data = {"name": "nlp/plain-text", "path": str(made / "texts"), "tokenizer": "bpe", "vocabulary": 4096}
        data |= {"context": 64, "case": "lower", "valid": 0.05, "test": 0.05}
        experiment = lw.Experiment(
            task={"name": "nlp/masked-language-model", "share": 0.3, "data": data},
            model={**ENCODER, **FORM},
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": 3e-3, "betas": [0.9, 0.98], "weight_decay": 0.01}
            | {"schedule": "cosine", "warmup": 0.05, "end": 0.1},
            device=DEVICE,
            train={"steps": steps, "batch_size": 16, "clip": 1.0, "seed": 0, "evaluate_every": "1500 steps"},
        )
        begun = time.process_time()
        outcome = experiment.run(folder).outcome
        if outcome is None or outcome.status != "finished":
            raise SystemExit(f"interrupted; delete {made} and begin anew.")
        told = {"metrics": outcome.metrics, "floors": outcome.floors, "seconds": time.process_time() - begun}
        (made / "pretrained.json").write_text(json.dumps(told))
    figures: dict[str, Any] = json.loads((made / "pretrained.json").read_text())
    return figures


def with_labels(made: Path, data: Path, seed: int, epochs: int, *, start: bool) -> float:
    """The test accuracy after training on some labels."""
    folder = made / f"labels-{seed}"
    if not folder.is_dir():
        folder.mkdir()
        for part in ("valid", "test"):
            (folder / f"{part}.jsonl.gz").symlink_to((data / "mr_polarity" / f"{part}.jsonl.gz").resolve())
        with gzip.open(data / "mr_polarity" / "train.jsonl.gz", "rt", encoding="utf-8") as rows:
            some = random.Random(seed).sample(rows.readlines(), LABELS)
        (folder / "train.jsonl").write_text("".join(some), encoding="utf-8")
    texts = {"name": "nlp/text-files", "path": str(folder), "tokenizer": "pretrained", "case": "lower", "length": 64}
    begin = {"start": {"run": str(made / "pretrained"), "take": {"network.*": "network.*"}}}
    if not start:  # the same tokenizer, and weights that nothing was learned with
        texts |= {"pretrained": str(made / "pretrained" / "task")}
        begin = {}
    experiment = lw.Experiment(
        task={"name": "classification", "data": texts},
        model={**ENCODER, **FORM, "dropout": 0.3},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 2e-3, "weight_decay": 0.05, "schedule": "linear", "warmup": 0.1},
        device=DEVICE,
        train={"epochs": epochs, "batch_size": 16, "clip": 1.0, "seed": seed, "final": "best"},
        log=[],
        **begin,
    )
    outcome = experiment.run(made / f"{'started' if start else 'scratch'}-{seed}").outcome
    if outcome is None or outcome.status != "finished":
        raise SystemExit(f"interrupted; delete {made} and begin anew.")
    return float(outcome.metrics["test"]["accuracy"])


def page(figures: dict[str, Any], pairs: list[tuple[float, float]], steps: int) -> str:
    told = [
        "# Masked pretraining",
        "",
        f"`pretraining.py` says how. {steps:,} steps, {figures['seconds']:.0f} s of one core.",
    ]
    told += ["", "| held out | masked accuracy | perplexity |", "| --- | --: | --: |"]
    rules = {"encoder": figures["metrics"]["test"], **figures["floors"]}
    told += [f"| {rule} | {at['masked_accuracy']:.3f} | {at['perplexity']:.1f} |" for rule, at in rules.items()]
    differences = [one - other for one, other in pairs]
    low, high = mean_interval(differences)
    told += ["", f"{LABELS} labels of film reviews, test accuracy, {len(pairs)} draws:", ""]
    told += ["| draw | pretrained | from scratch |", "| --: | --: | --: |"]
    told += [f"| {seed} | {one:.4f} | {other:.4f} |" for seed, (one, other) in enumerate(pairs)]
    told += [
        "",
        f"Difference {statistics.fmean(differences):+.3f}, interval {low:+.3f} to {high:+.3f}, as `compare` has it.",
    ]
    return "\n".join(told) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--made", type=Path, required=True, help="where documents and runs are kept")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=10, help="over the labelled sentences")
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.seeds < 2:
        parser.error("--seeds: an interval needs two or more")
    if not (chosen.made / "texts").is_dir():
        write_documents(chosen.data, chosen.made / "texts")
    figures = pretrained(chosen.made, chosen.steps)
    pairs = [
        tuple(with_labels(chosen.made, chosen.data, seed, chosen.epochs, start=start) for start in (True, False))
        for seed in range(chosen.seeds)
    ]
    PAGE.write_text(page(figures, pairs, chosen.steps), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
