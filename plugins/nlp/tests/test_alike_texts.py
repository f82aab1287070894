"""Pairs of texts that mean the same: read, put side by side, learned from, and found again by their vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from babel import Locale
from labwright import LabwrightError
from labwright.cli import app
from labwright_nlp.data.alike_texts import AlikeTexts
from labwright_tasks.two_views import Views
from labwright_testing.verify_resume import verify_resume
from typer.testing import CliRunner


def names(path: Path) -> Path:
    """What countries and languages are called in English and in German, where that isn't the same."""
    english, german = Locale.parse("en"), Locale.parse("de")
    rows = [
        {"text": here[code], "other": there[code]}
        for here, there in ((english.territories, german.territories), (english.languages, german.languages))
        for code in here
        if code in there and here[code] != there[code]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(path: Path, **more: object) -> list[str]:
    short = {"task.data.tokenizer": "char", "model.trunk.ngrams": 3, "model.trunk.buckets": 4096, **more}
    return [f"task.data.path={path}", "log=[]", *(f"{name}={value}" for name, value in short.items())]


def test_both_sides_are_padded_to_one_length_and_know_the_same_tokens(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    rows = ["text,other", *(f"a b c{number},b{' c' * (number % 4)}" for number in range(40)), "alone,"]
    file.write_text("\n".join(rows) + "\n")
    data = AlikeTexts(path=file)
    data.prepare()
    assert [(left_out.count, left_out.what) for left_out in data.left_out()] == [(1, "row")]
    train = data.split("train")
    assert train is not None and len(train) == 32
    batch = train.fetch(torch.arange(5), 0, 0)
    assert isinstance(batch, Views) and batch.inputs[0].shape == batch.others[0].shape
    assert data.show(batch.inputs)[0].startswith("a b c") and data.show(batch.others)[0].startswith("b")
    assert batch.inputs[0][0, 1] == batch.others[0][0, 0]  # b


def test_other_texts_that_stand_in_two_parts_are_told(tmp_path: Path) -> None:
    for part, rows in {"train": ["a,x", "b,y", "c,z"], "test": ["d,x", "e,new"]}.items():
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,other", *rows]) + "\n")
    data = AlikeTexts(path=tmp_path, valid=0.0)
    data.prepare()
    assert "the other text of 1 of 2 pairs of test is that of a pair of train." in data.remarks()


def test_names_of_held_out_countries_are_found_again_by_their_letters(tmp_path: Path) -> None:
    """Before it has learned anything, letters two languages share tell some; learning the languages tells more."""
    path = names(tmp_path / "names.jsonl")
    found = [
        lw.Experiment.from_recipe("nlp/alike-texts", settings(path, **{"optimizer.lr": lr, "train.epochs": 4}))
        .run(tmp_path / f"run-{lr}")
        .metrics["test"]["retrieval_accuracy"]
        for lr in (1e-9, 1e-2)
    ]
    assert found[1] > 0.6 and found[1] > found[0] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["nlp/lstm", "nlp/encoder"])
def test_vectors_are_resumed_exactly_and_given_for_what_is_asked(tmp_path: Path, trunk: str) -> None:
    size = "hidden_size=16,num_hidden_layers=1,num_attention_heads=2,intermediate_size=16"
    own = {"nlp/lstm": "width=8", "nlp/encoder": f'architecture="bert",options={{{size}}}'}[trunk]
    model: dict[str, Any] = {"model.trunk.ngrams": "", "model.trunk.buckets": ""}
    path = names(tmp_path / "names.jsonl")
    given = [*settings(path, **{"train.steps": 4, "train.epochs": "", "train.batch_size": 16})]
    given = [one for one in given if one.partition("=")[0] not in model]
    given.append(f'model={{name="projected",trunk={{name="{trunk}",{own}}},features=8,layers=0}}')
    experiment = lw.Experiment.from_recipe("nlp/alike-texts", given)
    assert verify_resume(experiment, 2).exact
    experiment.run(tmp_path / "run")
    said = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), "--text", "Germany", "--json"])
    assert said.exit_code == 0 and len(json.loads(said.output.splitlines()[-1])["embedding"]) == 8


def test_other_pairs_are_measured_and_a_file_without_the_other_column_is_refused(tmp_path: Path) -> None:
    path = names(tmp_path / "names.jsonl")
    data = AlikeTexts(path=path, tokenizer="char")
    data.prepare()
    part = data.on(path).split("test")
    assert part is not None and len(part) == len(path.read_text().splitlines())
    (tmp_path / "bare.jsonl").write_text(json.dumps({"text": "one"}) + "\n")
    with pytest.raises(LabwrightError, match=r"no column 'other'.*It has"):
        data.on(tmp_path / "bare.jsonl")


def test_texts_alone_are_told_apart_by_two_views_of_dropout(tmp_path: Path) -> None:
    """SimCSE without labels: nlp/languages has none to augment, and its classes serve the neighbours alone."""
    overrides = [
        'task={name="two-views",data={name="nlp/languages"},views="dropout",neighbours=5}',
        'model={name="projected",trunk={name="nlp/bag",width=16,ngrams=2,buckets=4096,dropout=0.3},features=16,layers=0}',
        "loss=in-batch", "train.epochs=", "train.steps=20", "train.batch_size=64", "log=[]",
    ]  # fmt: skip
    run = lw.Experiment.from_recipe("nlp/languages", overrides).run(tmp_path / "run")
    assert run.metrics["test"]["knn_accuracy"] > 2 / 30 and run.metrics["test"]["spread"] > 0.5
    assert not any("two views" in note for note in run.notes)
    dry = [override.replace("dropout=0.3", "dropout=0.0") for override in [*overrides, "train.steps=1"]]
    notes = lw.Experiment.from_recipe("nlp/languages", dry).run(tmp_path / "dry").notes
    assert any("task.views=dropout: the model gives the same for a sample twice" in note for note in notes)
    still = [override.replace(',views="dropout"', "") for override in dry]
    with pytest.raises(LabwrightError, match=r"shows a sample the same way each time.*task\.views=dropout"):
        lw.Experiment.from_recipe("nlp/languages", still).run(tmp_path / "still")
