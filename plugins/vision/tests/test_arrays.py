"""Pictures in arrays: CIFAR's binary batches and MedMNIST's npz files, laid out here as they are published."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labwright import Classes, Heads, Image, LabwrightError
from labwright_vision.data.cifar import Cifar
from labwright_vision.data.npz import Npz
from PIL import Image as Pillow

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)


def batches(folder: Path, *labels: list[int]) -> Path:
    """Rows as cifar-10-binary.tar.gz has them: the labels, then red, green and blue, each row by row."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = np.array(labels, dtype=np.uint8).T
    rows = np.concatenate([columns, PICTURES[: len(columns)].reshape(len(columns), -1)], axis=1)
    name = ("data_batch_1.bin", "test_batch.bin") if len(labels) == 1 else ("train.bin", "test.bin")
    (folder / name[0]).write_bytes(rows.tobytes())
    (folder / name[1]).write_bytes(rows[:10].tobytes())
    return folder


def test_cifar_10_in_bytes_has_the_pictures_and_labels_that_were_written(tmp_path: Path) -> None:
    data = Cifar(folder=batches(tmp_path / "cifar-10-batches-bin", [n % 10 for n in range(60)]).parent, valid=0.0)
    data.prepare()
    assert data.ports()[0] == Image(3, 32, 32) and data.names[3] == "cat"
    train, test = data.split("train"), data.split("test")
    assert train is not None and test is not None and data.split("valid") is None
    batch = train.fetch(torch.tensor([7]), 0, 0)
    assert batch.targets.tolist() == [7] and len(test) == 10
    values_NCP = PICTURES.reshape(60, 3, -1) / 255
    mean_C, deviation_C = values_NCP.mean((0, 2)), values_NCP.std((0, 2))
    expected = (PICTURES[7] / 255 - mean_C[:, None, None]) / deviation_C[:, None, None]
    np.testing.assert_allclose(batch.inputs[0][0].numpy(), expected, atol=1e-5)


def test_cifar_100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    folder = batches(tmp_path, [n % 20 for n in range(60)], [n % 100 for n in range(60)])
    (folder / "fine_label_names.txt").write_text("".join(f"fine {n}\n" for n in range(100)))
    (folder / "coarse_label_names.txt").write_text("".join(f"coarse {n}\n" for n in range(20)))
    for labels, count in (("fine", 100), ("coarse", 20)):
        data = Cifar(folder=folder, labels=labels, valid=0.0)  # type: ignore[arg-type]
        data.prepare()
        split = data.split("train")
        assert split is not None and split.labels.tolist() == [n % count for n in range(60)]
        assert data.names[5] == f"{labels} 5"


def test_pickles_are_refused_with_what_to_take_and_never_loaded(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(LabwrightError, match=r"pickles \(data_batch_1\).*can run any code.*cifar-10-binary\.tar\.gz"):
        Cifar(folder=tmp_path).prepare()
    np.savez(tmp_path / "set.npz", train_images=np.array([Runs()], dtype=object), train_labels=np.zeros(1))
    with pytest.raises(LabwrightError, match=r"set\.npz can't be read as an \.npz file of numbers"):
        Npz(path=tmp_path / "set.npz").prepare()
    assert not (tmp_path / "ran").exists()


def test_a_torn_batch_is_named(tmp_path: Path) -> None:
    folder = batches(tmp_path, [0, 1])
    (folder / "test_batch.bin").write_bytes(b"x" * 5000)
    with pytest.raises(LabwrightError, match=r"test_batch\.bin has 5,000 bytes, which are no whole rows of 3,073"):
        Cifar(folder=folder).prepare()


def test_batches_of_cifar_10_that_are_not_there_are_told_and_copies_are_not_read(tmp_path: Path) -> None:
    folder = batches(tmp_path, [n % 10 for n in range(60)])
    (folder / "data_batch_1 (1).bin").write_bytes((folder / "data_batch_1.bin").read_bytes())
    (folder / "data_batch_5.bin").write_bytes((folder / "data_batch_1.bin").read_bytes())
    data = Cifar(folder=folder, valid=0.0)
    data.prepare()
    assert len(data.split("train") or ()) == 120
    lacking, twice = data.remarks()
    assert "lacks data_batch_2.bin, data_batch_3.bin, data_batch_4.bin" in lacking
    assert twice == (
        "10 of 10 pictures of test are in another part as well, such as number 0, which is number 0 of train: test "
        "flatters. `labwright check-data` names them all."
    )


def medical(path: Path, pictures: np.ndarray, labels: np.ndarray) -> Path:
    arrays = {
        f"{part}_{what}": of
        for part in ("train", "val", "test")
        for what, of in (("images", pictures), ("labels", labels))
    }
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("shape", "port"),
    [((30, 28, 28), Image(1, 28, 28)), ((30, 28, 28, 3), Image(3, 28, 28)), ((30, 64, 64, 3), Image(3, 64, 64))],
)
def test_the_flat_sets_of_medmnist_are_read_in_grey_and_colour_and_any_size(
    tmp_path: Path, shape: tuple[int, ...], port: Image
) -> None:
    pictures = GENERATOR.integers(0, 256, shape, dtype=np.uint8)
    data = Npz(path=medical(tmp_path / "a.npz", pictures, np.arange(30)[:, None] % 3), classes=("a", "b", "c"))
    data.prepare()
    assert data.ports() == (port, Classes(("a", "b", "c")))
    valid = data.split("valid")
    assert valid is not None
    (x_BCHW,), labels_B = (batch := valid.fetch(torch.tensor([4]), 0, 0)).inputs, batch.targets
    shown = x_BCHW[0] * torch.tensor(data.deviation)[:, None, None] + torch.tensor(data.mean)[:, None, None]
    as_read = pictures[4] if len(shape) == 4 else pictures[4][..., None]
    np.testing.assert_allclose(shown.permute(1, 2, 0).numpy() * 255, as_read, atol=1e-3)
    assert labels_B.tolist() == [1]


