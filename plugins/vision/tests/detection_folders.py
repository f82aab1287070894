"""Small folders of pictures with boxes in each layout, for the tests of detection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 60, 40  # width and height
# of each picture its part, and its boxes with their classes: left, top, right, bottom
TRUE = {
    "a": ("train", [((5.0, 5.0, 25.0, 25.0), "cat"), ((30.0, 10.0, 60.0, 40.0), "dog")]),
    "b": ("train", []),
    "c": ("train", [((0.0, 0.0, 12.0, 30.0), "dog")]),
    "d": ("val", [((20.0, 4.0, 44.0, 36.0), "cat")]),
    "e": ("test", [((8.0, 8.0, 28.0, 20.0), "dog")]),
}


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.stem)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels[: len(path.name)] = ord(path.stem[0])
    Image.fromarray(pixels).save(path)
    return path


def coco(root: Path) -> Path:
    """Category ids with a hole, a file for each part, pictures in a folder for each."""
    (root / "annotations").mkdir(parents=True)
    ids = {"cat": 3, "dog": 7}
    for part in ("train", "val", "test"):
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number, (name, (of, boxes)) in enumerate(TRUE.items()):
            if of != part:
                continue
            picture(root / f"{part}2017" / f"{name}.png")
            images.append({"id": number, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1]})
            for (left, top, right, bottom), label in boxes:
                box = [left, top, right - left, bottom - top]
                annotation = {"image_id": number, "category_id": ids[label], "bbox": box, "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1} | annotation)
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        table = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(table))
    return root


def voc(root: Path) -> Path:
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for name, (part, boxes) in TRUE.items():
        picture(root / "JPEGImages" / f"{name}.png")
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox>"
            + "".join(f"<{k}>{v:g}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for box, label in boxes
        )
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        with (root / "ImageSets" / "Main" / f"{part}.txt").open("a") as lines:
            lines.write(f"{name}\n")
    return root


def yolo(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for name, (part, boxes) in TRUE.items():
        picture(root / "images" / part / f"{name}.png")
        lines = [
            f"{('cat', 'dog').index(label)} {(left + right) / 2 / SIZE[0]:.9f} {(top + bottom) / 2 / SIZE[1]:.9f} "
            f"{(right - left) / SIZE[0]:.9f} {(bottom - top) / SIZE[1]:.9f}\n"
            for (left, top, right, bottom), label in boxes
        ]
        if lines:
            (root / "labels" / part).mkdir(parents=True, exist_ok=True)
            (root / "labels" / part / f"{name}.txt").write_text("".join(lines))
    return root


def jsonl(root: Path) -> Path:
    """As line after line, the pictures in an archive."""
    import gzip
    import zipfile

    root.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for name, (part, boxes) in TRUE.items():
            file = picture(root / "scratch" / f"{name}.png")
            archive.write(file, f"{name}.png")
            file.unlink()
            columns = {"boxes": [list(box) for box, _ in boxes], "labels": [label for _, label in boxes]}
            rows.append({"file": f"{name}.png", "width": SIZE[0], "height": SIZE[1], "split": part} | columns)
    (root / "scratch").rmdir()
    (root / "annotations.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return root


LAYOUTS = {"coco": coco, "voc": voc, "yolo": yolo, "jsonl": jsonl}
