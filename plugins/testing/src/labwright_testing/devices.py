"""Checks of devices; where one isn't there, they say so."""

from __future__ import annotations

import torch
from labwright import Device, LabwrightError
from torch import nn

from labwright_testing.kit import NotApplicable, Subject, check


@check("device")
def brings_tensors_there_and_back(subject: Subject) -> None:
    """`find()` gives a torch.device that tensors of each common type go to and come back from unchanged."""
    device = _found(_made(subject))
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool):
        there = torch.arange(6).to(dtype)
        try:
            back = there.to(device).cpu()
        except (RuntimeError, NotImplementedError) as error:
            raise AssertionError(f"{dtype} can't be brought there and back: {error}") from error
        assert torch.equal(back, there), f"{dtype} comes back as another"


@check("device")
def computes_in_the_precision_asked_for(subject: Subject) -> None:
    """`autocast` is None in fp32, else a context, new each time, in which a matrix product has that type."""
    if "precision" not in subject.settings:
        raise NotApplicable("it has no setting `precision`")
    device = _found(_made(subject))
    assert _made(subject).autocast(device) is None, "in fp32 there is a context"
    settings = _made(subject, precision="bf16")
    for _ in range(2):
        context = settings.autocast(device)
        assert context is not None, "in bf16 there is no context"
        with context:
            product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
        assert product.dtype is torch.bfloat16, f"in bf16 a product is {product.dtype}"


@check("device")
def repeats_itself(subject: Subject) -> None:
    """With the same seed, random numbers, a forward and a backward pass are the same twice, bit by bit."""
    device = _found(_made(subject))

    def tried() -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = nn.Linear(64, 64).to(device)
        x_BD = torch.randn(32, 64, device=device)
        layer(x_BD).relu().square().sum().backward()
        assert layer.weight.grad is not None
        return [x_BD, layer.weight.grad]

    for left, right in zip(tried(), tried(), strict=True):
        assert torch.equal(left, right), "a second pass differs"


def _made(subject: Subject, **settings: object) -> Device:
    device: Device = subject.made(settings)
    return device


def _found(device: Device) -> torch.device:
    try:
        return device.find()
    except LabwrightError as error:
        raise NotApplicable(f"it isn't there: {error}") from error
