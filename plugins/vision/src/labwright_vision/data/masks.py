"""Masks: files whose pixels say a class, by a value, a palette or a colour. H height, W width, C classes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from labwright import LEFT_OUT, LabwrightError
from PIL import Image

from labwright_vision.data.folders import Found

UNKNOWN = -1  # the label of a value that stands for no class and isn't left out
_BLURRED = {"JPEG", "MPO", "JPEG2000", "AVIF"}  # AVIF also where it is called lossless: its colours are converted
_COLOUR = 3  # channels of one
_GREY = 0x010101  # times a shade
_MOST = 65535  # the largest value of a class
Kind = Literal["values", "palette", "colours"]


@dataclass(frozen=True)
class Pixels:
    """A mask's values (H, W), or colours as 0xRRGGBB; `palette_V` has the colour of each value where there is one."""

    codes_HW: np.ndarray
    kind: Kind
    palette_V: np.ndarray | None = None


class Mask(Protocol):
    """What says the class of each pixel of a picture; as text it is the place to name in a message."""

    def digest(self) -> str: ...

    def pixels(self) -> Pixels: ...


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file of its own."""

    path: Found

    def __str__(self) -> str:
        return str(self.path)

    def digest(self) -> str:
        return hashlib.blake2b(self.path.read_bytes(), digest_size=16).hexdigest()

    def pixels(self) -> Pixels:
        """Raises LabwrightError for a file that can't be read, or whose pixels can't be classes."""
        try:
            content = self.path.read_bytes()
            with Image.open(io.BytesIO(content)) as opened:
                blurred = opened.format in _BLURRED or (opened.format == "WEBP" and _is_lossy(content))
                if blurred:
                    which = "lossy WebP" if opened.format == "WEBP" else opened.format
                    raise ValueError(f"{which} blurs values into others where classes meet; save masks as PNG")
                return _pixels(opened)
        except Exception as error:  # Pillow's forty readers raise anything
            raise LabwrightError(f"{self} can't be read as a mask: {str(error).rstrip('.')}.") from error


@dataclass(frozen=True)
class MaskFacts:
    """What one look at a mask tells: how many pixels have each value, or colour, and a used palette's colours."""

    digest: str = ""
    problem: str = ""
    height: int = 0
    width: int = 0
    kind: Kind = "values"
    counts: Mapping[int, int] = field(default_factory=dict)
    palette: Mapping[int, int] = field(default_factory=dict)


def mask_facts(mask: Mask) -> MaskFacts:
    """Read a whole mask, once. What is wrong with it is in the answer; nothing is raised."""
    try:
        pixels = mask.pixels()
    except LabwrightError as error:
        return MaskFacts(problem=str(error))
    codes, counts = np.unique(pixels.codes_HW, return_counts=True)
    used = {} if pixels.palette_V is None else {int(code): int(pixels.palette_V[code]) for code in codes}
    by_code = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    height, width = pixels.codes_HW.shape
    return MaskFacts(mask.digest(), "", height, width, pixels.kind, by_code, used)


@dataclass(frozen=True)
class ClassTable:
    """The classes' names in the order of their labels, and what label a value or colour of a mask stands for."""

    names: tuple[str, ...]
    of_values: Mapping[int, int]
    of_colours: Mapping[int, int]

    def labels(self, pixels: Pixels) -> np.ndarray:
        """Labels of shape (H, W), int16: LEFT_OUT where none counts, UNKNOWN where a value stands for nothing."""
        if self.of_colours and pixels.palette_V is not None:
            of_palette: np.ndarray = _looked_up(pixels.palette_V, self.of_colours)[pixels.codes_HW]
            return of_palette
        if pixels.kind != "colours":
            of_values: np.ndarray = _looked_up(np.arange(_MOST + 1), self.of_values)[pixels.codes_HW]
            return of_values
        if not self.of_colours:
            shades_HW = pixels.codes_HW & 0xFF
            of_shades = self.labels(Pixels(shades_HW, "values"))
            of_shades[pixels.codes_HW != shades_HW * _GREY] = UNKNOWN
            return of_shades
        return _looked_up(pixels.codes_HW, self.of_colours)

    def labels_of(self, seen: MaskFacts) -> dict[int, int]:
        """The label of each value, or colour, that a mask has."""
        codes = np.array([*seen.counts], dtype=np.int64)[None]
        palette_V = None
        if seen.palette:
            palette_V = np.zeros(max(seen.palette) + 1, dtype=np.int64)
            palette_V[[*seen.palette]] = [*seen.palette.values()]
        return dict(zip(seen.counts, self.labels(Pixels(codes, seen.kind, palette_V))[0].tolist(), strict=True))


