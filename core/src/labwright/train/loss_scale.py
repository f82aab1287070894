"""The loss scale of fp16: gradients too small for half precision are lifted over its floor, and let down again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

START = 65536.0
GROWTH = 2.0
BACKOFF = 0.5
INTERVAL = 2000


class LossScale:
    """A factor on the loss that halves when a gradient overflows and doubles after 2000 steps without one.

    It lives on the device and no value is ever read on the host, so that a GPU never waits.
    Source: Micikevicius et al. 2018, section 3.2; numbers and kernels are those of torch.amp.GradScaler.
    """

    def __init__(self, device: torch.device) -> None:
        self._scale = torch.full((), START, dtype=torch.float32, device=device)
        self._growth = torch.zeros((), dtype=torch.int32, device=device)  # steps since the last change

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to call `backward` on."""
        return loss * self._scale

    def unscale(self, grads: list[Tensor]) -> Tensor:
        """Divide the gradients by the scale, in place. Returns found_inf, a float32 scalar on the device.

        It is 1 if any gradient holds inf or nan, else 0. The gradients share one dtype.
        """
        found_inf = torch.zeros_like(self._scale)
        if grads:
            # the scale is a power of two, so that its reciprocal is exact
            torch._amp_foreach_non_finite_check_and_unscale_(grads, found_inf, self._scale.reciprocal())
        return found_inf

    def update(self, found_inf: Tensor) -> None:
        """Adapt the scale, once a step, to what `unscale` returned."""
        torch._amp_update_scale_(self._scale, self._growth, found_inf, GROWTH, BACKOFF, INTERVAL)

    def state_dict(self) -> dict[str, Tensor]:
        """`scale` (float32) and `growth` (int32), scalars on the device; copies, which later steps don't change."""
        return {"scale": self._scale.clone(), "growth": self._growth.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that `state_dict` gave, from any device."""
        self._scale.copy_(state["scale"])
        self._growth.copy_(state["growth"])
