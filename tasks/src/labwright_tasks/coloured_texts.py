"""Texts as a drawing, each word with its colour. A colour is red, green and blue from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

_COLUMNS = 104  # letters in a line
_WIDTH, _LINE = 9.0, 0.24  # inches
_SIZE, _SMALL = 10.0, 7.0  # points; a letter of one width is 0.6 of that wide
_NO_GLYPH = "\u25a1"
_WRONG = "#c00000"

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Word:
    """A word on its colour; `label` stands behind it in small letters, and `wrong` frames it."""

    text: str
    colour: Colour | None = None
    label: str = ""
    wrong: bool = False


def drawn(passages: Sequence[Sequence[Word]]) -> Canvas:
    """Passages one below the other, in lines of 104 letters."""
    placed: list[tuple[int, float, Word]] = []
    line = 0
    for passage in passages:
        column = 0.0
        for word in passage:
            width = _width(word)
            if column and column + width > _COLUMNS:
                line, column = line + 1, 0.0
            placed.append((line, column, word))
            column += width + 1
        line += 2  # and one of nothing
    lines = max(line - 1, 1)
    canvas = Canvas(figsize=(_WIDTH, _LINE * lines + 0.1))
    axes = canvas.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(-0.5, _COLUMNS + 0.5), ylim=(lines, 0))
    axes.set_axis_off()
    for at, column, word in placed:
        _draw(axes, at, column, word)
    return canvas


def tinted(colour: Colour, share: float = 0.35) -> Colour:
    """So much of a colour on white paper, that black letters can be read on it."""
    red, green, blue = (1 - share * (1 - part) for part in colour)
    return red, green, blue


def _draw(axes: object, line: int, column: float, word: Word) -> None:
    text = _with_glyphs(word.text)
    if word.colour is not None or word.wrong:
        frame = Rectangle(
            (column - 0.3, line + 0.1),
            _width(word) + 0.6,
            0.8,
            facecolor=word.colour or "white",
            edgecolor=_WRONG if word.wrong else "none",
            linewidth=1.0,
        )
        axes.add_patch(frame)  # type: ignore[attr-defined]
    write = axes.text  # type: ignore[attr-defined]
    known = {"family": "monospace", "va": "center", "parse_math": False}
    write(column, line + 0.5, text, fontsize=_SIZE, **known)
    if word.label:
        write(
            column + len(text) + 0.4, line + 0.52, _with_glyphs(word.label), fontsize=_SMALL, color="#444444", **known
        )


def _width(word: Word) -> float:
    """In letters."""
    return len(word.text) + (0.4 + len(word.label) * _SMALL / _SIZE if word.label else 0.0)


def _with_glyphs(text: str) -> str:
    """The text with a box for each letter that the font doesn't have."""
    known = _glyphs()
    return "".join(letter if ord(letter) in known else _NO_GLYPH for letter in text)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("monospace")).get_charmap())
