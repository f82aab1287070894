"""Small data in files, of each kind that a user may bring, and a run over each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

RATE = 8000
CLASSES = {"cat": 60, "dog": 120, "emu": 180}
WORDS = {"good": "yes fine good film and a plot", "bad": "no poor bad film and a bore"}


# ------------------------------------------------------------------------------------------------ what the tests write


def pictures(folder: Path, classes: dict[str, int], count: int = 8, seed: int = 0) -> Path:
    """Pictures of noise around a shade of grey, in a folder for each class."""
    drawn = np.random.default_rng(seed)
    for name, shade in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.clip(drawn.normal(shade, 50, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def shard(folder: Path, classes: Sequence[str], count: int, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(seed)
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number in range(count):
            name, png = classes[number % len(classes)], io.BytesIO()
            Image.fromarray(drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(png, "PNG")
            for suffix, content in ((".png", png.getvalue()), (".cls", name.encode())):
                header = tarfile.TarInfo(f"{number:04}{suffix}")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    return folder


def idx(path: Path, array: np.ndarray) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    content = header + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def table(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def texts(count: int, seed: int = 0, **others: int) -> list[dict[str, str]]:
    drawn = np.random.default_rng(seed)
    labels = [label for label in WORDS for _ in range(count)] + [name for name, n in others.items() for _ in range(n)]
    return [{"text": " ".join(drawn.choice(WORDS.get(label, "what").split(), 4)), "label": label} for label in labels]


def tone(path: Path, pitches: Sequence[int], seed: int = 0) -> Path:
    time = np.arange(1200) / RATE
    wave = np.concatenate([0.3 * np.sin(2 * np.pi * pitch * time) for pitch in pitches])
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave + np.random.default_rng(seed).normal(0, 0.01, len(wave)), RATE)
    return path


def manifest(folder: Path, said: Sequence[str], name: str = "list.jsonl") -> Path:
    for number, text in enumerate(said):
        tone(folder / f"{number}.wav", [300 + 200 * (ord(letter) % 7) for letter in text], number)
    return table(folder / name, [{"path": f"{number}.wav", "text": text} for number, text in enumerate(said)])


def ratings(path: Path, seed: int, users: int = 14, items: int = 40) -> Path:
    drawn = np.random.default_rng(seed)
    pairs = sorted({(int(drawn.integers(users)), int(drawn.integers(items) ** 2 / items)) for _ in range(400)})
    return table(
        path, [{"user": f"u{user}", "item": f"i{item}", "rating": 1 + (user + item) % 5} for user, item in pairs]
    )


# ---------------------------------------------------------------------------------------------------------- their runs

Settings = dict[str, Any]
CLASSIFY: Settings = {"loss": "cross-entropy", "optimizer": "adamw", "train": {"steps": 3, "batch_size": 8}}
MLP: Settings = {"model": {"name": "vision/mlp", "width": 16}, **CLASSIFY}


def own_pictures(here: Path) -> Settings:
    data = {"name": "vision/image-folder", "folder": str(pictures(here / "own", CLASSES)), "size": 8}
    return {"task": {"name": "classification", "data": data}, **MLP}


def own_shards(here: Path) -> Settings:
    data = {"name": "vision/shards", "folder": str(shard(here / "own", ("cat", "dog"), 60)), "size": 8}
    return {"task": {"name": "classification", "data": data}, **MLP}


def mnist(here: Path) -> Settings:
    drawn = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        idx(here / f"own/{part}-images-idx3-ubyte", drawn.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        idx(here / f"own/{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return {"task": {"name": "classification", "data": {"name": "vision/mnist", "folder": str(here / "own")}}, **MLP}


def embedded(here: Path) -> Settings:
    return {"task": {"name": "classification", "data": "vision/digits"}, **MLP}


def own_texts(here: Path) -> Settings:
    data = {"name": "nlp/text-files", "path": str(table(here / "own.jsonl", texts(30))), "length": 8}
    return {"task": {"name": "classification", "data": data}, "model": {"name": "nlp/bag", "width": 8}, **CLASSIFY}


def running_text(here: Path) -> Settings:
    (here / "own.txt").write_text("the cat sat on the mat and the dog sat on the cat. " * 12)
    data = {"name": "nlp/plain-text", "path": str(here / "own.txt"), "context": 16}
    model = {"name": "nlp/gpt", "width": 16, "depth": 1, "heads": 2}
    return {"task": {"name": "language-model", "data": data}, "model": model, **CLASSIFY}


def recordings(here: Path) -> Settings:
    for name, pitch in (("low", 300), ("high", 1200)):
        for number in range(10):
            tone(here / "own" / name / f"{number}.wav", [pitch], number)
    data = {"name": "speech/folder", "folder": str(here / "own"), "rate": RATE, "seconds": 0.2}
    return {"task": {"name": "classification", "data": data}, "model": "speech/bc-resnet", **CLASSIFY}


def spoken(here: Path) -> Settings:
    path = manifest(here / "own", ["ab", "ba", "aab", "b"] * 5)
    data = {"name": "speech/manifest", "manifest": str(path), "rate": RATE}
    model = {"name": "speech/crnn", "channels": 4, "width": 16}
    return {"task": {"name": "speech/recognition", "data": data}, "model": model, **CLASSIFY, "loss": "speech/ctc"}


def rated(here: Path) -> Settings:
    data = {"name": "recsys/interactions", "file": str(ratings(here / "own.csv", 0)), "rating": "rating"}
    task = {"name": "recsys/top-n", "data": data, "top": 5}
    return {"task": task, "model": "recsys/popularity", "train": {"batch_size": 8}}


def clicked(here: Path) -> Settings:
    task = {"name": "recsys/clicks", "data": rated(here)["task"]["data"], "threshold": 3.0}
    model = {"name": "recsys/deepfm", "dim": 4, "width": 8, "depth": 1}
    return {**CLASSIFY, "task": task, "model": model, "loss": "recsys/binary-cross-entropy"}
