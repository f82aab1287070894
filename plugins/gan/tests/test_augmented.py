"""Generated pictures beside real ones: how many of which class, and which generators are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError, generator
from labwright_gan.data.augmented import WithGenerated
from labwright_gan.data.ring import Ring
from labwright_gan.generative import digest
from labwright_gan.judge import of_run
from labwright_gan.task import Adversarial
from labwright_tasks.fold_data import Fold


class Tiles(lw.Data):
    """Grey tiles of three classes; `seed` draws others."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def __init__(self, *, seed: int = 0, names: tuple[str, ...] = ("dark", "grey", "bright")) -> None:
        self.seed, self.names = seed, names

    def prepare(self) -> None:
        self.parts = {}
        for number, (name, count) in enumerate({"train": 30, "valid": 9, "test": 12}.items()):
            labels = torch.arange(count) % 3
            noise = torch.rand(count, 1, 4, 4, generator=generator(self.seed, number))
            self.parts[name] = lw.TensorSplit((noise + labels.view(-1, 1, 1, 1),), labels)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 4, 4), lw.Classes(self.names)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


class Flipping:
    """A split that is other samples in each epoch."""

    def __init__(self, split: lw.TensorSplit) -> None:
        self.split, self.labels = split, split.labels

    def __len__(self) -> int:
        return len(self.split)

    def plain(self) -> lw.TensorSplit:
        return self.split

    def fetch(self, indices: torch.Tensor, epoch: int, seed: int) -> lw.Batch:
        batch = self.split.fetch(indices, epoch, seed)
        return lw.Batch((batch.inputs[0] + 100 * (epoch + 1),), batch.targets)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits of labwright-vision, whose recipe a folder can be loaded by."""
    pytest.importorskip("labwright_vision", reason="the digits come with labwright-vision")
    folder = tmp_path_factory.mktemp("runs") / "digits"
    lw.Experiment.from_recipe(
        "gan/digits", ["train.epochs=", "train.steps=2", "model.width=4", "task.judge_epochs=1", "log=[]"]
    ).run(folder)
    return folder


def digits(**settings: Any) -> Any:
    from labwright_vision.data.digits import Digits

    return Digits(**({"valid": 0.1} | settings))


def test_each_class_is_added_alike_and_what_measures_is_as_it_was(run: Path) -> None:
    data, alone = WithGenerated(digits(), run=run, count=45), digits()
    data.prepare()
    alone.prepare()
    whole, real = data.split("train"), alone.split("train")
    assert whole is not None and len(whole) == len(real) + 45
    added = whole.fetch(torch.arange(len(real), len(whole)), 0, 0)
    assert added.targets.bincount(minlength=10).tolist() == [5] * 5 + [4] * 5
    assert torch.equal(whole.labels, torch.cat([real.labels, added.targets]))  # type: ignore[attr-defined]
    low, high = real.fetch(torch.arange(len(real)), 0, 0).inputs[0].aminmax()
    assert low <= added.inputs[0].min() and added.inputs[0].max() <= high  # in the data's own scale
    again = WithGenerated(digits(), run=run, count=45)
    again.prepare()
    assert torch.equal(again.split("train").fetch(torch.arange(len(real), len(whole)), 0, 0).inputs[0], added.inputs[0])  # type: ignore[union-attr]
    for name in ("valid", "test"):
        rows = torch.arange(9)
        mine, theirs = data.split(name), alone.split(name)
        assert mine is not None and torch.equal(mine.fetch(rows, 0, 0).inputs[0], theirs.fetch(rows, 0, 0).inputs[0])
    assert data.place("train", len(real) + 3) == "generated 3"
    assert "45 of the training pictures were drawn by" in data.remarks()[-1]


def test_batches_hold_real_and_generated_samples_in_the_order_asked_for() -> None:
    from labwright_gan.data.augmented import Mixed

    real = Flipping(lw.TensorSplit((torch.arange(4.0).view(4, 1),), torch.arange(4)))
    mixed = Mixed(real, lw.TensorSplit((torch.tensor([[-1.0], [-2.0]]),), torch.tensor([8, 9])))
    batch = mixed.fetch(torch.tensor([5, 0, 3, 4, 1]), 1, 0)
    assert batch.inputs[0][:, 0].tolist() == [-2, 200, 203, -1, 201]
    assert batch.targets.tolist() == [9, 0, 3, 8, 1]
    assert mixed.plain().fetch(torch.tensor([4, 2]), 1, 0).inputs[0][:, 0].tolist() == [-1, 2]
    assert mixed.fetch(torch.tensor([5]), 0, 0).targets.tolist() == [9]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "other training pictures": (lambda: digits(valid=0.2), r"has learned from other training pictures than these"),
    "other sides": (lambda: Tiles(), r"makes other pictures, or of other classes, than Tiles"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_generator_of_other_pictures_is_refused(case: str, run: Path) -> None:
    data, message = REFUSED[case]
    with pytest.raises(LabwrightError, match=message):
        WithGenerated(data(), run=run, count=10).prepare()


@pytest.mark.long
def test_what_a_generator_started_from_or_was_judged_by_must_have_seen_no_more(run: Path, tmp_path: Path) -> None:
    short = ["train.epochs=", "train.steps=2", "model.width=4", "task.judge_epochs=1", "log=[]"]
    started = lw.Experiment.from_recipe("gan/digits", [*short, f'start={{run="{run}"}}']).run(tmp_path / "started")
    with pytest.raises(LabwrightError, match="started from the weights of another"):
        WithGenerated(digits(), run=started.folder, count=10).prepare()
    for name, valid in (("same", 0.1), ("other", 0.2)):
        classifier = ["train.epochs=", "train.steps=2", f"task.data.valid={valid}", "log=[]"]
        lw.Experiment.from_recipe("vision/digits-mlp", classifier).run(tmp_path / name)
        lw.Experiment.from_recipe("gan/digits", [*short, f"task.judge={tmp_path / name}"]).run(tmp_path / f"by-{name}")
    WithGenerated(digits(), run=tmp_path / "by-same", count=10).prepare()
    with pytest.raises(LabwrightError, match="judged by a classifier of other pictures than these"):
        WithGenerated(digits(), run=tmp_path / "by-other", count=10).prepare()
    unasked = [*short, "task.conditional=false", "model=gan/dcgan", "model.width=4", "model.stages=2"]
    lw.Experiment.from_recipe("gan/digits", unasked).run(tmp_path / "unasked")
    with pytest.raises(LabwrightError, match="makes no pictures of a class asked for"):
        WithGenerated(digits(), run=tmp_path / "unasked", count=10).prepare()
    with pytest.raises(LabwrightError, match=r"task\.data\.run: .*is no run folder"):
        WithGenerated(digits(), run=tmp_path / "nowhere", count=10).prepare()


@pytest.mark.parametrize("begun", ["alone", "started", "taught"])
def test_a_judge_that_began_with_weights_of_another_or_was_taught_by_it_is_refused(begun: str, tmp_path: Path) -> None:
    """As what it has learned of other pictures may have chosen the generator's best weights."""
    data = Tiles()
    data.prepare()
    train = data.split("train")
    assert train is not None
    judge = tmp_path / "task" / "judge"
    (judge / "task" / "teacher" if begun == "taught" else judge / "task").mkdir(parents=True)
    (judge / "recipe.toml").write_text('start = { run = "elsewhere" }\n' if begun == "started" else "")
    (tmp_path / "task" / "facts.json").write_text(json.dumps({"training": digest(train)}))
    for task in (tmp_path / "task", judge / "task"):
        (task / "read.json").write_text('{"digests": {"train": "the same"}}')
    checked = WithGenerated(data, run=tmp_path, count=3)
    if begun == "alone":
        checked._check_origin(train, "here", started=False)
        return
    with pytest.raises(LabwrightError, match="began with another's weights or was taught by another"):
        checked._check_origin(train, "here", started=False)


