"""Finding devices, what is said where one is missing, and the loss scale of fp16."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from labwright.base.errors import LabwrightError
from labwright.builtin.devices import CPU, CUDA, MPS, Auto
from labwright.config.signature import signature
from labwright.interfaces.device import Device
from labwright.train.loss_scale import LossScale
from torch import nn
from torch.amp import GradScaler

HAS_CUDA, HAS_MPS = torch.cuda.is_available(), torch.backends.mps.is_available()
DEVICES = [torch.device("cpu"), *([torch.device("cuda", 0)] if HAS_CUDA else [])]
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU")


def test_auto_takes_the_first_of_cuda_mps_and_cpu_that_is_there():
    expected = "cuda:0" if HAS_CUDA else "mps" if HAS_MPS else "cpu"
    assert str(Auto().find()) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_processor_trains_in_every_precision(precision):
    settings = CPU(precision=precision)
    device = settings.find()
    model, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3)), torch.randn(2, 1, 4, 4)
    context = settings.autocast(device)
    if context is None:
        loss = model(x).float().square().mean()
    else:
        with context:
            loss = model(x).float().square().mean()
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
def test_a_missing_gpu_is_named_with_the_reason_and_with_what_is_there():
    with pytest.raises(LabwrightError) as caught:
        CUDA().find()
    message = str(caught.value)
    assert message.startswith("device 'cuda': torch ")
    assert "There is 'cpu'; device 'auto' takes what is there." in message or HAS_MPS


@pytest.mark.skipif(HAS_MPS, reason="there is an Apple GPU")
def test_a_missing_apple_gpu_is_named_with_what_is_there():
    with pytest.raises(LabwrightError, match=r"device 'mps' .*There is .*'cpu'; device 'auto' takes what is there\."):
        MPS().find()


@needs_cuda
def test_an_index_beyond_the_gpus_lists_those_that_are_there():
    name = torch.cuda.get_device_name(0)
    with pytest.raises(LabwrightError) as caught:
        CUDA(index=torch.cuda.device_count()).find()
    assert f"given {torch.cuda.device_count()}; there are 0 ({name})" in str(caught.value)


@needs_cuda
def test_bf16_is_found_where_a_gpu_computes_it_and_refused_where_it_does_not():
    if torch.cuda.get_device_capability(0) >= (8, 0):
        assert CUDA(precision="bf16").find() == torch.device("cuda", 0)
    else:
        with pytest.raises(LabwrightError, match="has no bf16 arithmetic; use 'fp16' or 'fp32'"):
            CUDA(precision="bf16").find()


@pytest.mark.long
def test_a_gpu_hidden_by_the_environment_is_not_there():
    code = "from labwright.builtin.devices import CUDA; CUDA().find()"
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "LabwrightError: device 'cuda': torch" in done.stderr


@pytest.mark.parametrize("device", [Auto, CPU, CUDA, MPS])
def test_every_device_takes_the_settings_of_the_interface(device):
    common = set(signature(Device).settings)
    assert set(signature(device).settings) == common | ({"index"} if device is CUDA else set())
    built = device(precision="bf16", compile=True, accumulate=2, workers=3, threads=4)
    assert (built.precision, built.compile, built.accumulate, built.workers, built.threads) == ("bf16", True, 2, 3, 4)


# ------------------------------------------------------------------------------------------------------- loss scale


def trajectory_of_grad_scaler(device: torch.device, overflows: list[bool]) -> list[float]:
    """The scales of torch.amp.GradScaler over steps whose gradient overflows or not, as its users would run it."""
    scaler = GradScaler(device.type, init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000)
    weight = nn.Parameter(torch.ones(3, device=device))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scales = []
    for overflow in overflows:
        scaler.scale((weight * (torch.inf if overflow else 1.0)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return scales


def trajectory(device: torch.device, overflows: list[bool], scale: LossScale) -> list[float]:
    weight = nn.Parameter(torch.ones(3, device=device))
    scales = []
    for overflow in overflows:
        scale.scale((weight * (torch.inf if overflow else 1.0)).sum()).backward()
        scale.update(scale.unscale([weight.grad]))
        weight.grad = None
        scales.append(float(scale.state_dict()["scale"]))
    return scales


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_scale_goes_the_way_of_torchs_grad_scaler(device):
    overflows = [step in (1, 2, 3, 2500, 2501, 5000) for step in range(6600)]
    scales = trajectory(device, overflows, LossScale(device))
    assert scales == trajectory_of_grad_scaler(device, overflows)
    assert {8192.0, 16384.0, 65536.0, 4096.0} <= set(scales)  # it fell and it rose


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_unscaled_gradients_are_the_gradients(device):
    weight = nn.Parameter(torch.randn(5, 3, device=device))
    scale = LossScale(device)
    scale.scale(weight.square().sum()).backward()
    found_inf = scale.unscale([weight.grad])
    assert torch.equal(weight.grad, 2 * weight)  # exact: the scale is a power of two
    assert (found_inf.shape, found_inf.dtype, found_inf.device.type, found_inf.item()) == (
        torch.Size([]),
        torch.float32,
        device.type,
        0.0,
    )


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_one_value_that_is_no_number_is_found_among_all_gradients(device, value):
    grads = [torch.ones(4, device=device), torch.ones(2, 2, device=device)]
    grads[1][1, 0] = value
    assert LossScale(device).unscale(grads).item() == 1.0


def test_no_gradients_hold_no_overflow():
    assert LossScale(torch.device("cpu")).unscale([]).item() == 0.0


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_scale_goes_on_from_its_state_as_if_it_had_never_stopped(device):
    overflows = [step in (5, 1000) for step in range(3100)]
    whole = trajectory(device, overflows, LossScale(device))
    first = LossScale(device)
    beginning = trajectory(device, overflows[:1500], first)
    state = {name: tensor.cpu() for name, tensor in first.state_dict().items()}
    trajectory(device, [True], first)  # the state is a copy
    second = LossScale(device)
    second.load_state_dict(state)
    assert beginning + trajectory(device, overflows[1500:], second) == whole


@needs_cuda
def test_scaling_never_waits_for_the_gpu():
    scale, device = LossScale(torch.device("cuda", 0)), torch.device("cuda", 0)
    weight = nn.Parameter(torch.ones(3, device=device))
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        scale.scale(weight.sum()).backward()
        scale.update(scale.unscale([weight.grad]))
    finally:
        torch.cuda.set_sync_debug_mode(before)
