"""Whole runs through the command line and the recipes: learned, resumed exactly, predicted from, exported."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright.cli import main
from labwright_testing.verify_resume import verify_resume

QUIET = ["log=[]"]


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: str) -> str:
    monkeypatch.setattr(sys, "argv", ["labwright", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    return said.out


def experiment(recipe: str, *overrides: str) -> lw.Experiment:
    return lw.Experiment.from_recipe(recipe, [*QUIET, *overrides])


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.long)])
@pytest.mark.parametrize("model", ["bag", "text-cnn", "lstm", "gru"])
def test_a_classifier_learns_what_a_word_tells(model: str, precision: str, fruits: Path, tmp_path: Path) -> None:
    run = experiment(
        "nlp/polarity-bag", f"task.data.path={fruits}", f"model=nlp/{model}", "train.epochs=8", "train.batch_size=8",
        "optimizer.lr=1e-2", f"device.precision={precision}",
    ).run(tmp_path / "run")  # fmt: skip
    assert run.metrics["test"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    "overrides",
    [
        ["nlp/pydoc", "train.batch_size=4", "model.dropout=0.1", "train.ema=0.9"],
        ["nlp/pydoc", "train.batch_size=4", "task.data.tokenizer=bpe", "task.data.vocabulary=300", "model.depth=1"],
        ["nlp/polarity-lstm", "train.batch_size=8", "task.data.path={fruits}"],
    ],
    ids=["gpt", "gpt-bpe", "lstm"],
)
def test_a_resumed_run_is_the_uninterrupted_one(overrides: list[str], fruits: Path) -> None:
    recipe, *rest = (one.format(fruits=fruits) for one in overrides)
    verdict = verify_resume(experiment(recipe, *rest), 5)
    assert verdict.exact and verdict.tensors_compared > 10


def test_a_language_model_learns_and_goes_on_with_a_prompt_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("abcdefgh\n" * 200)
    run = experiment(
        "nlp/shakespeare", f"task.data.path={tmp_path / 'text.txt'}", "task.data.context=16", "model.width=32",
        "model.depth=1", "train.steps=60", "train.batch_size=16", "optimizer.lr=1e-2", "task.length=30",
        'log=["report"]',
    ).run(tmp_path / "run")  # fmt: skip
    valid = run.metrics["valid"]
    assert valid["cross_entropy"] < 0.2
    assert valid["bits_per_char"] == pytest.approx(valid["cross_entropy"] / 0.6931471805599453)
    assert valid["perplexity"] == pytest.approx(2.718281828459045 ** valid["cross_entropy"])
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Written by the model" in report and "Loss by place in the window" in report
    (tmp_path / "text.txt").unlink()
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    greedy = ("predict", "elsewhere", "--prompt", "abc", "--set", "task.temperature=0.0")
    assert told(capsys, monkeypatch, *greedy).startswith("abc\tdefgh\nabcdefgh\nabcdefgh\n")
    answer = json.loads(told(capsys, monkeypatch, *greedy, "--set", "task.length=5", "--json"))
    assert answer == {"input": "abc", "continuation": "defgh"}
    drawn = {
        told(capsys, monkeypatch, "predict", "elsewhere", "--prompt", "abc", "--set", "task.temperature=3.0", "--set",
             f"task.sample_seed={seed}")
        for seed in (1, 1, 2)
    }  # fmt: skip
    assert len(drawn) == 2


@pytest.mark.long
def test_a_classifier_answers_a_text_from_its_run_folder_alone(
    fruits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [f"task.data.path={fruits}", "train.epochs=8", "train.batch_size=8", 'log=["report"]']
    run = experiment("nlp/polarity-bag", *overrides, "optimizer.lr=1e-2").run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] == 1.0
    assert "Confusion matrix" in (tmp_path / "run" / "report.html").read_text()
    fruits.unlink()
    answer = json.loads(told(capsys, monkeypatch, "predict", "run", "--text", "a ripe pear", "--json"))
    assert answer["label"] == "pear" and answer["input"] == "a ripe pear"


def test_texts_that_would_make_another_vocabulary_are_not_what_a_run_is_measured_on(
    fruits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment("nlp/polarity-bag", f"task.data.path={fruits}", "train.epochs=1").run(tmp_path / "run")
    others = tmp_path / "others.jsonl"
    others.write_text(fruits.read_text().replace("number", "figure"))
    monkeypatch.setattr(sys, "argv", ["labwright", "evaluate", str(tmp_path / "run"), f"task.data.path={others}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "learns something else of" in said and "(tokenizer.json in" in said


def test_mistakes_are_shown_as_texts(fruits: Path, tmp_path: Path) -> None:
    run = experiment("nlp/polarity-bag", f"task.data.path={fruits}", "train.epochs=1").run(tmp_path / "run")
    *_, mistakes = run.task.report(run.model, "train", run.device)
    assert mistakes.title == "Worst mistakes" and str(mistakes.rows[0][0]).startswith("number ")  # type: ignore[union-attr]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("model", ["bag", "text-cnn", "lstm", "gru"])
def test_an_exported_classifier_gives_the_same_answers(
    model: str, fruits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("labwright_export")
    monkeypatch.chdir(tmp_path)
    overrides = [f"task.data.path={fruits}", f"model=nlp/{model}", "task.data.length=12", "train.epochs=1"]
    experiment("nlp/polarity-bag", *overrides).run(tmp_path / "run")
    facts = json.loads(told(capsys, monkeypatch, "export", "run", "--json"))
    assert [one["name"] for one in facts["inputs"]] == ["ids", "lengths"]
    assert facts["largest_difference"] < 1e-5  # the verb compared with onnxruntime


@pytest.mark.long
def test_names_in_30_languages_are_told_apart(tmp_path: Path) -> None:
    run = experiment("nlp/languages", "train.epochs=2").run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.6  # by chance: about 0.03


def test_a_report_shades_the_tokens_that_its_worst_mistakes_rest_on(fruits: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="explaining is Captum's")
    experiment = lw.Experiment.from_recipe(
        "nlp/polarity-lstm",
        [f"task.data.path={fruits}", "train.epochs=1", "task.explanations=integrated-gradients", 'log=["report"]'],
    )
    run = experiment.run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] < 1.0  # or there is no mistake to be shown
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "by integrated-gradients, within each input" in page
