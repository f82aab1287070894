"""The networks of encoders: built by their name, or read from a folder, and tried. B batch, T tokens, D width."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError, Tokens, listed, located, nearest
from torch import Tensor, nn

from labwright_nlp.ports import EncoderTokens

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_TRIED = 8  # tokens
_NAMED = 3  # weights


@dataclass(frozen=True)
class Backbone:
    """A network of transformers, in training mode: what becomes of a token has `width` values.

    `causal`: a token sees only those before it. `remarks` are what to know about it.
    """

    network: Any
    width: int
    causal: bool
    remarks: tuple[str, ...]


def backbone(
    inputs: Tokens, architecture: str | None, pretrained: Path | None, options: dict[str, Any], *, partial: bool
) -> Backbone:
    """The network that an encoder's settings ask for. Raises LabwrightError for one that can't be had, or used."""
    with _quiet():
        network, remarks = _network(inputs, architecture, pretrained, options, partial)
        network.float()  # as saved it may be in half precision
        _check(network.config, inputs)
        width, causal, mixing = _tried(network.eval(), inputs)
    if mixing:
        remarks.append(
            f"the encoder {network.config.model_type!r} takes padding for text: what it says of one depends a little "
            "on how long the others of its batch are."
        )
    return Backbone(network.train(), width, causal, tuple(remarks))


def _network(
    inputs: Tokens, architecture: str | None, pretrained: Path | None, options: dict[str, Any], partial: bool
) -> tuple[Any, list[str]]:
    if architecture is not None and pretrained is not None:
        raise LabwrightError(
            f"model: an encoder is made by the name of its architecture, given {architecture!r}, or read from a "
            f"folder, given {str(pretrained)!r}; leave one of them out."
        )
    if architecture is not None:
        return _encoding(_from_name(architecture, inputs, options)), []
    if pretrained is not None:
        return _from_folder(pretrained.expanduser(), options, "model.pretrained", partial)
    if not isinstance(inputs, EncoderTokens):
        raise LabwrightError(
            'model: which encoder? task.data.tokenizer="pretrained" and task.data.pretrained=FOLDER take one with its '
            "tokenizer; model.architecture, such as bert, makes one with random weights."
        )
    if inputs.whole:
        return _from_folder(inputs.folder, options, "task.data.pretrained", partial)
    return _encoding(_without_weights(inputs.folder, options)), []


def _encoding(whole: Any) -> Any:
    """What of a network is used: not a decoder that goes on with a text, nor a pooling of its own."""
    both = all(isinstance(getattr(whole, part, None), nn.Module) for part in ("encoder", "decoder"))
    network = whole.encoder if both else whole
    if isinstance(getattr(network, "pooler", None), nn.Module):
        network.pooler = None
    return network


def _from_name(architecture: str, inputs: Tokens, options: dict[str, Any]) -> Any:
    import transformers

    known = list(transformers.CONFIG_MAPPING.keys())
    if architecture not in known:
        raise LabwrightError(
            f"model.architecture: transformers {transformers.__version__} has no model type {architecture!r}"
            f"{nearest(architecture, known)} Well-known ones are bert, distilbert, electra, modernbert, roberta."
        )
    given = {"vocab_size": inputs.vocab_size, "pad_token_id": inputs.pad_id} | options
    try:
        config = transformers.AutoConfig.for_model(architecture, **given)
        if "max_position_embeddings" not in options and _positions(config) < inputs.length:
            config.max_position_embeddings = inputs.length + inputs.pad_id + 1  # RoBERTa's begin after the padding's id
        return transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(
            f"model: transformers can't build an encoder {architecture!r} with {given}: {_said(error)}"
        ) from error


def _from_folder(folder: Path, options: dict[str, Any], setting: str, partial: bool) -> tuple[Any, list[str]]:
    if not folder.is_dir():
        raise LabwrightError(
            f"{setting}: there is no folder {located(folder)}. Nothing is downloaded: "
            "`hf download NAME --local-dir FOLDER` fetches a model of the Hugging Face hub."
        )
    if not (folder / "config.json").is_file():
        raise LabwrightError(
            f"{setting}: {folder} has no config.json; it has {listed(path.name for path in folder.iterdir())}."
        )
    if not any(folder.glob("*.safetensors")):
        pickled = listed(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
        reason = (
            "it has no weights" if pickled == "none" else f"its weights, {pickled}, aren't safetensors and may run code"
        )
        raise LabwrightError(
            f"{setting}: {folder} has no *.safetensors; {reason}. Most models of the hub have safetensors, on "
            "another revision if not on the main one."
        )
    import transformers

    try:
        whole, loading = transformers.AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(f"{setting}: transformers can't load {folder}: {_said(error)}") from error
    network = _encoding(whole)
    lacking, count = _lacking(network, whole, set(loading["missing_keys"]))
    others = sorted(loading["unexpected_keys"])
    had = f"{count - len(lacking)} of the encoder's {count} tensors"
    if lacking and (not partial or len(lacking) == count):
        instead = f" and has {_some(others)} instead" if others else ""
        hint = "" if len(lacking) == count else " model.partial=true takes what there is; the others are random then."
        raise LabwrightError(
            f"{setting}: {folder} has {had}; it lacks {_some(lacking)}{instead}.{_cause(lacking, others)}{hint}"
        )
    random = f"; {_some(lacking)} are random" if lacking else ""
    unused = f"; {len(others)} others there aren't used, such as {others[0]}" if others else ""
    return network, [f"{had} come from {folder}{random}{unused}."]


def _lacking(network: nn.Module, whole: nn.Module, missing: Collection[str]) -> tuple[list[str], int]:
    """Which of a network's tensors a file lacked under all of their names in the whole, and how many it has."""
    own = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    names: dict[int, list[str]] = {}
    for name, tensor in whole.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    lacking = [names[key][0] for key in own if all(name in missing for name in names[key])]
    return sorted(lacking), len(own)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _cause(lacking: list[str], others: list[str]) -> str:
    """Why weights may have other names than those wanted, as a sentence."""
    if any("lora_" in name for name in others):
        return " Those are adapters: merge them into their model first, `merge_and_unload()` in peft, and save that."
    for name in others:
        wanted = next((tensor for tensor in lacking if name.endswith(f".{tensor}")), None)
        if wanted is not None:
            return f" Take {name.removesuffix(wanted)!r} off the names in its safetensors."
    return ""


