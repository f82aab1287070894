"""Each plugin's wheel, alone with core and tasks in a fresh environment: it lists its parts and runs offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
OFFLINE = {  # a recipe that needs nothing but what its plugin installs, and the extra it comes with
    "gan": ("gan/ring", ""),
    "nlp": ("nlp/languages", ""),
    "recsys": ("recsys/synthetic", ""),
    "speech": ("speech/commands", "[synth]"),
    "vision": ("vision/digits-mlp", ""),
}


def test_every_plugin_is_tried_alone():
    assert set(OFFLINE) == {file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml")}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([tool(), "build", "--quiet", "--wheel", "--all-packages", "--out-dir", folder], cwd=ROOT, check=True)
    return folder


def tool() -> str:
    own = ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        pytest.skip("uv isn't there to build wheels and make an environment; `make setup` brings it")
    return found


@pytest.mark.parametrize("plugin", OFFLINE)
def test_a_plugin_alone_lists_its_parts_and_runs_its_offline_recipe(plugin: str, wheels: Path, tmp_path: Path):
    recipe, extra = OFFLINE[plugin]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"UV_PYTHON_DOWNLOADS": "never", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def do(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"
        return done.stdout

    python, labwright = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "labwright"
    do(tool(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    (wheel,) = wheels.glob(f"labwright_{plugin}-*.whl")
    do(
        *(tool(), "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "constraints.txt"),
        *("--find-links", wheels, *wheels.glob("labwright-*.whl"), *wheels.glob("labwright_tasks-*.whl")),
        f"labwright-{plugin}{extra} @ file://{wheel}",
    )
    brought = json.loads(do(labwright, "list", "--json"))
    assert {row["plugin"] for row in brought} == {plugin, "tasks", "builtin"}
    outcome = json.loads(
        do(labwright, "run", recipe, "train.epochs=", "train.steps=4", "train.seed=1", "log=[]", "--json")
    )
    assert outcome["status"] == "finished" and outcome["metrics"]
    shutil.rmtree(tmp_path / "venv")  # gigabytes, where uv's cache lies on another disk
