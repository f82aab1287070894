"""The user's own pictures, wherever they lie: what data of them shares. B batch, C channels, H height, W width."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from labwright import Batch, Classes, Data, Image, LeftOut, Port
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Augment
from labwright_vision.data.folders import Tally, pictures
from labwright_vision.data.pictures import rows_of, scaled, scaling
from labwright_vision.data.reading import BACKGROUNDS, SUFFIXES, Readable, read_picture
from labwright_vision.data.steps import check_changes, steps

# The settings, as they stand in a constructor.
Size = Annotated[
    int,
    Field(ge=4, description="pixels along a side, to which a picture is resized, cut to a square around its middle."),
]
Channels = Annotated[
    int,
    Field(ge=1, le=256, description="1 is grey, 3 is RGB; of any other number each is a band, or a page, of the file."),
]
Background = Annotated[Literal["white", "black"], Field(description="what transparent pixels show.")]
White = Annotated[
    float,
    Field(
        gt=0,
        description="value that is white in pictures of more than 8 bits; left out: 65535 for 16 bits. For 32 bits and "
        "floats it must be said.",
    ),
]
OnDamaged = Annotated[
    Literal["refuse", "leave-out"], Field(description="what to do with pictures that aren't there or can't be read.")
]

_LOOKED_AT = 64  # pictures whose brightness stands for that of all


class OwnPictures(Data, ABC):
    """Pictures of classes, read and decoded when they are asked for.

    Values are scaled by the mean and deviation of ImageNet.
    """

    item = Image
    target = Classes
    suffixes = SUFFIXES
    in_memory = False
    kept = "pictures.json"  # what the file is called that `save` writes

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        background: str,
        white: float | None,
        **changes: Any,
    ) -> None:
        check_changes(changes, channels)
        self.size, self.channels, self.background, self.white = size, channels, background, white
        self.changes = changes  # of the training pictures: the settings of `steps`
        self.names: tuple[str, ...] = ()
        self.facts: Facts = {}  # of the training pictures
        self._splits: dict[str, Files] = {}
        self._identities: dict[str, list[str]] = {}
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: Sequence[str] = ()

    def ports(self) -> tuple[Port, Port]:
        return Image(self.channels, self.size, self.size), Classes(self.names)

    def split(self, name: str) -> Files | None:
        return self._splits.get(name)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def identity(self, split: str) -> list[str]:
        return self._identities[split]

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return (self.reader()([path]),)

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "size": self.size, "channels": self.channels}
        (folder / self.kept).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / self.kept).read_text(encoding="utf-8"))
        self.names, self.size, self.channels = tuple(kept["classes"]), kept["size"], kept["channels"]
        self.facts = other_data.kept(folder)

    def facts_of(self, part: Files) -> Facts:
        """What the pictures of a part are like: the share of each class, and of some pictures how bright they are."""
        some = torch.linspace(0, len(part) - 1, min(len(part), _LOOKED_AT)).round().long()
        (x_BCHW,) = part.plain().fetch(some, 0, 0).inputs
        mean_C, deviation_C = map(torch.tensor, scaling(self.channels))
        bright_B = (x_BCHW.mean((2, 3)) * deviation_C + mean_C).mean(1)
        labels_N = part.labels if isinstance(part.labels, Tensor) and self.target is Classes else None
        return other_data.facts({"brightness, from 0 to 1,": bright_B}, labels_N, self.names)

    def augment(self, length: int) -> Sequence[Augment]:
        """What changes the `length` training pictures from epoch to epoch."""
        mean, deviation = scaling(self.channels)
        return steps(length, self.changes, mean=mean, deviation=deviation)

    def reader(self) -> Reader:
        return Reader(self.channels, self.size, self.white, BACKGROUNDS[self.background])


@dataclass(frozen=True)
class Reader:
    """How pictures are read: square, `size` pixels along a side, scaled; `white` and `background` as in OwnPictures."""

    channels: int
    size: int
    white: float | None
    background: int

    def __call__(self, files: Sequence[Readable]) -> Tensor:
        """The pictures in these files, shape (B, C, H, W)."""
        pixels = [
            read_picture(
                file,
                channels=self.channels,
                height=self.size,
                width=self.size,
                white=self.white,
                background=self.background,
            )
            for file in files
        ]
        mean, deviation = map(torch.tensor, scaling(self.channels))
        return scaled(np.stack(pixels), mean[:, None, None], deviation[:, None, None])


class Files:
    """A split that reads a batch's pictures when they are asked for. N samples; labels (N,) int64, or by head."""

    def __init__(self, paths: Sequence[Readable], labels: Any, reader: Reader, augment: Sequence[Augment] = ()) -> None:
        self.paths, self.labels, self.reader = paths, labels, reader
        self.augment = [step for step in augment if step.active]

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        x_BCHW = self.reader([self.paths[index] for index in indices.tolist()])
        for step in self.augment:
            x_BCHW = step(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), rows_of(self.labels, indices))

    def plain(self) -> Files:
        return Files(self.paths, self.labels, self.reader)
