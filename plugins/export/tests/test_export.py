"""A run's model as an ONNX file: onnxruntime and PyTorch agree, or the file isn't called done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import labwright as lw
import onnx
import onnxruntime
import pytest
import torch
from conftest import MENU, Site, toys
from labwright_export import export

PARTS = Path(__file__).parents[3] / "core" / "tests" / "parts.py"


def trained(
    folder: Path, plugins: lw.Plugins, model: str = "toys/net", task: str = "sorting", data: str = "toys/blobs"
) -> Path:
    lw.Experiment(
        task={"name": task, "data": data},
        model=model,
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 0.01},
        device="cpu",
        train={"steps": 2, "batch_size": 15},
        log=[],
        plugins=plugins,
    ).run(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained(tmp_path / "run", toys())


@pytest.mark.long
def test_onnxruntime_answers_batches_of_any_size_as_pytorch_does(run: Path, tmp_path: Path) -> None:
    facts = export(run, tmp_path / "exported", plugins=toys())
    model = lw.load(run, plugins=toys()).model
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    for size in (1, 7):
        x_BD = torch.randn(size, 4, generator=lw.generator(size))
        (logits_BC,) = session.run(None, {facts["inputs"][0]["name"]: x_BD.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits_BC), model(x_BD).detach(), rtol=0, atol=1e-5)


def test_the_folder_says_what_the_model_takes_and_holds_what_the_task_learned(run: Path, tmp_path: Path) -> None:
    facts = export(run, tmp_path / "exported", plugins=toys())
    assert json.loads((tmp_path / "exported" / "model.json").read_text()) == {
        key: value for key, value in facts.items() if key != "folder"
    }
    assert [(argument["dtype"], argument["shape"]) for argument in facts["inputs"]] == [("float32", ["batch", 4])]
    written = {file.name: file.read_bytes() for file in (tmp_path / "exported" / "task").iterdir()}
    assert written == {file.name: file.read_bytes() for file in (run / "task").iterdir()}


@pytest.mark.long
def test_a_teacher_stays_behind(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "optimizer": "adamw",
        "device": "cpu",
        "train": {"steps": 1, "batch_size": 15},
        "log": [],
    }
    task: dict[str, Any] = {"name": "classification", "data": {"name": "vision/digits"}}
    model = {"name": "vision/mlp", "width": 8, "depth": 1}
    lw.Experiment(task=task, model=model, loss="cross-entropy", **settings).run(tmp_path / "teacher")
    task["teacher"] = {"run": str(tmp_path / "teacher")}
    lw.Experiment(task=task, model=model, loss="cross-entropy", **settings).run(tmp_path / "student")
    facts = export(tmp_path / "student", tmp_path / "exported")
    names = {file.name for file in (tmp_path / "student" / "task").iterdir()}
    assert {file.name for file in (tmp_path / "exported" / "task").iterdir()} == names - {"teacher"} != names
    assert facts["notes"] == ["task/teacher isn't copied: it is a run that is asked in training alone."]


def test_nothing_is_overwritten_and_no_link_of_a_run_is_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(lw.LabwrightError, match="full isn't empty"):
        export(run, tmp_path / "full", plugins=toys())
    (tmp_path / "elsewhere").mkdir()
    (run / "export").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(lw.LabwrightError, match=r"export is a link out of the run, to .*elsewhere"):
        export(run, run / "export", plugins=toys())
    assert list((tmp_path / "elsewhere").iterdir()) == []


NETS = '''
import labwright as lw
import torch
from parts import Sorting
from torch import nn


class Reads(nn.Linear):
    """A layer whose answer hangs on a value that Python reads."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(4, 3)

    def forward(self, x_BD):
        return super().forward(x_BD) * (2 if float(x_BD.sum()) > 0 else 1)


class Counts(Reads):
    """A layer that adds how often it was called: a graph holds one number of these."""

    calls = 0

    def forward(self, x_BD):
        self.calls += 1
        return nn.Linear.forward(self, x_BD) + self.calls


class Adapted(nn.Module):
    """A layer and another that is added to it; `merged` has their sum in one."""

    share = 1.0

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layer, self.added = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)

    def forward(self, x_BD):
        return self.layer(x_BD) + self.added(x_BD)

    def merged(self):
        whole = nn.Linear(4, 3)
        with torch.no_grad():
            whole.weight.copy_(self.layer.weight + self.share * self.added.weight)
            whole.bias.copy_(self.layer.bias)
        return nn.Sequential(whole)


