"""Other data than a run's own: what of it the run doesn't know, and how it differs from what was learned from.

N samples.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed
from torch import Tensor

_FILE = "facts.json"  # which a run doesn't compare: see `Data.save`
_MEDIUM = 0.5  # an effect of medium size (Cohen 1988)
_NAMED = 6  # classes

Facts = Mapping[str, Sequence[float]]  # mean and deviation of what tells how samples are, by its name


def facts(
    values: Mapping[str, Tensor], labels_N: Tensor | None = None, classes: Sequence[str] = ()
) -> dict[str, tuple[float, float]]:
    """What some samples are like: mean and deviation of numbers (N,) of them, and the share of each class.

    A share is the mean of what is 1 for samples of the class and 0 for others.
    """
    described = {
        what: (float(x_N.double().mean()), float(x_N.double().std(correction=0))) for what, x_N in values.items()
    }
    if labels_N is not None and len(labels_N):
        shares = (labels_N.bincount(minlength=len(classes)).double() / len(labels_N)).tolist()
        for name, share in zip(classes, shares, strict=True):
            described[f"the share of class {name!r}"] = (share, math.sqrt(share * (1 - share)))
    return described


def keep(folder: Path, learned: Facts) -> None:
    """Write down what the training samples are like, beside what was learned of them."""
    if learned:
        (folder / _FILE).write_text(json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(folder: Path) -> Facts:
    """What `keep` wrote; nothing if it is an older run's."""
    file = folder / _FILE
    of_training: Facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return of_training


def drift(new: Facts, learned: Facts, count: int) -> list[str]:
    """How `count` samples differ notably from what was learned from: a sentence, or none.

    Notable are means that lie further apart than half a deviation, the mean of both, a medium effect (Cohen 1988), and
    further than three standard errors.
    """
    bound = max(_MEDIUM, 3 / math.sqrt(max(1, count)))
    phrases = []
    for what in [what for what in new if what in learned]:
        (mean, deviation), (usual, of_usual) = new[what], learned[what]
        if abs(mean - usual) > bound * math.sqrt((deviation**2 + of_usual**2) / 2) + 1e-6:
            phrases.append(f"{what} is {mean:.3g}, where it was {usual:.3g}")
    return [f"unlike what the run learned from, {'; '.join(phrases)}."] if phrases else []


def unknown(names: Iterable[str], what: str, kind: str = "class", kinds: str = "classes") -> list[LeftOut]:
    """What is left out as the run doesn't know it: `what`, such as "pictures", by the names of their classes."""
    counts = Counter(names)
    if not counts:
        return []
    shown = ", ".join(f"{name!r} {count:,}" for name, count in counts.most_common(_NAMED))
    more = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
    of = f"a {kind}" if len(counts) == 1 else f"{len(counts):,} {kinds}"
    return [LeftOut(counts.total(), what, f"of {of} that the run doesn't know: {shown}{more}")]


def none_known(origin: object, given: Iterable[str], known: Iterable[str], kind: str = "class") -> LabwrightError:
    """The error where nothing of other data can be measured."""
    return LabwrightError(
        f"{origin} has no sample of a {kind} the run knows: it has {listed(set(given))}, the run knows {listed(known)}."
    )
