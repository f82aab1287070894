"""What a person can get wrong about starts, methods, metrics, heads and groups: one message each, before any folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import labwright as lw
import pytest
from labwright.cli import main

PLUGINS = lw.Plugins.discover()
FEW = ["log=[]", "train.epochs=", "train.steps=1"]
BASES = {  # recipes, made small
    "digits": ["vision/digits-mlp", *FEW, "device=cpu", "model.width=8"],
    "other": ["vision/digits", *FEW, "device=cpu", "model.width=8"],
    "heads": ["vision/digits-heads", *FEW, "model.trunk.width=8"],
    "bare": ["vision/digits-heads", *FEW],  # whose model is another
}


def take(patterns: str) -> str:
    """A start that takes what patterns say, `"there.*"="here.*"`."""
    return 'start={run="HERE/run",take={' + patterns + "}}"


SLIPS: dict[str, tuple[str, list[str], str]] = {
    # what a run starts from
    "a source that isn't there": ("digits", ["start=nowhere"], r"start\.run: no run .*: 'nowhere' in .* isn't there\."),
    "an empty folder": (
        "digits",
        ["start=HERE/empty"],
        r"start\.run: no run folder .*empty' has none\. Nothing is downloaded",
    ),
    "a torn file": ("digits", ["start=HERE/torn"], r"start\.run: .*torn can't be read as safetensors: SafetensorError"),
    "weights that may run code": (
        "digits",
        ["start=HERE/model.bin"],
        r"start\.run: .*model\.bin' is another file\. Nothing is downloaded",
    ),
    "a setting of it misspelt": (
        "digits",
        ['start={run="HERE/run",chekpoint="best"}'],
        r"start\.chekpoint: start has no setting 'chekpoint'; did you mean 'checkpoint'\? It takes checkpoint, run",
    ),
    "a checkpoint misspelt": (
        "digits",
        ['start={run="HERE/run",checkpoint="bets"}'],
        r"start\.checkpoint: given 'bets'; it should be 'final', 'last' or 'best'; did you mean 'best'\?",
    ),
    "no source at all": ("digits", ['start={checkpoint="best"}'], r"start\.run: start needs this setting"),
    "patterns as a list": (
        "digits",
        ['start={run="HERE/run",take=["a"]}'],
        r"start\.take: given \['a'\]; it should be a table",
    ),
    "neither strict nor not": (
        "digits",
        ['start={run="HERE/run",strict="x"}'],
        r"start\.strict: given 'x'; it should be true or false",
    ),
    "a source that is a number": ("digits", ["start=3"], r"start\.run: given 3; it should be text"),
    "a source of another width": (
        "digits",
        ["start=HERE/run", "model.width=16"],
        r"start\.take: 'head\.weight' of .* has shape \(10, 8\), and 'head\.weight' here shape \(10, 16\)\. Take the",
    ),
    "a source of another architecture": (
        "other",
        ["start=HERE/run"],
        r"no place in this model: 'hidden\.0\.bias'; did you mean .*=false leaves them out",
    ),
    "a source with one head": (
        "heads",
        ["start=HERE/run"],
        r"no tensor has a place in this model: .* start\.take = .* has a place for 1 of them\.",
    ),
    "a pattern that matches nothing": (
        "digits",
        [take('"encoder.*"="hidden.*"')],
        r"start\.take\.\"encoder\.\*\": no tensor of .* matches 'encoder\.\*'\. It has head\.bias",
    ),
    "more stars on one side": (
        "digits",
        [take('"*.weight"="*.*"')],
        r"start\.take\.\"\*\.weight\": given '\*\.\*'; it has as many \* as '\*\.weight'",
    ),
    "patterns to no place": (
        "digits",
        [take('"*"="trunk.*"')],
        r"no tensor has a place in this model: 'head\.bias' would be 'trunk\.head\.bias'; did you mean 'head\.bias'\?",
    ),
    # methods
    "a method misspelt": (
        "digits",
        ["method=decent"],
        r"method: no method is called 'decent'; did you mean 'descent'\?",
    ),
    "a method of another kind": (
        "digits",
        ["method=adamw"],
        r"method: no method is called 'adamw'; it names an optimizer",
    ),
    "several methods": ("digits", ['method=["sam"]'], r"method: given \['sam'\]; a method is a name or a table"),
    "a method's setting misspelt": ("digits", ['method={name="sam",roh=1}'], r"method\.roh: .*did you mean 'rho'\?"),
    "a method's setting too small": (
        "digits",
        ['method={name="sam",rho=-1}'],
        r"method\.rho: given -1; it should be greater than 0",
    ),
    "a method's setting as text": (
        "digits",
        ['method={name="sam",rho="a"}'],
        r"method\.rho: given 'a'; it should be a number",
    ),
    "a method that needs parts": ("digits", ["method=pcgrad"], r"method: 'pcgrad' .* of task Classification has none"),
    # metrics
    "a metric misspelt": (
        "digits",
        ['task.metrics=["acuracy"]'],
        r"metrics\[0\]: no metric is called 'acuracy'; did you mean 'accuracy'\?",
    ),
    "a metric that is no list": (
        "digits",
        ['task.metrics="accuracy"'],
        r"task\.metrics: given 'accuracy'; it is a list of metrics",
    ),
    "metrics as a table": (
        "digits",
        ['task.metrics={a="accuracy"}'],
        r"task\.metrics: given \{'a': .*; it is a list of metrics",
    ),
    "no metrics": (
        "digits",
        ["task.metrics=[]"],
        r"task\.metrics: given an empty list; name a metric, or leave it out",
    ),
    "a metric that is a number": (
        "digits",
        ["task.metrics=[3]"],
        r"task\.metrics\[0\]: given 3; a metric is a name or a table",
    ),
    "a metric with a wrong argument": (
        "digits",
        ['task.metrics=["accuracy",{name="top-k",n=3}]'],
        r"task\.metrics\[1\]\.n: metric 'top-k' has no setting 'n'\. It takes k, splits",
    ),
    "a metric with a wrong value": (
        "digits",
        ['task.metrics=["accuracy",{name="top-k",k=-1}]'],
        r"task\.metrics\[1\]\.k: given -1; it should be greater than or equal to 1 \(metric 'top-k'\)",
    ),
    "a metric of something else": (
        "digits",
        ['task.metrics=["accuracy","rmse"]'],
        r"task\.metrics\[1\]: metric 'rmse' doesn't fit: the task calls update\(logits, labels\), it takes",
    ),
    "a metric twice": ("digits", ['task.metrics=["accuracy","accuracy"]'], r"metrics\[1\]: 'accuracy' is named twice"),
    "a metric on no split": (
        "digits",
        ['task.metrics=["accuracy",{name="confusion",splits=["dev"]}]'],
        r"task\.metrics\[1\]\.splits\[0\]: given 'dev'; it should be 'train', 'valid' or 'test'",
    ),
    "a goal that no metric gives": (
        "digits",
        ["task.goal=f1"],
        r"task\.goal: the goal is 'f1', which none .* choose one",
    ),
    # several tasks
    "heads of data that has none": (
        "heads",
        ["task.data=vision/digits"],
        r"task\.data: .* need data with Heads; Digits has targets Classes\.",
    ),
    "a loss for no head": (
        "heads",
        ['task.losses={color="mse"}'],
        r"task\.losses\.color: the data has no head 'color'\.",
    ),
    "a loss for another head": (
        "heads",
        ['task.losses={ink="cross-entropy"}'],
        r"task\.losses\.ink: loss CrossEntropy doesn't fit a head of Values: it takes \(logits, labels\) and is called",
    ),
    "a head's loss misspelt": (
        "heads",
        ['task.losses={ink="msee"}'],
        r"losses\.ink: no loss is called 'msee'; did you mean 'mse'\?",
    ),
    "heads' losses as a list": (
        "heads",
        ['task.losses=["mse"]'],
        r"task\.losses: given \['mse'\]; it is a table of losses",
    ),
    "a setting of a head's loss": (
        "heads",
        ['task.losses={ink={name="huber",beta=1}}'],
        r"task\.losses\.ink\.beta: loss 'huber' has no setting 'beta'; did you mean 'delta'\? It takes delta",
    ),
    "a weight for no head": (
        "heads",
        ["loss.weights={inc=1}"],
        r"loss\.weights\.inc: .* no head 'inc'; did you mean 'ink'",
    ),
    "a weight as text": ("heads", ['loss.weights={ink="a"}'], r"loss\.weights\.ink: given 'a'; it should be a number"),
    "a weight below zero": (
        "heads",
        ["loss.weights={ink=-1}"],
        r"loss\.weights\.ink: given -1; it should be greater than or equal to 0",
    ),
    "heads without weights": (
        "heads",
        ["loss.weights={ink=0,class=0,parity=0}"],
        r"loss\.weights: all weights are 0, so that there is nothing to train",
    ),
    "heads without a loss": ("heads", ["loss="], r"loss: task 'multi' needs a loss; see `labwright list losses`"),
    "one loss for all heads": (
        "heads",
        ["loss=mse"],
        r"loss: loss 'mse' doesn't fit task 'multi': the task calls loss\(losses\)",
    ),
    "a goal of no head": (
        "heads",
        ["task.goal=ink/acuracy"],
        r"task\.goal: given 'ink/acuracy'; it is 'score', or HEAD",
    ),
    "a model with one answer": (
        "bare",
        ["model=vision/cnn"],
        r"model: model 'vision/cnn' returns Classes; data .* Heads",
    ),
    "heads on nothing": ("bare", ['model={name="heads"}'], r"model\.trunk: model 'heads' needs this setting: a model"),
    "heads on a reader": (
        "bare",
        ['model={name="heads",trunk="nlp/lstm"}'],
        r"model\.trunk: model 'nlp/lstm' takes Tokens; here it is given Image",
    ),
    "nothing joined": ("heads", ['task.data={name="joined",sets={}}'], r"task\.data\.sets: it is empty; each data set"),
    "joined data misspelt": (
        "heads",
        ['task.data={name="joined",sets={a="vision/digit"}}'],
        r"task\.data\.sets\.a: no data is called 'vision/digit'; did you mean 'vision/digits'\?",
    ),
    # groups
    "a group of nothing": (
        "digits",
        ['optimizer.groups={"hiden.*"={frozen=true}}'],
        r"optimizer\.groups: no parameter matches 'hiden\.\*'",
    ),
    "nothing left to train": (
        "digits",
        ['optimizer.groups={"*"={frozen=true}}'],
        r"phase 'train' has nothing to train: all its 6 parameters",
    ),
    "a group's setting": (
        "digits",
        ['optimizer.groups={"*"={lr=1}}'],
        r"groups\.\"\*\"\.lr: there is no such field\. It takes frozen",
    ),
    "a group as text": (
        "digits",
        ['optimizer.groups={"*"="frozen"}'],
        r"optimizer\.groups\.\"\*\": given 'frozen'; it should be a table",
    ),
    "groups as a list": (
        "digits",
        ['optimizer.groups=["*"]'],
        r"optimizer\.groups: given \['\*'\]; it should be a table",
    ),
    "unfrozen at no time": (
        "digits",
        ['optimizer.groups={"*.bias"={unfreeze="later"}}'],
        r"optimizer\.groups\.\"\*\.bias\"\.unfreeze: given 'later'; it should",
    ),
    "a rate below zero": (
        "digits",
        ['optimizer.groups={"*.bias"={lr_factor=-1}}'],
        r"optimizer\.groups\.\"\*\.bias\"\.lr_factor: given -1; it should be greater than or equal to 0",
    ),
    "layers that grow": (
        "digits",
        ["optimizer.layer_decay=2"],
        r"layer_decay: given 2; it should be less than or equal to 1",
    ),
    "layers without a rate": (
        "digits",
        ["optimizer.layer_decay=0"],
        r"layer_decay: given 0; it should be greater than 0",
    ),
}
ON_THE_COMMAND_LINE = (
    "weights that may run code",
    "a source of another architecture",
    "a pattern that matches nothing",
    "a method misspelt",
    "a metric with a wrong argument",
    "heads without weights",
    "heads on a reader",
    "a group of nothing",
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and what is none."""
    folder = tmp_path_factory.mktemp("here")
    recipe, *overrides = BASES["digits"]
    lw.Experiment.from_recipe(recipe, overrides, plugins=PLUGINS).run(folder / "run")
    for name in ("empty", "torn"):
        (folder / name).mkdir()
    (folder / "torn" / "model.safetensors").write_bytes(b"{}")
    (folder / "model.bin").write_bytes(b"")
    return folder


def arguments(slip: str, here: Path) -> list[str]:
    """A recipe and overrides."""
    base, overrides, _ = SLIPS[slip]
    return [*BASES[base], *(override.replace("HERE", str(here)) for override in overrides)]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_answered_in_one_message(slip: str, here: Path, tmp_path: Path) -> None:
    recipe, *overrides = arguments(slip, here)
    with pytest.raises(lw.LabwrightError, match=SLIPS[slip][2]) as raised:
        lw.Experiment.from_recipe(recipe, overrides, plugins=PLUGINS).run(tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("slip", ON_THE_COMMAND_LINE)
def test_the_command_line_says_it_without_a_traceback(
    slip: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["labwright", "run", *arguments(slip, here), "--folder", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err
    assert ended.value.code and "Traceback" not in errors
    assert errors.count("error: ") == 1 and re.search(SLIPS[slip][2], errors.replace("\n", " "))
    assert not folder.exists()
