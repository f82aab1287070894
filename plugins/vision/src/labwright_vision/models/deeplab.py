"""DeepLabV3+: a class for each pixel, on a backbone of timm. B batch, C channels, H height, W width."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from labwright import Image, Integers, LabwrightError, nearest
from labwright_tasks.dense_labels import PositionClasses
from pydantic import Field
from torch import Tensor, nn

from labwright_vision.models.timm import check_option, reason, tried
from labwright_vision.models.unet import enlarged

_BESIDE = 48  # channels that the finer features are reduced to: Chen et al. 2018, table 1
_FINE, _COARSE = 4, 16  # how many times smaller than the picture features are


class DeepLab(nn.Module):
    """DeepLabV3+ (Chen et al. 2018): atrous spatial pyramid pooling, and a decoder with the finer features beside it.

    The backbone's last stages are atrous where it has that, so that their features are 16 times smaller than the
    picture; the finer ones are 4 times smaller, or nearly. The pyramid has a 1x1 convolution, one of 3x3 at each rate,
    and the picture's mean.

    Args:
        backbone: name of an architecture of timm, such as "resnet18" or "mobilenetv3_small_100".
        pretrained: whether the backbone begins with timm's weights, from the Hugging Face hub or its local cache.
        width: channels of each branch of the pyramid, and of the decoder.
        rates: dilations of the pyramid's 3x3 convolutions, one for each, in pixels of the coarse features.
        dropout: share of the pyramid's features that is zeroed, while training.
        options: further arguments of `timm.create_model`.

    Raises LabwrightError for a name timm doesn't have, with timm's own words for what it can't build, and for a
    backbone without such features.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: PositionClasses,
        *,
        backbone: str = "resnet18",
        pretrained: bool = False,
        width: Annotated[int, Field(ge=8), Integers(32, 256, log=True)] = 128,
        rates: list[Annotated[int, Field(ge=1)]] = [6, 12, 18],  # noqa: B006 - read, never changed
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = _features(backbone, inputs, pretrained, options or {})
        sizes, channels = self.backbone.feature_info.reduction(), self.backbone.feature_info.channels()
        self.fine = min(range(len(sizes)), key=lambda stage: abs(sizes[stage] - _FINE))
        if sizes[self.fine] == sizes[-1]:
            raise LabwrightError(
                f"model.backbone: all features of {backbone!r} are {sizes[-1]} times smaller than the picture, none "
                "finer for the decoder; choose another, such as 'resnet18'."
            )
        self.pyramid = _Pyramid(channels[-1], width, rates, dropout)
        self.beside = _convolution(channels[self.fine], _BESIDE, kernel=1)
        self.decoder = nn.Sequential(_convolution(width + _BESIDE, width), _convolution(width, width))
        self.head = nn.Conv2d(width, len(outputs.names), kernel_size=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, H, W, classes), for pictures of any size that the backbone takes."""
        features = self.backbone(x_BCHW)
        fine_BCHW = self.beside(features[self.fine])
        y_BCHW = enlarged(self.pyramid(features[-1]), fine_BCHW.shape[2:])
        y_BCHW = self.head(self.decoder(torch.cat([y_BCHW, fine_BCHW], dim=1)))
        return enlarged(y_BCHW, x_BCHW.shape[2:]).movedim(1, -1)


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017, section 3.3)."""

    def __init__(self, before: int, width: int, rates: list[int], dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_convolution(before, width, kernel=1), *(_convolution(before, width, dilation=rate) for rate in rates)]
        )
        # without a norm: of one value for each picture a batch of one has no variance
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(before, width, kernel_size=1), nn.ReLU())
        self.joined = _convolution((len(rates) + 2) * width, width, kernel=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [branch(x_BCHW) for branch in self.branches]
        whole_BCHW = self.whole(x_BCHW).expand(-1, -1, *x_BCHW.shape[2:])
        joined: Tensor = self.dropout(self.joined(torch.cat([*branches, whole_BCHW], dim=1)))
        return joined


def _features(name: str, inputs: Image, pretrained: bool, options: dict[str, Any]) -> Any:
    import timm  # seven seconds: only a run that uses it pays them

    if not timm.is_model(name):
        raise LabwrightError(
            f"model.backbone: timm {timm.__version__} has no {name!r}"
            f"{nearest(name.partition('.')[0], timm.list_models())} `timm.list_models()` shows all."
        )
    for option in options:
        check_option(option)
    given = {"pretrained": pretrained, "features_only": True, "in_chans": inputs.channels, **options}
    try:
        try:
            network: Any = timm.create_model(name, **{"output_stride": _COARSE, **given})
        except (TypeError, NotImplementedError, AssertionError):  # one whose strides are what they are
            network = timm.create_model(name, **given)
        return tried(network, inputs)
    except Exception as error:  # the builders behind 1,000 names raise anything
        raise LabwrightError(
            f"model.backbone: timm can't give features of {name!r} for pictures of {inputs.height}x{inputs.width} "
            f"pixels: {reason(error)}"
        ) from error


def _convolution(before: int, after: int, *, kernel: int = 3, dilation: int = 1) -> nn.Module:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2 * dilation, dilation=dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
