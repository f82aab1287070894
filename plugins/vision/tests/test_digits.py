"""The digits data: scikit-learn's pictures, scikit-learn's test part, and a validation part that stays as it is."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright import LabwrightError
from labwright_vision.data import digits
from labwright_vision.data.digits import Digits
from PIL import Image


def prepared(**settings: float) -> Digits:
    data = Digits(**settings)
    data.prepare()
    return data


def rows(data: Digits, name: str) -> Counter[bytes]:
    split = data.split(name)
    assert split is not None
    return Counter(row.numpy().tobytes() for row in split.x.flatten(1))


def test_the_test_part_is_the_one_scikit_learn_splits_off() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    _, x_test, _, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    split = prepared().split("test")
    assert split is not None
    ours = (split.x.flatten(1) * 0.3761 + 0.3053) * 16
    theirs = sorted((*row, label) for row, label in zip(x_test.tolist(), y_test.tolist(), strict=True))
    assert (
        sorted((*row, label) for row, label in zip(ours.round().tolist(), split.labels.tolist(), strict=True)) == theirs
    )


def test_the_parts_are_disjoint_and_hold_every_picture() -> None:
    data = prepared(valid=0.2)
    sizes = {name: len(data.split(name) or ()) for name in ("train", "valid", "test")}
    assert sizes == {"train": 1150, "valid": 287, "test": 360}
    everything = rows(prepared(valid=0.0), "train") + rows(data, "test")
    assert rows(data, "train") + rows(data, "valid") + rows(data, "test") == everything
    assert everything.total() == 1797


def test_the_validation_part_has_each_class_in_proportion_and_never_changes() -> None:
    data, again = prepared(), prepared(rotate=10.0)
    valid, train, same = data.split("valid"), data.split("train"), again.split("valid")
    assert valid is not None and train is not None and same is not None
    shares = valid.labels.bincount() / (valid.labels.bincount() + train.labels.bincount())
    assert (shares - 0.1).abs().max() < 1 / 130  # less than one picture off
    assert torch.equal(valid.x, same.x)


def test_valid_of_zero_holds_nothing_out() -> None:
    data = prepared(valid=0.0)
    assert data.split("valid") is None
    assert len(data.split("train") or ()) == 1437


def test_only_training_pictures_are_augmented() -> None:
    plain, moved = prepared(), prepared(rotate=15.0, shift=0.1)
    first = torch.arange(10)
    for name, same in (("train", False), ("valid", True), ("test", True)):
        one, other = plain.split(name), moved.split(name)
        assert one is not None and other is not None
        a, b = one.fetch(first, 0, 0), other.fetch(first, 0, 0)
        assert torch.equal(a.inputs[0], b.inputs[0]) is same
        assert torch.equal(a.targets, b.targets)


def test_augmented_pictures_are_measured_as_they_are() -> None:
    plain, moved = prepared().split("train"), prepared(rotate=15.0, shift=0.1).split("train")
    assert plain is not None and moved is not None
    first = torch.arange(10)
    assert torch.equal(moved.plain().fetch(first, 4, 2).inputs[0], plain.fetch(first, 0, 0).inputs[0])


def test_samples_are_told_from_others_whatever_the_augmentation() -> None:
    assert list(prepared().identity("train")) == list(prepared(rotate=15.0).identity("train"))
    assert list(prepared().identity("test")) == list(prepared(valid=0.5).identity("test"))
    assert list(prepared().identity("train")) != list(prepared(valid=0.5).identity("train"))


def test_ink_on_nothing_is_read_on_black(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[:, 4:, 3] = 0  # white on the left, nothing on the right
    Image.fromarray(pixels).save(tmp_path / "x.png")
    (x,) = prepared().read(tmp_path / "x.png")
    assert (x[..., :4] > 1).all() and (x[..., 4:] < 0).all()


def test_a_table_of_digits_that_is_not_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gzip.decompress(digits._table().read_bytes())
    path = tmp_path / "digits.csv.gz"
    monkeypatch.setattr(digits, "_table", lambda: path)
    for content in (whole[:5000], whole.replace(b"16", b"17", 1), whole[whole.index(b"\n") + 1 :], b"a,b\n"):
        for packed in (gzip.compress(content), gzip.compress(content)[:-9]):
            path.write_bytes(packed)
            with pytest.raises(LabwrightError, match=r"digits\.csv\.gz can't be read .*: install scikit-learn anew"):
                prepared()


def test_a_picture_file_of_any_kind_is_read_as_the_data_is(tmp_path: Path) -> None:
    data = prepared()
    split = data.split("test")
    assert split is not None
    values = ((split.x[0, 0] * 0.3761 + 0.3053) * 255).round().numpy().astype(np.uint8)
    large = Image.fromarray(values).resize((64, 64), Image.Resampling.NEAREST)
    large.save(tmp_path / "grey.png")
    large.convert("RGB").save(tmp_path / "colour.jpg", quality=95)
    Image.fromarray(np.asarray(large).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(values).save(tmp_path / "same.png")
    (exact,) = data.read(tmp_path / "same.png")
    torch.testing.assert_close(exact, split.x[:1], rtol=0, atol=1 / 255 / 0.3761)
    (grey,) = data.read(tmp_path / "grey.png")
    assert grey.shape == (1, 1, 8, 8)
    for name in ("colour.jpg", "deep.png"):
        torch.testing.assert_close(data.read(tmp_path / name)[0], grey, rtol=0, atol=0.1)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(LabwrightError, match=r"notes\.png.*no picture"):
        prepared().read(path)


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(LabwrightError, match="pip install scikit-learn"):
        prepared()


@pytest.mark.long
def test_digits_and_its_models_load_neither_scikit_learn_nor_torchvision_nor_timm() -> None:
    code = (
        "import sys; from labwright_vision.data.digits import Digits;"
        "from labwright_vision.models import cnn, mlp, resnet;"
        "data = Digits(rotate=5.0); data.prepare(); net = cnn.CNN(*data.ports());"
        "print([name for name in ('sklearn', 'torchvision', 'timm', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
