"""Decoders of transformers as language models: as the library computes and writes, from a folder and by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tokenizers
import torch
from labwright import LabwrightError, Tokens
from labwright.config.resolve import Where
from labwright.runs.start import Start, begin
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.models.decoder import Decoder
from labwright_tasks.continuing import Continuing
from labwright_tasks.language_model import LanguageModel, NextTokens
from torch import nn

INPUTS, NEXT = Tokens(40, 16, 0), NextTokens(40, 16)
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}
LLAMA = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}
ROBERTA = {name: size for name, size in LLAMA.items() if name != "num_key_value_heads"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "llama": ("llama", LLAMA),
    "qwen2": ("qwen2", LLAMA),
    "mistral-window": ("mistral", {**LLAMA, "sliding_window": 4}),
    "mistral-window-of-a-text": ("mistral", {**LLAMA, "sliding_window": 16}),
    "mpt": ("mpt", {"d_model": 16, "n_layers": 2, "n_heads": 2}),  # distances by places
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "mamba": ("mamba", {"hidden_size": 16, "num_hidden_layers": 1}),
    "roberta": ("roberta", {**ROBERTA, "is_decoder": True}),  # whose positions begin at 1, behind the padding's
    "gpt": ("openai-gpt", {**GPT2, "n_positions": 16}),  # which has no more positions than a text has tokens
}
AGAIN = {"mistral-window", "mamba", "gpt"}  # without keys and values of the whole text


def far_from_zero(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_unequal_length_go_on_together_as_each_does_alone(kind: str) -> None:
    architecture, options = KINDS[kind]
    torch.manual_seed(0)
    model = Decoder(INPUTS, NEXT, architecture=architecture, options=options).double().eval()
    far_from_zero(model)
    assert isinstance(model, Continuing)
    assert bool(model.remarks()) == (kind in AGAIN)
    ids_BT, lengths_B, rows = torch.randint(1, 40, (4, 16)), torch.tensor([3, 9, 1, 6]), torch.arange(4)
    whole_BTV = model(ids_BT, torch.full((4,), 16))
    assert float(whole_BTV.std(1).min()) > 1e-3
    padded_BT = ids_BT[:, :9].masked_fill(torch.arange(9) >= lengths_B[:, None], 7)  # any token may stand there
    logits_BV, state = model.begin(padded_BT, lengths_B)
    for step in range(10):
        wanted_BV = whole_BTV[rows, lengths_B - 1 + step]
        torch.testing.assert_close(logits_BV, wanted_BV, rtol=0, atol=1e-5)  # some compute angles in single precision
        if step == 3:  # rows are left out and change places
            order = torch.tensor([2, 0, 3])
            state, whole_BTV, ids_BT = tuple(one[order] for one in state), whole_BTV[order], ids_BT[order]
            lengths_B, rows = lengths_B[order], torch.arange(3)
        if step < 9:
            logits_BV, state = model.extend(state, ids_BT[rows, lengths_B + step])


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as transformers saves it, with a tokenizer of words beside it."""
    import transformers

    path = tmp_path_factory.mktemp(request.param)
    architecture, options = KINDS[request.param]
    config = transformers.AutoConfig.for_model(architecture, vocab_size=48, eos_token_id=None, **options)
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config)
    far_from_zero(network)
    network.save_pretrained(path)
    words = {"<pad>": 0, "<unk>": 1} | {f"w{number}": number + 2 for number in range(46)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@torch.no_grad()
def test_of_a_folder_loss_and_texts_are_those_of_transformers(folder: Path, tmp_path: Path) -> None:
    import transformers

    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"w{n * n % 46}" for n in range(400)))
    task = LanguageModel(PlainText(path=text, tokenizer="pretrained", context=16), temperature=0.0, length=6)
    task.starts_from(folder)
    task.prepare()
    inputs, outputs = task.ports()
    assert isinstance(inputs, Tokens) and isinstance(outputs, NextTokens)
    model = Decoder(inputs, outputs)
    started = begin(model, Start(folder, take={"*": "network.*"}), Where(("start",)))
    assert started.kept == started.unused == []
    model.eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    valid = task.data.split("valid")
    assert valid is not None
    batch = valid.fetch(torch.arange(len(valid)), 0, 0)
    assert isinstance(batch, lw.Batch) and bool((batch.targets == -100).any())
    # the library shifts labels by one: of a window and the token after it
    ids_BT = torch.cat([batch.inputs[0], batch.targets[:, -1:].clamp(min=0)], 1)
    labels_BT = torch.cat([batch.inputs[0][:, :1], batch.targets], 1)
    loss = task.loss(model, batch, nn.CrossEntropyLoss(), "train")  # type: ignore[arg-type]
    torch.testing.assert_close(loss, theirs(input_ids=ids_BT, labels=labels_BT).loss, rtol=1e-5, atol=1e-5)
    prompt = batch.inputs[0][:1, :5]
    (told,) = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=6
    ).tolist()
    words = [f"w{token - 2}" for token in told[5:]]
    assert "".join(task.continuation(model, prompt[0].tolist())).split() == words and len(set(words)) > 1


def test_what_cannot_be_a_decoder_is_answered() -> None:
    def fault(**settings: Any) -> str:
        with pytest.raises(LabwrightError) as caught:
            Decoder(settings.pop("inputs", INPUTS), NEXT, **settings)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    assert "which decoder? start.run=FOLDER" in fault()
    assert "in 'bert' a token sees those after it" in fault(architecture="bert", options=small)
    assert "can't build a decoder 't5'" in fault(architecture="t5")
    assert "has 8 positions, texts have up to 16 tokens: set task.data.context=8 or less" in fault(
        architecture="gpt2", options={**GPT2, "n_positions": 8}
    )
    assert "knows 30 tokens, the data's tokenizer has 40" in fault(
        architecture="gpt2", options={**GPT2, "vocab_size": 30}
    )


def test_a_folder_of_another_run_is_gone_on_with(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and looked at the dog " * 40)
    task = {"name": "language-model", "data": {"name": "nlp/plain-text", "path": str(text), "context": 16}}
    model = {"name": "nlp/decoder", "architecture": "gpt2", "options": GPT2}
    common: dict[str, Any] = {
        "task": task, "loss": "cross-entropy", "optimizer": {"name": "adamw", "lr": 1e-2},
        "device": {"name": "cpu", "threads": 1}, "train": {"epochs": 3, "batch_size": 16, "seed": 0}, "log": [],
    }  # fmt: skip
    first = lw.Experiment(model=model, **common).run(tmp_path / "first")
    second = lw.Experiment(model=model, start={"run": str(tmp_path / "first")}, **common).run(tmp_path / "second")
    assert second.metrics["valid"]["cross_entropy"] < first.metrics["valid"]["cross_entropy"] < 3