def _without_weights(folder: Path, options: dict[str, Any]) -> Any:
    """The encoder that a run kept the configuration of; a checkpoint's weights are still to come."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, **options
    )
    return transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]


def _tried(network: nn.Module, inputs: Tokens) -> tuple[int, bool, bool]:
    """The width; whether a token sees only those before it; whether padding changes what becomes of others.

    Raises LabwrightError if the network can't be called with tokens and a mask.
    """
    length = min(_TRIED, inputs.length)
    known = [token for token in range(inputs.vocab_size) if token != inputs.pad_id][:length] or [0]
    ids_T = torch.tensor([known[place % len(known)] for place in range(length)])
    other_T = torch.cat([ids_T[:-1], ids_T[:1]])
    half = length // 2
    mask_T = (torch.arange(length) < half).long()
    padded_T = ids_T.where(mask_T.bool(), inputs.pad_id)

    def states(ids_T: Tensor, mask_T: Tensor | None = None) -> Tensor:
        there_T = torch.ones_like(ids_T) if mask_T is None else mask_T
        x_TD: Tensor = network(input_ids=ids_T[None], attention_mask=there_T[None]).last_hidden_state[0]
        return x_TD

    try:
        with torch.no_grad():
            causal = torch.equal(states(ids_T)[0], states(other_T)[0])
            alone_TD, beside_TD = states(ids_T[:half]), states(padded_T, mask_T)[:half]
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(f"model: a text can't be given to this encoder: {_said(error)}") from error
    return alone_TD.shape[1], causal, not torch.allclose(alone_TD, beside_TD, rtol=1e-2, atol=1e-2)


def _check(config: Any, inputs: Tokens) -> None:
    if _positions(config) < inputs.length:
        raise LabwrightError(
            f"model: the encoder has {_positions(config)} positions, texts have up to {inputs.length} tokens: set "
            f"task.data.length={_positions(config)} or less."
        )
    known = getattr(config, "vocab_size", 0)
    if known < inputs.vocab_size:
        raise LabwrightError(
            f"model: the encoder knows {known:,} tokens, the data's tokenizer has {inputs.vocab_size:,}: "
            'task.data.tokenizer="pretrained" and task.data.pretrained=FOLDER take the tokenizer that goes with it.'
        )


def _positions(config: Any) -> int:
    """How long a text the encoder can read; those without a limit have none."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return 1 << 30
    return most - (config.pad_token_id or 0) - 1 if "roberta" in config.model_type else most


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and its list of weights that were left out."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
