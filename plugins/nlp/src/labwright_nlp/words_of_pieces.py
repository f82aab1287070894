"""Which pieces of a tokenizer go on with the word before them. V vocabulary, B batch, T tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from labwright import LabwrightError

_BEGINS, _LETTERS, _DIGITS, _SIGNS, _GOES_ON, _BLANK = range(6)
_BLANKS = "ĠĊĉč"  # blank, line feed, tab and carriage return, as byte-level tokenizers write these
_UNDERSCORE = "\u2581"  # what Metaspace and SentencePiece write for a blank


@dataclass(frozen=True)
class Seams:
    """How pieces begin and end, int8 (V,): a piece goes on with a word if it always does, or begins as that ended."""

    begins_V: np.ndarray
    ends_V: np.ndarray

    def go_on(self, ids_BT: np.ndarray) -> np.ndarray:
        """Which tokens go on with the word before them, bool (B, T)."""
        begins_BT, ends_BT = self.begins_V[ids_BT], self.ends_V[ids_BT]
        go_on_BT: np.ndarray = begins_BT == _GOES_ON
        follows_BT = (begins_BT[:, 1:] == ends_BT[:, :-1]) | (ends_BT[:, :-1] == _BLANK)
        go_on_BT[:, 1:] |= follows_BT & (begins_BT[:, 1:] != _BEGINS)
        go_on_BT[:, 0] = False
        return go_on_BT


def seams(inner: Any, size: int) -> Seams:
    """The seams of a tokenizer's pieces, as its own pre-tokenizer cuts words.

    Those of bytes cut between letters, digits, other signs and blanks (Radford et al. 2019). Raises LabwrightError if
    its pieces don't say where a word begins.
    """
    state = json.loads(inner.to_str())
    kinds = [
        part["type"] for part in (state["pre_tokenizer"] or {}).get("pretokenizers", [state["pre_tokenizer"]]) if part
    ]
    model = state["model"]
    behind = model.get("end_of_word_suffix")
    names = {token: name for name, token in inner.get_vocab(with_added_tokens=True).items()}
    begins_V, ends_V = np.full(size, _BEGINS, dtype=np.int8), np.full(size, _BEGINS, dtype=np.int8)
    for token, name in names.items():
        if not name:
            continue
        if model["type"] in ("WordLevel", "WordPiece"):
            prefix = model.get("continuing_subword_prefix")
            begins_V[token] = _GOES_ON if prefix and name.startswith(prefix) else _BEGINS
        elif "ByteLevel" in kinds:
            begins_V[token] = _kind(name[0])
            ends_V[token] = _BLANK if name == _BLANKS[0] else _kind(name[-1])  # one blank belongs to what follows
        elif "Metaspace" in kinds or _UNDERSCORE in inner.get_vocab():
            begins_V[token] = _BEGINS if name.startswith(_UNDERSCORE) else _GOES_ON
        elif behind:
            begins_V[token], ends_V[token] = _LETTERS, _BEGINS if name.endswith(behind) else _LETTERS
        else:
            raise LabwrightError(
                f"task.whole_words: a tokenizer of {model['type']} with {kinds or 'no pre-tokenizer'} doesn't say "
                "where words begin; leave whole_words out."
            )
    # what has a meaning of its own stands alone
    special = [token for token, added in inner.get_added_tokens_decoder().items() if added.special]
    begins_V[special] = ends_V[special] = _BEGINS
    return Seams(begins_V, ends_V)


def _kind(letter: str) -> int:
    """What a byte is, as byte-level tokenizers write it; those of other letters than a to z are letters."""
    if letter in _BLANKS:
        return _BEGINS
    if letter.isdigit() and letter.isascii():
        return _DIGITS
    return _LETTERS if letter.isalpha() or not letter.isascii() else _SIGNS
