"""What only a GPU can show. Skipped without one; `pytest core/tests/test_cuda.py` runs it where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.train.log import read_log
from labwright_testing.verify_resume import verify_resume
from parts import BlobsElsewhere, duel, sorting

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LONG = {"epochs": 20, "batch_size": 15}


class NoWaiting:
    """Makes every synchronisation with the GPU an error, from one step's end to the next."""

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    @lw.hookimpl
    def labwright_evaluated(self) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def reset() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_learns_in_every_precision(tmp_path: Path, precision: str) -> None:
    run = sorting(device={"name": "cuda", "precision": precision}, train=LONG).run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.9


@pytest.mark.usefixtures("reset")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_steps_never_wait_for_the_gpu(tmp_path: Path, precision: str) -> None:
    train: dict[str, Any] = {"steps": 12, "batch_size": 15, "clip": 1.0, "ema": 0.9, "evaluate_every": "12 steps"}
    experiment = duel(train=train | {"save_every": "99 steps"}, device={"name": "cuda", "precision": precision})
    trainer = experiment.trainer(tmp_path / "run", listeners=[NoWaiting()])
    with pytest.raises(RuntimeError, match="synchroniz"):  # the evaluation at the end reads, so the check can fail
        trainer.fit()
    assert trainer.run.step == 12


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_resumes_exactly_where_the_kernels_are_deterministic(precision: str) -> None:
    assert verify_resume(sorting(device={"name": "cuda", "precision": precision}), 7).exact
    assert verify_resume(duel(device={"name": "cuda", "precision": precision}), 7).exact


def test_loader_workers_pin_their_batches_and_change_nothing(tmp_path: Path) -> None:
    alone = sorting(BlobsElsewhere(), device="cuda").run(tmp_path / "alone").model
    helped = sorting(BlobsElsewhere(), device={"name": "cuda", "workers": 2}).run(tmp_path / "helped").model
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, helped.state_dict()[name]), name


def test_the_log_holds_every_stretch_though_it_arrives_late(tmp_path: Path) -> None:
    sorting(device="cuda", train={"steps": 10, "batch_size": 15, "log_every": 3}).run(tmp_path / "run")
    records = [record for record in read_log(tmp_path / "run" / "metrics.jsonl") if record["event"] == "train"]
    assert [record["step"] for record in records] == [3, 6, 9, 10]
