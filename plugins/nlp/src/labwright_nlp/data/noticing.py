"""What to know about texts: that they are cut, or that a tokenizer doesn't know them. N texts, L all their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from labwright_nlp.tokenizing import Kind, Pieces, Tokenizer

_MUCH = 0.3  # of a part's tokens; less is what rare words are
_INSTEAD: dict[Kind, str] = {
    "word": "task.data.tokenizer=char or bpe takes words apart, and suits languages without spaces between them",
    "wordpiece": "rare letters have no piece; a larger task.data.vocabulary or task.data.tokenizer=bpe knows them",
    "char": "a larger task.data.vocabulary or task.data.tokenizer=byte knows them",
    "pretrained": "it was made for other texts; give another folder, or learn one: task.data.tokenizer=bpe",
}


def cut(lengths: Mapping[str, np.ndarray], most: int) -> list[str]:
    """A sentence if texts have more than `most` tokens, by their lengths (N,) in each part."""
    counts = {part: int((lengths_N > most).sum()) for part, lengths_N in lengths.items()}
    if not any(counts.values()):
        return []
    shares = ", ".join(f"{count:,} of {len(lengths[part]):,} in {part}" for part, count in counts.items())
    whole_N = np.concatenate(list(lengths.values()))
    nearly, longest = int(np.quantile(whole_N, 0.99, method="inverted_cdf")), int(whole_N.max())
    larger = f"{nearly:,} would cut 1 in 100, {longest:,} none" if most < nearly < longest else f"{longest:,} cuts none"
    return [f"texts are cut to their first task.data.length={most:,} tokens: {shares}; {larger}."]


def unknown(ids: Mapping[str, np.ndarray], token: int | None, kind: Kind) -> list[str]:
    """A sentence for each part with many tokens, (L,), that aren't known."""
    shares = {part: float((ids_L == token).mean()) for part, ids_L in ids.items() if len(ids_L) and token is not None}
    many = ", ".join(f"{share:.0%} of {part}" for part, share in shares.items() if share > _MUCH)
    return [f"the tokenizer {kind!r} doesn't know {many}: {_INSTEAD.get(kind, 'learn another')}."] if many else []


def mask(tokens: Tokenizer | None, kind: Kind) -> list[str]:
    """A sentence if a tokenizer that was learned has a token for what is hidden besides."""
    if kind == "pretrained" or not isinstance(tokens, Pieces) or tokens.mask is None:
        return []
    return [f"the tokenizer has one token more, {tokens.mask}, for what is hidden: {tokens.size:,} in all."]


class Noticed:
    """What was noticed about the texts that a model was asked about."""

    def __init__(self) -> None:
        self._longer: list[int] = []
        self._of_lines: dict[Path, int] = {}
        self._guessed: list[str] = []

    def table(self, remarks: Iterable[str]) -> None:
        """What was guessed of a table's form."""
        self._guessed += remarks

    def length(self, length: int, most: int) -> None:
        """A text's tokens, and how many of them a model is given."""
        if length > most:
            self._longer.append(length)

    def file(self, path: Path, text: str) -> None:
        """A file that was read as one text."""
        count = sum(bool(line.strip()) for line in text.splitlines())
        if count > 1:
            self._of_lines[path] = count

    def told(self, most: int) -> list[str]:
        """A sentence for each kind of thing, once."""
        sentences = [*self._guessed]
        if self._of_lines:
            path, count = max(self._of_lines.items(), key=lambda item: item[1])
            more = f" and {len(self._of_lines) - 1:,} more files" if len(self._of_lines) > 1 else ""
            verb = "were each" if more else "was"
            sentences.append(
                f"{path} of {count:,} lines{more} {verb} read as one text; "
                f"`labwright predict RUN - < {path}` takes each line for a text of its own."
            )
        if self._longer:
            texts = "1 text was" if len(self._longer) == 1 else f"{len(self._longer):,} texts were"
            sentences.append(
                f"{texts} cut to the first {most:,} tokens, the run's task.data.length; the longest has "
                f"{max(self._longer):,}."
            )
        self._longer, self._of_lines, self._guessed = [], {}, []
        return sentences
