"""What a class that was predicted rests on: the parts of an input that speak for it. B batch, C classes, T tokens.

Scores say what is so for the model, not for the world: a part that speaks for a class needn't be a reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from labwright import (
    Attachment,
    Audio,
    Data,
    Figure,
    Image,
    LabwrightError,
    Pictures,
    Port,
    Section,
    Tokens,
    listed,
    nearest,
)
from torch import Tensor, nn

_STEPS = 32  # on the way from the baseline
_PATCHES = 8  # along a side of a picture
_SHOWN = 256  # pixels along a side of what is drawn
_FOR, _AGAINST = (0.85, 0.1, 0.1), (0.1, 0.25, 0.9)
_INK = 0.6  # of a colour behind black letters

Explaining = Callable[[nn.Module, Port, tuple[Tensor, ...], Tensor], Tensor]


def explained(
    model: nn.Module, port: Port, inputs: tuple[Tensor, ...], method: str, classes_B: Tensor | None = None
) -> Tensor:
    """How much each number of the first input speaks for `classes_B`, else for the highest logit, in its shape.

    `method` is one of METHODS; `grad-cam:LAYER` names its convolution. Raises LabwrightError for no such method, or one
    that isn't for such inputs.
    """
    name, layer = _method(method, "--explain")
    if classes_B is None:
        with torch.no_grad():
            classes_B = model(*inputs).argmax(1)
    # cuDNN has no gradients of recurrent layers in evaluation mode; torch's own kernels do
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        if layer:
            return grad_cam(model, port, inputs, classes_B, layer)
        return METHODS[name](model, port, inputs, classes_B)


def check_explanations(method: str, item: type[Port]) -> None:
    """Raises LabwrightError unless there is such a method and a report can draw what it says of such inputs."""
    name, _ = _method(method, "task.explanations")
    if not issubclass(item, Image | Tokens):
        raise LabwrightError(
            f"task.explanations: a report shows those of pictures and texts; these are {item.__name__}. "
            "`labwright predict RUN --explain METHOD` has a score for each number."
        )
    if name == "grad-cam":
        _of_pictures(item, "task.explanations")
    _captum("task.explanations")


def check_explained(method: str, model: nn.Module) -> None:
    """Raises LabwrightError for a model without the convolution that a report's explanations look at."""
    name, layer = _method(method, "task.explanations")
    if name == "grad-cam":
        _convolutions(model, layer, "task.explanations")


def _method(method: str, where: str) -> tuple[str, str]:
    """Its name, and the layer it is about. Raises LabwrightError for no such method."""
    name, _, layer = method.partition(":")
    if name not in METHODS or (layer and name != "grad-cam"):
        raise LabwrightError(
            f"{where}: no method is called {method!r}{nearest(method, METHODS)} There are {', '.join(METHODS)}."
        )
    return name, layer


def shown(data: Data, inputs: tuple[Tensor, ...], scores: Tensor) -> list[dict[str, Any]]:
    """Scores as answers: see `Classification.explain`."""
    port = data.ports()[0]
    if isinstance(port, Image):
        pictures = (_heat(*both) for both in zip(inputs[0], scores, strict=True))
        return [{"explanation": Attachment(_png(picture), ".png")} for picture in pictures]
    if not isinstance(port, Tokens):
        return [{"explanation": of_row.flatten().tolist()} for of_row in scores]
    return [{"explanation": [[*pair] for pair in pairs]} for pairs in _of_tokens(data, inputs, scores)]


def section(
    data: Data, inputs: tuple[Tensor, ...], scores: Tensor, given: Sequence[str], true: Sequence[str], method: str
) -> list[Section]:
    """Scores of pictures or texts as a section of a report; `given` and `true` are the classes of each input."""
    title = "What the worst mistakes rest on"
    note = f"Red speaks for the class that was given, blue against it: by {method}, within each input."
    if isinstance(data.ports()[0], Image):
        pictures = [_heat(*both) for both in zip(inputs[0], scores, strict=True)]
        captions = [f"{answer}\ntrue: {truth}" for answer, truth in zip(given, true, strict=True)]
        return [Pictures(title, pictures, captions, note)]
    from labwright_tasks.coloured_texts import Word, drawn, tinted

    passages = []
    for pairs, answer, truth in zip(_of_tokens(data, inputs, scores), given, true, strict=True):
        most = max((abs(score) for _, score in pairs), default=0.0) or 1.0
        words = [
            Word(token, tinted(_AGAINST if score < 0 else _FOR, _INK * abs(score) / most)) for token, score in pairs
        ]
        passages.append([Word(f"{answer}, true: {truth}:"), *words])
    return [Figure(title, drawn(passages), note, paper=True)]


