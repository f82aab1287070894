"""Runs that several processes train together, in double precision: `torchrun ... divided.py FOLDER [CASE ...]`.

Each is a function of nothing that gives the settings of an experiment: one process and several get the same ones.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import labwright as lw
import torch
from parts import Blobs, Duel, Hinge, Net, Pair, Sorting
from safetensors.torch import save_file
from torch import Tensor, nn

STEPS = 9
TRAIN = {"steps": STEPS, "batch_size": 30, "evaluate_every": "3 steps", "log_every": 2}  # of 83: 30, 30 and 23


class Doubles(Blobs):
    """83 points in double precision, with noise anew in each epoch."""

    def __init__(self, *, size: int = 83) -> None:
        super().__init__(size=size, noise=0.3, held_out=61)

    def prepare(self) -> None:
        super().prepare()
        for split in self.splits.values():
            split.x_ND = split.x_ND.double()

    def on(self, path: Path) -> Doubles:
        """As many other points as a file says."""
        other = copy(self)
        points = self._points(int(path.read_text()), 0.0, torch.Generator().manual_seed(8))
        points.x_ND = points.x_ND.double()
        other.splits = {"test": points}
        return other


class Plain(nn.Module):
    """Two layers, one that is never used, and one that only the third class of a batch goes through."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs.shape[0], 8), self.between(), nn.Tanh())
        self.unused, self.seldom = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, len(outputs.names))
        self.double()

    def between(self) -> nn.Module:
        return nn.Identity()

    def forward(self, x_BD: Tensor) -> Tensor:
        h_BD = self.body(x_BD)
        some = x_BD[:, 2] > 3.5
        if bool(some.any()):
            h_BD = torch.where(some[:, None], h_BD + self.seldom(h_BD), h_BD)
        return self.head(h_BD)


class Normed(Plain):
    def between(self) -> nn.Module:
        return nn.BatchNorm1d(8)


class PlainPair(Pair):
    """A generator and a critic that draw nothing."""

    def __init__(self, inputs: lw.Features) -> None:
        super().__init__(inputs)
        self.critic = nn.Sequential(nn.Linear(inputs.shape[0], 8), nn.Tanh(), nn.Linear(8, 1))
        self.double()


class ByLength(Sorting):
    """Points that lie alike meet in a batch, as texts of like length do."""

    def order(self, split: str, part: Any, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        batches = super().order(split, part, size=size, seed=seed, epoch=epoch)
        lengths = (part.x_ND[:, 0] * 100).long()
        return lw.bucketed(batches, lengths, seed=seed, epoch=epoch) if split == "train" else batches


class Drawing(Sorting):
    """Adds noise that is drawn for a whole batch."""

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        (x_BD,) = batch.inputs
        return lw.Batch((x_BD + torch.randn(x_BD.shape, generator=generator, dtype=x_BD.dtype),), batch.targets)


class Compound(Sorting):
    """Two named parts."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:  # type: ignore[override]
        logits = model(*batch.inputs)
        return {"class": criterion(logits, batch.targets), "size": 0.1 * logits.square().mean()}


def settings(task: Callable[[lw.Data], lw.Task] = Sorting, *, size: int = 83, **changed: Any) -> dict[str, Any]:
    plain = {"model": Plain, "loss": nn.CrossEntropyLoss(), "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.9}}
    changed["device"] = {"name": "cpu"} | changed.get("device", {})
    changed["train"] = TRAIN | changed.get("train", {})
    return {"task": task(Doubles(size=size)), **plain, "log": ()} | changed


def duel(data: lw.Data) -> lw.Task:
    return Duel(data, critic_steps=2)


WEIGHTED = torch.tensor([1.0, 10.0, 0.5], dtype=torch.float64)
GROUPS = {"body.*": {"frozen": True, "unfreeze": "4 steps"}}
CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": settings,
    "accumulated": lambda: settings(device={"accumulate": 2}),
    "fewer-samples-than-processes": lambda: settings(size=61, device={"accumulate": 5}),  # 30, 30 and 1
    "clipped": lambda: settings(train={"clip": 0.1}),
    "averaged": lambda: settings(train={"ema": 0.8}),
    "ending-with-the-best": lambda: settings(train={"final": "best"}),
    "adamw": lambda: settings(optimizer={"name": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 0.2}),
    "two-phases": lambda: settings(duel, model=PlainPair, loss=Hinge()),
    "by-length": lambda: settings(ByLength),
    "drawing": lambda: settings(Drawing, device={"accumulate": 2}),
    "compound": lambda: settings(Compound),
    "frozen": lambda: settings(optimizer={"name": "adamw", "lr": 0.01, "groups": GROUPS}),
    "weighted": lambda: settings(loss=nn.CrossEntropyLoss(weight=WEIGHTED)),
    "penalised": lambda: settings(loss={"name": "penalized", "loss": "cross-entropy", "l2": 0.01}),
    "normalised": lambda: settings(model=Normed, device={"sync_batch_norm": True}),
    "sam": lambda: settings(method="sam"),
    "pcgrad": lambda: settings(Compound, method="pcgrad", device={"accumulate": 2}),
}


def train(folder: Path, names: Sequence[str] = (), until: int | None = None) -> None:
    """Train cases, all if none is named, and keep the weights that each ends with; go on with those that were begun."""
    torch.set_default_dtype(torch.float64)
    for name in names or CASES:
        experiment, run = lw.Experiment(**CASES[name]()), folder / name
        trainer = experiment.resumed(run)[0] if run.exists() else experiment.trainer(run)
        trainer.fit(until)
        # of sharded ones each process has a part
        state = {key: getattr(one, "full_tensor", one.clone)() for key, one in trainer.model.state_dict().items()}
        if lw.ranks.first():
            save_file(state, folder / f"{name}.safetensors")
    torch.set_default_dtype(torch.float32)


class Dies:
    """Kills a process in each of the first attempts of torchrun, at a step and on a process drawn by chance."""

    def __init__(self, kills: int) -> None:
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        chance = random.Random(attempt)
        self.at, who = chance.randint(1, 5), chance.randrange(lw.ranks.count())
        self.mine = attempt < kills and who == lw.ranks.number()

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        self.at -= 1
        if self.at == 0 and self.mine:
            os.kill(os.getpid(), signal.SIGKILL)

    labwright_step_ended.every_process = True  # type: ignore[attr-defined]


def die_and_go_on(folder: Path, kills: int) -> None:
    """Train one run of 60 steps with dropout, averages and BatchNorm through so many kills."""
    lw.ranks.join()
    train = {"steps": 60, "batch_size": 30, "ema": 0.9, "save_every": "2 steps", "evaluate_every": "7 steps"}
    experiment = lw.Experiment(**settings(model=Net, train=train, task=lambda data: Sorting(Blobs(noise=0.3))))
    begun = list((folder / "run").glob("checkpoints/step-*"))
    if begun:
        experiment.resumed(folder / "run", listeners=[Dies(kills)])[0].fit()
    else:
        if lw.ranks.first():
            shutil.rmtree(folder / "run", ignore_errors=True)
        experiment.run(folder / "run", listeners=[Dies(kills)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    verb, folder, *rest = sys.argv[1:]
    match verb:
        case "train":
            train(Path(folder), rest)
        case "until-4":
            train(Path(folder), rest, until=4)
        case "die":
            die_and_go_on(Path(folder), int(rest[0]))
    lw.ranks.leave()
