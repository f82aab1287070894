"""Small data that tests make themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import labwright as lw
import pytest
import torch
from labwright import Batch, Classes, Data, Features, Image, Plugins, Port, Values
from labwright.cli import main
from torch import Tensor


class Rows:
    """A split of tensors in memory."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        return Batch((self.inputs[indices],), self.targets[indices])


class Made(Data):
    """Data made of one pair of tensors for each split."""

    item: ClassVar[type[Port]] = Features
    target: ClassVar[type[Port]] = Classes
    source = "made up"
    licence = "CC0"

    def __init__(self, parts: dict[str, tuple[Tensor, Tensor]], ports: tuple[Port, Port]) -> None:
        self.parts, self.offered = parts, ports
        self.target = type(ports[1])  # type: ignore[misc]

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return self.offered

    def split(self, name: str) -> Rows | None:
        return Rows(*self.parts[name]) if name in self.parts else None


@pytest.fixture
def classes() -> Callable[..., Made]:
    """`classes(labels, names="abc")`: random pictures 1x4x4 with these labels, as train and test."""

    def make(labels: list[int], names: str = "abc") -> Made:
        x = torch.rand(len(labels), 1, 4, 4, generator=torch.Generator().manual_seed(0))
        y = torch.tensor(labels)
        return Made({"train": (x, y), "test": (x, y)}, (Image(1, 4, 4), Classes(tuple(names))))

    return make


@pytest.fixture
def values() -> Made:
    """100 rows of 3 features and 2 targets."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 3, generator=generator), 1000 + torch.randn(100, 2, generator=generator)
    return Made({"train": (x, y), "test": (x, y)}, (Features((3,)), Values(2)))


MADE = Path(__file__).parent / "made"


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The installed plugins and that of made/labels.py."""
    return Plugins.discover(local=[MADE / "labels.py"])


@pytest.fixture
def made(plugins: Plugins) -> Callable[..., lw.Experiment]:
    """`made("shapes", "train.epochs=1")`: the experiment of a recipe beside made/labels.py."""

    def experiment(recipe: str, *overrides: str) -> lw.Experiment:
        return lw.Experiment.from_recipe(str(MADE / f"{recipe}.toml"), overrides, plugins=plugins)

    return experiment


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`command("evaluate", "run")`: the exit code and what labwright printed and said, with the plugin of made/."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", "--plugin", str(MADE / "labels.py"), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return called
