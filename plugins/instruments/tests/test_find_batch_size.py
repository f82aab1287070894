"""Which sizes are tried and why no larger one, in small nets whose memory is known."""

from __future__ import annotations

import json
from typing import Any

import labwright as lw
import pytest
import torch
from instrument_lines import Perceptron, Said, said  # noqa: F401 - a fixture
from labwright_instruments.batch_sizes import Size, Sizes, batch_sizes
from parts import Net, sorting
from torch import Tensor

FLOAT, LONG = 4, 8


def quiet(line: str) -> None:
    pass


def test_sizes_double_until_the_data_ends_and_what_is_kept_grows_with_them():
    found = batch_sizes(sorting(model=Perceptron), 4096, quiet)
    assert [one.size for one in found.tried] == [1, 2, 4, 8, 16, 32, 64]
    assert found.ended == "the training data has 90 samples"
    for one in found.tried:  # features and label; the rectifier's output and log-probabilities, and one number
        assert one.peak_bytes == one.samples * (4 * FLOAT + LONG + 8 * FLOAT + 3 * FLOAT) + FLOAT
        assert one.samples == one.size and one.step_seconds > 0


def test_a_single_sample_is_left_out_where_batch_norm_can_not_take_it():
    heard: list[str] = []
    found = batch_sizes(sorting(model=Net), 4, heard.append)
    assert [one.size for one in found.tried] == [2, 4]
    assert heard[0].startswith("1 is left out: Expected more than 1 value per channel")
    assert found.ended == "--most 4"


def test_sizes_begin_at_the_micro_batches_of_accumulation():
    experiment = sorting(
        model=Perceptron, device={"name": "cpu", "accumulate": 3}, train={"epochs": 1, "batch_size": 15}
    )
    assert [one.size for one in batch_sizes(experiment, 20, quiet).tried] == [3, 6, 12]


def test_a_size_that_would_need_more_than_is_free_is_not_tried():
    most_seen = []

    class Watched(Perceptron):
        def forward(self, x_BD: Tensor) -> Tensor:
            most_seen.append(len(x_BD))
            return super().forward(x_BD)

    kept = 16 * (4 * FLOAT + LONG + 8 * FLOAT + 3 * FLOAT) + FLOAT  # of 16 samples
    found = batch_sizes(sorting(model=Watched), 64, quiet, room=lambda: 2 * kept - 1)
    assert found.tried[-1].size <= 16 and max(most_seen) <= 16
    assert "are free" in found.ended


class Cramped(Perceptron):
    """Says what a GPU says when it is full."""

    def forward(self, x_BD: Tensor) -> Tensor:
        if len(x_BD) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(x_BD)


def test_memory_that_is_full_ends_it():
    found = batch_sizes(sorting(model=Cramped), 64, quiet)
    assert (found.tried[-1].size, found.ended) == (8, "16: there is no room for it")


class Broken(Perceptron):
    def forward(self, x_BD: Tensor) -> Tensor:
        raise RuntimeError("shapes don't fit")


def test_what_fails_at_any_size_is_an_error_with_its_reason():
    with pytest.raises((lw.LabwrightError, RuntimeError), match="shapes don't fit"):
        batch_sizes(sorting(model=Broken), 8, quiet)


def test_the_smallest_size_whose_samples_are_within_five_percent_is_as_fast_as_any():
    times = {1: 8.0, 2: 8.4, 4: 8.4, 8: 16.4, 16: 32.0}  # seconds of a step: 8, 4.2, 2.1, 2.05 and 2 of a sample
    found = Sizes(tuple(Size(size, size, seconds, 0) for size, seconds in times.items()), "")
    assert found.fast.size == 4  # 2.1 is 5 % more than 2


@pytest.mark.long
def test_the_verb_says_which_size_is_largest_and_which_is_fast(said: Said, tmp_path: Any):  # noqa: F811
    code, out, errors = said("find-batch-size", "vision/digits-mlp", "device=cpu", "model.width=16", "--most", "4")
    assert code == 0
    assert "largest that fits: 4; no larger one: --most 4" in out and "as fast as any, within 5 %: " in out
    assert "next: labwright run vision/digits-mlp device=cpu model.width=16 train.batch_size=" in errors
    code, out, _ = said("find-batch-size", "vision/digits-mlp", "device=cpu", "--most", "2", "--json")
    assert [one["size"] for one in json.loads(out)["sizes"]] == [1, 2]
    code, _, errors = said("find-batch-size", "recsys/movielens-popularity")
    assert (code, "closed form" in errors) == (2, True)
    assert list(tmp_path.iterdir()) == []
