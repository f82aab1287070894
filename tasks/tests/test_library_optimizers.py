"""Optimizers of a library, by the names of torch.optim: they do what the library does, and are resumed exactly."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch
from descents import (
    Parameters,
    assert_equal,
    copied,
    late,
    new_parameters,
    noisy,
    set_gradients,
    train,
    train_theirs,
    values,
    with_gaps,
)
from labwright import Family, Group, LabwrightError
from labwright_tasks.library_optimizers import TORCH, LibraryOptimizer
from torch import nn


class Counting(torch.optim.Optimizer):
    """Descent whose state has what libraries are seen to keep: numbers, a list, a count in the group."""

    def __init__(self, params: Any, lr: float = 0.1, keeps: str = "numbers") -> None:
        super().__init__(params, {"lr": lr, "keeps": keeps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state["seen"] = state.get("seen", 0) + 1
                    state["share"] = state.get("share", 1.0) * 0.9
                    state["begun"] = True
                    if group["keeps"] == "list":
                        state["history"] = [1, 2]
                    assert type(state["seen"]) is int
                    assert type(state["share"]) is float
                    factor = group["lr"] * state["share"] / (state["seen"] + group["step"])
                    parameter.sub_(parameter.grad * factor)


COUNTING = Family("toy", lambda: ["counting"], lambda name: (Counting, {}), LibraryOptimizer)["counting"]


def library_parameters(ours: type[LibraryOptimizer]) -> Parameters:
    """Parameters that a library optimizer takes: Muon takes matrices only."""
    return {name: one for name, one in new_parameters().items() if ours.label != "torch/Muon" or one.dim() == 2}


library = pytest.mark.parametrize("ours", [*TORCH.values(), COUNTING], ids=lambda ours: ours.label)


def test_the_family_has_every_optimizer_of_torch_but_those_that_do_not_fit():
    every = {
        name
        for name, one in vars(torch.optim).items()
        if inspect.isclass(one) and issubclass(one, torch.optim.Optimizer) and one is not torch.optim.Optimizer
    }
    assert set(TORCH) == every - {"LBFGS", "SparseAdam"}
    assert len(TORCH) == len(list(TORCH))
    assert TORCH["RMSprop"] is TORCH["RMSprop"]
    assert issubclass(TORCH["RMSprop"], LibraryOptimizer)
    assert "LBFGS" not in TORCH
    with pytest.raises(KeyError):
        TORCH["LBFGS"]


@library
def test_a_library_optimizer_equals_the_library_itself_with_the_same_rates_and_groups(ours):
    mine, theirs = library_parameters(ours), library_parameters(ours)
    groups = {"head.*": Group(lr_factor=0.5)}
    optimizer = ours(mine, lr=0.01, schedule="cosine", groups=groups)
    reference = ours.library([{"params": [theirs[name] for name in names]} for names, _, _ in optimizer.groups])
    train(optimizer, range(30), gradients=with_gaps)
    train_theirs(reference, theirs, optimizer, 30, with_gaps)
    assert_equal(values(mine), values(theirs))


@library
@pytest.mark.parametrize("gradients", [noisy, late])
def test_a_library_optimizer_resumed_after_any_step_equals_the_whole_run_exactly(ours, gradients):
    whole = library_parameters(ours)
    train(ours(whole, lr=0.01), range(8), gradients=gradients)
    for stop in (0, 1, 2, 3, 6):
        first = ours(library_parameters(ours), lr=0.01)
        train(first, range(stop), gradients=gradients)
        second = ours({n: nn.Parameter(v) for n, v in values(first.parameters).items()}, lr=0.01)
        second.load_state_dict(copied(first.state_dict()))
        assert_equal(second.state_dict(), first.state_dict())
        train(second, range(stop, 8), gradients=gradients)
        assert_equal(values(second.parameters), values(whole))


@library
def test_loading_a_library_state_draws_no_random_numbers_and_touches_no_gradient(ours):
    optimizer = ours(library_parameters(ours), lr=0.01)
    train(optimizer, range(2))
    before, state, generator = values(optimizer.parameters), copied(optimizer.state_dict()), torch.get_rng_state()
    optimizer.load_state_dict(state)
    assert_equal(values(optimizer.parameters), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert_equal(optimizer.state_dict(), state)


@pytest.mark.parametrize("ours", [TORCH["RMSprop"], COUNTING])
def test_a_library_optimizer_skips_a_step_with_found_inf(ours):
    optimizer = ours(new_parameters(), lr=0.01)
    for step in range(2):
        before, state = values(optimizer.parameters), copied(optimizer.state_dict())
        set_gradients(optimizer.parameters, step, lambda step, name, value: torch.full_like(value, torch.nan))
        optimizer.step(0.01, torch.tensor(1.0))
        assert_equal(values(optimizer.parameters), before)
        assert_equal(optimizer.state_dict(), state)
        train(optimizer, range(step, step + 1))


def test_what_is_left_out_is_the_librarys_own_default():
    optimizer = TORCH["AdamW"](new_parameters())
    assert (optimizer.lr, optimizer.weight_decay) == (1e-3, 1e-2)
    assert TORCH["Adadelta"](new_parameters()).lr == 1.0
    assert TORCH["Rprop"](new_parameters()).weight_decay == 0.0
    assert TORCH["AdamW"](new_parameters(), weight_decay=0.0).groups[0][2] == 0.0


def test_lists_in_options_become_the_tuples_a_library_expects():
    mine, theirs = new_parameters(), new_parameters()
    optimizer = TORCH["Adam"](mine, lr=0.01, weight_decay=0.1, options={"betas": [0.8, 0.95], "amsgrad": True})
    reference = torch.optim.Adam(theirs.values(), betas=(0.8, 0.95), weight_decay=0.1, amsgrad=True)
    train(optimizer, range(10))
    train_theirs(reference, theirs, optimizer, 10)
    assert_equal(values(mine), values(theirs))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "RMSprop",
            {"options": {"alhpa": 0.9}},
            ["'torch/RMSprop' has no option 'alhpa'", "'alpha'?", "centered, dif"],
        ),
        (
            "RMSprop",
            {"options": {"alpha": -1.0}},
            ["'torch/RMSprop' refuses", "Invalid alpha value: -1.0", "options are"],
        ),
        pytest.param(
            *("Muon", {}, ["'torch/Muon' refuses", "only supports 2D"]),
            marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon"),
        ),
        ("Adam", {"options": {"lr": 0.1}}, ["'lr' is a setting of the optimizer itself"]),
        ("Rprop", {"weight_decay": 0.1}, ["'torch/Rprop' has no weight decay"]),
        ("Rprop", {"groups": {"*.bias": Group(weight_decay=0.0)}}, ["'torch/Rprop' has no weight decay"]),
    ],
)
def test_settings_a_library_refuses_are_one_clear_message(name, settings, words):
    with pytest.raises(LabwrightError) as caught:
        TORCH[name](new_parameters(), **settings)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_library_without_a_rate_of_its_own_asks_for_one():
    class Rateless(Counting):
        def __init__(self, params: Any, lr: float | None = None) -> None:
            super().__init__(params, 0.1 if lr is None else lr)

    ours = Family("toy", lambda: ["rateless"], lambda name: (Rateless, {}), LibraryOptimizer)["rateless"]
    with pytest.raises(LabwrightError, match="'toy/rateless' has no rate of its own"):
        ours(new_parameters())
    assert ours(new_parameters(), lr=0.3).lr == 0.3


def test_numbers_and_what_a_group_keeps_are_part_of_the_state():
    optimizer = COUNTING({"w": nn.Parameter(torch.ones(2)), "unused": nn.Parameter(torch.ones(1))})
    optimizer.parameters["w"].grad = torch.ones(2)
    optimizer.step(0.1)
    state = optimizer.state_dict()
    assert {slot: value.item() for slot, value in state["w"].items()} == {
        "seen": 1,
        "share": 0.9,
        "begun": True,
        "group:step": 1,
    }
    assert list(state["unused"]) == ["group:step"]


def test_a_state_that_is_neither_tensor_nor_number_is_refused_by_name():
    optimizer = COUNTING(new_parameters(), options={"keeps": "list"})
    assert optimizer.state_dict() == {}
    train(optimizer, range(1))
    with pytest.raises(LabwrightError) as caught:
        optimizer.state_dict()
    assert "'toy/counting' can't be saved: 'history' of parameter 'body.weight'" in str(caught.value)
    assert "but list" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"scael": s["scale"]}, ["'scael' is no parameter", "did you mean 'scale'?"]),
        (lambda s: {"scale": {"step": s["scale"]["step"]}}, ["'scale' has the slots step;", "keeps square_avg, step"]),
        (
            lambda s: {"scale": s["scale"] | {"square_avg": torch.ones(3)}},
            ["'square_avg' of parameter 'scale'", "(3,)"],
        ),
    ],
)
def test_a_library_state_that_does_not_fit_is_refused_and_changes_nothing(change, words):
    optimizer = TORCH["RMSprop"](new_parameters())
    train(optimizer, range(2))
    before = copied(optimizer.state_dict())
    with pytest.raises(LabwrightError) as caught:
        optimizer.load_state_dict(optimizer.state_dict() | change(optimizer.state_dict()))
    assert all(word in str(caught.value) for word in words), caught.value
    assert_equal(optimizer.state_dict(), before)


def test_looking_through_the_library_imports_no_dynamo():
    script = """
import sys
from labwright_tasks.library_optimizers import TORCH
assert [TORCH[name].label for name in TORCH]
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
