"""A picture from a file, of any kind that Pillow decodes by itself, and what one look at the whole file tells.

C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from labwright import LabwrightError
from PIL import Image, ImageOps, UnidentifiedImageError

# Those whose pixels Pillow decodes. The others it knows by name only, or hands to another program (EPS to Ghostscript).
# fmt: off
SUFFIXES = (
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fit", ".fits", ".flc", ".fli",
    ".ftc", ".ftu", ".gbr", ".gif", ".icb", ".icns", ".ico", ".im", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe",
    ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".pxr", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm",
    ".xpm",
)
# fmt: on
_ELSEWHERE = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
_ANIMATED = {"AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP"}  # the others' further frames are previews and layers
SIXTEEN = 65535  # white, in pictures of 16 bits
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of Exif
_CUT = ("RGB;16", "RGBA;16", "RGBX;16", "LA;16", "CMYK;16")  # Pillow's names of what it reads the upper eight bits of
_WIDTH, _LENGTH = 0x0100, 0x0101  # tags of a TIFF
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_POINTER = b"version https://git-lfs"
BACKGROUNDS = {"black": 0, "white": 255}


class Readable(Protocol):
    """A file, or what is one within another: its bytes, and as text the place to name in a message."""

    def read_bytes(self) -> bytes: ...


def read_picture(
    path: Readable, *, channels: int, height: int, width: int, white: float | None = None, background: int = 255
) -> np.ndarray:
    """A picture as uint8 of shape (C, H, W), whatever its size: cut to the aspect around its middle, then resized.

    Turned upright if the camera noted its position; grey or RGB as 1 or 3 `channels` say, the first of several frames;
    of other numbers its bands as they are, such as RGBA's four, or its pages, each a channel. What is transparent shows
    the grey value `background`. Values of more than 8 bits are scaled so that `white` becomes 255; without it 65,535 is
    white in 16 bits, and floats and 32 bits are refused.

    Raises LabwrightError naming a file that is no picture, is damaged, or has values beyond 0 to `white`.
    """
    if channels not in (1, 3):
        with _reading(path, white) as opened:
            planes = _planes(opened, channels, white, background)
            return np.stack([np.asarray(_fitted(plane, width, height)) for plane in planes])
    mode = "L" if channels == 1 else "RGB"
    shown, _ = upright(path, mode, (2 * width, 2 * height), white=white, background=background)
    return values(_fitted(shown, width, height))


def upright(
    path: Readable, mode: str, least: tuple[int, int], *, white: float | None = None, background: int = 255
) -> tuple[Image.Image, tuple[int, int]]:
    """The whole picture as `read_picture` shows it, and its own width and height, in mode "L" or "RGB".

    A JPEG far larger than `least`, a width and height, is decoded smaller. Raises LabwrightError as `read_picture`.
    """
    with _reading(path, white) as opened:
        size = _size(opened)
        opened.draft(mode, least)  # no larger than it needs to be
        return _shown(opened, mode, white, background), size


@contextmanager
def _reading(path: Readable, white: float | None) -> Iterator[Image.Image]:
    """A picture that is open. Raises LabwrightError for what can't be read of it."""
    try:
        with _opened(path.read_bytes()) as opened:
            if white not in (None, SIXTEEN) and any(raw in str(getattr(opened, "tile", "")) for raw in _CUT):
                raise ValueError(
                    "it holds 16 bits in several channels, of which Pillow gives the upper eight, so that white is "
                    f"65535 and not {white:g}; save it with 8 bits"
                )
            yield opened
    except LabwrightError:
        raise
    except Exception as error:  # Pillow's forty readers raise anything
        raise LabwrightError(
            f"{path} can't be read as a picture: {_reason(error)}. Mend it or take it away."
        ) from error


def values(picture: Image.Image) -> np.ndarray:
    """The pixels of a grey or RGB picture, uint8 of shape (C, H, W)."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look at a whole file tells: a digest of its content, why it can't be read, and what is odd about it.

    `deep` says which values of more than 8 bits it holds, `low` to `high`; `unseen` on which background a transparent
    picture shows nothing at all; `frames` that it has several.
    """

    digest: str
    problem: str = ""
    deep: str = ""
    low: float = 0.0
    high: float = 0.0
    transparent: bool = False
    unseen: str = ""
    frames: bool = False


