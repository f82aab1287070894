"""Each line of the how-to pages' tables of published layouts, on data made in that layout: it is read, and trained.

A page's section "As it was published" has a table; its right column says how a layout is said. That is a command of its
own, overrides behind the command that the section names, or what stands in `task.data`.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import re
import shlex
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pyarrow
import pytest
import soundfile
from labwright.cli import main
from PIL import Image
from pyarrow import feather, parquet

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
RECIPES = {"own-ratings": "recsys/movielens-ease", "own-recordings": "speech/an4"}  # where a line says data alone
RATINGS = "recsys/interactions"
Row = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """A line of a page's table: what lies there, and the recipe and overrides that say so."""

    page: str
    what: str
    recipe: str
    overrides: tuple[str, ...]


def layouts(page: str) -> list[Layout]:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    section = text.split("## As it was published\n")[1].split("\n## ")[0]
    base = re.search(r"behind `labwright run ([\w/-]+)`", section)
    found = []
    for what, said in re.findall(r"^\| (.+?) \| `(.+?)`.* \|$", section, re.MULTILINE):
        if " = " in said:
            named = said if said.startswith("name =") else f'name = "{RATINGS}", {said}'
            words = "speech/folder" in said or "-words" in said
            recipe = "speech/commands" if words else RECIPES[page]
            found.append(Layout(page, what, recipe, (f"task.data={{ {named} }}",)))
        elif said.startswith("labwright run "):
            recipe, *overrides = shlex.split(said.removeprefix("labwright run "))
            found.append(Layout(page, what, recipe, tuple(overrides)))
        else:
            assert base, page
            found.append(Layout(page, what, base[1], tuple(shlex.split(said))))
    return found


# ------------------------------------------------------------------------------------------------------ made data


