"""What changes training pictures from epoch to epoch, in the order in which it does."""

from __future__ import annotations

from typing import Any

from labwright import LabwrightError

from labwright_vision.data.augment import Affine, Augment, Colours
from labwright_vision.data.policies import Erasing, Operations

_COLOURED = ("jitter", "grey", "policy")


def steps(
    length: int,
    changes: dict[str, Any],
    *,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
    fill: float | None = None,
) -> list[Augment]:
    """The augmentation of `length` pictures by the settings of their data, `changes`; what is off is left out.

    `mean` and `deviation` of each channel say how pixel values 0..1 were scaled, `fill` what lies beyond the border.
    """
    affine = {name: changes[name] for name in ("rotate", "shift", "scale", "flip", "crop") if name in changes}
    every: list[Augment] = [
        Operations(changes.get("policy"), mean, deviation),
        Affine(length, **affine, fill=fill),
        Colours(
            length, jitter=changes.get("jitter", 0.0), grey=changes.get("grey", 0.0), mean=mean, deviation=deviation
        ),
        Erasing(length, changes.get("erase", 0.0)),
    ]
    return [step for step in every if step.active]


def check_changes(changes: dict[str, Any], channels: int) -> None:
    """Raises LabwrightError for a change of colours where there are none."""
    if changes["grey"] and channels == 1:
        raise LabwrightError("task.data.grey: pictures of one channel are grey as they are; leave it out.")
    wrong = next((name for name in _COLOURED if changes[name] and channels not in (1, 3)), None)
    if wrong:
        raise LabwrightError(
            f"task.data.{wrong}: it changes colours, of pictures with 1 or 3 channels; these have {channels}."
        )
