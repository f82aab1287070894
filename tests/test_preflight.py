"""What a run would stumble over is said once, before anything is written, by whatever begins one; exit code 2."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.cli import main
from labwright_tasks.classification import Classification
from labwright_vision.data.digits import Digits
from PIL import Image
from torch import Tensor, nn

MLP = ["vision/digits-mlp", "train.epochs=1", "log=[]"]

# a plugin as somebody would begin it: one file, whose parts are broken in one way each
PLUGIN = """\
import labwright as lw
from torch import nn


class NoUpdate:
    def update(self, logits, labels):
        raise ValueError("the update is broken")

    def compute(self):
        return 0.0

    def reset(self):
        pass


class NoCompute(NoUpdate):
    def update(self, logits, labels):
        pass

    def compute(self):
        return 1 / 0


class Lines(nn.Module):
    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__()
        self.line = nn.Linear(64, 32)
        self.head = nn.Linear(32, len(outputs.names))

    def forward(self, x_BCHW):
        return self.head(self.line(x_BCHW.flatten(1)))


class Misfit(Lines):
    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.head = nn.Linear(33, len(outputs.names))


class Narrow(Lines):
    def forward(self, x_BCHW):
        return super().forward(x_BCHW)[:, :3]


class Whole(Lines):
    def forward(self, x_BCHW):
        return super().forward(x_BCHW).long()


class Nowhere(nn.Module):
    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels) * float("nan")


class Each(nn.Module):
    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels, reduction="none")


class Cut(nn.Module):
    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits.detach(), labels)


@lw.hookimpl
def labwright_components():
    for name in ("NoUpdate", "NoCompute"):
        yield lw.Component("metric", f"bad/{name.lower()}", f"bad:{name}", "broken")
    for name in ("Misfit", "Narrow", "Whole"):
        yield lw.Component("model", f"bad/{name.lower()}", f"bad:{name}", "broken")
    for name in ("Nowhere", "Each", "Cut"):
        yield lw.Component("loss", f"bad/{name.lower()}", f"bad:{name}", "broken")
"""

Lab = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("own") / "bad.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bad: Path) -> Lab:
    """A command in an empty folder, with bad.py as a plugin; its exit code and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", "--plugin", str(bad), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.err + said.out

    return run


def refused(lab: Lab, folder: Path, words: list[str], message: str) -> None:
    before = sorted(folder.iterdir())
    code, said = lab(*words)
    assert code == 2, said
    assert re.search(message, said), said
    assert said.count("error: ") == 1 and "Traceback" not in said, said
    assert sorted(folder.iterdir()) == before


BROKEN = r"a first batch of `valid` fails in metric 'noupdate': ValueError: the update is broken \(bad.py, line 7\)\."
SHAPES = (
    r"a first batch of `valid` fails in layer 'head' of the model, Linear\(in_features=33, out_features=10, bias=True\)"
    r", given \(64, 32\): RuntimeError: mat1 and mat2 .* \(bad.py, line 31\)\."
)
NAN = r"loss: on the first batch of `train`, before anything is learned, it is nan\. Look at the loss"
UPDATE, COMPUTE = (f'task.metrics=["accuracy", "bad/{name}"]' for name in ("noupdate", "nocompute"))

