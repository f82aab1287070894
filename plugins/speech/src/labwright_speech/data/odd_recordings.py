"""Recordings that are unlike the others: in length, in sample rate, in how fast they would have to be spoken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from labwright import Finding
from labwright_tasks.checking.unusual import unusual

Place = tuple[str, int]  # a split and an index
_TIMES = 4.0  # longer or shorter than is usual
_SPOKEN = 2.5  # times faster or slower


def odd_lengths(seconds: Mapping[Place, float]) -> list[Finding]:
    """Recordings much longer or shorter than is usual."""
    places, values_N = [*seconds], torch.tensor([*seconds.values()])
    far = unusual(values_N, _TIMES).tolist() if places else []
    if not far:
        return []
    text = f"{len(far):,} recordings are of odd length, where {float(values_N.median()):.2f} s is usual."
    details = tuple(f"{values_N[at]:.2f} s" for at in far)
    return [Finding("recordings", text, tuple(places[at] for at in far), details)]


def low_rates(rates: Mapping[Place, int], rate: int) -> list[Finding]:
    """Recordings with fewer samples a second than a model is given: they have no high notes, by which it can tell."""
    counts = Counter(rates.values())
    lower = [place for place, own in rates.items() if own < rate]
    if not lower:
        return []
    listed = ", ".join(f"{own:,} of {count:,}" for own, count in sorted(counts.items()))
    if len(lower) == len(rates):
        highest = max(counts)
        text = f"all recordings have fewer samples a second than task.data.rate={rate}: {highest} loses nothing."
        return [Finding("recordings", text)]
    text = (
        f"{len(lower):,} recordings have fewer samples a second than task.data.rate={rate} ({listed}): they have no "
        f"high notes, and a model may tell them by that. task.data.rate={min(counts)} makes all alike."
    )
    return [Finding("recordings", text, tuple(lower), tuple(f"{rates[place]:,} samples a second" for place in lower))]


def odd_speed(letters: Mapping[Place, int], seconds: Mapping[Place, float]) -> list[Finding]:
    """Transcripts that would have been spoken much faster or slower than the others: of other recordings?"""
    places = [*letters]
    speed_N = torch.tensor([letters[place] / max(seconds[place], 1e-3) for place in places])
    far = unusual(speed_N, _SPOKEN).tolist() if places else []
    if not far:
        return []
    text = (
        f"{len(far):,} transcripts don't suit the length of their recordings, where {float(speed_N.median()):.1f} "
        "letters a second are usual: are they of other recordings?"
    )
    details = tuple(f"{speed_N[at]:.1f} letters a second" for at in far)
    return [Finding("recordings", text, tuple(places[at] for at in far), details)]
