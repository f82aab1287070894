"""The core's metrics against closed forms and scikit-learn, and what evaluating does and leaves as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.base.errors import LabwrightError
from labwright.base.isolation import isolated
from labwright.base.seeding import derived_seed
from labwright.data.dataset import Data, Split
from labwright.data.ports import Classes, Features, Port
from labwright.interfaces.task import Goal, Metric, Task, figures
from labwright.train.evaluation import evaluate
from labwright.train.metrics import Accuracy, LogLoss, Mean, Of, Perplexity
from labwright.train.preflight import preflight
from labwright.train.settings import Train
from parts import Points
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]


class Blobs(Data):
    """Random rows of four features with one of three labels; `test` is empty."""

    item, target, source, licence = Features, Classes, "made by the test", "none"

    def prepare(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x_ND = torch.randn(101, 4, generator=generator)
        self.labels_N = torch.randint(0, 3, (101,), generator=generator)

    def ports(self) -> tuple[Port, Port]:
        return Features((4,)), Classes(("a", "b", "c"))

    def split(self, name: str) -> Split | None:
        part = {"train": slice(0, 60), "valid": slice(60, 101), "test": slice(0, 0)}.get(name)
        return None if part is None else Points(self.x_ND[part], self.labels_N[part])


class Sorting(Task):
    """Name the label of each row."""

    goal = Goal("accuracy", "maximize")

    def __init__(self) -> None:
        self.data = Blobs()
        self.data.prepare()

    def loss(self, model: nn.Module, batch: Any, criterion: Any, phase: str) -> Tensor:
        return nn.functional.cross_entropy(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...]:
        return model(*batch.inputs), batch.targets

    def metrics(self) -> dict[str, Metric]:
        return {"accuracy": Accuracy(), "nats": LogLoss()}


def small_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))


def uneven(length: int) -> Iterator[slice]:
    """Batches of 1, 2, 3, ... rows."""
    start, size = 0, 1
    while start < length:
        yield slice(start, start + size)
        start, size = start + size, size + 1


# ---------------------------------------------------------------------------------------------------------- metrics


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_accuracy_and_cross_entropy_over_uneven_batches_are_scikit_learns_over_all_rows(device):
    generator = torch.Generator().manual_seed(3)
    logits, labels = torch.randn(200, 7, generator=generator), torch.randint(0, 7, (200,), generator=generator)
    accuracy, nats = Accuracy(), LogLoss()
    for rows in uneven(200):
        accuracy.update(logits[rows].to(device), labels[rows].to(device))
        nats.update(logits[rows].to(device), labels[rows].to(device))
    probabilities = logits.double().softmax(-1).numpy()
    assert accuracy.compute() == accuracy_score(labels.numpy(), logits.argmax(-1).numpy())
    assert nats.compute() == pytest.approx(log_loss(labels.numpy(), probabilities, labels=range(7)), rel=1e-6)


def test_logits_of_no_preference_cost_the_logarithm_of_the_number_of_classes():
    nats = LogLoss()
    nats.update(torch.zeros(5, 11), torch.arange(5))
    assert nats.compute() == pytest.approx(math.log(11), rel=1e-6)


def test_float64_logits_keep_their_precision():
    nats = LogLoss()
    logits = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    nats.update(logits, torch.tensor([1]))
    closed_form = math.log(sum(math.exp(value) for value in logits[0].tolist())) + 0.2
    assert nats.compute() == pytest.approx(closed_form, rel=1e-15)


def test_metrics_take_logits_of_sequences_as_well():
    logits, labels = torch.randn(4, 6, 5), torch.randint(0, 5, (4, 6))
    sequences, rows = (Accuracy(), LogLoss()), (Accuracy(), LogLoss())
    for whole, flat in zip(sequences, rows, strict=True):
        whole.update(logits, labels)
        flat.update(logits.flatten(0, 1), labels.flatten())
        assert whole.compute() == flat.compute()


def test_a_mean_weighs_values_and_not_batches():
    mean = Mean()
    mean.update(torch.tensor([1.0, 2.0, 3.0]))
    mean.update(torch.tensor([10.0]))
    assert mean.compute() == 4.0


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        (torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0]), 2.0),
        (torch.tensor([1.0, 5.0]), torch.tensor(2.0), 3.0),
        (torch.tensor([1.0, 5.0]), 2.0, 3.0),
        (torch.tensor(7.0), 3, 7.0),
        (7.0, 3, 7.0),
        (7.0, torch.tensor([1.0, 2.0]), 7.0),
    ],
)
def test_a_mean_takes_weights_as_numbers_and_as_tensors(values, weights, expected):
    mean = Mean()
    mean.update(values, weights)
    assert mean.compute() == expected
    mean.update(expected + 1.0, float(mean._weight))  # as much again, one higher
    assert mean.compute() == expected + 0.5


def test_a_weight_for_each_of_other_values_is_refused():
    with pytest.raises(RuntimeError):
        Mean().update(torch.ones(4), torch.ones(3))


def test_sums_are_taken_in_float64():
    mean = Mean()
    mean.update(torch.tensor(2.0**24))  # from here on, float32 can't count in ones
    for _ in range(1000):
        mean.update(torch.tensor(1.0))
    assert mean.compute() == (2.0**24 + 1000) / 1001


def test_perplexity_is_the_exponential_of_the_nats_of_a_token():
    perplexity = Perplexity()
    perplexity.update(torch.tensor(3.0), 2)
    perplexity.update(1.5, torch.tensor([3]))
    assert perplexity.compute() == pytest.approx(math.exp(4.5 / 5), rel=1e-15)
    perplexity.update(1e6, 1)
    assert perplexity.compute() == math.inf


@pytest.mark.parametrize("metric", [Mean, Accuracy, LogLoss, Perplexity])
def test_a_metric_is_nan_before_its_first_value_and_after_a_reset(metric):
    fresh = metric()
    assert math.isnan(fresh.compute())
    if metric in (Accuracy, LogLoss):
        fresh.update(torch.randn(3, 2), torch.tensor([0, 1, 1]))
    else:
        fresh.update(torch.tensor(2.0), 1.0)
    assert not math.isnan(fresh.compute())
    fresh.reset()
    assert math.isnan(fresh.compute())


# ------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("size", [1, 7, 41, 64])
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_evaluation_is_scikit_learns_score_of_the_whole_split_whatever_the_batch_size(device, size):
    task, model = Sorting(), small_model().to(device)
    evaluated = evaluate(task, model, "valid", device=device, size=size, seed=0)
    values = evaluated.metrics
    with torch.no_grad():
        logits = model.eval()(task.data.x_ND[60:].to(device)).cpu()
    labels = task.data.labels_N[60:]
    assert values["accuracy"] == accuracy_score(labels, logits.argmax(-1))
    assert values["nats"] == pytest.approx(log_loss(labels, logits.double().softmax(-1)), rel=1e-5)


def test_a_split_that_does_not_exist_is_not_evaluated():
    assert evaluate(Sorting(), small_model(), "holdout", device=CPU, size=8, seed=0) is None


def test_an_empty_split_is_an_error():
    with pytest.raises(LabwrightError, match="Sorting: the 'test' split has no samples"):
        evaluate(Sorting(), small_model(), "test", device=CPU, size=8, seed=0)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_evaluating_leaves_modes_weights_and_generators_as_they_were(device):
    model = small_model().to(device)
    model[1].eval()  # a frozen part stays frozen, the others stay in training
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[0]
    before = (torch.get_rng_state(), generator.get_state())
    evaluate(Drawing(), model, "valid", device=device, size=8, seed=0)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(generator.get_state(), before[1])
    assert torch.is_grad_enabled()


def test_modes_and_generators_come_back_after_an_error_too():
    class Failing(Sorting):
        def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...]:
            torch.rand(1)
            raise ValueError("no")

    model = small_model()
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="no"):
        evaluate(Failing(), model, "valid", device=CPU, size=8, seed=0)
    assert model.training
    assert model[1].training
    assert torch.equal(torch.get_rng_state(), before)


class Drawing(Sorting):
    """Its metric is the mean of what it draws, on the device."""

    goal = Goal("drawn", "maximize")

    def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...]:
        return (torch.rand(len(batch), device=batch.targets.device) + torch.rand(()).item(),)

    def metrics(self) -> dict[str, Metric]:
        return {"drawn": Mean()}


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_an_evaluation_draws_depends_on_the_seed_alone(device):
    def drawn(seed: int) -> float:
        torch.rand(3, device=device)
        return evaluate(Drawing(), small_model(), "valid", device=device, size=8, seed=seed).metrics["drawn"]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_the_generators_start_from_the_derived_seed():
    with isolated(CPU, seed=derived_seed(5, 3)):
        inside = torch.rand(4)
    assert torch.equal(inside, torch.rand(4, generator=torch.Generator().manual_seed(derived_seed(5, 3))))


def test_the_context_of_a_lower_precision_is_entered_for_each_forward_pass():
    dtypes = []

    class Watching(Sorting):
        def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...]:
            logits, labels = super().evaluate(model, batch)
            dtypes.append(logits.dtype)
            return logits, labels

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16)

    low = evaluate(Watching(), small_model(), "valid", device=CPU, size=10, seed=0, autocast=autocast).metrics
    assert dtypes == [torch.bfloat16] * 5
    full = evaluate(Watching(), small_model(), "valid", device=CPU, size=10, seed=0, autocast=lambda: None).metrics
    assert dtypes[5:] == [torch.float32] * 5
    assert low["nats"] == pytest.approx(full["nats"], rel=0.02)  # bfloat16 keeps eight bits
    assert low["nats"] != full["nats"]


class Table(nn.Module):
    """A metric as torchmetrics has them: a module with its sums in buffers, whose result is a table."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.result = result

    def update(self, logits_BC: Tensor, labels_B: Tensor) -> None:
        self.seen += labels_B.numel() + 0 * logits_BC.sum()

    def compute(self) -> Any:
        return self.result(self.seen)

    def reset(self) -> None:
        self.seen.zero_()


