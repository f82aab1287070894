"""Every verb, as a person uses it: one small run is trained, evaluated, asked, made longer and looked at."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
from labwright import Plugins
from labwright.cli import main
from PIL import Image
from scipy.stats import binomtest

Lab = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Runs a command; returns its exit code, stdout and stderr."""

    def run(*args: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits perceptron after three epochs, with its report."""
    folder = tmp_path_factory.mktemp("verbs") / "run"
    sys.argv = ["labwright", "run", "vision/digits-mlp", "train.epochs=3", "--folder", str(folder), "--json"]
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return folder


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one picture, the first 8 of the digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = tmp_path_factory.mktemp("pictures")
    pixels = digits.images[list(digits.target).index(8)]
    Image.fromarray((pixels * 15.9).astype(np.uint8)).save(folder / "eight.png")
    return folder


def test_a_run_folder_holds_what_it_should(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "task",
        "metrics.jsonl",
        "checkpoints",
        "outcome.json",
        "report.html",
    }
    recipe = tomllib.loads((trained / "recipe.toml").read_text())
    assert recipe["train"]["epochs"] == 3
    assert recipe["model"]["name"] == "vision/mlp"
    assert json.loads((trained / "environment.json").read_text())["distributions"]["labwright-vision"]
    page = (trained / "report.html").read_text()
    assert "<svg" in page
    assert "Confusion matrix" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")  # nothing is fetched from elsewhere


def test_evaluate_repeats_the_metrics_the_run_logged(trained: Path, lab: Lab) -> None:
    outcome = json.loads((trained / "outcome.json").read_text())
    for split in ("valid", "test"):
        code, out, _ = lab("evaluate", trained, "--split", split, "--json")
        assert code == 0
        assert json.loads(out)["metrics"] == outcome["metrics"][split]


def test_evaluate_takes_other_settings_than_the_run_had(trained: Path, lab: Lab) -> None:
    code, out, _ = lab("evaluate", trained, "task.data.valid=0.5", "--split", "valid", "--json")
    assert code == 0
    assert json.loads(out)["metrics"] != json.loads((trained / "outcome.json").read_text())["metrics"]["valid"]
    code, _, said = lab("evaluate", trained, "task.data.vlaid=0.5")
    assert code == 2
    assert "did you mean 'valid'" in said


def test_predict_answers_for_a_file_a_folder_and_lines_of_stdin(trained: Path, eight: Path, lab: Lab) -> None:
    picture = eight / "eight.png"
    answers = []
    for args, stdin in (([picture], ""), ([eight], ""), (["-"], f"{picture}\n"), ([], f"{picture}\n")):
        code, out, _ = lab("predict", trained, *args, "--json", stdin=stdin)
        assert code == 0
        answers.append(json.loads(out))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["label"] == "8"
    assert answers[0]["input"] == str(picture)
    code, out, _ = lab("predict", trained, picture)
    assert out.split("\t")[:2] == [str(picture), "8"]


def test_predict_needs_nothing_but_the_run_folder(trained: Path, eight: Path, lab: Lab, monkeypatch: Any) -> None:
    from labwright_vision.data.digits import Digits

    def refuse(self: Digits) -> None:
        raise AssertionError("the training data was read")

    monkeypatch.setattr(Digits, "prepare", refuse)
    assert lab("predict", trained, eight / "eight.png")[0] == 0


def test_resume_says_that_nothing_is_left_and_makes_a_run_longer(tmp_path: Path, lab: Lab) -> None:
    folder = tmp_path / "run"
    assert lab("run", "vision/digits-mlp", "train.epochs=1", "log=[]", "--folder", folder)[0] == 0
    code, _, errors = lab("resume", folder)
    assert (code, "has done all its 21 steps" in errors) == (0, True)
    code, out, errors = lab("resume", folder, "train.epochs=2", "--json")
    assert code == 0
    assert json.loads(out)["step"] == 42
    assert "changed: train.epochs" in errors
    assert tomllib.loads((folder / "recipe.toml").read_text())["train"]["epochs"] == 2


def test_or_resume_sets_a_run_without_a_checkpoint_aside_and_goes_on_with_one_that_has_some(
    trained: Path, tmp_path: Path, lab: Lab
) -> None:
    """What a process that was killed before its first checkpoint leaves, a file of a logger's included."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "tensorboard").mkdir()
    command = ("run", "vision/digits-mlp", "train.epochs=3", "--folder", folder, "--or-resume")
    code, _, said = lab(*command)
    assert code == 0 and f"which is in {folder}-begun-1 now." in said
    assert (tmp_path / "run-begun-1" / "tensorboard").is_dir() and not (folder / "tensorboard").exists()
    assert weights(folder) == weights(trained)
    code, _, said = lab(*command)
    assert code == 0 and "has done all its 63 steps" in said
    code, _, said = lab(*command[:2], "train.epochs=4", *command[3:])
    assert code == 2 and "train.epochs" in said


def weights(folder: Path) -> bytes:
    return next(iter(sorted(folder.glob("checkpoints/*/model.safetensors"))[::-1])).read_bytes()


def test_python_answers_and_measures_as_the_verbs_do(trained: Path, eight: Path, lab: Lab) -> None:
    run = lw.load(str(trained))
    _, out, _ = lab("predict", trained, eight, "--json")
    assert run.predict(eight) == [json.loads(out)]
    _, out, _ = lab("predict", trained, "--file", eight / "eight.png", "--json")
    assert run.predict(file=str(eight / "eight.png")) == [json.loads(out)]
    _, out, _ = lab("evaluate", trained, "--split", "valid", "--json")
    assert json.loads(json.dumps(run.evaluate("valid").json())) == json.loads(out)
    assert [row["accuracy"] for row in run.history() if row["split"] == "test"] == [run.evaluate().metrics["accuracy"]]


def test_verify_resume_proves_the_shipped_recipe(lab: Lab) -> None:
    code, out, _ = lab("verify-resume", "vision/digits-mlp", "--steps", "8", "--json")
    assert code == 0
    assert json.loads(out)["exact"] is True


def test_a_dry_run_says_what_a_run_would_cost_and_leaves_nothing(tmp_path: Path, lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = lab("run", "vision/digits-mlp", "--dry-run", "--json")
    cost = json.loads(out)
    assert code == 0
    assert cost["parameters"] == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10  # two hidden layers of 128
    assert cost["steps"] == 20 * 21  # 1,293 pictures in batches of 64
    assert set(cost["one_batch"]) == {"valid", "test"}
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_method_that_draws_its_own_batches_counts_one_of_them(
    tmp_path: Path, lab: Lab, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABWRIGHT_PRIVACY_SECRETS", str(tmp_path / "secrets"))
    code, out, err = lab("run", "privacy/digits", "model.width=16", "train.epochs=4", "--dry-run", "--json")
    assert code == 0, err
    cost = json.loads(out)
    rows, odd = divmod(cost["memory"]["batch_bytes"], 64 * 4 + 8)  # of 64 pixels and a label each
    assert odd == 0 and 100 < rows < 500  # about 256 are drawn


def test_a_complete_recipe_runs_again_to_the_same_bits(trained: Path, tmp_path: Path, lab: Lab) -> None:
    code, out, _ = lab("run", trained / "recipe.toml", "log=[]", "--folder", tmp_path / "again", "--json")
    assert code == 0
    assert json.loads(out)["metrics"] == json.loads((trained / "outcome.json").read_text())["metrics"]
    weights = [folder / "checkpoints/step-00000063/model.safetensors" for folder in (trained, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_runs_get_the_next_free_folder(tmp_path: Path, lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert lab("run", "vision/digits-mlp", "train={steps=2, batch_size=16}", "log=[]")[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "vision-digits-mlp-001",
        "vision-digits-mlp-002",
    ]


def test_show_prints_a_recipe_that_is_complete_and_valid(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab("show", "vision/digits-mlp", "model.width=64")
    assert code == 0
    (tmp_path / "whole.toml").write_text(out)
    assert lab("show", tmp_path / "whole.toml")[1] == out
    assert tomllib.loads(out)["model"]["width"] == 64


@pytest.mark.parametrize("verb", Plugins.discover().names("verb"))
def test_every_verb_has_an_example_in_its_help(verb: str, lab: Lab) -> None:
    code, out, _ = lab(verb, "--help")
    assert code == 0
    assert "Example" in out
    assert f"labwright {verb}" in out or verb in out.partition("Example")[2]


@pytest.mark.long
def test_json_goes_to_stdout_alone_for_every_verb_that_has_it(trained: Path, lab: Lab) -> None:
    for args in (
        ["list"],
        ["plugins"],
        ["doctor"],
        ["show", "vision/digits-mlp"],
        ["space", "vision/digits-mlp"],
    ):
        code, out, _ = lab(*args, "--json")
        assert code in (0, 1)
        assert json.loads(out)


HUNGRY = '''
"""A model that of more than three pictures takes more memory than any machine has."""
import labwright as lw
import torch
from torch import nn


class Hungry(nn.Module):
    def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
        super().__init__()
        self.head = nn.Linear(inputs.height * inputs.width, len(outputs.names))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        if not self.training and 3 < len(x_BCHW) < 20:
            torch.empty(2**58, dtype=torch.uint8)
        return self.head(x_BCHW.flatten(1))


@lw.hookimpl
def labwright_components():
    yield lw.Component("model", "hungry/net", "hungry:Hungry", "made by a test")
'''


def test_predict_answers_fewer_at_once_where_memory_is_short_and_says_so_once(
    eight: Path, lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)
    plugin, run = ("--plugin", tmp_path / "hungry.py"), tmp_path / "run"
    short = ("model=hungry/net", "train.epochs=", "train.steps=2", "train.batch_size=48", "--folder", run)
    code, _, errors = lab(*plugin, "run", "vision/digits-mlp", *short)
    assert code == 0, errors
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        shutil.copy(eight / "eight.png", tmp_path / "pictures" / f"{number}.png")
    code, out, errors = lab(*plugin, "predict", run, tmp_path / "pictures")
    assert code == 0 and len(out.splitlines()) == 10
    assert errors.count("note:") == errors.count("inputs take more memory together than there is, so that fewer") == 1
    assert len({line.partition("\t")[2] for line in out.splitlines()}) == 1


def test_predict_takes_a_line_by_its_name_and_no_other_option(trained: Path, eight: Path, lab: Lab) -> None:
    picture = eight / "eight.png"
    code, out, _ = lab("predict", trained, "--file", picture, "--json")
    assert (code, json.loads(out)["label"]) == (0, "8")
    code, out, _ = lab("predict", trained, f"--file={picture}")
    assert (code, out.split("\t")[1]) == (0, "8")
    code, _, errors = lab("predict", trained, "--user", "42")
    assert code == 2
    assert "predict has no option --user" in errors and "This run takes --file TEXT" in errors
    assert lab("predict", trained, "--file")[0] == 2


def test_export_writes_a_model_that_onnxruntime_reads_alone(trained: Path, tmp_path: Path, lab: Lab) -> None:
    import numpy as np
    import onnxruntime
    from labwright_vision.data.digits import Digits

    target = tmp_path / "model"
    code, out, _ = lab("export", trained, "--out", target, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    digits = Digits()
    digits.prepare()
    test = digits.split("test")
    assert test is not None
    session = onnxruntime.InferenceSession(target / "model.onnx")
    (logits,) = session.run(None, {"x": test.x.numpy()})
    accuracy = float(np.mean(logits.argmax(1) == test.labels.numpy()))
    assert accuracy == json.loads((trained / "outcome.json").read_text())["metrics"]["test"]["accuracy"]
    code, _, errors = lab("export", trained, "--out", target)
    assert code == 2 and "isn't empty" in errors  # nothing is overwritten


# ---------------------------------------------------------------------------------- what is passed over, and is said


def copied(run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    return folder


def test_a_damaged_newest_checkpoint_is_named_by_every_verb_that_takes_the_one_before(
    trained: Path, eight: Path, tmp_path: Path, lab: Lab
) -> None:
    folder = copied(trained, tmp_path)
    (folder / "checkpoints" / "step-00000063" / "state.json").write_text("{}")
    said = "step-00000063/state.json is torn or was changed: its checksum differs. The checkpoint of step 42 is used"
    for verb, *more in (["evaluate"], ["predict", eight], ["export", "--out", tmp_path / "model"]):
        code, out, errors = lab(verb, folder, *more, "--json")
        assert (code, said in errors) == (0, True), (verb, errors)
        if verb != "predict":
            assert [note for note in json.loads(out)["notes"] if said in note]
    code, out, _ = lab("evaluate", folder, "--json")
    assert json.loads(out)["step"] == 42
    code, out, errors = lab("resume", folder, "--json")
    assert code == 0 and said in errors
    assert [note for note in json.loads(out)["notes"] if said in note]


def test_evaluate_and_predict_change_nothing_in_the_run_folder(trained: Path, eight: Path, lab: Lab) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in trained.rglob("*")}

    before = state()
    assert lab("evaluate", trained)[0] == 0
    assert lab("predict", trained, eight)[0] == 0
    assert state() == before


def test_the_loss_is_drawn_beside_the_metric_that_it_is_and_no_other(trained: Path) -> None:
    from labwright.report.run_report import _same_as_loss

    run = lw.load(trained).evaluate("valid").of
    assert _same_as_loss(run) == "cross_entropy"
    loss = run.recipe["loss"]
    for changed in ({"label_smoothing": 0.1}, {"name": "focal"}):  # the metric knows of no smoothing
        run.recipe = {**run.recipe, "loss": loss | changed}
        assert _same_as_loss(run) == ""
    assert "Training loss and cross_entropy" in (trained / "report.html").read_text()


def test_figures_come_with_the_number_of_samples_they_were_measured_on(trained: Path, lab: Lab) -> None:
    outcome = json.loads((trained / "outcome.json").read_text())
    assert outcome["samples"] == {"valid": 144, "test": 360}
    metrics, out = outcome["metrics"]["test"], lab("evaluate", trained)[1]
    low, high = binomtest(round(metrics["accuracy"] * 360), 360).proportion_ci(method="wilson")
    assert (metrics["accuracy_95/low"], metrics["accuracy_95/high"]) == pytest.approx((low, high))
    assert f"accuracy {metrics['accuracy']:.5g} ({low:.3f} to {high:.3f})  cross_entropy" in out
    assert out.rstrip().endswith("(360 samples)") and "_95" not in out
    assert json.loads(lab("evaluate", trained, "--json")[1])["metrics"] == metrics
    assert f"95% interval {low:.3f} to {high:.3f}" in (trained / "report.html").read_text()
    code, out, errors = lab("evaluate", trained, "task.data.valid=0.5", "--split", "valid", "--json")
    assert (code, json.loads(out)["samples"]) == (0, 718)
    assert "measured on the 'valid' part of this data, which is read as train 719, valid 718, test 360" in errors


def test_predict_answers_for_the_inputs_that_can_be_read_and_counts_the_others(
    trained: Path, eight: Path, tmp_path: Path, lab: Lab
) -> None:
    picture = eight / "eight.png"
    torn = tmp_path / "torn\x1b[31m.png"
    torn.write_bytes(picture.read_bytes()[:40])
    given = [picture, torn, tmp_path / "missing.png", "/dev/zero", picture]
    code, out, errors = lab("predict", trained, *given, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [line["input"] for line in lines] == [str(one) for one in given]
    assert [line.get("label", "") for line in lines] == ["8", "", "", "", "8"]
    assert "no file but a device, pipe or socket" in lines[3]["error"]
    assert "3 of 5 inputs couldn't be read." in errors
    assert "\x1b" not in errors and "torn\\x1b[31m.png" in errors
    code, out, errors = lab("predict", trained, *given)
    assert (code, len(out.splitlines()), errors.count("error: ")) == (2, 2, 3)


def test_predict_says_what_of_a_folder_it_leaves_out(trained: Path, eight: Path, tmp_path: Path, lab: Lab) -> None:
    for name in ("b.png", "a.png", "notes.txt", ".hidden.txt", "README"):
        shutil.copy(eight / "eight.png", tmp_path / name)
    (tmp_path / "bare").mkdir()
    (tmp_path / "more").symlink_to(tmp_path / "bare")
    code, out, errors = lab("predict", trained, tmp_path)
    assert (code, [line.split("\t")[0][-5:] for line in out.splitlines()]) == (0, ["a.png", "b.png"])
    for left_out in ("2 files read; left out: ", "1 .txt", "1 hidden", "1 without an ending", "1 links to folders"):
        assert left_out in errors
    (tmp_path / "empty").mkdir()
    code, _, errors = lab("predict", trained, tmp_path / "empty")
    assert (code, "has no file that Digits reads: it is empty." in errors) == (2, True)


def test_predict_without_any_line_says_so(trained: Path, lab: Lab) -> None:
    code, out, errors = lab("predict", trained, stdin="\n\n")
    assert (code, out) == (2, "")
    assert "stdin held no line" in errors


def test_resume_says_what_state_begins_anew(tmp_path: Path, lab: Lab) -> None:
    folder = tmp_path / "run"
    assert lab("run", "vision/digits-mlp", "train.epochs=1", "log=[]", "--folder", folder)[0] == 0
    for change, said in (
        ("train.ema=0.9", "no averaged weights: they begin at its weights"),
        ("device.precision=fp16", "no loss scale: it begins at its default"),
    ):
        again = copied(folder, tmp_path / change.partition("=")[0])
        code, out, errors = lab("resume", again, "train.epochs=2", change, "--json")
        assert (code, said in errors) == (0, True), errors
        assert [note for note in json.loads(out)["notes"] if said in note]
    code, _, errors = lab("resume", folder, "train.epochs=2", "optimizer=sgd")
    assert code == 2
    assert errors.count("error: ") == 1


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ("2>/dev/full", 0),
        *(
            pytest.param(*given, marks=pytest.mark.long)
            for given in ((">/dev/full", 1), ("2>&-", 0), ("2>&1 | true", None))
        ),
    ],
)
@pytest.mark.long
def test_a_stream_that_takes_nothing_is_no_reason_to_end(tmp_path: Path, stream: str, code: int | None) -> None:
    folder = tmp_path / "run"
    command = f"{sys.executable} -m labwright run vision/digits-mlp train.epochs=1 --folder {folder} {stream}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert json.loads((folder / "outcome.json").read_text())["status"] == "finished"
    assert "Traceback" not in ended.stderr
    if code is not None:
        assert ended.returncode == code
    if code == 1:
        assert "error: the results can't be written: No space left on device." in ended.stderr


def test_a_working_folder_that_is_gone_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path / 'gone'} && rmdir {tmp_path / 'gone'} && {sys.executable} -m labwright list losses"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("error: ") == 1
    assert "the working folder is gone" in ended.stderr
