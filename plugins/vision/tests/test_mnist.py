"""MNIST from idx files, from an npz file, and from a mirror; every fault names its file."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright import Classes, LabwrightError
from labwright_vision.data.idx import read_idx
from labwright_vision.data.mnist import SHA256, Mnist, read_mnist


def idx(array: np.ndarray) -> bytes:
    """The idx file of an array of bytes, written from the format's description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def arrays(train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte.gz": generator.integers(0, 256, (train, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte.gz": (np.arange(train) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte.gz": generator.integers(0, 256, (test, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte.gz": (np.arange(test) % 10).astype(np.uint8),
    }


def write(folder: Path, *, gzipped: bool = True) -> dict[str, str]:
    """The four files in a folder; returns the checksums of the gzipped ones."""
    folder.mkdir(parents=True, exist_ok=True)
    checksums = {}
    for name, array in arrays().items():
        content = gzip.compress(idx(array), mtime=0)
        checksums[name] = hashlib.sha256(content).hexdigest()
        if gzipped:
            (folder / name).write_bytes(content)
        else:
            (folder / name.removesuffix(".gz")).write_bytes(idx(array))
    return checksums


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A web server with the four files, and their checksums."""
    checksums = write(tmp_path / "served")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", checksums
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("gzipped", [True, False])
def test_idx_files_are_read_gzipped_or_not(tmp_path: Path, gzipped: bool) -> None:
    write(tmp_path, gzipped=gzipped)
    for read, (name, written) in zip(read_mnist(tmp_path), arrays().items(), strict=True):
        assert np.array_equal(read, written), name


def test_an_npz_file_gives_the_same_splits_as_the_idx_files(tmp_path: Path) -> None:
    write(tmp_path / "idx")
    (tmp_path / "npz").mkdir()
    parts = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays().values(), strict=True))
    np.savez(tmp_path / "npz" / "mnist.npz", **parts)
    one, other = Mnist(folder=tmp_path / "idx", valid=0.25), Mnist(folder=tmp_path / "npz", valid=0.25)
    one.prepare()
    other.prepare()
    for name, size in (("train", 30), ("valid", 10), ("test", 20)):
        a, b = one.split(name), other.split(name)
        assert a is not None and b is not None
        assert len(a) == size and torch.equal(a.x, b.x) and torch.equal(a.labels, b.labels)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "no idx file"),  # floats
        (b"<html>not found</html>", "no idx file"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "ends after 8 bytes; its header alone has 16"),
        (bytes([0, 0, 8, 3, 0, 0]), "ends after 6 bytes"),
        (bytes([0, 0, 8, 0]), "says 5"),
        (bytes([0, 0, 8, 2, *[255] * 8]), "says 18,446,744,065,119,617,037"),  # (2^32 - 1)^2 + 12
        (bytes([0, 0, 8, 4, *([1, 0, 0, 0] * 4)]), "says"),  # 2^96, which is 0 in 64 bits
        (idx(np.zeros((3, 4), np.uint8))[:-1], "says 24"),
        (idx(np.zeros((3, 4), np.uint8)) + b"x", "says 24"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(LabwrightError, match=f"train-images-idx3-ubyte.*{words}"):
        read_idx(path)


def test_a_torn_gzip_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LabwrightError, match=r"t10k-images-idx3-ubyte\.gz can't be read"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("name", SHA256)
@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b""), gzip.compress(b"<html>"), gzip.compress(idx(np.zeros((2, 2), np.uint8)))],
    ids=["empty", "not gzipped", "nothing gzipped", "a page", "other axes"],
)
def test_each_of_the_four_files_is_read_whole_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabwrightError, match=str(tmp_path)):
        read_mnist(tmp_path)


@pytest.mark.parametrize("at", range(0, 1000, 90))
def test_an_npz_file_that_is_damaged_is_refused_or_read_as_it_was(tmp_path: Path, at: int) -> None:
    parts = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays().values(), strict=True))
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **parts)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    for damaged in (content, content[:at], content[: -1 - at]):
        path.write_bytes(damaged)
        try:
            read = read_mnist(tmp_path)
        except LabwrightError as error:
            assert "mnist.npz can't be read" in str(error)
        else:
            assert all(np.array_equal(one, other) for one, other in zip(read, parts.values(), strict=True))


def test_an_array_under_the_name_of_an_archive_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "mnist.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(LabwrightError, match=r"mnist\.npz can't be read"):
        read_mnist(tmp_path)


def test_samples_are_told_from_others_by_pictures_and_labels(tmp_path: Path) -> None:
    def identity(part: str, **settings: float) -> list[str]:
        data = Mnist(folder=tmp_path, **settings)
        data.prepare()
        return list(data.identity(part))

    write(tmp_path)
    before = {part: identity(part) for part in ("train", "test")}
    assert identity("train", rotate=9.0) == before["train"]
    assert identity("train", valid=0.5) != before["train"]
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        write(tmp_path)
        changed = arrays()[name].copy()
        changed.flat[0] = (changed.flat[0] + 1) % 10
        (tmp_path / name).write_bytes(gzip.compress(idx(changed)))
        assert identity("test") != before["test"] and identity("train") == before["train"]


def test_pictures_and_labels_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(LabwrightError, match=r"test part.*\(20, 28, 28\).*\(7,\)"):
        read_mnist(tmp_path)


def test_an_npz_file_without_the_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x=np.zeros(3))
    with pytest.raises(LabwrightError, match=r"mnist\.npz.*x_train, y_train, x_test, y_test"):
        read_mnist(tmp_path)


def test_pictures_of_floats_are_refused_rather_than_cut_to_zero(tmp_path: Path) -> None:
    parts = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays().values(), strict=True))
    np.savez(tmp_path / "mnist.npz", **parts | {"x_train": parts["x_train"] / 255})
    with pytest.raises(LabwrightError, match="x_train holds other values"):
        read_mnist(tmp_path)


@pytest.mark.timing
def test_what_is_missing_is_downloaded_into_the_folder_once(tmp_path: Path, mirror: tuple[str, dict[str, str]]) -> None:
    address, checksums = mirror
    folder = tmp_path / "new" / "mnist"
    first = read_mnist(folder, [address], checksums)
    assert sorted(path.name for path in folder.iterdir()) == sorted(checksums)
    again = read_mnist(folder, ["http://127.0.0.1:1/"], checksums)  # nobody is asked any more
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.timing
def test_a_mirror_that_is_down_or_wrong_is_passed_over(tmp_path: Path, mirror: tuple[str, dict[str, str]]) -> None:
    address, checksums = mirror
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in checksums:
        (wrong / name).write_bytes(b"another file")
    read_mnist(tmp_path / "here", ["http://127.0.0.1:1/", wrong.as_uri() + "/", address], checksums)
    assert {path.name for path in (tmp_path / "here").iterdir()} == set(checksums)


@pytest.mark.timing
def test_a_wrong_checksum_leaves_nothing_behind(tmp_path: Path, mirror: tuple[str, dict[str, str]]) -> None:
    with pytest.raises(LabwrightError, match="another checksum"):
        read_mnist(tmp_path / "here", [mirror[0]])  # the checksums of the true MNIST
    assert not (tmp_path / "here").exists()


def test_without_network_the_message_says_which_files_go_where(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError) as caught:
        read_mnist(tmp_path / "mnist", ["http://127.0.0.1:1/"])
    message = str(caught.value)
    assert str(tmp_path / "mnist") in message
    assert all(name in message for name in SHA256)
    assert "mnist.npz" in message and "task.data.folder=" in message


def test_the_default_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write(tmp_path / "labwright" / "mnist")
    data = Mnist()
    data.prepare()
    assert len(data.split("train") or ()) == 36


def test_the_shared_copy_of_mnist_is_read_whole(mnist_folder: Path) -> None:
    data = Mnist(folder=mnist_folder)
    data.prepare()
    sizes = [len(data.split(name) or ()) for name in ("train", "valid", "test")]
    assert sizes == [18000, 2000, 10000]  # as its SOURCE.md says, a tenth held out
    train = data.split("train")
    assert train is not None
    assert abs(train.x.mean().item()) < 0.02 and abs(train.x.std().item() - 1) < 0.02
    assert torch.equal(train.labels.bincount(), torch.full((10,), 1800))


def test_other_sets_in_the_layout_have_classes_of_their_own(tmp_path: Path) -> None:
    names = tuple(f"garment {number}" for number in range(10))
    write(tmp_path / "fashion")
    data = Mnist(folder=tmp_path / "fashion", classes=names)
    data.prepare()
    assert data.ports()[1] == Classes(names)
    x, y = arrays(20)["train-images-idx3-ubyte.gz"], (np.arange(20) % 2).astype(np.uint8)[:, None]
    parts = {f"{part}_{what}": of for part in ("train", "val", "test") for what, of in (("images", x), ("labels", y))}
    (tmp_path / "medical").mkdir()
    np.savez(tmp_path / "medical" / "pneumoniamnist.npz", **parts)
    for folder in (tmp_path / "medical", tmp_path / "medical" / "pneumoniamnist.npz"):
        data = Mnist(folder=folder, classes=("normal", "pneumonia"))
        data.prepare()
        for part in ("train", "valid", "test"):
            split = data.split(part)
            assert split is not None and split.labels.tolist() == y[:, 0].tolist()
    with pytest.raises(LabwrightError, match=r"label of the training part is 9, and task\.data\.classes names 2"):
        Mnist(folder=tmp_path / "fashion", classes=("a", "b")).prepare()
