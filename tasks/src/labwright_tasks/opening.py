"""Files as they are published: packed or not, alone or in a zip archive; text in UTF-8 or whatever it is in."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from labwright import LabwrightError, listed, located, nearest, sentence

_MARKS = {  # byte order marks; UTF-32's before UTF-16's, which it begins with
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
PACKED = (".gz", ".zst", ".bz2", ".xz")
_CHECKED = 2**20  # bytes that are decoded at once
_FEW = 1 / 2  # letters with a mark, for each without one, that a text of Western Europe has at most
_WESTERN = re.compile(
    "[\xa1-\xff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u2013-\u2026\u2030\u2039\u203a\u20ac\u2122]*"
)


@dataclass(frozen=True)
class Source:
    """A file, or one in a zip archive: ARCHIVE.zip/FOLDER/NAME is the path of that."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """What it is called, without the ending that says how it is packed, in small letters."""
        name = (self.member.rpartition("/")[2] or self.path.name).lower()
        return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)

    @property
    def suffix(self) -> str:
        """The ending that says what it holds, in small letters."""
        return Path(self.name).suffix

    def content(self) -> bytes:
        """What is in it, unpacked whatever its name. Raises LabwrightError if it can't be read."""
        try:
            if self.member:
                with zipfile.ZipFile(self.path) as archive:
                    packed = archive.read(self.member)
            else:
                if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
                    raise LabwrightError(
                        f"{self.path} is a device, a pipe or a socket; write what it gives into a file first."
                    )
                packed = self.path.read_bytes()
            unpack = next((by for mark, by in _UNPACKED.items() if packed.startswith(mark)), None)
            return unpack(packed) if unpack else packed
        except FileNotFoundError as error:
            raise no_file(self.path) from error
        except IsADirectoryError as error:
            raise LabwrightError(f"{self.path} is a folder; give the name of a file in it.") from error
        except _NoZstandard as error:
            raise LabwrightError(
                f"{self} is packed by Zstandard, which needs the package zstandard or pyarrow: `pip install zstandard` "
                "brings one."
            ) from error
        # RuntimeError: an archive with a password
        except (OSError, EOFError, zlib.error, lzma.LZMAError, RuntimeError, zipfile.BadZipFile) as error:
            raise LabwrightError(f"{self} can't be read: {sentence(str(error))}") from error


def opened(path: Path | Source, encoding: str | None = None, remarks: list[str] | None = None) -> TextIO:
    """A text file's lines, each ending in \\n; what is packed is unpacked, whatever its name.

    It is UTF-8, or what its byte order mark says, or else in `encoding`, which the setting `task.data.encoding` says.
    With None and a list for `remarks`, text that is plainly Windows' for Western Europe (cp1252) or UTF-16 is read as
    that, with a remark. Raises LabwrightError naming the line that is none of them.
    """
    try:
        wide = len(" ".encode(encoding or "utf-8")) > 1  # UTF-16 and UTF-32, which write no text in ASCII
    except (LookupError, ValueError) as error:
        raise LabwrightError(
            f"task.data.encoding: Python knows no encoding of text {encoding!r}; usual ones are utf-8, cp1252, latin-1."
        ) from error
    source = path if isinstance(path, Source) else Source(path)
    content = source.content()
    marked = next((codec for mark, codec in _MARKS.items() if content.startswith(mark)), None)
    tried = [marked or encoding or "utf-8"]
    # there are encodings that write their letters in seven bits
    if not marked and (not content.isascii() or (wide and b"\0" not in content)):
        tried.insert(0, "utf-8")
    if not marked and encoding is None and remarks is not None:
        likely = _likely(content)
        if likely:
            remarks.append(f"{source} is no UTF-8 and read as {likely}; task.data.encoding says otherwise.")
            return io.TextIOWrapper(io.BytesIO(content), likely)
    fault: UnicodeError | None = None
    place = 0
    for codec in tried:
        fault, place = _fault(content, codec)
        if fault is None:
            return io.TextIOWrapper(io.BytesIO(content), codec)
    line = content.count(b"\n", 0, place) + 1
    settable = encoding is not None or remarks is not None
    hint = "Its first bytes say that it is; it may be cut off" if marked else _hint(content, source, settable)
    if "BOM" in str(fault):
        hint = f"It has no byte order mark: set task.data.encoding to {encoding}-le or {encoding}-be"
    raise LabwrightError(
        f"{source}, line {line}: the byte 0x{content[place]:02x} is no {marked or tried[-1]}. {hint}."
    ) from fault


def sources_of(path: Path, setting: str, suffixes: Sequence[str] = ()) -> list[Source]:
    """The files that a path names: one, those of a pattern such as part-*.csv in their order, or one in an archive.

    An archive by itself is the only file in it that ends as `suffixes` say, or the only one. Raises LabwrightError
    naming the setting if there is none, or one of several has to be named.
    """
    path = path.expanduser()
    if not path.exists():
        archive = next((above for above in path.parents if above.is_file() and zipfile.is_zipfile(above)), None)
        if archive is not None:
            return [_member(archive, path.relative_to(archive).as_posix(), setting)]
        if not set("*?[") & set(path.name):
            raise no_file(path, f"{setting}: there is no file or folder")
        files = [file for file in sorted(path.parent.glob(path.name)) if file.is_file()]
        if not files:
            raise LabwrightError(f"{setting}: no file is called as {str(path)!r} says.")
        return [source for file in files for source in sources_of(file, setting, suffixes)]
    if path.suffix.lower() != ".zip" or not path.is_file():
        return [Source(path)]
    inside = members(path)
    chosen = [source for source in inside if source.suffix in suffixes] or inside
    if len(chosen) != 1:
        some = listed([source.member for source in chosen[:8]] or ["no file"])
        raise LabwrightError(
            f"{setting}: {path} has {some}{' and others' if len(chosen) > 8 else ''}. Name one, such as {setting}="
            f"{path}/{chosen[0].member if chosen else 'rows.csv'}."
        )
    return chosen


