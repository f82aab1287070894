"""How probable the next character of a text is, by the characters before it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from labwright import LabwrightError

_START, _END = "\x02", "\x03"


class NGrams:
    """A language model of characters: n-grams up to `order`, interpolated as Witten & Bell 1991 (their method C).

    P(c | h) = (count of c after h + kinds after h * P(c | h without its first)) / (count of h + kinds after h), down to
    an even share for each letter and for the end of the text.
    """

    def __init__(self, order: int, letters: Iterable[str], counts: Mapping[str, Mapping[str, int]]) -> None:
        self.order, self.letters, self.counts = order, tuple(sorted(letters)), counts
        self._totals = {context: sum(after.values()) for context, after in counts.items()}
        self._known: dict[tuple[str, str], float] = {}

    @classmethod
    def learned(cls, texts: Iterable[str], order: int) -> NGrams:
        """The model of some texts."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        letters: set[str] = set()
        for text in texts:
            letters |= set(text)
            whole = _START * (order - 1) + text + _END
            for place in range(order - 1, len(whole)):
                for length in range(order):
                    counts[whole[place - length : place]][whole[place]] += 1
        return cls(order, letters, counts)

    def log_prob(self, text: str, letter: str) -> float:
        """The natural logarithm of the probability that `letter` follows on `text`; "" is the text's end."""
        context = (_START * (self.order - 1) + text)[len(text) :] if self.order > 1 else ""
        key = (context, letter or _END)
        if key not in self._known:
            self._known[key] = math.log(self._probability(*key))
        return self._known[key]

    def _probability(self, context: str, letter: str) -> float:
        after = self.counts.get(context)
        shorter = self._probability(context[1:], letter) if context else 1 / (len(self.letters) + 1)
        if after is None:
            return shorter
        return (after.get(letter, 0) + len(after) * shorter) / (self._totals[context] + len(after))

    def save(self, file: Path) -> None:
        kept = {"order": self.order, "letters": "".join(self.letters), "counts": self.counts}
        file.write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> NGrams:
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            return cls(kept["order"], kept["letters"], kept["counts"])
        except (OSError, ValueError, KeyError) as error:
            raise LabwrightError(f"{file} can't be read as a language model: {error}.") from error
