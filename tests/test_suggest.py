"""`labwright suggest` on small data of each kind: it says what it is, and what it writes is trained."""

from __future__ import annotations

import io
import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from labwright.cli import main
from PIL import Image

Lab = Callable[..., tuple[int, str, str]]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CHANCE = np.random.default_rng(0)
MEDICAL = ("train", "val", "test")  # parts, as MedMNIST calls them


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def suggested(lab: Lab, *arguments: str) -> dict[str, Any]:
    code, out, err = lab("suggest", *arguments, "--json")
    assert code == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


def trained(lab: Lab, *overrides: str) -> dict[str, Any]:
    code, out, err = lab("run", "suggested.toml", *overrides, "--folder", "run", "--json")
    assert code == 0, err
    outcome: dict[str, Any] = json.loads(out)
    return outcome


def test_pictures_in_folders(lab: Lab) -> None:
    for place, name in enumerate("3x"):
        folder = Path("photos", name)
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = CHANCE.integers(0, 100, (70, 90), dtype=np.uint8) + 100 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    told = suggested(lab, "photos")
    assert told["what"] == "40 pictures of 2 classes (3 20, x 20)"
    data = told["recipe"]["task"]["data"]
    # grey, 70 pixels and more, and of single signs, which are others mirrored
    assert (data["channels"], data["size"], data["flip"]) == (1, 64, False)
    assert trained(lab, "train.epochs=1", "model.depth=8")["status"] == "finished"


def test_pictures_that_a_table_names(lab: Lab) -> None:
    Path("photos").mkdir()
    rows = ["file,age,species"]
    for number in range(30):
        pixels = CHANCE.integers(0, 100, (40, 36, 3), dtype=np.uint8) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(Path("photos", f"{number}.png"))
        rows.append(f"photos/{number}.png,{number % 7},{'cat' if number % 2 else 'dog'}")
    Path("pets.csv").write_text("\n".join(rows))
    told = suggested(lab, "pets.csv")
    assert told["what"] == "30 pictures ('file') of 2 classes ('species')"
    data = told["recipe"]["task"]["data"]
    assert (data["name"], data["channels"], data["size"], data["flip"]) == ("vision/table", 3, 32, True)
    assert trained(lab, "train.epochs=1", "model.depth=8")["status"] == "finished"


