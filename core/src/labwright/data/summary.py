"""What was read: how many samples, of which classes, what was left out, and digests that tell it from other data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labwright.base.errors import LabwrightError
from labwright.data.dataset import Augmented, Data, Labelled, LeftOut, Split, TensorSplit, with_tensors
from labwright.data.ports import Classes

SPLITS = ("train", "valid", "test")
FILE = "read.json"  # beside what the task learned
_WHOLE = 2**24  # bytes of a split in memory that are digested whole
_FETCHED = 16  # samples that stand for a split that says nothing of its own
_NAMED = 6  # classes that a line counts
_NEARLY_ALL = 0.95


@dataclass(frozen=True)
class DataSummary:
    """Samples by split; of classes, how many samples each has in a split; digests by split; what to know besides."""

    samples: dict[str, int]
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def line(self) -> str:
        """All but the remarks, such as "train 36, valid 4; 2 classes (cat 20, dog 16); 10 files left out: .jfif"."""
        parts = [", ".join(f"{name} {count:,}" for name, count in self.samples.items()) or "no samples"]
        of_train = self.classes.get("train", {})
        if of_train:
            counts = [f"{name} {count:,}" for name, count in of_train.items()]
            few = counts if len(counts) <= _NAMED else [*counts[: _NAMED - 1], "..."]
            parts.append(f"{len(of_train)} classes ({', '.join(few)})")
        parts += [f"{part.count:,} {part.what} left out: {part.why}" for part in self.left_out]
        return "; ".join(parts)

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(self.json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def differences(self, before: Mapping[str, Any], splits: Iterable[str] = SPLITS) -> list[str]:
        """How this data differs in some splits from that of a `json()` kept before, in words; nothing if it doesn't."""
        differences = []
        for name in splits:
            now, then = self.samples.get(name, 0), before["samples"].get(name, 0)
            if now != then:
                differences.append(f"{name} had {then:,} samples and has {now:,}")
            elif list(self.classes.get(name, ())) != list(before["classes"].get(name, ())):
                differences.append(f"the classes of {name} were others")
            # the last to be looked at, as counts and classes are easier to understand
            elif self.digests.get(name) != before["digests"].get(name):
                differences.append(f"{name} holds other samples, as many as before")
        return differences


def summarised(data: Data) -> DataSummary:
    """What was read of prepared data."""
    splits = {name: split for name in SPLITS if (split := data.split(name)) is not None}
    names = data.ports()[1]
    labels = {name: split.labels for name, split in splits.items() if isinstance(split, Labelled)}
    classes: dict[str, dict[str, int]] = {}
    if isinstance(names, Classes):
        classes = {name: _counted(one, names.names) for name, one in labels.items() if _is_of_classes(one)}
    return DataSummary(
        {name: len(split) for name, split in splits.items()},
        classes,
        {name: _digest(data, name, split) for name, split in splits.items() if len(split)},
        tuple(data.left_out()),
        (*data.remarks(), *_lopsided(classes)),
    )


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What `DataSummary.write` kept in a folder; None if it kept nothing. Raises LabwrightError if it is torn."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {key: dict(kept[key]) for key in ("samples", "classes", "digests")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabwrightError(f"{file} is torn: it should say what data the run has read.") from error


def _is_of_classes(labels: Tensor) -> bool:
    return labels.dim() == 1 and labels.dtype == torch.int64 and (not len(labels) or int(labels.min()) >= 0)


def _counted(labels: Tensor, names: tuple[str, ...]) -> dict[str, int]:
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=False))


def _lopsided(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    of_train = classes.get("train", {})
    whole = sum(of_train.values())
    most = max(of_train, key=lambda name: of_train[name], default=None)
    if most is None or len(of_train) < 2 or of_train[most] < _NEARLY_ALL * whole:
        return []
    share = of_train[most] / whole
    return [f"{share:.1%} of the training samples are of class {most!r}: is this the column or folder that is meant?"]


def _digest(data: Data, name: str, split: Split) -> str:
    digest = hashlib.sha256()
    given = data.identity(name)
    if given is not None:
        for line in given:
            # names of files may be no Unicode
            digest.update(line.encode("utf-8", "surrogatepass") + b"\0")
    elif isinstance(split, TensorSplit):
        # large data isn't gone through at every start: rows from the first to the last tell it apart well enough
        with_tensors(
            (split.inputs, split.labels),
            lambda x: _take(digest, x if x.nbytes <= _WHOLE else x[_spread(len(x), 4096)]),
        )
    else:
        # augmentation would be other samples each time
        plain = split.plain() if isinstance(split, Augmented) else split
        samples = plain.fetch(_spread(len(split), _FETCHED), 0, 0)
        with_tensors(tuple(vars(samples).values()), partial(_take, digest))
    return digest.hexdigest()


def _spread(length: int, most: int) -> Tensor:
    """Up to `most` indices, evenly from the first to the last."""
    return torch.linspace(0, length - 1, min(length, most)).round().long()


def _take(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy() if tensor.numel() else b"")