def _of_tokens(data: Data, inputs: tuple[Tensor, ...], scores_BT: Tensor) -> list[list[tuple[str, float]]]:
    """Each text's tokens as they are shown, with their scores."""
    texts = []
    for ids_T, length, scores_T in zip(inputs[0].cpu(), inputs[1].tolist(), scores_BT.tolist(), strict=True):
        tokens = data.show((ids_T[:length, None], torch.ones(length, dtype=torch.int64)))
        texts.append([(str(token), score) for token, score in zip(tokens, scores_T, strict=False)])
    return texts


def _heat(x_CHW: Tensor, scores_CHW: Tensor) -> Tensor:
    """A picture in grey, red where it speaks for the class and blue where against it, (3, H, W) with values 0..1."""
    grey_HW = x_CHW.mean(0).cpu()
    grey_HW = (grey_HW - grey_HW.min()) / (grey_HW.max() - grey_HW.min()).clamp_min(1e-6)
    heat_HW = scores_CHW.sum(0).cpu()
    heat_HW = heat_HW / heat_HW.abs().max().clamp_min(1e-12)
    strength_HW = heat_HW.abs()
    faded_HW = grey_HW * (1 - strength_HW) * 0.7
    return torch.stack([faded_HW + heat_HW.clamp_min(0), faded_HW, faded_HW + (-heat_HW).clamp_min(0)]).clamp(0, 1)


