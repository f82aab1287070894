"""Looking at every picture once: what was seen is kept, and looked at again where a file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from labwright_vision.data import checking
from labwright_vision.data.checking import examined
from labwright_vision.data.reading import Facts, facts
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(checking, "_MANY", 4)
    paths = [tmp_path / "pictures" / f"{shade}.png" for shade in range(4)]
    paths[0].parent.mkdir()
    for shade, path in enumerate(paths):
        Image.new("L", (8, 8), shade).save(path)
    return paths


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def noted(path: Path) -> Facts:
        names.append(path.name)
        return facts(path)

    monkeypatch.setattr(checking, "facts", noted)
    return names


def test_a_second_look_is_at_changed_files_alone(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, names = pictures[0].parent, looked_at(monkeypatch)
    first = examined(root, pictures)
    assert sorted(names) == ["0.png", "1.png", "2.png", "3.png"]
    names.clear()
    assert examined(root, pictures) == first and names == []
    pictures[2].write_bytes(b"")
    os.utime(pictures[1], ns=(0, 0))
    second = examined(root, pictures)
    assert sorted(names) == ["1.png", "2.png"]
    assert second[2].problem == "it is empty" and second[:2] == first[:2]


def test_a_damaged_picture_that_is_mended_from_a_copy_of_the_same_time_is_read(pictures: list[Path]) -> None:
    whole, time = pictures[2].read_bytes(), pictures[2].stat().st_mtime_ns
    pictures[2].write_bytes(whole[:40] + bytes(len(whole) - 40))
    os.utime(pictures[2], ns=(time, time))
    assert examined(pictures[0].parent, pictures)[2].problem
    pictures[2].write_bytes(whole)
    os.utime(pictures[2], ns=(time, time))  # as `cp --preserve` leaves it
    assert examined(pictures[0].parent, pictures)[2] == facts(pictures[2])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 1}', '{"form": "0", "pictures": {"0.png": 3}}', "\0"])
def test_what_was_kept_and_is_torn_is_made_anew(pictures: list[Path], content: str) -> None:
    first = examined(pictures[0].parent, pictures)
    (file,) = (checking.cache() / "pictures").iterdir()
    file.write_text(content)
    assert examined(pictures[0].parent, pictures) == first


def test_where_nothing_can_be_kept_everything_is_looked_at(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pictures[0]))  # a file
    assert len(examined(pictures[0].parent, pictures)) == 4


def test_small_folders_leave_nothing_in_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("L", (8, 8)).save(path)
    examined(tmp_path, [path])
    assert not checking.cache().exists()
