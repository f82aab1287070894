"""Every architecture of the timm library. B batch, C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from labwright import Classes, Image, LabwrightError, listed, nearest
from torch import Tensor, nn

_FROM_DATA = ("in_chans", "num_classes")
_PICKLED = ("checkpoint_path", "pretrained")  # names of options, or what they begin with
_MOST = 300  # letters of a reason


class Timm(nn.Module):
    """A network of timm (Wightman 2019) by its name.

    Channels, classes and, where the architecture fixes it, the picture's size come from the data.

    Args:
        architecture: name in timm, such as "resnet18", "convnext_tiny" or "vit_tiny_patch16_224"; for pretrained
            weights it may carry a tag, as in "resnet18.a1_in1k".
        pretrained: whether to begin with timm's weights, safetensors from the Hugging Face hub or its local cache; all
            of them must fit the network, only the last layer is new.
        options: further arguments of `timm.create_model`, but for those that read pickles or come from the data.

    Raises LabwrightError for a name timm doesn't have, with timm's own words for what it can't build, for weights that
    don't fit, and for pictures the network can't take.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Classes,
        *,
        architecture: str,
        pretrained: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        import timm  # seven seconds: only a run that uses it pays them

        super().__init__()
        if not timm.is_model(architecture):
            raise LabwrightError(
                f"model.architecture: timm {timm.__version__} has no {architecture!r}"
                f"{nearest(architecture.partition('.')[0], timm.list_models())} `timm.list_models()` shows all."
            )
        for name in options or {}:
            check_option(name)
        usual = _usual(architecture)
        given: dict[str, Any] = {"in_chans": inputs.channels, "num_classes": len(outputs.names)}
        if usual is not None and usual.fixed_input_size:
            given["img_size"] = (inputs.height, inputs.width)
        given |= options or {}
        try:
            self.network = _pretrained(architecture, usual, given) if pretrained else _new(architecture, given)
        except LabwrightError:
            raise
        except Exception as error:  # the builders behind 1,000 names raise anything
            raise LabwrightError(f"model: timm can't build {architecture!r} with {given}: {reason(error)}") from error
        self._try(inputs, len(outputs.names), architecture)
        self._taken_over = architecture if pretrained else ""

    def remarks(self) -> Sequence[str]:
        """What was taken over from pretrained weights."""
        if not self._taken_over:
            return ()
        count = len(self.network.state_dict())
        return (f"model.pretrained: {count} tensors of {self._taken_over!r}: all but the last layer, which is new.",)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.network(x_BCHW)
        return logits

    def _try(self, inputs: Image, classes: int, architecture: str) -> None:
        """One picture through the network, before a run begins: many have a smallest size and say it in a traceback."""
        self.network.eval()
        size = f"{inputs.height}x{inputs.width}"
        try:
            with torch.no_grad():
                logits = self.network(torch.zeros(1, inputs.channels, inputs.height, inputs.width))
        except Exception as error:
            raise LabwrightError(
                f"model.architecture: {architecture!r} can't take pictures of {size} pixels: {reason(error)}. Larger "
                "pictures (task.data.size, where the data has it) or another architecture may do."
            ) from error
        finally:
            self.network.train()
        if not isinstance(logits, Tensor) or logits.shape != (1, classes):
            what = f"of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise LabwrightError(
                f"model: {architecture!r} answers a picture by {what}, not by {classes} logits; which of model.options "
                "changes that?"
            )


def check_option(name: str) -> None:
    """Raises LabwrightError for an option that the data decides, or that may read pickles."""
    if name in _FROM_DATA:
        raise LabwrightError(f"model.options: {name!r} comes from the data; leave it out.")
    if name.startswith(_PICKLED):
        raise LabwrightError(
            f"model.options: {name!r} can make timm read pickled weights, which may run code, or load a part of them; "
            "model.pretrained=true loads all of them, as safetensors."
        )


def _usual(architecture: str) -> Any:
    """How its weights were trained; None if timm has none."""
    import timm

    try:
        return timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        name = architecture.partition(".")[0]
        known = timm.list_pretrained(f"{name}.*")
        raise LabwrightError(
            f"model.architecture: timm {timm.__version__} has no {architecture!r}{nearest(architecture, known)} "
            f"Tags of {name!r} are {listed(tagged.partition('.')[2] for tagged in known)}."
        ) from error


def _new(architecture: str, given: dict[str, Any]) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(architecture, **given)
    return network


def _pretrained(architecture: str, usual: Any, given: dict[str, Any]) -> nn.Module:
    """The network as it was trained, every weight in its place, and then with a new last layer.

    With another number of classes from the start, timm would leave out whatever doesn't fit without a word.
    """
    import timm

    file = (usual and usual.hf_hub_filename) or "model.safetensors"
    if usual is None or not usual.hf_hub_id or not file.endswith(".safetensors"):
        raise LabwrightError(
            f"model.pretrained: timm {timm.__version__} has no weights of {architecture!r} as safetensors; "
            "`timm.list_pretrained()` shows which names and tags have weights."
        )
    network: Any = timm.create_model(
        architecture,
        pretrained=True,
        pretrained_cfg_overlay={"hf_hub_filename": file, "url": ""},
        **given | {"num_classes": usual.num_classes},
    )
    network.reset_classifier(given["num_classes"])
    whole: nn.Module = network
    return whole


def tried(network: Any, inputs: Image) -> Any:
    """A network of features that has seen a picture. Raises whatever it raises, and if its channels come last."""
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, inputs.channels, inputs.height, inputs.width))
    assert [feature.shape[1] for feature in features] == network.feature_info.channels(), "its channels come last"
    return network.train()


def reason(error: Exception) -> str:
    """An error of timm's in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    return text if len(text) <= _MOST else f"{text[:_MOST]} ..."
