"""What check-data says of pictures: faults that were put in are found, and little else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
import torch
from labwright import Finding
from labwright_tasks.checking.look import look
from labwright_tasks.checking.samples import Copies
from labwright_vision.data.digits import Digits
from labwright_vision.data.image_folder import ImageFolder
from labwright_vision.data.mnist import Mnist
from labwright_vision.data.reading import size_of


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flipped_labels_of_digits_are_found(seed):
    data = Digits()
    data.prepare()
    generator = torch.Generator().manual_seed(seed)
    flipped = set()
    for name in ("train", "valid", "test"):
        labels = data.split(name).labels
        some = torch.randperm(len(labels), generator=generator)[: round(0.05 * len(labels))]
        labels[some] = (labels[some] + torch.randint(1, 10, (len(some),), generator=generator)) % 10
        flipped |= {(name, index) for index in some.tolist()}
    (finding,) = [one for one in look(data, most=10_000, seed=0, say=str).findings if one.check == "labels"]
    right = len(flipped & set(finding.samples))
    assert right / len(finding.samples) >= 0.8, "precision"
    assert right / len(flipped) >= 0.8, "recall"
    assert finding.wrong


# ------------------------------------------------------------------------------------------------ planted pictures


def scenes(count: int, seed: int = 0, size: tuple[int, int] = (64, 48)) -> list[PIL.Image.Image]:
    """Blurred patches of colour, each unlike the others."""
    draws = np.random.default_rng(seed)
    coarse = draws.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [PIL.Image.fromarray(patch).resize(size, PIL.Image.Resampling.BICUBIC) for patch in coarse]


def folder_of(path: Path, parts: dict[str, list[PIL.Image.Image]]) -> ImageFolder:
    for part, pictures in parts.items():
        for number, picture in enumerate(pictures):
            place = path / part / ("cat", "dog")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{number:03d}.png")
    data = ImageFolder(folder=path, size=32, valid=0.0, on_damaged="leave-out")
    data.prepare()
    return data


def numbers(data: ImageFolder, finding: Finding) -> set[tuple[str, int]]:
    """The parts and numbers of a finding's pictures, as their files are called."""
    return {(part, int(Path(data.place(part, index)).stem)) for part, index in finding.samples}


def saved_anew(picture: PIL.Image.Image, how: str) -> PIL.Image.Image:
    if how == "as jpeg":
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=40)
        return PIL.Image.open(content).convert("RGB")
    if how == "smaller":
        return picture.resize((picture.width // 2, picture.height // 2), PIL.Image.Resampling.BILINEAR)
    return PIL.ImageEnhance.Brightness(picture).enhance(0.8 if how == "darker" else 1.2)


def test_copies_saved_anew_in_another_part_are_found_and_nothing_else(tmp_path: Path) -> None:
    train, test = scenes(120), scenes(40, seed=1)
    for number in range(20):
        how = ("as jpeg", "smaller", "darker", "brighter")[number % 4]
        test[number] = saved_anew(train[2 * number], how)
    data = folder_of(tmp_path, {"train": train, "test": test})
    (near,) = [one for one in look(data, most=10_000, seed=0, say=str).findings if one.check == "duplicates"]
    assert numbers(data, near) == {("test", number) for number in range(20)}  # precision and recall of 1
    assert isinstance(near, Copies)
    others = {Path(data.place(*other)).stem for other in near.others}
    assert others == {f"{2 * number:03d}" for number in range(20)}


def test_chest_x_rays_that_are_in_two_parts_are_found() -> None:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "pneumoniamnist"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is kept beside the repository, not in it")
    data = Mnist(folder=folder)
    data.prepare()
    across = next(one for one in look(data, most=10_000, seed=0, say=str).findings if one.check == "duplicates")
    assert across.wrong and set(across.samples) == {("valid", 39), ("valid", 117), ("valid", 120)}


def test_pictures_of_odd_sizes_are_found_and_no_others(tmp_path: Path) -> None:
    train = scenes(60)
    train[4], train[9] = scenes(2, seed=1, size=(10, 12))
    train[21], train[22] = scenes(2, seed=2, size=(300, 60))
    train[40] = scenes(1, seed=3, size=(1600, 1200))[0]
    train[50] = scenes(1, seed=4, size=(80, 40))[0]  # somewhat long, which is nothing
    long, small, size = folder_of(tmp_path, {"train": train, "test": scenes(20, seed=5)}).checks()
    data = folder_of(tmp_path, {"train": train})
    assert numbers(data, long) == {("train", 21), ("train", 22)}
    assert numbers(data, small) == {("train", 4), ("train", 9)} and sorted(small.details) == ["10x12", "10x12"]
    assert numbers(data, size) == {("train", 4), ("train", 9), ("train", 40)}
    assert "about 64x48" in size.sentence


def test_a_picture_on_its_side_is_as_wide_as_it_is_shown(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    scenes(1)[0].save(tmp_path / "side.jpg", exif=exif)
    assert size_of(tmp_path / "side.jpg") == (48, 64)
