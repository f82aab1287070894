"""Token files: windows of any file at any place, each once, resumed exactly, and files that texts are written to."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import labwright as lw
import labwright_nlp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright import LEFT_OUT, LabwrightError
from labwright_nlp.data.corpus import Windows
from labwright_nlp.data.token_files import About, FileWindows, Piece, TokenFiles
from labwright_nlp.tokenizing import learned
from labwright_tasks.language_model import LanguageModel
from labwright_testing.verify_resume import verify_resume

VOCABULARY = 50


def made(folder: Path, *, about: dict[str, Any] | None = None, **files: int) -> Path:
    """A folder with token files of these lengths; `_` in a name is `-` in the file's."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    for name, length in files.items():
        ids = chance.integers(0, VOCABULARY, length)
        if name.startswith("npy_"):
            np.save(folder / f"{name[4:].replace('_', '-')}.npy", ids)
        else:
            ids.astype(np.uint16).tofile(folder / f"{name.replace('_', '-')}.bin")
    (folder / "tokens.json").write_text(json.dumps(about or {"vocab_size": VOCABULARY, "dtype": "uint16"}))
    return folder


def prepared(folder: Path, **settings: Any) -> TokenFiles:
    data = TokenFiles(path=folder, **{"context": 16, **settings})
    data.prepare()
    return data


def test_windows_of_one_file_are_those_of_the_same_text_in_memory(tmp_path: Path) -> None:
    """`Windows` of nlp/plain-text is the origin: same windows, same offsets, same short one at the end."""
    data = prepared(made(tmp_path, train=500, val=123), valid=0.0)
    for name, moving in (("train", True), ("valid", False)):
        split = data.split(name)
        file = tmp_path / ("train.bin" if moving else "val.bin")
        windows = Windows(np.fromfile(file, np.uint16).astype(np.int32), None, 16, 0, moving=moving)
        assert split is not None and len(split) == len(windows)
        for epoch in range(3):
            for some in torch.randperm(len(split)).split(7):
                ours, theirs = split.fetch(some, epoch, 5), windows.fetch(some, epoch, 5)
                assert torch.equal(ours.inputs[0], theirs.inputs[0]) and torch.equal(ours.targets, theirs.targets)
                assert torch.equal(ours.inputs[1], theirs.inputs[1]) and ours.tokens == theirs.tokens


@given(
    lengths=st.lists(st.integers(18, 200), min_size=1, max_size=5),
    window=st.integers(1, 6),
    size=st.integers(1, 40),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_an_epoch_has_each_window_once_wherever_it_begins(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    window: int,
    size: int,
    seed: int,
    data: st.DataObject,
) -> None:
    folder = made(tmp_path_factory.mktemp("tokens"), **{f"train_{n}": length for n, length in enumerate(lengths)})
    task = LanguageModel(TokenFiles(path=folder, context=16, valid=0.0, window=window))
    task.prepare()
    whole = task.batches("train", size=size, seed=seed, epoch=1)
    assert whole is not None
    assert torch.equal(torch.cat(list(whole.parts)).sort().values, torch.arange(len(whole.split)))
    start = data.draw(st.integers(0, len(whole) - 1))
    rest = task.batches("train", size=size, seed=seed, epoch=1, start=start)
    for resumed, expected in zip(rest or (), list(whole)[start:], strict=True):
        assert torch.equal(resumed.inputs[0], expected.inputs[0]) and torch.equal(resumed.targets, expected.targets)


def test_every_position_of_a_file_occurs_within_some_epochs(tmp_path: Path) -> None:
    split = prepared(made(tmp_path, train=100), valid=0.0).split("train")
    assert split is not None
    ids = torch.from_numpy(np.fromfile(tmp_path / "train.bin", np.uint16).astype(np.int64))
    begins = set()
    for epoch in range(300):
        batch = split.fetch(torch.arange(len(split)), epoch, 0)
        first = batch.inputs[0][0]
        begins |= {place for place in range(20) if torch.equal(ids[place : place + 16], first)}
    assert set(range(16)) <= begins


def test_shares_are_held_out_at_the_end_of_each_file_and_parts_share_no_token(tmp_path: Path) -> None:
    data = prepared(made(tmp_path, train_0=400, npy_train_1=200), valid=0.2, test=0.1)
    pieces = {name: [(p.path.name, p.begin, p.end) for p in data._splits[name].pieces] for name in data._splits}
    assert pieces["train"] == [("train-0.bin", 0, 280), ("train-1.npy", 0, 140)]
    assert pieces["valid"] == [("train-0.bin", 280, 360), ("train-1.npy", 140, 180)]
    assert pieces["test"] == [("train-0.bin", 360, 400), ("train-1.npy", 180, 200)]
    last = data._splits["test"].fetch(torch.tensor([len(data._splits["test"]) - 1]), 0, 0)
    ids = np.load(tmp_path / "train-1.npy")[180:]
    assert last.inputs[1].tolist() == [3]  # 19 targets: one window of 16 and one of 3
    assert last.targets[0, :3].tolist() == ids[17:20].tolist() and (last.targets[0, 3:] == LEFT_OUT).all()


def test_what_a_worker_is_given_is_small_whatever_the_size_of_the_files(tmp_path: Path) -> None:
    data = prepared(made(tmp_path, train=400_000))
    assert len(pickle.dumps(data)) < 20_000 < (tmp_path / "train.bin").stat().st_size
    again, some = pickle.loads(pickle.dumps(data)), torch.tensor([7, 2])
    assert torch.equal(*(of._splits["train"].fetch(some, 0, 0).inputs[0] for of in (data, again)))


def experiment(folder: Path, workers: int = 0, **data: Any) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "language-model", "data": {"name": "nlp/tokens", "path": str(folder), "context": 16, **data}},
        model={"name": "nlp/gpt", "width": 16, "depth": 1, "heads": 2},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 1e-3},
        device={"name": "cpu", "threads": 1, "workers": workers},
        train={"epochs": 4, "batch_size": 8, "seed": 3},
        log=[],
    )