def table(path: str, rows: Sequence[Row], sign: str = ",", *, header: bool = True, encoding: str = "utf-8") -> None:
    """A table of text, or in what its ending says, packed as that says."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".jsonl"):
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.endswith(".json"):
        Path(path).write_text(json.dumps(rows))
    elif path.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    elif path.endswith(".arrow"):
        feather.write_feather(pyarrow.Table.from_pylist(list(rows)), path, compression="uncompressed")
    else:
        lines = io.StringIO()
        if len(sign) == 1:
            writer = csv.writer(lines, delimiter=sign, lineterminator="\n")
            writer.writerows([*([rows[0].keys()] if header else []), *(row.values() for row in rows)])
        else:
            cells = [*([rows[0].keys()] if header else []), *(row.values() for row in rows)]
            lines.write("".join(sign.join(map(str, line)) + "\n" for line in cells))
        content = lines.getvalue().encode(encoding)
        if path.endswith(".zst"):
            with pyarrow.output_stream(path, compression="zstd") as stream:
                stream.write(content)
            return
        packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(path).suffix, bytes)
        Path(path).write_bytes(packed(content))


def archive(path: str, files: Iterable[Path], above: str = "") -> None:
    with zipfile.ZipFile(path, "w") as opened:
        for file in files:
            opened.write(file, file.relative_to(above) if above else file)


def texts() -> None:
    words = {"good": ["warm", "funny", "moving"], "bad": ["dull", "tired", "cold"]}

    def rows(count: int) -> list[Row]:
        labels = random.choices([*words], k=count)
        return [
            {"text": f"a {random.choice(words[label])} film, no. {n}", "label": label} for n, label in enumerate(labels)
        ]

    for part, count in (("train", 60), ("dev", 20), ("test", 20)):
        table(f"reviews/{part}.jsonl", rows(count))
    archive("reviews.zip", Path("reviews").iterdir(), "reviews")
    for piece in range(2):
        table(f"pieces/train-0000{piece}-of-00002.parquet", rows(40))
        table(f"part-{piece}.csv", rows(40))
    stars = [{"id": n, **row, "label": n % 5 + 1} for n, row in enumerate(rows(80))]
    for name in ("rows.json", "rows.csv", "rows.csv.zst", "set/data/rows.csv"):
        table(name, stars)
    table("set/data/more.csv", stars)
    archive("set.zip", Path("set/data").iterdir(), "set")
    table("test.csv", stars[:20])
    Path("test_ids.txt").write_text("".join(f"{n}\n" for n in range(0, 80, 4)))
    table("stars.csv", [{"review": row["text"], "stars": row["label"]} for row in stars])
    table("bare.csv", [{"label": row["label"], "id": row["id"], "text": row["text"]} for row in stars], header=False)
    table("colons.dat", stars, "::")
    Path("quotes.csv").write_text("label,text\n" + "".join(f'{"ab"[n % 2]},"{n} is odd\n' for n in range(60)))
    table("japanese.csv", [{**row, "text": f"映画 {row['text']}"} for row in stars], encoding="shift_jis")
    table("split.csv", [{**row, "split": ("train", "train", "valid", "test")[n % 4]} for n, row in enumerate(stars)])
    news = [
        {
            "title": f"about {n}",
            **row,
            "topic": "xyz"[n % 3],
            "sure": n % 3,
            "author": n % 20,
            "day": f"2024-03-{n % 28 + 1:02d}",
        }
        for n, row in enumerate(rows(100))
    ]
    table("news.csv", news)
    table(
        "films.jsonl",
        [{"text": row["text"], "genres": [["war"], ["love", "war"], ["love"]][n % 3]} for n, row in enumerate(news)],
    )


def people() -> None:
    rows = []
    for number in range(240):
        age, school = random.randint(18, 70), random.choice(["none", "degree"])
        rows.append(
            {
                "age": age,
                "school": school,
                "joined": f"2024-{number % 12 + 1:02d}-01",
                "sure": number % 4,
                "family": number // 3,
            }
            | {"stayed": "yes" if age > 40 else "no"}
        )
    table("people.csv.gz", rows)
    table("people.txt", rows, ";")
    table("bare.data", [{key: row[key] for key in ("age", "school", "stayed")} for row in rows], ", ", header=False)
    table("parts/train.csv", rows[:180])
    table("parts/test.csv", rows[180:])
    table("test.csv", rows[:40])
    for piece in range(2):
        table(f"part-{piece}.csv", rows[piece * 120 : (piece + 1) * 120])
    table("split.csv", [{**row, "split": ("train", "train", "valid", "test")[n % 4]} for n, row in enumerate(rows)])
    clicks = [{"Label": n % 2, "I1": n % 7, "I2": "", "C1": f"{n % 9:08x}", "C2": f"{n % 8:08x}"} for n in range(200)]
    table("train.txt", clicks, "\t", header=False)
    table(
        "train.gz", [{"id": 10**19 + n * 7, "click": n % 2, "hour": 14102100 + n % 24, "C1": n % 3} for n in range(200)]
    )
    income = [{"age": row["age"], "workclass": row["school"], "income": row["stayed"]} for row in rows]
    table("adult.csv.gz", income)
    table("california.csv.gz", [{"MedInc": n % 17, "AveRooms": n % 13, "MedHouseVal": n % 17 / 4} for n in range(240)])


def log() -> None:
    pairs = sorted({(random.randrange(30), random.randrange(20)) for _ in range(500)})
    rated = [
        {"user": u, "item": i, "rating": random.randint(1, 5), "time": 10**9 + n} for n, (u, i) in enumerate(pairs)
    ]
    random.shuffle(rated)
    table("ml-100k/u.data", rated, "\t", header=False)
    table("ml-1m/ratings.dat", rated, "::", header=False)
    table("ml-1m/movies.dat", [{"id": n, "title": f"Film {n}"} for n in range(20)], "::", header=False)
    archive("ml-1m.zip", Path("ml-1m").iterdir())
    own = [{"reader": row["user"], "book": row["item"], "day": "2024-03-01"} for row in rated]
    table("log.csv", own)
    table("log.csv.zst", own)
    table("log.dat", own, "~")
    bare = [{"user": row["user"], "item": row["item"]} for row in rated]
    for piece in range(2):
        table(f"log-{piece}.parquet", bare[piece::2])
    table("u1.base", bare[100:], "\t", header=False)
    table("u1.test", bare[:100], "\t", header=False)
    for part, some in (("train", bare[200:]), ("valid", bare[100:200]), ("test", bare[:100])):
        table(f"parts/{part}.csv", some)
    table("split.csv", [{**row, "split": ("train", "train", "train", "test")[n % 4]} for n, row in enumerate(bare)])
    Path("test_users.txt").write_text("".join(f"{user}\n" for user in range(5)))


def sound(path: str, hertz: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(np.arange(8000) * 2 * np.pi * hertz / 16000) + np.random.default_rng(0).normal(0, 0.02, 8000)
    soundfile.write(path, wave, 16000)


def recordings() -> None:
    names: list[Row] = []
    for place, word in enumerate(("yes", "no")):
        for number in range(12):
            sound(f"whistles/{word}/{number:02d}.wav", 300 + 200 * place + number)
            sound(f"commands/{word}/{number:02d}_nohash_0.wav", 300 + 200 * place + number)
            sound(f"fsdd/{place}_theo_{number}.wav", 300 + 200 * place + number)
            sound(f"clips/{word}{number}.wav", 300 + 200 * place + number)
            names.append({"name": f"clips/{word}{number}", "word": word, "speaker": f"s{number}", "n": number})
    archive("whistles.zip", sorted(Path("whistles").rglob("*.wav")), "whistles")
    archive("audio.zip", sorted(Path("clips").rglob("*.wav")))
    Path("commands/validation_list.txt").write_text(
        "".join(f"{word}/0{n}_nohash_0.wav\n" for word in ("yes", "no") for n in (0, 1))
    )
    Path("commands/testing_list.txt").write_text(
        "".join(f"{word}/0{n}_nohash_0.wav\n" for word in ("yes", "no") for n in (2, 3))
    )
    table("words.csv", [{"path": f"{row['name']}.wav", "label": row["word"], "sure": row["n"] / 4} for row in names])
    spoken = [
        {"path": f"{row['name']}.wav", "text": row["word"], "speaker": row["speaker"]}
        | {"split": ("train", "train", "valid", "test")[row["n"] % 4]}
        for row in names
    ]
    table("rows.csv", spoken)
    table(
        "metadata.csv",
        [{"id": row["name"], "raw": row["word"], "text": row["word"]} for row in names],
        "|",
        header=False,
    )
    table("train.tsv", [{"path": row["path"].removeprefix("clips/"), "sentence": row["text"]} for row in spoken], "\t")
    table(
        "nemo.jsonl",
        [{"audio_filepath": row["path"], "text": row["text"], "offset": 0.0, "duration": 0.4} for row in spoken],
    )
    table("ids.csv", [{"id": row["name"], "text": row["word"]} for row in names])


def idx(path: str, array: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    Path(path).write_bytes(gzip.compress(header + array.tobytes()))


def pictures() -> None:
    drawn = np.random.default_rng(0)
    for root, count in (("pictures", 12), ("parts/train", 12), ("parts/valid", 4), ("parts/test", 4)):
        for place, name in enumerate(("cat", "dog")):
            Path(root, name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(drawn.normal(80 + 90 * place, 40, (20, 20, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(Path(root, name, f"{number}.png"))
    archive("pictures.zip", sorted(Path("pictures").rglob("*.png")), "pictures")
    Path("cifar10").mkdir()
    for part in ("train", "test"):
        archive(f"cifar10/{part}.zip", sorted(Path("parts", part).rglob("*.png")), f"parts/{part}")
    rows = [f"{file.parent.name}/{file.name},{file.parent.name}" for file in sorted(Path("pictures").rglob("*.png"))]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    Path("cifar").mkdir()
    of_cifar = drawn.integers(0, 256, (60, 1 + 3 * 32 * 32), dtype=np.uint8)
    of_cifar[:, 0] = np.arange(60) % 10
    for name in ("data_batch_1.bin", "test_batch.bin"):
        Path("cifar", name).write_bytes(of_cifar.tobytes())
    Path("beans").mkdir()  # as the hub has it
    stored = [
        {"image": {"bytes": file.read_bytes(), "path": file.name}, "label": file.parent.name}
        for file in sorted(Path("pictures").rglob("*.png"))
    ]
    parquet.write_table(pyarrow.Table.from_pylist(stored), "beans/train-00000-of-00001.parquet")
    Path("shards").mkdir()
    with tarfile.open("shards/train-0.tar", "w") as tar:
        for file in sorted(Path("pictures").rglob("*.png")):
            name = f"{file.parent.name}{file.stem}"
            for suffix, content in (("png", file.read_bytes()), ("cls", file.parent.name.encode())):
                header = tarfile.TarInfo(f"{name}.{suffix}")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    grey = {
        part: drawn.integers(0, 256, (count, 28, 28), dtype=np.uint8) for part, count in (("train", 60), ("test", 20))
    }
    digits = {part: np.arange(len(some), dtype=np.uint8) % 10 for part, some in grey.items()}
    for part, name in (("train", "train"), ("test", "t10k")):
        idx(f"mnist/{name}-images-idx3-ubyte.gz", grey[part])
        idx(f"mnist/{name}-labels-idx1-ubyte.gz", digits[part])
    Path("keras").mkdir()
    of_keras = {
        f"{letter}_{part}": some for letter, both in (("x", grey), ("y", digits)) for part, some in both.items()
    }
    np.savez("keras/mnist.npz", **of_keras)
    Path("medmnist").mkdir()
    of_parts = {f"{part}_images": grey[part] for part in grey} | {
        f"{part}_labels": digits[part][:, None] % 2 for part in grey
    }
    np.savez("medmnist/pneumoniamnist.npz", **of_parts, val_images=grey["test"], val_labels=digits["test"][:, None] % 2)


MADE: dict[str, Callable[[], None]] = {
    "own-images": pictures,
    "own-texts": texts,
    "own-recordings": recordings,
    "own-ratings": log,
    "own-tables": people,
}
LAYOUTS = [layout for page in MADE for layout in layouts(page)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a page's data, made when it is first asked for."""
    folders: dict[str, Path] = {}

    def folder(page: str) -> Path:
        if page not in folders:
            folders[page] = tmp_path_factory.mktemp(page)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folders[page])
                random.seed(0)
                MADE[page]()
        return folders[page]

    return folder


def test_each_page_has_its_table() -> None:
    assert {page: len(layouts(page)) >= 9 for page in MADE} == dict.fromkeys(MADE, True)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.page}: {layout.what}")
def test_a_published_layout_is_read_as_its_line_says(
    layout: Layout, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made(layout.page))
    task = lw.Experiment.from_recipe(layout.recipe, layout.overrides).task.build()
    task.prepare()
    train, test = task.data.split("train"), task.data.split("test")
    assert train is not None and len(train)
    assert test is None or len(test)


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.page}: {layout.what}")
def test_a_published_layout_is_trained_as_its_line_says(
    layout: Layout, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made(layout.page))
    small = ["device=cpu", *(["train.batch_size=8"] if layout.page != "own-ratings" else [])]
    monkeypatch.setattr(sys, "argv", ["labwright", "run", layout.recipe, *layout.overrides, *small, "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
