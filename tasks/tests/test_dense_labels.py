"""Dense labels: measures are those of others, what is left out doesn't count, answers keep their origin."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import Batch, LabwrightError
from labwright_tasks.dense_labels import DenseLabels, PositionClasses, Shown, Words
from labwright_tasks.entities import entities, tag_entities
from labwright_tasks.label_pictures import palette
from labwright_testing.verify_resume import verify_resume
from matplotlib.colors import to_hex
from PIL import Image
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")
Experiments = Callable[..., lw.Experiment]
Command = Callable[..., tuple[int, str, str]]


class Positions(lw.Data):
    """Labels given by a test, over features that are the logits."""

    item, target = lw.Features, PositionClasses
    source, licence = "made up", "CC0"

    def __init__(self, labels: Any, names: Sequence[str] = "abc") -> None:
        self.labels, self.names = torch.tensor(labels), names

    def prepare(self) -> None: ...

    def ports(self) -> tuple[lw.Port, lw.Port]:
        shape = tuple(self.labels.shape[1:])
        return lw.Features((*shape, len(self.names))), PositionClasses(tuple(self.names), shape)

    def split(self, name: str) -> lw.TensorSplit:
        random = torch.Generator().manual_seed(0)
        return lw.TensorSplit((torch.randn(*self.labels.shape, len(self.names), generator=random),), self.labels)


def prepared(labels: Any, names: Sequence[str] = "abc") -> DenseLabels:
    task = DenseLabels(Positions(labels, names))
    task.prepare()
    return task


def measured(task: DenseLabels, model: nn.Module, size: int = 2) -> dict[str, Any]:
    metrics = task.metrics()
    for batch in task.batches("test", size=size, seed=0, epoch=0) or ():
        for metric in metrics.values():
            metric.update(task.evaluate(model, batch))
    return {name: metric.compute() for name, metric in metrics.items()}


class Given(nn.Module):
    """Logits that make these classes the answer, whatever the input."""

    def __init__(self, given: Any, classes: int) -> None:
        super().__init__()
        self.logits = 3.0 * functional.one_hot(torch.tensor(given), classes).float()

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[: len(x)]


# ----------------------------------------------------------------------------------------------- loss and measures


def test_the_loss_is_the_mean_over_positions_that_count() -> None:
    labels = torch.randint(0, 3, (4, 5, 6), generator=torch.Generator().manual_seed(1))
    labels[0, :3], labels[2, :, 4:] = -100, -100
    task = prepared(labels.tolist())
    (batch,) = task.batches("test", size=4, seed=0, epoch=0) or ()
    loss = task.loss(nn.Identity(), batch, functional.cross_entropy, "train")
    # PyTorch's own for pictures has the classes first
    theirs = functional.cross_entropy(batch.inputs[0].movedim(-1, 1), labels)
    torch.testing.assert_close(loss, theirs)
    assert task.weight(batch) == int((labels != -100).sum()) == 4 * 30 - 18 - 10


def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient() -> None:
    task = prepared([[0, 1], [-100, -100]])
    logits = torch.randn(1, 2, 3, requires_grad=True)
    batch = Batch((logits,), torch.full((1, 2), -100))
    loss = task.loss(nn.Identity(), batch, functional.cross_entropy, "train")
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()
    assert 0 < task.weight(batch) < 1e-300


def test_measures_are_those_of_all_positions_together_by_hand() -> None:
    task = prepared([[[0, 0], [1, -100]], [[1, 1], [1, 2]]], names="abcd")
    values = measured(task, Given([[[0, 1], [1, 3]], [[1, 1], [0, 0]]], 4))
    assert values["accuracy"] == pytest.approx(4 / 7)
    ious = {"a": 1 / 4, "b": 3 / 5, "c": 0.0}  # a: 2 are, 3 were given, 1 both; b: 4, 4, 3; c: 1, 0, 0
    assert {name: values["iou"][name] for name in "abc"} == pytest.approx(ious)
    assert math.isnan(values["iou"]["d"])  # given only where it doesn't count
    assert values["mean_iou"] == pytest.approx(sum(ious.values()) / 3)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_measures_are_scikit_learns_whatever_the_batches(size: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = torch.randint(0, 4, (7, 4, 3), generator=torch.Generator().manual_seed(2))
    labels[labels == 3] = -100
    task = prepared(labels.tolist(), names="abc")
    values = measured(task, nn.Identity(), size)
    logits = task.data.split("test").inputs[0]  # type: ignore[union-attr]
    counted = labels != -100
    true, given = labels[counted].numpy(), logits.argmax(-1)[counted].numpy()
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(true, given))
    assert values["mean_iou"] == pytest.approx(metrics.jaccard_score(true, given, average="macro"))
    assert [*values["iou"].values()] == pytest.approx(metrics.jaccard_score(true, given, average=None).tolist())
    nats = metrics.log_loss(true, logits.double().softmax(-1)[counted].numpy(), labels=[0, 1, 2])
    assert values["cross_entropy"] == pytest.approx(nats, rel=1e-6)


def test_training_labels_are_counted_without_augmentation() -> None:
    class Cut(lw.TensorSplit):
        """Shows none but the first class."""

        def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
            batch = super().fetch(indices, epoch, seed)
            return lw.Batch(batch.inputs, batch.targets * 0)

        def plain(self) -> lw.TensorSplit:
            return lw.TensorSplit(self.inputs, self.labels)

    class Augmented(Positions):
        def split(self, name: str) -> lw.TensorSplit:
            part = super().split(name)
            return Cut(part.inputs, part.labels)

    task = DenseLabels(Augmented([[0, 1, 2], [0, 1, lw.LEFT_OUT]]))
    task.prepare()
    assert task.counts == (2, 2, 1)


def test_nothing_measured_is_no_number() -> None:
    values = {name: metric.compute() for name, metric in prepared([[0, 1]], "ab").metrics().items()}
    assert all(math.isnan(value) for name, value in values.items() if name not in ("iou", "mean_iou_95"))
    assert [*values["iou"]] == ["a", "b"] and all(map(math.isnan, values["iou"].values()))


TRUE = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
GIVEN = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]


def test_entities_count_whole_as_seqevals_do() -> None:
    names = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER")
    task = DenseLabels(Positions([[0]]))
    task.data.ports = lambda: (lw.Features((7, 5)), PositionClasses(names, (7,)))  # type: ignore[method-assign]
    ids = [[[names.index(tag) for tag in row.split()] for row in rows] for rows in (TRUE, GIVEN)]
    padded = [[row + [-100] * (7 - len(row)) for row in rows] for rows in ids]
    logits = functional.one_hot(torch.tensor(padded[1]).clamp(min=0), 5).float()
    metric = task.metrics()["entity_f1"]
    metric.update(task.evaluate(nn.Identity(), Batch((logits,), torch.tensor(padded[0]))))
    assert metric.compute() == pytest.approx(0.5)  # seqeval's README: f1_score(y_true, y_pred) is 0.50


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("B-PER B-PER I-PER", {("PER", 0, 1), ("PER", 1, 3)}),
        ("I-PER I-PER O I-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_entities_begin_and_end_as_in_the_conll_evaluation(tags: str, spans: set[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == spans


def test_only_o_b_and_i_are_tags_of_entities() -> None:
    assert tag_entities(("O", "B-PER", "I-PER"))
    assert not any(map(tag_entities, (("O", "I-"), ("B-PER", "I-PER"), ("O", "PER"), ("O",), ("a", "b"))))


def test_colours_are_pascals() -> None:
    # the first of the palette in the PASCAL VOC development kit, and the last, of its borders
    assert palette(256)[:6] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    assert palette(256)[255] == (224, 224, 192)


@pytest.mark.parametrize(("classes", "unseen"), [(255, 255), (256, 65535), (300, 65535)])
def test_a_picture_of_many_classes_is_answered_in_16_bits(classes: int, unseen: int) -> None:
    task = prepared([[[0, 1], [0, 1]]], tuple(map(str, range(classes))))
    labels_HW = torch.tensor([[0, 7], [classes - 1, 1]])
    logits = functional.one_hot(labels_HW, classes).float()[None]
    origin = Shown(4, 6, (0.0, 0.0, 4.0, 4.0))  # the model saw the left of it
    (answer,) = task.predict(nn.Identity(), (logits,), [origin])
    picture = Image.open(io.BytesIO(answer["labels"].data))
    expected = labels_HW.repeat_interleave(2, 0).repeat_interleave(2, 1)
    values_HW = np.asarray(picture).astype(np.int64)
    assert picture.size == (6, 4) and np.array_equal(values_HW[:, :4], expected.numpy())
    assert (values_HW[:, 4:] == unseen).all() and sum(answer["shares"].values()) == pytest.approx(1)


def test_floors_are_the_most_frequent_class_everywhere_and_at_each_place_by_hand() -> None:
    class Pixels(Positions):
        def split(self, name: str) -> lw.TensorSplit:
            return lw.TensorSplit((torch.zeros(3, 1, 2, 2),), self.labels)

    task = DenseLabels(Pixels([[[0, 1], [0, -100]], [[0, 1], [1, 2]], [[0, 0], [0, 2]]]))
    task.prepare()
    floors = task.floors("test")
    assert floors["most frequent class"]["accuracy"] == pytest.approx(6 / 11)
    # given are 0 and 1 above, 0 and 2 below: right are 3, 2, 2 and 2 of 11
    placed = floors["most frequent class at each place"]
    assert placed["accuracy"] == pytest.approx(9 / 11)
    assert placed["mean_iou"] == pytest.approx((5 / 7 + 2 / 4 + 2 / 2) / 3)
    assert math.isfinite(placed["cross_entropy"])


# ------------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("recipe", ["shapes", "tagged"])
def test_a_small_model_learns_it(recipe: str, made: Experiments, tmp_path: Path) -> None:
    run = made(recipe).run(tmp_path / "run")
    assert run.metrics["test"]["mean_iou"] > 0.95
    assert run.metrics["test"].get("entity_f1", 1.0) > 0.95


@pytest.mark.parametrize("recipe", ["shapes", "tagged"])
def test_a_resumed_run_is_the_uninterrupted_one(recipe: str, made: Experiments) -> None:
    assert verify_resume(made(recipe), 8).exact


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("recipe", ["shapes", "tagged"])
def test_accumulation_changes_nothing(recipe: str, made: Experiments, float64: None, tmp_path: Path) -> None:
    def weights(accumulate: int) -> list[Tensor]:
        overrides = [f"device.accumulate={accumulate}", 'optimizer="sgd"', "optimizer.lr=0.1", "train.epochs=2"]
        return [*made(recipe, *overrides).run(tmp_path / str(accumulate)).model.parameters()]

    for ours, whole in zip(weights(4), weights(1), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, whole, rtol=1e-12, atol=1e-13)


def test_a_batch_is_cut_where_one_part_has_no_label_that_counts() -> None:
    labels = torch.tensor([[0, 1], [-100, -100]])
    task = prepared(labels.tolist())
    (whole,) = task.batches("test", size=2, seed=0, epoch=0) or ()
    parts = [whole.rows(slice(row, row + 1)) for row in (0, 1)]
    weights = [task.weight(part) for part in parts]
    losses = [task.loss(nn.Identity(), part, functional.cross_entropy, "train") for part in parts]
    mean = sum(loss * weight / sum(weights) for loss, weight in zip(losses, weights, strict=True))
    assert mean == task.loss(nn.Identity(), whole, functional.cross_entropy, "train")


def test_a_study_searches_it(made: Experiments, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"search": {"only": ["model.width", "optimizer.lr"]}, "quiet": True}
    findings = lw.Study(made("shapes", "train.epochs=1"), 3, folder=tmp_path / "study", **settings).run()
    assert (findings.trials, findings.failed) == (3, 0)


# -------------------------------------------------------------------------------------------- predicting, measuring


def test_a_picture_is_answered_in_its_own_size_and_measured_from_the_command_line(
    made: Experiments, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made("shapes").run("run")
    part = run.task.data.split("test")
    assert part is not None
    batch = part.fetch(torch.tensor([3]), 0, 0)
    small_HW = (255 * batch.inputs[0][0, 0]).round().to(torch.uint8).numpy()
    large = Image.fromarray(np.kron(small_HW, np.ones((3, 2), dtype=np.uint8)))  # 36 high, 24 wide
    large.save("large.png")
    Image.fromarray(small_HW).save("small.png")
    code, out, err = command("predict", "run", "large.png", "small.png", "--json")
    assert code == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    pictures = [Image.open(answer["labels"]) for answer in answers]
    assert [picture.size for picture in pictures] == [(24, 36), (12, 12)]
    labels = [np.asarray(picture) for picture in pictures]
    assert np.array_equal(labels[0], np.kron(labels[1], np.ones((3, 2), dtype=np.uint8)))  # each pixel the nearest
    counted = batch.targets[0] != -100
    assert torch.equal(torch.tensor(labels[1])[counted].long(), batch.targets[0][counted])
    assert tuple(pictures[0].convert("RGB").getpixel((4, 4)) or ()) in palette(3)  # type: ignore[arg-type]
    assert sum(answers[0]["shares"].values()) == pytest.approx(1) and set(answers[0]["shares"]) <= {
        "ground", "square", "disc"
    }  # fmt: skip
    code, out, err = command("evaluate", "run", "--split", "test", "--json")
    assert code == 0 and json.loads(out)["metrics"]["mean_iou"] == run.metrics["test"]["mean_iou"], err


def test_words_are_answered_with_their_tags(
    made: Experiments, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made("tagged", "train.epochs=10").run("run")
    code, out, err = command("predict", "run", "--text", "saw ada byron in new york", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["words"] == ["saw", "ada", "byron", "in", "new", "york"]
    assert answer["labels"] == ["O", "B-PER", "I-PER", "O", "B-LOC", "I-LOC"]


def test_a_word_is_answered_by_its_own_position_and_one_that_was_cut_off_by_none() -> None:
    task = prepared([[0, 1, 2, 1]])
    logits = functional.one_hot(torch.tensor([[2, 1, 0, 1]]), 3).float()
    (answer,) = task.predict(nn.Identity(), (logits,), [Words(("x", "y", "z"), (0, 2, 4))])
    assert answer == {"words": ["x", "y", "z"], "labels": ["c", "a", None]}
    (answer,) = task.predict(nn.Identity(), (logits,), [None])
    assert answer == {"labels": ["c", "b", "a", "b"]}


def test_rows_are_answered_together_as_alone() -> None:
    task = prepared([[[0, 1], [2, 1]]])
    logits = torch.randn(3, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    origins = [(4, 6), None, (1, 1)]
    together = task.predict(nn.Identity(), (logits,), origins)
    alone = [task.predict(nn.Identity(), (logits[n : n + 1],), [origins[n]])[0] for n in range(3)]
    assert together == alone
    sizes = [Image.open(io.BytesIO(answer["labels"].data)).size for answer in together]
    assert sizes == [(6, 4), (2, 2), (1, 1)]


def test_the_report_shows_pictures_beside_their_labels(made: Experiments, tmp_path: Path) -> None:
    run = made("shapes", 'log=["report"]').run(tmp_path / "run")
    matrix, table, pictures = run.task.report(run.model, "test", CPU)
    assert isinstance(matrix, lw.Figure) and isinstance(table, lw.Table) and isinstance(pictures, lw.Pictures)
    assert [row[:2] for row in table.rows] == [("ground", "#000000"), ("square", "#800000"), ("disc", "#008000")]
    assert sum(row[2] for row in table.rows) == 16 * 10 * 10  # type: ignore[misc]
    assert float(str(table.rows[0][4])) == pytest.approx(run.metrics["test"]["iou/ground"], abs=1e-4)
    assert len(pictures.images) == 18 and [caption.split(":")[0] for caption in pictures.captions[:3]] == [
        "picture", "true", "given",
    ]  # fmt: skip
    shares = [int(caption.split()[1].rstrip("%")) for caption in pictures.captions[2::3]]
    assert shares == sorted(shares)
    assert pictures.images[1].shape == (3, 12, 12) and torch.equal(pictures.images[1][:, 0, 0], torch.full((3,), 0.5))
    assert "Confusion matrix" in (tmp_path / "run" / "report.html").read_text()
    assert list(run.task.report(run.model, "elsewhere", CPU)) == []


def test_the_report_marks_words(made: Experiments, tmp_path: Path) -> None:
    run = made("tagged", "train.epochs=10").run(tmp_path / "run")
    _, table, coloured, text = run.task.report(run.model, "test", CPU)
    assert isinstance(text, lw.Text) and len(text.passages) == 6
    assert isinstance(table, lw.Table) and isinstance(coloured, lw.Figure)
    colours = {row[0]: row[1] for row in table.rows}
    assert colours["O"] == "-" != colours["B-LOC"] == colours["I-LOC"]
    drawn = {to_hex(patch.get_facecolor()) for patch in coloured.figure.axes[0].patches}
    assert drawn and drawn <= {*colours.values()}  # the table is the key to the drawing
    assert any("[new: B-LOC] [york: I-LOC]" in passage for passage in text.passages)
    wrong = Given([[0] * 12] * 6, 5)
    *_, text = run.task.report(Fitted(wrong), "test", CPU)
    assert isinstance(text, lw.Text) and any(": O, not B-" in passage for passage in text.passages)


class Fitted(nn.Module):
    """The answers of another model, as many as there are tokens."""

    def __init__(self, inner: Given) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        return self.inner.logits[:1, :1].expand(*ids_BT.shape, -1)


# ------------------------------------------------------------------------------------------------------ bad inputs


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[0, 3]], "a training label is 3, but its 3 classes have labels 0 to 2, and -100"),
        ([[0, -1]], "a training label is -1, but its 3 classes"),
        ([[-100, -100]], "none of the 1 training samples has a label that counts; all are -100"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels: list[list[int]], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        prepared(labels)


def test_labels_of_another_shape_than_the_ports_are_refused() -> None:
    task = DenseLabels(Positions([[0, 1]]))
    task.data.ports = lambda: (lw.Features((2,)), PositionClasses(("a", "b"), (2, 2)))  # type: ignore[method-assign]
    with pytest.raises(LabwrightError, match=r"labels have shape \(1, 2\), .*2 axes of positions.*\(2, 2\)"):
        task.prepare()


def test_data_with_other_targets_is_refused(values: Any) -> None:
    with pytest.raises(LabwrightError, match=r"Made has targets Values, not PositionClasses\. .*'classification'"):
        DenseLabels(values)


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (torch.zeros(1, 3, 5, 5), r"shape \(1, 3, 5, 5\); .* \(1, 5, 5, 3\).*logits\.movedim\(1, -1\)"),
        (torch.zeros(1, 5, 4, 3), r"shape \(1, 5, 4, 3\); PositionClasses stands for \(1, 5, 5, 3\), 3 logits"),
        ((torch.zeros(1, 5, 5, 3), None), "model Constant returned a tuple of 2; this task takes one tensor"),
    ],
)
def test_a_model_that_returns_something_else_is_told_what_to_return(logits: Any, words: str) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return logits

    task = prepared([[[0] * 5] * 5])
    (batch,) = task.batches("test", size=1, seed=0, epoch=0) or ()
    for call in (task.evaluate, lambda *given: task.loss(*given, functional.cross_entropy, "train")):
        with pytest.raises(LabwrightError, match=words):
            call(Constant(), batch)


def test_an_origin_of_a_picture_that_is_no_size_is_told() -> None:
    with pytest.raises(LabwrightError, match=r"Positions gives a picture the origin 'large'; .*\(height, width\)"):
        prepared([[[0]]]).predict(nn.Identity(), (torch.zeros(1, 1, 1, 3),), ["large"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.first=true"], "classes come before the positions"),
        (["loss=mse"], "loss 'mse' doesn't fit task 'dense-labels'"),
        (["model=made/tagger"], "model 'made/tagger' takes Tokens; data 'made/shapes' offers Image"),
        (["task.data=vision/digits"], "not PositionClasses"),
    ],
)
def test_an_experiment_that_does_not_fit_ends_with_one_message(
    overrides: list[str], words: str, command: Command, tmp_path: Path
) -> None:
    recipe = str(Path(__file__).parent / "made" / "shapes.toml")
    code, _, err = command("run", recipe, *overrides, "--folder", str(tmp_path / "run"))
    assert code == 2 and words in err and "Traceback" not in err and err.count("error:") == 1


def test_an_input_that_cannot_be_read_is_told_beside_those_that_can(
    made: Experiments, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made("shapes", "train.epochs=1").run("run")
    Path("broken.png").write_bytes(b"no picture")
    Image.new("L", (5, 4)).save("whole.png")
    code, out, err = command("predict", "run", "broken.png", "missing.png", "whole.png")
    assert code == 2 and out.startswith("whole.png\trun/predictions/0000.png")
    assert "broken.png" in err and "there is no file or folder 'missing.png'" in err and "Traceback" not in err


# -------------------------------------------------------------------------------------------------------- intervals


def test_intervals_are_those_of_samples_drawn_anew() -> None:
    drawn = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 3, (12, 4, 5), generator=drawn)
    labels[0, :2], labels[3] = -100, -100
    given = torch.where(torch.rand(labels.shape, generator=drawn) < 0.7, labels.clamp(min=0), 1)
    task = DenseLabels(Positions(labels.tolist()))
    told = measured(task, Given(given.tolist(), 3), size=12)
    assert told["mean_iou_95"]["low"] < told["mean_iou"] < told["mean_iou_95"]["high"]

    def mean_iou(rows: np.ndarray) -> float:
        shares = []
        for label in range(3):
            ours, true = (given[rows] == label) & (labels[rows] >= 0), labels[rows] == label
            if (ours | true).any():
                shares.append(float((ours & true).sum() / (ours | true).sum()))
        return float(np.mean(shares))

    rng = np.random.default_rng(0)
    values = [mean_iou(rng.integers(0, 12, 12)) for _ in range(2000)]
    low, high = np.quantile(values, [0.025, 0.975])
    reach = (high - low) / 2
    assert told["mean_iou_95"] == {"low": pytest.approx(low, abs=reach / 6), "high": pytest.approx(high, abs=reach / 6)}


def test_the_interval_of_entities_is_that_of_sentences_drawn_anew() -> None:
    names = ("O", "B-x", "I-x")
    labels = [[1, 2, 0, 1], [0, 1, 0, 0], [1, 0, 1, 2], [0, 0, 0, 0], [1, 1, 0, 0]] * 6
    given = [[1, 2, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]] * 6
    task = DenseLabels(Positions(labels, names))  # type: ignore[arg-type]
    told = measured(task, Given(given, 3), size=30)
    right, found, true = np.array([[1, 1, 2], [1, 2, 1], [1, 2, 2], [0, 1, 0], [2, 2, 2]] * 6).T
    assert told["entity_f1"] == pytest.approx(2 * right.sum() / (found.sum() + true.sum()))
    low, high = stats.bootstrap(
        (right, found + true), lambda r, n, axis: 2 * r.sum(axis) / n.sum(axis), paired=True, method="percentile",
        n_resamples=4000, rng=0,
    ).confidence_interval  # fmt: skip
    reach = (high - low) / 2
    assert told["entity_f1_95"] == {
        "low": pytest.approx(low, abs=reach / 8), "high": pytest.approx(high, abs=reach / 8)
    }  # fmt: skip
