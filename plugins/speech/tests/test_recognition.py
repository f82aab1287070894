"""The task: error rates, batches of like length, training, searching, resuming, what a report shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import pytest
import soundfile
import torch
from labwright import Audio, Batch, LabwrightError
from labwright.cli import main
from labwright_speech.data.manifest import ManifestTranscripts
from labwright_speech.data.synthetic import SpokenPhrases, SpokenWords
from labwright_speech.losses import CTC
from labwright_speech.ports import Transcript, ended
from labwright_speech.recognition import ErrorRate, Recognition
from labwright_testing.verify_resume import verify_resume
from torch import Tensor

Sing = Callable[..., Path]
SMALL = [
    'task.data.words=["one", "two", "five"]',
    "task.data.phrases=4",
    "task.data.longest=2",
    "model.width=32",
    "model.layers=1",
    "model.channels=8",
    "train.epochs=25",
    "log=[]",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lw.Run:
    """25 epochs over 192 phrases of up to two of three words."""
    pytest.importorskip("espeakng_loader", reason="needs the extra synth")
    torch.set_num_threads(1)
    return lw.Experiment.from_recipe("speech/phrases", SMALL).run(tmp_path_factory.mktemp("runs") / "run")


def answer(args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["labwright", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return captured.out


def test_error_rates_are_those_counted_by_hand() -> None:
    true = ["ONE TWO THREE", "FOUR", "FIVE SIX"]
    found = ["ONE TOO THREE", "FOUR FOUR", "SIX"]
    # one word mistaken, one put in, one left out of six; letters: W as O, " FOUR" put in, "FIVE " left out of 25
    words, letters = ErrorRate(), ErrorRate(characters=True)
    for metric in (words, letters):
        metric.update(found[:2], true[:2])
        metric.update(found[2:], true[2:])
    assert words.compute() == pytest.approx(3 / 6)
    assert letters.compute() == pytest.approx((1 + 5 + 5) / 25)
    words.reset()
    words.update([""], ["ONE TWO"])
    assert words.compute() == 1.0


@pytest.mark.long
def test_it_learns_what_is_said(run: lw.Run) -> None:
    assert run.metrics["test"]["cer"] < 0.5  # a recogniser that says nothing has 1
    assert run.metrics["test"]["cer"] < 0.4


def test_training_batches_hold_each_recording_once_and_are_of_like_length() -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra synth")
    task = lw.Experiment.from_recipe("speech/phrases", SMALL).prepared()

    def lengths(epoch: int, start: int = 0) -> list[torch.Tensor]:
        batches = task.batches("train", size=8, seed=3, epoch=epoch, start=start)
        assert batches is not None
        return [batch.inputs[1] for batch in batches]

    split = task.data.split("train")
    assert split is not None
    whole = lengths(0)
    everything = split.fetch(torch.arange(len(split)), 0, 3).inputs[1]
    assert torch.cat(whole).sort().values.tolist() == everything.sort().values.tolist()
    assert [one.tolist() for one in lengths(0, start=5)] == [one.tolist() for one in whole[5:]]
    assert [one.tolist() for one in lengths(1)] != [one.tolist() for one in whole]
    filled = sum(float(one.sum()) for one in whole) / sum(len(one) * int(one.max()) for one in whole)
    assert filled > 0.85
    valid = task.batches("test", size=8, seed=3, epoch=0)
    assert valid is not None
    first = next(iter(valid))
    test = task.data.split("test")
    assert isinstance(first, Batch) and test is not None
    assert torch.equal(first.inputs[1], test.fetch(torch.arange(8), 0, 0).inputs[1])


@pytest.mark.long
def test_files_are_written_down_alike_and_a_search_is_a_setting(
    run: lw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = run.task.data.split("test")
    assert split is not None
    batch = split.fetch(torch.tensor([0]), 0, 0)
    soundfile.write(tmp_path / "x.wav", batch.inputs[0][0].numpy(), 8000, subtype="FLOAT")
    with torch.no_grad():
        (expected,) = run.task.evaluate(run.model.eval(), batch)[0]
    out = answer(["predict", str(run.folder), str(tmp_path / "x.wav")], capsys, monkeypatch)
    assert out.rstrip("\n") == f"{tmp_path / 'x.wav'}\t{expected}"
    search = ["--set", "task.beam=8", "--set", "task.lm_weight=0.8", "--set", "task.lm_bonus=0.5"]
    out = answer(["predict", str(run.folder), str(tmp_path / "x.wav"), *search], capsys, monkeypatch)
    assert out.startswith(f"{tmp_path / 'x.wav'}\t") and set(out.rpartition("\t")[2].strip()) <= set(" EFINOTVW")


@pytest.mark.long
def test_a_report_shows_the_hardest_recordings_and_what_was_mistaken(run: lw.Run) -> None:
    sections = run.task.report(run.model, "test", torch.device("cpu"))
    pictures, sounds, errors, confusions = sections
    assert [section.title for section in (pictures, errors)] == ["Spectrograms", "Transcripts with errors"]
    assert isinstance(sounds, lw.Sounds) and isinstance(errors, lw.Table) and isinstance(confusions, lw.Table)
    assert sounds.sample_rate == 8000 and len(sounds.waveforms) == 6
    assert errors.rows[0][0] == sounds.captions[0]  # the hardest comes first
    split = run.task.data.split("test")
    assert split is not None
    said = split.fetch(torch.arange(len(split)), 0, 0).inputs
    assert any(torch.equal(sounds.waveforms[0], x_T[:length]) for x_T, length in zip(*said, strict=True))
    assert all(wrong for *_, wrong in errors.rows)
    assert sum(count for *_, count in confusions.rows) == sum(wrong for *_, wrong in errors.rows)
    assert list(run.task.report(run.model, "nothing", torch.device("cpu"))) == []


@pytest.mark.slow
@pytest.mark.long
def test_a_resumed_run_is_the_uninterrupted_one(run: lw.Run) -> None:
    settings = [*SMALL, "task.data.shift=0.05", "train.batch_size=32"]
    verdict = verify_resume(lw.Experiment.from_recipe("speech/phrases", settings), 4)
    assert verdict.exact, verdict


def test_floors_are_what_can_be_said_of_every_recording(sing: Sing, tmp_path: Path) -> None:
    said = {"train": ["no", "no", "yes yes", "yes no yes"], "test": ["no", "yes yes"]}
    rows = ["path,text,split"]
    for split, texts in said.items():
        for number, text in enumerate(texts):
            sing(f"{split}{number}.wav", seconds=1.0)
            rows.append(f"{split}{number}.wav,{text},{split}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    task = Recognition(ManifestTranscripts(manifest=tmp_path / "rows.csv", split="split", rate=8000, valid=0.0))
    task.prepare()
    floors = task.floors("test")
    assert floors["an empty transcript"] == {"wer": 1.0, "cer": 1.0}
    # "no" twice as often as others, "yes" four times: of three words said two are wrong, or two
    assert floors["the most frequent transcript"]["wer"] == pytest.approx(2 / 3)
    assert floors["the most frequent word"]["wer"] == pytest.approx(2 / 3)
    assert task.floors("valid") == {}


def test_data_of_another_kind_is_refused() -> None:
    with pytest.raises(LabwrightError, match=r"recognition needs transcripts; SpokenWords has targets Classes"):
        Recognition(SpokenWords())


def test_a_language_model_without_a_search_is_refused() -> None:
    with pytest.raises(LabwrightError, match=r"task\.lm_weight: .*set task\.beam too"):
        Recognition(SpokenPhrases(), lm_weight=0.5)
    with pytest.raises(LabwrightError, match=r"task\.lm_bonus: .*set task\.beam too"):
        Recognition(SpokenPhrases(), lm_bonus=0.5)


class Frames(torch.nn.Module):
    """A linear layer over each hundredth of a second, in double precision."""

    def __init__(self, inputs: Audio, outputs: Transcript) -> None:
        super().__init__()
        self.hop = inputs.sample_rate // 100
        self.layer = torch.nn.Linear(self.hop, 1 + len(outputs.alphabet)).double()

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        over = -x_BT.shape[1] % self.hop
        x_BFH = torch.nn.functional.pad(x_BT, (0, over)).unflatten(1, (-1, self.hop)).double()
        return ended(self.layer(x_BFH).log_softmax(2), lengths_B // self.hop)


def test_accumulating_is_the_same_training_though_batches_are_of_like_length(sing: Sing, tmp_path: Path) -> None:
    rows = []
    for number in range(22):
        sing(f"{number}.wav", hertz=200 + 30 * number, seconds=0.3 + 0.03 * (7 * number % 22))
        rows.append({"path": f"{number}.wav", "text": "abc"[number % 3] * (1 + number % 2) + "ab"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def weights(accumulate: int) -> Tensor:
        data = ManifestTranscripts(manifest=tmp_path / "rows.jsonl", rate=8000, valid=0.0, test=0.0, noise=0.1)
        experiment = lw.Experiment(
            task=Recognition(data),
            model=Frames,
            loss=CTC(),
            optimizer={"name": "sgd", "lr": 0.1},
            device={"name": "cpu", "accumulate": accumulate},
            train={"steps": 6, "batch_size": 6},
            log=(),
        )
        return experiment.run(tmp_path / f"{accumulate}").model.layer.weight.detach()

    whole = weights(1)
    for accumulate in (2, 3):
        torch.testing.assert_close(weights(accumulate), whole, rtol=1e-12, atol=1e-13)