def with_metric(result: Any, goal: str = "count/all") -> Task:
    class Counting(Sorting):
        def metrics(self) -> dict[str, Metric]:
            return {"count": Table(result)}

    Counting.goal = Goal(goal, "maximize")
    return Counting()


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_metric_that_gives_a_table_gives_one_number_for_each_entry(device):
    task = with_metric(lambda seen: {"all": seen, "half": {"one": seen / 2}})
    evaluated = evaluate(task, small_model().to(device), "valid", device=device, size=8, seed=0)
    assert evaluated.metrics == {"count/all": 41.0, "count/half/one": 20.5}
    assert all(type(value) is float for value in evaluated.metrics.values())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda seen: torch.ones(3), r"metric 'count' gave a Tensor of shape \(3,\); a metric is one number"),
        (lambda seen: {"all": "many"}, "metric 'count/all' gave a str; a metric is one number"),
        (lambda seen: None, "metric 'count' gave a NoneType"),
    ],
)
def test_a_metric_that_is_no_number_is_an_error(result, message):
    with pytest.raises(LabwrightError, match=message):
        evaluate(with_metric(result), small_model(), "valid", device=CPU, size=8, seed=0)


@pytest.mark.parametrize("goal", ["cuont", "count/al"])
def test_a_goal_that_is_none_of_the_metrics_is_an_error(goal):
    task = with_metric(lambda seen: {"all": seen}, goal)
    with pytest.raises(LabwrightError, match=f"goal, '{goal}', is none of them; did you mean 'count"):
        evaluate(task, small_model(), "valid", device=CPU, size=8, seed=0)


