"""Personal data in a text, found by how it is written and, where it has one, by its checksum."""

from __future__ import annotations

import ipaddress
import re
import sys
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from labwright_privacy.masking import checksums

KINDS = ("EMAIL", "IBAN", "MAC", "IP", "ID", "CARD", "PHONE")  # in the order they are looked for


@dataclass(frozen=True)
class Span:
    """Personal data in a text: where it stands, its kind, and the same whatever stands between its signs."""

    start: int
    end: int
    kind: str
    bare: str


_ALONE, _END = r"(?<![\w.@+-])", r"(?![\w@]|[.-]\d)"  # no part of a longer word or number
_EMAIL = re.compile(r"(?<![\w.+@-])[\w.!#$%&'*+/=?^`{|}~-]+@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}(?![\w@])")
_IBAN = re.compile(rf"{_ALONE}[A-Za-z]{{2}}\d\d(?: ?[A-Za-z0-9]){{11,30}}(?!\w)")
_MAC = re.compile(
    r"(?<![\w:.-])(?:[0-9A-Fa-f]{2}(?P<sign>[:-])(?:[0-9A-Fa-f]{2}(?P=sign)){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w:-]|\.\w)"
)
_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d|-\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:])")
_CARD = re.compile(rf"{_ALONE}\d(?:[ -]?\d){{11,18}}{_END}")
_NATIONAL = [(re.compile(rf"{_ALONE}(?:{form}){_END}"), rule) for form, rule in checksums.NATIONAL.values()]

# Where a text has seven digits close to each other there may be a number to call.
_SEVEN = re.compile(r"\d(?:[^\w\n]{0,3}\d){6}")
# What is written as numbers to call are, though no country's plan has it: with an international prefix, the area in
# brackets, a zero first, or in the groups of North America or Brazil; an extension may follow.
_WRITTEN = re.compile(
    r"(?<![\w.,:/+-])(?:"
    r"\(?\+\d{1,3}\)?(?:[ .-]?\(0?\d{0,4}\))?(?:[ ./-]{0,2}\d){6,13}"
    r"|\(\d{2,6}\)[ -]?\d(?:[ ./-]?\d){4,9}"
    r"|0\d{1,5}[ /-]?\d(?:[ -]?\d){6,10}"
    r"|(?:00?1[ .-])?\(?\d{3}\)?[ .-]?\d{3}[ .-]\d{4}"
    r"|\(?\d{2}\)? \d{4,5}-\d{4}"
    r")(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w@]|[.,:/-]\d)"
)
_GOES_ON = re.compile(r"\d[.:,]\Z|\w-\Z|[\w/]\Z")  # before it: a longer number, a word, an address of the web
_OTHER = re.compile(  # dates, book numbers, Brazil's postcodes, and short numbers without any sign between
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1\d{2,4}|\d{4}( ?[./-] ?)\d{1,2}\2\d{1,2})(?![./-]?\d)"
    r"|^\d+-\d+-\d+-[\dX]$|--|^\d{5}-\d{3}$|^\d{1,8}$"
)


def find(text: str, kinds: Sequence[str] = KINDS, regions: Sequence[str] = ()) -> list[Span]:
    """The personal data in a text, in its order. A place has one kind, the first that it fits.

    Args:
        text: any.
        kinds: some of `KINDS`.
        regions: ISO 3166 codes of the countries whose own numbers are known beside those that begin with "+".
    """
    spans: list[Span] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        for start, end in _FINDERS[kind](text) if kind != "PHONE" else _phones(text, regions):
            bare = re.sub(r"[^\w@.+:]" if kind in ("EMAIL", "IP") else r"[^\w+@]", "", text[start:end]).casefold()
            spans.append(Span(start, end, kind, bare))
        # what is found is found: later kinds don't see it
        text = _without(text, [span for span in spans if span.kind == kind])
    return sorted(spans, key=lambda span: span.start)


def _without(text: str, spans: Sequence[Span]) -> str:
    """The text, as long as it was, with a sign in the place of each of these."""
    pieces, end = [], 0
    for span in sorted(spans, key=lambda span: span.start):
        pieces += [text[end : span.start], "_" * (span.end - span.start)]
        end = span.end
    return "".join([*pieces, text[end:]])


def _matching(text: str, pattern: re.Pattern[str], rule: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        bare = re.sub(r"[^\w+]", "", match[0]).upper() if rule is not _is_address else match[0]
        if rule(bare):
            yield match.span()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """Accounts, of which a word that follows is no part although a blank stands between groups too."""
    for match in _IBAN.finditer(text):
        written = match[0]
        while written and not checksums.iban(written.replace(" ", "").upper()):
            written = written.rpartition(" ")[0]
        if written:
            yield match.start(), match.start() + len(written)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _EMAIL.finditer(text)) if "@" in text else iter(())


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    return _apart(_matching(text, pattern, _is_address) for pattern in (_IPV6, _IPV4))


def _is_address(written: str) -> bool:
    # "::" is an operator of many languages, and no machine
    if not any(sign.isdigit() for sign in written) and written.count(":") < 4:
        return False
    try:
        ipaddress.ip_address(written)
    except ValueError:
        return False
    return True


def _ids(text: str) -> Iterator[tuple[int, int]]:
    return _apart(_matching(text, pattern, rule) for pattern, rule in _NATIONAL)


def _apart(places: Iterable[Iterator[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    """Places without those that overlap an earlier one's."""
    taken: list[tuple[int, int]] = []  # in their order
    for start, end in chain.from_iterable(places):
        at = bisect(taken, (start, end))
        if not any(start < other[1] and other[0] < end for other in taken[max(0, at - 1) : at + 1]):
            taken.insert(at, (start, end))
            yield start, end


def _phones(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Numbers that are some country's, by phonenumbers, and those that are written as such."""
    if not _SEVEN.search(text):
        return
    import phonenumbers

    taken = []
    for region in regions or (None,):
        # it gives up after 65,535 wrong numbers if not told otherwise
        matches = phonenumbers.PhoneNumberMatcher(text, region, max_tries=sys.maxsize)
        taken += [(match.start, match.end) for match in matches]
    taken += [match.span() for match in _WRITTEN.finditer(text)]
    end = 0
    # the longest of those that begin first: a region may know only a part of another's number
    for start, stop in sorted(taken, key=lambda span: (span[0], -span[1])):
        while text[start] == "(" and ")" not in text[start:stop].replace("(0)", ""):
            start += 1  # of the sentence
        written = text[start:stop].split(". ")[0]  # a sentence ends
        stop = start + len(written)
        part = _GOES_ON.search(text[max(0, start - 2) : start]) or re.match(r"[-/]\w|[.:,]\d", text[stop : stop + 2])
        digits = re.sub(r"\D", "", written)
        other = _OTHER.search(written) or (written[0].isdigit() and checksums.article(digits))
        if start >= end and (written[0] == "+" or len(digits) >= 8) and not (part or other):
            end = stop
            yield start, stop


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "EMAIL": _emails,
    "IBAN": _ibans,
    "MAC": partial(_matching, pattern=_MAC, rule=lambda _: True),
    "IP": _addresses,
    "ID": _ids,
    "CARD": partial(_matching, pattern=_CARD, rule=checksums.card),
}
