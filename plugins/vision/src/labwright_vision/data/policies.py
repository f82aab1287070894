"""Augmentation by torchvision's policies, sample by sample, and parts of pictures erased.

B batch, C channels, H height, W width. As in `augment`, what a sample gets is a function of (seed, epoch, its index).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from labwright import derived_seed
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Draws

Policy = Annotated[
    Literal["rand-augment", "trivial-augment"] | None,
    Field(description="operations of torchvision, drawn for each training picture; left out: none."),
]
Erase = Annotated[
    float, Field(ge=0, le=1, description="share of the training pictures of which a rectangle is erased.")
]

_OF_POLICY, _OF_ERASING = 12, 13  # streams of draws, beside those in `augment`
_SMALLEST, _LARGEST, _LONGEST = 0.02, 0.4, 10 / 3  # areas erased and their aspect: Zhong et al. 2020, section 5


class Operations:
    """RandAugment (Cubuk et al. 2020) or TrivialAugment (Müller & Hutter 2021) of torchvision, with its defaults.

    Pictures are brought back to 8 bits for it; `mean` and `deviation`, a number for each channel, say how pixel values
    0..1 were scaled. What a picture is turned out of is black.
    """

    def __init__(
        self,
        policy: Literal["rand-augment", "trivial-augment"] | None,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ) -> None:
        self.policy = policy
        self._mean, self._deviation = torch.tensor(mean)[:, None, None], torch.tensor(deviation)[:, None, None]

    @property
    def active(self) -> bool:
        return self.policy is not None

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """The pictures of the samples at `indices_B` as this epoch shows them: same shape, a new tensor."""
        bytes_BCHW = ((x_BCHW * self._deviation + self._mean) * 255).round().clamp(0, 255).to(torch.uint8)
        change = _of_torchvision(self.policy)
        changed = []
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
            for picture_CHW, index in zip(bytes_BCHW, indices_B.tolist(), strict=True):
                # not torch.manual_seed, which seeds each GPU as well, and the model's dropout there
                torch.default_generator.manual_seed(derived_seed(seed, epoch, index, _OF_POLICY))
                changed.append(change(picture_CHW))
        return torch.stack(changed).float().div_(255).sub_(self._mean).div_(self._deviation)


def _of_torchvision(policy: str | None) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    made: Callable[[Tensor], Tensor] = v2.RandAugment() if policy == "rand-augment" else v2.TrivialAugmentWide()
    return made


class Erasing:
    """Random erasing (Zhong et al. 2020): of a share `erase` of pictures a rectangle becomes the mean of all pictures.

    Its area is uniform in 0.02 to 0.4 of the picture, its aspect log-uniform in 0.3 to 3.3, its place uniform.
    """

    def __init__(self, length: int, erase: float) -> None:
        self.erase, self._draws = erase, Draws(length, 5, stream=_OF_ERASING)

    @property
    def active(self) -> bool:
        return self.erase > 0

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """The pictures of the samples at `indices_B` as this epoch shows them: same shape, a new tensor."""
        height, width = x_BCHW.shape[2:]
        draws_B5 = self._draws(seed, epoch)[indices_B]
        area_B = (_SMALLEST + draws_B5[:, 1] * (_LARGEST - _SMALLEST)) * height * width
        aspect_B = ((draws_B5[:, 2] * 2 - 1) * math.log(_LONGEST)).exp()
        high_B = (area_B * aspect_B).sqrt().round().clamp(1, height)
        wide_B = (area_B / aspect_B).sqrt().round().clamp(1, width)
        top_B, left_B = (
            (draws_B5[:, 3] * (height - high_B + 1)).floor(),
            (draws_B5[:, 4] * (width - wide_B + 1)).floor(),
        )
        rows_H, columns_W = torch.arange(height), torch.arange(width)
        in_rows_BH = (rows_H >= top_B[:, None]) & (rows_H < (top_B + high_B)[:, None])
        in_columns_BW = (columns_W >= left_B[:, None]) & (columns_W < (left_B + wide_B)[:, None])
        erased_B = draws_B5[:, 0] < self.erase
        mask_BHW = in_rows_BH[:, :, None] & in_columns_BW[:, None] & erased_B[:, None, None]
        return x_BCHW.masked_fill(mask_BHW[:, None], 0.0)