def _png(picture_CHW: Tensor) -> bytes:
    """The file of a picture, of 256 pixels or more along its longer side."""
    from PIL import Image as Picture

    times = -(-_SHOWN // max(picture_CHW.shape[1:]))
    bytes_CHW = (picture_CHW * 255).to(torch.uint8).repeat_interleave(times, 1).repeat_interleave(times, 2)
    file = io.BytesIO()
    Picture.fromarray(bytes_CHW.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG")
    return file.getvalue()


def integrated_gradients(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    """The gradients of the class's logit on the straight way from zeros to the input, times the input.

    Zeros are the mean of what a model is usually given. The scores sum to the logit's difference between the input and
    zeros, but for the steps. Of tokens it is the way of their embeddings, from those of padding, and the scores of an
    embedding's numbers are added up.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", equation 3, by midpoints.
    """
    if isinstance(port, Tokens):
        return _of_embeddings(model, port, inputs, classes_B)
    if not inputs[0].is_floating_point():
        raise LabwrightError(f"--explain: {type(port).__name__} have no gradients; occlusion is for them.")
    scores: Tensor = (
        _captum()
        .IntegratedGradients(model)
        .attribute(
            inputs[0],
            target=classes_B,
            additional_forward_args=inputs[1:] or None,
            n_steps=_STEPS,
            method="riemann_middle",
        )
    )
    return scores.detach()


def _of_embeddings(model: nn.Module, port: Tokens, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    """Integrated gradients of the embeddings that a model looks its tokens up in, (B, T).

    Whatever else it looks up, such as n-grams of tokens, stays that of the text.
    """
    layer = _looked_up(model, inputs)
    if layer is None:
        raise LabwrightError(
            f"--explain: {type(model).__name__} looks its tokens up in no embedding of its own; occlusion is for it."
        )
    scores: Tensor = (
        _captum()
        .LayerIntegratedGradients(model, layer)
        .attribute(
            inputs[0],
            baselines=torch.full_like(inputs[0], port.pad_id),
            target=classes_B,
            additional_forward_args=inputs[1:] or None,
            n_steps=_STEPS,
            method="riemann_middle",
        )
    )
    return scores.detach().sum(2)


def _looked_up(model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module | None:
    """The embedding that is given the tokens as they are."""

    def of_tokens(given: Tensor, output: Tensor) -> bool:
        return torch.equal(given, inputs[0]) and output.shape[:2] == inputs[0].shape

    return next(iter(_called(model, inputs, nn.Embedding, of_tokens)), None)


@torch.no_grad()
def _called(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    kind: type[nn.Module],
    suits: Callable[[Tensor, Tensor], bool],
) -> list[nn.Module]:
    """The layers of a kind, as they are called, of which what they are given and what they return suits."""
    found: list[nn.Module] = []

    def seen(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if suits(given[0], output):
            found.append(layer)

    hooks = [part.register_forward_hook(seen) for part in model.modules() if isinstance(part, kind)]
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def occlusion(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], classes_B: Tensor) -> Tensor:
    """By how much the class's probability falls when a part is taken out: a token, a patch of a picture, a number.

    What is taken out becomes the padding of a text, else zero. Source: Zeiler & Fergus 2014, section 4.2; of texts Li,
    Monroe & Jurafsky 2016.
    """
    if isinstance(port, Audio):
        raise LabwrightError("--explain: a recording has too many values for occlusion; use integrated-gradients.")

    def probability(*given: Tensor) -> Tensor:
        logits_BC: Tensor = model(*given)
        return logits_BC.float().softmax(1).gather(1, classes_B[:, None])[:, 0]

    scores: Tensor = (
        _captum()
        .FeatureAblation(probability)
        .attribute(
            inputs[0],
            baselines=port.pad_id if isinstance(port, Tokens) else 0,
            additional_forward_args=inputs[1:] or None,
            feature_mask=_parts(inputs[0]),
        )
    )
    return scores


def grad_cam(model: nn.Module, port: Port, inputs: tuple[Tensor, ...], classes_B: Tensor, layer: str = "") -> Tensor:
    """The channels of a convolution, weighed by the mean gradient of the class's logit, where they speak for it.

    The layer is the model's last convolution whose map has several places, or the one named. Its map is enlarged to the
    picture.

    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2.
    """
    x = inputs[0]
    _of_pictures(type(port), "--explain")
    convolution = _convolution(model, inputs, layer)
    shown = x.detach().requires_grad_()  # or a model that is frozen has no gradients
    attribution = _captum()
    scores = attribution.LayerGradCam(model, convolution).attribute(
        shown, target=classes_B, additional_forward_args=inputs[1:] or None, relu_attributions=True
    )
    map_B1HW: Tensor = attribution.LayerAttribution.interpolate(scores.detach(), x.shape[2:], "bilinear")
    return map_B1HW.expand_as(x) / x.shape[1]


def _of_pictures(item: type[Port], where: str) -> None:
    if not issubclass(item, Image):
        raise LabwrightError(f"{where}: grad-cam is for pictures; these are {item.__name__}.")


def _convolutions(model: nn.Module, layer: str, where: str) -> dict[str, nn.Module]:
    """All by their names. Raises LabwrightError with these where none is called as `layer`, or there is none at all."""
    convolutions: dict[str, nn.Module] = {
        name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)
    }
    if not convolutions:
        raise LabwrightError(f"{where}: {type(model).__name__} has no convolution, which grad-cam looks at.")
    if layer and layer not in convolutions:
        raise LabwrightError(
            f"{where}: no convolution is called {layer!r}{nearest(layer, convolutions)} There are "
            f"{listed(convolutions)}."
        )
    return convolutions


def _convolution(model: nn.Module, inputs: tuple[Tensor, ...], layer: str) -> nn.Module:
    """The last convolution of a map, or the one of that name."""
    convolutions = _convolutions(model, layer, "--explain")
    if layer:
        return convolutions[layer]
    # that of squeeze and excitation, or one behind the pooling, sees one place: its map would be all of one colour
    maps = _called(model, inputs, nn.Conv2d, lambda _, output: output.shape[2:].numel() > 1)
    return next((one for one in reversed(convolutions.values()) if one in maps), [*convolutions.values()][-1])


def _parts(x: Tensor) -> Tensor:
    """What is taken out together, a number for each part: squares of pictures (B, C, H, W), else each of the last axis.

    Of one row, which all rows share.
    """
    if x.dim() != 4:
        return torch.arange(x.shape[-1], device=x.device).expand(1, *x.shape[1:])
    down, across = (torch.arange(side, device=x.device) // -(-side // _PATCHES) for side in x.shape[2:])
    return (down[:, None] * _PATCHES + across).expand(1, *x.shape[1:])


def _captum(where: str = "--explain") -> Any:
    """captum.attr, imported when something is to be explained. Raises LabwrightError if it isn't installed."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name != "captum":
            raise
        raise LabwrightError(
            f"{where}: Captum does it, which isn't installed; `pip install 'labwright-tasks[explain]'` brings it."
        ) from error


METHODS: dict[str, Explaining] = {
    "integrated-gradients": integrated_gradients,
    "occlusion": occlusion,
    "grad-cam": grad_cam,
}
