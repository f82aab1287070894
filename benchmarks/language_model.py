"""What labwright adds to a step of its GPT: CPU time beside a loop written by hand around the same model.

A step of the one follows a step of the other, so that a busy machine slows both alike.

python benchmarks/language_model.py TEXT_FILE, in an environment that has labwright-nlp. One thread.
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import labwright as lw
import torch
from labwright.train.trainer import Trainer
from torch.nn import functional

STEPS, ROUNDS, WARM = 120, 7, 20  # the first steps of a round aren't counted
SIZES = {"context": 64, "batch": 12}


def by_hand(model: torch.nn.Module, ids: torch.Tensor, steps: int, *, context: int, batch: int) -> Iterator[None]:
    """nanoGPT's loop, step by step: random windows, AdamW, clipping, a cosine with warm-up."""
    norms = [one for one in model.parameters() if one.dim() < 2]
    others = [one for one in model.parameters() if one.dim() >= 2]
    groups = [{"params": others, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99), fused=True)
    lengths = torch.full((batch,), context)
    for step in range(steps):
        for group in optimizer.param_groups:
            rising = step < 0.05 * steps
            group["lr"] = 3e-3 * (step / (0.05 * steps) if rising else 0.55 + 0.45 * math.cos(math.pi * step / steps))
        starts = torch.randint(len(ids) - context, (batch,))
        x = torch.stack([ids[start : start + context] for start in starts])
        y = torch.stack([ids[start + 1 : start + 1 + context] for start in starts])
        loss = functional.cross_entropy(model(x, lengths).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield


def by_labwright(trainer: Trainer) -> Iterator[None]:
    """The trainer's loop, step by step."""
    trainer.begin()
    trainer.started()
    for batch in trainer.batches():
        trainer.stepped(trainer.step(batch))
        yield


def main() -> None:
    """Print the CPU milliseconds of a step, of both, and the ratio round by round."""
    torch.set_num_threads(1)
    overrides = [f"task.data.path={sys.argv[1]}", f"train.steps={STEPS}", "log=[]", "train.evaluate_every=9999 steps"]
    experiment = lw.Experiment.from_recipe("nlp/shakespeare", overrides)
    ratios = []
    with tempfile.TemporaryDirectory() as home:
        for number in range(ROUNDS):
            trainer = experiment.trainer(Path(home) / str(number))
            split = trainer.task.data.split("train")
            loops = by_labwright(trainer), by_hand(experiment.build().model, split.ids_N.long(), STEPS, **SIZES)
            spent = [0.0, 0.0]
            for step in range(STEPS):
                for which, loop in enumerate(loops):
                    begun = time.process_time()
                    next(loop)
                    spent[which] += (time.process_time() - begun) * 1000 / (STEPS - WARM) * (step >= WARM)
            ratios.append(spent[0] / spent[1])
            print(f"labwright {spent[0]:.3f} ms, by hand {spent[1]:.3f} ms, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
