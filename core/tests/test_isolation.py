"""What a run uses of the process it runs in, and leaves as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from parts import Blobs, Net, sorting


class Careless(Blobs):
    """Uses every global generator while it reads."""

    def prepare(self) -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        super().prepare()


def world() -> tuple[Any, ...]:
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_num_threads(),
    )


def fails(folder: Path) -> None:
    class Fault:
        @lw.hookimpl
        def labwright_step_ended(self) -> None:
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        sorting(Careless()).run(folder, listeners=[Fault()])


USES: dict[str, Callable[[Path], object]] = {
    "build": lambda _: sorting(Careless()).build(),
    "prepared": lambda _: sorting(Careless()).prepared(),
    "run": lambda folder: sorting(Careless(), device={"name": "cpu", "threads": 2}).run(folder),
    "a run that fails": fails,
    "trainer": lambda folder: sorting(Careless()).trainer(folder),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_random_numbers_and_threads_go_on_as_if_nothing_had_been_done(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = world()
    use(tmp_path / "run")
    assert world() == before


def test_a_run_is_the_same_whatever_was_drawn_before_it(tmp_path: Path) -> None:
    def metrics(name: str) -> Any:
        torch.rand(5), random.random(), np.random.rand(5)
        return sorting().run(tmp_path / name).metrics

    assert metrics("a") == metrics("b")


def test_what_a_model_draws_from_numpy_or_python_is_a_matter_of_the_seed_too(tmp_path: Path) -> None:
    class Dice(Net):
        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__(inputs, outputs)
            torch.nn.init.constant_(self.head.bias, random.random() + np.random.rand())

    def bias(seed: int) -> Any:
        random.random(), np.random.rand()
        return sorting(model=Dice, train={"epochs": 1, "seed": seed}).build().model.head.bias.tolist()

    assert bias(0) == bias(0) != bias(1)


@pytest.mark.timing
def test_a_second_thread_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    begun, refused = Event(), Event()

    class Waits:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            if step == 3:
                begun.set()
                assert refused.wait(300)

    alone = sorting().run(tmp_path / "alone").metrics
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: sorting().run(tmp_path / "first", listeners=[Waits()]).metrics)
        assert begun.wait(300)
        with pytest.raises(lw.LabwrightError, match="another thread of this process is training"):
            sorting().run(tmp_path / "second")
        refused.set()
        assert first.result() == alone


def test_a_run_within_a_run_changes_nothing_of_the_outer_one(tmp_path: Path) -> None:
    class Nested:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            if step == 5:
                sorting().run(tmp_path / "inner")

    alone = sorting().run(tmp_path / "alone").metrics
    assert sorting().run(tmp_path / "outer", listeners=[Nested()]).metrics == alone
