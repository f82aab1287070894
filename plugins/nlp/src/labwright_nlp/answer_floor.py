"""A simple rule that answers questions: the sentence of the text that is most like the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from labwright_nlp.data.question_reading import Question

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[^.!?]+[.!?]*\s*")


def nearest_sentences(questions: Sequence[Question]) -> list[str]:
    """For each question the sentence whose words it has, each weighed by how few texts have it (Spärck Jones 1972)."""
    texts = {one.context: set(_WORD.findall(one.context.lower())) for one in questions}
    counts = Counter(word for words in texts.values() for word in words)
    weight = {word: math.log(len(texts) / count) + 1 for word, count in counts.items()}
    found = []
    for one in questions:
        asked = set(_WORD.findall(one.question.lower()))
        sentences = [sentence.strip() for sentence in _SENTENCE.findall(one.context)] or [one.context]
        alike = [sum(weight.get(word, 0) for word in asked & set(_WORD.findall(each.lower()))) for each in sentences]
        found.append(sentences[alike.index(max(alike))])
    return found
