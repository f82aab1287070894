"""Light affine augmentation: every picture turned, shifted, resized and perhaps mirrored, a whole batch at once.

B batch, C channels, H height, W width. What a sample gets is a function of (seed, epoch, its index in the split), so
that neither batches, nor their order, nor loader workers, nor resuming change it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from labwright import Choice, Uniform, draws
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its customary name

# The settings, as they stand in a constructor. 0 and false: off.
Rotate = Annotated[float, Field(ge=0, le=180, description="largest angle, in degrees"), Uniform(0.0, 20.0)]
Shift = Annotated[float, Field(ge=0, lt=1, description="largest shift, as a share of the side"), Uniform(0.0, 0.15)]
Scale = Annotated[float, Field(ge=0, lt=1, description="largest change of size, as a share"), Uniform(0.0, 0.2)]
Flip = Annotated[bool, Field(description="mirror every second picture, left to right"), Choice(False, True)]

_DRAWS = 5  # columns of the table of draws: angle, shift in x, shift in y, size, mirrored


class Affine:
    """Augments the pictures of one split of `length` samples.

    Angles, shifts along each axis and factors on the size are uniform in ±`rotate` degrees, ±`shift` sides and
    1 ± `scale`. Sampling is bilinear; beyond the border there is `fill`, or the border's own colour if it is None.
    """

    def __init__(
        self,
        length: int,
        *,
        rotate: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        flip: bool = False,
        fill: float | None = None,
    ) -> None:
        self.length, self.rotate, self.shift, self.scale, self.flip, self.fill = (
            length,
            rotate,
            shift,
            scale,
            flip,
            fill,
        )
        self._table = (-1, -1, torch.empty(0))  # seed, epoch, draws: the last that was asked for

    @property
    def active(self) -> bool:
        return self.flip or max(self.rotate, self.shift, self.scale) > 0

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """The pictures of the samples at `indices_B` as this epoch shows them: same shape, a new tensor."""
        theta_B23 = self._maps(self._draws(seed, epoch)[indices_B], *x_BCHW.shape[2:])
        grid_BHW2 = F.affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False)
        if self.fill is None:
            return _sampled(x_BCHW, grid_BHW2, "border")
        return _sampled(x_BCHW - self.fill, grid_BHW2, "zeros").add_(self.fill)

    def _draws(self, seed: int, epoch: int) -> Tensor:
        if self._table[:2] != (seed, epoch):
            self._table = (seed, epoch, draws(self.length, _DRAWS, seed=seed, epoch=epoch))
        return self._table[2]

    def _maps(self, draws_B5: Tensor, height: int, width: int) -> Tensor:
        """Where each output position comes from: maps (B, 2, 3) in the coordinates of `affine_grid`, -1..1."""
        angle_B, x_B, y_B, size_B = (draws_B5[:, :4] * 2 - 1).unbind(1)
        angle_B = torch.deg2rad(angle_B * self.rotate)
        size_B = 1 + size_B * self.scale
        cos_B, sin_B = angle_B.cos() / size_B, angle_B.sin() / size_B
        x_B, y_B = x_B * 2 * self.shift, y_B * 2 * self.shift
        tall = height / width  # an angle is one of pixels, not of half sides
        turn_B22 = torch.stack([cos_B, -sin_B * tall, sin_B / tall, cos_B], dim=1).view(-1, 2, 2)
        if self.flip:
            mirror_B = torch.where(draws_B5[:, 4] < 0.5, -1.0, 1.0)
            turn_B22 = turn_B22 * torch.stack([mirror_B, torch.ones_like(mirror_B)], dim=1)[:, :, None]
        offset_B21 = -turn_B22 @ torch.stack([x_B, y_B], dim=1)[:, :, None]
        return torch.cat([turn_B22, offset_B21], dim=2)


def _sampled(x_BCHW: Tensor, grid_BHW2: Tensor, padding: Literal["border", "zeros"]) -> Tensor:
    return F.grid_sample(x_BCHW, grid_BHW2, mode="bilinear", padding_mode=padding, align_corners=False)
