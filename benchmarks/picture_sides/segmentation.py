"""Streets in pictures of 160 by 120, 11 classes, from scratch: `vision/segmentation-folder` beside SMP's U-Net.

SMP is segmentation_models_pytorch; its loss is MONAI's Dice and cross-entropy.
Both in float32, batches of 8, AdamW with a decay of 0.05. labwright: its recipe. The peer: smp.Unet on a ResNet-18,
encoder_weights=None, MONAI's DiceCELoss(softmax=True, to_onehot_y=True) over the 11 classes and, as it knows none that
don't count, a 12th for void, which is left out where classes are chosen; torchvision's transforms v2 for the same
augmentation: flips, crops of 0.6 of the sides or more, colours by 0.3. Its learning rate is 1e-3 with a cosine;
pictures are filled to 128 rows, a multiple of 32, as it asks for. Clipped at 1 and averaged at 0.99 like the recipe.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

from picture_sides import Figures, Piece, batches, by_hand, by_labwright, rate

FIGURES = ("mean_iou", "accuracy")
_BATCH, _VOID = 8, 11


def labwright(piece: Piece) -> Figures:
    settings = [f"task.data.folder={piece.data}", "task.data.void=[11]"]
    return by_labwright("vision/segmentation-folder", settings, piece, FIGURES)


def smp(piece: Piece) -> Figures:
    import torch
    from monai.losses import DiceCELoss
    from segmentation_models_pytorch import Unet
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.manual_seed(piece.seed)
    model = Unet("resnet18", encoder_weights=None, classes=_VOID + 1).train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    criterion = DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    ready = v2.Compose(
        [
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            v2.Pad([0, 4], fill={tv_tensors.Image: 0, tv_tensors.Mask: _VOID}),
        ]
    )
    changed = v2.Compose(
        [
            v2.RandomResizedCrop((120, 160), scale=(0.36, 1.0), ratio=(1.2, 1.5)),
            v2.RandomHorizontalFlip(0.5),
            v2.ColorJitter(0.3, 0.3, 0.3),
            ready,
        ]
    )
    pairs = read(piece, "train")
    order = batches(len(pairs), _BATCH, piece.seed)

    def step(share: float) -> int:
        some = [changed(*pairs[number]) for number in next(order)]
        x, masks = torch.stack([x for x, _ in some]), torch.stack([mask for _, mask in some])
        for group in optimizer.param_groups:
            group["lr"] = rate(share, 1e-3)
        loss = criterion(model(x), masks[:, None])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(model)
        return len(some)

    spent = by_hand(model, step, piece.seconds)
    averaged.eval()
    counts = torch.zeros(_VOID + 1, _VOID, dtype=torch.int64)
    with torch.no_grad():
        for x, mask in (ready(*pair) for pair in read(piece, piece.split)):
            chosen = averaged(x[None])[0, :_VOID].argmax(0)
            counts += torch.bincount((mask * _VOID + chosen).flatten(), minlength=counts.numel()).view_as(counts)
    counts = counts[:_VOID]
    right = counts.diagonal()
    overlaps = right / (counts.sum(0) + counts.sum(1) - right)
    return spent | {"mean_iou": float(overlaps.nanmean()), "accuracy": float(right.sum() / counts.sum())}


SIDES = {"labwright": labwright, "smp": smp}


def read(piece: Piece, split: str) -> list[tuple[Any, Any]]:
    """The pictures of a part and their masks, as torchvision's tensors."""
    import torch
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.transforms.v2.functional import pil_to_tensor

    pairs = []
    with zipfile.ZipFile(piece.data / f"{ {'valid': 'val'}.get(split, split) }.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith("images/")):
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            mask = Image.open(io.BytesIO(archive.read(f"masks/{name[7:-4]}.png")))
            target = pil_to_tensor(mask)[0].to(torch.int64)
            pairs.append((tv_tensors.Image(pil_to_tensor(picture)), tv_tensors.Mask(target)))
    return pairs
