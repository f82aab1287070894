"""What was seen of pictures and their masks before a run begins, and what is wrong with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labwright import LEFT_OUT, LabwrightError

from labwright_vision.data.checking import examined
from labwright_vision.data.folders import Found, name_below
from labwright_vision.data.mask_pairs import Pair
from labwright_vision.data.masks import UNKNOWN, ClassTable, MaskFacts, check_palettes, mask_facts, shown
from labwright_vision.data.reading import Facts, size_of

_THREADS = 8  # Pillow decodes beside Python
_NAMED = 3  # files in a message
_FEW = 8  # classes named by their values


@dataclass(frozen=True)
class Example:
    """A pair and what was seen of it."""

    pair: Pair
    picture: Facts
    mask: MaskFacts


def seen(root: Found, pairs: Sequence[Pair]) -> list[Example]:
    """Each pair with what one look at it tells.

    Raises LabwrightError for pictures and masks that can't be read, and for a mask of another size than its picture.
    """
    of_pictures = examined(root, [pair.picture for pair in pairs])
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        of_masks = pool.map(mask_facts, [pair.mask for pair in pairs])
        examples = [Example(*row) for row in zip(pairs, of_pictures, of_masks, strict=True)]
    damaged = [
        f"{name_below(example.pair.picture, root)}: {example.picture.problem}"
        for example in examples
        if example.picture.problem
    ]
    damaged += [example.mask.problem.rstrip(".") for example in examples if example.mask.problem]
    if damaged:
        more = f"; and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
        raise LabwrightError(
            f"{root}: {len(damaged):,} of {2 * len(examples):,} pictures and masks can't be used "
            f"({'; '.join(damaged[:_NAMED])}{more}). Mend them, or take both of a pair away."
        )
    for example in examples:
        width, height = size_of(example.pair.picture)
        if (height, width) != (example.mask.height, example.mask.width):
            raise LabwrightError(
                f"{example.pair.mask} is {example.mask.width}x{example.mask.height} pixels and its picture, "
                f"{name_below(example.pair.picture, root)}, {width}x{height}: a mask is as large as its picture."
            )
    return examples


def check_values(examples: Sequence[Example], table: ClassTable, void: Sequence[int]) -> None:
    """Raises LabwrightError for a value or colour of a mask that stands for no class.

    So it does for palettes that differ where none is explained by a table of colours.
    """
    if not table.of_colours:
        check_palettes({str(example.pair.mask): example.mask for example in examples})
    for example in examples:
        unknown = [code for code, label in table.labels_of(example.mask).items() if label == UNKNOWN]
        if not unknown:
            continue
        code, count = unknown[0], example.mask.counts[unknown[0]]
        if example.mask.kind == "colours" or (table.of_colours and example.mask.kind == "palette"):
            what = f"the colour {shown(example.mask.palette.get(code, code))}, which no class has"
            hint = "add it to the file of classes"
        else:
            values = sorted(value for value, label in table.of_values.items() if label != LEFT_OUT)
            classes = ", ".join(map(str, values)) if len(values) <= _FEW else f"{values[0]} to {values[-1]}"
            what = f"the value {code}, and classes are {classes}"
            hint = "name its class in task.data.classes"
        raise LabwrightError(
            f"{example.pair.mask} has {count:,} pixels of {what}: {hint}, or leave it out by task.data.void, now "
            f"{[*void]}."
        )


def check_two_classes(examples: Sequence[Example], table: ClassTable) -> None:
    """Raises LabwrightError for masks to learn from in which pixels of one class alone count, or of none."""
    labels: dict[int, int] = {}
    for example in examples:
        labels |= table.labels_of(example.mask)
    if len({*labels.values()} - {LEFT_OUT}) > 1:
        return
    name = shown if any(example.mask.kind == "colours" for example in examples) else str
    left_out = ", ".join(name(code) for code in sorted(labels) if labels[code] == LEFT_OUT)
    raise LabwrightError(
        f"task.data: training masks have the values {', '.join(map(name, sorted(labels)))}"
        + (f", of which task.data.void leaves out {left_out}" if left_out else "")
        + ": there are no two classes to tell apart."
        + (" task.data.void='[]' leaves out none." if left_out else "")
    )


def label_counts(example: Example, table: ClassTable) -> dict[int, int]:
    """How many pixels of a mask have each label."""
    counts: dict[int, int] = {}
    for code, label in table.labels_of(example.mask).items():
        counts[label] = counts.get(label, 0) + example.mask.counts[code]
    return counts


def held_out_pairs(parts: Mapping[str, list[Example]], shares: Mapping[str, float]) -> dict[str, list[Example]]:
    """The parts, and shares of `train` for those that are wanted and aren't there, chosen by names for good."""
    rest = sorted(parts["train"], key=lambda example: hashlib.sha256(example.pair.name.encode()).digest())
    total, whole = len(rest), dict(parts)
    for name, share in shares.items():
        if name in parts or not share:
            continue
        count = round(share * total)
        if not 0 < count < len(rest):
            raise LabwrightError(
                f"task.data.{name}: {share} of {total:,} pictures is {count}, of {len(rest)} that are left: set "
                "another share, or 0 to go without."
            )
        whole[name], rest = rest[:count], rest[count:]
    return whole | {"train": rest}


def twice(parts: Mapping[str, Sequence[Example]]) -> list[str]:
    """A sentence for each part that has pictures which `train` has as well."""
    known = {example.picture.digest: example.pair.name for example in parts["train"]}
    sentences = []
    for part in ("valid", "test"):
        copies = [example for example in parts.get(part, ()) if example.picture.digest in known]
        if copies:
            sentences.append(
                f"{len(copies):,} of {len(parts[part]):,} pictures of {part} are in train as well, such as "
                f"{copies[0].pair.name}: take the copies away, or {part} flatters."
            )
    return sentences
