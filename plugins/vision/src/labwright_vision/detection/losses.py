"""The loss of a detector. A anchor points, B batch, C classes, R distances."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from labwright import LEFT_OUT, LabwrightError, Loss, Uniform, listed, nearest
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from labwright_vision.detection.assigner import Assigned, aligned
from labwright_vision.detection.overlap import ciou_loss, giou_loss

_FOCUS = 2.0  # the power of the focal losses: Lin et al. 2017, Zhang et al. 2021
_VARIFOCAL = 0.75  # the weight of what is no object: Zhang et al. 2021
_DFL_WEIGHT = 1.5  # unless a recipe says otherwise
_BOXES = {"ciou": ciou_loss, "giou": giou_loss}


class DetectionCriterion(Protocol):
    """What the task calls: with what the model has `given`, and with `targets`, as `Boxes` says. Returns named parts.

    Of a model with losses of its own (`OwnLosses`) `given` are these.
    """

    def __call__(self, given: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]: ...


@runtime_checkable
class OwnLosses(Protocol):
    """A model that computes its losses itself, such as torchvision's."""

    def losses(self, x_BCHW: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named scalars, of a batch and its targets as `Boxes` says."""
        ...


def size(targets: dict[str, Tensor]) -> Tensor:
    """What the loss is a mean over, known from the targets alone: the boxes that count, and one for each picture."""
    counted_BN = (targets["labels"] != LEFT_OUT) & ~targets["crowd"]
    return counted_BN.sum() + len(counted_BN)


class DetectionLoss(Loss):
    """Class, place and, where the model says how probable distances are, their spread: parts `class`, `box`, `dfl`.

    Points are given boxes by task-aligned assignment. `dfl` is the distribution focal loss (Li et al. 2020).

    Args:
        classes: how each point's scores are compared with the overlap it reaches: by binary cross-entropy; by one whose
            weight falls with how near they are, the quality focal loss (Li et al. 2020); or by varifocal loss (Zhang et
            al. 2021).
        boxes: how boxes are compared: by complete or by generalised IoU.
        points: most points that learn from one box.
        class_weight: factor of the part of classes.
        box_weight: factor of the part of boxes' places.
        dfl_weight: factor of the part of distances' spread, which only a model with `bins` has.
    """

    def __init__(
        self,
        *,
        classes: Literal["bce", "focal", "varifocal"] = "bce",
        boxes: Literal["ciou", "giou"] = "ciou",
        points: Annotated[int, Field(ge=1)] = 10,
        class_weight: Annotated[float, Field(gt=0), Uniform(0.25, 2.0)] = 0.5,
        box_weight: Annotated[float, Field(gt=0), Uniform(2.0, 10.0)] = 7.5,
        dfl_weight: Annotated[float, Field(ge=0)] = _DFL_WEIGHT,
    ) -> None:
        super().__init__()
        self.classes, self.boxes, self.points = classes, boxes, points
        self.class_weight, self.box_weight, self.dfl_weight = class_weight, box_weight, dfl_weight

    def forward(self, given: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        if "logits" not in given:
            raise LabwrightError(
                f"loss: the model computes its losses itself ({listed(given)}): choose loss "
                "'vision/torchvision-losses'."
            )
        # overlaps of small boxes are too fine for 16 bits
        exact = {name: value if value.dtype == torch.float64 else value.float() for name, value in given.items()}
        logits_BAC, boxes_BA4, anchors_BA3 = exact["logits"], exact["boxes"], exact["anchors"]
        assigned = aligned(logits_BAC, boxes_BA4, anchors_BA3, targets, most=self.points)
        count = size(targets)
        class_BAC = self._class(logits_BAC, assigned) * ~assigned.ignored[..., None]
        weight_P = assigned.scores.sum(-1)[assigned.found]
        place_P = _BOXES[self.boxes](boxes_BA4[assigned.found], assigned.boxes[assigned.found])
        parts = {
            "class": self.class_weight * class_BAC.sum() / count,
            "box": self.box_weight * (place_P * weight_P).sum() / count,
        }
        if "distances" in exact:
            wanted_BA4 = distances(anchors_BA3, assigned.boxes)
            spread_P = dfl(exact["distances"][assigned.found], wanted_BA4[assigned.found])
            parts["dfl"] = self.dfl_weight * (spread_P * weight_P).sum() / count
        elif self.dfl_weight != _DFL_WEIGHT:
            raise LabwrightError(
                f"loss.dfl_weight: given {self.dfl_weight}, and the model gives distances no probabilities: leave it "
                "out, or set model.bins=16."
            )
        return parts

    def _class(self, logits_BAC: Tensor, assigned: Assigned) -> Tensor:
        loss_BAC = functional.binary_cross_entropy_with_logits(logits_BAC, assigned.scores, reduction="none")
        if self.classes == "bce":
            return loss_BAC
        score_BAC = logits_BAC.sigmoid()
        if self.classes == "focal":
            return loss_BAC * (assigned.scores - score_BAC).abs().pow(_FOCUS)
        nothing_BAC = _VARIFOCAL * score_BAC.pow(_FOCUS)
        return loss_BAC * torch.where(assigned.scores > 0, assigned.scores, nothing_BAC)


class TorchvisionLosses(Loss):
    """The losses that a model of torchvision computes itself, such as `classifier` and `mask`, each by its weight.

    They are means over what was drawn from a batch's pictures, not over its boxes: a batch can't be cut into
    micro-batches.

    Args:
        weights: factors of the losses, by the names that the log shows; of those left out 1.
    """

    separable = False

    def __init__(self, *, weights: dict[str, Annotated[float, Field(gt=0)]] | None = None) -> None:
        super().__init__()
        self.weights = weights or {}

    def forward(self, given: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002 - the contract
        if "logits" in given or "scores" in given:
            raise LabwrightError("loss: the model has no losses of its own; 'vision/detection' goes with it.")
        if strange := [name for name in self.weights if name not in given]:
            raise LabwrightError(
                f"loss.weights: the model has no loss {strange[0]!r}{nearest(strange[0], given)} It has "
                f"{listed(given)}."
            )
        return {name: self.weights.get(name, 1.0) * loss for name, loss in given.items()}


def distances(anchors_BA3: Tensor, boxes_BA4: Tensor) -> Tensor:
    """From each point to the left, top, right and bottom of its box, in strides."""
    points, strides = anchors_BA3[..., :2], anchors_BA3[..., 2:]
    return torch.cat([points - boxes_BA4[..., :2], boxes_BA4[..., 2:] - points], dim=-1) / strides


def dfl(logits_P4R: Tensor, wanted_P4: Tensor) -> Tensor:
    """The distribution focal loss, a mean over the four sides: cross-entropy with the two whole numbers around each.

    Distances beyond the range count as its ends. Source: Li et al. 2020, equation 6.
    """
    last = logits_P4R.shape[-1] - 1
    wanted_P4 = wanted_P4.clamp(0, last - 1e-3)
    below_P4 = wanted_P4.floor().long()
    share_P4 = wanted_P4 - below_P4
    log_P4R = logits_P4R.log_softmax(-1)
    low_P4, high_P4 = (log_P4R.gather(-1, places[..., None])[..., 0] for places in (below_P4, below_P4 + 1))
    return -((1 - share_P4) * low_P4 + share_P4 * high_P4).mean(-1)
