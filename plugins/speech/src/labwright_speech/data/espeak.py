"""Speech from eSpeak NG, through ctypes, at run time: the package espeakng-loader has the library and its voices."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from importlib.util import find_spec

import numpy as np
from labwright import LabwrightError

_SYNCHRONOUS = 2  # speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_CHARACTERS_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_COUNT = struct.Struct("<i")


@dataclass(frozen=True)
class Line:
    """What is to be said: by a voice such as "en-us+f2", at so many words per minute, at a pitch of 0..100."""

    text: str
    voice: str
    pace: int = 175
    pitch: int = 50


def spoken(lines: Iterable[Line]) -> tuple[list[np.ndarray], int]:
    """The lines as 16-bit samples, and how many a second has; the same for the same lines.

    Raises LabwrightError if espeakng-loader isn't there, or lacks a voice.
    """
    if find_spec("espeakng_loader") is None:
        raise LabwrightError(
            "this speech is made by eSpeak NG: `pip install 'labwright-speech[synth]'` brings it (GPL-3)."
        )
    # In a process of its own: the library keeps its state in globals, and what it says depends on what it said before.
    # It reads memory it never wrote, too, which glibc fills with the same byte each time if it is asked to.
    ended = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps([astuple(line) for line in lines]).encode(),
        capture_output=True,
        env=os.environ | {"MALLOC_PERTURB_": "85"},
        check=False,
    )
    if ended.returncode:
        raise LabwrightError(ended.stderr.decode(errors="replace").strip() or "eSpeak NG ended without a word.")
    (rate,) = _COUNT.unpack_from(ended.stdout)
    waves, place = [], _COUNT.size
    while place < len(ended.stdout):
        (count,) = _COUNT.unpack_from(ended.stdout, place)
        waves.append(np.frombuffer(ended.stdout, "<i2", count, place + _COUNT.size))
        place += _COUNT.size + 2 * count
    return waves, rate


def _say(lines: Iterable[Line]) -> Iterable[bytes]:
    """The sample rate as 4 bytes; then of each line the number of its samples, 4 bytes, and the samples."""
    import espeakng_loader

    pieces: list[bytes] = []

    def take(samples: ctypes._Pointer[ctypes.c_short] | None, count: int, events: object) -> int:  # noqa: ARG001
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Callback(take)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _DO_NOT_EXIT)
    if rate <= 0:
        sys.exit("eSpeak NG found no voices: install espeakng-loader again.")
    library.espeak_SetSynthCallback(callback)
    yield _COUNT.pack(rate)
    for line in lines:
        pieces.clear()
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath and flutter
        if library.espeak_SetVoiceByName(line.voice.encode()):
            sys.exit(f"eSpeak NG has no voice {line.voice!r}.")
        library.espeak_SetParameter(_RATE, line.pace, 0)
        library.espeak_SetParameter(_PITCH, line.pitch, 0)
        text = line.text.encode() + b"\0"
        library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, _CHARACTERS_UTF8, None, None)
        library.espeak_Synchronize()
        samples = b"".join(pieces)
        yield _COUNT.pack(len(samples) // 2) + samples


if __name__ == "__main__":
    for part in _say(Line(*fields) for fields in json.load(sys.stdin)):
        sys.stdout.buffer.write(part)
