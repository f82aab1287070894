"""The names of parts."""

from __future__ import annotations

import pytest
from labwright_tasks.parts import part_named


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", ["train", "Train", "TRAINING", "training"]),
        ("valid", ["valid", "val", "Validation", "dev"]),
        ("test", ["test", "Testing", "TEST"]),
        (None, ["train.old", "train2", "tests", "eval", "cat", "", "validations"]),
    ],
)
def test_parts_are_known_by_the_names_people_give_them_whatever_the_case(part: str | None, names: list[str]) -> None:
    assert [part_named(name) for name in names] == [part] * len(names)
