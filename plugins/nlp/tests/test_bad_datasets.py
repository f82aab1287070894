"""What a person can get wrong with datasets of the hub: each slip gets its one message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from labwright_tasks import hub
from slips_of_texts import Command, answered

ROWS: dict[str, list[Any]] = {"text": [f"text {number}" for number in range(40)], "label": [0, 1] * 20}


def of_hub(splits: Mapping[str, Mapping[str, list[Any]]], *overrides: str) -> Command:
    """`labwright run nlp/polarity-bag` on a dataset that the datasets library wrote, with these columns by split."""

    def args(here: Path) -> list[str]:
        datasets = pytest.importorskip("datasets")
        made = {name: datasets.Dataset.from_dict(dict(columns)) for name, columns in splits.items()}
        datasets.DatasetDict(made).save_to_disk(str(here / "hub"))
        data = ["task.data=nlp/datasets", f"task.data.dataset={here / 'hub'}"]
        return ["run", "nlp/polarity-bag", *data, "log=[]", *overrides]

    return args


def no_dataset(here: Path) -> list[str]:
    pytest.importorskip("datasets")
    return ["run", "nlp/polarity-bag", "task.data=nlp/datasets", f"task.data.dataset={here}", "log=[]"]


CASES: dict[str, tuple[Command, str]] = {
    # what it is: (the command, a pattern of its message)
    "a dataset without a part to learn from": (of_hub({"test": ROWS}), r"no split 'train' with labels; it has test"),
    "a dataset with two parts of a kind": (
        of_hub({"train": ROWS, "val": ROWS, "validation": ROWS}),
        r"two splits for 'valid': it has train, val, validation",
    ),
    "a dataset whose labels are secret": (
        of_hub({"train": {"text": ["a"], "label": [None]}}),
        r"no split 'train' with lab",
    ),
    "a dataset of parts": (
        of_hub({"train": {"text": [["a"]] * 9, "label": [1] * 9}}),
        r"row 0: column 'text' has a list",
    ),
    "a dataset's column called otherwise": (
        of_hub({"train": ROWS}, "task.data.text=txt"),
        r"no column 'txt'; did you mean",
    ),
    "a folder that is no dataset": (
        no_dataset,
        r"task\.data\.dataset: .* can't be loaded",
    ),
    "the datasets library missing": (
        lambda here: ["run", "nlp/polarity-bag", "task.data=nlp/datasets", "task.data.dataset=imdb"],
        r"needs the datasets library: `pip install 'labwright-nlp\[datasets\]'`",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_slip_with_a_dataset_is_answered_with_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "library missing" in what:
        monkeypatch.setattr(hub, "find_spec", lambda name: None)
    answered(CASES[what], tmp_path, capsys, monkeypatch)
