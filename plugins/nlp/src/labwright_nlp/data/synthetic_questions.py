"""Questions about texts, made from templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from labwright_nlp.data.question_reading import Question
from labwright_nlp.data.questions import AskedTexts, Stride, WindowLength
from labwright_nlp.data.synthetic import KINDS, LANGUAGES, LICENCE, PARTS, SOURCE, Facts, Languages
from labwright_nlp.tokenizing import KnowsWords, Vocabulary

_THINGS = 2  # what a text is about; it says one thing of each


class SyntheticQuestions(AskedTexts):
    """Synthetic texts of two sentences in one of some `languages`, and a question about each.

    A text says of two things, such as a museum and a bridge, when it opened, what it costs or the like. Where it isn't
    the same of both, as in four texts of five, a share `unanswerable` of the questions asks about one thing what is
    said of the other alone, and has no answer. Dates, sums and countries are as Babel writes them in the language; none
    is in two parts. `train`, `valid` and `test` are how many there are; `seed` is of what is drawn. Fewer rules have
    made them than any language has: what answers them needn't answer a real question. The other settings are those of
    `nlp/questions`.
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
        said = [facts.fact(language, thing, draws.choice(KINDS)) for thing in facts.things(language, _THINGS)]
        starts, context = [], ""
        for one in said:
            starts.append(len(context) + len(one.before))
            context += f"{one.before}{one.value}{one.behind} "
        at = draws.randrange(_THINGS)
        untold = [one.kind for one in said if one.kind != said[at].kind]
        if untold and draws.random() < self.unanswerable:
            asked = facts.fact(language, said[at].thing, draws.choice(untold)).question
            return Question(context.strip(), asked, (), (), "", where)
        return Question(context.strip(), said[at].question, (said[at].value,), (starts[at],), "", where)
