"""Recordings: what is known of each, whether it can be used, its waveform. T samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from labwright import LabwrightError, LeftOut
from pydantic import Field
from torch import Tensor

from labwright_speech.data.stores import Store
from labwright_speech.data.waveform import Unusable, waveform

_MOST = 1 << 30  # bytes of decoded recordings kept in memory

OnDamaged = Annotated[
    Literal["refuse", "leave-out"],
    Field(description="what to do with recordings that aren't there, are damaged, or whose channels cancel out."),
]


@dataclass(frozen=True)
class Recording:
    """One recording: where it is, what is known of it. `said` is its class or its text.

    It is what its file holds from `start` seconds on: `seconds` of it, or all that is left.
    """

    store: Store
    name: str
    said: str = ""
    speaker: str = ""
    part: str = ""  # train, valid or test where the data says so
    where: str = ""  # the place that says so
    start: float = 0.0
    seconds: float | None = None
    weight: float | None = None  # how much it counts in the loss

    @property
    def label(self) -> str:
        return _shown(self.store.label(self.name))

    @property
    def identity(self) -> str:
        """What tells it from others without decoding it."""
        facts = [self.name, self.store.size(self.name), self.start, self.seconds, self.said]
        facts += [] if self.weight is None else [self.weight]
        return _shown("\t".join(map(str, facts)))

    def waveform(self, rate: int) -> Tensor:
        """The waveform (T,) at that rate. Raises Unusable."""
        return waveform(self.source(), rate, self.start, self.seconds)

    def source(self) -> Path | bytes:
        """Its file or content. Raises Unusable."""
        try:
            return self.store.open(self.name)
        except (OSError, RuntimeError) as error:
            raise Unusable(f"can't be read: {error}") from error

    def read(self, rate: int) -> Tensor:
        """The waveform (T,) at that rate. Raises LabwrightError naming a recording that can't be used."""
        return _named(lambda: self.waveform(rate), self.label)


@dataclass(frozen=True)
class Heard:
    """What listening to a recording once has shown: its samples, a digest of them, and themselves if there was room."""

    samples: int
    digest: bytes
    silent: bool
    x_T: Tensor | None = field(compare=False)


def listened(
    recordings: Sequence[Recording], rate: int, on_damaged: OnDamaged, faults: Sequence[str] = ()
) -> tuple[dict[Recording, Heard], list[LeftOut]]:
    """Decode every recording once: what was heard of each that can be used, and how many can't.

    `faults` says of others, one sentence each without its end, why they can't. Raises LabwrightError with the number of
    those that can't be used, if there are any and `on_damaged` is "refuse".
    """
    heard: dict[Recording, Heard] = {}
    texts = list(faults)
    room = _MOST
    for recording in recordings:
        try:
            x_T = recording.waveform(rate)
        except Unusable as error:
            texts.append(f"{recording.label} {error}" + (f"; {recording.where} lists it" if recording.where else ""))
            continue
        room -= x_T.nbytes
        digest = hashlib.blake2b(x_T.numpy().data, digest_size=16).digest()
        heard[recording] = Heard(len(x_T), digest, not bool(x_T.any()), x_T if room > 0 else None)
    count = len(texts)
    if not count:
        return heard, []
    whole = len(recordings) + len(faults)
    if not heard:
        raise LabwrightError(f"none of {whole:,} recordings can be used: {several(texts, '; ')}.")
    if on_damaged == "refuse":
        unusable = (
            texts[0] if count == 1 else f"{count:,} of {whole:,} recordings can't be used: {several(texts, '; ')}"
        )
        it = "it" if count == 1 else "them"
        raise LabwrightError(
            f"{unusable}. Mend {it} or take {it} away; task.data.on_damaged=leave-out goes on without {it}."
        )
    return heard, [LeftOut(count, "recording" if count == 1 else "recordings", f"damaged: {several(texts, '; ')}")]


def several(texts: Sequence[str], between: str = ", ", most: int = 3) -> str:
    """The first of some texts, and how many more there are."""
    rest = len(texts) - most
    return between.join(texts[:most]) + (f"{between}and {rest:,} more" if rest > 0 else "")


class Waveforms(Sequence[Tensor]):
    """The waveforms of some recordings: those kept from listening to them, the others read when they are asked for."""

    def __init__(self, recordings: Sequence[Recording], rate: int, heard: Mapping[Recording, Heard]) -> None:
        self.recordings, self.rate = recordings, rate
        self._kept = [heard[recording].x_T for recording in recordings]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices are asked for
        kept = self._kept[index]
        return self.recordings[index].read(self.rate) if kept is None else kept


def read_file(path: Path, rate: int) -> Tensor:
    """The waveform (T,) of one file at that rate. Raises LabwrightError naming a file that can't be used."""
    return _named(lambda: waveform(path, rate), str(path))


def padded(waves: Sequence[Tensor], size: int | None = None) -> tuple[Tensor, Tensor]:
    """Waveforms side by side: x_BT, zeros after each one's end, and lengths_B. T is the longest one's, or `size`."""
    lengths_B = torch.tensor([len(x_T) for x_T in waves])
    x_BT = torch.zeros(len(waves), int(lengths_B.max()) if size is None else size)
    for row, x_T in zip(x_BT, waves, strict=True):
        row[: len(x_T)] = x_T
    return x_BT, lengths_B


def window(x_T: Tensor, size: int) -> Tensor:
    """The middle of a waveform, at most `size` samples."""
    over = len(x_T) - size
    return x_T if over <= 0 else x_T[over // 2 : over // 2 + size]


def _named(read: Callable[[], Tensor], label: str) -> Tensor:
    try:
        return read()
    except Unusable as error:
        raise LabwrightError(f"{_shown(label)} {error}. Mend it or take it away.") from error


def _shown(name: str) -> str:
    """A name that can be printed, whatever bytes a file system has in it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