def test_several_labels_of_each_are_heads(tmp_path: Path) -> None:
    labels = GENERATOR.integers(0, 2, (30, 14))
    path = medical(tmp_path / "chest.npz", GENERATOR.integers(0, 256, (30, 28, 28), dtype=np.uint8), labels)
    data = Npz(path=path, targets="several")
    data.prepare()
    outputs = data.ports()[1]
    assert isinstance(outputs, Heads) and len(outputs.ports) == 14
    test = data.split("test")
    assert test is not None
    targets = test.fetch(torch.arange(30), 0, 0).targets
    assert torch.equal(torch.stack([targets[name] for name in outputs.ports], 1), torch.from_numpy(labels))
    with pytest.raises(LabwrightError, match=r"several for each picture: task\.data\.targets=several"):
        Npz(path=path).prepare()


@pytest.mark.parametrize(
    ("pictures", "labels", "message"),
    [
        (np.zeros((4, 28, 28, 28), np.uint8), np.zeros((4, 1), int), "volumes, which aren't pictures"),
        (np.zeros((4, 28, 28), np.float32), np.zeros((4, 1), int), "whole numbers 0 to 255"),
        (np.zeros((4, 28, 28), np.uint8), np.zeros((3, 1), int), "with labels of"),
        (np.zeros((4, 28, 28), np.uint8), np.full((4, 1), 2), "labels up to 2, and 2 are named"),
    ],
)
def test_arrays_that_are_no_such_pictures_are_refused(
    tmp_path: Path, pictures: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(LabwrightError, match=message):
        Npz(path=medical(tmp_path / "a.npz", pictures, labels), classes=("a", "b")).prepare()


def test_arrays_that_are_not_read_are_told(tmp_path: Path) -> None:
    pictures, labels = GENERATOR.integers(0, 256, (20, 8, 8), dtype=np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x_train=pictures, y_train=labels, x_test=pictures, x_val=pictures, y_val=labels)
    data = Npz(path=tmp_path / "a.npz")
    data.prepare()
    assert data.split("test") is None
    assert [(kind.count, kind.what) for kind in data.left_out()] == [(3, "arrays")]
    assert "x_test, x_val, y_val" in data.left_out()[0].why


def test_parts_of_other_sizes_or_labels_than_the_training_part_s_are_refused(tmp_path: Path) -> None:
    pictures, several = GENERATOR.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8), np.ones((20, 2), int)
    arrays = {"x_train": pictures, "y_train": np.arange(20) % 2}
    for other in (pictures[:, :6], pictures[..., :1]):
        np.savez(tmp_path / "a.npz", **arrays, x_test=other, y_test=np.arange(20) % 2)
        with pytest.raises(LabwrightError, match=r"test has pictures of \(.*those of train are \(3, 8, 8\)"):
            Npz(path=tmp_path / "a.npz").prepare()
    np.savez(tmp_path / "a.npz", x_train=pictures, y_train=several, x_test=pictures, y_test=np.ones((20, 3), int))
    with pytest.raises(LabwrightError, match=r"test has pictures of .* with labels of \(3,\); .* with \(2,\)"):
        Npz(path=tmp_path / "a.npz", targets="several").prepare()
    np.savez(tmp_path / "a.npz", **arrays)
    data = Npz(path=tmp_path / "a.npz")
    data.prepare()
    for pixels, labels in ((pictures[:, :6], np.arange(20) % 2), (pictures, several)):
        np.savez(tmp_path / "b.npz", **arrays, x_test=pixels, y_test=labels)
        with pytest.raises(LabwrightError, match=r"b\.npz has pictures of .*the run learned from \(3, 8, 8\) with one"):
            data.on(tmp_path / "b.npz")


