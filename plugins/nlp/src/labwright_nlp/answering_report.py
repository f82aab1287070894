"""What a run's report shows of answers: the worst of them, in their texts."""

from __future__ import annotations

from collections.abc import Sequence

from labwright import Section, Text

from labwright_nlp.answer_scores import exact, overlap
from labwright_nlp.data.questions import Asked

_AROUND = 120  # letters of the text that are shown on both sides


def sections(asked: Sequence[Asked], found: Sequence[tuple[int, int]], shown: int) -> list[Section]:
    """Questions, what answers them and what was meant, the worst first."""
    answers = [one.question.context[low:high] for one, (low, high) in zip(asked, found, strict=True)]
    scores = [overlap(answer, one.question.answers) for one, answer in zip(asked, answers, strict=True)]
    right = sum(exact(answer, one.question.answers) for one, answer in zip(asked, answers, strict=True))
    worst = sorted(range(len(asked)), key=scores.__getitem__)[:shown]
    passages = [_passage(asked[row], found[row], scores[row]) for row in worst]
    note = (
        f"The worst of {len(asked):,}, {int(right):,} of which are right to the letter. [The answer that was given] "
        "stands in its text."
    )
    return [Text("Worst answers", passages, note=note)]


def _passage(asked: Asked, place: tuple[int, int], score: float) -> str:
    one, (low, high) = asked.question, place
    before, behind = one.context[max(0, low - _AROUND) : low], one.context[high : high + _AROUND]
    given = f"{'…' * (low > _AROUND)}{before}[{one.context[low:high]}]{behind}…" if high else "[no answer]"
    meant = " or ".join(repr(answer) for answer in dict.fromkeys(one.answers)) or "no answer"
    return f"{one.question}\n{given}\nmeant: {meant} (F1 {score:.2f})"
