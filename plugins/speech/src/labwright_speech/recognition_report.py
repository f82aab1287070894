"""What a run's report shows of a recogniser. N utterances, B batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from labwright import Audio, Figure, IndexedBatches, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

if TYPE_CHECKING:
    from labwright_speech.recognition import Recognition

_AT_ONCE = 32  # recordings the model hears together
_SHOWN = 6  # spectrograms
_CONFUSIONS = 30
_NOTHING = "(nothing)"


def sections(task: Recognition, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split."""
    import jiwer

    part = task.data.split(split)
    if part is None or not len(part):
        return []
    found: list[str] = []
    true: list[str] = []
    with evaluating(model):
        for batch in IndexedBatches.in_order(part, _AT_ONCE):
            texts = task.evaluate(model, cast(Any, batch.to(device)))
            found += texts[0]
            true += texts[1]
    words = jiwer.process_words(true, found)
    faults = [[chunk for chunk in chunks if chunk.type != "equal"] for chunks in words.alignments]
    wrong = [sum(_size(chunk) for chunk in chunks) for chunks in faults]
    order = sorted(range(len(true)), key=lambda one: (-wrong[one], one))
    worst = [one for one in order if wrong[one]]
    shown = (worst + [one for one in order if not wrong[one]])[:_SHOWN]
    inputs = part.fetch(torch.tensor(shown), 0, 0).inputs
    pictures = cast(Sequence[Tensor], task.data.show(inputs))
    sound = cast(Audio, task.data.ports()[0])
    seconds = [samples / sound.sample_rate for samples in inputs[1].tolist()]
    captions = [_marked(true[one], found[one], words.alignments[one]) for one in shown]
    share = f"{len(worst):,} of {len(true):,} transcripts have an error."
    rows: list[tuple[object, ...]] = [
        (_marked(true[one], found[one], words.alignments[one]), true[one], wrong[one]) for one in worst
    ]
    return [
        _spectrograms(pictures, seconds, captions),
        Table("Transcripts with errors", ("found", "true", "wrong words"), rows, f"{share} {_LEGEND}"),
        _confusions(words, true, found),
    ]


_LEGEND = "[said → found] was mistaken, [+found] was not said, [-said] was left out."


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
