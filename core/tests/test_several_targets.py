"""Batches whose targets are a dict by head: cut, moved, fetched by workers and told apart as tensors are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from labwright.data.summary import read_summary, summarised
from parts import Blobs, Sorting
from torch import Tensor, nn


class Twofold(Blobs):
    """Blobs with a second target: the sum of a point's coordinates."""

    target = lw.Heads  # type: ignore[assignment]

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((4,)), lw.Heads({"blob": lw.Classes(("a", "b", "c")), "sum": lw.Values(1)})

    def split(self, name: str) -> Any:
        part = super().split(name)
        if part is None:
            return None
        return lw.TensorSplit((part.x_ND,), {"blob": part.y_N, "sum": part.x_ND.sum(1, keepdim=True)})


class TwofoldElsewhere(Twofold):
    """The same, fetched by loader workers."""

    in_memory = False


class Both(Sorting):
    """The sum of two losses, by name."""

    def port_types(self) -> tuple[type[lw.Port], type[lw.Port]]:
        return lw.Features, lw.Heads

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        given = model(*batch.inputs)
        far = (given["sum"] - batch.targets["sum"]).square().mean()
        return {"blob": criterion(given["blob"], batch.targets["blob"]), "sum": far / 10}

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        return model(*batch.inputs)["blob"], batch.targets["blob"]


class Forked(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Heads) -> None:
        super().__init__()
        self.blob, self.sum = nn.Linear(inputs.shape[0], 3), nn.Linear(inputs.shape[0], 1)

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        return {"blob": self.blob(x_BD), "sum": self.sum(x_BD)}


def trained(folder: Path, data: lw.Data, **device: Any) -> dict[str, Tensor]:
    settings: dict[str, Any] = {
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"steps": 6, "batch_size": 30},
        "device": {"name": "cpu", **device},
    }
    run = lw.Experiment(task=Both(data), model=Forked, loss="cross-entropy", log=(), **settings).run(folder)
    return run.model.state_dict()


def batch() -> lw.Batch:
    return lw.Batch((torch.arange(6.0)[:, None],), {"a": torch.arange(6), "b": torch.arange(12.0).view(6, 2)})


def test_rows_are_cut_from_each_target() -> None:
    some = batch().rows(slice(2, 4))
    assert some.targets["a"].tolist() == [2, 3] and some.targets["b"].tolist() == [[4.0, 5.0], [6.0, 7.0]]
    with pytest.raises(lw.LabwrightError, match=r"a batch's 'targets\.a' has no row for each of its 6 samples"):
        lw.Batch(batch().inputs, {"a": torch.arange(5)}).rows(slice(0, 2))


def test_each_target_is_moved_along() -> None:
    assert {name: tensor.device.type for name, tensor in batch().to(torch.device("meta")).targets.items()} == {
        "a": "meta",
        "b": "meta",
    }


def test_workers_and_accumulation_change_nothing(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", Twofold())
    fetched = trained(tmp_path / "fetched", TwofoldElsewhere(), workers=1)
    cut = trained(tmp_path / "cut", Twofold(), accumulate=3)
    for name, value in whole.items():
        assert torch.equal(fetched[name], value), name
        torch.testing.assert_close(cut[name], value, rtol=0, atol=1e-6)


def test_data_with_another_target_of_one_head_is_told_apart(tmp_path: Path) -> None:
    class Otherwise(Twofold):
        def split(self, name: str) -> Any:
            split = super().split(name)
            split.labels["sum"][0] += 1
            return split

    def summary(data: lw.Data) -> Any:
        data.prepare()
        return summarised(data)

    summary(Twofold()).write(tmp_path)
    kept = read_summary(tmp_path) or {}
    assert summary(Twofold()).differences(kept) == []
    assert summary(Otherwise()).differences(kept, ["train"]) == ["train holds other samples, as many as before"]


def test_a_part_that_takes_another_port_than_it_is_given_is_refused_with_its_place() -> None:
    class Around(nn.Module):
        def __init__(self, inputs: lw.Features, outputs: lw.Heads, *, inner: Annotated[Any, lw.Part("model")]) -> None:
            super().__init__()
            self.inner = inner(inputs=inputs, outputs=outputs)

    class Inner(nn.Module):
        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__()

    experiment = lw.Experiment(
        task=Both(Twofold()),
        model={"name": Around, "inner": Inner},
        loss="cross-entropy",
        optimizer="sgd",
        train={"steps": 1},
    )
    with pytest.raises(lw.LabwrightError, match=r"model\.inner: model 'Inner' returns Classes; here it is given"):
        experiment.build()
