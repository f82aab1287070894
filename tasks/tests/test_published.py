"""Published splits: files of their own, a column that names the part, and lists of identifiers."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest
from labwright import LabwrightError, LeftOut
from labwright_tasks.delimited import Written
from labwright_tasks.published import Parts, Published, read_parts

ROWS = [("a", "train"), ("b", "test"), ("c", "dev"), ("d", ""), ("e", "Training")]


def read(path: Path, parts: Parts | None = None, **settings: object) -> Published:
    return read_parts(path, {"text": "text"}, written=Written(), parts=parts, **settings)  # type: ignore[arg-type]


def texts(published: Published) -> dict[str, list[str]]:
    return {part: list(table["text"]) for part, table in published.tables.items()}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text(
        "id,text,split\n" + "".join(f"{place}.0,{text},{part}\n" for place, (text, part) in enumerate(ROWS))
    )
    return file


def test_without_a_published_split_everything_is_to_learn_from(rows: Path) -> None:
    assert texts(read(rows)) == {"train": ["a", "b", "c", "d", "e"]}


def test_a_column_names_the_part_of_each_row(rows: Path) -> None:
    published = read(rows, Parts(column="split"))
    assert texts(published) == {"train": ["a", "d", "e"], "valid": ["c"], "test": ["b"]}
    assert published.remarks == ["1 rows have no part in column 'split': taken for training."]
    assert published.tables["test"].where(0) == f"{rows}, line 3"
    every = read(rows, Parts(column="split"), every=True)
    assert list(every.tables["valid"].columns) == ["id", "text", "split"]
    with pytest.raises(LabwrightError, match=r"rows\.csv, line 2: column 'text' says 'a'\. It is one of dev, test,"):
        read(rows, Parts(column="text"))


def test_lists_say_which_rows_a_part_has(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("1\n3\n\n99\n")  # 1.0 in the table is the same identifier
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(b"0\n2\n"))
    published = read(rows, Parts(column="id", test=tmp_path / "test.txt"))
    assert texts(published) == {"train": ["a", "c", "e"], "test": ["b", "d"]}
    assert published.remarks == ["lists name 1 that no row has, such as '99'."]
    both = read(rows, Parts(column="id", test=tmp_path / "test.txt", train=tmp_path / "train.txt.gz"))
    assert texts(both) == {"train": ["a", "c"], "test": ["b", "d"]}
    assert both.left_out == [LeftOut(1, "row", "on no list of task.data.parts")]
    (tmp_path / "again.txt").write_text("3\n")
    with pytest.raises(LabwrightError, match="'3' is on the list of valid and on that of test"):
        read(rows, Parts(column="id", valid=tmp_path / "again.txt", test=tmp_path / "test.txt"))
    (tmp_path / "other.txt").write_text("anna\n")
    with pytest.raises(LabwrightError, match="none of the 1 names on the lists, such as 'anna', stands in the column"):
        read(rows, Parts(column="id", test=tmp_path / "other.txt"))
    (tmp_path / "all.txt").write_text("0\n1\n2\n3\n4\n")
    with pytest.raises(LabwrightError, match=r"no row of .*rows\.csv is one to learn from"):
        read(rows, Parts(column="id", test=tmp_path / "all.txt"))


def test_parts_have_files_of_their_own(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "held-out.jsonl").write_text('{"text": "x"}\n')
    assert texts(read(rows, Parts(test=tmp_path / "held-out.jsonl")))["test"] == ["x"]
    with pytest.raises(LabwrightError, match=r"task\.data\.parts\.test: there is no file or folder 'held-out\.json'"):
        read(rows, Parts(test=Path("held-out.json")))


def test_a_folder_or_an_archive_has_files_called_like_parts(tmp_path: Path) -> None:
    content = {
        "train-00000-of-00002.csv": "text\na\n",
        "train-00001-of-00002.csv": "text\nb\n",
        "dev.csv": "text\nc\n",
        "README.md": "",
        ".hidden": "",
    }
    (tmp_path / "set").mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, rows in content.items():
            (tmp_path / "set" / name).write_text(rows)
            archive.writestr(f"set/{name}", rows)
    for path in (tmp_path / "set", tmp_path / "set.zip"):
        published = read(path)
        assert texts(published) == {"train": ["a", "b"], "valid": ["c"]}
        assert published.left_out[0] == LeftOut(1, "file", "no part's name: README.md")
        assert (
            published.tables["train"].where(1)
            == f"{path}/{'set/' if path.suffix else ''}train-00001-of-00002.csv, line 2"
        )
    (tmp_path / "set" / "training.csv").write_text("text\nb\n")
    with pytest.raises(LabwrightError, match=r"has two files for 'train': train-00000-of-00002\.csv and"):
        read(tmp_path / "set")
