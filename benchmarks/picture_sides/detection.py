"""Objects in pictures of blood cells, from scratch: `vision/detection-folder`, torchvision's and ultralytics' smallest.

All see pictures of 320 by 240 in full precision and batches of 8. labwright: its recipe as it is but for the height.
torchvision: SSDlite on MobileNetV3-Large, nothing pretrained or frozen, with its reference's preset, SGD, cosine and
decay of 4e-5, and its rate of 0.15 for 192 pictures, in proportion; it fits pictures to 320 by 320. ultralytics:
yolo11n.yaml with `pretrained=False`, `imgsz=320` and what it does by itself. pycocotools measures, with 100 boxes a
picture.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import os
import statistics
import time
import zipfile
from collections.abc import Sequence
from typing import Any

from picture_sides import Figures, Piece, batches, by_hand, by_labwright, rate

NAMES = ("RBC", "WBC", "Platelets")
FIGURES = ("map50", "map")
_BATCH, _MOST = 8, 100


def labwright(piece: Piece) -> Figures:
    return by_labwright(
        "vision/detection-folder",
        [f"task.data.folder={piece.data}", "task.data.height=240", "task.data.width=320"],
        piece,
        FIGURES,
    )


def torchvision(piece: Piece) -> Figures:
    import torch
    from torchvision import tv_tensors
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    from torchvision.transforms import v2

    torch.manual_seed(piece.seed)
    model = ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=None,
        num_classes=len(NAMES) + 1,
        trainable_backbone_layers=6,
        detections_per_img=_MOST,
    )
    changed = v2.Compose(  # DetectionPresetTrain "ssdlite" of torchvision's references
        [
            v2.PILToTensor(),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    peak = 0.15 / 192 * _BATCH
    optimizer = torch.optim.SGD(model.parameters(), lr=peak, momentum=0.9, weight_decay=4e-5)
    records, pictures = read(piece, "train")
    order = batches(len(records), _BATCH, piece.seed)

    def step(share: float) -> int:
        given, targets = [], []
        for number in next(order):
            record = records[number]
            boxes = tv_tensors.BoundingBoxes(record["boxes"], format="XYXY", canvas_size=(240, 320))
            labels = torch.tensor([NAMES.index(name) + 1 for name in record["labels"]])
            picture, target = changed(pictures[number].copy(), {"boxes": boxes, "labels": labels})
            given.append(picture)
            targets.append(target)
        optimizer.param_groups[0]["lr"] = rate(share, peak)
        loss = sum(model(given, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(given)

    spent = by_hand(model.train(), step, piece.seconds)
    records, pictures = read(piece, piece.split)
    model.eval()
    found = []
    with torch.no_grad():
        for picture in pictures:
            (answer,) = model([v2.functional.to_dtype(v2.functional.pil_to_tensor(picture), torch.float, scale=True)])
            found.append((answer["boxes"].tolist(), (answer["labels"] - 1).tolist(), answer["scores"].tolist()))
    return spent | _scored(records, found)


def ultralytics(piece: Piece) -> Figures:
    os.environ |= {"YOLO_CONFIG_DIR": str(piece.scratch), "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
    from ultralytics import YOLO

    folder = piece.scratch / "yolo"
    for split in ("train", "valid", "test"):
        for below in ("images", "labels"):
            (folder / below / split).mkdir(parents=True, exist_ok=True)
        for record, picture in zip(*read(piece, split), strict=True):
            picture.save((folder / "images" / split / record["file"]).with_suffix(".png"))
            lines = [
                f"{NAMES.index(name)} {(x0 + x1) / 640} {(y0 + y1) / 480} {(x1 - x0) / 320} {(y1 - y0) / 240}"
                for name, (x0, y0, x1, y1) in zip(record["labels"], record["boxes"], strict=True)
            ]
            (folder / "labels" / split / record["file"]).with_suffix(".txt").write_text("\n".join(lines))
    table = {"path": str(folder), "train": "images/train", "val": "images/valid", "names": dict(enumerate(NAMES))}
    (folder / "data.yaml").write_text(json.dumps(table))  # which is YAML too

    def fitted(epochs: int) -> tuple[Any, list[float]]:
        model, begun, spent = YOLO("yolo11n.yaml"), [0.0], []
        model.add_callback("on_train_epoch_start", lambda _: begun.append(time.process_time()))
        model.add_callback("on_train_epoch_end", lambda _: spent.append(time.process_time() - begun[-1]))
        model.train(
            data=str(folder / "data.yaml"),
            epochs=epochs,
            imgsz=320,
            batch=_BATCH,
            device="cpu",
            workers=0,
            pretrained=False,
            seed=piece.seed,
            val=False,
            plots=False,
            cache="ram",
            project=str(piece.scratch),
            name=f"epochs-{epochs}-{len(list(piece.scratch.iterdir()))}",
            verbose=False,
        )
        return model, spent

    epochs = max(1, round(piece.seconds / statistics.median(fitted(2)[1])))
    model, spent = fitted(epochs)
    records, pictures = read(piece, piece.split)
    found = []
    for picture in pictures:
        (answer,) = model.predict(picture, imgsz=320, conf=0.001, max_det=_MOST, verbose=False, device="cpu")
        boxes = answer.boxes
        found.append((boxes.xyxy.tolist(), boxes.cls.int().tolist(), boxes.conf.tolist()))
    trained = {"processor": sum(spent), "pictures": float(epochs * len(read(piece, "train")[0]))}
    return trained | {"parameters": sum(one.numel() for one in model.model.parameters())} | _scored(records, found)


SIDES = {"labwright": labwright, "torchvision": torchvision, "ultralytics": ultralytics}


def read(piece: Piece, split: str) -> tuple[list[Any], list[Any]]:
    """The records of a part and their pictures."""
    from PIL import Image

    with gzip.open(piece.data / "annotations.jsonl.gz", "rt") as lines:
        records = [json.loads(line) for line in lines]
    records = [record for record in records if record["split"] == {"valid": "val"}.get(split, split)]
    with zipfile.ZipFile(piece.data / "images.zip") as archive:
        pictures = [Image.open(io.BytesIO(archive.read(record["file"]))).convert("RGB") for record in records]
    return records, pictures


def _scored(records: Sequence[Any], found: Sequence[tuple[Any, Any, Any]]) -> Figures:
    """COCO's average precision of boxes (left, top, right, bottom), class numbers and scores of each picture."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = [(record["boxes"], [*map(NAMES.index, record["labels"])], itertools.repeat(1.0)) for record in records]
    with contextlib.redirect_stdout(io.StringIO()):
        tables = []
        for answers in (truths, found):
            annotations = [
                {
                    "image_id": number,
                    "category_id": label,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "score": score,
                    "iscrowd": 0,
                }
                for number, answer in enumerate(answers)
                for (x0, y0, x1, y1), label, score in zip(*answer, strict=False)
            ]
            table = COCO()
            table.dataset = {
                "images": [{"id": number} for number in range(len(records))],
                "categories": [{"id": label} for label in range(len(NAMES))],
                "annotations": [one | {"id": place} for place, one in enumerate(annotations, 1)],
            }
            table.createIndex()
            tables.append(table)
        measured = COCOeval(*tables, "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return {"map50": float(measured.stats[1]), "map": float(measured.stats[0])}