@pytest.mark.parametrize("stopped", [1, 7, 13])
def test_a_resumed_run_is_the_uninterrupted_one_with_workers_too(tmp_path: Path, stopped: int) -> None:
    verdict = verify_resume(
        experiment(made(tmp_path, train_0=700, train_1=400), workers=stopped % 2, window=1), stopped
    )
    assert verdict.exact and verdict.stopped_at == stopped


def test_files_are_told_apart_by_name_size_and_some_of_their_tokens(tmp_path: Path) -> None:
    before = list(prepared(made(tmp_path / "a", train=5000)).identity("train"))
    assert list(prepared(made(tmp_path / "b", train=5000)).identity("train")) == before
    assert list(prepared(made(tmp_path / "c", train=5001)).identity("train")) != before
    ids = np.fromfile(tmp_path / "b" / "train.bin", np.uint16)
    (ids[::-1]).tofile(tmp_path / "b" / "train.bin")
    assert list(prepared(tmp_path / "b").identity("train")) != before


def test_texts_written_as_tokens_are_read_back_and_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"the number {number} comes before {number + 1}\n" for number in range(300)]
    tokenizer = learned("bpe", texts, vocabulary=400, pretrained=None)
    (tmp_path / "bpe").mkdir()
    tokenizer.save(tmp_path / "bpe")
    count = labwright_nlp.write_tokens(iter(texts), tmp_path / "tokens", tmp_path / "bpe")
    assert f"train.bin: 300 texts, {count:,} tokens" in capsys.readouterr().err
    assert labwright_nlp.write_tokens(texts[:50], tmp_path / "tokens", tmp_path / "bpe", part="valid", end="<pad>")
    ids = np.fromfile(tmp_path / "tokens" / "train.bin", np.uint16)
    assert len(ids) == count and tokenizer.decode(ids.tolist()) == "".join(texts)
    behind = np.fromfile(tmp_path / "tokens" / "valid.bin", np.uint16)
    assert (behind == 0).sum() == 50 and behind[-1] == 0
    run = experiment(tmp_path / "tokens").run(tmp_path / "run")
    assert run.metrics["valid"]["cross_entropy"] < np.log(400)
    loaded = lw.load(tmp_path / "run")
    (answer,) = loaded.task.predict(loaded.model, loaded.task.parse("the number"), [None])
    assert "".join(answer["continuation"])


def test_files_of_another_tokenizer_of_the_same_size_are_refused(tmp_path: Path) -> None:
    for name in ("one", "other"):
        texts = [f"{name} and {number}" for number in range(300)]
        (tmp_path / name).mkdir()
        learned("bpe", texts, vocabulary=270, pretrained=None).save(tmp_path / name)
    labwright_nlp.write_tokens(texts, tmp_path / "tokens", tmp_path / "one")
    assert labwright_nlp.write_tokens(texts, tmp_path / "tokens", tmp_path / "one", part="valid") > 0
    with pytest.raises(LabwrightError, match="has token files of another tokenizer; write to another folder"):
        labwright_nlp.write_tokens(texts, tmp_path / "tokens", tmp_path / "other", part="test")


