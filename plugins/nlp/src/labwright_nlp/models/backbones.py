"""The networks of encoders: by their name or by a folder's configuration, and tried. B batch, T tokens, D width."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError, Tokens, listed, nearest
from torch import Tensor, nn

from labwright_nlp.ports import EncoderTokens, MaskedTokens

_TRIED = 8  # tokens


@dataclass(frozen=True)
class Backbone:
    """A network of transformers, in training mode: what becomes of a token has `width` values.

    `causal`: a token sees only those before it. `remarks` are what to know about it.
    """

    network: Any
    width: int
    causal: bool
    remarks: tuple[str, ...]


def backbone(inputs: Tokens, architecture: str | None, options: dict[str, Any]) -> Backbone:
    """The network that an encoder's settings ask for. Raises LabwrightError for one that can't be had, or used."""
    with _quiet():
        network = _encoding(_network(inputs, architecture, options))
        network.float()  # as configured it may be in half precision
        _check(network.config, inputs)
        width, causal, mixing = _tried(network.eval(), inputs)
    padded = (
        f"the encoder {network.config.model_type!r} takes padding for text: what it says of one depends a little "
        "on how long the others of its batch are."
    )
    return Backbone(network.train(), width, causal, (padded,) if mixing else ())


def _network(inputs: Tokens, architecture: str | None, options: dict[str, Any]) -> Any:
    if architecture is not None:
        return _from_name(architecture, inputs, options)
    if isinstance(inputs, EncoderTokens | MaskedTokens) and inputs.folder is not None:
        return _from_folder(inputs.folder, options)
    raise LabwrightError(
        'model: which encoder? start.run=FOLDER with task.data.tokenizer="pretrained" takes one with its tokenizer and '
        "weights; model.architecture, such as bert, makes one with random weights."
    )


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


def _from_folder(folder: Path, options: dict[str, Any]) -> Any:
    """The encoder that a folder has the configuration of; its weights are still to come."""
    if not (folder / "config.json").is_file():
        raise LabwrightError(
            f"start.run: {folder} has no config.json that says what encoder it is of; it has "
            f"{listed(path.name for path in folder.iterdir())}."
        )
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **options
        )
        # what is drawn for weights that are then replaced moves nothing that is drawn after them
        with torch.random.fork_rng(devices=[]):
            return transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(f"start.run: transformers can't make the encoder of {folder}: {_said(error)}") from error


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
            'task.data.tokenizer="pretrained" takes the tokenizer of what the run starts from.'
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