def test_a_class_without_a_training_picture_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator was never told it, so that what it draws for it would be of any class."""
    data = Tiles(names=("dark", "grey", "bright", "unseen"))
    task = Adversarial(data, latent=2, conditional=True, judge_epochs=1)
    task.prepare()
    train = data.split("train")
    assert train is not None
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "facts.json").write_text(json.dumps({"training": digest(train)}))

    def model(latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(latents), 1, 4, 4)

    run = SimpleNamespace(task=task, notes=(), model=model, experiment=SimpleNamespace(table=dict))
    monkeypatch.setattr("labwright_gan.data.augmented.load", lambda *_, **__: run)
    whole = WithGenerated(data, run=tmp_path, count=7)
    whole.prepare()
    mixed = whole.split("train")
    assert mixed is not None
    assert mixed.fetch(torch.arange(30, 37), 0, 0).targets.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_what_is_amiss_with_a_plugin_of_no_concern_is_no_fault_of_a_run(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABWRIGHT_DISABLE_PLUGINS", "nonesuch")
    WithGenerated(digits(), run=run, count=3).prepare()
    with pytest.raises(LabwrightError, match=r"task\.judge: the run .* goes from ClassLatent"):
        of_run(run, digits().ports())


def test_generated_pictures_are_never_held_out_by_a_fold() -> None:
    with pytest.raises(LabwrightError, match=r"task\.data: folds of it would be measured on generated pictures"):
        Fold(WithGenerated(Tiles(), run=Path("run"), count=3), number=1, of=3)
    WithGenerated(Fold(Tiles(), number=1, of=3), run=Path("run"), count=3)


def test_points_have_nothing_added() -> None:
    with pytest.raises(LabwrightError, match="Ring offers Features and has targets Classes"):
        WithGenerated(Ring(), run=Path("run"), count=3)


@pytest.mark.slow
def test_a_classifier_learns_from_both_and_says_so(run: Path, tmp_path: Path) -> None:
    data = f'task.data={{name="gan/augmented",data={{name="vision/digits",valid=0.1}},run="{run}",count=50}}'
    trained = lw.Experiment.from_recipe(
        "vision/digits-mlp", ["train.epochs=", "train.steps=2", "task.data.valid=", data, "log=[]"]
    ).run(tmp_path / "run")
    assert trained.data is not None and trained.data.samples["train"] == 1293 + 50
    assert any("were drawn by" in remark for remark in trained.data.remarks)


def test_a_digest_is_of_the_samples_as_they_are() -> None:
    one, other = Tiles(), Tiles(seed=1)
    for data in (one, other):
        data.prepare()
    train = one.split("train")
    assert train is not None
    assert digest(train) == digest(Flipping(train)) != digest(other.split("train"))  # type: ignore[arg-type]
