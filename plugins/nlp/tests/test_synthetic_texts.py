"""Made sentences and questions: what their tags and answers say is so, and nothing of one part is in another."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
from babel import Locale
from babel.dates import format_date
from babel.numbers import parse_decimal
from labwright import Experiment
from labwright_nlp.data.question_reading import Question
from labwright_nlp.data.synthetic import LANGUAGES, Facts, Language
from labwright_nlp.data.synthetic_questions import SyntheticQuestions
from labwright_nlp.data.synthetic_tags import SyntheticTags
from labwright_tasks.entities import entities


def tagged(data: SyntheticTags) -> dict[str, list[tuple[list[str], list[str]]]]:
    """The words and tags of each part."""
    return {
        part: [(json.loads(text), json.loads(tags)) for text, tags in zip(table["text"], table["tags"], strict=True)]
        for part, table in data.parted().items()
    }


def test_the_same_seed_makes_the_same_and_another_others() -> None:
    def made(seed: int) -> object:
        tags = SyntheticTags(train=20, valid=0, test=5, seed=seed)
        return tagged(tags), SyntheticQuestions(train=20, valid=5, test=0, seed=seed).parted()

    assert made(0) == made(0) != made(1)


def test_tags_are_whole_entities_and_countries_are_those_of_babel() -> None:
    found = tagged(SyntheticTags(train=300, valid=60, test=60))
    words = re.compile(r"\w+(?:[.,:]\w+)*|[^\w\s]")
    countries = {
        tuple(words.findall(name)) for language in LANGUAGES for name in Locale.parse(language).territories.values()
    }
    kinds = set()
    for sentences in found.values():
        assert len({tuple(of_one) for of_one, _ in sentences}) == len(sentences)
        for of_one, tags in sentences:
            assert len(of_one) == len(tags) and entities(tags) == entities(tags, strict=True)
            for kind, first, last in entities(tags):
                kinds.add(kind)
                assert kind != "PLACE" or tuple(of_one[first:last]) in countries
    assert kinds == {"DATE", "TIME", "MONEY", "SHARE", "PLACE"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_value_is_in_two_parts(language: Language) -> None:
    counts = {"DATE": 150, "SHARE": 150, "PLACE": 150, "TIME": 150, "MONEY": 1500}  # a tenth of sums are in yen
    values = {
        part: {kind: {facts.fact(language, "x", kind).value for _ in range(count)} for kind, count in counts.items()}
        for part in ("train", "valid", "test")
        for facts in [Facts(part, 0, (language,))]
    }
    for kind in counts:
        assert not values["train"][kind] & values["test"][kind]
        assert not values["valid"][kind] & (values["train"][kind] | values["test"][kind])
    shares = [parse_decimal(re.sub(r"[^\d.,]", "", share), language) for share in values["train"]["SHARE"]]
    assert all(0 < share < 100 for share in shares)


def test_a_date_is_written_as_its_language_writes_it() -> None:
    assert format_date(date(1921, 3, 14), "long", "de") == "14. März 1921"
    german = {Facts("train", seed, ("de",)).fact("de", "x", "DATE").value for seed in range(40)}
    assert any(re.fullmatch(r"\d{1,2}\. \w+ \d{4}", value) for value in german)
    assert any(re.fullmatch(r"\d{2}\.\d{2}\.\d{4}", value) for value in german)


def test_an_answer_stands_at_its_place_and_what_has_none_is_not_said() -> None:
    parts = SyntheticQuestions(languages=("en",), train=400, valid=50, test=50, unanswerable=0.25).parted()
    every = [question for of_part in parts.values() for question in of_part]
    assert len({question.context for question in every}) == 500
    for question in every:
        for answer, start in zip(question.answers, question.starts, strict=True):
            assert question.context.startswith(answer, start)
        assert bool(question.answers) == said(question)
    share = sum(not question.answers for question in every) / 500
    meant = 0.25 * 4 / 5  # both things have the same said of them in one of five texts, which have an answer
    assert abs(share - meant) < 4 * (meant * (1 - meant) / 500) ** 0.5  # four deviations of a binomial share


def said(question: Question) -> bool:
    """Whether some sentence of the text is the statement that belongs to the question."""
    stated = (
        (r"When did (.*) open\?", r"{} opened on"),
        (r"When does (.*) close\?", r"{} closes at"),
        (r"What does (.*) cost a day\?", r"{} costs .* a day"),
        (r"How many more visits has (.*)\?", r"{} has [\d.]+\s?% more visits"),
        (r"In which country does (.*) stand\?", r"country where {} stands"),
    )
    (answer,) = (
        re.search(statement.format(found[1]), question.context, re.IGNORECASE) is not None
        for asked, statement in stated
        if (found := re.fullmatch(asked, question.question))
    )
    return answer


@pytest.mark.release
@pytest.mark.parametrize(
    ("recipe", "metric", "least"),
    [("nlp/synthetic-tags", "strict-entity-f1", 0.6), ("nlp/synthetic-questions", "f1", 0.5)],
)
def test_a_recipe_beats_its_floors(tmp_path: Path, recipe: str, metric: str, least: float) -> None:
    run = Experiment.from_recipe(recipe, ["log=[]"]).run(tmp_path / "run")
    assert run.metrics["test"][metric] > least
