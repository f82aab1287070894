"""What a person can get wrong with data of users and items: each slip gets its one message and no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import labwright as lw
import pytest
from labwright import Run

GOOD = ["user,item,rating,time", *(f"u{n % 4},i{(7 * (n // 4) + n % 4) % 20},{n % 5 + 1},{n}" for n in range(60))]
IN_FOLDER = ("task.data.folder=folder",)
NAMED = ("task.data.rating=rating", "task.data.time=time")


@dataclass(frozen=True)
class Slip:
    """Files by name, the settings of the run, and a pattern of the message."""

    message: str
    files: dict[str, Sequence[str]] = field(default_factory=lambda: {"mine.csv": GOOD})
    settings: tuple[str, ...] = NAMED
    data: str = "recsys/interactions"
    task: str = "recsys/top-n"


def lines(*changed: str) -> dict[str, Sequence[str]]:
    return {"mine.csv": [*GOOD, *changed]}


def movielens(*files: str) -> dict[str, Sequence[str]]:
    return {f"folder/{name}": ["1\t2\t3"] for name in files} or {"folder/notes.txt": ["nothing"]}


SLIPS = {
    "no such file": Slip(
        r"task\.data\.file: there is no file or folder '.*mine\.cvs' in .*; did you mean 'mine\.csv'",
        settings=("task.data.file=mine.cvs",),
    ),
    "a missing column": Slip(
        r"mine\.csv: there is no column 'raiting'; did you mean 'rating'", settings=("task.data.rating=raiting",)
    ),
    "an empty file": Slip(r"mine\.csv has no rows", {"mine.csv": []}, ()),
    "a header and no rows": Slip(r"mine\.csv has no rows", {"mine.csv": GOOD[:1]}),
    "a rating that is no number": Slip(r"mine\.csv, line 62: the rating is 'good'", lines("u1,i3,good,61")),
    "a rating that isn't finite": Slip(r"mine\.csv, line 62: the rating is 'nan'", lines("u1,i3,nan,61")),
    "a negative time": Slip(
        r"mine\.csv, line 62: the time is '-5'; it should be seconds since 1970", lines("u1,i3,2,-5")
    ),
    "a time that is none": Slip(r"mine\.csv, line 62: the time is 'yesterday'.*2024-05-31", lines("u1,i3,2,yesterday")),
    "a row that is too short": Slip(r"mine\.csv, line 62: 2 cells below a header of 4, given 'u1,i3'", lines("u1,i3")),
    "a row that is too long": Slip(r"line 62: 5 cells below a header of 4.* needs quotes", lines("u1,i3,2,5,6")),
    "semicolons between columns": Slip(
        r"no column 'user'.*'?user;item'?;.* Set task\.data\.delimiter to ';'",
        {"mine.csv": ["user;item", "u1;i1"]},
        ("task.data.delimiter=,",),
    ),
    "no header": Slip(
        r"no column 'user'.* The first row looks like data: name its columns .*task\.data\.columns='\[.user., .item.\]",
        {"mine.csv": ["1,2,3", "1,3,4"]},
        (),
    ),
    "a header that columns are named for": Slip(
        r"mine\.csv, line 1: movieId, userId in the first row, where other rows have numbers: it seems to be a header",
        {"mine.csv": ["userId,movieId", "1,2", "1,3", "2,3"]},
        ("task.data.columns=['user', 'item']",),
    ),
    "columns of a file that has its own": Slip(
        r"task\.data\.columns: mine\.jsonl says itself what its columns are; leave it out",
        {"mine.jsonl": ['{"user": 1, "item": 2}']},
        ("task.data.file=mine.jsonl", "task.data.columns=['user', 'item']"),
    ),
    "a sign that isn't there": Slip(
        r"given '1,2,3', 1 cells for 2 columns, user, item\. Is '::' what stands between them",
        {"mine.csv": ["1,2,3", "1,3,4"]},
        ("task.data.columns=['user', 'item']", "task.data.delimiter=::"),
    ),
    "a pattern that fits nothing": Slip(
        r"task\.data\.file: no file is called as 'part-\*\.csv' says", settings=("task.data.file=part-*.csv",)
    ),
    "a test part that isn't there": Slip(
        r"task\.data\.parts\.test: there is no file or folder 'mine\.tset'",
        settings=("task.data.parts.test=mine.tset",),
    ),
    "a published split misspelt": Slip(
        r"task\.data\.parts\.tset: there is no such field; did you mean 'test'",
        settings=("task.data.parts.tset=mine.csv",),
    ),
    "two columns of a name": Slip(
        r"mine\.csv: 2 columns are called 'item'; rename all but one", {"mine.csv": ["user,item,item", "u1,i1,i2"]}, ()
    ),
    "a file of another encoding": Slip(
        r"mine\.csv, line 62: the byte 0xfc is no utf-8\. Set task\.data\.encoding .* cp1252",
        lines("J\xfcrgen,i3,2,5"),
        ("task.data.encoding=utf-8",),
    ),
    "an encoding that isn't there": Slip(
        r"task\.data\.encoding: Python knows no encoding of text 'utf-9'", settings=("task.data.encoding=utf-9",)
    ),
    "ratings with a comma in quotes": Slip(
        r"line 62: the rating is '4,5'; .* such as 4 or 3\.5", lines('u1,i3,"4,5",61')
    ),
    "a rating too large to keep": Slip(r"line 62: the rating is '1e39'", lines("u1,i3,1e39,61")),
    "numbers among dates": Slip(
        r"mine\.csv, line 3: the time is '1717286400'; the first one is '2024-05-31': all should be numbers",
        {"mine.csv": ["user,item,time", "u1,i1,2024-05-31", "u1,i2,1717286400"]},
        ("task.data.time=time",),
    ),
    "dates among numbers": Slip(
        r"line 3: the time is '2024-06-02'; the first one is '20240531'",
        {"mine.csv": ["user,item,time", "u1,i1,20240531", "u1,i2,2024-06-02"]},
        ("task.data.time=time",),
    ),
    "dates of another order": Slip(
        r"line 2: the time is '05/31/2024'; .* a date such as 2024-05-31",
        {"mine.csv": ["user,item,time", "u1,i1,05/31/2024", "u1,i2,06/01/2024"]},
        ("task.data.time=time",),
    ),
    "a file without a header": Slip(
        r"there is no column 'user'\. It has .*A1.*; task\.data\.user says which one holds the user",
        {"mine.csv": ["A1,B1,5.0,1400000000", "A1,B2,4.0,1400000001"]},
        (),
    ),
    "one column for users and items": Slip(
        r"task\.data\.item: given 'user', which task\.data\.user says", settings=("task.data.item=user",)
    ),
    "no row that is whole": Slip(
        r"mine\.csv: none of its 2 rows has a user and an? item and a rating",
        {"mine.csv": ["user,item,rating", "u1,,4", "u1,i1,"]},
        ("task.data.rating=rating",),
    ),
    "a title that begins with a quote": Slip(
        r"line 62: a quote opens a cell and isn't closed", lines('u1,"Heroes,2,61', "u2,i4,2,62", "u3,i5,2,63")
    ),
    "a quote that would swallow rows": Slip(
        r"line 62: a quote opens a cell that goes on to line 64, and each line of it looks like a row",
        lines('u1,"Heroes,2,61', "u2,i4,2,62", 'u3,of heroes",2,63'),
    ),
    "too few items": Slip(r"task\.top: given 25, but there are only 20 items", settings=(*NAMED, "task.top=25")),
    "more negatives than items": Slip(
        r"task\.negatives: given 20, but there are only 20 items", settings=(*NAMED, "task.negatives=20")
    ),
    "made-up users that no machine can hold": Slip(
        r"task\.data: the tastes of 100,000,000 users for 400 items.* needs 1,280\.0 GB",
        {},
        ("task.data.users=100000000",),
        "recsys/synthetic",
    ),
    "a split by time without times": Slip(
        r"'leave-one-out' goes by time",
        {"mine.csv": ["user,item", *(f"u{n},i{n}" for n in range(20))]},
        ("task.data.split=leave-one-out",),
    ),
    "only users with one interaction": Slip(
        r"of 20 users, none is both learned from and measured",
        {"mine.csv": ["user,item", *(f"u{n},i{n}" for n in range(20))]},
        (),
    ),
    "shares that leave nothing": Slip(
        r"leave nothing to learn from, given 0\.5 and 0\.6",
        settings=(*NAMED, "task.data.valid=0.5", "task.data.test=0.6"),
    ),
    "no rating is high enough": Slip(r"no training interaction is rated 9", settings=(*NAMED, "task.liked=9.0")),
    "liked without ratings": Slip(r"task\.liked: given 4.*no ratings", settings=("task.liked=4.0",)),
    "clicks without ratings": Slip(r"task\.data\.rating", settings=(), task="recsys/clicks"),
    "a threshold all are above": Slip(
        r"task\.threshold: given 0.*ratings go from 1 to 5",
        settings=(*NAMED, "task.threshold=0.0"),
        task="recsys/clicks",
    ),
    "a folder that isn't there": Slip(
        r"task\.data\.folder: there is no folder '.*elsewhere'", {}, ("task.data.folder=elsewhere",), "recsys/movielens"
    ),
    "a wrong folder": Slip(
        r"folder has no u\.data, ratings\.dat, ratings\.csv",
        movielens(),
        IN_FOLDER,
        "recsys/movielens",
    ),
    "the folder above the right one": Slip(
        r"did you mean '.*folder.ml-100k'",
        {"folder/ml-100k/u.data": ["1\t2\t3\t4"]},
        IN_FOLDER,
        "recsys/movielens",
    ),
    "a line of u.data that is too short": Slip(
        r"u\.data, line 1: given '1\\t2\\t3', 3 cells for 4 columns, user",
        movielens("u.data"),
        IN_FOLDER,
        "recsys/movielens",
    ),
    "a packed file that is none": Slip(
        r"u\.data\.gz, line 1: given '1\\t2\\t3'", movielens("u.data.gz"), IN_FOLDER, "recsys/movielens"
    ),
    "a packed file that is cut": Slip(
        r"u\.data\.gz can't be read: ", {"folder/u.data.gz": ["\x1f\x8b\x08\x00"]}, IN_FOLDER, "recsys/movielens"
    ),
    "ratings of somebody else": Slip(
        r"ratings\.csv: there is no column 'userId'\. MovieLens' file has .*'recsys/interactions' reads a table",
        {"folder/ratings.csv": GOOD},
        IN_FOLDER,
        "recsys/movielens",
    ),
    "an age that is none": Slip(
        r"u\.user, line 2: the age is 'old'; it should be a whole number",
        {"folder/u.data": ["1\t2\t3\t4"], "folder/u.user": ["1|24|M|artist|1", "2|old|M|artist|1"]},
        IN_FOLDER,
        "recsys/movielens",
    ),
    "an empty file of ratings": Slip(r"u\.data has no rows", {"folder/u.data": []}, IN_FOLDER, "recsys/movielens"),
    "a folder for a file": Slip(
        r"folder has no file `train`, or `training` .* several by a pattern: task\.data\.file=folder/\*\.csv",
        movielens("u.data"),
        ("task.data.file=folder",),
        "recsys/interactions",
    ),
    "clicks all alike": Slip(
        r"task\.threshold: given 4\.0, which all training pairs are at or above; ratings go from 4 to 4",
        {"mine.csv": ["user,item,r", *(f"u{n % 5},i{n},4" for n in range(60))]},
        ("task.data.rating=r",),
        task="recsys/clicks",
    ),
    "data of pictures": Slip(
        r"top-N recommendation needs interactions of users with items; Digits has none", {}, (), "vision/digits"
    ),
}


@pytest.mark.parametrize("case", SLIPS)
def test_a_slip_gets_one_message(case: str, write: Callable[..., Path], labwright: Callable, tmp_path: Path) -> None:
    slip = SLIPS[case]
    for name, content in slip.files.items():
        write(name, content, encoding="latin-1")
    clicks = slip.task == "recsys/clicks"
    loss, model = ("recsys/binary-cross-entropy", "deepfm") if clicks else ("recsys/bpr", "bpr-mf")
    text = f'task = {{ name = "{slip.task}", data = "{slip.data}" }}\nmodel = "recsys/{model}"\nloss = "{loss}"\n'
    text += 'optimizer = "adam"\ndevice = "cpu"\ntrain = { steps = 2, batch_size = 16 }\nlog = []\n'
    write("mine.toml", [text])
    given = "task.data.file=mine.csv"
    first = [given] if slip.data == "recsys/interactions" else []
    said = labwright("run", "mine.toml", *first, *slip.settings)
    assert said.code == 2, said
    assert said.errors.count("error: ") == 1 and "Traceback" not in said.errors, said.errors
    assert re.search(slip.message, said.errors, re.DOTALL), said.errors
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = {"name": "recsys/synthetic", "users": 30, "items": 40, "activity": 12}
    return lw.Experiment(
        task={"name": "recsys/top-n", "data": data}, model="recsys/popularity", device="cpu", log=()
    ).run(tmp_path_factory.mktemp("trained") / "run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--user", "1234"), r"no user is called '1234'"),
        (("--user", "somebody"), r"no user is called 'somebody'; there are 30, such as '1', '2', '3'"),
        (("--usr", "3"), r"no option --usr; did you mean 'user'"),
        (("--user",), r"--user needs a text"),
        (("--user", "9" * 5000), r"no user is called '9+'"),
        (("--user", "12\t3"), r"no user is called"),
        (("u.data",), r"no file or folder 'u\.data'"),
    ],
)
def test_a_slip_in_asking_gets_one_message(
    words: tuple[str, ...], message: str, trained: Run, labwright: Callable
) -> None:
    said = labwright("predict", trained.folder, *words)
    assert said.code == 2
    assert said.errors.count("error: ") == 1 and "Traceback" not in said.errors
    assert re.search(message, said.errors), said.errors


def test_rankings_are_measured_on_what_was_held_out(trained: Run, labwright: Callable) -> None:
    said = labwright("evaluate", trained.folder, "--split", "train")
    assert said.code == 2
    assert "take the split 'valid' or 'test'" in said.errors


def test_a_run_is_not_measured_on_another_split_than_its_own(trained: Run, labwright: Callable) -> None:
    said = labwright("evaluate", trained.folder, "task.data.split=leave-one-out")
    assert said.code == 2
    assert "learns something else of this data than the run did (interactions.safetensors in" in said.errors
    assert labwright("evaluate", trained.folder, "task.data.split=random").code == 0


def test_repeated_pairs_and_users_of_one_interaction_are_no_slip(
    write: Callable[..., Path], labwright: Callable
) -> None:
    write("mine.csv", [*GOOD, *GOOD[1:20], "alone,i3,4,99"])
    write(
        "mine.toml",
        ['task = { name = "recsys/top-n", data = { name = "recsys/interactions", file = "mine.csv" } }'
         '\nmodel = "recsys/ease"\ndevice = "cpu"\nlog = []'],
    )  # fmt: skip
    said = labwright("run", "mine.toml", "--folder", "run")
    assert said.code == 0, said.errors
    assert labwright("predict", "run", "--user", "alone").code == 0