# ------------------------------------------------------------------------------------------- tables, splits, preflight


class Named(Sorting):
    """Evaluates to a table, from which each metric takes its own."""

    def evaluate(self, model: nn.Module, batch: Any) -> dict[str, Any]:
        logits = model(*batch.inputs)
        return {"logits": logits, "labels": batch.targets, "mirrored": -logits}

    def metrics(self) -> dict[str, Metric]:
        return {
            "accuracy": Of(Accuracy(), "logits", "labels"),
            "mirrored": Of(Accuracy(), "mirrored", "labels"),
            "count": Of(Table(lambda seen: seen), "logits", "labels", splits=["train"]),
        }


def test_a_metric_takes_its_own_of_a_table_and_only_on_the_splits_it_names():
    model = small_model()
    plain = evaluate(Sorting(), model, "valid", device=CPU, size=8, seed=0).metrics
    values = evaluate(Named(), model, "valid", device=CPU, size=8, seed=0).metrics
    assert list(values) == ["accuracy", "mirrored"]
    assert values["accuracy"] == plain["accuracy"] != values["mirrored"]
    assert evaluate(Named(), model, "train", device=CPU, size=8, seed=0).metrics["count"] == 60


def test_a_name_that_is_not_in_the_table_is_an_error():
    class Misspelt(Named):
        def metrics(self) -> dict[str, Metric]:
            return {"accuracy": Of(Accuracy(), "logits", "lables")}

    with pytest.raises(LabwrightError, match="labels, logits, mirrored, and no 'lables'; did you mean 'labels'"):
        evaluate(Misspelt(), small_model(), "valid", device=CPU, size=8, seed=0)


