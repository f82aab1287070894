"""Names to translate out of Babel: as CLDR has them, in parts that share none, and a recipe that learns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError
from labwright_nlp.data.territories import Territories
from labwright_tasks.sequence_to_sequence import SequenceToSequence


def pairs_of(**settings: Any) -> dict[str, list[tuple[str, str]]]:
    data = Territories(**settings)
    data.prepare()
    task, parts = SequenceToSequence(data), {}
    for name in ("train", "valid", "test"):
        split = data.split(name)
        assert split is not None
        batch = split.fetch(torch.arange(len(split)), 0, 0)
        parts[name] = list(zip(data.show(batch.inputs), task.references(batch), strict=True))
    return parts


def test_pairs_are_those_of_cldr_and_no_name_is_in_two_parts() -> None:
    from babel import Locale

    english, german = Locale("en"), Locale("de")
    parts = pairs_of(length=100, tokenizer="byte")
    whole = [pair for part in parts.values() for pair in part]
    for side in (0, 1):
        assert len({pair[side] for pair in whole}) == len(whole) > 1300
    tables = ("territories", "languages", "scripts", "currencies")
    known = {
        (getattr(english, table)[key], getattr(german, table).get(key))
        for table in tables
        for key in getattr(english, table)
    }
    assert set(whole) <= known
    assert 0.09 < len(parts["test"]) / len(whole) < 0.11 and 0.09 < len(parts["valid"]) / len(whole) < 0.11


def test_other_languages_are_named_by_their_locales() -> None:
    parts = pairs_of(source="de", target="pt_BR", length=100)
    assert ("Brasilien", "Brasil") in [pair for part in parts.values() for pair in part]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "dee"}, r"task\.data\.target: Babel has no locale 'dee'; did you mean 'ee'"),
        ({"source": "en-"}, r"task\.data\.source: Babel has no locale 'en-'"),
        ({"source": "de"}, r"task\.data\.target: given 'de', which is task\.data\.source too"),
    ],
)
def test_locales_that_there_are_not_are_answered(settings: dict[str, str], words: str) -> None:
    with pytest.raises(LabwrightError, match=words) as caught:
        Territories(**settings).prepare()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.release
def test_the_recipe_translates_better_than_the_most_similar_name_does(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("nlp/territories").run(tmp_path / "run")
    floors = run.task.floors("test")
    assert floors["the source itself"]["cer"] == pytest.approx(0.3525, abs=0.01)  # which it doesn't reach
    (similar,) = (values for name, values in floors.items() if name.startswith("what the source most like"))
    assert run.metrics["test"]["cer"] < similar["cer"] - 0.1 and run.metrics["test"]["exact-match"] > 0.2
