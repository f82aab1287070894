"""Speech from eSpeak NG, through ctypes, at run time: the package espeakng-loader has the library and its voices."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np
from labwright.errors import LabwrightError

_SYNCHRONOUS = 2  # speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_CHARACTERS_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_alone = Lock()  # the library keeps its state in globals


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
    import espeakng_loader

    pieces: list[np.ndarray] = []

    def take(samples: ctypes._Pointer[ctypes.c_short] | None, count: int, events: object) -> int:  # noqa: ARG001 - its form
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(take)
    found = []
    with _alone, TemporaryDirectory(prefix="labwright-") as scratch:
        # a copy is loaded anew: what an instance has said before changes what it says next
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), scratch))
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _DO_NOT_EXIT)
        if rate <= 0:
            raise LabwrightError("eSpeak NG found no voices: install espeakng-loader again.")
        try:
            library.espeak_SetSynthCallback(callback)
            for line in lines:
                pieces.clear()
                library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath and flutter
                if library.espeak_SetVoiceByName(line.voice.encode()):
                    raise LabwrightError(f"eSpeak NG has no voice {line.voice!r}.")
                library.espeak_SetParameter(_RATE, line.pace, 0)
                library.espeak_SetParameter(_PITCH, line.pitch, 0)
                text = line.text.encode() + b"\0"
                library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, _CHARACTERS_UTF8, None, None)
                library.espeak_Synchronize()
                found.append(np.concatenate(pieces) if pieces else np.zeros(0, np.int16))
        finally:
            library.espeak_Terminate()
    return found, rate