def class_table(
    rows: Sequence[tuple[str, int, int | None]], void: Sequence[int], seen: Mapping[str, MaskFacts]
) -> ClassTable:
    """The table of the classes named in `rows`, each with its value and perhaps its colour; those of `void` are none.

    Without rows each value in the masks that were seen, by their names, is a class.

    Raises LabwrightError where colours need rows that say what they stand for.
    """
    left_out = dict.fromkeys(void, LEFT_OUT)
    if not rows:
        for name, mask in seen.items():
            if mask.kind == "colours" and any(code != (code & 0xFF) * _GREY for code in mask.counts):
                raise LabwrightError(
                    f"{name} holds colours, such as {shown(max(mask.counts))}, and nothing says which class each is: "
                    "put a classes.txt into the folder, with a line NAME RED GREEN BLUE for each class."
                )
        found = {code & 0xFF if mask.kind == "colours" else code for mask in seen.values() for code in mask.counts}
        rows = [(str(value), value, None) for value in sorted(found)]
    classes = [row for row in rows if row[1] not in left_out]
    of_values = {value: label for label, (_, value, _) in enumerate(classes)}
    of_colours = {colour: label for label, (_, _, colour) in enumerate(classes) if colour is not None}
    of_colours |= {colour: LEFT_OUT for _, value, colour in rows if colour is not None and value in left_out}
    return ClassTable(tuple(name for name, *_ in classes), of_values | left_out, of_colours)


def class_rows(content: str, place: object) -> list[tuple[str, int, int | None]]:
    """Names, values and colours from text: lines NAME, or NAME RED GREEN BLUE, or JSON.

    JSON is a list of names, or an object that gives each name a value, or red, green and blue.

    Raises LabwrightError naming the line that is none of these, and for a name or a colour that stands there twice.
    """
    if content.lstrip().startswith(("[", "{")):
        rows = _from_json(content, place)
    else:
        lines = [line.strip() for line in content.splitlines()]
        rows = [_row(line, number, place) for number, line in enumerate(filter(None, lines))]
    check_rows(rows, place)
    return rows


def named_rows(lines: Sequence[str], place: object) -> list[tuple[str, int, int | None]]:
    """The same of a list, each of which is a name, with numbers in it or not, or NAME RED GREEN BLUE."""
    rows = [_coloured(line, number) or (line, number, None) for number, line in enumerate(map(str.strip, lines))]
    check_rows(rows, place)
    return rows


def check_rows(rows: Sequence[tuple[str, int, int | None]], place: object) -> None:
    """Raises LabwrightError for a name, a value or a colour that stands there twice, and if there are none."""
    for what, column in (("class", 0), ("value", 1), ("colour", 2)):
        given = [row[column] for row in rows if row[column] is not None]
        twice = next((entry for entry in given if given.count(entry) > 1), None)
        if twice is not None:
            text = shown(twice) if column == 2 and isinstance(twice, int) else repr(twice)
            raise LabwrightError(f"{place}: the {what} {text} stands there twice.")
    if not rows:
        raise LabwrightError(f"{place} names no classes.")


def check_names(rows: Sequence[tuple[str, int, int | None]], table: ClassTable, place: object) -> None:
    """Raises LabwrightError for a value or colour that has another name there than in the table."""
    for name, value, colour in rows:
        label = table.of_values.get(value) if colour is None else table.of_colours.get(colour)
        if label is None or label == LEFT_OUT:
            continue
        learned = table.names[label]
        if learned not in (name, str(value)):  # a class that nothing named is called by its value
            what = value if colour is None else shown(colour)
            raise LabwrightError(
                f"{place}: {name!r} is there what was learned as {learned!r}, {what}: give classes the values they had."
            )


def shown(colour: int) -> str:
    """A colour as people write it: 128,0,128."""
    return ",".join(str(colour >> shift & 0xFF) for shift in (16, 8, 0))


def _is_lossy(webp: bytes) -> bool:
    """Whether a WebP file, or a frame in it, is compressed as VP8 has it: its chunks are named in their order."""
    place = 12  # behind RIFF, the length and WEBP
    while place + 8 <= len(webp):
        name, length = webp[place : place + 4], int.from_bytes(webp[place + 4 : place + 8], "little")
        if name == b"VP8 ":
            return True
        # a frame of a film has 16 bytes of its own before its chunks
        place += 8 + 16 if name == b"ANMF" else 8 + length + length % 2
    return False


