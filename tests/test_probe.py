"""The mechanisms carry the field: six kinds of deep learning, written by a stranger with public names alone."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright.train.log import read_log
from labwright_export import export
from labwright_study import Study
from labwright_testing import CHECKS, Kit, quick_findings
from labwright_testing.pytest_cases import run as tried
from labwright_testing.verify_resume import verify_resume
from typer.testing import CliRunner

SOURCES = Path(__file__).parent / "third_party" / "labwright-probe" / "src"
KINDS = ("several", "two-views", "boxes", "masks", "captions", "spans")
# of each a loss that is reached within its recipe, below what knowing nothing gives, and a goal that is
FLOORS = {
    "several": (0.15, 0.9),  # log 4 and the variance of a distance, 1.5
    "two-views": (1.2, 0.3),  # log 32, 3.5, and one of 64
    "boxes": (0.3, 0.7),  # log 3 and boxes, 1.6
    "masks": (0.3, 0.7),  # log 3, 1.1
    "captions": (0.2, 0.8),  # log 15, 2.7
    "spans": (0.5, 0.8),  # twice log 17, 5.7
}


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """labwright-probe, as `pip install -e` installs it."""
    info = tmp_path_factory.mktemp("site") / "labwright_probe-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: labwright-probe\nVersion: 0.1.0\nRequires-Dist: labwright>=0.2,<0.3\n"
    )
    (info / "entry_points.txt").write_text("[labwright]\nprobe = labwright_probe.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SOURCES)
        patch.syspath_prepend(info.parent)
        yield


def experiment(kind: str, *overrides: str) -> lw.Experiment:
    return lw.Experiment.from_recipe(f"probe/{kind}", ["log=[]", *overrides])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each recipe, whole."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        experiment(kind, 'log=["report"]', "train.log_every=5").run(folder / kind)
    return {kind: folder / kind for kind in KINDS}


def labwright(*arguments: str) -> str:
    from labwright.cli import app

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_public_names_are_all_it_takes() -> None:
    for file in SOURCES.rglob("*.py"):
        tree = ast.parse(file.read_text())
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [name for name in modules if name.startswith(("labwright.", "labwright_tasks"))], file
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert "batches" not in functions, file


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.long
def test_it_learns(runs: dict[str, Path], kind: str) -> None:
    floor, goal = FLOORS[kind]
    records = read_log(runs[kind] / "metrics.jsonl")
    losses = [record["loss"] for record in records if record["event"] == "train"]
    outcome = json.loads((runs[kind] / "outcome.json").read_text())
    name = lw.load(runs[kind]).task.goal.metric
    assert losses[-1] < floor < losses[0]
    assert outcome["metrics"]["test"][name] > goal


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_one_that_was_not_cut(kind: str) -> None:
    verdict = verify_resume(experiment(kind), 3)
    assert verdict.exact, verdict


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_gives_the_figures_the_run_ended_with(runs: dict[str, Path], kind: str) -> None:
    measured = json.loads(labwright("evaluate", str(runs[kind]), "--json"))
    outcome = json.loads((runs[kind] / "outcome.json").read_text())
    assert measured["metrics"] == outcome["metrics"]["test"]


def answers(run: Path, *inputs: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in labwright("predict", str(run), *inputs, "--json").splitlines()]


def test_each_head_answers(runs: dict[str, Path]) -> None:
    (answer,) = answers(runs["several"], "--point", "0.6 -0.8")
    assert answer["quarter"] == "south-east" and answer["distance"] == pytest.approx(1.0, abs=0.15)


def test_views_of_one_wave_lie_together(runs: dict[str, Path]) -> None:
    wave = torch.linspace(0, 6, 16).sin()
    lines = [" ".join(map(str, one.tolist())) for one in (wave, wave * 1.05, -wave)]
    embeddings = torch.tensor([answers(runs["two-views"], "--wave", line)[0]["embedding"] for line in lines])
    likeness = embeddings @ embeddings.T
    assert likeness[0, 1] > 0.9 and likeness[0, 2] < 0.5


def test_boxes_are_in_the_pixels_of_the_file(runs: dict[str, Path], tmp_path: Path) -> None:
    for scale in (1, 3):
        picture = np.zeros((24 * scale, 48 * scale), np.float32)
        picture[9 * scale : 14 * scale, 4 * scale : 14 * scale] = 1.0
        np.save(tmp_path / f"{scale}.npy", picture)
        (answer,) = answers(runs["boxes"], str(tmp_path / f"{scale}.npy"))
        assert answer["things"] == ["block"]
        truth = [4 * scale, 9 * scale, 14 * scale, 14 * scale]
        assert answer["boxes"][0] == pytest.approx(truth, abs=2.5 * scale)
    assert "Found" in (runs["boxes"] / "report.html").read_text()


def test_boxes_that_micro_batches_have_are_those_of_their_pictures(tmp_path: Path) -> None:
    few = ("train.epochs=", "train.steps=3")
    runs = {cut: experiment("boxes", *few, f"device.accumulate={cut}").run(tmp_path / f"{cut}") for cut in (1, 4)}
    for name, tensor in runs[1].model.state_dict().items():
        torch.testing.assert_close(tensor, runs[4].model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_loss_that_compares_samples_is_not_cut() -> None:
    with pytest.raises(lw.LabwrightError, match=r"accumulate .* loss 'probe/info-nce' compares the samples"):
        experiment("two-views", "device.accumulate=2").build()


def test_a_mask_is_a_file_as_large_as_its_picture(runs: dict[str, Path], tmp_path: Path) -> None:
    picture = np.zeros((32, 48), np.float32)
    picture[12:28, 15:39] = 1.0
    np.save(tmp_path / "disc.npy", picture)
    (answer,) = answers(runs["masks"], str(tmp_path / "disc.npy"))
    mask = np.load(answer["mask"])
    assert mask.shape == picture.shape and mask[20, 27] == 1 and mask[30, 2] != 1


def test_a_caption_says_what_is_there(runs: dict[str, Path], tmp_path: Path) -> None:
    for name, place in (("row", np.s_[2, :]), ("column", np.s_[:, 4])):
        picture = np.zeros((8, 8), np.float32)
        picture[place] = 1.0
        np.save(tmp_path / f"{name}.npy", picture)
    captions = [answer["caption"] for answer in answers(runs["captions"], str(tmp_path))]
    assert captions == ["a bar in column fifth", "third row"]


def test_an_answer_has_the_words_as_they_were_written(runs: dict[str, Path]) -> None:
    (answer,) = answers(runs["spans"], "--question", "What has EVE | Ann has two KEYS and Eve has five Red Coins")
    assert answer["answer"] == "five Red Coins"


def test_batches_of_like_length_are_padded_little(runs: dict[str, Path]) -> None:
    task = experiment("spans").prepared()
    batches = task.batches("train", size=20, seed=0, epoch=0)
    assert batches is not None
    whole = sum(batch.inputs[0].numel() for batch in batches)
    counted = sum(int(batch.inputs[1].sum()) for batch in batches)
    assert counted / whole > 0.9


LATER = pytest.mark.long  # the exporter takes its time with some
EXPORTED = [kind if kind == "boxes" else pytest.param(kind, marks=LATER) for kind in KINDS]


@pytest.mark.parametrize("kind", EXPORTED)
def test_onnxruntime_gives_each_output_as_pytorch_does(runs: dict[str, Path], kind: str, tmp_path: Path) -> None:
    facts = export(runs[kind], tmp_path / "exported")
    named = {
        "several": ["quarter", "distance"],
        "boxes": ["logits", "boxes"],
        "spans": ["output_0", "output_1"],
    }
    assert [output["name"] for output in facts["outputs"]] == named.get(kind, ["output"])


@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[1:])])
def test_it_is_tuned(kind: str, tmp_path: Path) -> None:
    found = Study(experiment(kind, "train.epochs=", "train.steps=2"), trials=3, folder=tmp_path / "study").run()
    assert (found.trials, found.failed, found.diverged) == (3, 0, 0)


def test_quick_checks_have_no_complaint() -> None:
    found = list(quick_findings(lw.Plugins.discover(), "labwright-probe"))
    assert found and not [(finding.label, finding.found) for finding in found if finding.found]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_the_kit_has_no_complaint() -> None:
    for subject in Kit(lw.Plugins.discover()).subjects("labwright-probe"):
        for check in CHECKS.values():
            if check.applies(subject):
                try:
                    tried(subject, check)
                except pytest.skip.Exception:
                    continue
