"""How well an answer is the one that was meant, as SQuAD measures it (Rajpurkar et al. 2016, section 6.1)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_SIGNS = str.maketrans("", "", string.punctuation)


def exact(answer: str, meant: Sequence[str]) -> float:
    """1 if the answer is one of those that are meant, articles, signs, blanks and capitals aside; else 0."""
    return float(any(_plain(answer) == _plain(one) for one in meant or [""]))


def overlap(answer: str, meant: Sequence[str]) -> float:
    """F1 of the words of an answer and of those meant, the best of several; where none is meant, 1 for no answer."""
    return max(_f1(_plain(answer), _plain(one)) for one in meant or [""])


def _f1(given: str, meant: str) -> float:
    ours, theirs = given.split(), meant.split()
    if not ours or not theirs:
        return float(ours == theirs)
    both = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * both / (len(ours) + len(theirs))


def _plain(text: str) -> str:
    """Small letters without signs, articles and blanks that say nothing."""
    bare = text.lower().translate(_SIGNS)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())
