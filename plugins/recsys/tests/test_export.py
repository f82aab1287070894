"""Models as ONNX files, checked by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest

MODELS: dict[str, dict[str, Any]] = {
    "bpr-mf": {"loss": "recsys/bpr", "optimizer": "adam", "train": {"steps": 2}},
    "light-gcn": {"loss": "recsys/bpr", "optimizer": "adam", "train": {"steps": 2}},
    "neumf": {"loss": "recsys/pointwise", "optimizer": "adam", "train": {"steps": 2}},
    "deepfm": {"loss": "recsys/bpr", "optimizer": "adam", "train": {"steps": 2}},
    "ease": {},
    "item-knn": {},
    "popularity": {},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "deepfm" else pytest.mark.long) for name in MODELS]
)
def test_a_model_is_exported_and_computes_the_same(name: str, tmp_path: Path) -> None:
    export = pytest.importorskip("labwright_export").export
    data = {"name": "recsys/synthetic", "users": 30, "items": 40, "activity": 12}
    experiment = lw.Experiment(
        task={"name": "recsys/top-n", "data": data}, model=f"recsys/{name}", device="cpu", log=(), **MODELS[name]
    )
    experiment.run(tmp_path / "run")
    facts = export(tmp_path / "run", tmp_path / "exported")
    assert facts["largest_difference"] < 1e-4
    assert [argument["name"] for argument in facts["inputs"]] == ["users", "items"]
