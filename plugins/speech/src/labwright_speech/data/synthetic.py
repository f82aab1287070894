"""Speech made at run time by eSpeak NG: digits and short commands, and phrases of them. No files, no downloads."""

from __future__ import annotations

from dataclasses import astuple
from typing import Annotated

import numpy as np
import torch
from labwright import LabwrightError, generator
from pydantic import Field
from torch import Tensor

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.espeak import Line, spoken
from labwright_speech.data.transcripts import Entry, Transcripts
from labwright_speech.data.waveform import Unusable, check_ratio, resampled
from labwright_speech.data.words import Clips, Words

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

# eSpeak NG's voice variants, whispers and robots left out: one for validation, three to learn from, one for testing.
VOICES = (
    ("m1", "f1", "Alex", "Alicia", "m2"),
    ("f2", "Andy", "Annie", "adam", "belinda"),
    ("m3", "aunty", "benjamin", "boris", "f3"),
    ("caleb", "david", "ed", "f4", "edward"),
    ("m4", "linda", "Gene", "grandma", "grandpa"),
    ("gustave", "steph", "Hugo", "m5", "ian"),
    ("iven", "Jacky", "john", "Lee", "shelby"),
    ("m6", "Marco", "Mario", "max", "f5"),
    ("Michael", "michel", "miguel", "m7", "Mike"),
    ("pablo", "paul", "pedro", "quincy", "m8"),
    ("rob", "robert", "sandro", "norbert", "travis"),
    ("victor", "zac", "antonio", "marcelo", "Andrea"),
)
_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc")
_PACES = (130, 210)  # words per minute
_PITCHES = (35, 66)
_SILENT = 0.01  # of the loudest sample: before and behind it a word is cut

Rate = Annotated[int, Field(ge=4000, le=48_000, description="samples per second that recordings are resampled to.")]
LICENCE = "GPL-3.0 (eSpeak NG); the speech itself is nobody's"


class SpokenWords(Words):
    """Single words, said by each of 60 voices, in an accent, at a pace and a pitch drawn for it.

    12 voices are heard in the test part alone. Everything follows from the words and from `takes`. Needs the extra
    `synth`, espeakng-loader.

    Args:
        words: the words, which are the classes.
        takes: how often each voice says each word.
        valid: whether 12 voices are heard in the validation part alone; else they are in the training part.
    """

    source = "eSpeak NG, at run time"
    licence = LICENCE

    def __init__(
        self,
        *,
        words: Annotated[tuple[str, ...], Field(min_length=2)] = DIGITS + COMMANDS,
        takes: Annotated[int, Field(ge=1, le=50)] = 2,
        valid: bool = True,
        rate: Rate = 8000,
        seconds: Annotated[float, Field(ge=0.05, le=10)] = 0.8,
        speed: Speed = 0.0,
        shift: Shift = 0.0,
        noise: Noise = 0.0,
    ) -> None:
        super().__init__()
        self.words, self.takes, self.valid, self.rate, self.seconds = words, takes, valid, rate, seconds
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        if len(set(self.words)) < len(self.words):
            raise LabwrightError(f"task.data.words: a word stands there twice, given {list(self.words)}.")
        texts = {
            part: [word for _ in voices for word in self.words * self.takes] for part, voices in _voices(self.valid)
        }
        sounds = _sounds(texts, self.takes * len(self.words), self.valid, self.rate)
        clips = {
            part: Clips(waves, [len(x_T) for x_T in waves], texts[part], identities)
            for part, (waves, identities) in sounds.items()
        }
        self._take(clips, "speech/synthetic")


