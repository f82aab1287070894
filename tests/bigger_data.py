"""Runs on data that is read from an index, in double precision: `torchrun ... bigger_data.py DATA FOLDER [UNTIL]`."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import torch
from labwright_nlp.data.parquet_texts import ParquetTexts
from labwright_nlp.data.token_files import TokenFiles
from labwright_tasks.classification import Classification
from labwright_tasks.language_model import LanguageModel
from labwright_vision.data.shards import Shards
from labwright_vision.models.mlp import MLP
from safetensors.torch import save_file
from torch import Tensor

TRAIN = {"epochs": 2, "batch_size": 12, "log_every": 2, "evaluate_every": "1 epoch"}
NAMES = ("apple", "pear", "plum")


def make(folder: Path) -> None:
    """Three token files, three tar shards and four row groups, none a multiple of another."""
    import pyarrow
    from PIL import Image
    from pyarrow import parquet

    chance = np.random.default_rng(0)
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    for name, length in (("train-0", 430), ("train-1", 177), ("train-2", 260), ("val", 120)):
        chance.integers(0, 30, length).astype(np.uint16).tofile(tokens / f"{name}.bin")
    (tokens / "tokens.json").write_text(json.dumps({"vocab_size": 30, "dtype": "uint16"}))
    (folder / "shards").mkdir()
    for number, count in enumerate((31, 9, 25)):
        with tarfile.open(folder / "shards" / f"train-{number:04}.tar", "w") as tar:
            for picture in range(count):
                png = io.BytesIO()
                Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(png, "PNG")
                for suffix, content in ((".png", png.getvalue()), (".cls", NAMES[picture % 3].encode())):
                    header = tarfile.TarInfo(f"{number}-{picture:03}{suffix}")
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))
    (folder / "texts").mkdir()
    for part, count in (("train", 65), ("valid", 20)):
        texts = [f"number {number} of them is a ripe {NAMES[number % 3]}" for number in range(count)]
        table = pyarrow.table({"text": texts, "label": [NAMES[number % 3] for number in range(count)]})
        parquet.write_table(table, folder / "texts" / f"{part}.parquet", row_group_size=17)


class OfDoubles(MLP):
    """Pictures come in single precision."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW.double())


def cases(folder: Path) -> dict[str, tuple[lw.Task, Any]]:
    tokens = TokenFiles(path=folder / "tokens", context=16, valid=0.0, window=2)
    shards = Shards(folder=folder / "shards", size=8, valid=0.2, test=0.0, window=2)
    texts = ParquetTexts(path=folder / "texts", window=2)
    return {
        "tokens": (LanguageModel(tokens), {"name": "nlp/gpt", "width": 16, "depth": 1, "heads": 2}),
        "shards": (Classification(shards), OfDoubles),
        "texts": (Classification(texts), {"name": "nlp/bag", "width": 16}),
    }


def train(data: Path, folder: Path, until: int | None = None) -> None:
    """Train each case, or go on with it, and keep the weights that it ends with."""
    torch.set_default_dtype(torch.float64)
    for name, (task, model) in cases(data).items():
        optimizer = {"name": "sgd", "lr": 0.3, "momentum": 0.9}
        experiment = lw.Experiment(
            task=task, model=model, loss="cross-entropy", optimizer=optimizer, device="cpu", train=TRAIN, log=()
        )
        run = folder / name
        trainer = experiment.resumed(run)[0] if run.exists() else experiment.trainer(run)
        trainer.fit(until)
        if lw.ranks.first():
            state = {key: value.clone() for key, value in trainer.model.state_dict().items()}
            save_file(state, folder / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    data, folder = map(Path, sys.argv[1:3])
    if not data.exists():
        make(data)
    train(data, folder, *map(int, sys.argv[3:]))
    lw.ranks.leave()
