"""Pictures from files: which are read, how their values come out, and what a look at a whole file tells."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labwright import LabwrightError
from labwright_vision.data.reading import SUFFIXES, facts, read_picture
from PIL import Image

RAMP = np.linspace(0, 1, 8)[None].repeat(8, 0)  # eight shades, from black to white
EIGHT = np.rint(RAMP * 255).astype(np.uint8)


def read(path: Path, channels: int = 1, **settings: float) -> np.ndarray:
    return read_picture(path, channels=channels, height=8, width=8, **settings)


def noise(size: int = 40, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def test_every_suffix_whose_format_pillow_decodes_by_itself_is_read() -> None:
    Image.init()
    by_name_only = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}  # stubs, or another program's work
    decoded = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    others = {suffix for suffix, kind in Image.registered_extensions().items() if kind in by_name_only}
    assert decoded - others <= set(SUFFIXES)
    assert not others & set(SUFFIXES)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".webp", ".avif", ".tga", ".jp2", ".ico", ".qoi", ".pcx", ".dib"])
def test_less_common_suffixes_hold_pictures_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    try:
        noise().save(path)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"Pillow can't write {suffix} here")
    assert read(path, 3).shape == (3, 8, 8)
    assert not facts(path).problem


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("s.png", lambda: Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16))),
        ("s.tif", lambda: Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16))),
        ("b.tif", lambda: Image.frombytes("I;16B", (8, 8), np.rint(RAMP * 65535).astype(">u2").tobytes())),
        ("s.pgm", lambda: Image.fromarray(np.rint(RAMP * 65535).astype(np.int32))),
    ],
    ids=["png", "tiff", "tiff-big-endian", "pgm"],
)
def test_sixteen_bits_come_out_as_the_same_shades(tmp_path: Path, name: str, made: Callable[[], Image.Image]) -> None:
    made().save(tmp_path / name)
    assert np.array_equal(read(tmp_path / name)[0], EIGHT)  # 65,535 = 257 * 255
    assert facts(tmp_path / name).deep == "16 bits"


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (RAMP.astype(np.float32), 1.0),
        ((RAMP * 255).astype(np.float32), 255.0),
        (np.rint(RAMP * 255).astype(np.int32), 255.0),
        (np.rint(RAMP * 4095).astype(np.uint16), 4095.0),
    ],
    ids=["floats-of-1", "floats-of-255", "int32", "12-bits-in-16"],
)
def test_the_value_that_is_white_is_what_the_setting_says(tmp_path: Path, values: np.ndarray, white: float) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert np.abs(read(tmp_path / "x.tif", white=white)[0].astype(int) - EIGHT).max() <= 1
    seen = facts(tmp_path / "x.tif")
    assert (seen.low, seen.high) == (0, pytest.approx(white))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_values_that_would_be_cut_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray((RAMP * 300).astype(kind)).save(tmp_path / "x.tif")
    with pytest.raises(LabwrightError, match=r"x\.tif .*0 to 300, and nothing says which value is white"):
        read(tmp_path / "x.tif")
    with pytest.raises(LabwrightError, match=r"0 to 300, which are not all within 0 to 255"):
        read(tmp_path / "x.tif", white=255)
    Image.fromarray((RAMP * 300 - 100).astype(kind)).save(tmp_path / "x.tif")
    with pytest.raises(LabwrightError, match=r"-100 to 200, which are not all within"):
        read(tmp_path / "x.tif", white=255)


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_damage(tmp_path: Path, strange: float) -> None:
    values = RAMP.astype(np.float32)
    values[3, 3] = strange
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert facts(tmp_path / "x.tif").problem == "it holds values that are no numbers"
    with pytest.raises(LabwrightError, match="no numbers"):
        read(tmp_path / "x.tif", white=1)


def test_another_white_of_16_bits_in_colour_is_refused_as_the_lower_eight_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_of_16_bits(np.full((8, 8, 3), 4095, dtype=">u2")))
    assert (read(path, 3) == 15).all() and (read(path, 3, white=65535.0) == 15).all()  # 4095 // 256
    with pytest.raises(LabwrightError, match=r"16 bits in several channels, .*white is 65535 and not 4095; save it"):
        read(path, 3, white=4095.0)


def png_of_16_bits(rows_HWC: np.ndarray) -> bytes:
    """As the PNG specification has it: Pillow writes none of 16 bits in colour."""
    height, width, _ = rows_HWC.shape
    lines = b"".join(b"\0" + row.tobytes() for row in rows_HWC)
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    )


def drawn(rows: int, shade: int) -> Image.Image:
    """A drawing of one shade on nothing: its upper rows."""
    pixels = np.full((8, 8, 4), shade, np.uint8)
    pixels[:, :, 3] = 0
    pixels[:rows, :, 3] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background(tmp_path: Path, mode: str) -> None:
    for rows in (2, 6):
        drawn(rows, 0).convert(mode).save(tmp_path / "x.png")
        for channels in (1, 3):
            on_white = read(tmp_path / "x.png", channels, background=255)
            assert (on_white[:, :rows] == 0).all() and (on_white[:, rows:] == 255).all()
        assert (read(tmp_path / "x.png", background=0) == 0).all()
        seen = facts(tmp_path / "x.png")
        assert (seen.transparent, seen.unseen) == (True, "black")


def test_a_palette_with_a_transparent_colour_is_transparent(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) // 32)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(tmp_path / "x.gif", transparency=1)
    assert (read(tmp_path / "x.gif", background=255)[0, 4:] == 255).all()
    assert facts(tmp_path / "x.gif").transparent


def test_an_alpha_channel_that_hides_nothing_is_not_transparency(tmp_path: Path) -> None:
    noise(mode="RGBA").save(tmp_path / "x.png")
    assert not facts(tmp_path / "x.png").transparent


def test_cmyk_is_shown_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    red, green, blue = read(tmp_path / "x.jpg", 3).mean((1, 2))
    assert red > 200 and green < 60 and blue < 60


def test_the_first_frame_of_an_animation_is_read_and_said(tmp_path: Path) -> None:
    black, white = (Image.new("L", (9, 9), shade) for shade in (0, 255))
    for name in ("x.gif", "x.tif", "x.webp", "x.png"):
        black.save(tmp_path / name, save_all=True, append_images=[white])
        assert read(tmp_path / name).max() < 10, name
        assert facts(tmp_path / name).frames, name
        black.save(tmp_path / name)
        assert not facts(tmp_path / name).frames, name


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        noise().save(tmp_path / name)
    noise(41).save(tmp_path / "c.png")
    a, b, c = (facts(tmp_path / name).digest for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.png", b"", "it is empty"),
        ("x.jpg", b"<!DOCTYPE html><html>", "it is no picture that Pillow knows"),
        ("x.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"),
        ("x.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "EPS"),
        ("._x.jpg", b"\x00\x05\x16\x07" + b"\0" * 60, "it is no picture that Pillow knows"),
    ],
    ids=["empty", "web-page", "git-lfs", "eps-for-another-program", "apple-double"],
)
def test_a_file_that_holds_no_picture_is_told_by_both(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert problem in facts(tmp_path / name).problem
    with pytest.raises(LabwrightError, match=problem):
        read(tmp_path / name)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damage that it reads past
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".tga", ".jp2", ".ico", ".ppm"])
def test_whatever_is_damaged_is_a_reason_and_never_another_error(tmp_path: Path, suffix: str) -> None:
    file = io.BytesIO()
    noise().save(file, {".jpg": "jpeg", ".tif": "tiff", ".jp2": "jpeg2000"}.get(suffix, suffix[1:]))
    whole, chance, path = file.getvalue(), np.random.default_rng(1), tmp_path / f"x{suffix}"
    for _ in range(12):
        content = bytearray(whole)
        for place in chance.integers(0, len(content), 3):
            content[place] = int(chance.integers(256))
        path.write_bytes(content[: int(chance.integers(len(content)))] if chance.random() < 0.5 else content)
        damaged = bool(facts(path).problem)
        for channels in (1, 3):
            try:
                read(path, channels, white=2.0**32)
            except LabwrightError as error:
                assert damaged and path.name in str(error)
            else:
                assert not damaged


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp", ".bmp"])
def test_a_file_cut_in_half_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    noise(200).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert facts(path).problem


def test_pages_of_sixteen_bits_are_channels_and_so_are_the_bands_of_rgba(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((8, 8), value, np.uint16)) for value in (0, 13_107, 26_214, 39_321, 65_535)]
    pages[0].save(tmp_path / "five.tif", save_all=True, append_images=pages[1:])
    planes = read_picture(tmp_path / "five.tif", channels=5, height=4, width=4)
    assert planes.shape == (5, 4, 4) and planes[:, 0, 0].tolist() == [0, 51, 102, 153, 255]  # 13,107 is 51 * 257
    Image.fromarray(np.full((8, 8, 4), (1, 2, 3, 4), np.uint8)).save(tmp_path / "four.png")
    assert read_picture(tmp_path / "four.png", channels=4, height=4, width=4)[:, 0, 0].tolist() == [1, 2, 3, 4]
    with pytest.raises(LabwrightError, match=r"its bands are 4 and its pages 1, where task\.data\.channels is 6"):
        read_picture(tmp_path / "four.png", channels=6, height=4, width=4)


def test_a_tiff_that_pillow_does_not_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "odd.tif").write_bytes(b"II*\0" + b"\0" * 40)
    with pytest.raises(LabwrightError, match=r"a TIFF that Pillow doesn't read.*each channel as a page of its own"):
        read_picture(tmp_path / "odd.tif", channels=5, height=4, width=4)
