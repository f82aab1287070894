"""Training an encoder of texts: labwright-nlp beside transformers' Trainer, same network, tokens and rate.

Two kinds of training, each of a BERT of 4 layers and width 256 from random weights, over pieces that labwright has
learned: `classes`, texts of different lengths padded to the longest of their batch, and `hidden`, masked language
modelling over whole windows. Both have batches of 32, each in its own way: labwright puts texts of alike length
together and asks the vocabulary only where a token is hidden. The Trainer runs with its defaults but for saving, which
is off on both sides, and without measuring on other texts. Each run is a process of its own with one thread, and sides
take turns; what counts is the time of the processor from the end of step WARM to that of the last.

Example: `python benchmarks/encoders.py --texts ../shared/data/mr_polarity --rounds 5 --out benchmarks/ENCODERS.md`,
in an environment that has labwright-nlp and accelerate, which the Trainer needs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import labwright as lw

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

WARM, STEPS, BATCH, LR, VOCABULARY, WINDOW = 10, 60, 32, 1e-4, 8192, 128
KINDS, SIDES = ("classes", "hidden"), ("labwright", "Trainer")
OPTIONS = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}


class Clock:
    """Notes the processor's time behind each step, whichever side calls."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        self.times.append(time.process_time())

    def seconds(self) -> float:
        return self.times[STEPS - 1] - self.times[WARM - 1]


def experiment(kind: str, texts: Path) -> Any:
    learned = {"tokenizer": "bpe", "vocabulary": VOCABULARY}
    data: dict[str, Any] = {"name": "nlp/text-files", "path": str(texts), "length": WINDOW, **learned}
    task: dict[str, Any] = {"name": "classification", "data": data}
    if kind == "hidden":
        task = {"name": "nlp/masked-language-model", "data": {"name": "nlp/pydoc", "context": WINDOW, **learned}}
    return lw.Experiment(
        task=task,
        model={"name": "nlp/encoder", "architecture": "bert", "options": OPTIONS},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": LR, "schedule": "linear"},
        device={"name": "cpu", "threads": 1},
        train={"steps": STEPS, "batch_size": BATCH, "clip": 1.0, "evaluate_every": "1000 steps"}
        | {"save_every": "1000 steps", "seed": 0},
    )


def labwright(kind: str, texts: Path) -> Clock:
    clock = Clock()
    with TemporaryDirectory() as scratch:
        trainer = experiment(kind, texts).trainer(Path(scratch) / "run", listeners=[clock])
        trainer.fit(until=STEPS)
    return clock


def transformers_trainer(kind: str, texts: Path) -> Clock:
    import torch
    import transformers
    from labwright import IndexedBatches

    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        task: Any = experiment(kind, texts).trainer(Path(scratch) / "run").task
    tokens = task.data.tokens
    rows = []
    for batch in IndexedBatches.in_order(task.data.split("train"), 256):
        for row, (ids_T, length) in enumerate(zip(*batch.inputs[:2], strict=True)):
            label = {"labels": int(batch.targets[row])} if kind == "classes" else {}
            rows.append({"input_ids": ids_T[:length].tolist(), **label})
    pad = tokens.inner.id_to_token(tokens.pad_id)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens.inner, pad_token=pad, **({"mask_token": tokens.mask} if kind == "hidden" else {})
    )
    config = transformers.BertConfig(vocab_size=tokens.size, pad_token_id=tokens.pad_id, **OPTIONS)
    if kind == "classes":
        model: Any = transformers.BertForSequenceClassification(config)
        collator: Any = transformers.DataCollatorWithPadding(tokenizer)
    else:
        model = transformers.BertForMaskedLM(config)
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    clock = Clock()

    class Told(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.times.append(time.process_time())

    with TemporaryDirectory() as scratch:
        arguments = transformers.TrainingArguments(
            scratch,
            per_device_train_batch_size=BATCH,
            max_steps=STEPS,
            learning_rate=LR,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            seed=0,
        )
        transformers.Trainer(model, arguments, collator, rows, callbacks=[Told()]).train()
    return clock


def measured(kind: str, side: str, texts: Path) -> float:
    command = [sys.executable, __file__, "--texts", str(texts), "--kind", kind, "--side", side]
    told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        sys.exit(told.stderr[-3000:])
    return float(json.loads(told.stdout.splitlines()[-1])["seconds"])


def page(seconds: dict[tuple[str, str], list[float]], rounds: int) -> str:
    lines = [
        "# Encoders of texts",
        "",
        f"labwright-nlp beside transformers' Trainer: seconds of the processor for {STEPS - WARM} steps of {BATCH}",
        f"texts, one thread, medians of {rounds} rounds that take turns. `encoders.py` measures it and says how.",
        "",
        "labwright puts texts of alike length together, where the Trainer by default takes them as they come, and",
        "computes the vocabulary's scores only where a token is hidden, where BERT's own head has them everywhere.",
        "",
        "| training | labwright | Trainer | labwright beside it (lowest to highest) |",
        "| --- | --: | --: | --: |",
    ]
    for kind in KINDS:
        ours, theirs = (seconds[kind, side] for side in SIDES)
        ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
        cells = [kind, *(f"{statistics.median(side):.1f}" for side in (ours, theirs))]
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="labelled texts, as nlp/text-files reads them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="the page to write")
    parser.add_argument("--kind", choices=KINDS, help="measure one side in this process")
    parser.add_argument("--side", choices=SIDES)
    chosen = parser.parse_args()
    if chosen.kind and chosen.side:
        side = labwright if chosen.side == "labwright" else transformers_trainer
        print(json.dumps({"seconds": side(chosen.kind, chosen.texts.resolve()).seconds()}))
        return
    seconds: dict[tuple[str, str], list[float]] = {(kind, side): [] for kind in KINDS for side in SIDES}
    for _ in range(chosen.rounds):
        for kind, side in seconds:
            seconds[kind, side].append(measured(kind, side, chosen.texts))
    told = page(seconds, chosen.rounds)
    print(told)
    if chosen.out:
        chosen.out.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
