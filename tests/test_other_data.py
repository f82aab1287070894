"""Other data than a run's own: all of it is measured by what the run has learned, as one would compute it by hand."""

from __future__ import annotations

import csv
import json
import math
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import soundfile
import torch
from labwright.runs.load import Evaluation, evaluated
from labwright_tasks.intervals import bootstrapped
from own_data import (
    CLASSES,
    Settings,
    clicked,
    embedded,
    idx,
    manifest,
    mnist,
    own_pictures,
    own_shards,
    own_texts,
    pictures,
    rated,
    ratings,
    recordings,
    running_text,
    shard,
    spoken,
    table,
    texts,
    tone,
)
from PIL import Image
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

PLUGINS = lw.Plugins.discover()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Settings]], Path]:
    """The folder of a run over a kind of data, which is trained once: `trained(own_texts)`."""
    kept: dict[str, Path] = {}

    def run(kind: Callable[[Path], Settings]) -> Path:
        if kind.__name__ not in kept:
            here = tmp_path_factory.mktemp(kind.__name__)
            lw.Experiment(**kind(here), device="cpu", log=(), plugins=PLUGINS).run(here / "run")
            kept[kind.__name__] = here / "run"
        return kept[kind.__name__]

    return run


Trained = Callable[[Callable[[Path], Settings]], Path]


def on(run: Path, path: Path, *overrides: str) -> Evaluation:
    return evaluated(run, PLUGINS, "test", "final", overrides, on=path)


