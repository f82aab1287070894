"""Scores of written texts are those of the field's own packages, whatever batches they come in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_nlp.data.text_pairs import TextPairs
from labwright_nlp.text_metrics import BLEU, CharacterErrors, ChrF, Rouge
from labwright_tasks.sequence_to_sequence import SequenceToSequence

WRITTEN = ["the cat sat on the mat", "Ein Hund, der läuft.", "", "on the mat the dog is sitting now", "a b c d e"]
MEANT = ["the cat is sat on the mat", "Ein Hund, der rennt!", "nothing", "the dog is sitting on the mat", "a b c d e"]


def in_batches(metric: Any, size: int) -> Any:
    metric.update(["left over"], ["from before"])
    metric.reset()
    for start in range(0, len(MEANT), size):
        metric.update(WRITTEN[start : start + size], MEANT[start : start + size])
    return metric.compute()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_scores_are_those_of_sacrebleu_over_the_whole_corpus(size: int) -> None:
    from sacrebleu import metrics as theirs

    expected = {
        theirs.BLEU(): BLEU(),
        theirs.BLEU(lowercase=True, tokenize="char"): BLEU(lowercase=True, tokenize="char"),
        theirs.CHRF(): ChrF(),
        theirs.CHRF(word_order=2): ChrF(word_order=2),
    }
    for their, ours in expected.items():
        score = their.corpus_score(WRITTEN, [MEANT])
        assert in_batches(ours, size) == pytest.approx(score.score, abs=1e-9) and 1 < score.score < 99
        assert ours.signature() == f"{score.name} {their.get_signature()}"
    assert math.isnan(BLEU().compute())


@pytest.mark.parametrize("size", [2, 5])
def test_rouge_is_the_mean_of_what_its_package_says_of_each_text(size: int) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(meant, text) for text, meant in zip(WRITTEN, MEANT, strict=True)]
    expected = {name: sum(score[name].fmeasure for score in scores) / len(scores) for name in scores[0]}
    assert in_batches(Rouge(), size) == pytest.approx(expected, abs=1e-9)
    assert expected["rouge2"] < expected["rougeL"] < expected["rouge1"]


@pytest.mark.parametrize("size", [1, 5])
def test_character_errors_are_edits_per_character_meant(size: int) -> None:
    edits = sum(distance(text, meant) for text, meant in zip(WRITTEN, MEANT, strict=True))
    assert in_batches(CharacterErrors(), size) == pytest.approx(edits / sum(map(len, MEANT)), abs=1e-12)


def distance(first: str, second: str) -> int:
    """Levenshtein's, by its recurrence."""
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, 1):
        before, row = row, [place]
        for other, sign in enumerate(second):
            row.append(min(before[other] + (letter != sign), before[other + 1] + 1, row[-1] + 1))
    return row[-1]


def test_a_translation_is_measured_by_them_beside_copying_and_its_report_says_how(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"text": f"the number {n} here", "translation": f"the zahl {n} hier"} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = ["nlp/bleu", "nlp/chrf", "nlp/rouge", "nlp/cer"]
    experiment = lw.Experiment.from_recipe(
        "nlp/translation",
        [
            *(f"task.data.path={file}", "task.data.tokenizer=char", f"task.metrics={json.dumps(metrics)}"),
            *("task.goal=rouge/rougeL", "model.width=16", "model.depth=1", "train.epochs=1", "log=[]"),
        ],
    )
    run = experiment.run(tmp_path / "run")
    task = run.task
    assert isinstance(task, SequenceToSequence) and isinstance(task.data, TextPairs)
    assert (task.goal.metric, task.goal.direction) == ("rouge/rougeL", "maximize")
    part = task.data.split("test")
    assert part is not None
    batch = part.fetch(torch.arange(len(part)), 0, 0)
    model = run.model.eval()
    texts = task.texts(model, model.encode(*batch.inputs), batch.inputs[1])  # type: ignore[operator]
    meant, sources = task.references(batch), task.data.show(batch.inputs)
    for written, values in ((texts, run.metrics["test"]), (sources, task.floors("test")["the source itself"])):
        direct: dict[str, Any] = {"bleu": BLEU(), "chrf": ChrF(), "rouge": Rouge(), "cer": CharacterErrors()}
        for metric in direct.values():
            metric.update(written, meant)
        of_rouge = {f"rouge/{name}": value for name, value in direct.pop("rouge").compute().items()}
        expected = {name: metric.compute() for name, metric in direct.items()} | of_rouge
        assert values == pytest.approx(expected, abs=1e-9)
    (examples,) = task.report(model, "test", torch.device("cpu"))
    assert BLEU().signature() in examples.note and "chrF2 nrefs:1|case:mixed" in examples.note  # type: ignore[union-attr]