def test_holding_out_all_pictures_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((20, 8, 8), np.uint8), y_train=np.arange(20) % 2)
    with pytest.raises(LabwrightError, match=r"task\.data\.valid: 0\.99 of 20 pictures is all"):
        Npz(path=tmp_path / "a.npz", valid=0.99).prepare()


def test_what_was_learned_of_arrays_reads_a_picture_without_them(tmp_path: Path) -> None:
    data = Cifar(folder=batches(tmp_path / "cifar", [0, 1, 2, 3]), valid=0.25)
    data.prepare()
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    loaded = Cifar(folder=tmp_path / "gone")
    loaded.load(tmp_path / "kept")
    Pillow.fromarray(PICTURES[0].transpose(1, 2, 0)).save(tmp_path / "first.png")
    (x_BCHW,) = loaded.read(tmp_path / "first.png")
    test = data.split("test")
    assert test is not None
    torch.testing.assert_close(x_BCHW, test.fetch(torch.tensor([0]), 0, 0).inputs[0])


def test_other_data_is_other_files_of_the_layout_and_labels_beyond_the_classes_are_left_out(tmp_path: Path) -> None:
    pictures = GENERATOR.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    data = Npz(path=medical(tmp_path / "a.npz", pictures, np.arange(30) % 3))
    data.prepare()
    np.savez(tmp_path / "b.npz", test_images=pictures[:8], test_labels=np.arange(8) % 4)
    other = data.on(tmp_path / "b.npz")
    split = other.split("test")
    assert split is not None and split.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert [(kind.count, kind.what) for kind in other.left_out()] == [(2, "pictures")]
    np.savez(tmp_path / "c.npz", test_images=pictures[:8, :20], test_labels=np.arange(8) % 3)
    with pytest.raises(LabwrightError, match=r"pictures of \(1, 20, 28\).*the run learned from \(1, 28, 28\)"):
        data.on(tmp_path / "c.npz")


def test_true_is_white_as_it_is_in_a_picture_that_is_predicted(tmp_path: Path) -> None:
    shown, labels = GENERATOR.random((20, 8, 8)) < 0.5, np.arange(20) % 2
    np.savez(tmp_path / "x.npz", train_images=shown, train_labels=labels)
    data = Npz(path=tmp_path / "x.npz", valid=0.0)
    data.prepare()
    Pillow.fromarray(shown[3]).save(tmp_path / "3.png")  # of 1 bit
    split = data.split("train")
    assert split is not None
    assert torch.equal(data.read(tmp_path / "3.png")[0], split.fetch(torch.tensor([3]), 0, 0).inputs[0])


def test_arrays_of_0_and_1_are_remarked_and_names_that_stand_twice_refused(tmp_path: Path) -> None:
    shown, labels = GENERATOR.integers(0, 2, (20, 8, 8)), GENERATOR.integers(0, 2, (20, 2))
    np.savez(tmp_path / "x.npz", train_images=shown, train_labels=labels)
    data = Npz(path=tmp_path / "x.npz", valid=0.0, targets="several")
    data.prepare()
    (said,) = data.remarks()
    assert "values up to 1 where 255 is white" in said and said.endswith("multiply the arrays by 255.")
    with pytest.raises(LabwrightError, match=r"task\.data\.classes: 'effusion' stands there twice"):
        Npz(path=tmp_path / "x.npz", targets="several", classes=("effusion", "effusion")).prepare()