def test_other_files_are_read_as_their_own_json_says(tmp_path: Path) -> None:
    data = prepared(made(tmp_path / "a", train=500))
    other = made(tmp_path / "b", about={"vocab_size": VOCABULARY, "dtype": "uint32"})
    ids = np.arange(100) % VOCABULARY
    ids.astype(np.uint32).tofile(other / "test.bin")
    split = data.on(other).split("test")
    assert split is not None
    assert split.fetch(torch.tensor([0]), 0, 0).inputs[0].tolist() == [[*range(16)]]


def test_without_a_tokenizer_prompts_are_numbers(tmp_path: Path) -> None:
    data = prepared(made(tmp_path, train=500))
    assert data.parse("3 7\t9")[0].tolist() == [[3, 7, 9]]
    assert data.show((torch.tensor([[3, 7, 9, 0]]), torch.tensor([3]))) == ["3 7 9"]
    for prompt, message in (("a text", "no row of token ids"), ("3 50", "one beyond 49"), ("", "has no token")):
        with pytest.raises(LabwrightError, match=message):
            data.parse(prompt)


@pytest.mark.parametrize(
    ("files", "about", "message"),
    [
        (
            {"test": 100},
            None,
            r"has no file whose name begins with `train`, or `training` and ends in .* it has test.bin",
        ),
        (
            {"train": 12},
            None,
            r"train.bin has 12 tokens for 'train', and with task.data.context=16 it needs 17 or more",
        ),
        ({"train": 500}, {"dtype": "uint16"}, r"tokens.json: vocab_size: Field required"),
        ({"train": 500}, {"vocab_size": 9, "dtype": "int8"}, r"tokens.json: dtype: .*'uint8', 'uint16' or 'uint32'"),
        (
            {"train": 501},
            {"vocab_size": 9, "dtype": "uint32"},
            r"has 1,002 bytes, no multiple of the 4 of uint32",
        ),
    ],
    ids=["no training file", "too short", "no size", "no type", "torn"],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, files: dict[str, int], about: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(LabwrightError, match=message):
        prepared(made(tmp_path, about=about, **files), valid=0.0)


def test_a_folder_without_its_json_or_that_is_none_is_refused(tmp_path: Path) -> None:
    (made(tmp_path, train=500) / "tokens.json").unlink()
    with pytest.raises(LabwrightError, match=r'has no tokens.json, .*\{"vocab_size": 50257, "dtype": "uint16"\}'):
        prepared(tmp_path)
    with pytest.raises(LabwrightError, match="there is no folder"):
        prepared(tmp_path / "elsewhere")


def test_an_id_beyond_the_vocabulary_is_named_with_its_place(tmp_path: Path) -> None:
    folder = made(tmp_path, train=500)
    ids = np.fromfile(folder / "train.bin", np.uint16)
    ids[333] = 1234
    ids.tofile(folder / "train.bin")
    split = prepared(folder, valid=0.0).split("train")
    assert split is not None
    with pytest.raises(
        LabwrightError, match=r"train.bin, token 333: its id is 1,234, and tokens.json says vocab_size=50"
    ):
        for epoch in range(20):
            split.fetch(torch.arange(len(split)), epoch, 0)


def test_a_file_that_is_cut_while_a_run_is_under_way_is_named(tmp_path: Path) -> None:
    split = prepared(made(tmp_path, train=500), valid=0.0).split("train")
    assert split is not None
    with (tmp_path / "train.bin").open("rb+") as file:
        file.truncate(600)
    with pytest.raises(LabwrightError, match=r"train.bin is shorter than it was when the run began"):
        split.fetch(torch.arange(len(split)), 0, 0)


def test_numbers_beyond_16_bits_are_read_as_they_are(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 2**20, 300)
    for dtype in (np.uint32, np.int64):
        np.save(tmp_path / "train.npy", ids.astype(dtype))
        file = np.load(tmp_path / "train.npy", mmap_mode="r")
        piece = Piece(tmp_path / "train.npy", file.dtype, file.offset, 0, 300)
        split = FileWindows([piece], About(vocab_size=2**20), 299, 1, moving=False)
        assert split.fetch(torch.tensor([0]), 0, 0).inputs[0][0].tolist() == ids[:-1].tolist()
