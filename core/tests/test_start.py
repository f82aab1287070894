"""A run that starts from other weights: what is copied is what torch copies, once, and its source may then be gone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import Answer, toys
from labwright.runs.load import evaluated
from labwright.runs.resume import resume
from labwright_testing.verify_resume import verify_resume
from parts import Net
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn


class Renamed(Net):
    """The net of the toys, its body called `trunk`, with another head."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 16) -> None:
        super().__init__(inputs, outputs, width=width)
        self.trunk, self.top = self.body, nn.Linear(width, len(outputs.names))
        del self.body, self.head

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.top(self.dropout(self.trunk(x_BD)))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.second(self.first(x_BD).relu()))


def experiment(**changed: Any) -> lw.Experiment:
    task = {"name": "sorting", "data": "toys/blobs"}
    parts: dict[str, Any] = {"task": task, "model": "toys/net", "loss": "cross-entropy", "optimizer": "adamw"}
    train = {"epochs": 2, "batch_size": 15}
    return lw.Experiment(**parts | {"train": train, "log": (), "plugins": toys()} | changed)


def begun(folder: Path, **changed: Any) -> lw.Run:
    """A run before its first step."""
    trainer = experiment(**changed).trainer(folder)
    assert trainer.lock is not None
    trainer.lock.release()
    return trainer.run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> lw.Run:
    """A run that ended with averaged weights, evaluated within epochs too."""
    train = {"epochs": 4, "batch_size": 15, "ema": 0.9, "evaluate_every": "5 steps", "keep": 9, "save_every": "5 steps"}
    return experiment(train=train).run(tmp_path_factory.mktemp("runs") / "source")


def equal(left: nn.Module, right: nn.Module) -> bool:
    theirs = right.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in left.state_dict().items())


# ------------------------------------------------------------------------------------------------- what is copied