class OnAdapted(nn.Module):
    """A layer behind a part that can be merged."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.trunk, self.merged = Adapted(inputs, outputs), nn.Linear(3, 3, bias=False)

    def forward(self, x_BD):
        return self.merged(self.trunk(x_BD).relu())


class Forgetful(Adapted):
    """Half of what is added is lost when it is merged."""

    share = 0.5


class Table(nn.Module):
    """Answers by name, two of them in a table of their own."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x_BD):
        masked_BC = self.second(x_BD).masked_fill(x_BD[:, :3] > 0, float("-inf"))
        return {"first": self.first(x_BD), "beside": {"masked": masked_BC, "best": masked_BC.argmax(-1)}}


class Pair(Table):
    """Answers in a tuple."""

    def forward(self, x_BD):
        return self.first(x_BD), self.second(x_BD)


class OneCounts(Table):
    """The second answer hangs on how often it was called."""

    calls = 0

    def forward(self, x_BD):
        self.calls += 1
        return {"first": self.first(x_BD), "second": self.second(x_BD) + self.calls}


class Wraps(Table):
    """It returns an object of its own."""

    def forward(self, x_BD):
        return type("Answer", (), {"first": self.first(x_BD)})()


class Sums(nn.Module):
    """Of two inputs."""

    def __init__(self, inputs: lw.Interactions, outputs: lw.Classes) -> None:
        super().__init__()
        self.of_users, self.of_items = nn.Embedding(inputs.users, 3), nn.Embedding(inputs.items, 3)

    def forward(self, users_B, items_B):
        return self.of_users(users_B) + self.of_items(items_B), self.of_users(users_B)


class AnyNumber(Sums):
    """It is called with whatever the model within is, as those around another are."""

    def forward(self, *inputs):
        return super().forward(*inputs)


class Bought(lw.Data):
    """Users, items and how many."""

    item, target = lw.Interactions, lw.Classes
    source, licence = "made by a test", "none needed"

    def prepare(self):
        ids_N = torch.arange(30)
        self.part = lw.TensorSplit((ids_N % 7, ids_N % 5), ids_N % 3)

    def ports(self):
        return lw.Interactions(7, 5), lw.Classes(("a", "b", "c"))

    def split(self, name):
        return self.part


class First(Sorting):
    """What a model answers first is what counts."""

    def loss(self, model, batch, criterion, phase):
        return criterion(self.answer(model, batch), batch.targets)

    def evaluate(self, model, batch):
        return self.answer(model, batch), batch.targets

    def answer(self, model, batch):
        answers = model(*batch.inputs)
        if isinstance(answers, tuple):
            return answers[0]
        return answers["first"] if isinstance(answers, dict) else getattr(answers, "first", answers)
