"""Whether the texts of one part are unlike those to learn from: longer or shorter, or in other words. N texts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from labwright import Finding

_FEWEST = 30  # texts of a part, with fewer of which chance says much
_LONGER = 0.6  # of pairs of texts; 0.5 is what parts that were drawn at random have
_SURE = 4.0  # deviations of chance
_MUCH = 0.1  # of the letters; less makes no other texts, however sure it is
_UNSEEN, _TIMES = 0.05, 1.5  # of a part's words, and how much more often than among texts to learn from
_NAMED = 5


def drifted(texts: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """A finding for each part whose texts differ from those of `train` in length, or in their words."""
    train = texts.get("train", ())
    if len(train) < _FEWEST:
        return
    sizes_N, known = np.array([len(text) for text in train]), Counter(word for text in train for word in _words(text))
    usual = unseen_among(train)
    for part, of_part in texts.items():
        if part == "train" or len(of_part) < _FEWEST:
            continue
        own_N = np.array([len(text) for text in of_part])
        share = share_longer(own_N, sizes_N)
        deviation = math.sqrt((len(own_N) + len(sizes_N) + 1) / (12 * len(own_N) * len(sizes_N)))
        here, there = float(np.median(own_N)), float(np.median(sizes_N))
        much = abs(here - there) > _MUCH * max(here, there)
        if much and abs(share - 0.5) > max(_LONGER - 0.5, _SURE * deviation):
            medians = f"{here:,.0f} letters against {there:,.0f}, by the median"
            more = "longer" if here > there else "shorter"
            yield Finding("texts", f"texts of {part} are {more} than those of train: {medians}.")
        counts = Counter(word for text in of_part for word in _words(text))
        strange = Counter({word: count for word, count in counts.items() if word not in known})
        unseen = strange.total() / max(counts.total(), 1)
        if unseen > _UNSEEN and unseen > _TIMES * usual:
            named = ", ".join(word for word, _ in strange.most_common(_NAMED))
            yield Finding(
                "texts",
                f"{unseen:.0%} of the words of {part} are in no text of train, where {usual:.0%} would be new in one "
                f"more of its own: {named}.",
            )


def share_longer(sizes_N: np.ndarray, others_M: np.ndarray) -> float:
    """How often one of the first is longer than one of the others, of all pairs; as long counts half.

    Its deviation by chance is sqrt((N + M + 1) / 12NM) around a half (Mann & Whitney 1947).
    """
    ordered_M = np.sort(others_M)
    below_N = np.searchsorted(ordered_M, sizes_N, "left") + np.searchsorted(ordered_M, sizes_N, "right")
    return float(below_N.mean() / (2 * len(others_M)))


def unseen_among(texts: Sequence[str]) -> float:
    """The share of words, each text against all others, that are in no other text.

    It is what one more text of the same kind has new, about (Good 1953, with texts for single draws).
    """
    words = [Counter(_words(text)) for text in texts]
    in_texts = Counter(word for of_text in words for word in of_text)
    alone = sum(count for of_text in words for word, count in of_text.items() if in_texts[word] == 1)
    return alone / max(sum(of_text.total() for of_text in words), 1)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
