"""Questions about texts, made from templates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from labwright_nlp.data.question_reading import Question
from labwright_nlp.data.questions import AskedTexts, Stride, WindowLength
from labwright_nlp.data.synthetic import KINDS, LANGUAGES, LICENCE, PARTS, SOURCE, Facts, Languages
from labwright_nlp.tokenizing import KnowsWords, Pretrained, Vocabulary

_THINGS = 2  # what a text is about; it says one thing of each


class SyntheticQuestions(AskedTexts):
    """Synthetic texts of two sentences, and a question about each.

    A text says of two things, such as a museum and a bridge, when it opened, what it costs or the like. A question
    without an answer asks about one thing what is said of the other alone. Dates, sums and countries are as Babel
    writes them in the language; none is in two parts. Fewer rules have made them than any language has: what answers
    them needn't answer a real question.

    Args:
        train: questions to learn from.
        valid, test: questions of this part; 0: there is no such part.
        unanswerable: share without an answer of the questions about texts that don't say the same of both things, as
            four in five don't.
        seed: of what is drawn, and of which values are in which part.
    """

    source = SOURCE
    licence = LICENCE
    together = "context"

    def __init__(
        self,
        *,
        languages: Languages = LANGUAGES,
        train: Annotated[int, Field(ge=1)] = 4000,
        valid: Annotated[int, Field(ge=0)] = 300,
        test: Annotated[int, Field(ge=0)] = 300,
        unanswerable: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        tokenizer: KnowsWords = "wordpiece",
        vocabulary: Vocabulary = 1000,
        pretrained: Pretrained = None,
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
