"""With the first-party plugins installed: which verbs import what."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MAY_IMPORT_TORCH = [
    (["show", "vision/digits"], 0),
    (["show", "model", "vision/cnn"], 0),
    (["space", "vision/digits"], 0),
    (["schema"], 0),
    (["list", "models", "--for", "vision/digits"], 0),
    (["run", "vision/digits", "model.widht=3"], 2),
]
NOT_OTHERS = {
    *("torchvision", "timm", "transformers", "torchmetrics", "optuna", "sklearn", "matplotlib"),
    *("mlflow", "tensorboard", "wandb"),
}
IN_ONE_PROCESS = """\
import json, sys
from labwright.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[:] = ["labwright", *arguments]
    try:
        main()
    except SystemExit as ended:
        print("code:", ended.code, file=sys.stderr)
print("modules:", json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def told(commands: list[list[str]]) -> tuple[list[int], set[str]]:
    """The exit codes of commands that one process carries out, and the modules it has imported by then."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", IN_ONE_PROCESS, json.dumps(commands)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    codes = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("code:")]
    return codes, set(json.loads(done.stderr.rpartition("modules:")[2]))


def test_listing_and_a_misspelt_name_import_neither_torch_nor_optuna():
    codes, modules = told(
        [["list"], ["plugins"], ["run", "vision/digist"], ["list", "modles"], ["show", "vision/digist"]]
    )
    assert codes == [0, 0, 2, 2, 2]
    assert "labwright_vision.plugin" in modules
    assert modules.isdisjoint({"torch", "optuna", "numpy"} | NOT_OTHERS)


@pytest.mark.slow
@pytest.mark.long
def test_showing_checking_and_the_schema_import_torch_and_none_of_the_other_libraries():
    commands, codes = zip(*MAY_IMPORT_TORCH, strict=True)
    found, modules = told(list(commands))
    assert found == list(codes)
    assert "torch" in modules
    assert modules.isdisjoint(NOT_OTHERS | {"torch._dynamo"})
