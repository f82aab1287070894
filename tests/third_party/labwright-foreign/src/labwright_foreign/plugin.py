"""What labwright-foreign brings: a model for each architecture, and data for each kind of input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw

TIMM = (  # test_* are timm's own small members of families
    "deit_tiny_patch16_224",
    "ghostnet_050",
    "lcnet_050",
    "mixer_s32_224",
    "mnasnet_small",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "regnetx_002",
    "resnet10t",
    "resnet18",
    "semnasnet_050",
    "test_byobnet",
    "test_convnext",
    "test_convnext2",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_vit",
    "tinynet_e",
    "vit_tiny_patch16_224",
)
TRANSFORMERS = ("albert", "bert", "distilbert", "electra", "roberta")
TORCHAUDIO = ("conformer", "deep-speech", "wav2vec2")


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_foreign"
    yield lw.Component("data", "foreign/blots", f"{here}.data:Blots", "pictures that are bright in one quarter")
    yield lw.Component("data", "foreign/letters", f"{here}.data:Letters", "texts in which one of two letters is common")
    yield lw.Component("data", "foreign/tones", f"{here}.data:Tones", "a low or a high tone")
    for name in (*TIMM, *TRANSFORMERS, *TORCHAUDIO):
        label = name.replace("_", "-")
        yield lw.Component(
            "model", f"foreign/{label}", f"{here}.models:{label.replace('-', '_')}", "as its library has it"
        )


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name in ("blots", "letters", "tones"):
        yield lw.Recipe(f"foreign/{name}", folder / f"{name}.toml", "something that any of its models can learn")
