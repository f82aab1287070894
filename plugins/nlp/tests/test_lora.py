"""Adapters of low rank: what they compute, what they train, how they start from a folder and are kept, and merging."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tokenizers
import torch
from labwright import Classes, LabwrightError, Tokens
from labwright.config.resolve import Where
from labwright.runs.resume import resume
from labwright.runs.start import Start, begin
from labwright_nlp.models.decoder import Decoder
from labwright_nlp.models.encoder import Encoder
from labwright_nlp.models.encoder_decoder import EncoderDecoder
from labwright_nlp.models.lora import Lora
from labwright_nlp.ports import EncoderTokens
from labwright_tasks.language_model import NextTokens
from labwright_tasks.sequence_to_sequence import TargetTokens
from safetensors.torch import load_file
from torch import Tensor, nn

INPUTS, OUTPUTS = Tokens(40, 12, pad_id=0), Classes(("a", "b", "c"))
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LORA = Lora(rank=3, alpha=6.0, dropout=0.1, targets=("query", "value"))


def of_bert(lora: Lora | None) -> Encoder:
    torch.manual_seed(0)
    return Encoder(INPUTS, OUTPUTS, architecture="bert", options=SMALL, lora=lora).eval()


def moved(model: nn.Module) -> None:
    """B away from 0, where it begins."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(name)))


