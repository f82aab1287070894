"""Pictures and tokens a second on one GPU: labwright beside a loop written by hand around the same model.

Both train a ResNet and a GPT with cross-entropy and a fused AdamW, in fp32, in bf16, and in bf16 compiled, from rows in
pinned memory; the last line is labwright with its weights sharded over this one process, where labwright-sharded is
there. Wall time of training steps alone, after some that warm up and compile; the device is waited for at both ends.
Rounds are interleaved, figures are medians, ratios are medians of those within a round.

On a machine with a GPU, with nothing else running: `.venv/bin/python benchmarks/gpu.py --out benchmarks/GPU.md`, some
six minutes. `--device cpu --steps 4 --small` shows that it runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import labwright as lw
import torch
from labwright_vision.models.resnet import ResNet
from loops.labwright_loop import Made, NextToken
from loops.models import GPT
from loops.work import Job, Work, loss_of
from torch import Tensor, nn
from torch.utils.data import TensorDataset

WARM = 10  # steps before time counts
FORMS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "bf16, compiled": {"precision": "bf16", "compile": True},
}
SHARDED = {"precision": "bf16", "shard": "parameters"}


@dataclass(frozen=True)
class Case:
    """What is trained: its title, its work, what a sample counts, its rows, and its model anew."""

    title: str
    work: Work
    unit: str
    per_sample: int
    rows: Callable[[int], tuple[Tensor, Tensor]]
    model: Callable[[], nn.Module]

    def data(self) -> TensorDataset:
        inputs, targets = self.rows(self.work.rows)
        pin = torch.cuda.is_available()
        return TensorDataset(inputs.pin_memory() if pin else inputs, targets.pin_memory() if pin else targets)


def pictures(side: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    def rows(count: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, 3, side, side, generator=generator), torch.randint(10, (count,), generator=generator)

    return rows


def tokens(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = (torch.randint(0, 65, (count, 1), generator=generator) + 7 * torch.arange(65)) % 65
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def cases(*, small: bool) -> dict[str, Case]:
    side, batch = (32, 8) if small else (128, 256)
    resnet = Work("resnet", "adamw", 1e-3, rows=4 * batch, batch_size=batch, epochs=1)
    gpt = Work("gpt", "adamw", 1e-3, rows=4 * batch, batch_size=batch, epochs=1)
    return {
        "resnet": Case(
            f"`vision/resnet`, pictures of 3x{side}x{side}, batch {batch}",
            resnet,
            "pictures",
            1,
            pictures(side),
            lambda: ResNet(lw.Image(3, side, side), lw.Classes(tuple("0123456789"))),
        ),
        "gpt": Case(f"GPT of 4 blocks, width 128, context 64, batch {batch}", gpt, "tokens", 64, tokens, GPT),
    }


class Clock:
    """When the first measured step began, and the last one had ended."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps, self.done, self.begun, self.seconds = steps, 0, 0.0, 0.0
        self.wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        self.done += 1
        if self.done == WARM:
            self.wait()
            self.begun = time.perf_counter()
        elif self.done == WARM + self.steps:
            self.wait()
            self.seconds = time.perf_counter() - self.begun


def by_labwright(case: Case, form: dict[str, Any], device: torch.device, clock: Clock) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Made(Job(case.work, case.data(), 1, Path(folder)))
        lw.Experiment(
            task=NextToken(data) if case.work.model == "gpt" else {"name": "classification", "data": data},
            model=case.model(),
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": case.work.lr},
            device={"name": device.type, **form},
            log=(),
            train={"steps": WARM + clock.steps, "batch_size": case.work.batch_size},
        ).run(Path(folder) / "run", listeners=[clock])


def by_hand(case: Case, form: dict[str, Any], device: torch.device, clock: Clock) -> None:
    model = case.model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.work.lr, fused=True)
    forward = torch.compile(model) if form.get("compile") else model
    precision = torch.autocast(device.type, torch.bfloat16) if "precision" in form else nullcontext()
    for inputs, targets in _batches(case, device, WARM + clock.steps):
        optimizer.zero_grad()
        with precision:
            loss = loss_of(forward(inputs), targets)
        loss.backward()
        optimizer.step()
        clock.labwright_step_ended()


def _batches(case: Case, device: torch.device, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, targets = case.data().tensors
    for step in range(steps):
        rows = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(step))[: case.work.batch_size]
        yield inputs[rows].to(device, non_blocking=True), targets[rows].to(device, non_blocking=True)


def contenders() -> dict[str, tuple[Callable[..., None], dict[str, Any]]]:
    """Each form by hand and by labwright, one after the other."""
    both = {
        f"{who}, {name}": (fit, form)
        for name, form in FORMS.items()
        for who, fit in (("by hand", by_hand), ("labwright", by_labwright))
    }
    return both | ({"labwright, bf16, sharded": (by_labwright, SHARDED)} if find_spec("labwright_sharded") else {})


def table(case: Case, seen: dict[str, list[float]]) -> str:
    """Medians, and the ratio to the loop by hand of the same form and round."""
    rows = [f"| {case.title} | {case.unit} a second | to by hand |", "| --- | ---: | ---: |"]
    for name, figures in seen.items():
        beside = seen.get(f"by hand, {name.partition(', ')[2]}", seen["by hand, bf16"])
        ratios = [figure / other for figure, other in zip(figures, beside, strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        rows.append(f"| {name} | {statistics.median(figures):,.0f} | {spread} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only", default="resnet,gpt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="that are measured, after 10 that aren't")
    parser.add_argument("--small", action="store_true", help="small pictures and batches")
    parser.add_argument("--out", type=Path, help="where the tables go, such as GPU.md")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; --device cpu shows that it runs.")
    tables = []
    for key in options.only.split(","):
        case = cases(small=options.small)[key]
        seen: dict[str, list[float]] = {name: [] for name in contenders()}
        for number in range(1, options.rounds + 1):
            for name, (fit, form) in contenders().items():
                torch.manual_seed(0)
                torch.compiler.reset()
                clock = Clock(options.steps, device)
                fit(case, form, device, clock)
                samples = options.steps * case.work.batch_size
                seen[name].append(samples * case.per_sample / clock.seconds)
                print(f"round {number}  {key}  {name}: {seen[name][-1]:,.0f} a second", file=sys.stderr, flush=True)
        tables.append(table(case, seen))
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU"
    text = "\n\n".join(
        [
            "# One GPU\n\n" + (__doc__ or "").partition("\n\nOn a machine")[0].split("\n\n", 1)[1],
            *tables,
            f"{name}, torch {torch.__version__}; {options.rounds} rounds, the ratios with the least and the largest.\n",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
