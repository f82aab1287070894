"""Texts that are unlike the others: in length, in alphabet; and those that say nearly the same as another.

N texts, P permutations, S shingles.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, product

import numpy as np
import torch
from labwright import Finding
from labwright_tasks.checking.samples import Copies
from labwright_tasks.checking.unusual import unusual

from labwright_nlp.data.drifted_texts import drifted

Place = tuple[str, int]  # a split and an index
_TIMES = 5.0  # longer than is usual
_RARE = 0.02  # of the texts
_SHINGLE = 5  # letters
_ALIKE = 0.8  # of the shingles of both
_BANDS, _ROWS = 16, 4  # of what two alike texts of 0.8 have the same in, all but 2 in 10,000 have one
_PRIME = (1 << 31) - 1
_MOST = 20_000  # texts that are compared
_CROWD = 50  # texts in a bucket, of more than which each is compared with the first alone


def odd_texts(texts: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What is odd about the texts of each part."""
    places = [(part, index) for part, of_part in texts.items() for index in range(len(of_part))]
    every = [text for of_part in texts.values() for text in of_part]
    alone = [*_empty(places, every), *_long(places, every), *_foreign(places, every)]
    return [*alone, *_nearly_same(places, every), *drifted(texts)]


def _empty(places: Sequence[Place], texts: Sequence[str]) -> Iterator[Finding]:
    blank = [place for place, text in zip(places, texts, strict=True) if not any(map(str.isalnum, text))]
    if blank:
        yield Finding("texts", f"{len(blank):,} texts have no letter and no digit.", tuple(blank), wrong=True)


def _long(places: Sequence[Place], texts: Sequence[str]) -> Iterator[Finding]:
    sizes_N = torch.tensor([len(text) for text in texts])
    far = [at for at in unusual(sizes_N, _TIMES).tolist() if sizes_N[at] > sizes_N.median()]
    if far:
        text = f"{len(far):,} texts are far longer than is usual, {int(sizes_N.median()):,} letters."
        yield Finding("texts", text, tuple(places[at] for at in far), tuple(f"{sizes_N[at]:,} letters" for at in far))


def _foreign(places: Sequence[Place], texts: Sequence[str]) -> Iterator[Finding]:
    """Texts mostly in an alphabet that hardly any other text is in."""
    alphabets = [alphabet_of(text) for text in texts]
    counts = Counter(filter(None, alphabets))
    rare = {name for name, count in counts.items() if count < _RARE * len(texts)}
    odd = [at for at, name in enumerate(alphabets) if name in rare]
    if odd:
        usual = ", ".join(name.lower() for name, _ in counts.most_common() if name not in rare)
        text = f"{len(odd):,} texts are in another alphabet than the rest ({usual}): of another language?"
        yield Finding("texts", text, tuple(places[at] for at in odd), tuple(alphabets[at].lower() for at in odd))


def alphabet_of(text: str) -> str:
    """The alphabet of most letters, as Unicode calls it: LATIN, CYRILLIC, CJK; nothing without letters."""
    counts = Counter(map(_alphabet, text))
    counts.pop("", None)
    return counts.most_common(1)[0][0] if counts else ""


@cache
def _alphabet(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0] if letter.isalpha() else ""


def _nearly_same(places: Sequence[Place], texts: Sequence[str]) -> Iterator[Finding]:
    step = -(-len(texts) // _MOST)
    looked_at = range(0, len(texts), max(1, step))
    found = nearly_same([texts[at] for at in looked_at])
    pairs = [(places[looked_at[one]], places[looked_at[other]], alike) for one, other, alike in found]
    if not pairs:
        return
    pairs.sort(key=lambda pair: (pair[0][0] == pair[1][0], -pair[2]))
    apart = sum(one[0] != other[0] for one, other, _ in pairs)
    across = f", {apart:,} of them in another part" if apart else ""
    of = f" (of {len(looked_at):,} that were compared)" if step > 1 else ""
    text = f"{len(pairs):,} texts say nearly the same as another{across}{of}: the same article, a form, a reply?"
    details = tuple(f"{alike:.0%} the same" for *_, alike in pairs)
    ones, others = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    yield Copies("texts", text, ones, details, False, others)  # type: ignore[arg-type]


def nearly_same(texts: Sequence[str]) -> list[tuple[int, int, float]]:
    """Texts of which most stretches of five letters are another's as well: the later, the earlier, and the share.

    Upper case, blanks and signs aside; what is the same to the letter is left out, as it is found otherwise. The share
    is Jaccard's; candidates have a band of minima of hashes in common (Broder 1997; Leskovec, Rajaraman & Ullman,
    "Mining of Massive Datasets", chapter 3).
    """
    shingles = [_shingles(text) for text in texts]
    draws = np.random.default_rng(0)
    factors_P, shifts_P = (draws.integers(1, _PRIME, _BANDS * _ROWS, dtype=np.uint64)[:, None] for _ in range(2))
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for at, of_text in enumerate(shingles):
        if len(of_text):
            minima_P = ((factors_P * of_text + shifts_P) % np.uint64(_PRIME)).min(1)
            for band in range(_BANDS):
                buckets[band, minima_P[band * _ROWS : (band + 1) * _ROWS].tobytes()].append(at)
    candidates = {pair for some in buckets.values() for pair in _pairs(some)}
    found: dict[int, tuple[int, int, float]] = {}
    for earlier, later in sorted(candidates):
        one, other = shingles[earlier], shingles[later]
        both = len(np.intersect1d(one, other, assume_unique=True))
        alike = both / (len(one) + len(other) - both)
        if alike >= _ALIKE and texts[earlier] != texts[later] and alike > found.get(later, (0, 0, 0.0))[2]:
            found[later] = (later, earlier, alike)
    return [*found.values()]


def _pairs(bucket: Sequence[int]) -> Iterator[tuple[int, int]]:
    return combinations(bucket, 2) if len(bucket) <= _CROWD else product(bucket[:1], bucket[1:])


def _shingles(text: str) -> np.ndarray:
    """Hashes of all stretches of five letters, different and ascending, uint64 below 2**31 - 1."""
    plain = re.sub(r"\W+", " ", text.lower()).strip()
    stretches = {plain[at : at + _SHINGLE] for at in range(len(plain) - _SHINGLE + 1)}
    hashes = {zlib.crc32(stretch.encode("utf-8", "surrogatepass")) % _PRIME for stretch in stretches}
    return np.array(sorted(hashes), dtype=np.uint64)
