"""What stands for personal data: the same for the same, told apart by its kind, and not to be turned back."""

from __future__ import annotations

import hashlib
import hmac
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from labwright import LabwrightError

from labwright_privacy.masking.finding import find

_LETTERS = 8  # of a pseudonym: among 100,000 of a kind two are alike with a chance of 1 in 40
_SHORTEST = 16  # bytes of a secret


class Pseudonyms:
    """Replaces personal data in texts by KIND_letters, and counts it.

    The letters are those of HMAC-SHA256 over kind and data with the key, whatever stands between its signs and with
    small letters or large. They have no digits, so that nothing is found in a text that has been masked.
    """

    def __init__(self, key: bytes, kinds: Sequence[str], regions: Sequence[str]) -> None:
        self.key, self.kinds, self.regions = key, kinds, regions
        self.counts: Counter[str] = Counter()  # of each pseudonym, how often it was put

    def __call__(self, text: str) -> str:
        pieces, end = [], 0
        for span in find(text, self.kinds, self.regions):
            pseudonym = self.of(span.kind, span.bare)
            self.counts[pseudonym] += 1
            pieces += [text[end : span.start], pseudonym]
            end = span.end
        return "".join([*pieces, text[end:]]) if pieces else text

    def of(self, kind: str, bare: str) -> str:
        number = int.from_bytes(hmac.digest(self.key, f"{kind}:{bare}".encode("utf-8", "replace"), "sha256"))
        letters = []
        for _ in range(_LETTERS):
            number, place = divmod(number, 26)
            letters.append(string.ascii_lowercase[place])
        return f"{kind}_{''.join(letters)}"

    def fingerprint(self) -> str:
        """What tells one key from another, and nothing else of it."""
        return hmac.digest(self.key, b"labwright", "sha256").hex()[:16]

    def told(self) -> str:
        """What was replaced, by kind: "3 EMAIL (2 different), 1 IBAN"; nothing if nothing was."""
        parts = []
        for kind in self.kinds:
            counts = [count for pseudonym, count in self.counts.items() if pseudonym.startswith(f"{kind}_")]
            if counts:
                different = f" ({len(counts):,} different)" if sum(counts) > 1 else ""
                parts.append(f"{sum(counts):,} {kind}{different}")
        return ", ".join(parts)


def key_of(secret: Path | None) -> bytes:
    """The key in a file, or one that anybody knows. Raises LabwrightError for a file that can't be one."""
    if secret is None:
        return b"labwright-privacy"
    path = secret.expanduser()
    how = f"Make one by `head -c 32 /dev/urandom > {secret}`, keep it apart from the runs, and never change it."
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it can't be read"
        raise LabwrightError(f"task.data.secret: {str(secret)!r} can't be read: {reason}. {how}") from error
    if len(content) < _SHORTEST:
        raise LabwrightError(
            f"task.data.secret: {str(secret)!r} has {len(content)} bytes; {_SHORTEST} or more can't be guessed. {how}"
        )
    return hashlib.sha256(content).digest()
