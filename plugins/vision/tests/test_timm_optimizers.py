"""The timm/* family of optimizers: what is in it, and that each member's run can be resumed exactly."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from labwright import LabwrightError
from labwright_tasks.library_optimizers import LibraryOptimizer
from labwright_vision.optimizers import TIMM
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"head.weight": (20, 17), "conv.weight": (4, 3, 3, 3), "head.bias": (5,), "scale": ()}
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def train(optimizer: LibraryOptimizer, steps: range) -> None:
    """Steps on a noisy bowl; the second parameter has no gradient at first, the first none in step 4."""
    for step in steps:
        for index, parameter in enumerate(optimizer.parameters.values()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(10 * step + index))
            resting = (index == 1 and step < 3) or (index == 0 and step == 4)
            parameter.grad = None if resting else parameter.detach() * 0.5 + noise
        optimizer.step(optimizer.lr * 0.9**step)


def copied(optimizer: LibraryOptimizer) -> dict[str, dict[str, Tensor]]:
    return {name: {slot: one.clone() for slot, one in slots.items()} for name, slots in optimizer.state_dict().items()}


def test_every_member_of_the_family_resumes_exactly():
    assert {"lion", "adan", "lamb", "mars", "adafactor", "nadamw"} <= set(TIMM)
    for name, ours in TIMM.items():
        whole = ours(parameters(), lr=0.01)
        train(whole, range(8))
        for stop in (1, 5):
            first = ours(parameters(), lr=0.01)
            train(first, range(stop))
            weights = {key: nn.Parameter(one.detach().clone()) for key, one in first.parameters.items()}
            second = ours(weights, lr=0.01)
            second.load_state_dict(copied(first))
            train(second, range(stop, 8))
            for key, one in whole.parameters.items():
                assert torch.equal(one, second.parameters[key]), (name, key, stop)


def test_what_cannot_be_used_is_no_member():
    assert "adahessian" not in TIMM  # needs the graph of the gradients
    assert "kron" not in TIMM  # keeps lists
    assert ("fusedadam" in TIMM) <= torch.cuda.is_available()


def test_members_have_the_defaults_of_timms_own_factory():
    from timm.optim import create_optimizer_v2

    for name in ("sgd", "momentum", "lion", "adopt", "lamb", *({"muon"} & set(TIMM))):  # muon is of later versions
        mine, theirs = parameters(), parameters()
        optimizer = TIMM[name](mine, lr=0.01, weight_decay=0.02)
        reference = create_optimizer_v2(list(theirs.values()), name, lr=0.01, weight_decay=0.02)
        for step in range(5):
            for one, other in zip(mine.values(), theirs.values(), strict=True):
                noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
                one.grad, other.grad = one.detach() + noise, other.detach() + noise
            optimizer.step(0.01)
            reference.step()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), name


def test_an_unknown_option_is_answered_with_the_nearest():
    with pytest.raises(LabwrightError, match="'timm/lion' has no option 'beta'; did you mean 'betas'"):
        TIMM["lion"](parameters(), options={"beta": [0.9, 0.99]})


def test_an_optimizer_without_a_rate_of_its_own_asks_for_one():
    with pytest.raises(LabwrightError, match="'timm/adafactor' has no rate of its own"):
        TIMM["adafactor"](parameters())


def test_timm_is_imported_only_when_a_member_is_looked_up():
    script = "import sys, labwright_vision.optimizers as o; print('timm' in sys.modules, 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