@torch.no_grad()
def test_an_adapted_layer_has_the_weight_w_plus_b_a_times_alpha_over_rank() -> None:
    adapted, plain = of_bert(LORA), of_bert(None)
    ids_BT, lengths_B = INPUTS.example(4, torch.Generator().manual_seed(0))
    moved(adapted)
    state = adapted.state_dict()
    by_hand = {}
    for name in plain.state_dict():
        a, b = (state.get(f"{name.removesuffix('.weight')}.lora_{which}.default.weight") for which in "AB")
        by_hand[name] = state[name] if a is None or b is None else state[name] + 6.0 / 3 * (b @ a)
    assert sum(not torch.equal(by_hand[name], state[name]) for name in by_hand) == 4  # of two layers
    assert {tuple(state[name].shape) for name in state if "lora_A" in name} == {(3, 16)}
    plain.load_state_dict(by_hand)
    torch.testing.assert_close(adapted(ids_BT, lengths_B), plain(ids_BT, lengths_B), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("lora", [LORA, Lora()])
def test_at_first_it_answers_as_the_folder_and_its_weights_have_their_old_names(lora: Lora, tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(1)
    transformers.BertModel(transformers.BertConfig(vocab_size=40, **SMALL)).save_pretrained(tmp_path / "bert")
    models = []
    for given in (lora, None):
        torch.manual_seed(2)
        model = Encoder(EncoderTokens(40, 12, 0, tmp_path / "bert"), OUTPUTS, lora=given)
        started = begin(model, Start(tmp_path / "bert", take={"*": "network.*"}, strict=False), Where(("start",)))
        assert sorted(started.unused) == ["pooler.dense.bias", "pooler.dense.weight"] and len(started.taken) == 37
        models.append(model.eval())
    adapted, plain = models
    assert {name for name in adapted.state_dict() if "lora" not in name} == set(plain.state_dict())
    plain.head.load_state_dict(adapted.head.state_dict())
    inputs = INPUTS.example(4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(adapted(*inputs), plain(*inputs), rtol=0, atol=0)


def models() -> list[Any]:
    t5 = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32, "d_kv": 8}
    gpt2 = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    targets = TargetTokens(42, 13, 0, 40, 41)
    return [
        of_bert(LORA),
        EncoderDecoder(INPUTS, targets, architecture="t5", options=t5, lora=Lora(rank=2)),
        Decoder(INPUTS, NextTokens(40, 12), architecture="gpt2", options=gpt2, lora=Lora(rank=2)),
    ]


def told(model: Any, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
    if isinstance(model, EncoderDecoder):
        return model.decode(model.encode(ids_BT, lengths_B), lengths_B, ids_BT)
    answer: Tensor = model(ids_BT, lengths_B)
    return answer


def test_merged_models_answer_as_unmerged_ones_and_have_no_adapters() -> None:
    ids_BT, lengths_B = INPUTS.example(4, torch.Generator().manual_seed(0))
    for model in models():
        model.eval()
        first = told(model, ids_BT, lengths_B).detach()
        moved(model)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        merged = model.merged()
        with torch.no_grad():
            answer = told(model, ids_BT, lengths_B)
            torch.testing.assert_close(told(merged, ids_BT, lengths_B), answer, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(answer, first)
        assert not any("lora" in name or "base_layer" in name for name, _ in merged.named_parameters())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        model.load_state_dict(state)  # under the names that it gives
        learning = {name for name, one in model.named_parameters() if one.requires_grad}
        assert all("lora_" in name or name.startswith("head.") for name in learning)
        sizes = [one.numel() for name, one in model.named_parameters() if name in learning]
        whole = sum(one.numel() for one in model.parameters())
        assert f": {sum(sizes):,} of {whole:,} parameters are trained" in model.remarks()[0]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=40, **SMALL)).save_pretrained(tmp_path / "encoder")
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{number}": number + 2 for number in range(38)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "encoder" / "tokenizer.json"))
    return tmp_path / "encoder"


def test_a_run_trains_adapters_and_head_alone_resumes_exactly_and_is_where_another_starts(
    encoder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    texts = write("texts.jsonl", [(f"w{n % 20} w{n % 7}", n % 2) for n in range(40)])
    settings = [f"task.data.path={texts}", f"start.run={encoder}", "task.data.length=8", "log=[]"]
    settings += ["train.epochs=2", "train.batch_size=8", "model.lora.dropout=0.1"]
    experiment = lw.Experiment.from_recipe("nlp/polarity-minilm-lora", settings)
    run = experiment.run(tmp_path / "run")
    assert any("37 tensors were taken from" in note for note in run.notes)
    # 2 blocks of 4 layers of 16 to 16, one to 32 and one back, each 8 * (inputs + outputs), and the head
    assert any(note.startswith("LoRA of rank 8: 3,618 of ") for note in run.notes)
    last = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: path.name)
    kept, state = load_file(last / "model.safetensors"), load_file(last / "training.safetensors")
    before = load_file(encoder / "model.safetensors")
    assert all(torch.equal(kept[f"network.{name}"], one) for name, one in before.items() if "pooler" not in name)
    assert len(state) and all("lora_" in name or "head." in name for name in state)
    trainer = experiment.trainer(tmp_path / "cut")
    trainer.fit(until=3)
    again, notes = resume(tmp_path / "cut", lw.Plugins.discover())
    assert notes == []
    again.fit()
    assert again.run.metrics == run.metrics
    for name, tensor in load_file(last / "model.safetensors").items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    table = {key: value for key, value in experiment.given.items() if key != "start"}
    second = lw.Experiment(**table, start={"run": str(tmp_path / "run")}).run(tmp_path / "second")
    (taken,) = (note for note in second.notes if "tensors were taken from" in note)
    assert taken.startswith(f"{len(kept)} ") and "keep" not in taken


@pytest.mark.parametrize(
    ("architecture", "options", "layers"),
    [
        ("bert", SMALL, {"query", "key", "value", "dense"}),
        ("distilbert", {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}, {*"qkv", "out", "lin1", "lin2"}),
    ],
)
def test_all_linear_layers_of_any_architecture_are_adapted(
    architecture: str, options: dict[str, Any], layers: set[str]
) -> None:
    encoder = Encoder(INPUTS, OUTPUTS, architecture=architecture, options=options, lora=Lora(targets="all-linear"))
    learning = {name for name, one in encoder.named_parameters() if one.requires_grad and not name.startswith("head.")}
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in learning}
    assert {name.removesuffix("_lin") for name in adapted} == layers


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"targets": ("quarry",)},
            r"model\.lora\.targets: given .*quarry.*; name layers .*it has dense, key, query, value",
        ),
        (
            {"targets": ("word_embeddings",)},
            r"'embeddings\.word_embeddings' is no linear layer but Embedding, .*it has dense, key, query",
        ),
        ({"rank": 0}, "rank"),
        ({"rnak": 4}, "rnak"),
    ],
)
def test_what_cannot_be_adapted_is_answered(settings: dict[str, Any], words: str) -> None:
    model = {"name": "nlp/encoder", "architecture": "bert", "options": SMALL, "lora": settings}
    with pytest.raises(LabwrightError, match=words):
        lw.Experiment.from_recipe("nlp/languages", [f"model={json.dumps(model)}".replace('": ', '" = ')]).build()


def test_a_layer_whose_weight_is_also_anothers_is_not_adapted() -> None:
    def adapted(*, tied: bool) -> Decoder:
        options = {"n_embd": 16, "n_layer": 1, "n_head": 2, "tie_word_embeddings": tied}
        lora = Lora(targets=("lm_head",))
        return Decoder(INPUTS, NextTokens(40, 12), architecture="gpt2", options=options, lora=lora).eval()

    with pytest.raises(LabwrightError, match=r"'lm_head' has its weight in common with 'transformer\.wte\.weight'"):
        adapted(tied=True)
    model = adapted(tied=False)
    moved(model)
    inputs = INPUTS.example(4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.merged()(*inputs), model(*inputs), rtol=1e-5, atol=1e-5)
