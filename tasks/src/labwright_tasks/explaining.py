"""What a class that was predicted rests on: the parts of an input that speak for it. B batch, C classes, T tokens.

Scores say what is so for the model, not for the world: a part that speaks for a class needn't be a reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from labwright import Attachment, Audio, Data, Image, LabwrightError, Port, Tokens, nearest
from torch import Tensor, nn

_STEPS = 32  # on the way from the baseline
_PATCHES = 8  # along a side of a picture
_SHOWN = 256  # pixels along a side of what is drawn

Explaining = Callable[[nn.Module, Port, tuple[Tensor, ...], Tensor], Tensor]


def explained(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], method: str) -> Tensor:
    """How much each number of the first input speaks for the class with the highest logit, in its shape.

    Raises LabwrightError for no such method, or one that isn't for such inputs.
    """
    if method not in METHODS:
        raise LabwrightError(
            f"--explain: no method is called {method!r}{nearest(method, METHODS)} There are {', '.join(METHODS)}."
        )
    with torch.no_grad():
        classes_B = model(*inputs).argmax(1)
    return METHODS[method](model, port, inputs, classes_B)


def shown(data: Data, inputs: tuple[Tensor, ...], scores: Tensor) -> list[dict[str, Any]]:
    """Scores as answers: see `Classification.explain`."""
    port = data.ports()[0]
    if isinstance(port, Image):
        return [{"explanation": Attachment(_heat(*both), ".png")} for both in zip(inputs[0], scores, strict=True)]
    if not isinstance(port, Tokens):
        return [{"explanation": of_row.flatten().tolist()} for of_row in scores]
    answers = []
    for ids_T, length, scores_T in zip(inputs[0].cpu(), inputs[1].tolist(), scores.tolist(), strict=True):
        tokens = data.show((ids_T[:length, None], torch.ones(length, dtype=torch.int64)))
        answers.append({"explanation": [[str(token), score] for token, score in zip(tokens, scores_T, strict=False)]})
    return answers


def _heat(x_CHW: Tensor, scores_CHW: Tensor) -> bytes:
    """A PNG of a picture in grey, red where it speaks for the class and blue where against it, 256 pixels or more."""
    from PIL import Image as Picture

    grey_HW = x_CHW.mean(0).cpu()
    grey_HW = (grey_HW - grey_HW.min()) / (grey_HW.max() - grey_HW.min()).clamp_min(1e-6)
    heat_HW = scores_CHW.sum(0).cpu()
    heat_HW = heat_HW / heat_HW.abs().max().clamp_min(1e-12)
    strength_HW = heat_HW.abs()
    faded_HW = grey_HW * (1 - strength_HW) * 0.7
    colours_HW3 = torch.stack([faded_HW + heat_HW.clamp_min(0), faded_HW, faded_HW + (-heat_HW).clamp_min(0)], dim=-1)
    times = -(-_SHOWN // max(colours_HW3.shape[:2]))
    pixels = (colours_HW3.clamp(0, 1) * 255).to(torch.uint8).repeat_interleave(times, 0).repeat_interleave(times, 1)
    file = io.BytesIO()
    Picture.fromarray(pixels.numpy()).save(file, "PNG")
    return file.getvalue()


def integrated_gradients(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    """The gradients of the class's logit on the straight way from zeros to the input, times the input.

    Zeros are the mean of what a model is usually given. The scores sum to the logit's difference between the input and
    zeros, but for the steps.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", equation 3, by midpoints.
    """
    x = inputs[0]
    if not x.is_floating_point():
        raise LabwrightError(f"--explain: {type(port).__name__} have no gradients; occlusion is for them.")
    total = torch.zeros_like(x)
    for step in range(_STEPS):
        between = (x * (step + 0.5) / _STEPS).detach().requires_grad_()
        logits_BC = model(between, *inputs[1:])
        total += torch.autograd.grad(logits_BC.gather(1, classes_B[:, None]).sum(), between)[0]
    return total / _STEPS * x


@torch.no_grad()
def occlusion(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    """By how much the class's probability falls when a part is taken out: a token, a patch of a picture, a number.

    What is taken out becomes the padding of a text, else zero. Source: Zeiler & Fergus 2014, section 4.2; of texts Li,
    Monroe & Jurafsky 2016.
    """
    x = inputs[0]
    if isinstance(port, Audio):
        raise LabwrightError("--explain: a recording has too many values for occlusion; use integrated-gradients.")
    whole_B = _probability(model, inputs, classes_B)
    scores = torch.zeros(x.shape, device=x.device)
    for part in _parts(x):
        without = x.clone()
        without[part] = port.pad_id if isinstance(port, Tokens) else 0
        fall_B = whole_B - _probability(model, (without, *inputs[1:]), classes_B)
        scores[part] = fall_B.reshape(-1, *[1] * (scores[part].dim() - 1)).expand_as(scores[part])
    return scores


def _parts(x: Tensor) -> list[tuple[slice, ...]]:
    """What is taken out at a time: squares of pictures (B, C, H, W), else each place of the last axis."""
    every = slice(None)
    if x.dim() != 4:
        return [(*[every] * (x.dim() - 1), slice(place, place + 1)) for place in range(x.shape[-1])]
    high, wide = (-(-side // _PATCHES) for side in x.shape[2:])
    return [
        (every, every, slice(top, top + high), slice(left, left + wide))
        for top in range(0, x.shape[2], high)
        for left in range(0, x.shape[3], wide)
    ]


def _probability(model: nn.Module, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    logits_BC: Tensor = model(*inputs)
    return logits_BC.float().softmax(1).gather(1, classes_B[:, None])[:, 0]


METHODS: dict[str, Explaining] = {"integrated-gradients": integrated_gradients, "occlusion": occlusion}
