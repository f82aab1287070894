"""The detectors of torchvision. B batch, C channels, H height, W width, K detections, N boxes of a picture."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from labwright import LEFT_OUT, Choice, Image, Integers, LabwrightError, When, listed, nearest
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_vision.detection.metrics import MOST
from labwright_vision.detection.ports import Boxes, Instances
from labwright_vision.models.residual import Residual

_DIVISIBLE = 32  # what the sides of a picture are filled up to, as torchvision does: the coarsest stride of a backbone
_LEVELS = 5  # of the pyramid, those made of the coarsest features included
_GROUPS = 8  # channels of a group, about
_STAGES = 5  # of a backbone, its first convolution included
_POWERS = 2, 3, 4, 5  # of two, the strides of the stages that a pyramid of R-CNN stands on
_RATIOS = 0.5, 1.0, 2.0  # of anchors
_BOX_SIDE = 7  # cells along a side of what the second stage sees of a region
_OF_LEVEL, _OF_PICTURE = 500, 300  # regions that may hold something, before and after those that overlap are dropped


class TorchvisionDetector(nn.Module):
    """torchvision's Faster R-CNN (Ren et al. 2015), Mask R-CNN (He et al. 2017) or RetinaNet (Lin et al. 2017).

    They compute their losses themselves: the recipe's loss is `vision/torchvision-losses`. Crowds are left out of
    training, as in torchvision's own reference. With `resnet50`, `width = 256` and `norm = "batch"` a detector has the
    parameters of torchvision's `fasterrcnn_resnet50_fpn` and so on, under the same names. As pictures are small, 500
    regions of a level and then 300 of a picture are looked at again, where torchvision's own looks at 2,000 and 1,000.
    As there, R-CNN leaves out what scores below 0.05, and the worse of boxes of a class that overlap by more than half:
    `task.score` and `task.overlap` can be stricter than that, not more lenient.

    Args:
        architecture: which of the detectors; "mask-rcnn" needs data with masks (`task.data.masks = true`).
        backbone: name of a residual network of torchvision, such as `resnet50` or `resnext50_32x4d`, or `residual`, a
            small one for small pictures.
        pretrained: whether the backbone begins with torchvision's weights of ImageNet, from its server or the local
            cache.
        trainable_layers: how many of the five stages of a backbone of torchvision are trained, the last ones; the
            others stay as they began, by chance unless `pretrained` or the recipe's `start` gives them weights.
        norm: norm of the backbone. "group": GroupNorm, which suits small batches, in the pyramid and RetinaNet's head
            as well; "batch": BatchNorm, for 16 or more; "frozen": BatchNorm held as it was pretrained, else the
            identity.
        width: channels of the feature pyramid and of the heads; of `residual` an eighth in the first convolution.
        anchor: pixels along a side of the finest level's anchors, about; those of each coarser one have twice as many.
            torchvision has 32, for pictures of 800 pixels.
        regions: regions of a picture that may hold something, drawn for the second stage to learn from.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Boxes,
        *,
        architecture: Literal["faster-rcnn", "mask-rcnn", "retinanet"],
        backbone: str = "resnet18",
        pretrained: bool = False,
        trainable_layers: Annotated[int, Field(ge=0, le=5)] = 5,
        norm: Literal["group", "batch", "frozen"] = "group",
        width: Annotated[int, Field(ge=16, multiple_of=16), Integers(32, 128, step=16)] = 128,
        anchor: Annotated[int, Field(ge=4), Choice(8, 16, 32)] = 16,
        regions: Annotated[int, Field(ge=4), Choice(32, 64, 128), When("architecture", but=("retinanet",))] = 128,
    ) -> None:
        super().__init__()
        if architecture == "mask-rcnn" and not isinstance(outputs, Instances):
            raise LabwrightError(
                "model.architecture: 'mask-rcnn' learns from masks, and the data has none: set task.data.masks=true, "
                "where it has that, or take 'faster-rcnn'."
            )
        self.architecture, self._held = architecture, 0 if pretrained else _STAGES - trainable_layers
        pyramid = _pyramid(architecture, backbone, inputs.channels, pretrained, trainable_layers, norm, width)
        if architecture == "retinanet":
            self.network = _retinanet(pyramid, len(outputs.names), anchor, norm)
        else:
            masks = architecture == "mask-rcnn"
            self.network = _two_stages(pyramid, len(outputs.names), anchor, width, regions, masks)

    def remarks(self) -> Sequence[str]:
        """That some stages are held as they were drawn, where nothing says otherwise."""
        held = "stages of the backbone are held as they begin: as they were drawn, unless `start` gives them weights."
        return (f"model.trainable_layers: {self._held} {held}",) if self._held else ()

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """What RetinaNet says at each anchor, and what the others have found: both as `Boxes` says, or `Instances`."""
        if self.architecture == "retinanet":
            return self._dense(x_BCHW)
        if torch.compiler.is_exporting():
            raise LabwrightError(
                f"{self.architecture} looks again at as many regions as each picture has; 'retinanet' can be exported."
            )
        images, features = self._seen(x_BCHW, len(x_BCHW))
        with _mode(self.network, learning=False):
            proposals, _ = self.network.rpn(images, features)
            found, _ = self.network.roi_heads(features, proposals, images.image_sizes)
        return _stacked(found, (x_BCHW.shape[2], x_BCHW.shape[3]))

    def losses(self, x_BCHW: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a batch as torchvision computes them, by its names without `loss_`."""
        images, features = self._seen(x_BCHW, len(x_BCHW))
        rows = list(_rows(targets, first=0 if self.architecture == "retinanet" else 1))
        with _mode(self.network, learning=True):
            if self.architecture == "retinanet":
                levels = list(features.values())
                anchors = self.network.anchor_generator(images, levels)
                parts = self.network.compute_loss(rows, self.network.head(levels), anchors)
            else:
                proposals, parts = self.network.rpn(images, features, rows)
                _, second = self.network.roi_heads(features, proposals, images.image_sizes, rows)
                parts = parts | second
        return {name.removeprefix("loss_"): loss for name, loss in parts.items()}

    def _seen(self, x_BCHW: Tensor, count: int) -> tuple[Any, dict[str, Tensor]]:
        """`count` pictures as torchvision's parts take them, filled up, and the features of their pyramid."""
        from torchvision.models.detection.image_list import ImageList

        height, width = x_BCHW.shape[2:]
        filled = functional.pad(x_BCHW, (0, -width % _DIVISIBLE, 0, -height % _DIVISIBLE))
        # the anchors have their type
        features = {name: _exact(level) for name, level in self.network.backbone(filled).items()}
        return ImageList(filled, [(height, width)] * count), features

    def _dense(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        images, features = self._seen(x_BCHW, 1)  # all have the same anchors, and a graph any number of pictures
        levels = list(features.values())
        given = self.network.head(levels)
        deltas_BA4 = given["bbox_regression"]
        anchors_A4 = self.network.anchor_generator(images, levels)[0]
        anchors_BA4 = anchors_A4.expand(deltas_BA4.shape[0], -1, -1)
        boxes_BA4 = self.network.box_coder.decode_single(deltas_BA4.flatten(0, 1), anchors_BA4.flatten(0, 1))
        cells = [level.shape[2] * level.shape[3] for level in levels]
        strides = [images.tensors.shape[2] // level.shape[2] for level in levels]
        of_level = [
            torch.full((count * anchors_A4.shape[0] // sum(cells), 1), float(stride), device=anchors_A4.device)
            for count, stride in zip(cells, strides, strict=True)
        ]
        anchors_A3 = torch.cat([(anchors_A4[:, :2] + anchors_A4[:, 2:]) / 2, torch.cat(of_level)], dim=1)
        return {
            "logits": given["cls_logits"],
            "boxes": boxes_BA4.view_as(deltas_BA4),
            "anchors": anchors_A3.expand(deltas_BA4.shape[0], -1, -1),
        }


class _ExactCoder:
    """A coder of boxes of torchvision that gives them in float32 at least, by `decode` and `decode_single`.

    In 16 bits, as autocast has it, the corners of regions and of what is found were pixels off.
    """

    def __init__(self, coder: Any) -> None:
        self.encode, self._coder = coder.encode, coder

    def decode(self, codes: Tensor, boxes: list[Tensor]) -> Tensor:
        decoded: Tensor = self._coder.decode(_exact(codes), boxes)
        return decoded

    def decode_single(self, codes: Tensor, boxes: Tensor) -> Tensor:
        decoded: Tensor = self._coder.decode_single(_exact(codes), boxes)
        return decoded


def _exact(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _rows(targets: Mapping[str, Tensor], first: int) -> Iterator[dict[str, Tensor]]:
    """Of each picture what torchvision learns from: no crowd, nothing that fills up, and labels from `first` on."""
    for row in range(len(targets["labels"])):
        counted_N = (targets["labels"][row] != LEFT_OUT) & ~targets["crowd"][row]
        kept = {name: tensor[row][counted_N] for name, tensor in targets.items() if name != "crowd"}
        yield kept | {"labels": kept["labels"] + first}


def _stacked(found: list[dict[str, Tensor]], size: tuple[int, int]) -> dict[str, Tensor]:
    """What was found in each picture as a batch; labels without torchvision's background."""
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    columns: dict[str, list[Tensor]] = {
        "boxes": [one["boxes"] for one in found],
        "scores": [one["scores"] for one in found],
        "labels": [one["labels"] - 1 for one in found],
    }
    if "masks" in found[0]:
        pasted = (paste_masks_in_image(one["masks"].float(), one["boxes"].float(), size) for one in found)
        columns["masks"] = [masks[:, 0] >= 0.5 for masks in pasted]
    fills = {"labels": LEFT_OUT, "masks": False}
    return {
        name: nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fills.get(name, 0.0))
        for name, rows in columns.items()
    }


@contextmanager
def _mode(network: Any, *, learning: bool) -> Iterator[None]:
    """Within it torchvision's parts compute losses, or find: they ask `training`, which is also that of the norms."""
    parts = [getattr(network, name) for name in ("rpn", "roi_heads") if hasattr(network, name)]
    before = [part.training for part in parts]
    try:
        for part in parts:
            part.training = learning
        yield
    finally:
        for part, training in zip(parts, before, strict=True):
            part.training = training


def _pyramid(
    architecture: str, backbone: str, channels: int, pretrained: bool, trainable: int, norm: str, width: int
) -> nn.Module:
    """A backbone below a feature pyramid: of four levels and one made of the coarsest, or of three and two."""
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

    stages = (2, 3, 4) if architecture == "retinanet" else (1, 2, 3, 4)
    extra = LastLevelP6P7(width, width) if architecture == "retinanet" else LastLevelMaxPool()
    in_pyramid = _norm("group") if norm == "group" else None
    if backbone == "residual":
        _refuse_of_residual(pretrained, trainable, norm)
        small = Residual(channels, width // 8, 1, norm)
        places = {f"layer{number}": stage for number, stage in enumerate(small.stages, 1)}
        network: Any = nn.Sequential(OrderedDict({"stem": small.stem, **places}))
        of_stages = [small.channels[stage - 1] for stage in stages]
    else:
        network = _resnet(backbone, channels, pretrained, trainable, norm)
        of_stages = [network.fc.in_features // 2 ** (4 - stage) for stage in stages]
    layers = {f"layer{stage}": str(place) for place, stage in enumerate(stages)}
    pyramid: nn.Module = BackboneWithFPN(network, layers, of_stages, width, extra_blocks=extra, norm_layer=in_pyramid)
    return pyramid


def _refuse_of_residual(pretrained: bool, trainable: int, norm: str) -> None:
    for name, asked in (("pretrained", pretrained), ("trainable_layers", trainable < _STAGES)):
        if asked:
            raise LabwrightError(
                f"model.{name}: 'residual' has no weights to begin with; a network of torchvision may."
            )
    if norm == "frozen":
        raise LabwrightError("model.norm: 'residual' has nothing that could be frozen; choose 'group' or 'batch'.")


def _resnet(name: str, channels: int, pretrained: bool, trainable: int, norm: str) -> Any:
    """A network of torchvision by its name, perhaps with weights, of which some stages stand still."""
    from torchvision import models

    known = [one for one in models.list_models(module=models) if _is_resnet(one)]
    if name not in known:
        raise LabwrightError(
            f"model.backbone: it is 'residual' or one of torchvision's residual networks, given {name!r}"
            f"{nearest(name, known)} There are {listed(known)}."
        )
    if pretrained and (norm == "group" or channels != 3):
        what = "model.norm: with GroupNorm" if norm == "group" else f"model.pretrained: for {channels} channels"
        raise LabwrightError(
            f"{what} there are no such weights; 'frozen' or 'batch', and pictures of 3 channels, have."
        )
    network: Any = models.get_model(name, weights=None, norm_layer=_norm(norm))
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, network.conv1.out_channels, 7, stride=2, padding=3, bias=False)
    if pretrained:
        state = _weights(name)
        # those of a frozen norm aren't counted
        network.load_state_dict({key: value for key, value in state.items() if key in network.state_dict()})
    trained = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable]
    for key, parameter in network.named_parameters():
        if trainable < _STAGES and not key.startswith(tuple(trained)):
            parameter.requires_grad_(False)
    return network


def _weights(name: str) -> Mapping[str, Tensor]:
    """torchvision's weights of ImageNet, from the local cache or its server; nothing but tensors is read."""
    from torchvision import models

    weights: Any = models.get_model_weights(name)
    try:
        state: Mapping[str, Tensor] = weights.IMAGENET1K_V1.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:  # no network, or a file that isn't what it should be
        raise LabwrightError(
            f"model.pretrained: torchvision's weights of {name!r} can't be had: {error}. They are looked for in "
            f"{torch.hub.get_dir()}/checkpoints first."
        ) from error
    return state


def _is_resnet(name: str) -> bool:
    return name.startswith(("resnet", "resnext", "wide_resnet"))


def _norm(name: str) -> Callable[[int], nn.Module]:
    from torchvision.ops import FrozenBatchNorm2d

    norms: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "frozen": FrozenBatchNorm2d,
        "group": _group_norm,
    }
    return norms[name]


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, max(1, channels // _GROUPS)), channels)


def _retinanet(pyramid: nn.Module, classes: int, anchor: int, norm: str) -> Any:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead

    sizes = tuple(tuple(int(anchor * 2 ** (level + third / 3)) for third in range(3)) for level in range(_LEVELS))
    anchors = AnchorGenerator(sizes, (_RATIOS,) * _LEVELS)
    in_head = _group_norm if norm == "group" else None
    head = RetinaNetHead(pyramid.out_channels, anchors.num_anchors_per_location()[0], classes, norm_layer=in_head)
    network = RetinaNet(pyramid, classes, anchor_generator=anchors, head=head)
    network.box_coder = _ExactCoder(network.box_coder)
    return network


def _two_stages(pyramid: nn.Module, classes: int, anchor: int, width: int, regions: int, masks: bool) -> Any:
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops.poolers import LevelMapper

    sizes = tuple((anchor * 2**level,) for level in range(_LEVELS))
    given: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(sizes, (_RATIOS,) * _LEVELS),
        "box_head": TwoMLPHead(width * _BOX_SIDE**2, 4 * width),
        "box_predictor": FastRCNNPredictor(4 * width, classes + 1),
        "box_batch_size_per_image": regions,
        "box_detections_per_img": MOST,
        **{f"rpn_pre_nms_top_n_{when}": _OF_LEVEL for when in ("train", "test")},
        **{f"rpn_post_nms_top_n_{when}": _OF_PICTURE for when in ("train", "test")},
    }
    if masks:
        given["mask_head"] = MaskRCNNHeads(width, (width,) * 4, 1)
        given["mask_predictor"] = MaskRCNNPredictor(width, width, classes + 1)
    network = (MaskRCNN if masks else FasterRCNN)(pyramid, **given)
    heads = network.roi_heads
    for part in (network.rpn, heads):
        part.box_coder = _ExactCoder(part.box_coder)
    for pool in (heads.box_roi_pool, heads.mask_roi_pool) if masks else (heads.box_roi_pool,):
        # told: it would guess them from the height before it is filled up, of 40 rows half of what they are
        pool.scales = [2.0**-power for power in _POWERS]
        sizes_of_levels = {"canonical_scale": pool.canonical_scale, "canonical_level": pool.canonical_level}
        pool.map_levels = LevelMapper(_POWERS[0], _POWERS[-1], **sizes_of_levels)
    return network