'''


def of_stars(site: Site, model: str) -> lw.Plugins:
    """The toys, and a plugin with one of the nets and a task that takes what any of them answers."""
    menu = MENU.format(kind="model", name="stars/net", target=f"labwright_stars.nets:{model}")
    menu += '    yield lw.Component("task", "stars/first", "labwright_stars.nets:First", "made by a test")\n'
    menu += '    yield lw.Component("data", "stars/bought", "labwright_stars.nets:Bought", "made by a test")\n'
    site.install("stars", menu, nets=NETS)
    return toys()


@pytest.mark.parametrize(
    ("model", "named"),
    [("Table", ["first", "beside_masked", "beside_best"]), ("Pair", ["output_0", "output_1"])],
)
def test_each_of_several_outputs_is_named_and_compared(
    site: Site, tmp_path: Path, model: str, named: list[str]
) -> None:
    plugins = of_stars(site, model)
    run = trained(tmp_path / "run", plugins, "stars/net", "stars/first")
    facts = export(run, tmp_path / "exported", plugins=plugins)
    assert [output["name"] for output in facts["outputs"]] == named
    assert facts["largest_difference"] == max(output["largest_difference"] for output in facts["outputs"])
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    x_BD = torch.randn(5, 4, generator=lw.generator(5))
    answers = lw.load(run, plugins=plugins).model(x_BD)
    ours = list(answers) if isinstance(answers, tuple) else [answers["first"], *answers["beside"].values()]
    for output, array, answer in zip(facts["outputs"], session.run(named, {"x": x_BD.numpy()}), ours, strict=True):
        torch.testing.assert_close(torch.from_numpy(array), answer.detach(), rtol=0, atol=1e-5)
        assert output["dtype"] == str(answer.dtype).removeprefix("torch.")
        assert output["shape"] == ["batch", *answer.shape[1:]]


@pytest.mark.parametrize(("model", "shapes"), [("Adapted", [(3,), (3, 4)]), ("OnAdapted", [(3,), (3, 3), (3, 4)])])
def test_a_model_that_can_be_merged_is_exported_so_and_has_to_answer_as_before(
    model: str, shapes: list[tuple[int, ...]], site: Site, tmp_path: Path
) -> None:
    plugins = of_stars(site, model)
    run = trained(tmp_path / "run", plugins, "stars/net", "stars/first")
    assert export(run, tmp_path / "exported", plugins=plugins)["largest_difference"] < 1e-5
    held = onnx.load(tmp_path / "exported" / "model.onnx").graph.initializer
    assert sorted(tuple(sorted(one.dims)) for one in held) == shapes  # one layer, and not two
    x_BD = torch.randn(5, 4, generator=lw.generator(5))
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    (logits_BC,) = session.run(None, {"x": x_BD.numpy()})
    answer = lw.load(run, plugins=plugins).model(x_BD).detach()
    torch.testing.assert_close(torch.from_numpy(logits_BC), answer, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("model", "named"), [("Sums", ["users", "items"]), ("AnyNumber", ["inputs_0", "inputs_1"])])
def test_each_of_several_inputs_is_named_and_free_in_the_size_of_a_batch(
    model: str, named: list[str], site: Site, tmp_path: Path
) -> None:
    plugins = of_stars(site, model)
    run = trained(tmp_path / "run", plugins, "stars/net", "stars/first", "stars/bought")
    facts = export(run, tmp_path / "exported", plugins=plugins)
    assert [(one["name"], one["dtype"], one["shape"]) for one in facts["inputs"]] == [
        (named[0], "int64", ["batch"]),
        (named[1], "int64", ["batch"]),
    ]
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    users_B, items_B = torch.tensor([6, 0, 3, 3]), torch.tensor([4, 4, 0, 1])
    exported = session.run(None, {named[0]: users_B.numpy(), named[1]: items_B.numpy()})
    for array, answer in zip(exported, lw.load(run, plugins=plugins).model(users_B, items_B), strict=True):
        torch.testing.assert_close(torch.from_numpy(array), answer.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Reads", lw.LabwrightError, "model Reads can't be exported to ONNX: .*values read by Python"),
        ("Forgetful", lw.RunFailed, r"onnxruntime's 'output' of shape \(1, 3\) differs from PyTorch's"),
        ("OneCounts", lw.RunFailed, r"onnxruntime's 'second' of shape \(1, 3\) differs from PyTorch's"),
        ("Wraps", lw.LabwrightError, "it returned a Answer. Return a tensor, or a dict or tuple of tensors."),
        ("Counts", lw.RunFailed, r"onnxruntime's 'output' of shape \(1, 3\) differs from PyTorch's of shape \(1, 3\)"),
    ],
)
def test_a_model_that_a_graph_cannot_hold_is_refused(
    site: Site, tmp_path: Path, name: str, kind: type[lw.LabwrightError], message: str
) -> None:
    plugins = of_stars(site, name)
    run = trained(tmp_path / "run", plugins, "stars/net", "stars/first")
    with pytest.raises(kind, match=message) as refused:
        export(run, tmp_path / "exported", plugins=plugins)
    assert type(refused.value) is kind


@pytest.mark.long
def test_the_verb_writes_into_the_run_and_says_what_the_model_takes(
    site: Site, command: Any, run: Path, tmp_path: Path
) -> None:
    menu = MENU.format(kind="model", name="toys/net", target="parts:Net")
    menu += '    yield lw.Component("task", "sorting", "parts:Sorting", "made by a test")\n'
    menu += '    yield lw.Component("data", "toys/blobs", "parts:Blobs", "made by a test")\n'
    site.install("toys", menu)
    shutil.copy(PARTS, site.folder)
    answer = command("export", str(run), site=site.folder, cwd=tmp_path)
    assert answer.code == 0, answer.err
    model, takes, gives, checked = answer.out.splitlines()
    assert model.startswith(f"model    {run / 'export' / 'model.onnx'} (")
    assert takes == "takes    x float32 [batch, 4]"
    assert gives == "gives    output float32 [batch, 3]"
    assert checked.startswith("checked  differs from PyTorch by at most ")
