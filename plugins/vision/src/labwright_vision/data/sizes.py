"""Pictures whose size or shape is unlike the others'. N pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from labwright import Finding
from labwright_tasks.checking.unusual import unusual

_LONG = 3.0  # times as long as wide: of a square around the middle a third is left
_ENLARGED = 2.0  # times
_TIMES = 4.0  # smaller or larger along a side than is usual


def odd_sizes(places: Sequence[tuple[str, int]], sizes: Sequence[tuple[int, int]], side: int) -> list[Finding]:
    """What is odd about pictures at these places, by width and height, when a model is given `side` pixels of each."""
    if not sizes:
        return []
    sizes_N2 = torch.tensor(sizes).double()
    shorter_N, longer_N = sizes_N2.amin(1), sizes_N2.amax(1)
    found = {
        "long": (longer_N >= _LONG * shorter_N).nonzero()[:, 0],
        "small": (_ENLARGED * shorter_N < side).nonzero()[:, 0],
        "size": unusual(shorter_N * longer_N, _TIMES**2),
    }
    sentences = {
        "long": f"are {_LONG:g} times as long as wide or more: the square cut out of each leaves out most of it.",
        "small": f"are less than half of task.data.size={side} wide or high: enlarged they are a blur.",
        "size": f"have sizes unlike the others, which are about {_usual(sizes_N2)}: thumbnails, scans, mistakes?",
    }
    return [
        Finding(
            "pictures",
            f"{len(rows):,} pictures {sentences[kind]}",
            tuple(places[row] for row in rows.tolist()),
            tuple("{}x{}".format(*sizes[row]) for row in rows.tolist()),
        )
        for kind, rows in found.items()
        if len(rows) and (kind != "small" or len(rows) < len(sizes))  # all small ones are meant to be
    ]


def _usual(sizes_N2: torch.Tensor) -> str:
    width, height = sizes_N2.median(0).values.tolist()
    return f"{width:.0f}x{height:.0f}"
