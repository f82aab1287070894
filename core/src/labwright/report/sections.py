"""A task's sections as cards of a page, each with what it shows put into the page itself, and no more than fits."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch
from markupsafe import escape
from torch import Tensor
from torch.nn import functional

from labwright.base.errors import LabwrightError
from labwright.interfaces.sections import Figure, Film, Pictures, Sounds, Table, Text
from labwright.report import page
from labwright.report.charts import svg

MOST_ROWS = 500  # of a table
MOST_SVG = 2_000_000  # characters; a figure of more is put in as pixels
PIXELS_PER_INCH = 160
MOST_PICTURES, MOST_PIXELS = 64, 512  # pixels along the longer side; a larger picture is shrunk
COARSE = 64  # pixels along the longer side up to which they are shown as squares, not blurred
FILM_WIDTH = 4.5  # inches that a card of one gets beside others
MOST_SOUNDS, MOST_SAMPLES = 20, 240_000  # with 15 s at 16 kHz each a page has 13 MB
MOST_PASSAGES, MOST_CHARACTERS = 50, 5_000


@singledispatch
def card(section: object) -> str:
    """A section as a card. Raises LabwrightError for what is none, and for fewer or more captions than pictures."""
    raise LabwrightError(
        f"a task's report gave a {type(section).__name__}; sections are lw.Figure, lw.Table, lw.Pictures, lw.Film, "
        "lw.Sounds and lw.Text."
    )


@card.register
def _figure(section: Figure) -> str:
    # letters on a picture are of a colour that is chosen for it
    paper = section.paper or any(axes.images and axes.texts for axes in section.figure.axes)
    drawn = svg(section.figure, section.title, own_colours=True, paper=paper)
    width = float(section.figure.get_size_inches()[0])
    if len(drawn) > MOST_SVG:
        pixels = io.BytesIO()
        section.figure.savefig(pixels, format="png", dpi=PIXELS_PER_INCH)
        paper, drawn = True, f'<img alt="{escape(section.title)}" src="{_embedded("image/png", pixels)}">'
    return page.picture(section.title, drawn, section.note, width, paper)


@card.register
def _table(section: Table) -> str:
    return table(section.title, section.columns, section.rows, section.note)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """A table with as many rows as a page bears."""
    return page.table(title, columns, rows[:MOST_ROWS], _cut(note, len(rows), MOST_ROWS, "rows"))


@card.register
def _pictures(section: Pictures) -> str:
    shown, note = _captioned(section, section.images, MOST_PICTURES, "pictures")
    images = [(_png(image), caption, max(image.shape[1:]) <= COARSE) for image, caption in shown]
    return page.pictures(section.title, images, note)


@card.register
def _film(section: Film) -> str:
    moving = f'<img alt="{escape(section.title)}" src="{_embedded("image/gif", io.BytesIO(section.gif))}">'
    return page.picture(section.title, moving, section.note, FILM_WIDTH)


@card.register
def _sounds(section: Sounds) -> str:
    shown, note = _captioned(section, section.waveforms, MOST_SOUNDS, "recordings")
    recordings = []
    for waveform, caption in shown:
        length = f"{min(len(waveform), MOST_SAMPLES) / section.sample_rate:.1f}"
        whole = f"{len(waveform) / section.sample_rate:.1f} s"
        about = f"the first {length} of {whole}" if len(waveform) > MOST_SAMPLES else whole
        recordings.append((_wav(waveform[:MOST_SAMPLES], section.sample_rate), caption, about))
    return page.sounds(section.title, recordings, note)


@card.register
def _text(section: Text) -> str:
    shown, note = _captioned(section, section.passages, MOST_PASSAGES, "passages")
    passages = []
    for passage, caption in shown:
        cut = len(passage) > MOST_CHARACTERS
        about = f"the first {MOST_CHARACTERS:,} of {len(passage):,} characters" if cut else ""
        passages.append((passage[:MOST_CHARACTERS], caption, about))
    return page.text(section.title, passages, note, section.preformatted)


def _captioned(
    section: Pictures | Sounds | Text, things: Sequence[Any], most: int, what: str
) -> tuple[list[tuple[Any, str]], str]:
    """The first of a section's things, each with its caption or none, and its note, which says if these aren't all."""
    count = len(section.captions)
    if count not in (0, len(things)):
        said = f"section {section.title!r} has {count} captions for {len(things)} {what}; give each one or none."
        raise LabwrightError(said)
    captioned = list(zip(things, section.captions or [""] * len(things), strict=True))
    return captioned[:most], _cut(section.note, len(things), most, what)


def _cut(note: str, count: int, most: int, what: str) -> str:
    """A note, and how many are shown if not all are."""
    return f"{note} The first {most:,} of {count:,} {what}.".strip() if count > most else note


def _png(image_CHW: Tensor) -> str:
    """An image as the address of a PNG file that is the address itself."""
    from matplotlib.image import imsave

    image_CHW = image_CHW.detach().float().cpu().nan_to_num().clamp(0, 1)
    longer = max(image_CHW.shape[1:])
    if longer > MOST_PIXELS:
        height, width = (max(1, side * MOST_PIXELS // longer) for side in image_CHW.shape[1:])
        image_CHW = functional.interpolate(image_CHW[None], (height, width), mode="area")[0]
    colours = image_CHW.permute(1, 2, 0) if len(image_CHW) == 3 else image_CHW.mean(0)
    file = io.BytesIO()
    imsave(file, colours.numpy(), format="png", cmap="gray", vmin=0, vmax=1)  # a map and its ends are for grey alone
    return _embedded("image/png", file)


def _wav(waveform_T: Tensor, sample_rate: int) -> str:
    """A waveform as the address of a WAV file, 16 bits a sample, that is the address itself."""
    levels_T = (waveform_T.detach().float().cpu().nan_to_num().clamp(-1, 1) * 32767).round().to(torch.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, sample_rate, 0, "NONE", ""))  # channels, bytes of a level, levels a second
        sound.writeframes(levels_T.numpy().astype("<i2").tobytes())
    return _embedded("audio/wav", file)


def _embedded(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