@pytest.mark.parametrize("made", [Accuracy, LogLoss, Mean, "torchmetrics"])
def test_a_metric_that_is_given_a_whole_table_is_answered_before_there_is_a_folder(made, tmp_path):
    if made == "torchmetrics":
        library = pytest.importorskip("torchmetrics").classification
        metric = library.MulticlassAccuracy(num_classes=3)
    else:
        metric = made()

    class Bare(Named):
        def __init__(self) -> None:
            super().__init__()
            self.data.split = lambda name: None if name == "test" else Blobs.split(self.data, name)

        def metrics(self) -> dict[str, Metric]:
            return super().metrics() | {"bare": metric}

    words = (
        rf"'bare' can't take the table of labels, logits, mirrored that .* lw\.Of\({type(metric).__name__}\(\), \.\.\."
    )
    with pytest.raises(LabwrightError, match=words):
        experiment(Bare()).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metric_may_take_the_whole_table():
    class Counting(Table):
        def update(self, results: dict[str, Tensor]) -> None:
            self.seen = self.seen + len(results["labels"]) + len(results)

    class Whole(Named):
        def metrics(self) -> dict[str, Metric]:
            return super().metrics() | {"counting": Counting(lambda seen: seen)}

    values = evaluate(Whole(), small_model(), "valid", device=CPU, size=100, seed=0).metrics
    assert values["counting"] == 41 + 3


def test_a_goal_that_is_a_table_is_answered_with_what_is_in_it():
    task = with_metric(lambda seen: {"all": seen}, "count")
    with pytest.raises(LabwrightError, match="its goal, 'count', is none of them; did you mean 'count/all'"):
        evaluate(task, small_model(), "valid", device=CPU, size=8, seed=0)


class Whole(Sorting):
    """The same data without the empty split."""

    def __init__(self) -> None:
        super().__init__()
        self.data.split = lambda name: None if name == "test" else Blobs.split(self.data, name)


def experiment(task: Task) -> lw.Experiment:
    settings = {"optimizer": "sgd", "train": {"epochs": 1, "seed": 0}, "log": []}
    return lw.Experiment(task=task, model=small_model(), device="cpu", **settings)


@pytest.mark.parametrize("fault", [ValueError("no"), LabwrightError("no")])
def test_a_metric_that_breaks_ends_a_run_before_there_is_a_folder(tmp_path, fault):
    class Broken(Whole):
        def metrics(self) -> dict[str, Metric]:
            return {"accuracy": Accuracy(), "broken": Table(self.broken)}

        def broken(self, seen: Tensor) -> float:
            raise fault

    with pytest.raises(LabwrightError, match="no"):
        experiment(Broken()).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_looking_at_the_metrics_before_the_first_step_leaves_no_trace(tmp_path):
    class Counting(Whole):
        """Its model counts what it saw in a buffer."""

        def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...]:
            model[2].running_mean.add_(1.0)
            return super().evaluate(model, batch)

    task = Counting()
    built = experiment(task).build(task=task)
    before = {name: value.clone() for name, value in built.model.state_dict().items()}
    state = torch.get_rng_state()
    preflight(built, Train(epochs=1))
    assert built.notes == [] and set(built.metrics) == {"valid"}
    assert all(torch.equal(value, before[name]) for name, value in built.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and built.model.training


def test_intervals_are_told_beside_their_metrics_with_ends_that_differ() -> None:
    metrics = {"accuracy": 0.99444, "f1/macro": 0.9, "return": 1234.5, "loss": 0.1, "auroc": 1.0}
    ends = {
        "accuracy_95": (0.97997, 0.99848),
        "f1_95/macro": (0.89992, 0.90023),
        "return_95": (1160.2, 1308.8),
        "loss_95": (math.nan, math.nan),
        "auroc_95": (1.0, 1.0),
    }
    metrics |= {
        f"{name}/{end}": one for name, both in ends.items() for end, one in zip(("low", "high"), both, strict=True)
    }
    assert figures(metrics, "f1/macro", "{:.4g}".format) == [
        "f1/macro 0.9 (0.89992 to 0.90023)",
        "accuracy 0.9944 (0.980 to 0.998)",
        "return 1234 (1,160 to 1,309)",
        "loss 0.1",
        "auroc 1",
    ]
    assert (
        lw.interval_of(
            {"class/accuracy": 0.9, "class/accuracy_95/low": 0.8, "class/accuracy_95/high": 1.0}, "class/accuracy"
        )
        == "0.80 to 1.00"
    )
