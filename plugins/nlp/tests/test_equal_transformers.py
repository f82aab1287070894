"""Our transformers give what those of the library transformers give with the same weights: BERT, GPT-2 and Llama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from labwright import Classes, Tokens
from labwright_nlp.models.blocks import Block
from labwright_nlp.models.gpt import GPT
from labwright_nlp.models.transformer_encoder import TransformerEncoder
from labwright_nlp.ports import HiddenTokens, MaskedTokens
from labwright_tasks.language_model import NextTokens
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")
INPUTS, NEXT = Tokens(40, 12, pad_id=0), NextTokens(40, 12)
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}


def drawn(model: nn.Module) -> Any:
    """A model of theirs in float64 with weights far from where they begin, biases and norms too."""
    torch.manual_seed(0)
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def texts() -> tuple[Tensor, Tensor]:
    return INPUTS.example(5, torch.Generator().manual_seed(0))


@torch.no_grad()
def give(ours: Any, *theirs: Any, turned: bool = False) -> None:
    """Copy what modules of theirs have, one below the other, into one of ours; `turned` ones are inputs by outputs."""
    weights = [each.weight.T if turned else each.weight for each in theirs]
    ours.weight.copy_(torch.cat(weights))
    if getattr(ours, "bias", None) is not None:
        ours.bias.copy_(torch.cat([each.bias for each in theirs]))


def pairs(ours: Any, layers: Sequence[Any]) -> Any:
    assert len(ours) == len(layers) == 3 and all(isinstance(block, Block) for block in ours)
    return zip(ours, layers, strict=True)


def close(ours: Tensor, theirs: Tensor, within: float = 1e-10) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


@torch.no_grad()
def into_network(network: Any, bert: Any) -> None:
    give(network.embedding, bert.embeddings.word_embeddings)
    first_T2D = bert.embeddings.position_embeddings.weight + bert.embeddings.token_type_embeddings.weight[0]
    network.positions.copy_(first_T2D)
    give(network.norm, bert.embeddings.LayerNorm)
    for block, layer in pairs(network.blocks, bert.encoder.layer):
        own = layer.attention.self
        give(block.attention_in, own.query, own.key, own.value)
        give(block.attention_out, layer.attention.output.dense)
        give(block.attention_norm, layer.attention.output.LayerNorm)
        give(block.hidden_in, layer.intermediate.dense)
        give(block.hidden_out, layer.output.dense)
        give(block.hidden_norm, layer.output.LayerNorm)


@pytest.fixture(scope="module")
def bert() -> Any:
    config = transformers.BertConfig(
        vocab_size=40, max_position_embeddings=12, intermediate_size=48, layer_norm_eps=1e-5, **SIZES
    )
    return drawn(transformers.BertForMaskedLM(config))


SAME: dict[str, Any] = {"width": 32, "depth": 3, "heads": 4, "hidden": 48}


@torch.no_grad()
def test_the_encoder_is_a_bert(bert: Any) -> None:
    model = TransformerEncoder(INPUTS, Classes(("a", "b")), **SAME, norm_last=True).double().eval()
    into_network(model.network, bert.bert)
    ids_BT, lengths_B = texts()
    there_BT = torch.arange(12) < lengths_B[:, None]
    states_BTD = bert.bert(input_ids=ids_BT, attention_mask=there_BT.long()).last_hidden_state
    close(model.network(ids_BT, there_BT)[there_BT], states_BTD[there_BT])
    means_BD = torch.stack([states_BTD[row, :length].mean(0) for row, length in enumerate(lengths_B.tolist())])
    close(model(ids_BT, lengths_B), model.head(means_BD))
    model.pooling = "cls"
    close(model(ids_BT, lengths_B), model.head(states_BTD[:, 0]))


@torch.no_grad()
def test_it_tells_hidden_tokens_as_bert_does(bert: Any) -> None:
    inputs = MaskedTokens(40, 12, pad_id=0, hidden=3)
    model = TransformerEncoder(inputs, HiddenTokens(40, 3), **SAME, norm_last=True).double().eval()
    into_network(model.network, bert.bert)
    give(model.head.transform, bert.cls.predictions.transform.dense)
    give(model.head.norm, bert.cls.predictions.transform.LayerNorm)
    model.head.bias.copy_(bert.cls.predictions.bias)
    ids_BT, lengths_B, places_BM = inputs.example(5, torch.Generator().manual_seed(0))
    there_BT = torch.arange(12) < lengths_B[:, None]
    logits_BTV = bert(input_ids=ids_BT, attention_mask=there_BT.long()).logits
    close(model(ids_BT, lengths_B, places_BM), logits_BTV[torch.arange(5)[:, None], places_BM])


@torch.no_grad()
def test_the_gpt_is_a_gpt_2() -> None:
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=12, n_embd=32, n_layer=3, n_head=4, activation_function="gelu"
    )
    theirs = drawn(transformers.GPT2LMHeadModel(config))
    model = GPT(INPUTS, NEXT, width=32, depth=3, heads=4, bias=True).double().eval()
    give(model.embedding, theirs.transformer.wte)
    model.positions.copy_(theirs.transformer.wpe.weight)
    give(model.norm, theirs.transformer.ln_f)
    for block, layer in pairs(model.blocks, theirs.transformer.h):
        give(block.attention_norm, layer.ln_1)
        give(block.attention_in, layer.attn.c_attn, turned=True)
        give(block.attention_out, layer.attn.c_proj, turned=True)
        give(block.hidden_norm, layer.ln_2)
        give(block.hidden_in, layer.mlp.c_fc, turned=True)
        give(block.hidden_out, layer.mlp.c_proj, turned=True)
    ids_BT, lengths_B = texts()
    close(model(ids_BT, lengths_B), theirs(ids_BT).logits)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@torch.no_grad()
def test_the_gpt_is_a_llama(key_heads: int) -> None:
    config = transformers.LlamaConfig(
        vocab_size=40, max_position_embeddings=12, intermediate_size=48, rms_norm_eps=1e-5,
        num_key_value_heads=key_heads, rope_parameters={"rope_type": "default", "rope_theta": 500.0}, **SIZES,
    )  # fmt: skip
    theirs = drawn(transformers.LlamaForCausalLM(config))
    llama: dict[str, Any] = {"positions": "rotary", "norm": "rms", "activation": "swiglu", "tied": False}
    model = GPT(INPUTS, NEXT, **SAME, **llama, key_heads=key_heads, rotary_base=500.0).double().eval()
    give(model.embedding, theirs.model.embed_tokens)
    give(model.norm, theirs.model.norm)
    give(model.head, theirs.lm_head)
    for block, layer in pairs(model.blocks, theirs.model.layers):
        give(block.attention_norm, layer.input_layernorm)
        give(block.attention_in, layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
        give(block.attention_out, layer.self_attn.o_proj)
        give(block.hidden_norm, layer.post_attention_layernorm)
        give(block.hidden_in, layer.mlp.gate_proj, layer.mlp.up_proj)
        give(block.hidden_out, layer.mlp.down_proj)
    ids_BT, lengths_B = texts()
    close(model(ids_BT, lengths_B), theirs(ids_BT).logits, within=3e-6)  # theirs takes norms and angles in float32
