"""7,000 pictures of CIFAR-10 as JPEG, of which a seventh is held out: `vision/cifar10` beside timm's pieces.

All in float32, batches of 64, AdamW with a decay of 0.05, labels smoothed by 0.1. labwright: its recipe, 48 wide. The
peers are made of what timm's train script is made of: create_transform (flips, crops padded by 4, colours by 0.3, as
the recipe has them), create_loader, create_optimizer_v2, LabelSmoothingCrossEntropy and a warm-up and cosine. `timm`
trains timm's ResNet-10-t with a stem that keeps the 32 pixels and a learning rate of 2e-3; `timm, our model` the
recipe's own network, as wide, at the recipe's rate of 5e-3, so that only the training differs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

from picture_sides import Figures, Piece, by_hand, by_labwright, rate

FIGURES = ("accuracy",)
_BATCH, _CLASSES, _WIDTH = 64, 10, 48
_HELD_OUT = 7  # every 7th


def labwright(piece: Piece) -> Figures:
    settings = [f"task.data.folder={piece.data}", f"model.width={_WIDTH}"]
    return by_labwright("vision/cifar10", settings, piece, FIGURES)


def timm(piece: Piece) -> Figures:
    import torch
    from timm import create_model

    torch.manual_seed(piece.seed)
    model = create_model("resnet10t", num_classes=_CLASSES)
    model.conv1[0].stride, model.maxpool = (1, 1), torch.nn.Identity()
    return _trained(model, piece, 2e-3)


def same_model(piece: Piece) -> Figures:
    import labwright as lw
    import torch
    from labwright_vision.models.cnn import CNN

    torch.manual_seed(piece.seed)
    ports = lw.Image(3, 32, 32), lw.Classes(tuple(map(str, range(_CLASSES))))
    return _trained(CNN(*ports, width=_WIDTH, stages=3, depth=2, dropout=0.3), piece, 5e-3)


SIDES = {"labwright": labwright, "timm": timm, "timm, our model": same_model}


def _trained(model: Any, piece: Piece, peak: float) -> Figures:
    import torch
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    optimizer = create_optimizer_v2(model, opt="adamw", lr=peak, weight_decay=0.05)
    criterion, rows = LabelSmoothingCrossEntropy(0.1), _endless(_loader(piece, "train"))

    def step(share: float) -> int:
        x, labels = next(rows)
        for group in optimizer.param_groups:
            group["lr"] = rate(share, peak)
        loss = criterion(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(x)

    spent = by_hand(model.train(), step, piece.seconds)
    right = count = 0
    model.eval()
    with torch.no_grad():
        for x, labels in _loader(piece, piece.split):
            right += int((model(x).argmax(1) == labels).sum())
            count += len(x)
    return spent | {"accuracy": right / count}


def _loader(piece: Piece, split: str) -> Any:
    """timm's own, of files that were unpacked once."""
    import torch
    from timm.data import create_dataset, create_loader

    part = "test" if split == "test" else "train"
    root = piece.scratch / part
    if not root.is_dir():
        with zipfile.ZipFile(piece.data / f"{part}.zip") as archive:
            archive.extractall(root)
    data = create_dataset("", root=str(root))
    if part == "train":  # as many as the recipe holds out, though not the same
        rows = [row for row in range(len(data)) if (row % _HELD_OUT == 0) == (split == "valid")]
        data = _Some(data, rows)
    return create_loader(
        data,
        input_size=(3, 32, 32),
        batch_size=_BATCH,
        is_training=split == "train",
        use_prefetcher=False,
        no_aug=False,
        train_crop_mode="rkrc",
        hflip=0.5,
        color_jitter=0.3,
        interpolation="bilinear",
        crop_pct=1.0,
        num_workers=0,
        persistent_workers=False,
        pin_memory=False,
        device=torch.device("cpu"),
    )


class _Some:
    """Some rows of a data set of timm's, which sets the transform from outside."""

    def __init__(self, data: Any, rows: list[int]) -> None:
        self.data, self.rows, self.transform = data, rows, None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        self.data.transform = self.transform
        return self.data[self.rows[row]]


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
