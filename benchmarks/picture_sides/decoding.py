"""Batches a second of the processor: pictures read and decoded by labwright, beside Pillow alone and torchvision.

One thread, no loader workers, files that the system has in memory, an epoch each in turn.

`folder`: made JPEGs of 400 by 300 to batches of 64 pictures of 128 by 128 by `vision/image-folder`, augmenting nothing,
beside a loop that decodes, cuts, resizes and does nothing else, also with Pillow. `segments`: 160 by 120 pictures and
masks by `vision/segmentation-folder`, resized by 0.5 to 1.5, cut and flipped, beside the preset of torchvision's
reference script in a DataLoader; labwright keeps them decoded in memory, the reference decodes each time, "decoded
before" doesn't. `boxes`: 320 by 240 pictures with boxes by `vision/detection-folder`, scaled and flipped, beside the
reference's preset "lsj" in a DataLoader, in the same way.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from picture_sides import Figures, Piece, detection, segmentation

BATCH, PICTURES, WIDTH, HEIGHT, SIZE = 64, 512, 400, 300, 128
_SMALL = 8  # pictures in a batch with masks or boxes

Epoch = Callable[[int], Iterable[Any]]


def measured(data: Path, scratch: Path, rounds: int) -> dict[str, Figures]:
    """Of each pair the sides' pictures a second of the processor, and labwright's as a share of the others'."""
    import torch

    torch.set_num_threads(1)
    pairs = {"folder": folder(scratch), "segments": segments(data), "boxes": boxes(data)}
    return {name: _in_turn(sides, rounds) for name, sides in pairs.items()}


def _in_turn(sides: dict[str, Epoch], rounds: int) -> Figures:
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, epoch in sides.items():
            start, count = time.process_time(), 0
            for batch in epoch(number):
                count += len(batch)
            if number:  # the first of each isn't counted
                speeds[name].append(count / (time.process_time() - start))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ours, *peers = speeds
    ratios = {
        f"beside {peer}": statistics.median(one / other for one, other in zip(speeds[ours], speeds[peer], strict=True))
        for peer in peers
    }
    return medians | ratios


def _by_labwright(data: Any, size: int) -> Epoch:
    """Batches of `train` as a task of the core asks for them."""
    import torch
    from labwright import IndexedBatches, epoch_order

    data.prepare()
    train = data.split("train")

    def epoch(number: int) -> Iterable[Any]:
        order = torch.split(epoch_order(len(train), seed=0, epoch=number), size)
        return (batch.inputs[0] for batch in IndexedBatches(train, order, seed=0, epoch=number))

    return epoch


def folder(scratch: Path) -> dict[str, Epoch]:
    import numpy as np
    from labwright_vision.data.image_folder import ImageFolder
    from PIL import Image

    chance = np.random.default_rng(0)
    for number in range(PICTURES):
        coarse = Image.fromarray(chance.integers(0, 256, (HEIGHT // 6, WIDTH // 6, 3), dtype=np.uint8))
        (scratch / str(number % 4)).mkdir(exist_ok=True)
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(scratch / str(number % 4) / f"{number}.jpg")
    paths = sorted(scratch.rglob("*.jpg"))
    left = (WIDTH - HEIGHT) / 2

    def pillow(number: int) -> Iterable[Any]:
        for start in range(0, len(paths), BATCH):
            batch = []
            for path in paths[start : start + BATCH]:
                with Image.open(path) as opened:
                    opened.draft("RGB", (2 * SIZE, 2 * SIZE))  # as far as the decoder makes it smaller by itself
                    square = (left, 0, WIDTH - left, HEIGHT)
                    batch.append(opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=square))
            yield batch

    data = ImageFolder(folder=scratch, size=SIZE, valid=0.0, test=0.0)
    return {"labwright": _by_labwright(data, BATCH), "Pillow": pillow}


def segments(data: Path) -> dict[str, Epoch]:
    import torch
    from labwright_vision.data.segmentation_folder import SegmentationFolder
    from torchvision.transforms import v2

    where = data / "camvid_segmentation"
    ours = SegmentationFolder(folder=where, void=[11], scale=0.5, flip=True)
    reference = v2.Compose(  # SegmentationPresetTrain of torchvision's references
        [
            v2.RandomResize(min_size=60, max_size=240),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop((120, 160), pad_if_needed=True),
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            v2.ToPureTensor(),
        ]
    )
    read = segmentation.read(Piece(where, where, 0.0, 0, "train"), "train")
    return {
        "labwright": _by_labwright(ours, _SMALL),
        "torchvision": _loader(_encoded(read), reference),
        "torchvision, decoded before": _loader([lambda pair=pair: pair for pair in read], reference),
    }


def boxes(data: Path) -> dict[str, Epoch]:
    import torch
    from labwright_vision.detection.data.folder import DetectionFolder
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    where = data / "bccd_detection"
    ours = DetectionFolder(folder=where, height=240, width=320, scale=0.4, flip=True)
    reference = v2.Compose(  # DetectionPresetTrain "lsj" of torchvision's references, for pictures of this size
        [
            v2.ScaleJitter(target_size=(240, 320), antialias=True),
            v2.RandomCrop((240, 320), pad_if_needed=True, fill=0),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    read = []
    for record, picture in zip(*detection.read(Piece(where, where, 0.0, 0, "train"), "train"), strict=True):
        box = tv_tensors.BoundingBoxes(record["boxes"], format="XYXY", canvas_size=(240, 320))
        labels = torch.tensor([detection.NAMES.index(name) for name in record["labels"]])
        read.append((tv_tensors.Image(v2.functional.pil_to_tensor(picture)), {"boxes": box, "labels": labels}))
    return {
        "labwright": _by_labwright(ours, _SMALL),
        "torchvision": _loader(_encoded(read), reference),
        "torchvision, decoded before": _loader([lambda pair=pair: pair for pair in read], reference),
    }


def _encoded(pairs: list[tuple[Any, Any]]) -> list[Callable[[], tuple[Any, Any]]]:
    """Pairs whose pictures are decoded from JPEG when they are asked for, and masks from PNG."""
    import torch
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

    def written(picture: Any, kind: str) -> bytes:
        output = io.BytesIO()
        picture.save(output, kind, quality=90)
        return output.getvalue()

    def reading(picture: bytes, target: Any) -> tuple[Any, Any]:
        if isinstance(target, bytes):
            target = tv_tensors.Mask(pil_to_tensor(Image.open(io.BytesIO(target)))[0].to(torch.int64))
        return tv_tensors.Image(pil_to_tensor(Image.open(io.BytesIO(picture)).convert("RGB"))), target

    files = [
        (
            written(to_pil_image(picture), "JPEG"),
            target if isinstance(target, dict) else written(to_pil_image(target.to(torch.uint8)[None]), "PNG"),
        )
        for picture, target in pairs
    ]
    return [lambda pair=pair: reading(*pair) for pair in files]


def _loader(samples: list[Callable[[], tuple[Any, Any]]], transform: Any) -> Epoch:
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Samples(Dataset[Any]):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, row: int) -> Any:
            return transform(*samples[row]())

    def stacked(some: list[Any]) -> Any:
        return torch.stack([picture for picture, _ in some])

    loader = DataLoader(Samples(), _SMALL, shuffle=True, collate_fn=stacked, num_workers=0)
    return lambda number: loader