def logits_of(run: Path, inputs: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """What a run's model says of inputs, one by one."""
    model = lw.load(run, plugins=PLUGINS).model
    with torch.inference_mode():
        return torch.cat([model(*arguments) for arguments in inputs])


def check_classes(run: Path, evaluation: Evaluation, inputs: Sequence[tuple[Tensor, ...]], said: Sequence[str]) -> None:
    """That metrics, counts and recalls are those of the model's answers to these inputs, counted in Python."""
    names = lw.load(run, plugins=PLUGINS).task.ports()[1].names  # type: ignore[attr-defined]
    logits_NC = logits_of(run, inputs)
    given = [names[label] for label in logits_NC.argmax(1).tolist()]
    right = [answer == truth for answer, truth in zip(given, said, strict=True)]
    labels_N = torch.tensor([names.index(name) for name in said])
    metrics = evaluation.metrics
    assert evaluation.samples == len(said) > 0
    assert metrics["accuracy"] == pytest.approx(sum(right) / len(said))
    assert metrics["cross_entropy"] == pytest.approx(float(functional.cross_entropy(logits_NC, labels_N)), rel=1e-4)
    for name in set(said):
        of_class = [hit for hit, truth in zip(right, said, strict=True) if truth == name]
        assert metrics[f"class/{name}/samples"] == len(of_class)
        assert metrics[f"class/{name}/recall"] == pytest.approx(sum(of_class) / len(of_class))
    assert metrics["accuracy_95/low"] <= metrics["accuracy"] <= metrics["accuracy_95/high"]


# --------------------------------------------------------------------------------------------------- by hand, each kind


@pytest.mark.parametrize("below", ["", "test"])
def test_pictures_in_folders_of_classes(trained: Trained, tmp_path: Path, below: str) -> None:
    run = trained(own_pictures)
    new = pictures(tmp_path / "new" / below, {"cat": 70, "emu": 150, "cow": 90}, 5, seed=1)
    evaluation = on(run, tmp_path / "new")
    files = [path for name in ("cat", "emu") for path in sorted((new / name).iterdir())]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet
    inputs = []
    for file in files:
        x_HWC = (np.asarray(Image.open(file)) / 255 - mean) / deviation
        inputs.append((torch.from_numpy(x_HWC).float().permute(2, 0, 1)[None],))
    check_classes(run, evaluation, inputs, [file.parent.name for file in files])
    notes = "\n".join(evaluation.notes)
    assert "5 pictures left out: of a class that the run doesn't know: 'cow' 5" in notes
    assert "it has no picture of dog" in notes


@pytest.mark.parametrize("data", ["vision/digits", "vision/mnist"])
def test_digits_in_folders_of_classes(trained: Trained, tmp_path: Path, data: str) -> None:
    run, side = (trained(mnist), 28) if data == "vision/mnist" else (trained(embedded), 8)
    drawn, files = np.random.default_rng(3), []
    for name in ("2", "7", "dot"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for number in range(3):
            files.append(tmp_path / "new" / name / f"{number}.png")
            Image.fromarray(drawn.integers(0, 256, (side, side), dtype=np.uint8)).save(files[-1])
    files[0].with_name("words.txt").write_text("no picture")
    Image.open(files[0]).save(tmp_path / "new" / "loose.png")
    mean, deviation = (0.1307, 0.3081) if side == 28 else (0.3053, 0.3761)
    pixels = [torch.from_numpy(np.asarray(Image.open(file)) / 255).float() for file in files[:6]]
    evaluation = on(run, tmp_path / "new")
    inputs = [(((x_HW - mean) / deviation)[None, None],) for x_HW in pixels]
    check_classes(run, evaluation, inputs, [file.parent.name for file in files[:6]])
    notes = "\n".join(evaluation.notes)
    assert "3 pictures left out: of a class that the run doesn't know: 'dot' 3" in notes
    assert "1 picture left out: in no class's folder, such as loose.png" in notes and "1 file left out: .txt" in notes


def test_pictures_in_tar_shards(trained: Trained, tmp_path: Path) -> None:
    run = trained(own_shards)
    new = shard(tmp_path / "new", ("cat", "dog", "owl"), 12, seed=1)
    read = lw.load(run, plugins=PLUGINS).task.data.read
    inputs, said = [], []
    with tarfile.open(new / "0.tar") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for number in [number for number in range(12) if number % 3 < 2]:
        inputs.append(read(tmp_path / "out" / f"{number:04}.png"))
        said.append((tmp_path / "out" / f"{number:04}.cls").read_text())
    check_classes(run, on(run, new), inputs, said)
    assert on(run, new / "0.tar").metrics == on(run, new).metrics


def test_an_mnist_file(trained: Trained, tmp_path: Path) -> None:
    run = trained(mnist)
    pixels = np.random.default_rng(5).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 12, 12], dtype=np.uint8)
    file = idx(tmp_path / "new-images-idx3-ubyte.gz", pixels)
    idx(tmp_path / "new-labels-idx1-ubyte", labels)
    x_NCHW = torch.from_numpy((pixels / 255 - 0.1307) / 0.3081).float()[:, None]
    evaluation = on(run, file)
    check_classes(run, evaluation, [(x_CHW[None],) for x_CHW in x_NCHW[:7]], [str(n) for n in labels[:7].tolist()])
    assert "2 pictures left out: of a class that the run doesn't know: '12' 2" in "\n".join(evaluation.notes)
    np.savez(tmp_path / "new.npz", x_test=pixels[:7], y_test=labels[:7])
    assert on(run, tmp_path / "new.npz").metrics == evaluation.metrics


@pytest.mark.parametrize("name", ["new.jsonl", "new.csv"])
def test_a_table_of_texts(trained: Trained, tmp_path: Path, name: str) -> None:
    run = trained(own_texts)
    rows = texts(6, seed=2, odd=3)
    rows[0]["text"] = "strange words nobody knows"
    evaluation = on(run, table(tmp_path / name, rows))
    # of the words those that the training texts had, by the run's own list of them
    known = json.loads((run / "task" / "tokenizer.json").read_text())["model"]["vocab"]
    inputs = []
    for row in rows[:12]:
        ids = [known.get(word, known["<unk>"]) for word in row["text"].split()]
        inputs.append((torch.tensor([ids]), torch.tensor([len(ids)])))
    check_classes(run, evaluation, inputs, [row["label"] for row in rows[:12]])
    assert "3 texts left out: of a class that the run doesn't know: 'odd' 3" in "\n".join(evaluation.notes)


