"""Sections of report.html: what a task's `report` returns, in the order in which they stand there.

Each kind has a limit to what the page shows of it, so that a report stays a file one can send; where something is left
out, the page says so. `captions` are texts, one for each picture, recording or passage, or none at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure
    from torch import Tensor


@dataclass(frozen=True)
class Figure:
    """A section with a drawing: a matplotlib Figure made without pyplot, with its usual white ground and black letters.

    Where the page is dark, black and white of its lines and letters change places, unless it is to stand on `paper`, as
    one with letters on pale colours is. A mark whose `url` is `title:TEXT` says the text when one points at it.

    Example: `lw.Figure("Confusion matrix", canvas, "Rows are the true classes.")`
    """

    title: str
    figure: matplotlib.figure.Figure
    note: str = ""
    paper: bool = False


@dataclass(frozen=True)
class Table:
    """A section with rows; each row has one cell for each column.

    Example: `lw.Table("Classes", ("class", "samples"), [("cat", 120), ("dog", 80)])`
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    note: str = ""


@dataclass(frozen=True)
class Pictures:
    """A section with a grid of images, each (C, H, W) float with values 0..1; what lies outside is cut off.

    Three channels are red, green and blue; of any other number the mean is shown in grey.

    Example: `lw.Pictures("Worst mistakes", images_BCHW.unbind(), ["7 for 1", "3 for 8"])`
    """

    title: str
    images: Sequence[Tensor]
    captions: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Film:
    """A section with moving pictures: the bytes of a GIF, which is put into the page whole, as wide as it is.

    Example: `lw.Film("An episode", gif, "Return 500 in 500 steps.")`
    """

    title: str
    gif: bytes
    note: str = ""


@dataclass(frozen=True)
class Sounds:
    """A section with recordings to listen to, each (T,) float with values -1..1; what lies outside is cut off.

    Example: `lw.Sounds("Hard recordings", [wave_T], 16_000, ["heard 'two' for 'too'"])`
    """

    title: str
    waveforms: Sequence[Tensor]
    sample_rate: int
    captions: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Text:
    """A section with passages of text: `preformatted` with all their blanks, in letters of one width, or running.

    Nothing in a passage is markup: `<b>` is shown as these three characters.

    Example: `lw.Text("Written by the model", ["Once upon a time ..."], ["temperature 0.8"])`
    """

    title: str
    passages: Sequence[str]
    captions: Sequence[str] = ()
    preformatted: bool = False
    note: str = ""


Section = Figure | Table | Pictures | Film | Sounds | Text
"""Any of them.

Example: `def report(self, model, split, device) -> list[lw.Section]: return [lw.Table("Sizes", ("n",), [(3,)])]`
"""
