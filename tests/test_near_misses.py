"""What a newcomer types slightly wrong is answered in one message with the next step, and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from labwright.cli import main

DIGITS = "vision/digits-mlp"
SLIPS = {
    "another program's verb": (["fit", DIGITS], "no verb is called 'fit'; did you mean 'run'?"),
    "another program's evaluation": (["test", "runs/a"], "no verb is called 'test'; did you mean 'evaluate'?"),
    "a setting with one dash": (["run", DIGITS, "-epochs", "3"], "a setting is written as train.epochs=3."),
    "its short form": (
        ["tune", DIGITS, "-lr", "0.1"],
        "no option is called -lr; a setting is written as optimizer.lr=0.1.",
    ),
    "a negative value": (["run", DIGITS, "-model.dropout", "-0.5"], "a setting is written as model.dropout=-0.5."),
    "a component as an option": (["run", DIGITS, "--model", "resnet"], "a setting is written as model=resnet."),
    "a device as an option": (["cross-validate", DIGITS, "--device=cuda"], "a setting is written as device=cuda."),
    "data as an option": (["run", DIGITS, "--data", "x"], "a setting is written as task.data=x."),
    "spaces around =": (["run", DIGITS, "train.epochs", "=", "3"], "write field=value without spaces"),
    "a folder for a recipe": (["run", "photos"], "it names a path (data: `labwright suggest photos`)."),
    "a folder for data": (["check-data", "photos"], "it is a path: `labwright suggest photos` makes a recipe"),
    "an unset variable": (["run", DIGITS, "--folder", ""], "--folder: given nothing; it takes a path."),
    "and with =": (["run", DIGITS, "--folder="], "--folder: given nothing; it takes a path."),
    "an endless rate": (["run", DIGITS, "optimizer.lr=inf"], "optimizer.lr: given inf; it should be a finite number"),
    "half a list": (["run", DIGITS, 'stop=["early]'], 'it is a list, such as ["early"].'),
    "half a quote": (["compare", DIGITS, f"{DIGITS} 'model.width=3"], "can't be read: No closing quotation."),
    "a setting for a candidate": (["compare", DIGITS, "model.width=8"], 'in quotes, as "RECIPE model.width=8"'),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_near_miss_is_answered_with_what_to_write(
    slip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words, answer = SLIPS[slip]
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["labwright", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("error: ") == 1 and answer in said
    assert [*tmp_path.iterdir()] == [tmp_path / "photos"]  # nothing was begun