def test_a_running_text(trained: Trained, tmp_path: Path) -> None:
    run = trained(running_text)
    (tmp_path / "new.txt").write_text("the cat sat on the dog; the dog did not.")
    letters = json.loads((run / "task" / "characters.json").read_text())["letters"]
    number = {letter: index + 2 for index, letter in enumerate(letters)}  # behind padding and the unknown
    ids = [number.get(letter, 1) for letter in (tmp_path / "new.txt").read_text()]
    nats, predicted = [], []
    for start in range(0, len(ids) - 1, 16):
        window = torch.tensor([ids[start : start + 17]])
        logits_TV = logits_of(run, [(window[:, :-1], torch.tensor([window.shape[1] - 1]))])[0]
        nats.append(float(functional.cross_entropy(logits_TV, window[0, 1:], reduction="sum")))
        predicted.append(window.shape[1] - 1)
    evaluation = on(run, tmp_path / "new.txt")
    assert sum(predicted) == len(ids) - 1
    assert evaluation.metrics["cross_entropy"] == pytest.approx(sum(nats) / sum(predicted), rel=1e-4)
    assert evaluation.metrics["bits_per_char"] == pytest.approx(sum(nats) / sum(predicted) / math.log(2), rel=1e-4)
    interval = (evaluation.metrics["cross_entropy_95/low"], evaluation.metrics["cross_entropy_95/high"])
    assert interval == pytest.approx(bootstrapped(torch.tensor(nats), torch.tensor(predicted)), rel=1e-4)


@pytest.mark.parametrize("below", ["", "testing"])
def test_recordings_in_folders_of_classes(trained: Trained, tmp_path: Path, below: str) -> None:
    run = trained(recordings)
    files = []
    for name, pitch in (("high", 1100), ("low", 350), ("middle", 700)):
        files += [tone(tmp_path / "new" / below / name / f"{number}.wav", [pitch], number) for number in range(3)]
    evaluation = on(run, tmp_path / "new")
    inputs = []
    for file in files[:6]:
        wave, _ = soundfile.read(file, dtype="float32")
        x_T = torch.zeros(1600)
        x_T[: len(wave)] = torch.from_numpy(wave)
        inputs.append((x_T[None], torch.tensor([len(wave)])))
    check_classes(run, evaluation, inputs, [file.parent.name for file in files[:6]])
    assert "3 recordings left out: of a class that the run doesn't know: 'middle' 3" in "\n".join(evaluation.notes)


def test_a_manifest_of_recordings(trained: Trained, tmp_path: Path) -> None:
    run = trained(spoken)
    said = ["ab", "bb", "aba", "ac"]
    evaluation = on(run, manifest(tmp_path / "new", said, "new.csv"))
    wrong = 0
    for number in range(3):
        wave, _ = soundfile.read(tmp_path / "new" / f"{number}.wav", dtype="float32")
        classes = logits_of(run, [(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))])[0].argmax(1).tolist()
        merged = [after for before, after in zip([0, *classes], classes, strict=False) if after != before and after]
        wrong += "".join("ab"[symbol - 1] for symbol in merged) != said[number]  # each is one word
    assert evaluation.samples == 3
    assert evaluation.metrics["wer"] == pytest.approx(wrong / 3)
    assert "1 transcript left out: with letters that the run doesn't know: 'c' in 1" in "\n".join(evaluation.notes)


