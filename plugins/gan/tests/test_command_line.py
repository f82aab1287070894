"""From the command line: a run, its predictions, and what a person can get wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labwright.train.checkpoints import seal
from PIL import Image

Command = Callable[..., Any]  # see conftest.py
SHORT = ("train.steps=4", "log=[]", "model.width=8")


def test_a_run_of_points_is_predicted_from_and_evaluated(labwright: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ran = labwright("run", "gan/ring", "train.steps=4", "model.width=8", "--folder", folder)
    assert ran.code == 0, ran.errors
    page = (folder / "report.html").read_text()
    assert "Circles are 3 standard deviations about each mode" in page and "This part is missing" not in page
    said = labwright("predict", folder, "--seed", "3", "--json")
    assert said.code == 0, said.errors
    assert len(json.loads(said.out)["point"]) == 2
    assert labwright("predict", folder, "--seed", "3", "--json").out == said.out
    ran_again = labwright("evaluate", folder, "--json")
    logged = json.loads((folder / "outcome.json").read_text())["metrics"]["test"]
    assert ran_again.code == 0, ran_again.errors
    assert set(logged) == {"energy_distance", "modes/covered", "modes/near"}
    assert [value for value in logged.values() if str(value) in ran_again.out]


@pytest.mark.slow
def test_digits_are_drawn_by_class_into_files(labwright: Command, tmp_path: Path) -> None:
    pytest.importorskip("labwright_vision", reason="the digits come with labwright-vision")
    folder = tmp_path / "run"
    ran = labwright("run", "gan/digits", "train.epochs=", "task.judge_epochs=1", *SHORT, "--folder", folder)
    assert ran.code == 0, ran.errors
    said = labwright("predict", folder, "--label", "7", "--label", "7:1", "--out", tmp_path / "drawn", "--json")
    assert said.code == 0, said.errors
    files = [Path(json.loads(line)["picture"]) for line in said.out.splitlines()]
    for file in files:
        with Image.open(file) as picture:
            assert (picture.size, picture.format) == ((8, 8), "PNG")
    assert files[0].read_bytes() != files[1].read_bytes()
    asked = labwright("predict", folder, "--label", "seven")
    assert (asked.code, "given 'seven'; this run makes samples of 0, 1, 2" in asked.errors) == (2, True), asked.errors


@pytest.mark.long
@pytest.mark.slow
def test_the_classifier_of_another_run_is_the_judge(labwright: Command, tmp_path: Path) -> None:
    pytest.importorskip("labwright_vision", reason="the digits come with labwright-vision")
    judge, folder = tmp_path / "judge", tmp_path / "run"
    assert labwright("run", "vision/digits-mlp", "train.epochs=5", "log=[]", "--folder", judge).code == 0
    accuracy = json.loads((judge / "outcome.json").read_text())["metrics"]["test"]["accuracy"]
    short = ("train.epochs=", *SHORT)
    ran = labwright("run", "gan/digits", f"task.judge={judge}", *short, "--folder", folder)
    assert ran.code == 0, ran.errors
    metrics = json.loads((folder / "outcome.json").read_text())["metrics"]["test"]
    assert metrics["judge_accuracy"] == pytest.approx(accuracy)
    assert not (folder / "task" / "judge.safetensors").exists()
    wrong = labwright("run", "gan/digits", f"task.judge={folder}", *short)
    assert wrong.code == 2
    assert re.search(r"task\.judge: the run .* goes from ClassLatent to pictures of 1x8x8; a judge", wrong.errors)
    *_, newest = sorted((judge / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"torn")
    damaged = labwright("run", "gan/digits", f"task.judge={judge}", *short)
    assert damaged.code == 2
    assert re.search(r"task\.judge: .*model\.safetensors is torn.*A judge is the model of a run", damaged.errors)
    missing = labwright("run", "gan/digits", f"task.judge={tmp_path / 'jugde'}", *short)
    assert missing.code == 2
    assert re.search(r"task\.judge: .*jugde' is no run folder.*did you mean '.*judge'", missing.errors)


@pytest.mark.long
def test_a_run_needs_its_judge_no_more_once_it_has_begun(
    labwright: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("labwright_vision", reason="the digits come with labwright-vision")
    monkeypatch.chdir(tmp_path)
    train = ("train.steps=20", "train.epochs=", "train.ema=0.9", "log=[]")
    assert labwright("run", "vision/digits-mlp", *train, "--folder", "judge").code == 0
    settings = ("task.judge=judge", "train.steps=6", "train.epochs=", "train.save_every=3 steps", "train.keep=9")
    settings += ("log=[]", "model.width=8", "train.evaluate_every=3 steps")
    assert labwright("run", "gan/digits", *settings, "--folder", "whole").code == 0
    # the copy is what the judge's own files are
    sums = json.loads(Path("whole/task/checksums.json").read_text())
    for file in (
        "recipe.toml",
        *(str(path.relative_to("judge")) for path in Path("judge/checkpoints").rglob("*.saf*")),
    ):
        assert sums[f"judge/{file}"] == hashlib.sha256(Path("judge", file).read_bytes()).hexdigest()
    # a run of before there were copies asks for its judge where it was
    shutil.copytree("whole", "old")
    shutil.rmtree("old/task/judge")
    Path("old/task/judge.json").unlink()
    seal(Path("old/task"))
    assert labwright("evaluate", "old", "--json").out == labwright("evaluate", "whole", "--json").out.replace(
        "whole", "old"
    )
    shutil.copytree("whole", "elsewhere/cut")
    shutil.rmtree("elsewhere/cut/checkpoints/step-00000006")
    Path("elsewhere/cut/outcome.json").unlink()
    shutil.move("whole", "elsewhere/whole")
    shutil.rmtree("judge")
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = labwright("resume", "cut")
    assert resumed.code == 0, resumed.errors
    logged = [json.loads(Path(folder, "outcome.json").read_text())["metrics"] for folder in ("cut", "whole")]
    assert logged[0] == logged[1]
    measured = labwright("evaluate", "cut", "--json")
    assert measured.code == 0, measured.errors
    assert json.loads(measured.out)["metrics"] == logged[1]["test"]
    drawn = [labwright("predict", run, "--label", "7", "--out", f"{run}-drawn") for run in ("cut", "whole")]
    assert [answer.code for answer in drawn] == [0, 0], drawn
    pictures = [next(Path(f"{run}-drawn").iterdir()).read_bytes() for run in ("cut", "whole")]
    assert pictures[0] == pictures[1]
    shutil.copytree("cut-drawn", "pictures/7")
    on_others = labwright("evaluate", "cut", "--on", "pictures", "--json")
    assert on_others.code == 0, on_others.errors
    assert json.loads(on_others.out)["metrics"]["judge_accuracy"] in (0, 1)  # of one picture
    another = labwright("evaluate", "cut", "task.judge=other")
    assert another.code == 2
    assert "task.judge: given 'other'; this run keeps a copy of its judge, 'judge', so that" in another.errors


SLIPS: dict[str, tuple[tuple[str, ...], str]] = {
    "a loss that isn't there": (("loss=gan/hing",), r"loss: no loss is called 'gan/hing'; did you mean 'gan/hinge'"),
    "a loss that doesn't fit": (
        ("loss=cross-entropy",),
        r"'cross-entropy' doesn't fit .*no method critic\(real, fake\)",
    ),
    "a loss within that doesn't fit": (
        ('loss={name="gan/r1", loss="mse"}',),
        r"'gan/r1' doesn't fit task 'gan/adversarial'.*no method critic",
    ),
    "a penalty below 0": (('loss={name="gan/wasserstein", penalty=-1.0}',), r"loss\.penalty: given -1\.0; .*0"),
    "a pair for pictures": (
        ("model={name='gan/dcgan'}",),
        r"model 'gan/dcgan' returns Image; data 'gan/ring' .*Features",
    ),
    "a pair that is told classes": (("model={name='gan/cdcgan'}",), r"'gan/cdcgan' takes ClassLatent; .*Latent"),
    "a pair that isn't told classes": (("task.conditional=true",), r"'gan/mlp' takes Latent; .*offers ClassLatent"),
    "a judge of points": (("task.judge=runs",), r"task\.judge: a judge looks at pictures; Ring offers points"),
    "changes of points": (('task.augment=["cutout"]',), r"task\.augment: it changes pictures; Ring offers points"),
    "a change that isn't there": (('task.augment=["cutuot"]',), r"task\.augment.*did you mean 'cutout'"),
    "no latent": (("task.latent=0",), r"task\.latent: given 0; .*1"),
    "no critic steps": (("task.critic_steps=0",), r"task\.critic_steps: given 0"),
    "a misspelt setting": (("task.critic_step=2",), r"task\.critic_step: .*did you mean 'critic_steps'"),
    "a norm that isn't there": (("model.critic_norm=spectrl",), r"model\.critic_norm: .*did you mean 'spectral'"),
    "no width of a mode": (("task.data.sigma=0.0",), r"task\.data\.sigma: given 0\.0; .*greater than 0"),
    "too many modes": (("task.data.modes=1000000000",), r"task\.data\.modes: given 1000000000; .*1000"),
    "a radius without end": (("task.data.radius=inf",), r"task\.data\.radius: given inf; it should be a finite number"),
    "a rate below 0 for one phase": (("optimizer.critic={lr=-1.0}",), r"optimizer\.critic\.lr: given -1\.0; .*greater"),
    "a phase that is a number": (
        ("optimizer.critic=5",),
        r"optimizer\.critic: optimizer 'adam' has no setting 'critic'",
    ),
    "a penalty around nothing": (('loss={name="gan/r1"}',), r"loss\.loss: .*is missing|loss: .*needs"),
    "a penalty around no loss": (
        ('loss={name="gan/r1", loss="gan/ring"}',),
        r"loss\.loss: no loss is called 'gan/ring'",
    ),
    "words for a number": (("task.latent=many",), r"task\.latent: given 'many'"),
    "a latent no machine can hold": (
        ("task.latent=1000000000",),
        r"'gan/mlp' can't be built: it asks for .* 512\.0 GB of memory",
    ),
    "no loss": (("loss=",), r"loss"),
    "no optimizer": (("optimizer=",), r"optimizer: task 'gan/adversarial' needs an optimizer"),
    "data of words": (("task.data={name='nlp/languages'}",), r"makes pictures or points; .* offers Tokens"),
    "a phase that isn't there": (("optimizer.genrator={lr=1e-3}",), r"optimizer\.genrator"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_gets_one_message(
    slip: str, labwright: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides, pattern = SLIPS[slip]
    said = labwright("run", "gan/ring", *overrides, "train.steps=2", "log=[]")
    assert said.code == 2, said
    assert said.errors.count("error: ") == 1
    assert "Traceback" not in said.errors
    assert re.search(pattern, said.errors, re.DOTALL), said.errors
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folder_of_pictures(tmp_path: Path) -> Path:
    """Forty random pictures of 30x30 pixels in two classes."""
    random = np.random.default_rng(0)
    for number in range(40):
        file = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(file)
    (file.parent / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def of_folder(folder: Path, *settings: str) -> tuple[str, ...]:
    data = f"task.data={{name='vision/image-folder', folder='{folder}'}}"
    return ("gan/digits", data, "task.judge_epochs=1", "train.epochs=", *SHORT, *settings)


@pytest.mark.parametrize("side", [7, *(pytest.param(side, marks=pytest.mark.long) for side in (20, 30))])
@pytest.mark.long
def test_pictures_of_any_size_are_drawn(
    side: int, folder_of_pictures: Path, labwright: Command, tmp_path: Path
) -> None:
    pytest.importorskip("labwright_vision", reason="folders of pictures come with labwright-vision")
    settings = (f"task.data.size={side}", "train.batch_size=8", "model.stages=", "--folder", tmp_path / "run")
    ran = labwright("run", *of_folder(folder_of_pictures, *settings), "--json")
    assert ran.code == 0, ran.errors
    measures = {name.partition("/")[0] for name in json.loads(ran.out)["metrics"]["test"]}
    of_asked = {"judge_accuracy", "read_as_asked", "spread", "generated_alone"}
    assert measures == {"fid", "kid", "prdc", "memorised", *of_asked}
    assert labwright("predict", tmp_path / "run", "--label", "a", "--out", tmp_path / "drawn").code == 0
    (file,) = (tmp_path / "drawn").iterdir()
    with Image.open(file) as picture:
        assert picture.size == (side, side)


PICTURES: dict[str, tuple[tuple[str, ...], str]] = {
    "more doublings than a size allows": (
        ("task.data.size=7",), r"model\.stages: given 2; pictures of 7x7 allow 1 at most, .*Left out, it follows",
    ),
    "a judge that isn't there": (("task.judge=elsewhere",), r"task\.judge: 'elsewhere' is no run folder"),
    "a judge that is a file": (("task.judge=pictures/b/notes.txt",), r"task\.judge: .*notes\.txt' is no run folder"),
    "a label that isn't there": (("task.data.folder=elsewhere",), r"task\.data\.folder.*elsewhere"),
}  # fmt: skip


@pytest.mark.parametrize("slip", PICTURES)
def test_a_slip_with_pictures_gets_one_message(
    slip: str, folder_of_pictures: Path, labwright: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("labwright_vision", reason="folders of pictures come with labwright-vision")
    monkeypatch.chdir(folder_of_pictures.parent)
    overrides, pattern = PICTURES[slip]
    said = labwright("run", *of_folder(folder_of_pictures, *overrides))
    assert said.code == 2, said
    assert said.errors.count("error: ") == 1 and "Traceback" not in said.errors, said.errors
    assert re.search(pattern, said.errors, re.DOTALL), said.errors
    assert not (folder_of_pictures.parent / "runs").exists()


def test_a_slip_in_what_is_to_be_predicted(labwright: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert labwright("run", "gan/ring", *SHORT, "--folder", folder).code == 0
    for asked, pattern in (
        (("--seed", "three"), r"given 'three'; a seed is a whole number of 18 digits at most, such as 7"),
        (("--seed", "9" * 5000), r"given '9{60}'; a seed is a whole number of 18 digits at most"),
        (("--seed", "-7"), r"given '-7'; a seed is a whole number|--seed needs a text"),
        (("--label", "7"), r"no option --label.*This run takes --seed TEXT"),
        ((folder / "recipe.toml",), r"Ring can't read an input from a file"),
    ):
        said = labwright("predict", folder, *asked)
        assert said.code == 2
        assert re.search(pattern, said.errors, re.DOTALL), said.errors
        assert "Traceback" not in said.errors
