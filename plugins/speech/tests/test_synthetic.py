"""Speech made at run time: the same each time, voices apart, longer words longer."""

from __future__ import annotations

from pathlib import Path

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import Audio, Classes, LabwrightError
from labwright_speech.data import espeak
from labwright_speech.data.espeak import Line, spoken
from labwright_speech.data.synthetic import VOICES, SpokenPhrases, SpokenWords
from labwright_speech.ports import Transcript
from labwright_testing.verify_resume import verify_resume

pytest.importorskip("espeakng_loader", reason="needs the extra synth")


def test_the_same_lines_sound_the_same_whenever_they_are_said() -> None:
    lines = [Line(text, f"en-us+{voice}") for text in ("seven", "stop") for voice in ("f2", "m3", "Andy")]
    first, rate = spoken(lines)
    again, _ = spoken(lines)
    assert rate == 22_050
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_a_slower_pace_takes_longer_and_more_words_too() -> None:
    (slow, fast, more), _ = spoken(
        [
            Line("seven", "en-us", pace=100),
            Line("seven", "en-us", pace=250),
            Line("seven eight nine", "en-us", pace=250),
        ]
    )
    assert len(slow) > 1.3 * len(fast) and len(more) > 1.5 * len(fast)


def test_every_voice_exists_once() -> None:
    voices = [voice for five in VOICES for voice in five]
    assert len(voices) == len(set(voices)) == 60
    sounds, _ = spoken([Line("yes", f"en+{voice}") for voice in voices])
    assert len({one.tobytes() for one in sounds}) == 60  # a variant that isn't there would sound as none
    with pytest.raises(LabwrightError, match="no voice 'xx-none'"):
        spoken([Line("yes", "xx-none")])


def test_words_of_each_voice_and_voices_of_each_part() -> None:
    data = SpokenWords(words=("yes", "no", "stop"), takes=2, rate=8000, seconds=0.5)
    data.prepare()
    assert data.ports() == (Audio(8000, 4000), Classes(("no", "stop", "yes")))
    sizes = {}
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None
        sizes[part] = len(split)
        assert split.labels.bincount().tolist() == [len(split) // 3] * 3
    assert sizes == {"train": 36 * 6, "valid": 12 * 6, "test": 12 * 6}
    train = data.split("train")
    assert train is not None
    x_BT, lengths_B = train.fetch(torch.arange(len(train)), 0, 0).inputs
    assert (lengths_B > 800).all() and (x_BT.abs().amax(1) > 0.05).all()  # nobody is silent
    assert len({row.numpy().tobytes() for row in x_BT}) == len(train)  # the takes differ
    again = SpokenWords(words=("yes", "no", "stop"), takes=2, rate=8000, seconds=0.5, valid=False)
    again.prepare()
    test, same = data.split("test"), again.split("test")
    assert test is not None and same is not None and again.split("valid") is None
    assert torch.equal(test.fetch(torch.arange(9), 0, 0).inputs[0], same.fetch(torch.arange(9), 0, 0).inputs[0])


def test_phrases_have_their_words_as_text() -> None:
    data = SpokenPhrases(words=("one", "two"), phrases=3, longest=2)
    data.prepare()
    port = data.ports()[1]
    assert isinstance(port, Transcript) and port.alphabet == tuple(" ENOTW")
    train, test = data.split("train"), data.split("test")
    assert train is not None and test is not None
    assert len(train) == 108 and set(train.texts) == {"ONE", "TWO", "ONE ONE", "ONE TWO", "TWO ONE", "TWO TWO"}
    assert train.lengths.tolist() == train.fetch(torch.arange(108), 0, 0).inputs[1].tolist()
    short = [length for length, text in zip(train.lengths.tolist(), train.texts, strict=True) if " " not in text]
    long = [length for length, text in zip(train.lengths.tolist(), train.texts, strict=True) if " " in text]
    assert sum(long) / len(long) > 1.4 * sum(short) / len(short)


def test_a_word_given_twice_is_refused() -> None:
    with pytest.raises(LabwrightError, match="a word stands there twice"):
        SpokenWords(words=("yes", "yes")).prepare()


@pytest.mark.parametrize("word", ["", " ", "..."])
def test_a_word_that_cannot_be_said_is_refused(word: str) -> None:
    with pytest.raises(LabwrightError, match=r"task\.data\.words: eSpeak NG says nothing for"):
        SpokenWords(words=("yes", word), takes=1).prepare()


def test_a_rate_of_no_simple_ratio_to_the_synthesisers_is_refused() -> None:
    with pytest.raises(LabwrightError, match=r"22,050 samples per second, .* task\.data\.rate=7919"):
        SpokenWords(words=("yes", "no"), takes=1, rate=7919).prepare()


def test_without_the_synthesiser_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    with pytest.raises(LabwrightError, match=r"pip install 'labwright-speech\[synth\]'"):
        SpokenWords().prepare()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "epochs"),
    [("speech/m5", 8), ("speech/bc-resnet", 10)],
)
def test_three_words_of_strange_voices_are_told_apart(tmp_path: Path, model: str, epochs: int) -> None:
    torch.set_num_threads(1)
    settings = ['task.data.words=["yes", "two", "stop"]', "task.data.seconds=0.5", f"model={model}", "log=[]"]
    run = lw.Experiment.from_recipe("speech/commands", [*settings, f"train.epochs={epochs}"]).run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.long
def test_a_resumed_run_on_augmented_words_is_the_uninterrupted_one() -> None:
    torch.set_num_threads(1)
    settings = ['task.data.words=["yes", "no"]', "task.data.takes=1", "train.batch_size=16"]
    verdict = verify_resume(lw.Experiment.from_recipe("speech/commands", settings), 6)
    assert verdict.exact, verdict


def test_what_was_asked_for_tells_the_samples_apart_and_is_the_same_each_time() -> None:
    def identities(words: tuple[str, ...], takes: int = 1, rate: int = 8000) -> list[str]:
        data = SpokenWords(words=words, takes=takes, rate=rate, valid=False)
        data.prepare()
        split = data.split("test")
        assert split is not None and len(list(data.identity("test") or ())) == len(split)
        return list(data.identity("test") or ())

    first = identities(("yes", "no"))
    assert first == identities(("yes", "no")) and len(set(first)) == len(first) == 24
    for other in (
        identities(("yes", "on")),
        identities(("yes", "no"), takes=2),
        identities(("yes", "no"), rate=16_000),
    ):
        assert other != first
    phrases = SpokenPhrases(phrases=1, valid=False)
    phrases.prepare()
    assert len(set(phrases.identity("test") or ())) == 12 and phrases.identity("valid") is None