def members(archive: Path) -> list[Source]:
    """The files in a zip archive, without hidden ones. Raises LabwrightError if it is none."""
    try:
        with zipfile.ZipFile(archive) as opened_archive:
            names = sorted(set(opened_archive.namelist()))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise LabwrightError(f"{archive} can't be read as a zip archive: {sentence(str(error))}") from error
    hidden = re.compile(r"(^|/)(\.|__MACOSX/)")
    return [Source(archive, name) for name in names if not name.endswith("/") and not hidden.search(name)]


def no_file(path: Path, there_is_none: str = "there is no file") -> LabwrightError:
    """That there is no such file, with the nearest name beside it."""
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    return LabwrightError(f"{there_is_none} {located(path)}{nearest(path.name, beside)}")


def _member(archive: Path, name: str, setting: str) -> Source:
    inside = {source.member: source for source in members(archive)}
    if name not in inside:
        raise LabwrightError(
            f"{setting}: {archive} has no file {name!r}{nearest(name, inside)} It has {listed(sorted(inside)[:8])}."
        )
    return inside[name]


class _NoZstandard(Exception):
    """There is nothing that unpacks Zstandard."""


def _unzstd(packed: bytes) -> bytes:
    if find_spec("zstandard") is not None:
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True) as stream:
            return bytes(stream.read())
    if find_spec("pyarrow") is None:
        raise _NoZstandard
    import pyarrow

    with pyarrow.input_stream(pyarrow.py_buffer(packed), compression="zstd") as stream:
        return bytes(stream.read())


_UNPACKED: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\x28\xb5\x2f\xfd": _unzstd,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}


def _fault(content: bytes, codec: str) -> tuple[UnicodeError | None, int]:
    """Why bytes aren't in an encoding, and the place of the first that isn't."""
    # as it will be read: unlike `decode` this asks UTF-16 for its byte order mark
    decoder = codecs.getincrementaldecoder(codec)()
    for start in range(0, max(len(content), 1), _CHECKED):
        piece = content[start : start + _CHECKED]
        kept = len(decoder.getstate()[0])  # bytes of the piece before, of a letter that was cut
        try:
            decoder.decode(piece, start + _CHECKED >= len(content))
        except UnicodeError as error:
            within = error.start if isinstance(error, UnicodeDecodeError) else 0
            return error, max(0, start - kept + within)
    return None, 0


def _likely(content: bytes) -> str | None:
    """The encoding of text that is no UTF-8, if it is plain: UTF-16 has a zero in every second byte of ASCII letters,
    and Western Europe's has few letters with marks, of which three don't stand together.
    """
    some = content[: _CHECKED & ~1]
    if b"\0" in some:
        for codec, zeros, others in (("utf-16-le", some[1::2], some[::2]), ("utf-16-be", some[::2], some[1::2])):
            if zeros.count(0) > len(zeros) * 0.6 and not others.count(0) and _fault(content, codec)[0] is None:
                return codec
        return None
    if content.isascii() or _fault(content, "utf-8")[0] is None or _fault(content, "cp1252")[0] is not None:
        return None
    text = content.decode("cp1252")
    marked = re.findall("[^\0-\x7f]+", text)
    letters = sum(letter.isalpha() for run in marked for letter in run)
    runs = [run for run in marked if sum(letter.isalpha() for letter in run) > 2]
    western = all(_WESTERN.fullmatch(run) for run in marked)
    plain = letters <= _FEW * len(re.findall("[A-Za-z]", text)) and not runs
    return "cp1252" if western and plain and not _mostly_utf_8(content) else None


def _mostly_utf_8(content: bytes) -> int:
    """How many places aren't UTF-8, if the rest has more letters beyond ASCII; 0 if it hasn't."""
    as_utf_8 = content.decode("utf-8", "replace")
    broken = as_utf_8.count("\ufffd")
    return broken if len(re.findall("[^\0-\x7f]", as_utf_8)) > 2 * broken else 0


def _hint(content: bytes, source: Source, settable: bool) -> str:
    """What to do about bytes that are no text."""
    if b"\0" in content:
        return "It seems to be no text; a spreadsheet or a document is saved as text first, a table as .csv"
    broken = _mostly_utf_8(content)
    if broken:
        return f"The rest of it is UTF-8: mend the {broken:,} places that aren't"
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        likely = "what it is in, such as gbk, shift_jis or cp1251"
        return f"Set task.data.encoding to {likely}" if settable else "Convert it to UTF-8"
    if not settable:
        return f"It may be cp1252: convert it by `iconv -f CP1252 -t UTF-8 {source.path.name}`"
    return "Set task.data.encoding to what it is in, such as cp1252"
