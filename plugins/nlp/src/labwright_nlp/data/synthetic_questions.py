"""Questions about texts, made from templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from labwright_nlp.data.question_reading import Question
from labwright_nlp.data.questions import AskedTexts, Stride, WindowLength
from labwright_nlp.data.synthetic import KINDS, LANGUAGES, LICENCE, PARTS, SOURCE, Facts, Languages
from labwright_nlp.tokenizing import KnowsWords, Vocabulary

_THINGS, _OF_EACH = 2, 2  # what a text is about, and what it says of each


class SyntheticQuestions(AskedTexts):
    """Synthetic texts of four sentences in one of some `languages`, and a question about each.

    A text says of two things, such as a museum and a bridge, when they opened, what they cost and the like: what is
    asked for one of them is often said of the other as well. A share `unanswerable` of the questions is about what the
    text says of the other alone, and has no answer. Dates, sums and countries are as Babel writes them in the language;
    none is in two parts. `train`, `valid` and `test` are how many there are; `seed` is of what is drawn. Fewer rules
    have made them than any language has: what answers them needn't answer a real question. The other settings are those
    of `nlp/questions`.
    """

    source = SOURCE
    licence = LICENCE
    together = "context"

    def __init__(
        self,
        *,
        languages: Languages = LANGUAGES,
        train: Annotated[int, Field(ge=1, description="questions")] = 4000,
        valid: Annotated[int, Field(ge=0, description="questions")] = 300,
        test: Annotated[int, Field(ge=0, description="questions")] = 300,
        unanswerable: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        tokenizer: KnowsWords = "wordpiece",
        vocabulary: Vocabulary = 1000,
        pretrained: Path | None = None,
        length: WindowLength = 128,
        stride: Stride = 32,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer, vocabulary=vocabulary, pretrained=pretrained, length=length, stride=stride
        )
        self.counts, self.seed = dict(zip(PARTS, (train, valid, test), strict=True)), seed
        self.languages, self.unanswerable = languages, unanswerable

    def parted(self) -> dict[str, list[Question]]:
        return {part: self._made(part, count) for part, count in self.counts.items() if count}

    def _made(self, part: str, count: int) -> list[Question]:
        facts = Facts(part, self.seed, self.languages)
        found: dict[str, Question] = {}  # by their text; none is there twice
        while len(found) < count:
            question = self._question(facts, f"the {part} part of nlp/synthetic-questions, question {len(found) + 1}")
            found[question.context] = question
        return [*found.values()]

    def _question(self, facts: Facts, where: str) -> Question:
        language, draws = facts.language(), facts.draws
        things = facts.things(language, _THINGS)
        said = [facts.fact(language, thing, kind) for thing in things for kind in draws.sample(KINDS, _OF_EACH)]
        draws.shuffle(said)
        of_thing = {thing: {one.kind for one in said if one.thing == thing} for thing in things}
        others = [(thing, kind) for thing in things for other in things for kind in of_thing[other] - of_thing[thing]]
        starts, context = [], ""
        for one in said:
            starts.append(len(context) + len(one.before))
            context += f"{one.before}{one.value}{one.behind} "
        if others and draws.random() < self.unanswerable:
            thing, kind = draws.choice(sorted(others))
            return Question(context.strip(), facts.fact(language, thing, kind).question, (), (), "", where)
        at = draws.randrange(len(said))
        return Question(context.strip(), said[at].question, (said[at].value,), (starts[at],), "", where)
