"""Models as ONNX files, checked by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import labwright as lw
import pytest

MODELS = ("mlp", "resnet", "wide-and-deep", "ft-transformer")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "ft-transformer" else pytest.mark.long) for name in MODELS]
)
@pytest.mark.long
def test_a_model_is_exported_and_computes_the_same(
    name: str, tmp_path: Path, write: Callable[[str, Sequence[str]], Path]
) -> None:
    export = pytest.importorskip("labwright_export").export
    rows = [f"{number * 37 % 60 + 0.5},{'abc'[number % 3]},{number % 2}" for number in range(60)]
    data = {"name": "tabular/table", "path": write("rows.csv", ["x,kind,y", *rows]), "target": "y"}
    experiment = lw.Experiment(
        task={"name": "classification", "data": data},
        model=f"tabular/{name}",
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 2},
        device="cpu",
        log=(),
    )
    experiment.run(tmp_path / "run")
    facts = export(tmp_path / "run", tmp_path / "exported")
    assert facts["largest_difference"] < 1e-4
    assert [argument["name"] for argument in facts["inputs"]] == ["x", "codes"]
