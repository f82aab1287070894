"""Files are written whole or not at all, through no link, and as JSON in the strict sense."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import labwright as lw
import pytest
from labwright.base.files import append_line, json_text, numbers, refuse_links, refuse_special, write_json, write_text


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "recipe.toml").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "recipe.toml", "theirs")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "recipe.toml").read_text() == "theirs"
    assert not (tmp_path / "recipe.toml").is_symlink()


def test_a_file_that_cannot_be_written_stays_as_it_was_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "outcome.json").mkdir()
    with pytest.raises(lw.RunFailed, match=r"can't write .*outcome\.json"):
        write_text(tmp_path / "outcome.json", "text")
    with pytest.raises(lw.RunFailed, match="can't write"):
        write_text(tmp_path / "no" / "such" / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


def test_a_file_has_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_an_appended_line_stands_alone_after_a_torn_one(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_line(file, "one")
    file.write_bytes(file.read_bytes() + b"tor")
    append_line(file, "two")
    assert file.read_text() == "one\ntor\ntwo\n"


def test_nothing_is_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "lines").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="lines"):
        append_line(tmp_path / "lines", "theirs")
    assert (tmp_path / "precious").read_text() == "mine"


def test_links_and_pipes_at_any_depth_of_a_folder_that_is_written_to_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "task"
    folder.mkdir(parents=True)
    (folder / "classes.json").write_text("{}")
    refuse_links(tmp_path / "run")
    (tmp_path / "alias").symlink_to(tmp_path / "run")
    refuse_links(tmp_path / "alias")  # the folder itself may be reached by a link
    (folder / "more").symlink_to("/nowhere")
    with pytest.raises(lw.LabwrightError, match=r"task/more is a link to '/nowhere'"):
        refuse_links(tmp_path / "run")
    refuse_special(tmp_path / "run")
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe")
    for refuse in (refuse_links, refuse_special):
        with pytest.raises(lw.LabwrightError, match="task/pipe is no file"):
            refuse(tmp_path / "run")


def test_a_link_to_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").symlink_to("/dev/zero")
    with pytest.raises(lw.LabwrightError, match="is no file"):
        refuse_special(tmp_path)


def refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_numbers_that_are_not_finite_are_words_in_json_and_numbers_again_when_read_back(tmp_path: Path) -> None:
    value = {"loss": math.nan, "all": [1.5, math.inf, (-math.inf,)], "step": 3}
    plain = {"loss": "NaN", "all": [1.5, "Infinity", ["-Infinity"]], "step": 3}
    assert json.loads(json_text(value), parse_constant=refused) == plain
    write_json(tmp_path / "file.json", value)
    read = numbers(json.loads((tmp_path / "file.json").read_text(), parse_constant=refused))
    assert math.isnan(read["loss"])
    assert read["all"] == [1.5, math.inf, [-math.inf]]
    assert read["step"] == 3


def test_pandas_reads_numbers_that_are_not_finite() -> None:
    pandas = pytest.importorskip("pandas")
    lines = "\n".join(json_text({"loss": value}) for value in (1.5, math.nan, math.inf))
    column = pandas.read_json(io.StringIO(lines), lines=True)["loss"]
    assert str(column.dtype) == "float64"
    assert column.isna().tolist() == [False, True, False]
    assert column[2] == math.inf
