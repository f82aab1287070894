"""What was seen of a folder's pictures that a person should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labwright import LabwrightError, listed

from labwright_vision.data.folders import Found, Layout, Tally, alike, inner_names, plural
from labwright_vision.data.reading import SIXTEEN, Facts

_DARK = 16  # times too small: 16 shades are left of 256
_NAMED = 3  # damaged pictures


class Known(Protocol):
    """A picture whose file was read."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> Facts: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file, its class, what was seen of it, its name below the root; the smallest keys are held out."""

    path: Found
    label: int
    facts: Facts
    name: str
    key: int


def check_depth(pictures: Sequence[Picture], white: float | None) -> None:
    """Raises LabwrightError for values of more than 8 bits that are beyond white, or where nobody said what it is."""
    deep = [picture for picture in pictures if picture.facts.deep and (white or picture.facts.deep != "16 bits")]
    wrong = [picture for picture in deep if white is None or picture.facts.low < 0 or picture.facts.high > white]
    if not wrong:
        return
    low, high = min(picture.facts.low for picture in wrong), max(picture.facts.high for picture in wrong)
    what = f"{_count(wrong)} of {wrong[0].facts.deep}, {low:g} to {high:g}, such as {wrong[0].name}"
    if low < 0:
        raise LabwrightError(f"{what}: values below 0 have no shade; save them with 8 or 16 bits.")
    if white is None:
        raise LabwrightError(f"{what}: which value is white? task.data.white={_guess(high):g} would suit these.")
    raise LabwrightError(f"{what}: more than task.data.white={white:g}; raise it, or save them with 8 or 16 bits.")


def remarks(
    parts: Mapping[str, Sequence[Picture]],
    *,
    background: str,
    white: float | None,
    channels: int,
    torn: str = "under two classes",
) -> list[str]:
    """Sentences about the pictures that are used, each with what to do; `torn` are those of which two things are said.

    A picture's `label` stands for all that is said of it.
    """
    whole = [picture for part in parts.values() for picture in part]
    return [*twice(parts), *of_pictures(whole, background=background, white=white, channels=channels, torn=torn)]


def of_pictures(
    pictures: Sequence[Picture],
    *,
    background: str,
    white: float | None,
    channels: int = 3,
    torn: str = "under two classes",
) -> list[str]:
    """Sentences about pictures, whatever part they are of."""
    return [
        *_under_two(pictures, torn),
        *(_transparent(pictures, background) if channels in (1, 3) else []),  # else alpha is a channel
        *_dark(pictures, white),
        *(_moving(pictures) if channels in (1, 3) else []),  # else pages are channels
    ]


def readable(
    root: Found, parts: Mapping[str, Sequence[Picture]], tally: Tally, *, leave_out: bool, white: float | None
) -> dict[str, list[Picture]]:
    """The pictures that aren't damaged. Raises LabwrightError for damaged ones, unless they are to be left out."""
    damaged = [picture for part in parts.values() for picture in part if picture.facts.problem]
    few = "; ".join(f"{picture.name}: {picture.facts.problem}" for picture in damaged[:_NAMED])
    if damaged and not leave_out:
        count = sum(map(len, parts.values()))
        more = f"; and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
        raise LabwrightError(
            f"{root}: {len(damaged):,} of {count:,} pictures can't be read ({few}{more}). Mend them or take them "
            "away, or leave them out: task.data.on_damaged=leave-out."
        )
    tally.add("picture", "damaged", few.split("; ")[0], len(damaged))
    whole = {part: [picture for picture in some if not picture.facts.problem] for part, some in parts.items()}
    check_depth([picture for some in whole.values() for picture in some], white)
    return whole


def missing(part: str, pictures: Sequence[Picture], names: Sequence[str]) -> list[str]:
    """A sentence if a part lacks classes."""
    labels = {picture.label for picture in pictures}
    lacking = [name for label, name in enumerate(names) if label not in labels]
    return [f"{part} has no picture of {listed(lacking)}."] if lacking else []


def of_names(parts: Mapping[str, Sequence[Picture]], layout: Layout) -> list[str]:
    sentences = [f"the classes {group} differ in case or spaces alone: are they one?" for group in alike(layout.names)]
    inner = inner_names(layout.parts["train"])
    if len(inner) > 1:
        sentences.append(
            f"each class has the folders {listed(inner)} in it, which are not told apart: the classes are the upper "
            "folders. Where the inner ones are meant, bring them up."
        )
    return sentences + [text for part, some in parts.items() for text in missing(part, some, layout.names)]


def twice(parts: Mapping[str, Sequence[Known]]) -> list[str]:
    """The same content in a part that is measured and in one before it."""
    sentences = []
    known = {picture.facts.digest: f"train ({picture.name})" for picture in parts["train"]}
    for part in ("valid", "test"):
        copies = [picture for picture in parts.get(part, ()) if picture.facts.digest in known]
        if copies:
            sentences.append(
                f"{len(copies):,} of {len(parts[part]):,} pictures of {part} are in another part as well, such as "
                f"{copies[0].name} in {known[copies[0].facts.digest]}: take the copies away, or {part} flatters."
            )
        known |= {picture.facts.digest: f"{part} ({picture.name})" for picture in parts.get(part, ())}
    return sentences


def _under_two(pictures: Sequence[Picture], how: str) -> list[str]:
    first: dict[str, Picture] = {}
    torn = [picture for picture in pictures if first.setdefault(picture.facts.digest, picture).label != picture.label]
    if not torn:
        return []
    other = first[torn[0].facts.digest].name
    return [f"{_count(torn)} {how}, such as {torn[0].name} and {other}: take the wrong ones away."]


def _transparent(pictures: Sequence[Picture], background: str) -> list[str]:
    some = [picture for picture in pictures if picture.facts.transparent]
    unseen = [picture for picture in some if picture.facts.unseen == background]
    other = "black" if background == "white" else "white"
    if unseen:
        return [
            f"{_count(unseen)} of which nothing is seen on {background}, such as {unseen[0].name}: "
            f"task.data.background={other} shows what is drawn on nothing."
        ]
    if some:
        return [
            f"{_count(some)} with transparency, shown on {background}; task.data.background={other} is the other way."
        ]
    return []


def _dark(pictures: Sequence[Picture], white: float | None) -> list[str]:
    """Pictures of 12 bits, say, that are stored in 16."""
    deep = [picture for picture in pictures if picture.facts.deep]
    top, high = white or SIXTEEN, max((picture.facts.high for picture in deep), default=0.0)
    if not deep or high * _DARK > top:
        return []
    return [
        f"{_count(deep)} with values up to {high:g} where {top:g} is white, nearly black therefore: "
        f"task.data.white={_guess(high):g} uses the whole range."
    ]


def _moving(pictures: Sequence[Picture]) -> list[str]:
    moving = [picture for picture in pictures if picture.facts.frames]
    if not moving:
        return []
    return [f"{_count(moving)} with several frames or pages, such as {moving[0].name}: the first is used."]


def _count(pictures: Sequence[Picture]) -> str:
    return f"{len(pictures):,} {plural('picture', len(pictures))}"


def _guess(high: float) -> float:
    """The smallest usual white that a value fits under: 1, or all ones of 8, 10, 12, 14, 16 bits or more."""
    usual = [1.0, *(2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 32))]
    return next((white for white in usual if high <= white), high)
