"""Heads on every model that tells classes apart, and several answers about each digit, from training to prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Audio, Classes, Heads, Image, Tokens, Values
from labwright.config.resolve import Where, resolve
from labwright_study.space import Space
from typer.testing import CliRunner

PLUGINS = lw.Plugins.discover()
OUTPUTS = Heads({"class": Classes(("a", "b", "c")), "pair": Values(2)})
INPUTS = {"vision": Image(1, 16, 16), "nlp": Tokens(40, 12), "speech": Audio(8_000, 4_000)}
ELSEWHERE = {  # they return something else than classes
    *("nlp/decoder", "nlp/encoder-decoder", "nlp/gpt", "nlp/transformer", "speech/crnn", "speech/conformer"),
    *("vision/deeplab", "vision/detector", "vision/mae", "vision/torchvision-detector", "vision/unet"),
}
OTHERWISE = {"nlp/tagger"}  # it takes words that are spelled
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
NEED: dict[str, dict[str, Any]] = {
    "vision/timm": {"architecture": "test_resnet"},
    "vision/torchvision-detector": {"architecture": "retinanet"},
    "nlp/encoder": {"architecture": "bert", "options": SMALL},
}


def models() -> list[str]:
    left_out = ELSEWHERE | OTHERWISE
    return [name for name in PLUGINS.names("model") if name.partition("/")[0] in INPUTS and name not in left_out]


def on(trunk: str) -> Any:
    settings = {"name": "heads", "trunk": {"name": trunk, **NEED.get(trunk, {})}, "features": 8}
    spec = resolve("model", settings, PLUGINS, Where(("model",)))
    return spec.build(inputs=INPUTS[trunk.partition("/")[0]], outputs=OUTPUTS)


@pytest.mark.parametrize("trunk", models())
def test_heads_go_on_a_model_as_it_is(trunk: str) -> None:
    model = on(trunk).train()
    (inputs, *more) = INPUTS[trunk.partition("/")[0]].example(4, torch.Generator().manual_seed(0))
    outputs = model(inputs, *more)
    assert {name: tuple(answer.shape) for name, answer in outputs.items()} == {"class": (4, 3), "pair": (4, 2)}
    torch.stack([answer.sum() for answer in outputs.values()]).sum().backward()
    without = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    assert not without


@pytest.mark.parametrize("trunk", sorted(ELSEWHERE))
def test_a_model_that_returns_something_else_is_refused_by_name(trunk: str) -> None:
    with pytest.raises(lw.LabwrightError, match=f"model.trunk: model '{trunk}' returns .*; here it is given Classes"):
        on(trunk)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "run"
    said = labwright("run", "vision/digits-heads", "train.epochs=1", "model.trunk.width=8", "--folder", str(folder))
    assert "class/accuracy" in said and "ink/r2" in said
    return folder


def labwright(*arguments: str) -> str:
    from labwright.cli import app

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_evaluation_gives_the_figures_the_run_ended_with(run: Path) -> None:
    measured = json.loads(labwright("evaluate", str(run), "--json"))
    outcome = json.loads((run / "outcome.json").read_text())
    assert measured["metrics"]["score"] == outcome["metrics"]["test"]["score"]


def test_a_prediction_has_an_answer_of_each_head(run: Path, tmp_path: Path) -> None:
    from PIL import Image as Picture

    Picture.new("L", (8, 8), 128).save(tmp_path / "grey.png")
    answer = json.loads(labwright("predict", str(run), str(tmp_path / "grey.png"), "--json").splitlines()[-1])
    of_classes = {f"{head}/{key}" for head in ("class", "parity") for key in ("label", "probability", "probabilities")}
    assert set(answer) == {"input", "ink/values", *of_classes}
    line = labwright("predict", str(run), str(tmp_path / "grey.png")).splitlines()[-1].split("\t")
    assert line[1] == answer["class/label"] and line[3] == answer["parity/label"] and len(line) == 6


def test_the_report_draws_each_part_of_the_loss_and_each_heads_answers(run: Path) -> None:
    page = (run / "report.html").read_text()
    for words in ("class: Confusion matrix", "parity: Classes", "ink: Predicted against true", "class: Worst mistakes"):
        assert words in page


def test_a_field_of_a_setting_that_is_a_table_is_searched_beside_the_others() -> None:
    teacher = {"run": "runs/large", "temperature": 2.0}
    recipe = lw.Experiment.from_recipe("vision/digits-mlp").varied({"task.teacher": teacher})
    asked = {"task.teacher.temperature": {"low": 1.0, "high": 8.0}, "only": ["task.teacher.*"]}
    space = Space.of(recipe, search=asked)
    assert space.point() == {"task.teacher.temperature": 2.0}
    assert recipe.varied({"task.teacher.temperature": 4.0}).table()["task"]["teacher"]["run"] == "runs/large"
    with pytest.raises(lw.LabwrightError, match=r'teacher\.wieght"\[0\]: there is no such field; did you mean .weight'):
        Space.of(recipe, search={"task.teacher.wieght": [0.1, 0.9]})


def test_the_weight_of_a_head_is_searched_where_a_study_is_told_to() -> None:
    recipe = lw.Experiment.from_recipe("vision/digits-heads")
    asked = {"loss.weights.ink": {"low": 0.1, "high": 10.0, "log": True}, "only": ["loss.*"]}
    space = Space.of(recipe, search=asked)
    assert [dimension.path for dimension in space.dimensions] == ["loss.weights.ink"]
    assert space.point() == {"loss.weights.ink": recipe.component("loss").settings["weights"]["ink"]}  # type: ignore[union-attr]
    varied = recipe.varied({"loss.weights.ink": 0.5})
    assert varied.table()["loss"]["weights"] == {"ink": 0.5}
    with pytest.raises(lw.LabwrightError, match=r'search\."loss\.weights\.ink"\.low: given -1\.0; it should'):
        Space.of(recipe, search={"loss.weights.ink": {"low": -1.0, "high": 1.0}})
