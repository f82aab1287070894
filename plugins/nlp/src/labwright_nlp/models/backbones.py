"""Networks of transformers: by their name or by a folder's configuration, and tried. B batch, T tokens, D width."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError, Tokens, listed, nearest
from labwright_tasks.sequence_to_sequence import TargetTokens
from torch import Tensor, nn

from labwright_nlp.models.caches import of_keys_and_values
from labwright_nlp.ports import EncoderTokens, MaskedTokens

_TRIED = 8  # tokens
_WRITTEN = 2  # of these, as a target
_ROUNDED = 2e-4  # of the deviation of logits, of which rounding is a hundredth
# model types, or what stands in them, whose positions begin behind the padding's id
_BEHIND_PADDING = (
    "camembert", "data2vec", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta", "xmod",
)  # fmt: skip


@dataclass(frozen=True)
class Sort:
    """What a network is for: how it is called, the class of transformers that makes one, well-known ones, and the
    setting of the longest text.
    """

    name: str
    maker: str
    known: str
    longest: str = "task.data.length"


ENCODER = Sort("encoder", "AutoModel", "bert, distilbert, electra, modernbert, roberta")
DECODER = Sort("decoder", "AutoModelForCausalLM", "gpt2, gpt_neox, llama, mistral, qwen2", "task.data.context")
ENCODER_DECODER = Sort("encoder-decoder", "AutoModelForSeq2SeqLM", "bart, marian, mbart, pegasus, t5")


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
        network = _encoding(_network(ENCODER, inputs, architecture, options))
        _check(ENCODER, network.config, inputs)
        width, causal, mixing = _tried(network.eval(), inputs)
    padded = (
        f"the encoder {network.config.model_type!r} takes padding for text: what it says of one depends a little "
        "on how long the others of its batch are."
    )
    return Backbone(network.train(), width, causal, (padded,) if mixing else ())


def language_model(inputs: Tokens, architecture: str | None, options: dict[str, Any]) -> tuple[Any, bool]:
    """A network that goes on with a text, and whether it keeps keys and values of all its tokens, and of them alone.

    Raises LabwrightError for one that can't be had, or whose tokens see those after them.
    """
    with _quiet():
        network = _network(DECODER, inputs, architecture, options)
        _check(DECODER, network.config, inputs)
        ids_BT = _example(inputs)[None].repeat(2, 1)
        ids_BT[1, -1] = ids_BT[1, 0]
        with torch.no_grad(), _refusing(DECODER):
            told = network.eval()(input_ids=ids_BT, use_cache=True)
    if ids_BT.shape[1] > 1 and not torch.equal(told.logits[0, 0], told.logits[1, 0]):
        kind = network.config.model_type
        raise LabwrightError(
            f"model: in {kind!r} a token sees those after it, so that it learns nothing of what comes next. "
            f"model.architecture takes decoders: {DECODER.known}; model.options={{is_decoder=true}} makes one of bert."
        )
    window = getattr(network.config, "sliding_window", None)
    return network.train(), of_keys_and_values(told, ids_BT) and (window is None or window >= inputs.length)


def sequence_to_sequence(
    inputs: Tokens, outputs: TargetTokens, architecture: str | None, options: dict[str, Any]
) -> Any:
    """A network that reads a text and writes another, with one table of vectors for the tokens of both.

    Raises LabwrightError for one that can't be had, or used, or whose cache gives other logits than the whole target.
    """
    # a target has its end beside what a source may have
    inputs = replace(
        inputs, vocab_size=max(inputs.vocab_size, outputs.vocab_size), length=max(inputs.length, outputs.length)
    )
    signs = {"decoder_start_token_id": outputs.begin_id, "eos_token_id": outputs.end_id}
    with _quiet():
        network = _network(ENCODER_DECODER, inputs, architecture, options, **signs)
        _check(ENCODER_DECODER, network.config, inputs, ends=1)
        ids_T = _example(inputs)
        target_BT = torch.tensor([[outputs.begin_id, *ids_T.tolist()[:_WRITTEN]]])
        with torch.no_grad(), _refusing(ENCODER_DECODER):
            whole_V = network.eval()(input_ids=ids_T[None], decoder_input_ids=target_BT, use_cache=False).logits[0, -1]
            cache: Any = None
            for token in target_BT[0]:
                step = {"decoder_input_ids": token[None, None], "past_key_values": cache, "use_cache": True}
                told = network(input_ids=ids_T[None], **step)
                cache = told.past_key_values
    deviation = float(whole_V[whole_V.isfinite()].std())  # some never write certain tokens
    if not torch.allclose(told.logits[0, -1], whole_V, rtol=0, atol=_ROUNDED * deviation):
        kind = network.config.model_type
        raise LabwrightError(
            f"model: by its cache of keys and values {kind!r} writes other texts than it learns from. "
            f"model.architecture takes encoder-decoders such as {ENCODER_DECODER.known}."
        )
    return network.train()


def _network(sort: Sort, inputs: Tokens, architecture: str | None, options: dict[str, Any], **signs: int) -> Any:
    """A network, in full precision; as configured it may be in half."""
    if architecture is not None:
        given = {"vocab_size": inputs.vocab_size, "pad_token_id": inputs.pad_id, **signs, **options}
        network = _from_name(sort, architecture, inputs, given)
    elif isinstance(inputs, EncoderTokens | MaskedTokens) and inputs.folder is not None:
        network = _from_folder(sort, inputs.folder, options)
    else:
        article = "an" if sort.name[0] in "aeiou" else "a"
        raise LabwrightError(
            f'model: which {sort.name}? start.run=FOLDER with task.data.tokenizer="pretrained" takes one with its '
            f"tokenizer and weights; model.architecture, such as {sort.known.partition(',')[0]}, makes {article} "
            f"{sort.name} with random weights."
        )
    return network.float()


def _encoding(whole: Any) -> Any:
    """What of a network is used: not a decoder that goes on with a text, nor a pooling of its own."""
    both = all(isinstance(getattr(whole, part, None), nn.Module) for part in ("encoder", "decoder"))
    network = whole.encoder if both else whole
    if isinstance(getattr(network, "pooler", None), nn.Module):
        network.pooler = None
    return network


def _from_name(sort: Sort, architecture: str, inputs: Tokens, given: dict[str, Any]) -> Any:
    import transformers

    known = list(transformers.CONFIG_MAPPING.keys())
    if architecture not in known:
        raise LabwrightError(
            f"model.architecture: transformers {transformers.__version__} has no model type {architecture!r}"
            f"{nearest(architecture, known)} Well-known ones are {sort.known}."
        )
    try:
        config = transformers.AutoConfig.for_model(architecture, **given)
        names = {"max_position_embeddings", config.attribute_map.get("max_position_embeddings")}
        if not names & given.keys() and _positions(config) < inputs.length:
            config.max_position_embeddings = inputs.length + max(inputs.pad_id + 1, before_text(config))
        return getattr(transformers, sort.maker).from_config(config)
    except Exception as error:  # hundreds of builders, any of which may raise anything
        article = "an" if sort.name[0] in "aeiou" else "a"
        raise LabwrightError(
            f"model: transformers can't build {article} {sort.name} {architecture!r} with {given}: {_said(error)}"
        ) from error


def _from_folder(sort: Sort, folder: Path, options: dict[str, Any]) -> Any:
    """The network that a folder has the configuration of; its weights are still to come."""
    if not (folder / "config.json").is_file():
        raise LabwrightError(
            f"start.run: {folder} has no config.json that says what {sort.name} it is of; it has "
            f"{listed(path.name for path in folder.iterdir())}."
        )
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **options
        )
        # what is drawn for weights that are then replaced moves nothing that is drawn after them
        with torch.random.fork_rng(devices=[]):
            return getattr(transformers, sort.maker).from_config(config)
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(
            f"start.run: transformers can't make the {sort.name} of {folder}: {_said(error)}"
        ) from error


def _tried(network: nn.Module, inputs: Tokens) -> tuple[int, bool, bool]:
    """The width; whether a token sees only those before it; whether padding changes what becomes of others.

    Raises LabwrightError if the network can't be called with tokens and a mask.
    """
    ids_T = _example(inputs)
    length = len(ids_T)
    other_T = torch.cat([ids_T[:-1], ids_T[:1]])
    half = length // 2
    mask_T = (torch.arange(length) < half).long()
    padded_T = ids_T.where(mask_T.bool(), inputs.pad_id)

    def states(ids_T: Tensor, mask_T: Tensor | None = None) -> Tensor:
        there_T = torch.ones_like(ids_T) if mask_T is None else mask_T
        x_TD: Tensor = network(input_ids=ids_T[None], attention_mask=there_T[None]).last_hidden_state[0]
        return x_TD

    with torch.no_grad(), _refusing(ENCODER):
        causal = torch.equal(states(ids_T)[0], states(other_T)[0])
        alone_TD, beside_TD = states(ids_T[:half]), states(padded_T, mask_T)[:half]
    return alone_TD.shape[1], causal, not torch.allclose(alone_TD, beside_TD, rtol=1e-2, atol=1e-2)


def _example(inputs: Tokens) -> Tensor:
    """A few tokens that aren't padding, (T,)."""
    length = min(_TRIED, inputs.length)
    known = [token for token in range(min(inputs.vocab_size, 2 * _TRIED)) if token != inputs.pad_id][:length] or [0]
    return torch.tensor([known[place % len(known)] for place in range(length)])