def _pixels(opened: Image.Image) -> Pixels:
    if opened.mode == "P":
        whole = np.asarray(opened.convert("RGB"), dtype=np.int64)  # so that it is read to its end
        palette = opened.getpalette("RGB") or []
        codes_HW = np.asarray(opened, dtype=np.int64)
        colours_V = _packed(np.array(palette + [0] * (3 * 256 - len(palette)), dtype=np.int64).reshape(-1, _COLOUR))
        assert whole.shape[:2] == codes_HW.shape
        return Pixels(codes_HW, "palette", colours_V)
    if opened.mode in ("RGB", "RGBA"):
        return Pixels(_packed(np.asarray(opened.convert("RGB"), dtype=np.int64)), "colours")
    if opened.mode == "LA":
        opened = opened.getchannel(0)
    if opened.mode not in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        raise ValueError(f"it has pixels of Pillow's mode {opened.mode}, which are no classes; save whole numbers")
    codes_HW = np.asarray(opened).astype(np.int64)
    if not 0 <= codes_HW.min() <= codes_HW.max() <= _MOST:
        raise ValueError(f"it has values from {codes_HW.min()} to {codes_HW.max()}; classes are 0 to {_MOST}")
    return Pixels(codes_HW, "values")


def _packed(colours: np.ndarray) -> np.ndarray:
    packed: np.ndarray = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
    return packed


def _looked_up(codes: np.ndarray, labels: Mapping[int, int]) -> np.ndarray:
    known, label = (np.array(row) for row in zip(*sorted(labels.items()), strict=True))
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)
    labels_V: np.ndarray = np.where(known[place] == codes, label[place], UNKNOWN).astype(np.int16)
    return labels_V


def check_palettes(seen: Mapping[str, MaskFacts]) -> None:
    """Raises LabwrightError where one value has several colours: a program that counts colours made the palettes."""
    first: dict[int, tuple[int, str]] = {}
    for name, mask in seen.items():
        for value, colour in mask.palette.items():
            usual, where = first.setdefault(value, (colour, name))
            if usual != colour:
                raise LabwrightError(
                    f"{name} has another palette than {where}: the value {value} is the colour {shown(colour)} here "
                    f"and {shown(usual)} there, so that values don't say classes. Save all with one palette, or say in "
                    "a classes.txt which class each colour is, a line NAME RED GREEN BLUE for each."
                )


def _row(line: str, number: int, place: object) -> tuple[str, int, int | None]:
    words = line.replace(",", " ").split()
    coloured = _coloured(line, number)
    if not coloured and len(words) > 1 and any(word.isdigit() for word in words):
        raise LabwrightError(
            f"{place}: the line {line!r} is neither NAME nor NAME RED GREEN BLUE, three numbers from 0 to 255; names "
            "with numbers stand in classes.json or task.data.classes."
        )
    return coloured or (line, number, None)


def _coloured(line: str, number: int) -> tuple[str, int, int | None] | None:
    words = line.replace(",", " ").split()
    if len(words) > _COLOUR and all(word.isdigit() and int(word) <= 0xFF for word in words[-_COLOUR:]):
        return " ".join(words[:-_COLOUR]), number, _colour([*map(int, words[-_COLOUR:])])
    return None


def _from_json(content: str, place: object) -> list[tuple[str, int, int | None]]:
    try:
        given = json.loads(content)
    except ValueError as error:
        raise LabwrightError(f"{place} is no JSON: {error}.") from error
    pairs = list(enumerate(given)) if isinstance(given, list) else [(value, name) for name, value in given.items()]
    rows: list[tuple[str, int, int | None]] = []
    for number, (value, name) in enumerate(pairs):
        if isinstance(name, str) and type(value) is int and 0 <= value <= _MOST:
            rows.append((name, value, None))
        elif isinstance(name, str) and _is_colour(value):
            rows.append((name, number, _colour(value)))
        else:
            raise LabwrightError(
                f"{place}: {name!r} has {value!r}, which is neither a value from 0 to {_MOST} nor [RED, GREEN, BLUE]."
            )
    return rows


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == _COLOUR and all(type(c) is int and 0 <= c <= 0xFF for c in value)


def _colour(channels: Sequence[int]) -> int:
    return int(_packed(np.array(channels)))
