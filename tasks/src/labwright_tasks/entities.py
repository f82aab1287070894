"""Entities in tags of words: B-TYPE where one begins, I-TYPE where it goes on, O outside (Ramshaw & Marcus 1995)."""

from __future__ import annotations

from collections.abc import Sequence

OUTSIDE = "O"


def tag_entities(names: Sequence[str]) -> bool:
    """Whether class names are such tags: O, and nothing else but B- and I- of some types."""
    others = [name for name in names if name != OUTSIDE]
    return len(others) < len(names) and any(name.startswith("B-") for name in others) and all(map(_is_tag, others))


def entities(tags: Sequence[str], *, strict: bool = False) -> set[tuple[str, int, int]]:
    """Type, first place and place behind the last of each entity.

    An I- that goes on with nothing begins an entity, as in the CoNLL evaluation (Tjong Kim Sang & De Meulder 2003);
    `strict`, it belongs to none, as the tags' scheme has it (IOB2).
    """
    spans = set()
    begun, type_ = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, here = tag.partition("-")
        goes_on = prefix == "I" and here == type_
        if type_ and not goes_on:
            spans.add((type_, begun, place))
        if not goes_on:
            begun, type_ = place, "" if strict and prefix == "I" else here
    return spans


def _is_tag(name: str) -> bool:
    return name[:2] in ("B-", "I-") and len(name) > 2