class SpokenPhrases(Transcripts):
    """Phrases of some words, said by each of 60 voices, with transcripts in capital letters.

    Voices and parts are as in speech/synthetic. Needs the extra `synth`, espeakng-loader.

    Args:
        words: the words that phrases are made of.
        phrases: how many phrases each voice says.
        longest: most words of a phrase; lengths from 1 on are equally frequent.
        valid: whether 12 voices are heard in the validation part alone; else they are in the training part.
    """

    source = "eSpeak NG, at run time"
    licence = LICENCE

    def __init__(
        self,
        *,
        words: Annotated[tuple[str, ...], Field(min_length=2)] = DIGITS,
        phrases: Annotated[int, Field(ge=1, le=1000)] = 10,
        longest: Annotated[int, Field(ge=1, le=20)] = 3,
        valid: bool = True,
        rate: Rate = 8000,
        speed: Speed = 0.0,
        shift: Shift = 0.0,
        noise: Noise = 0.0,
    ) -> None:
        super().__init__()
        self.words, self.phrases, self.longest, self.valid = words, phrases, longest, valid
        self.rate, self.alphabet = rate, None
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        texts = {
            part: [self._phrase(voice, number) for voice in voices for number in range(self.phrases)]
            for part, voices in _voices(self.valid)
        }
        sounds = _sounds(texts, self.phrases, self.valid, self.rate)
        self._take(
            {
                part: (
                    waves,
                    [
                        Entry(len(x_T), text.upper(), f"phrase {number}", part, identity)
                        for number, (x_T, text, identity) in enumerate(zip(waves, texts[part], identities, strict=True))
                    ],
                )
                for part, (waves, identities) in sounds.items()
            }
        )

    def _phrase(self, voice: str, number: int) -> str:
        random = generator(*voice.encode(), number, 1)
        length = int(torch.randint(1, self.longest + 1, (), generator=random))
        places = torch.randint(len(self.words), (length,), generator=random)
        return " ".join(self.words[place] for place in places.tolist())


def _voices(valid: bool) -> list[tuple[str, list[str]]]:
    """The voices of each part."""
    groups = {
        "train": [voice for five in VOICES for voice in five[1:4]],
        "valid": [five[0] for five in VOICES],
        "test": [five[4] for five in VOICES],
    }
    if not valid:
        groups["train"] += groups.pop("valid")
    return list(groups.items())


def _sounds(
    texts: dict[str, list[str]], each: int, valid: bool, rate: int
) -> dict[str, tuple[list[Tensor], list[str]]]:
    """The waveforms of texts, `each` of them by every voice of a part, and what was asked for to get them.

    That is their identity: two machines' eSpeak NG may differ in a sample.
    """
    lines = {
        part: [_line(text, voices[place // each], place % each) for place, text in enumerate(texts[part])]
        for part, voices in _voices(valid)
    }
    samples, own = spoken([line for some in lines.values() for line in some])
    try:
        check_ratio(own, rate)
    except Unusable as error:
        raise LabwrightError(f"eSpeak NG's speech {error}.") from error
    heard = iter(samples)
    sounds = {}
    for part, some in lines.items():
        waves = []
        for line in some:
            spoken_T = next(heard)
            if not spoken_T.any():
                raise LabwrightError(f"task.data.words: eSpeak NG says nothing for {line.text!r}. Take it away.")
            waves.append(resampled(_cut(spoken_T), own, rate))
        sounds[part] = waves, ["\t".join(map(str, (*astuple(line), rate))) for line in some]
    return sounds


def _line(text: str, variant: str, number: int) -> Line:
    random = generator(*variant.encode(), number, 2)
    accent, pace, pitch = (
        int(torch.randint(low, high, (), generator=random)) for low, high in ((0, len(_ACCENTS)), _PACES, _PITCHES)
    )
    return Line(text, f"{_ACCENTS[accent]}+{variant}", pace, pitch)


def _cut(samples: np.ndarray) -> Tensor:
    """A waveform without the silence around it."""
    x_T = torch.from_numpy(samples.astype(np.float32) / 32768)
    loud = (x_T.abs() > _SILENT * x_T.abs().max()).nonzero()
    return x_T[int(loud[0]) : int(loud[-1]) + 1]