def test_a_run_starts_with_what_its_source_ended_with_averaged_weights_included(source: lw.Run, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", start=str(source.folder))
    assert equal(run.model, lw.load(source.folder, plugins=toys()).model)
    raw = load_file(source.folder / "checkpoints" / "step-00000024" / "model.safetensors")
    assert not torch.equal(run.model.state_dict()["head.weight"], raw["head.weight"])
    assert run.notes == [f"9 tensors were taken from {source.folder} (final, step 24)."]
    assert all(module.training for module in run.model.modules())


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_another_checkpoint_is_the_one_that_load_gives(checkpoint: Any, source: lw.Run, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", start={"run": source.folder, "checkpoint": checkpoint})
    assert equal(run.model, lw.load(source.folder, checkpoint=checkpoint, plugins=toys()).model)


def test_a_source_that_ends_with_its_best_weights_gives_those(tmp_path: Path) -> None:
    train = {"epochs": 3, "batch_size": 15, "final": "best", "evaluate_every": "2 steps"}
    ended = experiment(train=train, optimizer={"name": "sgd", "lr": 0.9}).run(tmp_path / "source")
    run = begun(tmp_path / "run", start=ended.folder)
    assert equal(run.model, lw.load(ended.folder, plugins=toys()).model)


def test_names_are_mapped_as_load_state_dict_would_by_hand(source: lw.Run, tmp_path: Path) -> None:
    plain = begun(tmp_path / "plain", model=Renamed).model
    begins = {"run": source.folder, "take": {"body.*": "trunk.*"}}
    run = begun(tmp_path / "run", model=Renamed, start=begins)
    theirs = lw.load(source.folder, plugins=toys()).model.state_dict()
    renamed = {f"trunk{name.removeprefix('body')}": one for name, one in theirs.items() if name.startswith("body")}
    assert plain.load_state_dict(renamed, strict=False).unexpected_keys == []
    assert equal(run.model, plain)  # what isn't taken has the initial values it would have had
    assert run.notes == [
        f"7 tensors were taken from {source.folder} (final, step 24); top.bias, top.weight here keep their initial "
        "values; head.bias, head.weight there aren't used."
    ]


def test_the_first_pattern_that_matches_counts_and_stars_stand_for_the_same(source: lw.Run, tmp_path: Path) -> None:
    take = {"body.1.*": "trunk.1.*", "*.0.*": "trunk.0.*", "head.*": "top.*"}
    with pytest.raises(lw.LabwrightError, match=r"start\.take\.\"\*\.0\.\*\": given 'trunk\.0\.\*'; it has as many \*"):
        begun(tmp_path / "uneven", model=Renamed, start={"run": source.folder, "take": take})
    take = {"body.1.*": "trunk.1.*", "*dy.0.*": "trunk*.0.*", "body.0.*": "trunk.0.*", "head.*": "top.*"}
    with pytest.raises(
        lw.LabwrightError, match=r"body\.0\..* have no place in this model: 'body\.0.* would be 'trunkbo\.0\."
    ):
        begun(tmp_path / "earlier", model=Renamed, start={"run": source.folder, "take": take})


def test_tied_weights_are_given_by_either_name(tmp_path: Path) -> None:
    ended = experiment(model=Tied, train={"epochs": 1, "batch_size": 15, "ema": 0.5}).run(tmp_path / "source")
    run = begun(tmp_path / "run", model=Tied, start=ended.folder)
    assert equal(run.model, ended.model)
    weight = {"first.weight": torch.full((4, 4), 2.0)}
    save_file(weight, tmp_path / "one.safetensors")
    run = begun(tmp_path / "one", model=Tied, start=tmp_path / "one.safetensors")
    assert torch.equal(run.model.get_parameter("second.weight"), weight["first.weight"])
    assert "second.weight" not in run.notes[0]


def test_safetensors_are_a_source_whole_in_parts_or_alone(source: lw.Run, tmp_path: Path) -> None:
    tensors = {name: one.contiguous() for name, one in source.model.state_dict().items()}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    save_file(tensors, whole / "model.safetensors")
    names = sorted(tensors)
    halves = {"a.safetensors": names[:4], "b.safetensors": names[4:]}
    for file, some in halves.items():
        save_file({name: tensors[name] for name in some}, parts / file)
    index = {"metadata": {}, "weight_map": {name: file for file, some in halves.items() for name in some}}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    for number, start in enumerate([whole, parts, whole / "model.safetensors"]):
        run = begun(tmp_path / f"run-{number}", start=start)
        assert equal(run.model, source.model)
    kept = json.loads((tmp_path / "run-1" / "environment.json").read_text())["start"]
    assert kept == {str(parts / file): hashlib.sha256((parts / file).read_bytes()).hexdigest() for file in halves}


def test_half_precision_is_widened_exactly(source: lw.Run, tmp_path: Path) -> None:
    half = {n: t.bfloat16() if t.is_floating_point() else t for n, t in source.model.state_dict().items()}
    save_file(half, tmp_path / "model.safetensors")
    run = begun(tmp_path / "run", start=tmp_path)
    assert torch.equal(run.model.get_parameter("head.weight"), half["head.weight"].float())


# -------------------------------------------------------------------------------------------- once, and by itself


def test_a_run_goes_on_and_is_measured_after_its_source_is_gone(
    source: lw.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source.folder, "pretrained")
    begins = experiment(start="pretrained", train={"epochs": 2, "batch_size": 15, "save_every": "1 step"})
    whole = begins.run("whole")
    begins.trainer(Path("cut")).fit(until=7)
    sums = json.loads(Path("cut/environment.json").read_text())["start"]
    shutil.rmtree("pretrained")
    (tmp_path / "elsewhere").mkdir()
    shutil.move("cut", "elsewhere/cut")
    shutil.move("whole", "elsewhere/whole")
    monkeypatch.chdir(tmp_path / "elsewhere")
    trainer, _ = resume(Path("cut"), toys())
    trainer.fit()
    assert equal(trainer.model, whole.model)
    assert evaluated(Path("cut"), toys(), "test", "final").metrics == whole.metrics["test"]
    assert equal(lw.load("cut", plugins=toys()).model, whole.model)
    # what it began with is still said, though nothing of it is here
    assert json.loads(Path("cut/environment.json").read_text())["start"] == sums
    assert len(sums) == 2
    with pytest.raises(lw.LabwrightError, match=r"start of cut can't be changed on resuming"):
        resume(Path("cut"), toys(), ["start.run=other"])
    with pytest.raises(
        lw.LabwrightError, match=r"start\.run: no run folder and no safetensors: 'pretrained' in .* isn't there\."
    ):
        experiment(start="pretrained").run("again")


def test_resuming_is_exact_and_every_trial_starts_so(source: lw.Run, tmp_path: Path) -> None:
    begins = experiment(start=str(source.folder))
    assert verify_resume(begins, 5).exact
    trial = begins.varied({"optimizer.lr": 0.01}).trial(tmp_path / "trial", begins.prepared())
    assert equal(trial.model, lw.load(source.folder, plugins=toys()).model)


def test_a_recipe_says_it_in_a_word_or_a_table_and_an_override_goes_on_from_a_word(
    source: lw.Run, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f"""start = "{source.folder}"
task = {{ name = "sorting", data = "toys/blobs" }}
model = "toys/net"
loss = "cross-entropy"
optimizer = "adamw"
train = {{ epochs = 1, batch_size = 15 }}
"""
    )
    made = lw.Experiment.from_recipe(recipe, ["start.checkpoint=best"], plugins=toys())
    assert made.table()["start"] == {"run": str(source.folder), "checkpoint": "best", "strict": True}
    assert made.start is not None and made.start.checkpoint == "best"
    assert lw.Experiment.from_recipe(recipe, ["start="], plugins=toys()).start is None
    with pytest.raises(
        lw.LabwrightError, match=r"mine\.toml:1: start\.run: no run folder and no safetensors: 'nowhere' in"
    ):
        recipe.write_text(recipe.read_text().replace(str(source.folder), "nowhere"))
        lw.Experiment.from_recipe(recipe, plugins=toys()).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_what_was_taken_is_listed_in_full(tmp_path: Path, command: Callable[..., Answer]) -> None:
    save_file({"hidden.0.weight": torch.zeros(128, 64), "old.bias": torch.zeros(3)}, tmp_path / "first.safetensors")
    arguments = ["show", "--start", "vision/digits-mlp", f"start.run={tmp_path / 'first.safetensors'}"]
    listed = json.loads(command(*arguments, "start.strict=false", "--json").out)
    assert listed["taken"] == {"hidden.0.weight": "hidden.0.weight"} and listed["unused"] == ["old.bias"]
    assert listed["kept"][0] == "hidden.0.bias" and list(listed["files"]) == [str(tmp_path / "first.safetensors")]
    shown = command(*arguments, "start.strict=false").out
    assert "old.bias" in shown and "hidden.0.weight" in shown and "initial values" in shown
    refused = command("show", "--start", "vision/digits-mlp")
    assert refused.code == 2 and "starts from no other weights" in refused.err


# -------------------------------------------------------------------------------------------------------- refusals


EMPTY = save({"x": torch.zeros(1)})
LOST = b'{"weight_map": {"lost": "../b.safetensors"}}'


def folder_of(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


SLIPS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "a run that isn't there": (
        lambda run, here: run.with_name("sourec"),
        r"start\.run: no run folder and no safetensors: '.*sourec' isn't there; did you mean '.*source'\?",
    ),
    "a run without a checkpoint": (
        lambda run, here: folder_of(here / "young", recipe__toml=b""),
        r"start\.run: .*young has no whole checkpoint\.",
    ),
    "a folder of something else": (
        lambda run, here: folder_of(here / "texts", notes__txt=b"", pytorch_model__bin=b""),
        r"start\.run: no run folder and no safetensors: '.*texts' has notes\.txt, pytorch_model\.bin\. Nothing is "
        r"downloaded, and other files of weights, which may run code, aren't read\.",
    ),
    "a torn file": (
        lambda run, here: folder_of(here / "torn", model__safetensors=b"torn"),
        r"start\.run: .*torn can't be read as safetensors: SafetensorError",
    ),
    "an index of nothing": (
        lambda run, here: folder_of(here / "x", a__safetensors=EMPTY, model__safetensors__index__json=b"[1]"),
        r"start\.run: .*x can't be read as safetensors: TypeError",
    ),
    "a part that is missing": (
        lambda run, here: folder_of(here / "x", a__safetensors=EMPTY, model__safetensors__index__json=LOST),
        r"start\.run: .*x lacks lost, which its index names\.",
    ),
    "a checkpoint's own folder": (
        lambda run, here: run / "checkpoints" / "step-00000024",
        r"start\.take: of .* train/.* have no place in this model",
    ),
    "a checkpoint that isn't one": (
        lambda run, here: {"run": run, "checkpoint": "bset"},
        r"start\.checkpoint: given 'bset'; it should be 'final', 'last' or 'best'; did you mean 'best'\?",
    ),
    "a checkpoint of a file": (
        lambda run, here: {"run": folder_of(here / "x", model__safetensors=b""), "checkpoint": "best"},
        r"start\.checkpoint: .*x is no run folder, so that it has no 'best'\.",
    ),
    "no run": (lambda run, here: {"take": {}}, r"start\.run: start needs this setting\."),
    "a number": (lambda run, here: 3, r"start\.run: given 3; it should be text"),
    "a setting that isn't there": (
        lambda run, here: {"run": run, "stirct": False},
        r"start\.stirct: start has no setting 'stirct'; did you mean 'strict'\?",
    ),
    "a pattern that matches nothing": (
        lambda run, here: {"run": run, "take": {"bdoy.*": "body.*"}},
        r'start\.take\."bdoy\.\*": no tensor of .*source .* matches \'bdoy\.\*\'; did you mean \'body\.\*\'\? It has',
    ),
    "patterns to one place": (
        lambda run, here: {"run": run, "take": {"body.0.bias": "body.1.bias", "body.1.bias": "body.1.bias"}},
        r"both 'body\.0\.bias' and 'body\.1\.bias' of .* are taken as 'body\.1\.bias'",
    ),
    "what has no place": (
        lambda run, here: {"run": run, "take": {"body.*": "body.*", "head.*": "haed.*"}},
        r"start\.take: of .* head\.bias, head\.weight have no place in this model: 'head\.\w+' would be 'haed\.\w+'; "
        r"did you mean 'head\.\w+'\? .* and 4 more\. start\.strict=false leaves them out\.",
    ),
    "stars on one side": (
        lambda run, here: {"run": run, "take": {"body.*": "body.0.weight"}},
        r"start\.take\.\"body\.\*\": given 'body\.0\.weight'; it has as many \* as 'body\.\*'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_answered_before_there_is_a_folder(slip: str, source: lw.Run, tmp_path: Path) -> None:
    start, pattern = SLIPS[slip]
    with pytest.raises(lw.LabwrightError, match=pattern) as caught:
        experiment(start=start(source.folder, tmp_path)).run(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_other_sizes_are_refused_by_name_with_both_shapes_and_what_fits(tmp_path: Path) -> None:
    ended = experiment(model=Renamed).run(tmp_path / "source")
    tensors = ended.model.state_dict() | {"top.weight": torch.zeros(5, 16), "top.bias": torch.zeros(5)}
    save_file(tensors, tmp_path / "five.safetensors")
    for strict in (True, False):
        with pytest.raises(lw.LabwrightError) as caught:
            experiment(model=Renamed, start={"run": tmp_path / "five.safetensors", "strict": strict}).run(
                tmp_path / "x"
            )
        message = str(caught.value)
        assert re.search(
            r"'top\.bias' of .* has shape \(5,\), and 'top\.bias' here shape \(3,\)\. Take the others", message
        )


@pytest.mark.parametrize("strict", [True, False])
def test_a_source_of_another_architecture_is_refused_with_the_names_that_would_do(
    strict: bool, source: lw.Run, tmp_path: Path
) -> None:
    with pytest.raises(lw.LabwrightError, match=r"of .* no tensor has a place in this model") as caught:
        experiment(model=Renamed, start={"run": source.folder, "strict": strict}).run(tmp_path / "run")
    assert 'start.take = { "body.*" = "trunk.*" } has a place for 7 of them.' in str(caught.value)


def test_what_is_not_strict_leaves_out_what_has_no_place_and_says_so(source: lw.Run, tmp_path: Path) -> None:
    begins = {"run": source.folder, "take": {"body.*": "trunk.*", "head.*": "head.*"}, "strict": False}
    run = begun(tmp_path / "run", model=Renamed, start=begins)
    assert run.notes[0].endswith("head.bias, head.weight there aren't used.")


def test_quantised_weights_are_no_weights_here(source: lw.Run, tmp_path: Path) -> None:
    quantised = {n: t.mul(10).char() if n == "head.weight" else t for n, t in source.model.state_dict().items()}
    save_file(quantised, tmp_path / "model.safetensors")
    with pytest.raises(lw.LabwrightError, match=r"has shape \(3, 16\) of torch\.int8, and 'head.* shape \(3, 16\)\."):
        experiment(start=tmp_path).run(tmp_path / "run")
