"""SGD, Adam and AdamW against torch.optim, whose `fused=True` calls the same kernels."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from descents import (
    SHAPES,
    assert_equal,
    assert_within,
    copied,
    late,
    new_parameters,
    noisy,
    set_gradients,
    their_groups,
    train,
    train_theirs,
    values,
    with_gaps,
)
from labwright.base.errors import LabwrightError
from labwright.builtin import elementwise
from labwright.builtin.optimizers import SGD, Adam, AdamW
from labwright.interfaces.optimizer import Group, Optimizer
from torch import Tensor, nn

THEIRS = {SGD: torch.optim.SGD, Adam: torch.optim.Adam, AdamW: torch.optim.AdamW}
FLAGS: list[tuple[type[Any], dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.01}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Adam, {}),
    (Adam, {"weight_decay": 0.1}),
    (Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
    (Adam, {"betas": (0.0, 0.5)}),
    (Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"weight_decay": 0.3, "betas": (0.8, 0.95)}),
    (AdamW, {"amsgrad": True, "eps": 1e-4}),
]
flags = pytest.mark.parametrize(("ours", "settings"), FLAGS, ids=lambda value: getattr(value, "__name__", str(value)))
kinds = pytest.mark.parametrize(
    ("ours", "settings"),
    [
        (SGD, {}),
        (SGD, {"momentum": 0.9}),
        (SGD, {"momentum": 0.9, "dampening": 0.4}),
        (Adam, {"amsgrad": True}),
        (AdamW, {}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)


@pytest.fixture(params=["kernel", "formula"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "formula":
        monkeypatch.setattr(elementwise, "FUSED_DEVICES", ())
    return str(request.param)


# ---------------------------------------------------------------------------------------------- the same as torch.optim


@flags
@pytest.mark.parametrize("gradients", [noisy, with_gaps])
def test_200_steps_equal_those_of_the_same_kernel_in_torch_optim_exactly(ours, settings, gradients):
    mine, theirs = new_parameters(), new_parameters()
    optimizer = ours(mine, lr=0.03, **settings)
    reference = THEIRS[ours](theirs.values(), lr=0.03, fused=True, **settings)
    train(optimizer, range(200), gradients=gradients)
    train_theirs(reference, theirs, optimizer, 200, gradients)
    assert_equal(values(mine), values(theirs))


@flags
@pytest.mark.parametrize("gradients", [noisy, with_gaps, late])
def test_200_steps_equal_those_of_torch_optims_plain_form(ours, settings, gradients, way):
    mine, theirs = new_parameters(), new_parameters()
    optimizer = ours(mine, lr=0.03, **settings)
    reference = THEIRS[ours](theirs.values(), lr=0.03, foreach=False, fused=False, **settings)
    train(optimizer, range(200), gradients=gradients)
    train_theirs(reference, theirs, optimizer, 200, gradients)
    assert_within(values(mine), values(theirs), 1e-12)


@pytest.mark.parametrize("ours", [SGD, Adam, AdamW])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential", "one-cycle"])
def test_schedules_and_groups_equal_torch_optim_with_the_same_rates_and_groups(ours, schedule, way):
    groups = {"*.bias": Group(weight_decay=0.0), "scale": Group(lr_factor=0.1), "head.*": Group(2.0, 0.5)}
    mine, theirs = new_parameters(), new_parameters()
    optimizer = ours(mine, lr=0.05, weight_decay=0.02, schedule=schedule, warmup=0.1, groups=groups)
    assert len(optimizer.groups) == 4
    fused = way == "kernel"
    reference = THEIRS[ours](their_groups(optimizer, theirs), lr=0.05, fused=fused, foreach=False)
    train(optimizer, range(200), gradients=with_gaps)
    train_theirs(reference, theirs, optimizer, 200, with_gaps)
    if fused:
        assert_equal(values(mine), values(theirs))
    assert_within(values(mine), values(theirs), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@kinds
def test_other_precisions_equal_the_kernel_in_torch_optim_exactly(ours, settings, dtype):
    mine, theirs = new_parameters(dtype), new_parameters(dtype)
    optimizer = ours(mine, lr=0.03, **settings)
    reference = THEIRS[ours](theirs.values(), lr=0.03, fused=True, **settings)
    train(optimizer, range(20))
    train_theirs(reference, theirs, optimizer, 20)
    assert_equal(values(mine), values(theirs))


@kinds
def test_mixed_precisions_are_each_updated_by_their_own_kernel(ours, settings):
    mine, alone = new_parameters(), new_parameters()
    for parameters in (mine, alone):
        parameters["scale"] = nn.Parameter(parameters["scale"].detach().float())
    train(ours(mine, **settings), range(20))
    for name in SHAPES:
        train(ours({name: alone[name]}, **settings), range(20))
    assert_equal(values(mine), values(alone))


@kinds
def test_complex_parameters_equal_torch_optim(ours, settings):
    start = torch.randn(4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = ours({"z": mine}, lr=0.03, weight_decay=0.1, **settings)
    reference = THEIRS[ours]([theirs], lr=0.03, weight_decay=0.1, foreach=False, **settings)
    for _ in range(20):
        mine.grad, theirs.grad = mine.detach() * 1j + 1, theirs.detach() * 1j + 1
        optimizer.step(0.03)
        reference.step()
    assert_within({"z": mine.detach()}, {"z": theirs.detach()}, 1e-12)


def test_the_first_step_of_adam_has_the_length_of_the_rate(way):
    parameters = new_parameters()
    before = values(parameters)
    optimizer = Adam(parameters, lr=0.01, eps=1e-30)
    train(optimizer, range(1))
    for name, parameter in parameters.items():  # closed form: m/(1-b1) = g, v/(1-b2) = g*g
        expected = before[name] - 0.01 * parameter.grad.sign()
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-14, atol=1e-14)


@kinds
def test_gradients_whose_memory_is_laid_out_otherwise_are_read_rightly(ours, settings):
    """The kernels read memory in its order: an expanded gradient would be read beyond its end."""
    shapes = {"row": (4, 3), "turned": (4, 3), "gaps": (4, 3), "thin": (4, 1)}
    start = {name: torch.arange(1.0, 1 + shape[0] * shape[1]).double().reshape(shape) for name, shape in shapes.items()}

    def layout(name: str, value: Tensor) -> Tensor:
        return {
            "row": lambda: value[:1].expand(4, 3),
            "turned": lambda: value.T.contiguous().T,
            "gaps": lambda: value,
            "thin": lambda: value.T.contiguous().T,
        }[name]()

    odd = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    odd["gaps"] = nn.Parameter(torch.zeros(4, 6, dtype=torch.float64)[:, ::2])
    odd["gaps"].data.copy_(start["gaps"])
    plain = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    one, other = ours(odd, lr=0.1, **settings), ours(plain, lr=0.1, **settings)
    for step in range(6):
        for name in shapes:
            odd[name].grad = odd[name].detach().clone() if step % 3 == 2 else layout(name, odd[name].detach().clone())
            plain[name].grad = odd[name].grad.contiguous().clone()
        one.step(0.1)
        other.step(0.1)
    assert_within(values(odd), values(plain), 1e-12)


# -------------------------------------------------------------------------------------------------------- skipped steps


@kinds
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_step_with_found_inf_changes_nothing(ours, settings, shape, way):
    parameters = new_parameters()
    optimizer = ours(parameters, lr=0.03, **settings)
    train(optimizer, range(3), gradients=late)
    before, state = values(parameters), copied(optimizer.state_dict())
    set_gradients(parameters, 3 + 1, lambda step, name, value: torch.full_like(value, torch.inf))
    optimizer.step(0.03, torch.ones(shape))
    assert_equal(values(parameters), before)
    assert_equal(optimizer.state_dict(), state)


@kinds
def test_a_run_whose_steps_are_skipped_here_and_there_equals_one_without_them(ours, settings, way):
    skipping, straight = new_parameters(), new_parameters()
    one, other = ours(skipping, lr=0.03, **settings), ours(straight, lr=0.03, **settings)
    for step in [-1, -1, 0, 1, -1, 2, 3, 4, -1, 5, 6, 7, 8, 9, 10, -1, 11]:
        bad = step < 0
        set_gradients(skipping, step, late if not bad else lambda *given: torch.full_like(given[2], torch.nan))
        one.step(0.03, torch.tensor(1.0 if bad else 0.0))
    for step in range(12):
        set_gradients(straight, step, late)
        other.step(0.03)
    assert_within(values(skipping), values(straight), 1e-12)
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, slots in one.state_dict().items():
        assert_within(slots, other.state_dict()[name], 1e-12)


@kinds
def test_a_state_saved_after_skipped_steps_goes_on_as_if_they_had_not_been(ours, settings, way):
    parameters, other = new_parameters(), new_parameters()
    first, second = ours(parameters, lr=0.03, **settings), ours(other, lr=0.03, **settings)
    set_gradients(parameters, 0, lambda step, name, value: torch.full_like(value, torch.nan))
    first.step(0.03, torch.tensor(1.0))
    assert first.state_dict() == {}
    second.load_state_dict(first.state_dict())
    train(first, range(5))
    train(second, range(5))
    assert_within(values(parameters), values(other), 1e-12)


# ---------------------------------------------------------------------------------------------------------------- state


@kinds
def test_the_state_has_the_names_and_values_of_torch_optims(ours, settings):
    mine, theirs = new_parameters(), new_parameters()
    optimizer = ours(mine, lr=0.03, **settings)
    reference = THEIRS[ours](theirs.values(), lr=0.03, foreach=False, **settings)
    train(optimizer, range(12), gradients=late)
    train_theirs(reference, theirs, optimizer, 12, late)
    state = {name: dict(reference.state[value]) for name, value in theirs.items() if reference.state.get(value)}
    assert optimizer.state_dict().keys() == state.keys()
    for name, slots in optimizer.state_dict().items():
        assert_within(slots, state[name], 1e-12)
        assert {slot: (one.shape, one.dtype) for slot, one in slots.items() if slot != "step"} == {
            slot: (one.shape, one.dtype) for slot, one in state[name].items() if slot != "step"
        }


@kinds
@pytest.mark.parametrize("gradients", [noisy, late])
@pytest.mark.parametrize("found_inf", [None, torch.tensor(0.0)], ids=["fp32", "fp16"])
def test_a_run_resumed_after_any_step_equals_the_whole_run_exactly(ours, settings, gradients, found_inf, way):
    whole = new_parameters()
    train(ours(whole, **settings), range(14), gradients=gradients, found_inf=found_inf)
    for stop in range(14):
        first = ours(new_parameters(), **settings)
        train(first, range(stop), gradients=gradients, found_inf=found_inf)
        second = ours({n: nn.Parameter(v) for n, v in values(first.parameters).items()}, **settings)
        second.load_state_dict(copied(first.state_dict()))
        train(second, range(stop, 14), gradients=gradients, found_inf=found_inf)
        assert_equal(values(second.parameters), values(whole))


@kinds
def test_reading_the_state_changes_nothing_and_loading_it_copies(ours, settings):
    read, silent = ours(new_parameters(), **settings), ours(new_parameters(), **settings)
    loaded = ours(new_parameters(), **settings)
    for step in range(4):
        train(read, range(step, step + 1), gradients=late)
        loaded.load_state_dict(read.state_dict())
    train(silent, range(4), gradients=late)
    assert_equal(values(read.parameters), values(silent.parameters))
    before = copied(read.state_dict())
    train(loaded, range(4, 6))
    assert_equal(read.state_dict(), before)


def test_a_loaded_state_takes_the_layout_of_the_parameter():
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    whole, first = nn.Parameter(weight.clone()), nn.Parameter(weight.clone())
    optimizers_ = [AdamW({"w": parameter}) for parameter in (whole, first)]
    for step in range(4):
        for optimizer in optimizers_:
            parameter = optimizer.parameters["w"]
            parameter.grad = (parameter.detach() + step).to(memory_format=torch.channels_last)
            optimizer.step(0.01)
        state = {slot: tensor.contiguous() for slot, tensor in optimizers_[1].state_dict()["w"].items()}
        optimizers_[1] = AdamW({"w": first})
        optimizers_[1].load_state_dict({"w": state})
    assert torch.equal(whole, first)


@pytest.mark.parametrize(
    ("ours", "change", "words"),
    [
        (Adam, lambda s: {"body.weigth": s["body.weight"]}, ["'body.weigth'", "did you mean 'body.weight'?"]),
        (Adam, lambda s: {"scale": {"exp_avg": s["scale"]["exp_avg"]}}, ["'scale'", "keeps exp_avg, exp_avg_sq, step"]),
        (SGD, lambda s: {"scale": {}}, ["'scale'", "slots none", "keeps momentum_buffer"]),
        (
            SGD,
            lambda s: {"scale": {"momentum_buffer": torch.zeros(2)}},
            ["'momentum_buffer' of parameter 'scale'", "shape (2,)", "it has ()"],
        ),
        (AdamW, lambda s: {"scale": s["scale"] | {"step": torch.zeros(3)}}, ["'step' of parameter 'scale'", "(3,)"]),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(ours, change, words):
    settings = {"momentum": 0.9} if ours is SGD else {}
    optimizer = ours(new_parameters(), **settings)
    train(optimizer, range(2))
    before = copied(optimizer.state_dict())
    with pytest.raises(LabwrightError) as caught:
        optimizer.load_state_dict(optimizer.state_dict() | change(optimizer.state_dict()))
    assert all(word in str(caught.value) for word in words), caught.value
    assert_equal(optimizer.state_dict(), before)


# ------------------------------------------------------------------------------------------------------------- settings


def test_a_sparse_gradient_is_refused_by_name_before_anything_is_updated():
    for ours in (SGD, Adam, AdamW):
        embedding = nn.Embedding(5, 2, sparse=True)
        parameters = {"scale": nn.Parameter(torch.ones(())), "embedding.weight": embedding.weight}
        optimizer = ours(parameters)
        for sparse in (False, True):  # also after a step with dense ones
            before = values(parameters)
            parameters["scale"].grad = torch.ones(())
            embedding.weight.grad = torch.zeros(5, 2).to_sparse() if sparse else torch.zeros(5, 2)
            if not sparse:
                optimizer.step(0.1)
                continue
            with pytest.raises(LabwrightError, match=r"'embedding\.weight' is sparse"):
                optimizer.step(0.1)
            assert_equal(values(parameters), before)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_without_momentum_or_with_dampening_is_refused(settings):
    with pytest.raises(LabwrightError, match="Nesterov's method needs a momentum above 0 and no dampening"):
        SGD(new_parameters(), nesterov=True, **settings)


@pytest.mark.parametrize("ours", [SGD, Adam, AdamW])
def test_the_settings_begin_with_those_every_optimizer_has(ours):
    common = list(inspect.signature(Optimizer.__init__).parameters)
    assert list(inspect.signature(ours.__init__).parameters)[: len(common)] == common


@pytest.mark.parametrize("ours", [SGD, Adam, AdamW])
def test_recording_of_gradients_is_as_before_after_a_step(ours):
    optimizer = ours(new_parameters())
    train(optimizer, range(1))
    assert torch.is_grad_enabled()
    with torch.no_grad():
        train(optimizer, range(1, 2))
        assert not torch.is_grad_enabled()


def test_neither_building_nor_stepping_imports_dynamo():
    script = """
import json, sys, torch
from torch import nn
from labwright.builtin import elementwise, optimizers
seen = []
for ways in (("cpu",), ()):
    elementwise.FUSED_DEVICES = ways
    for kind in (optimizers.SGD, optimizers.Adam, optimizers.AdamW):
        model = nn.Linear(3, 2)
        optimizer = kind(dict(model.named_parameters()))
        for _ in range(2):
            model(torch.randn(4, 3)).sum().backward()
            optimizer.step(0.1)
        optimizer.load_state_dict(optimizer.state_dict())
        seen.append("torch._dynamo" in sys.modules)
print(json.dumps(seen))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False] * 6
