"""What was found, as the parts of a page: charts of classes and drift, and the samples that findings are about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

import torch
from labwright import Audio, Augmented, Data, Figure, Finding, Pictures, Section, Sounds, Split, Table, Text
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from labwright_tasks.checking.drift import Drift
from labwright_tasks.checking.look import Look
from labwright_tasks.checking.samples import Copies, Place
from labwright_tasks.classification_report import stretched

_SHOWN = 16  # samples of a finding
_ROWS = 50  # places of a finding
_NAMED = 30  # classes of a chart
_BINS = 20
_COLOURS = {"train": "#4878a8", "valid": "#9a9a9a", "test": "#d1702c"}


def parts(look: Look, data: Data) -> dict[str, list[Section]]:
    """Sections by their headings: all findings, the classes, what is seen of each finding, and drift."""
    rows: list[tuple[object, ...]] = [
        (finding.check, "wrong" if finding.wrong else "look", finding.sentence) for finding in look.findings
    ]
    made: dict[str, list[Section]] = {
        "Findings": [Table("What was found", ("check", "", "finding"), rows)] if rows else [],
        "Classes": [_classes(look)] if any(look.classes.values()) else [],
    }
    for check in look.sought:
        findings = [finding for finding in look.findings if finding.check == check and finding.samples]
        made[check.capitalize()] = [section for finding in findings for section in _seen(finding, data)]
    drifts = {part: drift for part, drift in look.drift.items() if len(drift.scores_N[0])}
    made["Drift"] = [*map(_drift, drifts, drifts.values()), *made.get("Drift", [])]
    unsought = [(check, f"nothing found of {what}") for check, what in look.sought.items()]
    found = {finding.check for finding in look.findings}
    rest: list[tuple[object, ...]] = [
        (check, look.skipped.get(check, said)) for check, said in unsought if check not in found
    ]
    made["The rest"] = [Table("Nothing to look at", ("check", ""), rest)] if rest else []
    return {heading: sections for heading, sections in made.items() if sections}


def _classes(look: Look) -> Figure:
    """How many samples of each part a class has, the largest of `train` first."""
    counts = look.classes
    of_train = counts.get("train") or next(iter(counts.values()))
    names = sorted(of_train, key=lambda name: -of_train[name])
    shown = names[:_NAMED]
    canvas = Canvas(figsize=(7, 1 + 0.28 * len(shown)), layout="constrained")
    axes = canvas.subplots()
    left = [0] * len(shown)
    for part, of_part in counts.items():
        values = [of_part[name] for name in shown]
        axes.barh(range(len(shown)), values, left=left, color=_COLOURS[part], label=part)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(shown)), [f"{name[:24]}" for name in shown])
    axes.invert_yaxis()
    axes.set_xlabel("samples looked at")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    more = f"The {_NAMED} largest of {len(names):,} classes." if len(names) > _NAMED else ""
    return Figure("Class balance", canvas, more)


def _drift(part: str, drift: Drift) -> Figure:
    """How sure a classifier is that samples are the part's: apart where they differ, one upon the other where not."""
    canvas = Canvas(figsize=(6, 2.8), layout="constrained")
    axes = canvas.subplots()
    for name, scores_N in zip(("train", part), drift.scores_N, strict=True):
        shares = torch.full_like(scores_N, 1 / len(scores_N)).numpy()
        drawn = {"bins": _BINS, "range": (0, 1), "weights": shares}
        colour = _COLOURS[name]
        axes.hist(scores_N.numpy(), label=name, color=colour, alpha=0.6, **drawn)  # type: ignore[arg-type]
    axes.set(xlabel=f"probability of being of {part}", ylabel="share of samples")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    note = f"The area under the ROC curve is {drift.area:.2f}, and {0.5 + 2 * drift.deviation:.2f} would be chance."
    if drift.moved == drift.moved:
        note += f" {drift.moved:.1%} of the samples would have to be of another class to be mixed as those of train."
    return Figure(f"Can {part} be told from train?", canvas, note)


def _seen(finding: Finding, data: Data) -> list[Section]:
    """The first samples of a finding as a person sees them, and the places of more."""
    details = finding.details or ("",) * len(finding.samples)
    places = finding.samples[: _SHOWN // 2 if isinstance(finding, Copies) else _SHOWN]
    whole = len(places) == len(finding.samples)
    captions = [_caption(data, place, detail) for place, detail in zip(places, details, strict=False)]
    if isinstance(finding, Copies):  # each beside what it is the same as
        places = tuple(chain.from_iterable(zip(places, finding.others, strict=False)))
        captions = [data.place(*place) for place in places]
    shown = _section(finding, data, places, captions)
    rows: list[tuple[object, ...]] = [
        (data.place(*place), detail) for place, detail in zip(finding.samples[:_ROWS], details[:_ROWS], strict=True)
    ]
    listed = Table("Where they are", ("sample", ""), rows)
    return [listed] if shown is None else [shown, *([] if whole else [listed])]


def _section(finding: Finding, data: Data, places: Sequence[Place], captions: Sequence[str]) -> Section | None:
    """Pictures, recordings or texts; None where they can't be had, or there is no showing them."""
    title, port = finding.sentence, data.ports()[0]
    try:
        batches = [_inputs(data, place) for place in places]
    except Exception:  # noqa: BLE001 - what a damaged sample makes a library raise is of any type
        return None
    if isinstance(port, Audio):
        waveforms = [inputs[0][0, : int(inputs[1][0])] for inputs in batches]
        return Sounds(title, waveforms, port.sample_rate, captions)
    shown = [next(iter(data.show(inputs)), None) for inputs in batches]
    if all(isinstance(picture, Tensor) for picture in shown):
        return Pictures(title, [stretched(picture) for picture in cast(list[Tensor], shown)], captions)
    return Text(title, cast(list[str], shown), captions) if all(isinstance(text, str) for text in shown) else None


def _inputs(data: Data, place: Place) -> tuple[Tensor, ...]:
    """A sample without augmentation."""
    part = data.split(place[0])
    assert isinstance(part, Split)
    plain = part.plain() if isinstance(part, Augmented) else part
    return plain.fetch(torch.tensor([place[1]]), 0, 0).inputs


def _caption(data: Data, place: Place, detail: str) -> str:
    return f"{data.place(*place)}: {detail}" if detail else data.place(*place)
