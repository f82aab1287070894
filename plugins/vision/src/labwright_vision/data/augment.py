"""Augmentation of a whole batch at once: pictures turned, shifted, resized, cut, perhaps mirrored, and recoloured.

B batch, C channels, H height, W width. What a sample gets is a function of (seed, epoch, its index in the split), so
that neither batches, nor their order, nor loader workers, nor resuming change it.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol

import torch
from labwright import LEFT_OUT, Choice, Uniform, derived_seed, draws
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its customary name

# The settings, as they stand in a constructor. 0 and false: off.
Rotate = Annotated[
    float,
    Field(ge=0, le=180, description="largest angle that training pictures are turned by, in degrees."),
    Uniform(0.0, 20.0),
]
Shift = Annotated[
    float,
    Field(ge=0, lt=1, description="largest shift of training pictures, as a share of the side."),
    Uniform(0.0, 0.15),
]
Scale = Annotated[
    float, Field(ge=0, lt=1, description="largest change of size of training pictures, as a share."), Uniform(0.0, 0.2)
]
Flip = Annotated[
    bool, Field(description="whether half of the training pictures are mirrored, left to right."), Choice(False, True)
]
Crop = Annotated[
    float,
    Field(ge=0, lt=1, description="largest share of the area cut away from training pictures."),
    Uniform(0.0, 0.9),
]
Jitter = Annotated[
    float, Field(ge=0, le=1, description="strength of changes of the colours of training pictures."), Uniform(0.0, 1.0)
]
Grey = Annotated[
    float, Field(ge=0, le=1, description="share of the training pictures that are shown in grey."), Uniform(0.0, 0.5)
]

_OF_AFFINE, _OF_CROP, _OF_COLOURS = 5, 4, 6  # columns of the tables of draws
_ASPECT = math.log(4 / 3)  # of the longest and the tallest crop
_JITTERED = 0.8  # the share of pictures whose colours change, and by how much at strength 1: Chen et al. 2020
_FACTORS, _HUE = 0.8, 0.2
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow and torchvision
_TO_IQ = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # of NTSC's YIQ: what there is beside luma


class Augment(Protocol):
    """Pictures of the samples at `indices_B`, as an epoch shows them: same shape, a new tensor."""

    @property
    def active(self) -> bool: ...

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor: ...


class Draws:
    """Tables of uniform numbers, a row for each of `length` samples; `stream` tells one table of an epoch from another.

    The last two are kept: two views of a sample alternate between two seeds.
    """

    def __init__(self, length: int, width: int, stream: int | None = None) -> None:
        self.length, self.width, self.stream = length, width, stream
        self._tables: dict[tuple[int, int], Tensor] = {}

    def __call__(self, seed: int, epoch: int) -> Tensor:
        if (seed, epoch) not in self._tables:
            of_stream = seed if self.stream is None else derived_seed(seed, self.stream)
            table = draws(self.length, self.width, seed=of_stream, epoch=epoch)
            self._tables = {**dict(list(self._tables.items())[-1:]), (seed, epoch): table}
        return self._tables[seed, epoch]


class Affine:
    """Augments the pictures of one split of `length` samples.

    Angles, shifts along each axis and factors on the size are uniform in ±`rotate` degrees, ±`shift` sides and
    1 ± `scale`. Of what that shows, a crop is resized to the whole: its area is uniform in 1 - `crop` to 1, its aspect
    log-uniform in 3/4 to 4/3, its place uniform (Szegedy et al. 2015, section 6). Sampling is bilinear; beyond the
    border there is `fill`, or the border's own colour if it is None.
    """

    def __init__(
        self,
        length: int,
        *,
        rotate: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        flip: bool = False,
        crop: float = 0.0,
        fill: float | None = None,
    ) -> None:
        self.rotate, self.shift, self.scale, self.flip, self.crop, self.fill = rotate, shift, scale, flip, crop, fill
        self._draws, self._crops = Draws(length, _OF_AFFINE), Draws(length, _OF_CROP, stream=10)

    @property
    def active(self) -> bool:
        return self.flip or max(self.rotate, self.shift, self.scale, self.crop) > 0

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """The pictures of the samples at `indices_B` as this epoch shows them: same shape, a new tensor."""
        return self._shown(x_BCHW, self._grid(x_BCHW, indices_B, epoch, seed))

    def with_labels(
        self, x_BCHW: Tensor, labels_BHW: Tensor, indices_B: Tensor, epoch: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """The pictures, and the label of the nearest pixel for each of theirs; beyond the border it is LEFT_OUT."""
        grid_BHW2 = self._grid(x_BCHW, indices_B, epoch, seed)
        raised_B1HW = (labels_BHW - LEFT_OUT)[:, None].to(x_BCHW.dtype)  # zeros around it are LEFT_OUT
        nearest_B1HW = F.grid_sample(raised_B1HW, grid_BHW2, mode="nearest", padding_mode="zeros", align_corners=False)
        return self._shown(x_BCHW, grid_BHW2), nearest_B1HW[:, 0].round().to(labels_BHW.dtype) + LEFT_OUT

    def _grid(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """Where each pixel comes from, (B, H, W, 2) in the coordinates of `grid_sample`."""
        theta_B23 = self._maps(self._draws(seed, epoch)[indices_B], *x_BCHW.shape[2:])
        if self.crop:
            theta_B23 = theta_B23 @ self._windows(self._crops(seed, epoch)[indices_B])
        return F.affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False)

    def _shown(self, x_BCHW: Tensor, grid_BHW2: Tensor) -> Tensor:
        if self.fill is None:
            return _sampled(x_BCHW, grid_BHW2, "border")
        return _sampled(x_BCHW - self.fill, grid_BHW2, "zeros").add_(self.fill)

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

    def _windows(self, draws_B4: Tensor) -> Tensor:
        """Where each position of a crop is in the whole: maps (B, 3, 3) in homogeneous coordinates, -1..1."""
        area_B, aspect_B = 1 - draws_B4[:, 0] * self.crop, ((draws_B4[:, 1] * 2 - 1) * _ASPECT).exp()
        sides_B2 = torch.stack([(area_B * aspect_B).sqrt(), (area_B / aspect_B).sqrt()], dim=1).clamp(max=1)
        centres_B2 = (draws_B4[:, 2:] * 2 - 1) * (1 - sides_B2)
        windows_B33 = torch.diag_embed(F.pad(sides_B2, (0, 1), value=1.0))
        windows_B33[:, :2, 2] = centres_B2
        return windows_B33


class Colours:
    """Changes the colours of the pictures of one split of `length` samples, as Chen et al. 2020 (SimCLR) do.

    At `jitter` s, in 80 of 100 pictures factors on brightness, contrast and saturation are uniform in 1 ± 0.8 s, and
    the hue turns by up to ±0.2 s of a circle, in the plane of YIQ. Of grey pictures brightness and contrast change. A
    share `grey` of pictures is shown in grey. Values are clipped to 0..1 once, at the end, so that the order of these
    makes no difference; `mean` and `deviation`, a number for each channel, say how pixel values 0..1 were scaled.
    """

    def __init__(
        self, length: int, *, jitter: float, grey: float, mean: tuple[float, ...], deviation: tuple[float, ...]
    ) -> None:
        self.jitter, self.grey = jitter, grey
        self._mean, self._deviation = torch.tensor(mean)[:, None, None], torch.tensor(deviation)[:, None, None]
        self._draws = Draws(length, _OF_COLOURS, stream=11)

    @property
    def active(self) -> bool:
        return max(self.jitter, self.grey if len(self._mean) == len(_LUMA) else 0.0) > 0

    def __call__(self, x_BCHW: Tensor, indices_B: Tensor, epoch: int, seed: int) -> Tensor:
        """The pictures of the samples at `indices_B` as this epoch shows them: same shape, a new tensor."""
        draws_B6 = self._draws(seed, epoch)[indices_B]
        changes_B4 = (draws_B6[:, :4] * 2 - 1) * (draws_B6[:, 4:5] < _JITTERED) * self.jitter
        factors_B3, turns_B = 1 + _FACTORS * changes_B4[:, :3], _HUE * changes_B4[:, 3]
        factors_B3[:, 2] *= draws_B6[:, 5] >= self.grey
        values_BCHW = x_BCHW * self._deviation + self._mean
        return recoloured(values_BCHW, factors_B3, turns_B).sub_(self._mean).div_(self._deviation)


def recoloured(values_BCHW: Tensor, factors_B3: Tensor, turns_B: Tensor) -> Tensor:
    """Pixel values 0..1 after factors on brightness, contrast, saturation, and turns of the hue, in circles."""
    bright_B, contrast_B, saturation_B = factors_B3[:, :, None, None, None].unbind(1)
    grey = values_BCHW.shape[1] == 1
    luma_B1HW = values_BCHW if grey else (values_BCHW * torch.tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    mean_B111 = luma_B1HW.mean(dim=(2, 3), keepdim=True)
    shown_BCHW = contrast_B * (luma_B1HW - mean_B111) + mean_B111
    if not grey:
        chroma_BCHW = torch.einsum("bdc,bchw->bdhw", _turned(turns_B), values_BCHW - luma_B1HW)
        shown_BCHW = shown_BCHW + contrast_B * saturation_B * chroma_BCHW
    return (bright_B * shown_BCHW).clamp_(0, 1)


def _turned(turns_B: Tensor) -> Tensor:
    """What turns the colour beside luma by parts of a circle: maps (B, 3, 3) of red, green and blue."""
    to_iq_23 = torch.tensor(_TO_IQ)
    # luma of what they give is 0: the inverse of luma and IQ together, without its first column
    from_iq_32 = torch.linalg.inv(torch.cat([torch.tensor(_LUMA)[None], to_iq_23]))[:, 1:]
    angles_B = turns_B * math.tau
    cos_B, sin_B = angles_B.cos(), angles_B.sin()
    turn_B22 = torch.stack([cos_B, -sin_B, sin_B, cos_B], dim=1).view(-1, 2, 2)
    turned_B33: Tensor = from_iq_32 @ turn_B22 @ to_iq_23
    return turned_B33


def _sampled(x_BCHW: Tensor, grid_BHW2: Tensor, padding: Literal["border", "zeros"]) -> Tensor:
    return F.grid_sample(x_BCHW, grid_BHW2, mode="bilinear", padding_mode=padding, align_corners=False)
