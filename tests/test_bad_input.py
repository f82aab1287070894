"""What a person can get wrong: each slip gets its one message, exit code not 0, no traceback, and loses nothing."""

from __future__ import annotations

import hashlib
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from labwright.cli import main
from PIL import Image

RECIPE = """\
task = { name = "classification", data = "vision/digits" }
model = { name = "vision/mlp", width = 16 }
loss = "cross-entropy"
optimizer = { name = "sgd", lr = 0.1 }
device = "cpu"
log = []

[train]
steps = 3
batch_size = 16
"""


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    errors: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "recipe.toml").write_text(RECIPE)
    sys.argv = [
        "labwright",
        "run",
        str(folder / "recipe.toml"),
        "train.save_every=2 steps",
        "--folder",
        str(folder / "run"),
    ]
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return folder / "run"


def answer(args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr(sys, "argv", ["labwright", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Said(ended.value.code, captured.err)


def state(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def recipe(changed: str = "", to: str = "") -> Callable[[Path, Path], list[str]]:
    """`labwright run` of the recipe with one piece of text replaced."""

    def args(here: Path, trained: Path) -> list[str]:
        assert changed in RECIPE
        (here / "mine.toml").write_text(RECIPE.replace(changed, to) if changed else RECIPE + to)
        return ["run", str(here / "mine.toml")]

    return args


def overriding(*overrides: str) -> Callable[[Path, Path], list[str]]:
    """`labwright run` of the recipe with overrides."""
    return lambda here, trained: [*recipe()(here, trained), *overrides]


def command(*words: str) -> Callable[[Path, Path], list[str]]:
    """A command; {here} is an empty folder, {run} a copy of the trained run."""

    def args(here: Path, trained: Path) -> list[str]:
        shutil.copytree(trained, here / "run")
        return [word.format(here=here, run=here / "run") for word in words]

    return args


def damaged(file: str, *words: str) -> Callable[[Path, Path], list[str]]:
    """A command on a run in which every file of that name was cut short."""

    def args(here: Path, trained: Path) -> list[str]:
        said = command(*words)(here, trained)
        for path in (here / "run").rglob(file):
            path.write_bytes(path.read_bytes()[:-3])
        return said

    return args


def pictures(kind: str, *overrides: str) -> Callable[[Path, Path], list[str]]:
    """`labwright run vision/image-folder` on a folder with something wrong with it."""

    def args(here: Path, trained: Path) -> list[str]:
        folder = here / "pictures"
        if kind != "missing":
            folder.mkdir()
        if kind == "text":
            (folder / "cats").mkdir()
            (folder / "cats" / "notes.txt").write_text("no picture")
        if kind in ("one class", "corrupt", "few"):
            for name in ("cats",) if kind == "one class" else ("cats", "dogs"):
                (folder / name).mkdir()
                for number in range(2 if kind == "few" else 12):
                    Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(folder / name / f"{number}.png")
        if kind == "corrupt":
            content = (folder / "dogs" / "0.png").read_bytes()
            for number in range(12):
                (folder / "dogs" / f"{number}.png").write_bytes(content[:40])
        return ["run", "vision/image-folder", f"task.data.folder={folder}", "train.epochs=1", "log=[]", *overrides]

    return args


CASES: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    # what it is: (the command, a pattern of its message)
    "a misspelt recipe": (
        command("run", "vision/digist"),
        r"no recipe is called 'vision/digist'; did you mean 'vision/digits'",
    ),
    "a recipe without its domain": (command("run", "digits-mlp"), r"did you mean 'vision/digits-mlp'"),
    "no such recipe file": (
        command("run", "{here}/mine.toml"),
        r"no recipe file '.*mine\.toml'.*ends in \.toml is a file",
    ),
    "a recipe that is no TOML": (recipe("steps = 3", "steps = = 3"), r"mine\.toml can't be read: .*line 9"),
    "a table no recipe has": (recipe("[train]", "[trian]"), r"mine\.toml:8: trian: .*did you mean 'train'"),
    "no task": (
        recipe('task = { name = "classification", data = "vision/digits" }\n'),
        r"task: .*names no task.*classification",
    ),
    "no model": (recipe('model = { name = "vision/mlp", width = 16 }\n'), r"model: .*names no model.*nlp/bag"),
    "a task that isn't there": (
        recipe('"classification"', '"clasification"'),
        r"mine\.toml:1: task.*no task .*'classification'",
    ),
    "data that isn't there": (
        recipe('"vision/digits"', '"vision/digit"'),
        r"mine\.toml:1: task\.data: .*'vision/digits'",
    ),
    "a model that isn't there": (overriding("model=vision/resnt"), r"model: no model .*did you mean 'vision/resnet'"),
    "a loss that isn't there": (overriding("loss=cross-entrpy"), r"loss: no loss .*did you mean 'cross-entropy'"),
    "an optimizer that isn't there": (overriding("optimizer=adamww"), r"optimizer: .*did you mean 'adamw'"),
    "no such optimizer of torch": (
        overriding("optimizer=torch/Adagrd"),
        r"no optimizer .*did you mean 'torch/Adagrad'",
    ),
    "an optimizer of torch without its domain": (
        overriding("optimizer=adadelta"),
        r"(?i)did you mean '(torch|timm)/adad",
    ),
    "a setting without its table": (overriding("lr=0.1"), r"a recipe has no 'lr'; did you mean optimizer\.lr\?"),
    "steps without their table": (overriding("steps=9"), r"a recipe has no 'steps'; did you mean train\.steps\?"),
    "a device that isn't there": (overriding("device=gpu"), r"device: no device is called 'gpu'"),
    "a logger that isn't there": (overriding('log=["tensorbord"]'), r"log: no logger .*did you mean 'tensorboard'"),
    "a misspelt setting": (
        recipe("width", "widht"),
        r"mine\.toml:2: model\.widht: .*did you mean 'width'.*It takes .*depth",
    ),
    "a text for a number": (
        recipe("width = 16", 'width = "16"'),
        r"mine\.toml:2: model\.width: given '16'; .*whole number",
    ),
    "true for a number": (
        recipe("steps = 3", "steps = true"),
        r"mine\.toml:9: train\.steps: given True; .*whole number",
    ),
    "a number out of range": (overriding("model.dropout=1.5"), r"model\.dropout: given 1\.5; .*less than 1"),
    "a word that isn't allowed": (
        overriding("optimizer.schedule=cosin"),
        r"optimizer\.schedule: .*did you mean 'cosine'",
    ),
    "a list for a name": (recipe('device = "cpu"', 'device = ["cpu"]'), r"device: given \['cpu'\]"),
    "a table without a name": (
        recipe('"cross-entropy"', "{ label_smoothing = 0.1 }"),
        r"mine\.toml:3: loss: .*without a name",
    ),
    "an interval that is none": (overriding("train.save_every=often"), r"train\.save_every: given 'often'"),
    "both epochs and steps": (recipe("steps = 3", "steps = 3\nepochs = 1"), r"train: given both of epochs and steps"),
    "neither epochs nor steps": (recipe("steps = 3\n"), r"train: given neither of epochs and steps"),
    "a log that is no list": (recipe("log = []", 'log = "progress"'), r"mine\.toml:6: log: .*it is a list"),
    "micro-batches that don't divide": (
        overriding("device.accumulate=3"),
        r"device\.accumulate: 3 micro-batches don't divide .*16",
    ),
    "ports that don't match": (recipe("classification", "regression"), r"task.data: regression .*Classes"),
    "a loss that doesn't fit": (
        overriding("loss=mse"),
        r"loss: loss 'mse' doesn't fit task 'classification'.*logits, labels",
    ),
    "no loss": (recipe('loss = "cross-entropy"\n'), r"loss: task 'classification' needs a loss"),
    "no optimizer": (
        recipe('optimizer = { name = "sgd", lr = 0.1 }\n'),
        r"optimizer: task 'classification' needs an optimizer",
    ),
    "a pattern no parameter matches": (
        overriding('optimizer.groups={"hed.*"={lr_factor=2.0}}'),
        r"groups: no parameter matches 'hed\.\*'",
    ),
    "a group's unknown field": (overriding('optimizer.groups={"*"={lr_facto=2.0}}'), r"optimizer\.groups.*lr_facto"),
    "a wrong option of a library's optimizer": (
        overriding("optimizer=torch/RMSprop", "optimizer.options={alhpa=0.9}"),
        r"alhpa.*alpha",
    ),
    "an architecture timm lacks": (
        overriding("model=vision/timm", "model.architecture=resnet1x8"),
        r"model.*resnet1x8.*did you mean",
    ),
    "a depth no ResNet has": (overriding("model=vision/resnet", "model.depth=19"), r"model.*19"),
    "an override without =": (overriding("train.steps"), r"override 'train\.steps' is no assignment"),
    "an override of a table no recipe has": (
        overriding("trian.steps=3"),
        r"override 'trian\.steps=3': .*did you mean 'train'",
    ),
    "an override through a number": (overriding("train.steps.many=3"), r"train\.steps is 3, which has no fields"),
    "a plugin to block that isn't there": (
        command("--no-plugin", "visoin", "list"),
        r"no plugin is called 'visoin'; did you mean 'vision'",
    ),
    "a list of nothing": (command("list", "modles"), r"no list of 'modles'; did you mean 'models'"),
    "nothing to show": (command("show", "modle", "vision/mlp"), r"'modle' is neither .*did you mean 'model'"),
    "a folder of pictures that isn't there": (pictures("missing"), r"pictures.*"),
    "a folder without pictures": (pictures("text"), r"pictures.*"),
    "pictures of one class": (pictures("one class"), r"cats"),
    "a corrupt picture": (
        pictures("corrupt"),
        r"12 of 24 pictures can't be read \(dogs/0\.png: .*on_damaged=leave-out",
    ),
    "an MNIST file cut short": (lambda here, trained: _torn_mnist(here), r"mnist\.npz can't be read"),
    "a run folder that isn't one": (command("resume", "{here}"), r"is no run folder: it has no recipe\.toml"),
    "a misspelt run folder": (command("evaluate", "{here}/rum"), r"is no run folder.*did you mean '.*run'"),
    "a recipe for a run folder": (
        command("predict", "vision/digits"),
        r"it is a recipe: `labwright run vision/digits`",
    ),
    "a run folder that isn't empty": (
        command("run", "vision/digits-mlp", "--folder", "{run}"),
        r"isn't empty.*labwright resume",
    ),
    "a run folder below a file": (
        command("run", "vision/digits-mlp", "--folder", "{run}/recipe.toml/below"),
        r"can't write the run folder",
    ),
    "another model on resuming": (
        command("resume", "{run}", "model=vision/cnn"),
        r"the model of .* can't be changed on resuming",
    ),
    "a setting that isn't there on resuming": (
        command("resume", "{run}", "train.epoch=9"),
        r"train\.epoch: .*did you mean 'epochs'",
    ),
    "every checkpoint damaged": (
        damaged("model.safetensors", "resume", "{run}"),
        r"no whole checkpoint.*step-00000003",
    ),
    "what the task learned is damaged": (
        damaged("checksums.json", "predict", "{run}", "{run}"),
        r"checksums\.json is missing or torn",
    ),
    "a split that isn't there": (
        command("evaluate", "{run}", "--split", "tset"),
        r"no split 'tset'; did you mean 'test'",
    ),
    "a checkpoint that isn't there": (
        command("evaluate", "{run}", "--checkpoint", "bst"),
        r"no checkpoint 'bst'; did you mean 'best'",
    ),
    "a checkpoint of another model": (
        lambda here, trained: _other_width(here, trained),
        r"is a checkpoint of another model: .*shape",
    ),
    "a picture to predict that isn't there": (
        command("predict", "{run}", "{here}/9.png"),
        r"no file or folder '.*9\.png'",
    ),
    "a folder to predict without pictures": (command("predict", "{run}", "{run}/task"), r"no file that Digits reads"),
    "a picture to predict that is none": (
        command("predict", "{run}", "{run}/recipe.toml"),
        r"recipe\.toml can't be read as a picture",
    ),
    "a recipe to verify that isn't there": (command("verify-resume", "vision/digist"), r"did you mean 'vision/digits'"),
}


def _torn_mnist(here: Path) -> list[str]:
    (here / "mnist.npz").write_bytes(b"PK\x03\x04 and no more")
    return ["run", "vision/mnist", f"task.data.folder={here}"]


def _other_width(here: Path, trained: Path) -> list[str]:
    said = command("evaluate", "{run}")(here, trained)
    file = here / "run" / "recipe.toml"
    file.write_text(file.read_text().replace("width = 16", "width = 8"))
    return said


@pytest.mark.parametrize("case", CASES)
def test_a_slip_gets_one_message_and_loses_nothing(
    case: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    build, pattern = CASES[case]
    args = build(tmp_path, trained)
    before = state(tmp_path)
    said = answer(args, capsys, monkeypatch)
    assert said.code == 2, said
    assert said.errors.startswith("error: ") or "\nerror: " in said.errors, said.errors
    assert said.errors.count("error: ") == 1
    assert "Traceback" not in said.errors
    assert re.search(pattern, said.errors, re.DOTALL), said.errors
    after = state(tmp_path)
    assert {name: after.get(name) for name in before} == before


def test_there_are_forty_cases_and_more() -> None:
    assert len(CASES) >= 40


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint_before(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    kept = state(tmp_path / "run" / "checkpoints")
    with disk_of(4000):  # the log and the recipe fit, a checkpoint's tensors don't
        said = answer(["resume", "run", "train.steps=20"], capsys, monkeypatch)
    assert said.code == 1
    assert "can't write the checkpoint" in said.errors
    assert "checkpoint of step 3 is kept" in said.errors
    assert "Traceback" not in said.errors
    assert state(tmp_path / "run" / "checkpoints") == kept
    again = answer(["resume", "run"], capsys, monkeypatch)
    assert again.code == 0, again.errors


def test_a_loss_that_is_no_number_is_told_with_the_way_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    said = answer(
        ["run", "mine.toml", "optimizer.lr=1e30", "train.steps=60", "train.save_every=1 step"], capsys, monkeypatch
    )
    assert said.code == 1
    assert "no finite number" in said.errors or "became" in said.errors
    assert "Traceback" not in said.errors


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_with_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    said = answer(["run", "mine.toml", "device=cuda"], capsys, monkeypatch)
    assert said.code == 2
    assert "cpu" in said.errors
