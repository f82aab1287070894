"""The runs of the core's divided.py with sharded parameters: `torchrun ... sharded_runs.py VERB FOLDER [CASE ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import divided
import labwright as lw
import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REFUSED = ("sam", "pcgrad")
ALL = divided.CASES
WHOLE = {name: case for name, case in ALL.items() if name not in REFUSED}
WHOLE["adam-averaged"] = lambda: divided.settings(optimizer={"name": "adam", "lr": 0.01}, train={"ema": 0.8})


def sharded(settings: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    """Settings with their device's sharded, by the blocks that every process goes through."""
    return settings | {
        "device": {"name": "sharded/parameters", "on": settings["device"], **(blocks or {"blocks": ["Sequential"]})}
    }


def _sharded(case: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    return lambda: sharded(case())


CASES = {name: _sharded(case) for name, case in WHOLE.items()}
CASES["by-size"] = lambda: sharded(WHOLE["two-phases"](), smallest=40)  # of its layers, three
CASES["recomputed"] = lambda: sharded(WHOLE["accumulated"](), blocks=["Sequential"], recompute=True)
CASES["offloaded"] = lambda: sharded(WHOLE["adam-averaged"](), blocks=["Sequential"], offload=True)
CASES["in-the-background"] = lambda: sharded(WHOLE["ending-with-the-best"](), save_async=True)
CASES["without-blocks"] = lambda: sharded(divided.settings(), blocks=[])


for name in ("recomputed", "offloaded", "in-the-background"):
    WHOLE[name] = WHOLE[{"recomputed": "accumulated", "offloaded": "adam-averaged"}.get(name, "ending-with-the-best")]


class Floats(divided.Plain):
    """In single precision; notes in which its weights come."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.float()
        self.seen: set[str] = set()

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        self.seen.add(str(self.head.weight.dtype))  # which is in no block
        return super().forward(x_BD)


def rounded(folder: Path, precision: str) -> None:
    """Train one run in lower precision, and write in which its weights came and what they are in the end."""
    settings = divided.settings(
        lambda _: divided.Sorting(divided.Blobs(size=83, noise=0.3, held_out=61)),
        model=Floats,
        optimizer={"name": "adamw", "lr": 0.01},
        device={"precision": precision},
        train={"clip": 1.0},
    )
    run = lw.Experiment(**sharded(settings)).run(folder / "run")
    whole = {name: getattr(one, "full_tensor", lambda one=one: one)() for name, one in run.model.state_dict().items()}
    if lw.ranks.first():
        weights = {name: weight.tolist() for name, weight in whole.items()}
        (folder / "rounded.json").write_text(json.dumps({"seen": sorted(run.model.seen), "weights": weights}))


class Sizes:
    """What each process holds of the parameters, and of what is kept of each of them."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.held: dict[str, Any] = {}

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        parameters = list(self.trainer.model.parameters())
        (phase_step,) = self.trainer.phase_steps
        state = [
            slots[slot] for slots in phase_step.optimizer.state_dict().values() for slot in ("exp_avg", "exp_avg_sq")
        ]
        tensors = {"parameters": parameters, "average": phase_step.average, "state": state}
        self.held = {name: sum(one.to_local().numel() for one in some) for name, some in tensors.items()}

    labwright_step_ended.every_process = True  # type: ignore[attr-defined]


def sizes(folder: Path) -> None:
    """Train one run, and write what each process held, and what the first has in the end, alone."""
    torch.set_default_dtype(torch.float64)
    listener = Sizes()
    settings = sharded(divided.settings(optimizer={"name": "adamw", "lr": 0.01}, train={"ema": 0.9}))
    trainer = lw.Experiment(**settings).trainer(folder / "run", listeners=[listener])
    listener.trainer = trainer
    trainer.fit()
    held = lw.ranks.gathered(listener.held)
    with trainer.run.calling():
        answer = trainer.model.head(trainer.model.body(torch.ones(2, 4))).tolist()  # some children, by all of them
    after = lw.ranks.gathered(sum(one.to_local().numel() for one in trainer.model.parameters()))
    if lw.ranks.first():
        (folder / "sizes.json").write_text(json.dumps({"held": held, "after": after, "answer": answer}))


class Deep(nn.Module):
    """Twelve blocks that hold nearly all of its parameters."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs.shape[0], 36)
        self.blocks = nn.Sequential(*(Block() for _ in range(12)))
        self.head = nn.Linear(36, len(outputs.names))

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x_BD)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 36)

    def forward(self, x_BW: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x_BW))


class Looking(divided.Sorting):
    """Its report calls the model, and a child of it."""

    def report(self, model: nn.Module, split: str, device: torch.device) -> list[lw.Text]:
        x_BD = torch.ones(2, 4, device=device)
        assert isinstance(model, Deep)
        same = torch.equal(model(x_BD), model.head(model.blocks(model.stem(x_BD))))
        return [lw.Text("Looked at", [f"{split}: {same}"])]


class Peak(TorchDispatchMode):
    """The most bytes that tensors held at a time, of those that any operation took or made."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: WeakValueDictionary[int, torch.UntypedStorage] = WeakValueDictionary()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # what it holds comes by itself
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, made)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = storage
        self.most = max(self.most, sum(storage.size() for storage in list(self.alive.values())))
        return made


def peak(folder: Path) -> None:
    """Train a run of 4 steps, or go on with it to 8; write the most bytes that each process held, in parameters."""
    torch.set_default_dtype(torch.float64)
    train = {
        "steps": 4,
        "batch_size": 4,
        "ema": 0.9,
        "final": "best",
        "save_every": "2 steps",
        "evaluate_every": "2 steps",
    }
    settings = divided.settings(Looking, model=Deep, optimizer={"name": "adamw", "lr": 0.01}, train=train)
    settings |= {"log": ["report"]}
    with Peak() as begun:
        if (folder / "run").exists():
            settings["train"]["steps"] = 8
            trainer = lw.Experiment(**sharded(settings, blocks=["Block"])).resumed(folder / "run")[0]
        else:
            trainer = lw.Experiment(**sharded(settings, blocks=["Block"])).trainer(folder / "run")
    with Peak() as trained:
        trainer.fit()
    size = 8 * sum(one.numel() for one in trainer.model.parameters())
    most = lw.ranks.gathered({"begun": begun.most / size, "trained": trained.most / size})
    if lw.ranks.first():
        (folder / f"peak-{settings['train']['steps']}.json").write_text(json.dumps(most))


if __name__ == "__main__":
    torch.set_num_threads(1)
    verb, given, *names = sys.argv[1:]
    folder = Path(given)
    divided.CASES = WHOLE if verb == "whole" else CASES
    started = {"start": {"run": str(folder / "plain")}, "train": divided.TRAIN | {"steps": 2}}
    CASES["started"] = lambda: sharded(divided.settings()) | started
    match verb:
        case "train" | "whole":
            divided.train(folder, names)
        case "until-4":
            divided.train(folder, names, until=4)
        case "sizes":
            sizes(folder)
        case "peak":
            peak(folder)
        case "rounded":
            for name in names:
                rounded(folder / name, name)
        case "refused":
            for name in names:
                try:
                    lw.Experiment(**sharded(ALL[name]())).trainer(folder / "run")
                except lw.LabwrightError as error:
                    print(f"{name}: {error}")
        case "die":
            plain = divided.settings
            divided.settings = lambda **changed: sharded(plain(**changed), blocks=["Sequential"], save_async=True)
            divided.die_and_go_on(folder, int(names[0]))
    lw.ranks.leave()
