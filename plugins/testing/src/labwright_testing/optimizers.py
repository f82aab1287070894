"""Checks of optimizers, on a least-squares problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from labwright import Optimizer
from torch import Tensor, nn

from labwright_testing.kit import NotApplicable, Subject, check

RATES = (0.3, 0.03, 0.003)
STEPS = 200


@check("optimizer")
def descends_a_quadratic(subject: Subject) -> None:
    """On a least-squares problem some rate of 0.3, 0.03 and 0.003 halves the loss in 200 steps."""
    reached = {}
    for rate in RATES:
        parameters, loss = _problem()
        optimizer = _made(subject, parameters, lr=rate)
        first = float(loss(parameters).detach())
        for _ in range(STEPS):
            _step(optimizer, parameters, loss)
        reached[rate] = float(loss(parameters).detach()) / first
    assert min(reached.values()) < 0.5, f"what is left of the loss, by rate: {reached}"


@check("optimizer")
def goes_on_from_its_state(subject: Subject) -> None:
    """`load_state_dict(state_dict())` in a new optimizer goes on bit by bit, and reading the state doesn't change it.

    Everything that a step depends on is in the state as a tensor: moments, the count of steps, random seeds.
    """
    parameters, loss = _problem()
    optimizer = _made(subject, parameters)
    for _ in range(3):
        _step(optimizer, parameters, loss)
    state = {name: {slot: one.clone() for slot, one in slots.items()} for name, slots in optimizer.state_dict().items()}
    copies = {name: nn.Parameter(one.detach().clone()) for name, one in parameters.items()}
    other = _made(subject, copies)
    other.load_state_dict(state)
    for _ in range(3):
        _step(optimizer, parameters, loss)
        _step(other, copies, loss)
    for name, one in parameters.items():
        assert torch.equal(one, copies[name]), f"after resuming, {name} is another"


@check("optimizer")
def heeds_groups(subject: Subject) -> None:
    """A group with `lr_factor` 0 leaves its parameters as they are: `self.groups` gives each parameter's factor."""
    if "groups" not in subject.settings:
        raise NotApplicable("it has no setting `groups`")
    parameters, loss = _problem()
    before = {name: one.detach().clone() for name, one in parameters.items()}
    optimizer = _made(subject, parameters, groups={"bias": {"lr_factor": 0.0, "weight_decay": 0.0}})
    for _ in range(3):
        _step(optimizer, parameters, loss)
    assert torch.equal(before["bias"], parameters["bias"]), "`bias` moves in spite of a factor of 0"
    assert not torch.equal(before["weight"], parameters["weight"]), "`weight` doesn't move"


@check("optimizer")
def leaves_out_a_step_that_overflowed(subject: Subject) -> None:
    """Where `found_inf` is 1, a step changes no parameter: that is how fp16 leaves out a step that overflowed."""
    parameters, loss = _problem()
    optimizer = _made(subject, parameters)
    _step(optimizer, parameters, loss)
    before = {name: one.detach().clone() for name, one in parameters.items()}
    _step(optimizer, parameters, loss, found_inf=torch.ones(()))
    for name, one in parameters.items():
        assert torch.equal(one, before[name]), f"{name} is changed"


def _problem() -> tuple[dict[str, nn.Parameter], Any]:
    """A layer from 4 numbers to 3, and its squared error on 32 samples."""
    draw = torch.Generator().manual_seed(0)
    x_ND, y_NC = torch.randn(32, 4, generator=draw), torch.randn(32, 3, generator=draw)
    weight = nn.Parameter(torch.randn(3, 4, generator=draw))
    bias = nn.Parameter(torch.randn(3, generator=draw))

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        return (x_ND @ parameters["weight"].T + parameters["bias"] - y_NC).square().mean()

    return {"weight": weight, "bias": bias}, loss


def _made(subject: Subject, parameters: dict[str, nn.Parameter], **settings: Any) -> Optimizer:
    optimizer: Optimizer = subject.made(settings, parameters=parameters)
    return optimizer


def _step(
    optimizer: Optimizer, parameters: dict[str, nn.Parameter], loss: Any, found_inf: Tensor | None = None
) -> None:
    loss(parameters).backward()
    optimizer.step(optimizer.lr, found_inf)
    for one in parameters.values():
        one.grad = None
