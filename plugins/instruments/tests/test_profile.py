"""Where the time of a step goes: in data that is slow on purpose, and in layers by their names."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from instrument_lines import Perceptron, Said, said  # noqa: F401 - a fixture
from labwright_instruments.slowest import Profile, profiled, words
from labwright_instruments.workbench import lengthened, workbench
from parts import Blobs, Points, sorting
from torch import Tensor

STEPS, SLEEP = 3, 0.1


class SlowPoints(Points):
    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        time.sleep(SLEEP)
        return super().fetch(indices, epoch, seed)


class SlowBlobs(Blobs):
    def split(self, name: str) -> Points | None:
        part = super().split(name)
        return SlowPoints(part.x_ND, part.y_N) if part is not None and name == "train" else part


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Path]:
    trace = tmp_path_factory.mktemp("profile") / "trace.json.gz"
    with workbench(lengthened(sorting(SlowBlobs(), Perceptron), 2 * STEPS + 1)) as trainer:
        return profiled(trainer, STEPS, 1, trace), trace


def test_a_step_that_waits_for_its_data_is_found_out(found: tuple[Profile, Path]):
    """Each batch takes its sleep, whatever the machine: no less was waited for."""
    assert found[0].waiting * found[0].step_seconds >= SLEEP
    assert found[0].waiting < 1


def test_each_operation_is_in_the_layer_that_called_it_forwards_and_backwards(found: tuple[Profile, Path]):
    operations = found[0].operations
    forwards = {one.place: one for one in operations if one.name == "aten::addmm"}
    assert set(forwards) == {"first", "head"}
    assert forwards["head"].calls == STEPS and forwards["head"].words == "matrix product with bias"
    backwards = {one.place: one.calls for one in operations if one.name == "aten::mm"}
    # the head passes a gradient on and has one of its own weights; features need none
    assert backwards == {"head, backward": 2 * STEPS, "first, backward": STEPS}
    assert {one.place for one in operations if "_fused_adamw" in one.name} == {"the optimizer"}
    assert sum(one.share for one in operations) == pytest.approx(1)
    seconds = [one.seconds for one in operations]
    assert seconds == sorted(seconds, reverse=True)


def test_the_trace_is_what_perfetto_reads_with_the_layers_in_it(found: tuple[Profile, Path]):
    with gzip.open(found[1], "rt") as file:
        events = json.load(file)["traceEvents"]
    names = [event.get("name") for event in events if event.get("ph") == "X"]
    assert names.count("labwright: head") == STEPS
    assert "aten::addmm" in names


@pytest.mark.parametrize(
    ("name", "said_of_it"),
    [
        ("aten::convolution_backward", "convolution's gradient"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::native_layer_norm_backward", "layer normalisation"),
        ("mine::spiral", "mine::spiral"),
    ],
)
def test_operations_are_said_in_words(name: str, said_of_it: str):
    assert words(name) == said_of_it


@pytest.mark.long
def test_the_verb_lists_ten_and_says_where_the_trace_is(said: Said, tmp_path: Any):  # noqa: F811
    command = ("profile", "vision/digits-mlp", "device=cpu", "model.width=16", "--steps", "2")
    code, out, errors = said(*command)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("a step on cpu: ") and lines[0].endswith("of it waiting for data")
    assert len(lines) == 1 + 1 + 10 + 1 and lines[-1].endswith(" others")
    assert "trace: profile-vision-digits-mlp-001.json.gz" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["profile-vision-digits-mlp-001.json.gz"]
    code, _, errors = said("profile", "recsys/movielens-popularity")
    assert (code, "closed form" in errors) == (2, True)
