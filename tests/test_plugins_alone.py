"""Wheels in fresh environments: the core's alone, each plugin's with core and tasks, and all of them together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
OFFLINE = {  # a recipe that needs nothing but what its plugin installs, and the extra it comes with
    "gan": ("gan/ring", ""),
    "nlp": ("nlp/languages", ""),
    "privacy": ("privacy/digits", "[digits]"),
    "recsys": ("recsys/synthetic", ""),
    "rl": ("rl/cartpole-ppo", ""),
    "speech": ("speech/commands", "[synth]"),
    "tabular": ("tabular/breast-cancer", ""),
    "vision": ("vision/digits-mlp", ""),
}
BESIDE = {"privacy": {"vision"}}  # what an extra brings


def test_every_plugin_is_tried_alone():
    tools = {
        "cluster",
        "export",
        "instruments",
        "sharded",
        "study",
        "testing",
    }  # which bring no recipe: they are tried with all the others, below
    assert set(OFFLINE) | tools == {file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml")}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "wheels"
    subprocess.run([tool(), "build", "--quiet", "--wheel", "--all-packages", "--out-dir", folder], cwd=ROOT, check=True)
    return folder


def tool() -> str:
    own = ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        pytest.skip("uv isn't there to build wheels and make an environment; `make setup` brings it")
    return found


class Fresh:
    """An environment that has nothing but Python and what is installed from the wheels.

    Each lies where the one before lay, so that what Python compiled of torch and the like is good for all of them.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.wheels = wheels
        self.venv = wheels.parent / "venv"
        self.python = self.venv / "bin" / "python"
        out = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if key not in out}
        self.environment = kept | {"UV_PYTHON_DOWNLOADS": "never", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.environment["PYTHONPYCACHEPREFIX"] = str(wheels.parent / "compiled")
        self.run(tool(), "venv", "--quiet", "--python", sys.executable, self.venv)

    def run(self, *command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == code, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
        return done

    def install(self, *requirements: str) -> None:
        """Packages of ours from the wheels, all others in the versions of constraints.txt."""
        command = [tool(), "pip", "install", "--quiet", "--python", self.python, "--find-links", self.wheels]
        self.run(*command, "--constraint", ROOT / "constraints.txt", *requirements)

    def labwright(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(self.venv / "bin" / "labwright", *words, code=code)

    def has(self, module: str) -> bool:
        finds = f"from importlib.util import find_spec; print(find_spec({module!r}) is not None)"
        return self.run(self.python, "-c", finds).stdout == "True\n"


@pytest.fixture
def fresh(wheels: Path, tmp_path: Path) -> Iterator[Fresh]:
    made = Fresh(tmp_path, wheels)
    yield made
    shutil.rmtree(made.venv)  # gigabytes, where uv's cache lies on another disk


def wheel(wheels: Path, package: str) -> str:
    (file,) = wheels.glob(f"{package}-*.whl")
    return f"file://{file}"


@pytest.mark.parametrize("plugin", OFFLINE)
def test_a_plugin_alone_lists_its_parts_and_runs_its_offline_recipe(plugin: str, wheels: Path, fresh: Fresh):
    recipe, extra = OFFLINE[plugin]
    fresh.install(
        f"labwright @ {wheel(wheels, 'labwright')}",
        f"labwright-tasks @ {wheel(wheels, 'labwright_tasks')}",
        f"labwright-{plugin}{extra} @ {wheel(wheels, f'labwright_{plugin}')}",
    )
    brought = json.loads(fresh.labwright("list", "--json").stdout)
    assert {row["plugin"] for row in brought} == {plugin, "tasks", "builtin"} | BESIDE.get(plugin, set())
    run = ["run", recipe, "train.epochs=", "train.steps=4", "train.seed=1", "log=[]", "--json"]
    outcome = json.loads(fresh.labwright(*run).stdout)
    assert outcome["status"] == "finished" and outcome["metrics"]


LOCAL = '''
"""Which side of a line a point lies on: data, task and model in one file."""

from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from torch import nn


class Sides(lw.Data):
    item, target = lw.Features, lw.Classes
    source, licence = "made here", "none needed"

    def prepare(self):
        points_N2 = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
        self.points = lw.TensorSplit((points_N2,), (points_N2.sum(1) > 0).long())

    def ports(self):
        return lw.Features((2,)), lw.Classes(("below", "above"))

    def split(self, name):
        return self.points if name in ("train", "test") else None


class Criterion(Protocol):
    def __call__(self, logits, labels): ...


class Side(lw.Task):
    goal = lw.Goal("accuracy", "maximize")
    contract = Criterion

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        self.data = data

    def loss(self, model, batch, criterion, phase):
        return criterion(model(*batch.inputs), batch.targets)

    def evaluate(self, model, batch):
        return model(*batch.inputs), batch.targets

    def metrics(self):
        return {"accuracy": lw.Accuracy()}


class Line(nn.Linear):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs.shape[0], len(outputs.names))


class Likelihood(nn.Module):
    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels)


@lw.hookimpl
def labwright_components():
    yield lw.Component("data", "line/sides", "line:Sides", "points of the plane")
    yield lw.Component("task", "line/side", "line:Side", "the side of a point")
    yield lw.Component("model", "line/line", "line:Line", "one linear layer")
    yield lw.Component("loss", "line/likelihood", "line:Likelihood", "negative log-likelihood")
'''
RECIPE = """
task = { name = "line/side", data = "line/sides" }
model = "line/line"
loss = "line/likelihood"
optimizer = { name = "sgd", lr = 0.5 }
train = { epochs = 5, batch_size = 32, seed = 0 }
"""


def test_the_core_alone_trains_with_a_plugin_in_a_file_and_says_what_tune_comes_with(wheels: Path, fresh: Fresh):
    fresh.install(f"labwright @ {wheel(wheels, 'labwright')}")
    absent = ("optuna", "scipy", "pytest", "labwright_tasks", "labwright_study", "labwright_testing")
    absent += ("labwright_cluster", "labwright_export", "onnx", "onnxruntime", "onnxscript")
    assert not [module for module in absent if fresh.has(module)]
    (fresh.folder / "line.py").write_text(LOCAL)
    (fresh.folder / "line.toml").write_text(RECIPE)
    outcome = json.loads(fresh.labwright("--plugin", "line.py", "run", "line.toml", "--json").stdout)
    assert outcome["status"] == "finished" and outcome["metrics"]
    by_name = fresh.labwright("--plugin", "line.py", "run", "line.toml", "loss=cross-entropy", code=2).stderr
    assert "`cross-entropy` comes with labwright-tasks: pip install labwright[tasks]" in by_name
    by_name = fresh.labwright("--plugin", "line.py", "run", "line.toml", "optimizer=torch/RAdam", code=2).stderr
    assert "`torch/RAdam` comes with labwright-tasks: pip install labwright[tasks]" in by_name
    dry = fresh.labwright("--plugin", "line.py", "run", "line.toml", "--dry-run", code=2).stderr
    assert "comes with labwright-instruments: pip install labwright[instruments]" in dry
    for verb in ("tune", "study", "space", "worker", "compare"):
        refused = fresh.labwright(verb, "line.toml", code=2).stderr
        assert f"`{verb}` comes with labwright-study: pip install labwright[study]" in refused
        assert "Traceback" not in refused
    extras = dict.fromkeys(("check", "doctor", "new", "verify-resume"), "testing") | {
        "export": "export",
        "schema": "tasks",
        "submit": "cluster",
    }
    for verb, extra in extras.items():
        refused = fresh.labwright(verb, code=2).stderr
        assert f"`{verb}` comes with labwright-{extra}: pip install labwright[{extra}]" in refused
    missing = fresh.run(fresh.python, "-c", "import labwright as lw; lw.Study", code=1).stderr
    assert "labwright.Study comes with labwright-study: pip install labwright[study]" in missing
    assert json.loads(fresh.labwright("list", "--json").stdout)


def test_everything_is_there_with_labwright_all(wheels: Path, fresh: Fresh):
    fresh.install(f"labwright[all] @ {wheel(wheels, 'labwright')}")
    brought = json.loads(fresh.labwright("list", "--json").stdout)
    assert {row["plugin"] for row in brought} == {
        *OFFLINE,
        "cluster",
        "instruments",
        "sharded",
        "study",
        "tasks",
        "builtin",
    }
    fresh.labwright("space", "vision/digits-mlp")
    search = ["tune", "vision/digits-mlp", "task.data.valid=0.2", "train.epochs=1", "--trials", "2", "--json"]
    assert json.loads(fresh.labwright(*search).stdout)["complete"] == 2
    fresh.labwright(
        "compare", "vision/digits-mlp", "studies/vision-digits-mlp/best.toml", "--seeds", "2", "--set", "train.epochs=1"
    )
    fresh.labwright("check", "--quick", "vision")
    fresh.labwright("export", "--help")
    fresh.labwright("submit", "--help")
    (fresh.folder / "test_kit.py").write_text(
        "from labwright_testing import conformance\n\ntest_conformance = conformance('vision')\n"
    )
    fresh.run(fresh.python, "-m", "pytest", "-q", "-k", "documented", "test_kit.py")