@contextmanager
def _refusing(sort: Sort) -> Iterator[None]:
    """Whatever a network complains of is said in one message."""
    try:
        yield
    except Exception as error:  # hundreds of builders, any of which may raise anything
        raise LabwrightError(f"model: a text can't be given to this {sort.name}: {_said(error)}") from error


def _check(sort: Sort, config: Any, inputs: Tokens, ends: int = 0) -> None:
    """Whether a network has room for texts, `ends` tokens of which are none of the data's, and knows their tokens."""
    if _positions(config) < inputs.length:
        # tokens are hidden of running text as well
        longest = "task.data.context or task.data.length" if isinstance(inputs, MaskedTokens) else sort.longest
        raise LabwrightError(
            f"model: the {sort.name} has {_positions(config)} positions, texts have up to {inputs.length} tokens: set "
            f"{longest}={_positions(config) - ends} or less."
        )
    known = getattr(config, "vocab_size", 0)
    if known < inputs.vocab_size:
        raise LabwrightError(
            f"model: the {sort.name} knows {known:,} tokens, the data's tokenizer has {inputs.vocab_size:,}: "
            'task.data.tokenizer="pretrained" takes the tokenizer of what the run starts from.'
        )


def _positions(config: Any) -> int:
    """How long a text the encoder can read; those without a limit have none."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return 1 << 30
    return most - before_text(config)


def before_text(config: Any) -> int:
    """How many positions stand before that of a text's first token."""
    if not any(kind in config.model_type for kind in _BEHIND_PADDING):
        return 0
    return 2 if config.model_type == "mpnet" else (config.pad_token_id or 0) + 1  # whose padding is 1 in any case


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