def test_pictures_in_archives(lab: Lab) -> None:
    for part in ("train", "test"):
        with zipfile.ZipFile(f"{part}.zip", "w") as archive:
            for name in ("cat", "dog"):
                for number in range(12):
                    content = io.BytesIO()
                    Image.fromarray(CHANCE.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(content, "png")
                    archive.writestr(f"{name}/{number}.png", content.getvalue())
    told = suggested(lab, ".")
    assert told["what"] == "24 pictures of 2 classes (cat 12, dog 12)"
    data = told["recipe"]["task"]["data"]
    assert (data["channels"], data["size"], data["flip"]) == (3, 32, True)
    assert trained(lab, "train.epochs=1", "model.depth=8")["samples"]["test"] == 24


def test_pictures_in_arrays(lab: Lab) -> None:
    sizes = {"train": 40, "test": 10}
    pixels = {f"x_{part}": CHANCE.integers(0, 255, (count, 28, 28), dtype=np.uint8) for part, count in sizes.items()}
    labels = {f"y_{part}": np.arange(count, dtype=np.uint8) % 3 for part, count in sizes.items()}
    Path("arrays").mkdir()
    np.savez("arrays/mnist.npz", **pixels, **labels)
    told = suggested(lab, "arrays")
    assert told["what"] == "40 grey pictures of 3 classes, in arrays"
    assert told["recipe"]["task"]["data"]["classes"] == ["0", "1", "2"]
    assert trained(lab, "train.epochs=1")["samples"]["test"] == 10


def test_coloured_pictures_in_arrays_and_a_class_of_the_test_part_alone(lab: Lab) -> None:
    for name, shape in (("blood", (28, 28, 3)), ("breast", (28, 28))):
        arrays = {f"{part}_images": CHANCE.integers(0, 255, (20, *shape), dtype=np.uint8) for part in MEDICAL}
        labels = {f"{part}_labels": np.arange(20)[:, None] % (4 if part == "test" else 3) for part in MEDICAL}
        np.savez(f"{name}.npz", **arrays, **labels)
    told = suggested(lab, "blood.npz")
    assert told["what"] == "20 coloured pictures of 4 classes, in arrays"
    assert told["recipe"]["task"]["data"]["name"] == "vision/npz"
    assert trained(lab, "train.epochs=1", "model.width=4")["samples"]["test"] == 20
    told = suggested(lab, "breast.npz", "--out", "breast.toml")
    assert told["recipe"]["task"]["data"]["classes"] == ["0", "1", "2", "3"]


def test_recordings_whose_names_begin_with_what_they_are(lab: Lab) -> None:
    with zipfile.ZipFile("train.zip", "w") as archive:
        for pitch, name in ((440, "yes"), (880, "no")):
            for number in range(12):
                content = io.BytesIO()
                wave = 0.3 * np.sin(np.arange(4000) * 2 * np.pi * pitch / 8000) + CHANCE.normal(0, 0.05, 4000)
                soundfile.write(content, wave, 8000, format="wav")
                archive.writestr(f"{name}_somebody_{number}.wav", content.getvalue())
    told = suggested(lab, ".")
    assert told["what"] == "24 recordings of 2 classes (no 12, yes 12)"
    data = told["recipe"]["task"]["data"]
    assert (data["rate"], data["seconds"]) == (8000, 0.5)
    assert trained(lab, "train.epochs=1")["status"] == "finished"


def test_names_are_read_letter_by_letter(lab: Lab) -> None:
    random.seed(0)
    rows = [f"{''.join(random.choices(letters, k=7))},{label}" for label, letters in (("a", "xyz"), ("b", "xyv")) * 60]
    Path("names.csv").write_text("\n".join(["name,label", *rows]) + "\n")
    told = suggested(lab, "names.csv")
    assert told["what"] == "120 texts ('name') of 2 classes ('label')"
    recipe = told["recipe"]
    assert (recipe["task"]["data"]["tokenizer"], recipe["model"]["ngrams"]) == ("char", 4)


def test_a_folder_of_ratings(lab: Lab) -> None:
    random.seed(0)
    rows = [f"{user}\t{item}\t4\t{user + item}" for user in range(40) for item in random.sample(range(30), 10)]
    Path("u.data").write_text("\n".join(rows) + "\n")
    told = suggested(lab, ".")
    assert told["what"] == "ratings in MovieLens' files"
    assert trained(lab)["status"] == "finished"


def test_recordings_in_folders(lab: Lab) -> None:
    for pitch, name in ((440, "yes"), (880, "no")):
        folder = Path("sounds", name)
        folder.mkdir(parents=True)
        for number in range(12):
            wave = 0.3 * np.sin(np.arange(4000) * 2 * np.pi * pitch / 8000) + CHANCE.normal(0, 0.05, 4000)
            soundfile.write(folder / f"{number}.wav", wave, 8000)
    told = suggested(lab, "sounds")
    assert told["what"] == "24 recordings of 2 classes (no 12, yes 12)"
    data = told["recipe"]["task"]["data"]
    assert (data["rate"], data["seconds"]) == (8000, 0.5)
    assert trained(lab, "train.epochs=1")["status"] == "finished"


@pytest.mark.long
def test_a_table_of_texts_and_labels_is_learned_as_suggested(lab: Lab) -> None:
    random.seed(0)
    rows = ["id,review,stars"]
    for number in range(300):
        good = number % 2
        words = random.choices(["the", "film", "was", "a", "story", "of", "people", "in", "town"], k=9)
        words += random.choices(["great", "lovely", "fine"] if good else ["awful", "dull", "poor"], k=2)
        rows.append(f"{number},{' '.join(words)},{'up' if good else 'down'}")
    Path("reviews.csv").write_text("\n".join(rows) + "\n")
    told = suggested(lab, "reviews.csv")
    assert told["what"] == "300 texts ('review') of 2 classes ('stars')"
    assert told["suggester"] == "nlp/labelled-texts"
    outcome = trained(lab)
    assert outcome["metrics"]["test"]["accuracy"] > 0.9
    assert outcome["status"] == "stopped"  # early, with the best weights kept


def test_a_table_of_ratings(lab: Lab) -> None:
    random.seed(0)
    rows = [
        f"{user};{item};{random.randint(1, 5)};{random.randint(10**9, 2 * 10**9)}"
        for user in range(40)
        for item in random.sample(range(30), 10)
    ]
    Path("ratings.csv").write_text("\n".join(["userId;movieId;rating;timestamp", *rows]) + "\n")
    told = suggested(lab, "ratings.csv")
    assert told["what"] == "400 interactions of users ('userId') with items ('movieId'), rated ('rating')"
    assert told["recipe"]["task"]["data"]["delimiter"] == ";"
    assert trained(lab)["status"] == "finished"


@pytest.mark.long
def test_a_table_of_numbers_and_categories(lab: Lab) -> None:
    random.seed(0)
    rows = []
    for _ in range(300):
        age, school, income = random.randint(18, 70), random.choice(["none", "degree"]), random.randint(10, 90)
        rows.append(f"{age};{school};{income};here;{'yes' if age > 40 else 'no'}")
    Path("people.csv").write_text("\n".join(["age;school;income;town;stayed", *rows]) + "\n")
    told = suggested(lab, "people.csv")
    assert told["what"] == "300 rows of 5 columns, to tell 'stayed' from the others: 2 classes"
    assert told["oddities"] == ["Columns that say the same in each row: town."]
    assert trained(lab)["metrics"]["test"]["accuracy"] > 0.9


def test_a_table_whose_target_is_a_number(lab: Lab) -> None:
    random.seed(0)
    rows = [
        f"{a},{b},{2 * a + b + random.random():.3f}"
        for a, b in ((random.random(), random.random()) for _ in range(200))
    ]
    Path("houses.csv").write_text("\n".join(["size,age,price", *rows]) + "\n")
    told = suggested(lab, "houses.csv")
    assert told["recipe"]["task"]["data"]["name"] == "tabular/number-table"
    assert trained(lab, "train.epochs=2")["status"] == "finished"


def test_pairs_of_texts_in_files_of_their_parts(lab: Lab) -> None:
    random.seed(0)
    Path("pairs").mkdir()
    Path("pairs", "SOURCE.md").write_text("made")
    for name, count in (("train", 60), ("dev", 10), ("test", 10)):
        rows = [" ".join(random.choices(["sun", "rain", "wind", "snow", "fog", "hail"], k=8)) for _ in range(count)]
        lines = (json.dumps({"en": row, "de": row.translate(str.maketrans("aeiou", "eioua"))}) for row in rows)
        Path("pairs", f"{name}.jsonl").write_text("\n".join(lines))
    told = suggested(lab, "pairs")
    assert told["what"] == "60 pairs of texts, 'de' out of 'en'"
    assert "The parts are files of their own: train 60, valid 10, test 10 rows." in told["oddities"]
    assert trained(lab, "train.epochs=1", "model.width=16", "model.heads=2")["samples"] == {"valid": 10, "test": 10}


def test_texts_with_lists_of_labels(lab: Lab) -> None:
    random.seed(0)
    words = ["river", "train", "ghost", "song", "market", "letter", "winter", "stone"]
    rows = []
    for number in range(120):
        plot = random.choices(words, k=7)
        rows.append(
            {"id": number, "plot": " ".join(plot), "about": [word for word in ("ghost", "song") if word in plot]}
        )
    Path("films.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = suggested(lab, "films.jsonl")
    assert told["what"] == "120 texts ('plot') with lists of labels ('about')"
    assert {"ghost/accuracy", "song/accuracy"} <= trained(lab, "train.epochs=1")["metrics"]["test"].keys()


def test_words_with_tags_in_a_table(lab: Lab) -> None:
    rows = [{"tokens": ["in", "Ulm", f"at {hour}"], "tags": ["O", "B-place", "O"]} for hour in range(40)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = suggested(lab, ".")
    assert told["what"] == "40 sentences whose words have one of 2 tags each"
    assert told["recipe"]["task"]["goal"] == "strict-entity-f1:maximize"
    assert trained(lab, "train.epochs=1")["status"] == "finished"


def test_tags_of_another_scheme_are_classes(lab: Lab) -> None:
    rows = [{"tokens": ["in", "Ulm", f"at {hour}"], "tags": ["O", "S-place", "B-time"]} for hour in range(40)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "goal" not in suggested(lab, "train.jsonl")["recipe"]["task"]  # entities are told by O, B- and I- alone
    assert trained(lab, "train.epochs=1")["status"] == "finished"


def test_a_length_that_cuts_many_texts_is_not_said_to_cut_few(lab: Lab) -> None:
    for words, said in ((200, "have 201 words or fewer: 256 cuts few."), (900, "901 words or fewer: 256 cuts longer")):
        texts = ({"text": f"{number} {'word ' * words}", "label": "ab"[number % 2]} for number in range(40))
        Path("texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
        suggested(lab, "texts.jsonl", "--out", f"{words}.toml")
        assert said in " ".join(Path(f"{words}.toml").read_text().replace("#", " ").split())


def test_words_are_the_texts_with_most_different_ones_and_numbers_are_none(lab: Lab) -> None:
    rows = [{"pos": ["N", "V"], "tags": ["B-x", "O"], "words": [f"Ulm{hour}", "is"]} for hour in range(40)]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = suggested(lab, "a.jsonl", "--out", "a.toml")["recipe"]["task"]["data"]
    assert (data["words"], data["tags"]) == ("words", "pos")
    texts = [
        {"text": f"at {hour} it is {hour}", "label": "ab"[hour % 2], "ids": [hour, 7], "mask": [1, hour % 3]}
        for hour in range(40)
    ]
    Path("b.jsonl").write_text("\n".join(map(json.dumps, texts)))
    assert suggested(lab, "b.jsonl", "--out", "b.toml")["recipe"]["task"]["data"]["name"] == "nlp/text-files"


def test_tags_that_are_numbers_want_names(lab: Lab) -> None:
    rows = [{"tokens": ["in", "Ulm", f"at {hour}"], "tags": [0, 1, 0]} for hour in range(40)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, err = lab("suggest", "train.jsonl")
    assert code == 0 and "Tags are numbers: task.data.names = [...] says what they stand for" in out + err


def test_words_in_lines_with_parts_of_speech(lab: Lab) -> None:
    lines = [f"1\tUlm{place}\tulm\tPROPN\n2\tis\tbe\tVERB\n3\tlarge\tlarge\tADJ\n" for place in range(40)]
    Path("trees").mkdir()
    Path("trees", "train.conllu").write_text("\n".join(lines))
    Path("trees", "README.txt").write_text("Where the trees are from.")
    told = suggested(lab, "trees")
    assert told["what"] == "40 sentences whose words have one of 3 tags each"
    assert "metrics" not in told["recipe"]["task"] and "words" not in told["recipe"]["task"]["data"]  # as they lie
    assert trained(lab, "train.epochs=1")["status"] == "finished"


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "what", "overrides"),
    [
        ("adult", "48,842 rows of 15 columns, to tell 'income' from the others: 2 classes", ()),
        ("california_housing", "20,640 rows of 9 columns, to tell 'MedHouseVal' from the others: a number", ()),
        ("criteo_tiny/criteo_2000.csv.gz", "1,999 rows of 41 columns, to tell 'Label' from the others: 2 classes", ()),
        ("criteo_tiny/avazu_100_deepctr.csv.gz", "100 rows of 24 columns, to tell 'click' from the others", ()),
        ("mr_polarity", "8,530 texts ('text') of 2 classes ('label')", ()),
        ("multi30k_en_de", "29,000 pairs of texts, 'de' out of 'en'", ("model.width=16", "model.heads=2")),
    ],
)
def test_published_data_as_it_lies_is_trained_at_first_try(
    lab: Lab, name: str, what: str, overrides: tuple[str, ...]
) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {path}, which is kept beside the repository, not in it")
    assert what in suggested(lab, str(path))["what"]
    code, _, err = lab("run", "suggested.toml", *overrides, "--dry-run")
    assert code == 0, err


def test_running_text(lab: Lab) -> None:
    random.seed(0)
    Path("story.txt").write_text(" ".join("".join(random.choices("abcdefgh", k=5)) for _ in range(2000)))
    told = suggested(lab, "story.txt")
    assert told["what"].startswith("running text of 11,999 characters")
    assert trained(lab, "train.steps=2", "model.width=16", "model.heads=2")["status"] == "finished"


def test_pictures_that_lie_otherwise_are_told_how_they_should(lab: Lab) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (8, 8)).save("photos/one.png")
    code, _, err = lab("suggest", "photos")
    assert code == 2
    assert "as vision/class-pictures: " in err and "has no sub-folders" in err