def test_a_file_of_ratings(trained: Trained, tmp_path: Path) -> None:
    run = trained(rated)
    new = ratings(tmp_path / "new.csv", 7, users=16, items=42)
    data = lw.load(run, plugins=PLUGINS).task.data
    had: dict[str, set[str]] = {}
    counts: dict[str, int] = dict.fromkeys(data.items, 0)  # type: ignore[attr-defined]
    learned = set()
    columns = (data.users_N, data.items_N, data.parts_N)  # type: ignore[attr-defined]
    for user, item, part in zip(*(column.tolist() for column in columns), strict=True):
        name, thing = data.users[user], data.items[item]  # type: ignore[attr-defined]
        if part < 2:
            had.setdefault(name, set()).add(thing)
        if part == 0:
            counts[thing] += 1
            learned.add(name)
    wanted: dict[str, set[str]] = {}
    with new.open() as file:
        for row in csv.DictReader(file):
            if row["user"] in learned and row["item"] in counts and row["item"] not in had[row["user"]]:
                wanted.setdefault(row["user"], set()).add(row["item"])
    gains = []
    for user, items in wanted.items():
        ranked = sorted((item for item in counts if item not in had[user]), key=lambda item: -counts[item])[:5]
        gain = sum(1 / math.log2(place + 2) for place, item in enumerate(ranked) if item in items)
        gains.append(gain / sum(1 / math.log2(place + 2) for place in range(min(5, len(items)))))
    evaluation = on(run, new)
    assert evaluation.samples == len(gains) > 5
    assert evaluation.metrics["ndcg"] == pytest.approx(sum(gains) / len(gains), rel=1e-5)
    low, high = evaluation.metrics["ndcg_95/low"], evaluation.metrics["ndcg_95/high"]
    assert low < evaluation.metrics["ndcg"] < high
    assert re.search(r"of 2 users that the run doesn't know: 'u1[45]' \d", "\n".join(evaluation.notes))
    signs = tmp_path / "signs.csv"
    signs.write_text(new.read_text().replace(",", ";"))
    again = on(run, signs)
    assert again.metrics == evaluation.metrics
    assert any("signs.csv is read with semicolons between cells" in note for note in again.notes)


def test_ratings_as_clicks(trained: Trained, tmp_path: Path) -> None:
    metrics = on(trained(clicked), ratings(tmp_path / "new.csv", 7)).metrics
    assert 0 <= metrics["auc_95/low"] < metrics["auc"] < metrics["auc_95/high"] <= 1


def test_what_a_run_tested_itself_is_measured_as_the_run_did(trained: Trained, tmp_path: Path) -> None:
    run = trained(rated)
    whole = on(run, run.parent / "own.csv")  # its training part isn't measured again
    then = json.loads((run / "outcome.json").read_text())["metrics"]["test"]
    assert {name: whole.metrics[name] for name in then} == then


# -------------------------------------------------------------------------------------------------- drift, page, recipe


def test_what_differs_from_the_training_part_is_said_and_nothing_else(trained: Trained, tmp_path: Path) -> None:
    run = trained(own_pictures)
    same = on(run, pictures(tmp_path / "same", CLASSES, 20, seed=3))
    assert not any("unlike" in note for note in same.notes)
    bright = on(run, pictures(tmp_path / "bright", {name: shade + 70 for name, shade in CLASSES.items()}, 20, seed=3))
    assert re.search(
        r"unlike what the run learned from, brightness.* is 0\.\d+, where it was 0\.\d+\.", str(bright.notes)
    )
    run = trained(own_texts)
    long = [{"text": f"mystery {row['text']} {row['text']}", "label": row["label"]} for row in texts(20, seed=4)]
    told = str(on(run, table(tmp_path / "long.csv", long)).notes)
    assert "the number of tokens is 9, where it was 4" in told and "the share of unknown tokens is 0.125, where" in told
    uneven = [row for row in texts(20, seed=4) if row["label"] == "good"]
    assert "the share of class 'bad' is 0, where it was 0.5" in str(on(run, table(tmp_path / "one.csv", uneven)).notes)


def test_a_page_is_written_into_a_folder_of_its_own(trained: Trained, tmp_path: Path) -> None:
    run, invoke = trained(own_pictures), CliRunner().invoke
    before = sorted(run.rglob("*"))
    new = pictures(tmp_path / "new", {"cat": 70, "cow": 90}, 5, seed=1)
    command = ["evaluate", str(run), "--on", str(new), "--out", str(tmp_path / "page"), "--json"]
    answer = invoke(app(), command)
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["samples"], told["split"]) == (0, 5, str(new))
    assert told["data"]["left_out"][0]["count"] == 5
    page = (tmp_path / "page" / "report.html").read_text()
    assert all(text in page for text in ("Confusion matrix", "95% interval", "&#39;cow&#39; 5"))
    assert "isn't empty" in str(invoke(app(), command).exception)  # something lies there now
    assert (tmp_path / "page" / "report.html").read_text() == page
    assert sorted(run.rglob("*")) == before


