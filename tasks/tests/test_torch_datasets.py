"""Datasets of PyTorch and Hugging Face as data: what is seen in them, the same losses as tensors', exact resumption."""

from __future__ import annotations

import random

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import LabwrightError
from labwright_tasks.torch_datasets import Datasets
from labwright_testing.verify_resume import verify_resume
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

CHANCE = torch.Generator().manual_seed(0)
X, Y = torch.randn(120, 3, generator=CHANCE), torch.arange(120) % 3


class Stretched(Dataset):
    """Points that are stretched by chance, in all three ways that datasets draw."""

    def __len__(self) -> int:
        return 120

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        factor = 1 + 0.1 * (torch.rand(()) + random.random() + float(np.random.rand()))
        return X[index] * factor, int(Y[index])


class Tensors(lw.Data):
    """The same points as tensors."""

    item, target, source, licence = lw.Features, lw.Classes, "made by a test", "none needed"

    def prepare(self) -> None: ...

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((3,)), lw.Classes(("0", "1", "2"))

    def split(self, name: str) -> lw.TensorSplit | None:
        rows = {"train": slice(0, 90), "valid": slice(90, 120)}.get(name)
        return None if rows is None else lw.TensorSplit((X[rows],), Y[rows])


def experiment(data: object) -> lw.Experiment:
    torch.manual_seed(0)  # the model's weights are those it is given with
    return lw.Experiment(
        task={"name": "classification", "data": data},
        model=nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)),
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 0.01},
        device={"name": "cpu", "threads": 1},
        train={"epochs": 2, "batch_size": 16, "log_every": 1},
        log=[],
    )


def test_losses_are_those_of_the_same_tensors_as_data(tmp_path):
    parts = TensorDataset(X[:90], Y[:90]), TensorDataset(X[90:], Y[90:])
    run = experiment(Datasets(parts[0], valid=parts[1])).run(tmp_path / "datasets")
    same = experiment(Tensors).run(tmp_path / "tensors")
    assert run.metrics["valid"] == same.metrics["valid"]
    for ours, theirs in zip(run.model.parameters(), same.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_of_augmented_samples_resumes_exactly(tmp_path):
    assert verify_resume(experiment(Datasets(Stretched())), 6).exact


def test_a_sample_depends_on_seed_epoch_and_number_and_the_global_generators_stay():
    data = Datasets(Stretched())
    data.prepare()
    part = data.split("train")
    assert part is not None
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = torch.rand(()), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    there = part.fetch(torch.tensor([3, 5]), 0, 7).inputs[0]
    assert (torch.rand(()), random.random(), np.random.rand()) == before
    back = part.fetch(torch.tensor([5, 9, 3]), 0, 7).inputs[0]
    assert torch.equal(there, back[[2, 0]])
    assert not torch.equal(there, part.fetch(torch.tensor([3, 5]), 1, 7).inputs[0])


def test_shares_are_held_out_and_no_sample_is_in_two_parts():
    data = Datasets(TensorDataset(X, Y), valid=0.2, test=0.1)
    data.prepare()
    numbers = [set(data.split(name).numbers.tolist()) for name in ("train", "valid", "test")]  # type: ignore[union-attr]
    assert [len(part) for part in numbers] == [84, 24, 12]
    assert set.union(*numbers) == set(range(120))
    assert data.place("valid", 0) == f"train[{min(numbers[1])}]"


def test_what_a_dataset_holds_is_seen_from_a_sample():
    grey = [(Image.fromarray(np.full((4, 6), 255, np.uint8)), n % 2) for n in range(10)]
    data = Datasets(grey)
    assert data.ports() == (lw.Image(1, 4, 6), lw.Classes(("0", "1")))
    data.prepare()
    assert data.split("train").fetch(torch.tensor([0]), 0, 0).inputs[0].max() == 1.0  # type: ignore[union-attr]
    assert Datasets([(np.zeros(5, np.float64), 0.5)] * 10).ports() == (lw.Features((5,)), lw.Values(1))
    named = Subset(type("Named", (Stretched,), {"classes": ["x", "y", "z"]})(), range(30))
    assert Datasets(named).ports()[1] == lw.Classes(("x", "y", "z"))


def test_a_set_of_hugging_face_is_read_with_the_names_of_its_classes():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "x": datasets.List(datasets.Value("float32")),
            "y": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    rows = {"id": list(range(20)), "x": X[:20].tolist(), "y": [n % 2 for n in range(20)]}
    data = Datasets(datasets.Dataset.from_dict(rows, features=features), columns=("x", "y"), valid=0.0)
    assert data.ports() == (lw.Features((3,)), lw.Classes(("no", "yes")))
    data.prepare()
    part = data.split("train")
    assert isinstance(part, lw.Labelled) and part.labels.tolist() == rows["y"]
    assert torch.equal(part.fetch(torch.arange(20), 0, 0).inputs[0], X[:20])  # type: ignore[attr-defined]


def test_an_iterable_set_is_read_into_memory_and_that_is_told():
    class Streamed(IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y.tolist(), strict=True))

    data = Datasets(Streamed())
    data.prepare()
    assert data.remarks()[0] == "train gives no sample by its number: its 120 are in memory."
    assert len(data.split("train")) + len(data.split("valid")) == 120  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda: Datasets(DataLoader(TensorDataset(X, Y))),
            "a DataLoader decides itself about order.*train=loader.dataset",
        ),
        (lambda: Datasets(3), "train: given 3; it is a dataset"),
        (lambda: Datasets([1, 2]), "sample 0 is a int; it is a pair"),
        (lambda: Datasets(TensorDataset(X, Y), valid=1.5), "valid: given 1.5; it is a dataset, or a share below 1"),
        (lambda: Datasets([{"x": X[0], "y": 0, "z": 1}]), "a sample has x, y, z: say which two"),
        (lambda: Datasets([{"x": X[0], "y": 0}], columns=("x", "label")), "a sample has no 'label'"),
        (lambda: Datasets([(torch.tensor([1, 2]), 0)]), "may be many things: say which by ports"),
        (lambda: Datasets([("text", 0)]), "a str is no tensor, array, number or picture"),
        (lambda: Datasets([(X[0], torch.zeros(2, 2))]), "a target of shape"),
    ],
)
def test_what_is_no_data_is_refused(given, said):
    with pytest.raises(LabwrightError, match=said):
        given()


def test_inputs_of_other_sizes_are_refused_with_their_number():
    data = Datasets([(torch.zeros(3), 0), (torch.zeros(4), 1)], valid=0.0)
    data.prepare()
    with pytest.raises(LabwrightError, match=r"train\[1\]: its input has shape \(4,\), another's of its batch \(3,\)"):
        data.split("train").fetch(torch.tensor([0, 1]), 0, 0)  # type: ignore[union-attr]


def test_labels_that_a_transform_changes_are_those_that_are_learned():
    class Turned(Stretched):
        targets = Y.tolist()
        target_transform = staticmethod(lambda label: 2 - label)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return X[index], self.target_transform(int(Y[index]))

    data = Datasets(Turned(), valid=0.0)
    data.prepare()
    part = data.split("train")
    assert part.labels.tolist() == part.fetch(torch.arange(120), 0, 0).targets.tolist() == (2 - Y).tolist()  # type: ignore[union-attr]
