"""A one-stage detector without anchor boxes. A anchor points, B batch, C channels or classes, H height, W width."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from labwright import Choice, Image, Integers, LabwrightError, When, nearest
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_vision.detection.ports import Boxes
from labwright_vision.models.residual import Conv, Residual
from labwright_vision.models.timm import reason, tried

_LEVELS = 3  # of the pyramid: strides 8, 16 and 32
_PRIOR = 0.01  # how probable each class is at first: Lin et al. 2017, section 4.1


class Detector(nn.Module):
    """Classes and boxes at each point of a feature pyramid, as FCOS (Tian et al. 2019) and the later YOLOs have them.

    A backbone gives features at strides 8, 16 and 32; those of a timm backbone are of its last three levels. The
    pyramid (Lin et al. 2017) passes the coarse ones down, and a head of two branches, shared by the levels, says for
    each point which class is there and how far it is to the four sides of its box.

    Args:
        backbone: name of an architecture of timm, or "residual", a small residual network.
        pretrained: whether a backbone of timm begins with timm's weights.
        width: channels of the residual backbone's first convolution; its stages have 2, 4, 6 and 8 times as many.
        depth: residual blocks of each stage of the residual backbone.
        head_width: channels of the pyramid and of the head.
        head_depth: convolutions of each branch of the head.
        bins: how many distances of a side, of 0, 1, 2 and so on strides, are given a probability, for the loss's part
            `dfl`, such as 16; the mean is the side's. 0: a distance is one number.
        norm: norm of the pyramid, the head and the residual backbone; "group" suits small batches.

    Raises LabwrightError for GroupNorm beside a backbone of timm that has BatchNorm, and for one that can't give
    features of such pictures.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Boxes,
        *,
        backbone: str = "residual",
        pretrained: bool = False,
        width: Annotated[int, Field(ge=4, multiple_of=4), Integers(8, 32, step=4), When("backbone", "residual")] = 16,
        depth: Annotated[int, Field(ge=1), Integers(1, 3), When("backbone", "residual")] = 1,
        head_width: Annotated[int, Field(ge=8, multiple_of=8), Integers(32, 96, step=8)] = 40,
        head_depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        bins: Annotated[int, Field(ge=0), Choice(0, 16)] = 0,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        if bins == 1:
            raise LabwrightError("model.bins: one distance is always 0; give 0 for a plain number, or 8 to 32.")
        if pretrained and backbone == "residual":
            raise LabwrightError("model.pretrained: 'residual' has no such weights; an architecture of timm may.")
        self.bins, classes = bins, len(outputs.names)
        if backbone == "residual":
            self.backbone: nn.Module = Residual(inputs.channels, width, depth, norm)
            channels, strides = [4 * width, 6 * width, 8 * width], [8, 16, 32]
        else:
            self.backbone, channels, strides = _of_timm(backbone, inputs, pretrained)
        self.strides = tuple(strides)
        self.lateral = nn.ModuleList(Conv(channel, head_width, norm, kernel=1) for channel in channels)
        self.smooth = nn.ModuleList(Conv(head_width, head_width, norm) for _ in channels)
        branch = [head_width] * head_depth
        self.class_branch = nn.Sequential(*(Conv(channel, channel, norm) for channel in branch))
        self.box_branch = nn.Sequential(*(Conv(channel, channel, norm) for channel in branch))
        self.class_head = nn.Conv2d(head_width, classes, kernel_size=1)
        self.box_head = nn.Conv2d(head_width, 4 * max(1, bins), kernel_size=1)
        nn.init.constant_(self.class_head.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]
        self.scales = nn.Parameter(torch.ones(len(channels)))  # of the distances of each level, as in FCOS
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU
        if norm == "group" and (name := _first_batch_norm(self.backbone)):
            raise LabwrightError(
                f"model.norm: 'group' is of the pyramid and the head, and the backbone {backbone!r} has BatchNorm, as "
                f"in {name!r}: choose one without, such as 'convnext_atto', or norm = 'batch'."
            )

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """Logits, boxes and anchors of all levels' points, as `Boxes` says."""
        levels = [
            self._level(features, stride, scale)
            for features, stride, scale in zip(self._pyramid(x_BCHW), self.strides, self.scales, strict=True)
        ]
        return {name: torch.cat([level[name] for level in levels], dim=1) for name in levels[0]}

    def _pyramid(self, x_BCHW: Tensor) -> list[Tensor]:
        features = [lateral(one) for lateral, one in zip(self.lateral, self.backbone(x_BCHW)[-_LEVELS:], strict=True)]
        for level in range(len(features) - 2, -1, -1):
            coarser = functional.interpolate(features[level + 1], size=features[level].shape[2:], mode="nearest")
            features[level] = features[level] + coarser
        return [smooth(one) for smooth, one in zip(self.smooth, features, strict=True)]

    def _level(self, features_BCHW: Tensor, stride: int, scale: Tensor) -> dict[str, Tensor]:
        logits_BAC = self.class_head(self.class_branch(features_BCHW)).flatten(2).mT
        raw_BAD = self.box_head(self.box_branch(features_BCHW)).flatten(2).mT
        anchors_A3 = _points(features_BCHW, stride)
        anchors_BA3 = anchors_A3.expand(raw_BAD.shape[0], -1, -1)
        found = {"logits": logits_BAC, "anchors": anchors_BA3}
        exact = torch.promote_types(raw_BAD.dtype, torch.float32)  # 16 bits would be half a pixel off
        if self.bins:
            # a level's scale sharpens or flattens its probabilities
            found["distances"] = raw_BAD.unflatten(2, (4, self.bins)) * scale
            steps_R = torch.arange(self.bins, device=raw_BAD.device, dtype=exact)
            with torch.autocast(raw_BAD.device.type, enabled=False):
                far_BA4 = found["distances"].softmax(-1, dtype=exact) @ steps_R
        else:
            far_BA4 = functional.softplus(raw_BAD.to(exact) * scale + 1)  # about 1.3 strides at first
        points, far = anchors_BA3[..., :2], far_BA4 * stride
        return found | {"boxes": torch.cat([points - far[..., :2], points + far[..., 2:]], dim=-1)}


