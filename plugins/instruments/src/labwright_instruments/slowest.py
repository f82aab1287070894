"""Where the time of a step goes: operations as torch.profiler sees them, each with the layer that called it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError

from labwright_instruments.workbench import wait_for

_MARK = "labwright: "  # before the name of a stretch that we mark
_BACKWARD = "autograd::engine::evaluate_function: "
_WORDS = {  # what an operation is, by how its name begins; the longest fits
    "addmm": "matrix product with bias",
    "mm": "matrix product",
    "bmm": "matrix products, batched",
    "baddbmm": "matrix products, batched",
    "linear": "matrix product",
    "mkldnn_convolution": "convolution",
    "cudnn_convolution": "convolution",
    "convolution": "convolution",
    "_conv_depthwise2d": "convolution of each channel",
    "convolution_backward": "convolution's gradient",
    "thnn_conv2d": "convolution",
    "slow_conv": "convolution",
    "_scaled_dot_product": "attention",
    "_flash_attention": "attention",
    "_efficient_attention": "attention",
    "native_batch_norm": "batch normalisation",
    "cudnn_batch_norm": "batch normalisation",
    "native_layer_norm": "layer normalisation",
    "native_group_norm": "group normalisation",
    "mkldnn_rnn": "recurrent layer",
    "_cudnn_rnn": "recurrent layer",
    "max_pool": "pooling",
    "avg_pool": "pooling",
    "embedding": "rows of a table",
    "index": "picking by index",
    "gather": "picking by index",
    "copy_": "copying, also between types and devices",
    "cat": "joining tensors",
    "stack": "joining tensors",
    "fill_": "filling with a number",
    "zero_": "filling with zeros",
    "empty": "making room",
    "clamp": "rectifying or cutting off",
    "threshold": "rectifier",
    "relu": "rectifier",
    "gelu": "GELU",
    "silu": "SiLU",
    "softmax": "softmax",
    "_softmax": "softmax",
    "_log_softmax": "softmax",
    "native_dropout": "dropout",
    "bernoulli": "random numbers",
    "random": "random numbers",
    "uniform": "random numbers",
    "normal": "random numbers",
    "sum": "adding up",
    "mean": "adding up",
    "add": "adding",
    "mul": "multiplying",
    "div": "dividing",
    "_fused_adam": "the optimizer's update",
    "_fused_sgd": "the optimizer's update",
    "_foreach": "one formula over many tensors",
    "lerp": "averaging",
    "linalg_vector_norm": "norm",
    "sort": "sorting",
    "topk": "the largest",
}


@dataclass(frozen=True)
class Operation:
    """An operation in one place: its own seconds over all profiled steps, without those of operations within it."""

    name: str
    words: str
    place: str
    calls: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Profile:
    """What a step took.

    `step_seconds` and `waiting`, the share of them that a step waits for its batch, are measured without the profiler,
    which slows steps down; `operations`, the slowest first, and their shares are what it saw.
    """

    steps: int
    step_seconds: float
    waiting: float
    operations: tuple[Operation, ...]


def profiled(trainer: Any, steps: int, warm_up: int, trace: Path) -> Profile:
    """Take some steps, some that are timed and as many that are profiled, and write a trace of these for Perfetto.

    A GPU is waited for after each step, so that what is fetched while it computes counts as waiting: an upper bound.
    Raises LabwrightError for a trace that can't be written, and where the data ends before.
    """
    from torch.profiler import ProfilerActivity, profile, record_function

    fed = trainer.built.method.feed(trainer)
    _steps(trainer, fed, warm_up)
    whole, waited = _steps(trainer, fed, steps)
    on_gpu = trainer.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _marked(trainer, record_function), profile(activities=activities, acc_events=True) as seen:
        _steps(trainer, fed, steps, record_function)
    try:
        seen.export_chrome_trace(str(trace))
    except (OSError, RuntimeError) as error:
        raise LabwrightError(f"can't write {trace}: {error}.") from error
    return Profile(steps, whole / steps, waited / whole, _operations(seen.events(), on_gpu))


def _steps(trainer: Any, fed: Any, count: int, marking: Callable[[str], Any] | None = None) -> tuple[float, float]:
    """Take so many steps; the seconds they took, and how many of them went by until their batches were there."""
    begun, waited = time.perf_counter(), 0.0
    for _ in range(count):
        asked = time.perf_counter()
        with ExitStack() as stretch:
            if marking:
                stretch.enter_context(marking(f"{_MARK}data"))
            batch = next(fed, None)
        waited += time.perf_counter() - asked
        if batch is None:
            raise LabwrightError("profile: the data ended before all steps were taken; ask for fewer --steps.")
        trainer.step(batch)
        wait_for(trainer.device)
    return time.perf_counter() - begun, waited


@contextmanager
def _marked(trainer: Any, marking: Callable[[str], Any]) -> Iterator[None]:
    """Within it each module's forward pass, each loss and each update is a stretch of the trace, by its name."""
    with ExitStack() as marks:
        for name, module in trainer.model.named_modules():
            _mark_module(marks, name or type(module).__name__, module, marking)
        if isinstance(trainer.criterion, torch.nn.Module):
            _mark_module(marks, "the loss", trainer.criterion, marking)
        for phase_step in trainer.phase_steps:
            optimizer = phase_step.optimizer
            optimizer.step = _within(optimizer.step, f"{_MARK}the optimizer", marking)
            marks.callback(optimizer.__dict__.pop, "step")
        yield


