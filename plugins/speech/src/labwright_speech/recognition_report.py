"""What a run's report shows of a recogniser: what it got wrong. N utterances, T samples, F frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from labwright import Figure, Section, Sounds, Split, Table
from matplotlib.figure import Figure as Canvas
from torch import Tensor

_SHOWN = 6  # recordings to look at and listen to
_CONFUSIONS = 30
_NOTHING = "(nothing)"
_LEGEND = "[said → found] was mistaken, [+found] was not said, [-said] was left out."


def sections(
    found: Sequence[str],
    true: Sequence[str],
    part: Split,
    show: Callable[[tuple[Tensor, ...]], Sequence[str] | Sequence[Tensor]],
    sample_rate: int,
) -> list[Section]:
    """The recordings with most errors as spectrograms and to listen to, transcripts with errors, and what was mistaken.

    `found` and `true` are the texts of a part of the data, in its order; `show` turns its inputs into spectrograms.
    """
    import jiwer

    words = jiwer.process_words(list(true), list(found))
    wrong_N = [sum(_size(chunk) for chunk in chunks if chunk.type != "equal") for chunks in words.alignments]
    marked_N = [_marked(*texts) for texts in zip(true, found, words.alignments, strict=True)]
    order = sorted(range(len(true)), key=lambda n: (-wrong_N[n], n))
    with_errors = [n for n in order if wrong_N[n]]
    hardest = order[:_SHOWN]
    inputs = part.fetch(torch.tensor(hardest), 0, 0).inputs
    captions = [marked_N[n] for n in hardest]
    waveforms = [x_T[:length] for x_T, length in zip(inputs[0], inputs[1].tolist(), strict=True)]
    seconds = [len(x_T) / sample_rate for x_T in waveforms]
    rows: list[tuple[object, ...]] = [(marked_N[n], true[n], wrong_N[n]) for n in with_errors]
    share = f"{len(with_errors):,} of {len(true):,} transcripts have an error."
    return [
        _spectrograms(cast(Sequence[Tensor], show(inputs)), seconds, captions),
        Sounds("Hard recordings", waveforms, sample_rate, captions, f"Those of the spectrograms. {_LEGEND}"),
        Table("Transcripts with errors", ("found", "true", "wrong words"), rows, f"{share} {_LEGEND}"),
        _confusions(words, true, found),
    ]


def _marked(true: str, found: str, chunks: Sequence[Any]) -> str:
    """The words found, with their errors marked."""
    said, heard = true.split(), found.split()
    pieces = []
    for chunk in chunks:
        before = " ".join(said[chunk.ref_start_idx : chunk.ref_end_idx])
        after = " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx])
        mark = {
            "equal": after,
            "substitute": f"[{before} → {after}]",
            "insert": f"[+{after}]",
            "delete": f"[-{before}]",
        }
        pieces.append(mark[chunk.type])
    return " ".join(pieces)


def _size(chunk: Any) -> int:
    """How many words are wrong in a piece of an alignment."""
    words: int = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return words


def _confusions(words: Any, true: Sequence[str], found: Sequence[str]) -> Table:
    counts: Counter[tuple[str, str]] = Counter()
    for chunks, said, heard in zip(words.alignments, map(str.split, true), map(str.split, found), strict=True):
        for chunk in chunks:
            if chunk.type != "equal":
                before = said[chunk.ref_start_idx : chunk.ref_end_idx] or [_NOTHING] * _size(chunk)
                after = heard[chunk.hyp_start_idx : chunk.hyp_end_idx] or [_NOTHING] * _size(chunk)
                counts.update(zip(before, after, strict=True))
    rows: list[tuple[object, ...]] = [(*pair, count) for pair, count in counts.most_common(_CONFUSIONS)]
    total = f"{words.substitutions:,} words were mistaken, {words.deletions:,} left out, {words.insertions:,} put in."
    return Table("What was mistaken for what", ("said", "found", "times"), rows, total)


def _spectrograms(pictures: Sequence[Tensor], seconds: Sequence[float], captions: Sequence[str]) -> Figure:
    canvas = Canvas(figsize=(9, 1.7 * len(pictures)), layout="constrained")
    grid = canvas.subplots(len(pictures), 1, squeeze=False).flatten()
    for axes, picture, end, caption in zip(grid, pictures, seconds, captions, strict=True):
        axes.imshow(picture[0].numpy(), aspect="auto", cmap="magma", extent=(0, end, 0, 1))
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        axes.set_title(caption, fontsize=8)
    return Figure("Spectrograms", canvas, f"Seconds; low frequencies below. {_LEGEND}")