def facts(path: Readable) -> Facts:
    """Read and decode a whole file, once. What is wrong with it is in the answer; nothing is raised."""
    digest = ""
    try:
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        with _opened(content) as opened:
            opened.draft("RGB", (16, 16))  # all of a JPEG is read, little of it is computed
            picture, deep = ImageOps.exif_transpose(opened), _deep(opened)
            if deep:
                low, high = _range(np.asarray(picture))
                return Facts(digest, deep=deep, low=low, high=high)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
            for mode in ("L", "RGB"):
                picture.convert(mode)
            transparent = picture.mode == "RGBA" and bool(np.asarray(picture)[..., 3].min() < 255)
            unseen = _unseen(picture) if transparent else ""
            return Facts(digest, transparent=transparent, unseen=unseen, frames=_has_frames(opened))
    except Exception as error:  # noqa: BLE001 - as above
        return Facts(digest, problem=_reason(error))


def size_of(path: Readable) -> tuple[int, int]:
    """Width and height of a picture as it is shown, from what stands at the file's beginning."""
    with _opened(path.read_bytes()) as opened:
        return _size(opened)


def _size(opened: Image.Image) -> tuple[int, int]:
    # newer Pillows turn the size of a TIFF before it is loaded, its tags they leave
    tags = getattr(opened, "tag_v2", {})
    width, height = tags.get(_WIDTH, opened.width), tags.get(_LENGTH, opened.height)
    return (height, width) if opened.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE else (width, height)


def _opened(content: bytes) -> Image.Image:
    if not content:
        raise ValueError("it is empty")
    if content.startswith(_POINTER):
        raise ValueError("it is a pointer of Git LFS, whose picture `git lfs pull` fetches")
    try:
        picture = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if content[:4] not in _TIFF:
            raise
        raise ValueError(
            "it is a TIFF that Pillow doesn't read, such as one of five bands; save each channel as a page of its own"
        ) from None
    if picture.format in _ELSEWHERE:
        raise ValueError(f"Pillow doesn't decode {picture.format} by itself")
    return picture


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    return ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)


def _planes(opened: Image.Image, channels: int, white: float | None, background: int) -> list[Image.Image]:
    """Each channel in grey: the bands of a picture, or its pages."""
    bands, pages = len(opened.getbands()), getattr(opened, "n_frames", 1)
    if bands == channels:
        return list(ImageOps.exif_transpose(opened).split())
    if pages != channels:
        raise ValueError(f"its bands are {bands} and its pages {pages}, where task.data.channels is {channels}")
    planes = []
    for page in range(pages):
        opened.seek(page)
        planes.append(_shown(opened, "L", white, background).copy())
    return planes


def _shown(opened: Image.Image, mode: str, white: float | None, background: int) -> Image.Image:
    """The picture upright, of 8 bits, without transparency."""
    deep = _deep(opened)
    top = white or (SIXTEEN if deep == "16 bits" else None)
    opened.load()
    # copied only where it has to be: that takes a good part of the time of decoding
    held_upright = opened.getexif().get(_ORIENTATION, 1) == 1
    picture = opened if held_upright else ImageOps.exif_transpose(opened)
    if deep:
        picture = _eight_bits(np.asarray(picture), deep, top)
    if picture.has_transparency_data:  # a palette's transparent entry would be taken for a colour, too
        picture = _on(picture.convert("RGBA"), background)
    return picture if picture.mode == mode else picture.convert(mode)


def _deep(opened: Image.Image) -> str:
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM")):
        return "16 bits"
    return {"I": "32 bits", "F": "floats"}.get(opened.mode, "")


def _eight_bits(values: np.ndarray, deep: str, top: float | None) -> Image.Image:
    low, high = _range(values)
    if top is None:
        raise ValueError(
            f"it holds {deep}, {low:g} to {high:g}, and nothing says which value is white; save it with 8 or 16 bits"
        )
    if not 0 <= low <= high <= top:
        raise ValueError(f"it holds {deep}, {low:g} to {high:g}, which are not all within 0 to {top:g}, white")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("it holds values that are no numbers")
    return low, high


def _on(picture: Image.Image, background: int) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, (background,) * 3 + (255,)), picture)


def _unseen(picture: Image.Image) -> str:
    """The background on which a transparent picture is of one colour, or nothing."""
    for name, background in BACKGROUNDS.items():
        pixels = np.asarray(_on(picture, background))
        if (pixels == pixels[0, 0]).all():
            return name
    return ""


def _has_frames(opened: Image.Image) -> bool:
    try:
        return opened.format in _ANIMATED and bool(getattr(opened, "is_animated", False))
    except Exception:  # noqa: BLE001 - a second frame that is damaged: only the first is used
        return True


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture that Pillow knows"
    return (str(error) or type(error).__name__).rstrip(".")