def test_other_data_named_in_a_recipe_is_measured_with_valid_and_never_chosen_by(tmp_path: Path) -> None:
    settings = own_texts(tmp_path)
    new = table(tmp_path / "new.csv", texts(5, seed=2, odd=1))

    def run(folder: str, **train: Any) -> lw.Run:
        train = {"epochs": 3, "batch_size": 8, "final": "best", "ema": 0.9, **train}
        return lw.Experiment(**{**settings, "train": train}, device="cpu", log=(), plugins=PLUGINS).run(
            tmp_path / folder
        )

    alone, beside = run("alone"), run("beside", evaluate_on={"later": str(new)})
    assert alone.outcome is not None and beside.outcome is not None
    log = [json.loads(line) for line in (tmp_path / "beside" / "metrics.jsonl").read_text().splitlines()]
    measured = [record["step"] for record in log if record.get("split") == "later"]
    assert measured == [record["step"] for record in log if record.get("split") == "valid"] != []
    assert {split: beside.outcome.metrics[split] for split in ("valid", "test")} == alone.outcome.metrics
    # the weights the run ended with are those of the best step, and so are the figures
    assert beside.outcome.metrics["later"] == on(tmp_path / "beside", new).metrics
    assert beside.outcome.samples["later"] == 10
    assert "1 texts left out" in "\n".join(beside.outcome.notes)
    with pytest.raises(lw.LabwrightError, match="'valid' is a part of the run's own data"):
        run("clash", evaluate_on={"valid": str(new)})
    with pytest.raises(lw.LabwrightError, match=r"there is no file or folder .*gone\.csv"):
        run("gone", evaluate_on={"later": str(tmp_path / "gone.csv")})
    assert not (tmp_path / "clash").exists() and not (tmp_path / "gone").exists()


# ------------------------------------------------------------------------------------------------------------- predict


def app() -> Any:
    from labwright.cli import app as command_line

    return command_line


def answers(run: Path, path: Path) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app(), ["predict", str(run), "--on", str(path), "--json"])
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_row_is_answered_under_its_place_with_labels_or_without(trained: Trained, tmp_path: Path) -> None:
    run = trained(own_texts)
    rows = texts(2, seed=2)
    labelled = answers(run, table(tmp_path / "new.csv", rows))
    bare = answers(
        run, table(tmp_path / "bare.csv", [{"id": 1, "text": row["text"]} for row in rows] + [{"id": 2, "text": " "}])
    )
    assert [answer["input"] for answer in labelled] == [f"{tmp_path / 'new.csv'}, line {n}" for n in range(2, 6)]
    assert [answer["probabilities"] for answer in bare[:4]] == [answer["probabilities"] for answer in labelled]
    assert (bare[4]["input"], bare[4]["error"]) == (f"{tmp_path / 'bare.csv'}, line 6", "the row has no text.")


def test_pictures_recordings_and_ratings_are_answered_as_well(trained: Trained, tmp_path: Path) -> None:
    file = idx(tmp_path / "some-images-idx3-ubyte", np.zeros((3, 28, 28), dtype=np.uint8))
    assert [answer["input"] for answer in answers(trained(mnist), file)] == [f"{file}, picture {n}" for n in (1, 2, 3)]
    loose = pictures(tmp_path / "loose", {"any": 90}, 3)
    assert len(answers(trained(own_pictures), loose)) == 3
    tone(tmp_path / "said" / "one.wav", [300])
    listed = table(tmp_path / "said" / "list.csv", [{"path": "one.wav"}, {"path": "two.wav"}])
    one, two = answers(trained(spoken), listed)
    assert one["input"].endswith("list.csv, line 2") and "text" in one
    assert "there is no recording 'two.wav'" in two["error"]
    pairs = table(tmp_path / "pairs.csv", [{"user": "u1", "item": "i1"}, {"user": "u1", "item": "i2"}])
    assert [answer["input"] for answer in answers(trained(rated), pairs)] == ["u1"]
    assert [answer["input"] for answer in answers(trained(clicked), pairs)] == ["u1 i1", "u1 i2"]


