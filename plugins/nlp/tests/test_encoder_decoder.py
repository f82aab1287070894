"""Encoder-decoders of transformers: as the library computes, writes and searches, from a folder and by name."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tokenizers
import torch
from labwright import LabwrightError, Tokens
from labwright.cli import main
from labwright.config.resolve import Where
from labwright.runs.start import Start, begin
from labwright_nlp.data.text_pairs import TextPairs
from labwright_nlp.models.encoder_decoder import EncoderDecoder
from labwright_tasks.sequence_to_sequence import Incremental, SequenceToSequence, TargetTokens
from torch import Tensor, nn

T5 = {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 32, "d_kv": 8}
BART = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in
        (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "t5": {**T5, "decoder_start_token_id": 0},
    "bart": {**BART, "d_model": 16, "forced_eos_token_id": None, "pad_token_id": 0, "eos_token_id": 1,
             "decoder_start_token_id": 1, "bos_token_id": 2, "max_position_embeddings": 16},
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network whose weights are far from 0, as transformers saves it, with a tokenizer of words beside it."""
    import transformers

    path = tmp_path_factory.mktemp(request.param)
    config = transformers.AutoConfig.for_model(
        request.param, vocab_size=40, tie_word_embeddings=True, **KINDS[request.param]
    )
    torch.manual_seed(0)
    network = transformers.AutoModelForSeq2SeqLM.from_config(config)
    for parameter in network.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.4 if request.param == "t5" else 1.0)
    network.save_pretrained(path)
    words = {"<pad>": 0, "</s>": 1, "<s>": 2} | {f"w{number}": number + 3 for number in range(37)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<s>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>"])
    template = "$A </s>" if request.param == "t5" else "<s> $A </s>"
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[("</s>", 1), ("<s>", 2)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [(f"w{n % 30} w{n % 7} w{n % 11}", f"w{n % 30} w{n % 5}" * (1 + n % 2)) for n in range(40)]
    path.write_text("".join(json.dumps({"text": text, "translation": meant}) + "\n" for text, meant in rows))
    return path


def task_and_model(folder: Path, pairs: Path, **settings: Any) -> tuple[SequenceToSequence, EncoderDecoder]:
    """Of a folder, with its weights."""
    data = TextPairs(path=pairs, tokenizer="pretrained", length=8, valid=0.0, test=0.0)
    task = SequenceToSequence(data, **settings)
    task.starts_from(folder)
    task.prepare()
    inputs, outputs = task.ports()
    assert isinstance(inputs, Tokens) and isinstance(outputs, TargetTokens)
    model = EncoderDecoder(inputs, outputs)
    started = begin(model, Start(folder, take={"*": "network.*"}), Where(("start",)))
    assert started.kept == started.unused == []
    return task, model.eval()


def batch_of(task: SequenceToSequence, rows: int = 12) -> lw.Batch:
    train = task.data.split("train")
    assert train is not None
    return train.fetch(torch.arange(rows), 0, 0)


def in_transformers(folder: Path) -> Any:
    import transformers

    return transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


def mask_of(batch: lw.Batch) -> Any:
    return (torch.arange(batch.inputs[0].shape[1]) < batch.inputs[1][:, None]).long()


@torch.no_grad()
def test_loss_and_logits_are_those_of_transformers_given_the_labels(folder: Path, pairs: Path) -> None:
    task, model = task_and_model(folder, pairs)
    batch, theirs = batch_of(task), in_transformers(folder)
    assert len(set(batch.inputs[1].tolist())) == 1 and bool((batch.targets == -100).any())
    short = lw.Batch((batch.inputs[0].clone(), batch.inputs[1].clone()), batch.targets)
    short.inputs[1][::2] -= 1  # as if padded there
    expected = theirs(input_ids=short.inputs[0], attention_mask=mask_of(short), labels=short.targets)
    port = task.port
    before_BT = torch.cat([torch.full((12, 1), port.begin_id), short.targets[:, :-1]], 1)
    logits_BTV = model.decode(model.encode(*short.inputs), short.inputs[1], before_BT.masked_fill(before_BT < 0, 0))
    torch.testing.assert_close(logits_BTV, expected.logits, rtol=1e-5, atol=1e-5)
    loss = task.loss(model, short, nn.CrossEntropyLoss(), "train")  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected.loss, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_texts_are_those_that_generate_writes(folder: Path, pairs: Path) -> None:
    task, model = task_and_model(folder, pairs)
    assert isinstance(model, Incremental)
    batch, theirs = batch_of(task), in_transformers(folder)
    texts = task.texts(model, model.encode(*batch.inputs), batch.inputs[1])
    ids_BT = theirs.generate(
        input_ids=batch.inputs[0],
        attention_mask=mask_of(batch),
        num_beams=1,
        do_sample=False,
        max_new_tokens=task.port.length,
    )
    ends = [ids.index(1, 1) if 1 in ids[1:] else len(ids) for ids in ids_BT.tolist()]
    assert texts == [task.data.written(ids[1:end]) for ids, end in zip(ids_BT.tolist(), ends, strict=True)]
    assert len(set(texts)) > 4


@torch.no_grad()
def test_a_search_finds_texts_as_probable_as_generate_does(
    folder: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model = task_and_model(folder, pairs, beams=4, length_penalty=0.0)
    batch, theirs = batch_of(task), in_transformers(folder)
    search = {"num_beams": 4, "do_sample": False, "length_penalty": 0.0, "max_new_tokens": task.port.length}
    told = theirs.generate(
        input_ids=batch.inputs[0],
        attention_mask=mask_of(batch),
        return_dict_in_generate=True,
        output_scores=True,
        **search,
    )
    memory = model.encode(*batch.inputs)

    def scores(of_texts: list[list[int]]) -> Tensor:
        """log P of texts, each of tokens up to its end, or of as many as there may be."""
        all_B = []
        for row, ids in enumerate(of_texts):
            ids = [*ids, 1][: task.port.length]
            before_BT = torch.tensor([[task.port.begin_id, *ids[:-1]]])
            logits_BTV = model.decode(memory[row : row + 1], batch.inputs[1][row : row + 1], before_BT)
            all_B.append(logits_BTV[0].log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].sum())
        return torch.stack(all_B)

    def found(beams: int) -> Tensor:
        written = []
        monkeypatch.setattr(task.data, "written", lambda ids: written.append([*ids]) or "")
        task.beams = beams
        task.texts(model, memory, batch.inputs[1])
        return scores(written)

    theirs_B = scores([ids[1 : ids.index(1, 1) if 1 in ids[1:] else None] for ids in told.sequences.tolist()])
    torch.testing.assert_close(theirs_B, told.sequences_scores, rtol=1e-4, atol=1e-4)
    # a beam that ends takes a place here and none there, so that the two might find others; of these texts they don't
    torch.testing.assert_close(found(4), theirs_B, rtol=1e-4, atol=1e-4)
    assert bool((found(4) > found(1) + 0.1).any())


def test_a_run_from_a_folder_goes_on_and_writes_without_it(
    folder: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "network")
    task = {
        "name": "sequence-to-sequence",
        "data": {"name": "nlp/text-pairs", "path": str(pairs), "tokenizer": "pretrained"},
    }
    experiment = lw.Experiment(
        task=task,
        model="nlp/encoder-decoder",
        loss="cross-entropy",
        optimizer="adamw",
        train={"epochs": 2, "batch_size": 16, "seed": 0},
        device={"name": "cpu", "threads": 1},
        start={"run": str(tmp_path / "network"), "take": {"*": "network.*"}},
        log=[],
    )
    if "bart" in folder.name:
        with pytest.raises(
            LabwrightError, match=r"has 16 positions, texts have up to 65 tokens: set task\.data\.length=15"
        ):
            experiment.run(tmp_path / "long")
    task["data"]["length"] = 8  # type: ignore[index]
    run = lw.Experiment(**experiment.given | {"task": task}).run(tmp_path / "run")
    shutil.rmtree(tmp_path / "network")
    assert isinstance(run.task, SequenceToSequence)
    inputs = run.task.parse("w3 w4 w5")
    model = run.model.eval()
    (text,) = run.task.texts(model, model.encode(*inputs), inputs[1])  # type: ignore[operator]
    monkeypatch.setattr(sys, "argv", ["labwright", "predict", str(tmp_path / "run"), "--text", "w3 w4 w5"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    assert told.out == f"w3 w4 w5\t{text}\n"


@torch.no_grad()
@pytest.mark.parametrize("architecture", KINDS)
def test_one_by_name_writes_token_by_token_what_it_says_of_the_whole(architecture: str) -> None:
    torch.manual_seed(0)
    inputs, outputs = Tokens(30, 12, 0), TargetTokens(42, 13, 0, 40, 41)
    sizes = T5 if architecture == "t5" else {**BART, "d_model": 16}
    model = EncoderDecoder(inputs, outputs, architecture=architecture, options=sizes).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    ids_BS, lengths_B = inputs.example(3, torch.Generator().manual_seed(0))
    target_BT = torch.randint(1, 40, (3, 13))
    memory = model.encode(ids_BS, lengths_B)
    whole_BTV = model.decode(memory, lengths_B, target_BT)
    assert whole_BTV.shape == (3, 13, 42) and float(whole_BTV.std()) > 0.1
    state = model.begin(memory, lengths_B)
    for place in range(13):
        order = torch.tensor([2, 0, 1]) if place == 5 else torch.arange(3)  # rows change places, as in a search
        target_BT, whole_BTV = target_BT[order], whole_BTV[order]
        logits_BV, state = model.extend(tuple(tensor[order] for tensor in state), target_BT[:, place])
        torch.testing.assert_close(logits_BV, whole_BTV[:, place], rtol=0, atol=1e-6)
    (said,) = model.remarks()
    # sources and targets of nlp/corrupted-spans have the same tokens, which a port doesn't say
    assert said.startswith("one table of vectors serves both sides: where these have tokenizers of their own")


def test_what_cannot_be_an_encoder_decoder_is_answered(folder: Path, pairs: Path, tmp_path: Path) -> None:
    def fault(**settings: Any) -> str:
        with pytest.raises(LabwrightError) as caught:
            EncoderDecoder(settings.pop("inputs", Tokens(30, 12, 0)), TargetTokens(42, 13, 0, 40, 41), **settings)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "which encoder-decoder? start.run=FOLDER" in fault()
    assert "no model type 'barrt'; did you mean 'bart'?" in fault(architecture="barrt")
    assert "can't build an encoder-decoder 'bert'" in fault(architecture="bert")
    by_n_grams = {"hidden_size": 16, "num_encoder_layers": 1, "num_decoder_layers": 1, "encoder_ffn_dim": 16}
    by_n_grams |= {"num_encoder_attention_heads": 2, "num_decoder_attention_heads": 2, "decoder_ffn_dim": 16}
    assert "by its cache of keys and values 'prophetnet' writes other texts" in fault(
        architecture="prophetnet", options=by_n_grams
    )
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    del config["decoder_start_token_id"]
    (other / "config.json").write_text(json.dumps(config))
    data = TextPairs(path=pairs, tokenizer="pretrained")
    data.starts_from(other)
    with pytest.raises(LabwrightError, match=r"has no decoder_start_token_id, .* and no encoder-decoder such as T5"):
        data.prepare()
    with pytest.raises(LabwrightError, match="a pretrained tokenizer knows no marks"):
        TextPairs(path=pairs, tokenizer="pretrained", case="mark")