RUNS = {
    "the best of nothing": (["task.data.valid=0.0", "train.final=best"], r"train\.final: given 'best'.*`valid` split"),
    "early without valid": (["task.data.valid=0.0", 'stop=["early"]'], r"stop 'early': the data has no `valid` split"),
    "early by a metric that isn't there": (
        ['stop=[{name="early",metric="acuracy"}]'],
        r"stop 'early', metric: .* none is called 'acuracy'; did you mean 'accuracy'\?",
    ),
    "early in no direction": (
        ['stop=[{name="early",metric="cross_entropy"}]'],
        r"stop 'early', direction: 'cross_entropy' is not the task's goal",
    ),
    "a setting that isn't there": (["train.goal=acuracy"], r"train has no setting 'goal'"),
    "a goal that isn't there": (["task.goal=acuracy"], r"the goal is 'acuracy'.*; did you mean 'accuracy'\?"),
    "a goal that no metric gives": (
        ["task.goal=f1/nine", 'task.metrics=["f1"]'],
        r"its goal, 'f1/nine', is none of them",
    ),
    "a metric's update": ([UPDATE], BROKEN),
    "a metric's compute": ([COMPUTE], r"in metric 'nocompute': ZeroDivisionError: division by zero \(bad.py, line 21"),
    "a layer of another size": (["model=bad/misfit"], SHAPES),
    "too few logits": (["model=bad/narrow"], r"the model returned shape \(64, 3\); Classes stands for \(64, 10\)"),
    "whole numbers": (
        ["model=bad/whole"],
        r"loss: that of the first batch of `train` can't be computed from what model Whole returned, shape \(64, 10\) "
        r"of torch\.int64: ",
    ),
    "nan at once": (["loss=bad/nowhere"], NAN),
    "a loss of each sample": (["loss=bad/each"], r"it has shape \(64,\); a loss is one number, the mean over samples"),
    "a loss of nothing": (["loss=bad/cut"], r"loss: it depends on nothing that is trained"),
    "too small a disk": (
        ["train.epochs=", "train.steps=10_000_000_000", "train.keep=9_999_999_999", "train.save_every=1 steps"],
        r"the run's checkpoints need [\d,.]+ MB, 10000000000 of [\d.]+ MB each, and .* has [\d,.]+ MB of room",
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_what_a_run_would_stumble_over_is_said_before_there_is_a_folder(lab: Lab, tmp_path: Path, case: str) -> None:
    settings, message = RUNS[case]
    refused(lab, tmp_path, ["run", *MLP, *settings], message)


VERBS = {
    "tune": (["tune", *MLP, UPDATE, "--trials", "2"], BROKEN),
    "tune, nan": (["tune", *MLP, "loss=bad/nowhere", "--trials", "2"], NAN),
    "tune, a goal": (
        ["tune", *MLP, "--goal", "accuracy/x:maximize", "--trials", "2"],
        r"the evaluation of `valid` gave no 'accuracy/x'; did you mean 'accuracy'\? It gave accuracy, cross_entropy",
    ),
    "tune, no valid": (["tune", *MLP, "task.data.valid=0.0"], r"a study chooses by the `valid` split"),
    "compare": (
        ["compare", f"as-it-is={MLP[0]}", f"mine={MLP[0]} model=bad/misfit", "--seeds", "2", "--set", "train.epochs=1"],
        f"candidate 'mine': {SHAPES}",
    ),
    "compare, a metric": (
        ["compare", MLP[0], f"{MLP[0]} model.width=8", "--metric", "acuracy:maximize"],
        r"candidate 'vision/digits-mlp' reports no 'acuracy' on test; did you mean 'accuracy'\?",
    ),
    "cross-validate": (["cross-validate", *MLP, UPDATE, "--folds", "2"], BROKEN),
    "submit": (["submit", "run", *MLP, UPDATE], BROKEN),
}


@pytest.mark.parametrize("case", VERBS)
def test_whatever_begins_runs_says_it_once_and_first(lab: Lab, tmp_path: Path, case: str) -> None:
    words, message = VERBS[case]
    refused(lab, tmp_path, words, message)


def test_a_run_that_is_gone_on_with_otherwise_is_tried_as_one_that_begins(lab: Lab, tmp_path: Path) -> None:
    code, said = lab("run", *MLP, "model.width=8", "task.data.valid=0.0", "--folder", "run")
    assert code == 0, said
    kept = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    for settings, message in (
        (["train.final=best"], r"train\.final: given 'best'.*`valid` split, and the data has none"),
        (['stop=["early"]'], r"stop 'early': the data has no `valid` split"),
        ([COMPUTE], r"a first batch of `test` fails in metric 'nocompute'"),
    ):
        refused(lab, tmp_path, ["resume", "run", "train.epochs=2", *settings], message)
    assert kept == {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}


@pytest.mark.parametrize("verb", ["run", "tune", "compare", "cross-validate"])
def test_a_device_that_is_not_there_leaves_no_folder(lab: Lab, tmp_path: Path, verb: str) -> None:
    device = "cuda" if not torch.cuda.is_available() else "mps"
    given = [MLP[0], f"device={device}"]
    words = [verb, *given] if verb != "compare" else [verb, MLP[0], f"{MLP[0]} model.width=8", "--set", given[1]]
    refused(lab, tmp_path, words, f"device '{device}'.*device 'auto' takes what is there")


@pytest.mark.parametrize(("verb", "parent"), [("run", "runs"), ("cross-validate", "runs"), ("tune", "studies")])
def test_a_folder_that_cannot_be_made_is_said(lab: Lab, tmp_path: Path, verb: str, parent: str) -> None:
    (tmp_path / parent).write_text("a file is here")
    refused(lab, tmp_path, [verb, *MLP], "can't (write|be written|make)|can't be written")


def test_a_limit_on_files_that_a_checkpoint_is_above_is_said(lab: Lab, tmp_path: Path) -> None:
    """AdamW's two moments of 128 * 64 + 128 * 128 + 10 * 128 weights take 206 kB."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refused(lab, tmp_path, ["run", *MLP], r"files of 0\.2 MB, and this process may write files of 0\.1 MB at most")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ------------------------------------------------------------------------------------------------------------- memory


class Swollen(nn.Module):
    """A terabyte of parameters that take four bytes: all are the same number."""

    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(64, len(outputs.names))
        self.swollen = nn.Parameter(torch.zeros(1).expand(500_000, 500_000))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(x_BCHW.flatten(1))


def test_gradients_and_moments_that_no_machine_holds_are_said(tmp_path: Path) -> None:
    experiment = lw.Experiment(
        task={"name": "classification", "data": "vision/digits"},
        model=Swollen,
        loss="cross-entropy",
        optimizer="adamw",
        train={"epochs": 1},
        device="cpu",
    )
    # of each float32 a gradient and AdamW's two moments: 3 * 4 bytes * 500,000**2
    with pytest.raises(lw.LabwrightError, match=r"device 'cpu': beside the weights a step needs 3,000\.0 GB for grad"):
        experiment.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------- what it costs, and leaves alone


class Looking(Classification):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(Digits(valid=0.1))
        self.fetched: list[tuple[str, int]] = []
        self.forward = 0

    def part(self, split: str, plain: bool = False) -> lw.Split | None:
        part = super().part(split, plain)
        return None if part is None else Counted(part, split, self.fetched)

    def loss(self, model: nn.Module, batch: Any, criterion: Any, phase: str) -> Any:
        self.forward += 1
        return super().loss(model, batch, criterion, phase)


class Counted(lw.Split):
    def __init__(self, part: lw.Split, split: str, fetched: list[tuple[str, int]]) -> None:
        self._part, self._split, self._fetched = part, split, fetched

    def __len__(self) -> int:
        return len(self._part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Any:
        self._fetched.append((self._split, len(indices)))
        return self._part.fetch(indices, epoch, seed)


class Wandering(nn.Module):
    """Draws, counts in a buffer, and puts another tensor in the place of one whenever it is called."""

    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(64, len(outputs.names))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW.flatten(1)
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.head(x + torch.randn(()) * 0.01)


def of(task: Any, **changed: Any) -> lw.Experiment:
    settings = {"loss": "cross-entropy", "optimizer": "sgd", "train": {"epochs": 1}, "device": "cpu", "log": []}
    return lw.Experiment(task=task, model=Wandering, **settings | changed)


def test_it_costs_a_batch_of_each_part_and_one_loss() -> None:
    task = Looking()
    built = of(task).preflight()
    assert sorted(task.fetched) == [("test", 64), ("train", 64), ("valid", 64)]
    assert task.forward == 1
    assert set(built.metrics) == {"valid", "test"} and set(built.metrics["valid"]) == {"accuracy", "cross_entropy"}


def test_what_was_tried_begins_as_if_it_had_not_been() -> None:
    experiment, state = of(Classification(Digits())), torch.get_rng_state()
    tried, untried = experiment.preflight(), experiment.build()
    assert torch.equal(state, torch.get_rng_state()) and tried.model.training
    both = tried.model.state_dict(), untried.model.state_dict()
    assert all(torch.equal(tensor, both[1][name]) for name, tensor in both[0].items())
    assert float(tried.model.calls) == 0


def test_a_plugin_may_refuse_a_run_too(tmp_path: Path) -> None:
    class Strict:
        @lw.hookimpl
        def labwright_preflight(self, experiment: Any, built: Any, folder: Path) -> None:
            raise lw.LabwrightError(f"{folder.name}: {built.metrics['test']['accuracy']:.1f} of {experiment.name}")

    with pytest.raises(lw.LabwrightError, match=r"run: 0\.\d of experiment"):
        of(Classification(Digits())).run(tmp_path / "run", listeners=[Strict()])
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------------- what comes later


def photos(folder: Path, damaged: Mapping[str, int]) -> dict[str, bytes]:
    """A shard of pictures for each part, whose pictures of these numbers are cut; returns the whole shards."""
    whole = {}
    for part, count in (("train", 24), ("valid", 12), ("test", 12)):
        for cut in (None, damaged.get(part)):
            content = BytesIO()
            with tarfile.open(fileobj=content, mode="w") as tar:
                for number in range(count):
                    picture = BytesIO()
                    Image.linear_gradient("L").rotate(7 * number + 90 * (number % 2)).resize((8, 8)).save(
                        picture, "BMP"
                    )
                    pixels = picture.getvalue() if number != cut else bytes(len(picture.getvalue()))
                    for name, data in ((f"{number:03}.bmp", pixels), (f"{number:03}.cls", b"ab"[number % 2 :][:1])):
                        header = tarfile.TarInfo(f"{part}/{name}")
                        header.size = len(data)
                        tar.addfile(header, BytesIO(data))
            if cut is None:
                whole[f"{part}-0000.tar"] = content.getvalue()
        folder.mkdir(exist_ok=True)
        (folder / f"{part}-0000.tar").write_bytes(content.getvalue())
    return whole


SHARDS = [
    *("vision/image-folder", 'task.data={name="vision/shards",folder="photos",size=8}', "stop=[]", "train.final=last"),
    *('model={name="vision/mlp",width=4}', "train.epochs=", "train.steps=12", "train.batch_size=4", "log=[]"),
]


def test_a_damaged_file_in_a_first_batch_leaves_no_folder(lab: Lab, tmp_path: Path) -> None:
    photos(tmp_path / "photos", {"valid": 0})
    refused(lab, tmp_path, ["run", *SHARDS], r"valid-0000\.tar")


@pytest.mark.slow
@pytest.mark.parametrize(("part", "number"), [("train", 23), ("valid", 11), ("test", 11)])
def test_a_file_that_is_damaged_further_on_ends_a_run_that_goes_on_once_it_is_mended(
    lab: Lab, tmp_path: Path, part: str, number: int
) -> None:
    """The files' sizes and names stay, so that they are the samples that the run was begun with."""
    whole = photos(tmp_path / "photos", {part: number})
    code, said = lab("run", *SHARDS, "--folder", "run")
    assert code == 1, said
    found = re.search(rf"error: `{part}` can't be read after step (\d+): .*The checkpoint of step (\d+) is kept", said)
    assert found and found[1] == found[2], said
    assert json.loads((tmp_path / "run" / "outcome.json").read_text())["status"] == "failed"
    for name, content in whole.items():
        (tmp_path / "photos" / name).write_bytes(content)
    code, said = lab("resume", "run")
    assert code == 0, said
    code, said = lab("run", *SHARDS, "--folder", "whole")
    assert code == 0, said
    resumed, straight = (json.loads((tmp_path / name / "outcome.json").read_text()) for name in ("run", "whole"))
    assert resumed["metrics"] == straight["metrics"]


# ------------------------------------------------------------------------------------------------- the flagship recipe


def test_digits_hold_a_tenth_out_and_train_on_all_when_told_to() -> None:
    """1,437 pictures aren't those of the test part; of each class a tenth is held out."""
    sizes = {}
    for override in ((), ("task.data.valid=0.0",)):
        data = lw.Experiment.from_recipe("vision/digits", override).prepared().data
        parts = {name: data.split(name) for name in ("train", "valid", "test")}
        sizes[override] = {name: len(part) for name, part in parts.items() if part is not None}
    assert sizes == {
        (): {"train": 1293, "valid": 144, "test": 360},
        ("task.data.valid=0.0",): {"train": 1437, "test": 360},
    }


@pytest.mark.slow
def test_digits_are_tuned_as_they_come_and_the_best_is_that_of_valid(lab: Lab, tmp_path: Path) -> None:
    code, said = lab("tune", "vision/digits", "train.epochs=1", "model.width=4", "--trials", "4", "--json")
    assert code == 0, said
    logs = sorted((tmp_path / "studies" / "vision-digits" / "trials").glob("*/metrics.jsonl"))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    measured = [line for line in lines if line["event"] == "evaluation"]
    assert len(logs) == 4 and {line["split"] for line in measured} == {"valid"}
    found = json.loads(said[said.index("\n{") :] if not said.startswith("{") else said)
    assert found["best"][0]["values"]["accuracy"] == max(line["metrics"]["accuracy"] for line in measured)
