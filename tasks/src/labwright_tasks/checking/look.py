"""All checks of one data set, and what they found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labwright import Data, Finding, Tokens
from torch import Tensor

from labwright_tasks.checking import checks
from labwright_tasks.checking.drift import Drift, measured
from labwright_tasks.checking.samples import Samples, look_at

_NAMED = 6  # classes in a line
_ENOUGH = 20  # samples
SOUGHT = {
    "damaged": "samples that can't be read, or are no samples of anything",
    "duplicates": "the same sample twice, as a model is given it",
    "balance": "classes that are missing, rare, or dwarf others",
    "labels": "labels that are probably wrong (confident learning)",
    "outliers": "samples unlike all others",
    "drift": "parts that differ from train",
}


@dataclass(frozen=True)
class Look:
    """What was found, and `sought`: of each check what it looks for.

    `skipped` says of the checks that weren't made why not; `notes` what else to know. `drift` is how each part differs
    from `train`, be it worth a finding or not.
    """

    sizes: Mapping[str, int]
    looked_at: int
    classes: Mapping[str, Mapping[str, int]]
    sought: Mapping[str, str]
    skipped: Mapping[str, str]
    findings: list[Finding]
    notes: list[str]
    drift: Mapping[str, Drift]

    def line(self) -> str:
        """Sizes and classes, such as "train 36, test 4; 2 classes (cat 20, dog 16)"."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.sizes.items())
        of_train = self.classes.get("train", {})
        few = ", ".join(f"{name} {count:,}" for name, count in [*of_train.items()][:_NAMED])
        more = ", ..." if len(of_train) > _NAMED else ""
        return f"{parts}" + (f"; {len(of_train)} classes ({few}{more})" if of_train else "")

    def json(self, data: Data) -> dict[str, Any]:
        """Everything, ready for JSON, each sample with its place."""
        return {
            "samples": dict(self.sizes),
            "looked_at": self.looked_at,
            "classes": {part: dict(counts) for part, counts in self.classes.items()},
            "checks": dict(self.sought),
            "skipped": dict(self.skipped),
            "findings": [_finding_json(finding, data) for finding in self.findings],
            "drift": {part: {"area": of_part.area, "moved": of_part.moved} for part, of_part in self.drift.items()},
            "notes": self.notes,
        }


def look(
    data: Data,
    *,
    most: int,
    seed: int,
    say: Callable[[str], None],
    judge: Mapping[bytes, Tensor] | None = None,
    before: Sequence[Finding] = (),
) -> Look:
    """Everything that is looked for in prepared data; `say` is told how far it is.

    `before` was found while the data was prepared.

    A `judge` is what trained models say of samples by their digests; without one a simple classifier judges labels.
    Raises LabwrightError for data that can't be looked at.
    """
    samples = look_at(data, most=most, seed=seed, say=say)
    skipped = _skipped(samples, data)
    if judge is not None and samples.labels_N is not None:
        skipped.pop("labels", None)  # no features are needed for it
    if samples.features_ND is not None:
        say(f"comparing {len(samples):,} samples with one another")
    # those of texts say nothing, see below; of a handful of samples none are usual
    compared = "outliers" not in skipped and len(samples) >= _ENOUGH
    neighbours = checks.nearest(samples) if compared else None
    drift = {} if "drift" in skipped else measured(samples, seed)
    made: dict[str, Callable[[], Iterable[Finding]]] = {
        "damaged": lambda: checks.damaged(samples),
        "duplicates": lambda: [
            *checks.duplicates(samples),
            *checks.near_copies(samples, neighbours),
        ],
        "balance": lambda: checks.balance(samples),
        "labels": lambda: checks.labels(samples, seed) if judge is None else checks.judged_labels(samples, judge),
        "outliers": lambda: checks.outliers(samples, neighbours) if neighbours else (),
        "drift": lambda: checks.drift(drift),
    }
    findings = [*before]
    findings += [finding for name, check in made.items() if name not in skipped for finding in check()]
    findings += data.checks()
    others = {finding.check for finding in findings} - SOUGHT.keys()
    own = {check: f"what {type(data).__name__} looks for" for check in sorted(others)}
    notes = [*_notes(samples, data), *data.remarks()]
    sought = {**SOUGHT, **own}
    return Look(samples.sizes, samples.looked_at, _counts(samples), sought, skipped, findings, notes, drift)


def _skipped(samples: Samples, data: Data) -> dict[str, str]:
    """The checks that such data isn't for, and why."""
    skipped: dict[str, str] = {}
    if samples.labels_N is None:
        target = type(data.ports()[1]).__name__
        skipped |= dict.fromkeys(("balance", "labels"), f"its targets, {target}, aren't a label for each sample")
    if samples.features_ND is None:
        kind = type(samples.port).__name__
        skipped |= dict.fromkeys(("labels", "outliers", "drift"), f"nothing here compares samples of {kind}")
    elif isinstance(samples.port, Tokens):
        skipped["outliers"] = "most texts share no word with most others, so that all are far away"
    return skipped


def _counts(samples: Samples) -> dict[str, dict[str, int]]:
    """Of each part how many of the samples that were looked at each class has."""
    if samples.labels_N is None:
        return {}
    labels = samples.labels_N.tolist()
    counted = Counter((part, label) for (part, _), label in zip(samples.places, labels, strict=True))
    return {part: {name: counted[part, label] for label, name in enumerate(samples.classes)} for part in samples.sizes}


def _notes(samples: Samples, data: Data) -> list[str]:
    notes = []
    whole = sum(samples.sizes.values())
    if whole > samples.looked_at:
        notes.append(
            f"{samples.looked_at:,} of {whole:,} samples are looked at, drawn at random; --most {whole} looks at all."
        )
    return notes + [f"{part.count:,} {part.what} left out: {part.why}." for part in data.left_out()]


def _finding_json(finding: Finding, data: Data) -> dict[str, Any]:
    samples = [
        {"split": split, "index": index, "place": data.place(split, index)}
        | ({"detail": finding.details[number]} if finding.details else {})
        for number, (split, index) in enumerate(finding.samples)
    ]
    return {"check": finding.check, "sentence": finding.sentence, "wrong": finding.wrong, "samples": samples}
