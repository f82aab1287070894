"""Any encoder of the transformers library, from its name or from a pretrained folder. B batch, T tokens, D width."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from labwright.errors import LabwrightError, listed, nearest
from labwright.ports import Classes, Tokens
from labwright.search import Choice, Uniform
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.masks import filled, mean
from labwright_nlp.ports import EncoderTokens

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


class Encoder(nn.Module):
    """A transformer encoder (Wolf et al. 2020), pooled over the text, with dropout and a linear layer on top.

    With `task.data.tokenizer="pretrained"` it is the encoder of the tokenizer's folder, `task.data.pretrained`, which
    holds config.json and weights as safetensors. `pretrained` is another such folder, for the same tokens. Nothing is
    downloaded and no code of a folder is run. With `architecture`, a model type of transformers such as "bert" or
    "distilbert", it starts from random weights. `options` change its configuration. `pooling` is the mean over the
    tokens or the first one's vector (`cls`).

    Raises LabwrightError for a name transformers doesn't have, for a folder that can't be used, and for texts longer
    than the encoder's positions or tokens it doesn't know.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes,
        *,
        architecture: str | None = None,
        pretrained: Path | None = None,
        options: dict[str, Any] | None = None,
        pooling: Annotated[Literal["mean", "cls"], Choice("mean", "cls")] = "mean",
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.1,
    ) -> None:
        super().__init__()
        with _quiet():
            self.network = _network(inputs, architecture, pretrained, options or {})
        self.network.float().train()  # as saved it may be in half precision, and is in evaluation mode
        if isinstance(getattr(self.network, "pooler", None), nn.Module):
            self.network.pooler = None  # its output isn't used
        _check(self.network.config, inputs)
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.network.config.hidden_size, len(outputs.names))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        x_BTD = self.network(input_ids=ids_BT, attention_mask=there_BT.long()).last_hidden_state
        pooled_BD = mean(x_BTD, there_BT) if self.pooling == "mean" else x_BTD[:, 0]
        logits: Tensor = self.head(self.dropout(pooled_BD))
        return logits


def _network(inputs: Tokens, architecture: str | None, pretrained: Path | None, options: dict[str, Any]) -> Any:
    if architecture is not None and pretrained is not None:
        raise LabwrightError(
            f"model: an encoder is made by the name of its architecture, given {architecture!r}, or read from a "
            f"folder, given {str(pretrained)!r}; leave one of them out."
        )
    if architecture is not None:
        return _from_name(architecture, inputs, options)
    if pretrained is not None:
        return _from_folder(pretrained.expanduser(), options, "model.pretrained")
    if not isinstance(inputs, EncoderTokens):
        raise LabwrightError(
            'model: which encoder? task.data.tokenizer="pretrained" and task.data.pretrained=FOLDER take one with its '
            "tokenizer; model.architecture, such as bert, makes one with random weights."
        )
    if inputs.whole:
        return _from_folder(inputs.folder, options, "task.data.pretrained")
    return _without_weights(inputs.folder, options)


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


def _from_folder(folder: Path, options: dict[str, Any], setting: str) -> Any:
    if not folder.is_dir():
        raise LabwrightError(
            f"{setting}: there is no folder {str(folder)!r}. Nothing is downloaded: "
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
        return transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        )
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(f"{setting}: transformers can't load {folder}: {_said(error)}") from error


def _without_weights(folder: Path, options: dict[str, Any]) -> Any:
    """The encoder that a run kept the configuration of; a checkpoint's weights are still to come."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, **options
    )
    return transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]


def _check(config: Any, inputs: Tokens) -> None:
    if _positions(config) < inputs.length:
        raise LabwrightError(
            f"model: the encoder has {_positions(config)} positions, texts have up to {inputs.length} tokens: set "
            f"task.data.length={_positions(config)} or less."
        )
    if config.vocab_size < inputs.vocab_size:
        raise LabwrightError(
            f"model: the encoder knows {config.vocab_size:,} tokens, the data's tokenizer has {inputs.vocab_size:,}: "
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
