"""Small data of each kind, by chance, that the conformance of data of one's own is tried on, in a folder of its own."""

from __future__ import annotations

import atexit
import csv
import io
import json
import random
import shutil
import tarfile
from pathlib import Path
from tempfile import mkdtemp

import labwright as lw
import numpy as np
import pyarrow
import soundfile
from PIL import Image
from pyarrow import parquet

HERE = Path(mkdtemp(prefix="labwright-"))
atexit.register(shutil.rmtree, HERE, ignore_errors=True)
CHANCE = np.random.default_rng(0)


def census() -> Path:
    """People made by chance: those above 40 with a degree have a high income, mostly."""
    file = HERE / "census.csv"
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["age", "hours", "school", "joined", "income"])
        for _ in range(200):
            age, hours, school = CHANCE.integers(20, 60), CHANCE.uniform(10, 50), CHANCE.choice(["none", "degree", ""])
            income = "high" if age + CHANCE.integers(10) > 45 and school == "degree" else "low"
            writer.writerow([age, hours, school, f"2024-{CHANCE.integers(1, 13):02d}-01", income])
    return file


def pictures() -> Path:
    for label in ("cat", "dog", "owl"):
        (HERE / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            pixels = CHANCE.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(HERE / "pictures" / label / f"{number}.png")
    return HERE / "pictures"


def generator() -> Path:
    """A run that makes pictures like those of `pictures`, after one step."""
    folder = HERE / "generator"
    data = f'task.data={{name="vision/image-folder",folder="{HERE}/pictures",size=12}}'
    short = ["train.epochs=", "train.steps=1", "task.judge_epochs=1", "model.width=4", "log=[]"]
    lw.Experiment.from_recipe("gan/digits", [data, *short]).run(folder)
    return folder


def masks() -> Path:
    for side in ("images", "masks"):
        (HERE / "masked" / side).mkdir(parents=True)
    for number in range(30):
        pixels = CHANCE.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(HERE / "masked" / "images" / f"{number}.png")
        Image.fromarray((pixels[..., 0] > 127).astype(np.uint8)).save(HERE / "masked" / "masks" / f"{number}.png")
    return HERE / "masked"


def shards() -> Path:
    folder = HERE / "shards"
    folder.mkdir()
    for number in range(3):
        with tarfile.open(folder / f"train-{number}.tar", "w") as tar:
            for picture in range(20):
                content = (HERE / "pictures" / ("cat", "dog", "owl")[number] / f"{picture}.png").read_bytes()
                label = ("cat", "dog", "owl")[picture % 3].encode()
                for name, data in ((f"{picture}.png", content), (f"{picture}.cls", label)):
                    header = tarfile.TarInfo(name)
                    header.size = len(data)
                    tar.addfile(header, io.BytesIO(data))
    return folder


def row_groups() -> Path:
    file = HERE / "texts.parquet"
    rows = [json.loads(line) for line in (HERE / "texts.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=8)
    return file


def token_files() -> Path:
    folder = HERE / "tokens"
    folder.mkdir()
    for name, count in (("train-0", 4000), ("train-1", 6000), ("val", 900)):
        CHANCE.integers(0, 60, count, dtype=np.uint16).tofile(folder / f"{name}.bin")
    (folder / "tokens.json").write_text('{"vocab_size": 60}')
    return folder


def mnist() -> Path:
    folder = HERE / "mnist"
    folder.mkdir()
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"x_{part}"] = CHANCE.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez(folder / "mnist.npz", **arrays)
    return folder


def named_pictures() -> Path:
    file = HERE / "pictures.csv"
    rows = [f"{label}/{number}.png,{label}" for label in ("cat", "dog", "owl") for number in range(20)]
    file.write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    return file


def picture_set() -> Path:
    """The pictures in Parquet, as the Hugging Face hub has them."""
    folder = HERE / "picture-set"
    folder.mkdir()
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name}
        for path in sorted((HERE / "pictures").glob("*/*.png"))
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return folder


def cifar() -> Path:
    folder = HERE / "cifar"
    folder.mkdir()
    for name in ("data_batch_1.bin", "test_batch.bin"):
        rows = CHANCE.integers(0, 256, (60, 1 + 3 * 32 * 32), dtype=np.uint8)
        rows[:, 0] = np.arange(60) % 10
        (folder / name).write_bytes(rows.tobytes())
    return folder


def texts() -> Path:
    file = HERE / "texts.jsonl"
    names = ("apple", "pear", "plum")
    rows = [{"text": f"number {n} is a ripe {names[n % 3]} !", "label": names[n % 3]} for n in range(90)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / "hub").mkdir()
    shutil.copy(file, HERE / "hub" / "train.jsonl")
    return file


def conversations() -> Path:
    """40 prompts with a response each."""
    path = HERE / "conversations.jsonl"
    rows = ({"prompt": f"say {number} twice", "response": f"{number} {number}"} for number in range(40))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def pairs() -> Path:
    file = HERE / "pairs.jsonl"
    chance = random.Random(0)
    rows = [
        {"text": " ".join(words), "translation": " ".join(words[::-1])}
        for words in (chance.choices(["one", "two", "three", "four", "five"], k=3 + n % 4) for n in range(300))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def alike() -> Path:
    file = HERE / "alike.jsonl"
    rows = [{"text": f"number {n} of many", "other": f"it has {n} before it"} for n in range(80)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tagged() -> Path:
    file = HERE / "tagged.jsonl"
    rows = [
        {
            "tokens": [*names.split(), "was", "in", "town", str(n)],
            "tags": ["B-PER", *["I-PER"] * names.count(" "), *"OOOO"],
        }
        for n in range(60)
        for names in ("Ada Lovelace", "Alan")
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def questions() -> Path:
    file = HERE / "questions.jsonl"
    rows = []
    for n in range(60):
        town = ("London", "Rotterdam", "Lima")[n % 3]
        context = f"Person {n} was born in {town} and stayed."
        answer = {"text": town, "answer_start": context.index(town)}
        rows.append({"title": f"{n}", "context": context, "question": "where was that ?", "answers": [answer]})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def running_text() -> Path:
    file = HERE / "text.txt"
    words = random.Random(0)
    file.write_text(" ".join("".join(words.choices("abcdefgh", k=5)) for _ in range(2000)))
    return file


def ratings() -> Path:
    file = HERE / "ratings.csv"
    chance = random.Random(0)
    pairs = sorted({(chance.randrange(40), chance.randrange(30)) for _ in range(700)})
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("user", "item", "rating"), *((u, i, chance.randint(1, 5)) for u, i in pairs)])
    return file


def movielens() -> Path:
    folder = HERE / "movielens"
    folder.mkdir()
    rows = list(csv.reader((HERE / "ratings.csv").read_text().splitlines()))[1:]
    (folder / "u.data").write_text("".join(f"{u}\t{i}\t{r}\t{time}\n" for time, (u, i, r) in enumerate(rows)))
    return folder


def recordings() -> Path:
    folder = HERE / "recordings"
    rows = []
    for word in ("yes", "no"):
        (folder / word).mkdir(parents=True)
        for number in range(20):
            wave = CHANCE.standard_normal(4000).astype(np.float32) * 0.1
            soundfile.write(folder / word / f"{number}.wav", wave, 8000)
            rows.append({"path": f"{word}/{number}.wav", "text": word, "label": word, "speaker": str(number % 5)})
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def yesno() -> Path:
    folder = HERE / "waves_yesno"
    folder.mkdir()
    for number in range(20):
        name = "_".join(str(number >> bit & 1) for bit in range(8))
        soundfile.write(folder / f"{name}.wav", CHANCE.standard_normal(16_000).astype(np.float32) * 0.1, 8000)
    return folder
