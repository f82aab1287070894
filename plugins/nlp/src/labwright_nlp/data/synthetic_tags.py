"""Sentences with tags, made from templates."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from labwright_tasks.entities import OUTSIDE
from labwright_tasks.tables import Table
from pydantic import Field

from labwright_nlp.data.synthetic import KINDS, LANGUAGES, LICENCE, PARTS, SOURCE, Facts, Languages
from labwright_nlp.data.tagged_texts import Letters, TaggedWords
from labwright_nlp.data.texts import Length
from labwright_nlp.tokenizing import KnowsWords, Pretrained, Vocabulary

_WORD = re.compile(r"\w+(?:[.,:]\w+)*|[^\w\s]")


class SyntheticTags(TaggedWords):
    """Synthetic sentences with tags of their dates, times, sums of money, shares and countries.

    Each is made from a template, such as "The museum opened on March 14, 1921.", around what Babel writes in that
    language, in several forms; a number of rooms is none of these. No date, sum or other value with a tag is in two
    parts, whatever its form, so that a dictionary of words doesn't do. Fewer rules have made them than any language
    has: what tells them apart tells nothing of real texts.

    Args:
        train: sentences to learn from.
        valid, test: sentences of this part; 0: there is no such part.
        seed: of what is drawn, and of which values are in which part.
    """

    source = SOURCE
    licence = LICENCE

    def __init__(
        self,
        *,
        languages: Languages = LANGUAGES,
        train: Annotated[int, Field(ge=1)] = 1200,
        valid: Annotated[int, Field(ge=0)] = 300,
        test: Annotated[int, Field(ge=0)] = 300,
        tokenizer: KnowsWords = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Pretrained = None,
        case: Literal["keep", "lower"] = "keep",
        letters: Letters = 0,
        length: Length = 128,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            letters=letters,
            length=length,
        )
        self.counts, self.seed = dict(zip(PARTS, (train, valid, test), strict=True)), seed
        self.languages = languages

    def parted(self) -> dict[str, Table]:
        return {part: self._made(part, count) for part, count in self.counts.items() if count}

    def _made(self, part: str, count: int) -> Table:
        facts = Facts(part, self.seed, self.languages)
        sentences: dict[str, str] = {}  # words -> tags; none is there twice
        while len(sentences) < count:
            words, tags = _sentence(facts)
            sentences[json.dumps(words, ensure_ascii=False)] = json.dumps(tags)
        columns = {"text": [*sentences], "tags": [*sentences.values()]}
        return Table(f"the {part} part of nlp/synthetic-tags", columns, range(1, count + 1), "sentence")


def _sentence(facts: Facts) -> tuple[list[str], list[str]]:
    """One or two facts about a thing each."""
    language, words, tags = facts.language(), list[str](), list[str]()
    for thing in facts.things(language, facts.draws.randint(1, 2)):
        fact = facts.fact(language, thing, facts.draws.choice((*KINDS, "")))
        for text, kind in ((fact.before, ""), (fact.value, fact.kind), (fact.behind, "")):
            found = _WORD.findall(text)
            words += found
            tags += [f"{'I' if at else 'B'}-{kind}" if kind else OUTSIDE for at in range(len(found))]
    return words, tags
