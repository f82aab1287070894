"""Two processes beside one: samples a second of labwright, of bare DistributedDataParallel, and of what is built on it.

All train the same model with cross-entropy and a fused AdamW, each process with one thread; two divide a batch that is
as large as one's. Wall time of training steps alone, after some that warm up: nothing is evaluated or saved meanwhile.
Rounds are interleaved, figures are medians, ratios are medians of those within a round. Lightning and Accelerate are
left out where they aren't installed; peers.txt has their versions. On a machine with two cores, with nothing else
running: `.venv/bin/python benchmarks/processes.py --out benchmarks/PROCESSES.md`, some four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import labwright as lw
import torch
from labwright_vision.models.cnn import CNN
from loops.labwright_loop import Made, NextToken
from loops.models import GPT
from loops.work import Job, Work, loss_of, make_data
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).resolve().parent
HEADING = "# Two processes beside one"
TIME_LIMIT = 600  # seconds a measurement may take
WARM, MEASURED = 10, 40  # steps; both multiples of EVERY
EVERY = 10  # steps between two lines of labwright's log


@dataclass(frozen=True)
class Case:
    """What is trained: its title, its work, and its model anew."""

    title: str
    work: Work
    model: Callable[[], nn.Module]

    def data(self) -> TensorDataset:
        if self.work.model == "gpt":
            data: TensorDataset = make_data(self.work, HERE)
            return data
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn(self.work.rows, 3, 32, 32, generator=generator)
        return TensorDataset(pictures, torch.randint(10, (self.work.rows,), generator=generator))


CASES = {
    "cnn": Case(
        "`vision/cnn` (2 stages of 2, 32 channels), pictures of 3x32x32, batch 64",
        Work("cnn", "adamw", 1e-3, rows=2048, batch_size=64, epochs=1),
        lambda: CNN(lw.Image(3, 32, 32), lw.Classes(tuple("0123456789"))),
    ),
    "gpt": Case(
        "GPT of 4 blocks, width 128, context 64, batch 16",
        Work("gpt", "adamw", 1e-3, rows=1024, batch_size=16, epochs=1),
        GPT,
    ),
}


# ------------------------------------------------------------------------------------------------- what is measured


class Clock:
    """When which step had ended."""

    def __init__(self) -> None:
        self.ends: dict[int, float] = {}

    def stepped(self, *_: object) -> None:
        self.ends[len(self.ends) + 1] = time.perf_counter()

    @lw.hookimpl
    def labwright_logged(self, step: int) -> None:
        self.ends[step] = time.perf_counter()


def by_labwright(case: Case, folder: Path, clock: Clock) -> None:
    data = Made(Job(case.work, case.data(), 1, folder))
    lw.Experiment(
        task=NextToken(data) if case.work.model == "gpt" else {"name": "classification", "data": data},
        model=case.model(),
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": case.work.lr},
        device="cpu",
        log=(),
        train={"steps": WARM + MEASURED, "batch_size": case.work.batch_size, "log_every": EVERY},
    ).run(folder / "run", listeners=[clock])
    lw.ranks.leave()


def by_hand(case: Case, folder: Path, clock: Clock) -> None:
    register_optimizer_step_post_hook(clock.stepped)
    torch.distributed.init_process_group("gloo")
    number, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model = DistributedDataParallel(case.model())
    optimizer = optimizer_of(case, model)
    inputs, targets = case.data().tensors
    generator = torch.Generator().manual_seed(0)  # the same order on both
    while len(clock.ends) < WARM + MEASURED:
        rows = torch.randperm(len(inputs), generator=generator)[: case.work.batch_size][number::count]
        optimizer.zero_grad()
        loss_of(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    torch.distributed.destroy_process_group()


def by_accelerate(case: Case, folder: Path, clock: Clock) -> None:
    from accelerate import Accelerator

    register_optimizer_step_post_hook(clock.stepped)
    accelerator = Accelerator(cpu=True)
    model = case.model()
    model, optimizer, loader = accelerator.prepare(model, optimizer_of(case, model), loader_of(case))
    while len(clock.ends) < WARM + MEASURED:
        for inputs, targets in loader:
            optimizer.zero_grad()
            accelerator.backward(loss_of(model(inputs), targets))
            optimizer.step()
    accelerator.end_training()


def by_lightning(case: Case, folder: Path, clock: Clock) -> None:
    import lightning
    from loops.lightning_loop import Lean

    class Trained(Lean):
        def __init__(self) -> None:
            lightning.LightningModule.__init__(self)
            self.model = case.model()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer_of(case, self.model)

    register_optimizer_step_post_hook(clock.stepped)
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=WARM + MEASURED, default_root_dir=folder, **off
    )
    trainer.fit(Trained(), loader_of(case))


def optimizer_of(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=case.work.lr, fused=True)


def loader_of(case: Case) -> DataLoader:
    """Of one process's share of a batch."""
    return DataLoader(case.data(), batch_size=case.work.batch_size // 2, shuffle=True)


ONE, TWO, DDP = "labwright, 1 process", "labwright, 2", "bare DDP, 2"
CONTENDERS: dict[str, Callable[[Case, Path, Clock], None]] = {
    ONE: by_labwright,
    TWO: by_labwright,
    DDP: by_hand,
    "Accelerate, 2": by_accelerate,
    "Lightning, 2": by_lightning,
}
NEEDED = {"Accelerate, 2": "accelerate", "Lightning, 2": "lightning"}


def child(case: str, contender: str, folder: Path) -> None:
    """One process of a measurement; the first writes how many samples all of them did in a second."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clock = Clock()
    CONTENDERS[contender](CASES[case], folder, clock)
    if os.environ["RANK"] == "0":
        seconds = clock.ends[WARM + MEASURED] - clock.ends[WARM]
        (folder / "result.json").write_text(json.dumps(MEASURED * CASES[case].work.batch_size / seconds))


# ------------------------------------------------------------------------------------------------------- the rounds


def measured(case: str, contender: str) -> float:
    """Samples a second, in processes of their own. Raises SystemExit if one of them fails."""
    count = 1 if contender == ONE else 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # what torchrun sets; the last is what Lightning knows it by
    around = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_RUN_ID": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", case, contender, folder]
        children = [
            subprocess.Popen(command, env=os.environ | around | {"RANK": str(number), "LOCAL_RANK": str(number)})
            for number in range(count)
        ]
        try:
            codes = [process.wait(TIME_LIMIT) for process in children]
        finally:
            for process in children:
                process.kill()
        if any(codes):
            raise SystemExit(f"{contender} on {case!r} ended with {codes}")
        result: float = json.loads((Path(folder) / "result.json").read_text())
        return result


def table(case: str, seen: dict[str, list[float]]) -> str:
    """Medians, and the ratios to one process of labwright and to bare DDP of the same round."""
    rows = [
        f"| {CASES[case].title} | samples a second | to one process | to bare DDP |",
        "| --- | ---: | ---: | ---: |",
    ]
    for contender, figures in seen.items():
        ratios = []
        for other in (ONE, DDP):
            within = [figure / beside for figure, beside in zip(figures, seen[other], strict=True)]
            spread = f" [{min(within):.2f}, {max(within):.2f}]" if contender != other else ""
            ratios.append(f"{statistics.median(within):.2f}{spread}")
        rows.append(f"| {contender} | {statistics.median(figures):,.0f} | {' | '.join(ratios)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help=f"cases: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, help="where the tables go, such as PROCESSES.md; RESULTS.md then ends with them"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        case, contender, folder = options.child
        child(case, contender, Path(folder))
        return
    there = [name for name in CONTENDERS if name not in NEEDED or find_spec(NEEDED[name])]
    tables = []
    for case in options.only.split(","):
        seen: dict[str, list[float]] = {name: [] for name in there}
        for number in range(1, options.rounds + 1):
            for name in there:
                seen[name].append(measured(case, name))
                print(f"round {number}  {case}  {name}: {seen[name][-1]:,.1f} a second", file=sys.stderr, flush=True)
        tables.append(table(case, seen))
    text = "\n\n".join(
        [
            f"{HEADING}\n\n{__doc__.split(chr(10) * 2)[1].partition(' Lightning and')[0].strip()}",
            *tables,
            f"{os.cpu_count()} cores, torch {torch.__version__}, over gloo; {options.rounds} rounds, the ratios with "
            f"the least and the largest.\n`python benchmarks/processes.py --rounds {options.rounds}`\n",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
        results = HERE / "RESULTS.md"
        before = results.read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
        results.write_text(f"{before}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
