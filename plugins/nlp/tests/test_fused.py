"""Fused trials of this plugin's models: each equals its own serial run in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from fusing import check_equal

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}
LANGUAGES = {"name": "classification", "data": {"name": "nlp/languages", "length": 12}}
PYDOC = {"name": "language-model", "data": {"name": "nlp/pydoc", "context": 12}}
DROPPED = [{"lr": 0.001, "dropout": 0.1}, {"lr": 0.01, "dropout": 0.3}]
MODELS = {
    "bag": (LANGUAGES, {"name": "nlp/bag", "buckets": 64}),
    "text-cnn": (LANGUAGES, {"name": "nlp/text-cnn", "width": 8, "filters": 6}),
    "gpt": (PYDOC, {"name": "nlp/gpt", "width": 16, "depth": 2, "heads": 2}),
    "transformer-encoder": (LANGUAGES, {"name": "nlp/transformer-encoder", "width": 16, "depth": 2, "heads": 2}),
    "gru": (LANGUAGES, {"name": "nlp/gru", "width": 8, "embedding": 8}),
    "lstm": (LANGUAGES, {"name": "nlp/lstm", "width": 8, "embedding": 8}),
}
WAYS = [(name, form) for name in ("bag", "text-cnn", "gpt") for form in ("grouped", "vmap")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"), [*WAYS, ("transformer-encoder", "grouped"), ("gru", "vmap-grad"), ("lstm", "vmap-grad")]
)
def test_fused_trials_equal_their_serial_runs(tmp_path: Path, name: str, form: Any) -> None:
    task, model = MODELS[name]

    def make(lr: float, dropout: float) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model=model | {"dropout": dropout},
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"evaluate_every": "1000 steps"},
            device="cpu",
            log=(),
        )

    check_equal(make, DROPPED, tmp_path, form, tolerance=1e-9)
