"""What check-data says of recordings: faults that were put in are found, and those alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from labwright import Finding
from labwright_speech.data.folder import RecordingFolder
from labwright_speech.data.manifest import ManifestTranscripts
from labwright_speech.data.waveform import sample_rate
from labwright_tasks.checking.look import look


def noise(seconds: float, rate: int, seed: int, loud: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, loud, round(seconds * rate)).astype(np.float32)


def folder_of(path: Path, odd: Mapping[int, tuple[np.ndarray, int]]) -> RecordingFolder:
    """80 recordings of about half a second at 16,000 samples a second, `odd` ones by their numbers instead."""
    for number in range(80):
        wave, rate = odd.get(number, (noise(0.4 + 0.2 * (number % 10) / 10, 16_000, number), 16_000))
        place = path / ("yes", "no")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{number}.wav", wave, rate)
    data = RecordingFolder(folder=path, rate=16_000, seconds=0.7, valid=0.1, test=0.1)
    data.prepare()
    return data


def numbers(data: RecordingFolder, finding: Finding) -> set[int]:
    return {int(Path(data.place(*place)).stem) for place in finding.samples}


def test_nothing_is_odd_about_sound_recordings(tmp_path: Path) -> None:
    assert folder_of(tmp_path, {}).checks() == []


def test_recordings_that_are_silent_clipped_of_odd_length_or_rate_are_found_and_no_others(tmp_path: Path) -> None:
    odd = {
        3: (np.zeros(8000, np.float32), 16_000),
        10: (noise(0.5, 16_000, 1, loud=2.0).clip(-1, 1), 16_000),
        21: (noise(6.0, 16_000, 2), 16_000),
        22: (noise(0.05, 16_000, 3), 16_000),
        40: (noise(0.5, 8_000, 4), 8_000),
        41: (noise(0.5, 8_000, 5), 8_000),
    }
    data = folder_of(tmp_path, odd)
    found = look(data, most=10_000, seed=0, say=str).findings
    told = {finding.sentence.split(",")[0].split(" (")[0]: numbers(data, finding) for finding in found}
    assert told["1 recordings that are silent"] == {3}
    assert told["1 recordings that are clipped"] == {10}
    assert told["1 recordings shorter than 0.1 s."] == {22}
    assert told["2 recordings are of odd length"] == {21, 22}
    assert told["2 recordings have fewer samples a second than task.data.rate=16000"] == {40, 41}
    (rates,) = [finding for finding in found if "fewer samples" in finding.sentence]
    assert "(8,000 of 2, 16,000 of 78)" in rates.sentence and "task.data.rate=8000 makes all alike" in rates.sentence


def test_a_rate_higher_than_all_recordings_have_is_told_without_naming_each(tmp_path: Path) -> None:
    low = {number: (noise(0.5, 8_000, number), 8_000) for number in range(80)}
    (rates,) = folder_of(tmp_path, low).checks()
    assert rates.samples == () and "task.data.rate=16000: 8000 loses nothing." in rates.sentence


def test_transcripts_of_other_recordings_are_found(tmp_path: Path) -> None:
    rows = ["path,text"]
    for number in range(60):
        seconds = 1 + number % 7
        soundfile.write(tmp_path / f"{number}.wav", noise(seconds, 8_000, number), 8_000)
        said = seconds if number not in (14, 20) else 8 - seconds  # 1 second has 7 seconds' text, 7 have 1's
        rows.append(f"{number}.wav,{' '.join(['he said no'] * said)}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    data = ManifestTranscripts(manifest=tmp_path / "rows.csv", rate=8_000, valid=0.0, test=0.0)
    data.prepare()
    (speed,) = data.checks()
    assert {Path(data.place(*place)).stem for place in speed.samples} == {"14", "20"}
    assert "2 transcripts don't suit the length" in speed.sentence


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_the_rate_is_that_of_the_file_or_of_its_content(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.flac", noise(0.1, rate, 0), rate)
    assert sample_rate(tmp_path / "x.flac") == sample_rate((tmp_path / "x.flac").read_bytes()) == rate