def _points(features_BCHW: Tensor, stride: int) -> Tensor:
    """The middle of each cell, row by row, and the stride: (H * W, 3)."""
    height, width = features_BCHW.shape[2:]
    rows = torch.arange(height, device=features_BCHW.device, dtype=torch.float32) + 0.5
    columns = torch.arange(width, device=features_BCHW.device, dtype=torch.float32) + 0.5
    y_HW, x_HW = torch.meshgrid(rows * stride, columns * stride, indexing="ij")
    return torch.stack([x_HW, y_HW, torch.full_like(x_HW, stride)], dim=-1).flatten(0, 1)


def _first_batch_norm(backbone: nn.Module) -> str:
    layers = backbone.named_modules()
    return next((name for name, layer in layers if isinstance(layer, nn.modules.batchnorm._BatchNorm)), "")


def _of_timm(architecture: str, inputs: Image, pretrained: bool) -> tuple[nn.Module, list[int], list[int]]:
    """A backbone of timm, the channels of its last three levels, and their strides."""
    import timm  # seven seconds: only a run that uses it pays them

    if not timm.is_model(architecture):
        raise LabwrightError(
            f"model.backbone: it is neither 'residual' nor an architecture of timm {timm.__version__}, given "
            f"{architecture!r}{nearest(architecture, timm.list_models())} `timm.list_models()` shows all."
        )
    given: dict[str, Any] = {"in_chans": inputs.channels, "features_only": True, "pretrained": pretrained}
    try:
        whole: Any = timm.create_model(architecture, **given)
        count = len(whole.feature_info)
        last = tuple(range(max(0, count - _LEVELS), count))
        network = tried(timm.create_model(architecture, **given, out_indices=last), inputs)
    except Exception as error:  # the builders behind 1,000 names raise anything
        raise LabwrightError(
            f"model.backbone: timm can't give features of {architecture!r} for pictures of "
            f"{inputs.height}x{inputs.width} pixels: {reason(error)}"
        ) from error
    return network, list(network.feature_info.channels()), list(network.feature_info.reduction())
