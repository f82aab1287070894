"""What a run's report shows of sequences that a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labwright import Table


def examples(
    sources: Sequence[Any], references: Sequence[str], texts: Sequence[str], beams: int, signatures: Sequence[str] = ()
) -> Table:
    """Sources, the targets meant, and what was written, some of a split; sources that aren't text are left out.

    `signatures` say how the run's metrics are computed.
    """
    shown = [source if isinstance(source, str) else "" for source in sources] or [""] * len(texts)
    rows: list[tuple[object, ...]] = [*zip(shown, references, texts, strict=True)]
    same = sum(text == meant for text, meant in zip(texts, references, strict=True))
    how = "the most probable token each time" if beams == 1 else f"a search with {beams} beginnings"
    told = " ".join([f"{same} of {len(texts)} are the same; {how}.", *(f"Measured as {one}." for one in signatures)])
    return Table("Examples", ("source", "meant", "written"), rows, told)
