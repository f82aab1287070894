"""From a recogniser's log-probabilities to texts. T frames, C blank and symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from labwright_speech.ports import BLANK

Scorer = Callable[[str, str], float]  # what a language model adds for a symbol behind a text; for "": for the end there

_LEAST = 1e-6  # symbols less probable than this in a frame aren't tried by a beam
_NONE = -math.inf


def greedy(log_probs_BTC: Tensor, alphabet: Sequence[str]) -> list[str]:
    """The most probable class of each frame, repeats made one, blanks left out (Graves et al. 2006, section 3.2)."""
    return [collapsed(classes, alphabet) for classes in log_probs_BTC.argmax(2).tolist()]


def collapsed(classes: Sequence[int], alphabet: Sequence[str]) -> str:
    """The text an alignment stands for: of equal neighbours one, and no blanks."""
    kept = [after for before, after in pairwise((BLANK, *classes)) if after != before]
    return "".join(alphabet[symbol - 1] for symbol in kept if symbol != BLANK)


def beam_search(
    log_probs_TC: Sequence[Sequence[float]],
    alphabet: Sequence[str],
    beam: int,
    scorer: Scorer | None = None,
    least: float = _LEAST,
) -> list[tuple[str, float]]:
    """The most probable texts and their scores, best first: log-probability, and what `scorer` adds.

    Prefix search (Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition"): of each text that
    the frames so far may stand for, the probabilities of ending in a blank and in its last symbol; after each frame the
    `beam` texts of the highest score go on.
    """
    floor = math.log(least) if least else _NONE
    beams: dict[str, tuple[float, float]] = {"": (0.0, _NONE)}
    added = {"": 0.0}
    for frame in log_probs_TC:
        if frame[BLANK] == 0.0:  # for certain: after the end
            beams = {text: (_sum(*ends), _NONE) for text, ends in beams.items()}
            continue
        tried = [
            (alphabet[number - 1], value) for number, value in enumerate(frame) if number != BLANK and value > floor
        ]
        repeated = {alphabet[number - 1]: value for number, value in enumerate(frame) if number != BLANK}
        reached: dict[str, tuple[float, float]] = {}
        for text, (blank, symbol) in beams.items():
            whole = _sum(blank, symbol)
            last = text[-1:]
            known = reached.get(text, (_NONE, _NONE))
            again = _sum(known[1], symbol + repeated[last]) if last else _NONE
            reached[text] = (_sum(known[0], whole + frame[BLANK]), again)
            for new, value in tried:
                log_prob = (blank if new == last else whole) + value
                if log_prob == _NONE:
                    continue
                longer = text + new
                known = reached.get(longer, (_NONE, _NONE))
                reached[longer] = (known[0], _sum(known[1], log_prob))
                if longer not in added:
                    added[longer] = added[text] + (scorer(text, new) if scorer else 0.0)
        scored = sorted(((_sum(*ends) + added[text], text) for text, ends in reached.items()), reverse=True)[:beam]
        beams = {text: reached[text] for _, text in scored}
        if len(added) > 50 * beam:
            added = {text: added[text] for text in beams}
    results = [
        (text, _sum(*ends) + added[text] + (scorer(text, "") if scorer else 0.0)) for text, ends in beams.items()
    ]
    return sorted(results, key=lambda result: -result[1])


def _sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == _NONE else a + math.log1p(math.exp(b - a))
