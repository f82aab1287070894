"""Adapters of low rank on a network of transformers, by peft. A few numbers learn, and the others stay as they are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from labwright import LabwrightError, listed
from pydantic import ConfigDict, Field
from torch import nn

_BASE = ".base_layer."  # what peft puts into the names of a layer that has an adapter


@dataclass(frozen=True)
class Lora:
    """Adapters of low rank (Hu et al. 2022, "LoRA", section 4.1): W x becomes W x + (alpha / rank) B A x, and A and B
    alone are learned. B begins at 0, so that nothing is changed at first.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    rank: Annotated[int, Field(ge=1, description="rows of A and columns of B.")] = 8
    alpha: Annotated[float, Field(gt=0, description="B A x counts alpha / rank times.")] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1, description="share of A's inputs zeroed while training.")] = 0.0
    targets: Annotated[
        tuple[str, ...] | Literal["all-linear"] | None,
        Field(
            description='linear layers that get one, by the ends of their names, such as ["query", "value"]; '
            '"all-linear" are all but the output layer; left out, those that peft has for the architecture: as a rule '
            "the attention's queries and values."
        ),
    ] = None


def adapt(network: nn.Module, lora: Lora | None) -> None:
    """Give a network adapters, and freeze all else of it. Its state has the names it had before, and the adapters'.

    So weights of elsewhere are taken up as without adapters. Raises LabwrightError if there is no such layer, and for
    one that couldn't be merged: an embedding, which a head may use as well, or what has its weight in common with it.
    """
    if lora is None:
        return
    try:
        import peft
    except ImportError as error:
        raise LabwrightError("model.lora needs peft: `pip install 'labwright-nlp[lora]'` brings it.") from error
    from transformers.pytorch_utils import Conv1D

    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a whole number by its own account; it only divides it
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if isinstance(lora.targets, tuple) else lora.targets,
    )
    linear = (nn.Linear, Conv1D)
    layers = sorted({name.rpartition(".")[2] for name, one in network.named_modules() if isinstance(one, linear)})
    try:
        with warnings.catch_warnings():  # it tells how it treats GPT-2's layers, whose weights lie the other way round
            warnings.simplefilter("ignore")
            peft.inject_adapter_in_model(config, network)
    except ValueError as error:
        given = "without it peft knows none for this architecture" if lora.targets is None else f"given {lora.targets}"
        raise LabwrightError(
            f"model.lora.targets: {given}; name layers of the network: it has {listed(layers, most=20)}. "
            f"(peft: {' '.join(str(error).split())[:200]})"
        ) from error
    for path, layer in network.named_modules():
        if isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
            _check_own(network, path, layer.get_base_layer(), linear, layers)
    network.register_state_dict_post_hook(_without_base)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(_with_base)  # type: ignore[no-untyped-call]


def _check_own(
    network: nn.Module, path: str, layer: nn.Module, linear: tuple[type[nn.Module], ...], layers: Sequence[str]
) -> None:
    own = f"{path}{_BASE}weight"
    shared = [name for name, one in network.named_parameters(remove_duplicate=False) if one is layer.weight]
    other = next((name for name in shared if name != own), None)
    if other is None and isinstance(layer, linear):
        return
    why = f"has its weight in common with {other!r}" if other else f"is no linear layer but {type(layer).__name__}"
    raise LabwrightError(
        f"model.lora.targets: {path!r} {why}, so that what is learned for it couldn't be added to that alone; name "
        f"layers with a weight of their own: it has {listed(layers, most=20)}."
    )


def merged(model: nn.Module) -> nn.Module:
    """A copy of a model whose adapters are added to the weights they adapt: the same answers, and no adapters."""
    from peft.tuners.lora import LoraLayer

    model = deepcopy(model)
    for path, layer in [*model.named_modules()]:
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, layer.get_base_layer())
    return model


def about(model: nn.Module, lora: Lora | None) -> Sequence[str]:
    """How many of a model's parameters are trained, as a remark."""
    if lora is None:
        return ()
    sizes = [(one.numel(), one.requires_grad) for one in model.parameters()]
    whole, trained = sum(size for size, _ in sizes), sum(size for size, free in sizes if free)
    return (f"LoRA of rank {lora.rank}: {trained:,} of {whole:,} parameters are trained, {trained / whole:.2%}.",)


def _without_base(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:  # noqa: ARG001 - as PyTorch calls it
    for name in [name for name in state if name.startswith(prefix)]:
        state[name.replace(_BASE, ".")] = state.pop(name)


def _with_base(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in module.named_modules():
        if isinstance(layer, BaseTunerLayer):
            for name, _parameter in layer.get_base_layer().named_parameters():
                if (outer := f"{prefix}{path}.{name}") in state:
                    state[f"{prefix}{path}{_BASE}{name}"] = state.pop(outer)
