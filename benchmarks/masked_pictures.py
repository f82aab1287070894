"""What masked pictures bring where labels are few: 6,000 small pictures of ten classes, of which 700 have labels.

Of each class 100 training pictures are set aside to choose by, 70 have labels, and all others are looked at without. A
masked autoencoder ('vision/masked-pictures') learns from all of them, and a vision transformer that begins with its
encoder from the labels; the same network learns from the labels alone, as long in all, with the same augmentation. The
best epoch by the valid part, figures on the test part, once. One thread; MASKED_PICTURES.md is written.

    python benchmarks/masked_pictures.py --data ../shared/data/cifar10 --made runs/masked-pictures
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import labwright as lw

PAGE = Path(__file__).parent / "MASKED_PICTURES.md"
VALID, LABELS = 100, 70  # pictures of each class
PATCH = 4
ENCODER = {"width": 96, "depth": 4, "heads": 4}
AUGMENTED = {"shift": 0.125, "scale": 0.1, "flip": True, "jitter": 0.3}
DEVICE = {"name": "cpu", "threads": 1}


def write_folders(data: Path, made: Path) -> None:
    """`all` and `labels`, with archives train, valid and test: they differ in what is in train."""
    for folder in ("all", "labels"):
        (made / folder).mkdir(parents=True)
        (made / folder / "test.zip").symlink_to((data / "test.zip").resolve())
    with zipfile.ZipFile(data / "train.zip") as given:
        classes: dict[str, list[str]] = {}
        for name in sorted(name for name in given.namelist() if not name.endswith("/")):
            classes.setdefault(PurePosixPath(name).parent.name, []).append(name)
        first, last = VALID, VALID + LABELS
        for path, part in (
            ("all/train", slice(first, None)),
            ("labels/train", slice(first, last)),
            ("all/valid", slice(0, first)),
            ("labels/valid", slice(0, first)),
        ):
            written = io.BytesIO()
            with zipfile.ZipFile(written, "w") as archive:
                for label, names in classes.items():
                    for name in names[part]:
                        archive.writestr(f"{label}/{PurePosixPath(name).name}", given.read(name))
            (made / f"{path}.zip").write_bytes(written.getvalue())


def pictures(made: Path, folder: str) -> dict[str, Any]:
    return {"name": "vision/image-folder", "folder": str(made / folder), "size": 32, **AUGMENTED}


def pretrained(made: Path, seed: int, epochs: int) -> tuple[dict[str, float], float]:
    """The figures of the test part, and the seconds of the processor."""
    experiment = lw.Experiment(
        task={"name": "vision/masked-pictures", "data": pictures(made, "all"), "patch": PATCH},
        model={"name": "vision/mae", **ENCODER},
        loss="mse",
        optimizer={"name": "adamw", "lr": 2e-3, "betas": [0.9, 0.95], "weight_decay": 0.05}
        | {"schedule": "cosine", "warmup": 0.1},
        device=DEVICE,
        train={"epochs": epochs, "batch_size": 64, "seed": seed, "evaluate_every": f"{max(1, epochs // 5)} epochs"},
    )
    return _timed(experiment, made / f"pretrained-{seed}")


def with_labels(made: Path, seed: int, epochs: int, begin: dict[str, Any]) -> tuple[dict[str, float], float]:
    """The figures of the test part, and the seconds of the processor."""
    experiment = lw.Experiment(
        task={"name": "classification", "data": pictures(made, "labels")},
        model={"name": "vision/vit", "patch": PATCH, **ENCODER, "dropout": 0.1},
        loss={"name": "cross-entropy", "label_smoothing": 0.1},
        optimizer={"name": "adamw", "lr": 1e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.1}
        | ({"layer_decay": 0.75} if begin else {}),
        device=DEVICE,
        train={"epochs": epochs, "batch_size": 64, "seed": seed, "final": "best"}
        | {"evaluate_every": f"{max(1, epochs // 20)} epochs"},
        **begin,
    )
    return _timed(experiment, made / f"{'started' if begin else 'scratch'}-{seed}")


def _timed(experiment: lw.Experiment, folder: Path) -> tuple[dict[str, float], float]:
    begun = time.process_time()
    outcome = experiment.run(folder).outcome
    assert outcome is not None
    return outcome.metrics["test"], time.process_time() - begun


def page(rows: list[tuple[int, str, dict[str, float], float]]) -> str:
    told = ["# Masked pictures, where labels are few", ""]
    told += ["`masked_pictures.py` says how; seconds are of one core.", ""]
    told += ["| seed | training | test accuracy | interval | seconds |", "| --: | --- | --: | --- | --: |"]
    for seed, name, test, seconds in rows:
        low, high = test["accuracy_95/low"], test["accuracy_95/high"]
        told.append(f"| {seed} | {name} | {test['accuracy']:.4f} | {low:.3f} to {high:.3f} | {seconds:,.0f} |")
    return "\n".join(told) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with train.zip and test.zip")
    parser.add_argument("--made", type=Path, required=True, help="where pictures and runs are kept")
    parser.add_argument("--masked-epochs", type=int, default=70, help="over all pictures")
    parser.add_argument("--epochs", type=int, default=80, help="over those with labels, after masked ones")
    parser.add_argument("--scratch-epochs", type=int, default=500, help="over those with labels, from scratch")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    if not (chosen.made / "labels").is_dir():
        write_folders(chosen.data, chosen.made)
    rows: list[tuple[int, str, dict[str, float], float]] = []
    for seed in range(chosen.seeds):
        masked, spent = pretrained(chosen.made, seed, chosen.masked_epochs)
        print(f"seed {seed}: masked error {masked['masked_error']:.4f} in {spent:,.0f} s", flush=True)
        begin = {"start": {"run": str(chosen.made / f"pretrained-{seed}"), "take": {"encoder.*": "encoder.*"}}}
        started, seconds = with_labels(chosen.made, seed, chosen.epochs, begin)
        rows.append((seed, "masked pictures, then labels", started, spent + seconds))
        rows.append((seed, "labels alone", *with_labels(chosen.made, seed, chosen.scratch_epochs, {})))
        PAGE.write_text(page(rows), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
