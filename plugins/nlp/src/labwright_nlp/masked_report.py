"""What a run's report shows of hidden tokens: texts, and what the model says stands there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labwright import LEFT_OUT, Section, Text
from torch import Tensor

from labwright_nlp.hiding import MaskedBatch


def told(
    batch: MaskedBatch,
    logits_BMV: Tensor,
    shown: Callable[[int], str],
    texts_of: Callable[[Sequence[Sequence[int]]], list[str]],
) -> list[Section]:
    """Texts whose hidden tokens stand in brackets; `shown` gives a token as text, `texts_of` what stands between."""
    ids_BT, lengths_B, places_BM = batch.inputs
    said_BM = logits_BMV.argmax(2)
    shares_BM = logits_BMV.softmax(2).amax(2)
    passages, captions = [], []
    for row, targets in enumerate(batch.targets.tolist()):
        count = sum(target != LEFT_OUT for target in targets)
        places = places_BM[row, :count].tolist()
        stretches = zip([0, *(1 + place for place in places)], [*places, int(lengths_B[row])], strict=True)
        seen = texts_of([ids_BT[row, start:end].tolist() for start, end in stretches])
        marks = [
            _marked(shown(true), shown(said), share, right=true == said)
            for true, said, share in zip(targets, said_BM[row].tolist(), shares_BM[row].tolist(), strict=True)
            if true != LEFT_OUT
        ]
        text = "".join(part for pair in zip(seen, [*marks, ""], strict=True) for part in pair)
        right = int((said_BM[row, :count] == batch.targets[row, :count]).sum()) if count else 0
        passages.append(" ".join(text.split()))
        captions.append(f"{right} of {count} right")
    note = (
        "Hidden tokens stand in brackets: ✓ what was told rightly, ✗ what was said, and what stands there; with the "
        "probability that it was given."
    )
    return [Text("Hidden tokens", passages, captions, note=note)]


def _marked(true: str, said: str, share: float, *, right: bool) -> str:
    blank = true[: len(true) - len(true.lstrip())]
    true, said = true.strip() or repr(true), said.strip() or repr(said)
    return f"{blank}[✓ {true} {share:.0%}]" if right else f"{blank}[✗ {said} {share:.0%}, not {true}]"
