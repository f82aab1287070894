"""Text files as their lines, in UTF-8 or whatever they are in, gzipped or not."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import TextIO

from labwright import LabwrightError, located, nearest, sentence

_MARKS = {  # byte order marks; UTF-32's before UTF-16's, which it begins with
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_GZIP = b"\x1f\x8b"


def opened(path: Path, encoding: str | None = None) -> TextIO:
    """A text file's lines, each ending in \\n; what is gzipped is unpacked, whatever its name.

    It is UTF-8, or what its byte order mark says, or else in `encoding`, which the setting `task.data.encoding` says;
    None: there is no such setting. Raises LabwrightError naming the line that is none of them.
    """
    try:
        wide = len(" ".encode(encoding or "utf-8")) > 1  # UTF-16 and UTF-32, which write no text in ASCII
    except (LookupError, ValueError) as error:
        raise LabwrightError(
            f"task.data.encoding: Python knows no encoding of text {encoding!r}; usual ones are utf-8, cp1252, latin-1."
        ) from error
    content = _unpacked(path)
    marked = next((codec for mark, codec in _MARKS.items() if content.startswith(mark)), None)
    tried = [marked or encoding or "utf-8"]
    # there are encodings that write their letters in seven bits
    if not marked and (not content.isascii() or (wide and b"\0" not in content)):
        tried.insert(0, "utf-8")
    fault: UnicodeError | None = None
    for codec in tried:
        try:
            # as it will be read: unlike `decode` this asks UTF-16 for its byte order mark
            codecs.getincrementaldecoder(codec)().decode(content, True)
        except UnicodeError as error:
            fault = error
        else:
            return io.TextIOWrapper(io.BytesIO(content), codec)
    start = fault.start if isinstance(fault, UnicodeDecodeError) else 0
    line = content.count(b"\n", 0, start) + 1
    hint = "Its first bytes say that it is; it may be cut off" if marked else _hint(content, path, encoding)
    if "BOM" in str(fault):
        hint = f"It has no byte order mark: set task.data.encoding to {encoding}-le or {encoding}-be"
    raise LabwrightError(
        f"{path}, line {line}: the byte 0x{content[start]:02x} is no {marked or tried[-1]}. {hint}."
    ) from fault


def no_file(path: Path, there_is_none: str = "there is no file") -> LabwrightError:
    """That there is no such file, with the nearest name beside it."""
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    return LabwrightError(f"{there_is_none} {located(path)}{nearest(path.name, beside)}")


def _unpacked(path: Path) -> bytes:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise LabwrightError(f"{path} is a device, a pipe or a socket; write what it gives into a file first.")
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except FileNotFoundError as error:
        raise no_file(path) from error
    except IsADirectoryError as error:
        raise LabwrightError(f"{path} is a folder; give the name of a file in it.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise LabwrightError(f"{path} can't be read: {sentence(str(error))}") from error


def _hint(content: bytes, path: Path, encoding: str | None) -> str:
    """What to do about bytes that are no text."""
    if b"\0" in content:
        return "It seems to be no text; a spreadsheet or a document is saved as text first, a table as .csv"
    as_utf_8 = content.decode("utf-8", "replace")
    broken = as_utf_8.count("\ufffd")
    if sum(not letter.isascii() for letter in as_utf_8) > 2 * broken:
        return f"The rest of it is UTF-8: mend the {broken:,} places that aren't"
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        likely = "what it is in, such as gbk, shift_jis or cp1251"
        return "Convert it to UTF-8" if encoding is None else f"Set task.data.encoding to {likely}"
    if encoding is None:
        return f"It may be cp1252: convert it by `iconv -f CP1252 -t UTF-8 {path.name}`"
    return "Set task.data.encoding to what it is in, such as cp1252"