def _mark_module(marks: ExitStack, name: str, module: torch.nn.Module, marking: Callable[[str], Any]) -> None:
    begun: list[Any] = []

    def before(module: Any, arguments: Any) -> None:  # noqa: ARG001 - torch calls it so
        begun.append(marking(_MARK + name))
        begun[-1].__enter__()

    def after(module: Any, arguments: Any, output: Any) -> None:  # noqa: ARG001 - torch calls it so
        begun.pop().__exit__(None, None, None)

    marks.enter_context(module.register_forward_pre_hook(before, prepend=True))
    marks.enter_context(module.register_forward_hook(after))


def _within(function: Callable[..., Any], name: str, marking: Callable[[str], Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> Any:
        with marking(name):
            return function(*arguments, **named)

    return called


def _operations(events: Iterable[Any], on_gpu: bool) -> tuple[Operation, ...]:
    """Operations by their name and place, the slowest first."""
    kept = [event for event in events if event.device_type.name == "CPU"]
    origins: dict[int, str] = {}  # of what backward goes through, by the number autograd gave it
    for event in kept:
        if event.sequence_nr >= 0 and _BACKWARD not in event.name and (mark := _mark_of(event)):
            origins.setdefault(event.sequence_nr, mark)
    found: dict[tuple[str, str], list[float]] = {}
    for event in kept:
        if event.name.startswith((_MARK, _BACKWARD, "ProfilerStep")) or event.name.startswith("cuda"):
            continue
        seconds = 1e-6 * (event.self_device_time_total if on_gpu else event.self_cpu_time_total)
        if seconds > 0:
            count = found.setdefault((event.name, _place(event, origins)), [0, 0.0])
            count[0] += event.count
            count[1] += seconds
    total = sum(seconds for _, seconds in found.values()) or 1.0
    ordered = sorted(found.items(), key=lambda one: -one[1][1])
    return tuple(
        Operation(name, words(name), place, int(calls), seconds, seconds / total)
        for (name, place), (calls, seconds) in ordered
    )


def words(name: str) -> str:
    """What an operation does; its own name where we have no words for it."""
    own = name.removeprefix("aten::")
    fitting = max((one for one in _WORDS if own.startswith(one)), key=len, default="")
    return _WORDS.get(fitting, own)


def _mark_of(event: Any) -> str:
    """The innermost stretch that is marked around an event; "" if there is none."""
    while event is not None:
        if event.name.startswith(_MARK):
            return str(event.name.removeprefix(_MARK))
        event = event.cpu_parent
    return ""


def _place(event: Any, origins: dict[int, str]) -> str:
    around = event
    while around is not None:
        if around.name.startswith(_MARK):
            return str(around.name.removeprefix(_MARK))
        if around.name.startswith(_BACKWARD):
            origin = origins.get(around.sequence_nr, "")
            return f"{origin}, backward" if origin else "backward"
        around = around.cpu_parent
    return "between layers"
