"""What labwright-speech brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_speech"
    data, models = f"{here}.data", f"{here}.models"
    yield lw.Component("task", "speech/recognition", f"{here}.recognition:Recognition", "the text of what was said")
    yield lw.Component("loss", "speech/ctc", f"{here}.losses:CTC", "connectionist temporal classification")
    yield lw.Component(
        "data", "speech/synthetic", f"{data}.synthetic:SpokenWords", "digits and commands by eSpeak NG, at run time"
    )
    yield lw.Component(
        "data", "speech/synthetic-phrases", f"{data}.synthetic:SpokenPhrases", "phrases by eSpeak NG, with transcripts"
    )
    yield lw.Component(
        "data", "speech/folder", f"{data}.folder:RecordingFolder", "your own recordings of words, a folder per class"
    )
    yield lw.Component(
        "data", "speech/manifest", f"{data}.manifest:ManifestTranscripts", "recordings and transcripts in a table"
    )
    yield lw.Component(
        "data", "speech/manifest-words", f"{data}.manifest:ManifestWords", "recordings and classes in a table"
    )
    yield lw.Component("data", "speech/yesno", f"{data}.yesno:YesNo", "YESNO: yes and no in Hebrew, from a folder")
    yield lw.Component("model", "speech/m5", f"{models}.m5:M5", "convolutions over the waveform, to classes")
    yield lw.Component(
        "model", "speech/bc-resnet", f"{models}.bc_resnet:BCResNet", "small residual network over spectra, to classes"
    )
    yield lw.Component("model", "speech/crnn", f"{models}.crnn:CRNN", "convolutions and GRUs, to transcripts")
    yield lw.Component("model", "speech/conformer", f"{models}.conformer:Conformer", "torchaudio's, to transcripts")
    recordings = "labwright_speech.suggesting:class_recordings"
    yield lw.Component("suggester", "speech/class-recordings", recordings, "recordings in a sub-folder for each class")


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    yield lw.Recipe("speech/commands", folder / "commands.toml", "words of a synthesiser, told apart offline")
    yield lw.Recipe("speech/phrases", folder / "phrases.toml", "phrases of a synthesiser, written down offline")
    yield lw.Recipe("speech/fsdd", folder / "fsdd.toml", "spoken digits of six people")
    yield lw.Recipe("speech/an4", folder / "an4.toml", "spelled words and numbers, written down from scratch")
