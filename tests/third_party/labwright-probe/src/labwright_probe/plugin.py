"""What labwright-probe brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw

HERE = "labwright_probe"


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("task", "probe/several", f"{HERE}.several:Several", "a loss for each of several heads")
    yield lw.Component("data", "probe/points", f"{HERE}.several:Points", "points, their quarter and their distance")
    yield lw.Component("model", "probe/two-heads", f"{HERE}.several:HeadsOverTrunk", "linear heads over one trunk")

    yield lw.Component("task", "probe/two-views", f"{HERE}.two_views:TwoViews", "know a sample by another view of it")
    yield lw.Component("data", "probe/waves", f"{HERE}.two_views:Waves", "sine waves without any label")
    yield lw.Component("model", "probe/siamese", f"{HERE}.two_views:Siamese", "a student and its momentum teacher")
    yield lw.Component("loss", "probe/info-nce", f"{HERE}.two_views:InfoNCE", "one's own key among those of a batch")

    yield lw.Component("task", "probe/boxes", f"{HERE}.boxes:Detection", "boxes around things in pictures")
    yield lw.Component("data", "probe/blocks", f"{HERE}.boxes:Blocks", "pictures of blocks and frames, 0 to 3 of them")
    yield lw.Component("model", "probe/grid", f"{HERE}.boxes:Grid", "a class and a box for each cell of a grid")

    yield lw.Component("task", "probe/masks", f"{HERE}.masks:Segmentation", "a class for each pixel")
    yield lw.Component("data", "probe/discs", f"{HERE}.masks:Discs", "pictures of a disc and a bar, rims left out")
    yield lw.Component("model", "probe/convolutions", f"{HERE}.masks:Convolutions", "3x3 convolutions at full size")

    yield lw.Component("task", "probe/captions", f"{HERE}.captions:Captioning", "a sentence about a picture")
    yield lw.Component("data", "probe/bars", f"{HERE}.captions:Bars", "pictures of a bar and what they show")
    yield lw.Component("model", "probe/writer", f"{HERE}.captions:Writer", "an encoder, and a GRU that writes")

    yield lw.Component("task", "probe/spans", f"{HERE}.spans:Answering", "where in a text the answer is")
    yield lw.Component("data", "probe/owners", f"{HERE}.spans:Owners", "who has how many of what, and a question")
    yield lw.Component("model", "probe/reader", f"{HERE}.spans:Reader", "a bidirectional GRU")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    for name, summary in (
        ("several", "two heads over one trunk, their losses by name"),
        ("two-views", "without labels: a student learns from the mean of itself"),
        ("boxes", "objects in pictures"),
        ("masks", "a class for each pixel"),
        ("captions", "pictures in words"),
        ("spans", "questions about a text"),
    ):
        yield lw.Recipe(f"probe/{name}", Path(__file__).parent / "recipes" / f"{name}.toml", summary)