# ----------------------------------------------------------------------------------------------------------- bad input


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def damaged(here: Path) -> Path:
    write(pictures(here / "new", {"cat": 60}, 2) / "cat" / "2.png", b"no picture")
    return here / "new"


def unlabelled_idx(here: Path) -> Path:
    return idx(here / "a-images-idx3-ubyte", np.zeros((2, 28, 28), dtype=np.uint8))


def large_idx(here: Path) -> Path:
    idx(here / "a-labels-idx1-ubyte", np.zeros(2, dtype=np.uint8))
    return idx(here / "a-images-idx3-ubyte", np.zeros((2, 32, 32), dtype=np.uint8))


def uneven_idx(here: Path) -> Path:
    idx(here / "a-labels-idx1-ubyte", np.zeros(3, dtype=np.uint8))
    return idx(here / "a-images-idx3-ubyte", np.zeros((2, 28, 28), dtype=np.uint8))


def empty(here: Path) -> Path:
    (here / "empty").mkdir()
    return here / "empty"


Bad = tuple[Callable[[Path], Settings], Callable[[Path], Path], str]
BAD: dict[str, Bad] = {
    "no such path": (own_pictures, lambda here: here / "gone", r"there is no file or folder .*gone"),
    "a path too long": (own_texts, lambda here: here / ("x" * 300), r"there is no file or folder"),
    "a picture in place of a folder": (
        own_pictures,
        lambda here: write(here / "one.png", b""),
        r"--on: .*one\.png' is neither a folder nor a zip archive",
    ),
    "an empty folder for pictures": (own_pictures, empty, r"empty has no sample of a class the run knows"),
    "pictures of no class": (
        own_pictures,
        lambda here: pictures(here / "new", {".": 60}, 2),
        r"none in a sub-folder for its class: `labwright predict RUN --on",
    ),
    "pictures of other classes": (
        own_pictures,
        lambda here: pictures(here / "new", {"cow": 60}, 2),
        r"it has cow, the run knows cat, dog, emu",
    ),
    "a damaged picture": (own_pictures, damaged, r"1 of 3 pictures can't be read .*on_damaged=leave-out"),
    "an empty folder for shards": (own_shards, empty, r"no sample of a class the run knows"),
    "a shard that is none": (
        own_shards,
        lambda here: write(here / "a.tar", b"no tar" * 200),
        r"can't be read as a tar",
    ),
    "shards of other classes": (
        own_shards,
        lambda here: shard(here / "new", ["owl"], 2),
        r"it has owl, the run knows cat",
    ),
    "an idx file without labels": (mnist, unlabelled_idx, r"no labels beside it.*predict RUN --on"),
    "an idx file of larger pictures": (mnist, large_idx, r"shape \(2, 32, 32\).*not \(N, 28, 28\)"),
    "more labels than pictures": (mnist, uneven_idx, r"labels of shape \(3,\)"),
    "an empty folder for MNIST": (mnist, empty, r"has no sample of a class the run knows"),
    "a text in place of MNIST": (mnist, lambda here: write(here / "a.txt", "no"), r"is no idx file of pictures"),
    "an npz file of something else": (
        mnist,
        lambda here: np.savez(here / "a.npz", z=np.zeros(3)) or here / "a.npz",  # type: ignore[func-returns-value]
        r"none of the arrays x_train",
    ),
    "a table without labels": (
        own_texts,
        lambda here: table(here / "a.csv", [{"text": "good"}]),
        r"there is no column 'label'.* It has text",
    ),
    "a table of other labels": (
        own_texts,
        lambda here: table(here / "a.csv", [{"text": "good", "label": "odd"}]),
        r"no sample of a label the run knows: it has odd, the run knows bad, good",
    ),
    "a table of empty rows": (
        own_texts,
        lambda here: table(here / "a.csv", [{"text": "", "label": ""}]),
        r"none of its 1 rows has a text and a label",
    ),
    "a folder without tables": (own_texts, empty, r"has no table, with an ending of .*it has none"),
    "a text in place of a table": (own_texts, lambda here: write(here / "a.txt", "good"), r"there is no column 'text'"),
    "half a table": (own_texts, lambda here: write(here / "a.jsonl", '{"text": "go'), r"a\.jsonl, line 1: no JSON"),
    "one letter in place of a text": (running_text, lambda here: write(here / "a.txt", "x"), r"1 of the two or more"),
    "an empty folder for texts": (running_text, empty, r"empty has no text file"),
    "bytes in place of a text": (running_text, lambda here: write(here / "a.txt", b"\xff\x00\xfe" * 9), r"a\.txt"),
    "an empty folder for recordings": (recordings, empty, r"has no recordings"),
    "recordings in no folder": (
        recordings,
        lambda here: tone(here / "new" / "a.wav", [300]).parent,
        r"a\.wav is in no sub-folder",
    ),
    "recordings of other classes": (
        recordings,
        lambda here: tone(here / "new" / "mid" / "a.wav", [300]).parents[1],
        r"it has mid, the run knows high, low",
    ),
    "a damaged recording": (
        recordings,
        lambda here: write(here / "new" / "low" / "a.wav", b"no sound").parents[1],
        r"recordings can be used|can't be",
    ),
    "a manifest of what isn't there": (
        spoken,
        lambda here: table(tone(here / "a.wav", [300]).parent / "m.csv", [{"path": "b.wav", "text": "ab"}]),
        r"there is no recording 'b\.wav'",
    ),
    "a manifest without texts": (
        spoken,
        lambda here: table(tone(here / "a.wav", [300]).parent / "m.csv", [{"path": "a.wav"}]),
        r"there is no column 'text'",
    ),
    "transcripts in other letters": (spoken, lambda here: manifest(here, ["xy"]), r"it has x, y, the run knows a, b"),
    "ratings of other users": (
        rated,
        lambda here: table(here / "a.csv", [{"user": "who", "item": "i1", "rating": 3}]),
        r"no sample of a user, and an item, the run knows: it has who",
    ),
    "ratings without ratings": (
        rated,
        lambda here: table(here / "a.csv", [{"user": "u1", "item": "i1"}]),
        r"there is no column 'rating'",
    ),
    "a rating that is no number": (
        rated,
        lambda here: table(here / "a.csv", [{"user": "u1", "item": "i1", "rating": "good"}]),
        r"line 2: the rating is 'good'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_measured_is_said_in_a_sentence(trained: Trained, tmp_path: Path, case: str) -> None:
    kind, make, message = BAD[case]
    with pytest.raises(lw.LabwrightError, match=f"(?s){message}"):
        on(trained(kind), make(tmp_path))


def test_data_that_is_made_and_not_read_says_so(tmp_path: Path) -> None:
    data = {"name": "recsys/synthetic", "users": 30, "items": 40}
    task = {"name": "recsys/top-n", "data": data}
    lw.Experiment(task=task, model="recsys/popularity", device="cpu", log=(), plugins=PLUGINS).run(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match="Synthetic can't read other interactions"):
        on(tmp_path / "run", tmp_path)


def test_inputs_and_other_data_may_be_given_together(trained: Trained, tmp_path: Path) -> None:
    other = table(tmp_path / "new.csv", texts(1))
    done = CliRunner().invoke(
        app(), ["predict", str(trained(own_texts)), "--text", "good", "--on", str(other), "--json"]
    )
    told = [json.loads(line)["input"] for line in done.stdout.splitlines()]
    assert told == [f"{other}, line 2", f"{other}, line 3", "good"]
