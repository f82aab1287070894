"""Every architecture of the timm library. B batch, C channels, H height, W width."""

from __future__ import annotations

from typing import Any

from labwright.errors import LabwrightError, nearest
from labwright.ports import Classes, Image
from torch import Tensor, nn


class Timm(nn.Module):
    """A network of timm (Wightman 2019) by its name, such as "resnet18", "convnext_tiny" or "vit_tiny_patch16_224".

    `pretrained` fetches weights from the Hugging Face hub or its local cache; the name may then carry a tag, as in
    "resnet18.a1_in1k". Channels, classes and, where the architecture fixes it, the picture's size come from the data;
    `options` goes to `timm.create_model` as it is.

    Raises LabwrightError for a name timm doesn't have, and with timm's own words for what it can't build.
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
        given: dict[str, Any] = {"in_chans": inputs.channels, "num_classes": len(outputs.names)}
        usual = timm.get_pretrained_cfg(architecture)
        if usual is not None and usual.fixed_input_size:
            given["img_size"] = (inputs.height, inputs.width)
        try:
            self.network = timm.create_model(architecture, pretrained=pretrained, **given | (options or {}))
        except Exception as error:  # the builders behind 1,000 names raise anything
            raise LabwrightError(
                f"model: timm can't build {architecture!r} with {given | (options or {})}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.network(x_BCHW)
        return logits
