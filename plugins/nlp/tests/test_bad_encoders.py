"""What a person can get wrong with encoders and tokenizers that are pretrained: each slip gets its one message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tokenizers
from slips_of_texts import GOOD, Command, answered, labelled

TINY = json.dumps(
    {"model_type": "bert", "vocab_size": 99, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
)
WORDS = json.dumps({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
                    "post_processor": None, "decoder": None,
                    "model": {"type": "WordLevel", "vocab": {"text": 0}, "unk_token": "[UNK]"}})  # fmt: skip
SMALL = "model.options={hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 1, intermediate_size = 8}"


def pretrained(files: Mapping[str, str], *overrides: str) -> Command:
    """`labwright run nlp/polarity-minilm` with an encoder out of a folder with these files, and a tokenizer."""

    def args(here: Path) -> list[str]:
        (here / "encoder").mkdir()
        known = {"[PAD]": 0, "[UNK]": 1, "text": 2} | {str(number): number + 3 for number in range(40)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        for name, content in ({"tokenizer.json": tokenizer.to_str()} | files).items():
            (here / "encoder" / name).write_text(content)
        _, _, *settings = labelled(GOOD)(here)
        return ["run", "nlp/polarity-minilm", *settings, f"start.run={here / 'encoder'}", *overrides]

    return args


def weights(change: Callable[[str], str], *overrides: str, **config: int) -> Command:
    """The same with a small BERT whose weights are called otherwise, with these sizes."""

    def args(here: Path) -> list[str]:
        import transformers
        from safetensors.torch import load_file, save_file

        arguments = pretrained({})(here)
        sizes = {"vocab_size": 99, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        whole = transformers.BertConfig(**{**sizes, "intermediate_size": 8, "max_position_embeddings": 128, **config})
        transformers.BertModel(whole).save_pretrained(here / "encoder")
        file = here / "encoder" / "model.safetensors"
        save_file({change(name): one for name, one in load_file(file).items()}, file, metadata={"format": "pt"})
        return [*arguments, *overrides]

    return args


def tokenizer(content: str | None, *overrides: str) -> Command:
    """`labwright run nlp/polarity-bag` with a tokenizer out of a folder with this tokenizer.json."""

    def args(here: Path) -> list[str]:
        (here / "folder").mkdir()
        if content is not None:
            (here / "folder" / "tokenizer.json").write_text(content)
        settings = ["task.data.tokenizer=pretrained", f"task.data.pretrained={here / 'folder'}", "task.data.case=keep"]
        return [*labelled(GOOD)(here), *settings, *overrides]

    return args


CASES: dict[str, tuple[Command, str]] = {
    # what it is: (the command, a pattern of its message)
    "a pretrained folder that isn't there": (
        pretrained({}, "start.run=no/where"),
        r"there is no folder 'no/where' in /.*\. Nothing is downloaded",
    ),
    "a pretrained folder without weights": (
        pretrained({"config.json": TINY}),
        r"start\.run: no run folder and no safetensors: .*encoder' has config\.json, tokenizer\.json\.",
    ),
    "a pretrained folder with pickled weights": (
        pretrained({"config.json": TINY, "pytorch_model.bin": "{}"}),
        r"has .*pytorch_model\.bin.* other files of weights, which may run code, aren't read",
    ),
    "the folder under its old name": (
        pretrained({}, "model.pretrained=folder"),
        r"model\.pretrained: .* any more: start\.run=FOLDER names it once, for the tokenizer, the configuration and",
    ),
    "the folder twice": (
        pretrained({}, "task.data.pretrained=folder"),
        r"task\.data\.pretrained: the run starts from .*encoder.*: write start\.run=FOLDER instead",
    ),
    "an architecture transformers lacks": (
        labelled(GOOD, "model=nlp/encoder", "model.architecture=distlbert"),
        r"has no model type 'distlbert'; did you mean 'distilbert'",
    ),
    "a pretrained tokenizer from nowhere": (
        labelled(GOOD, "task.data.tokenizer=pretrained"),
        r"is the tokenizer of what the run starts from, start\.run=FOLDER, or that of a folder with tokenizer\.json",
    ),
    "a folder without a tokenizer": (tokenizer(None), r"has no tokenizer\.json; it has nothing"),
    "a tokenizer that is none": (tokenizer("{}"), r"tokenizer\.json can't be read as a tokenizer"),
    "a tokenizer cut off": (tokenizer(WORDS[:40]), r"tokenizer\.json can't be read as a tokenizer"),
    "a tokenizer without the words": (tokenizer(WORDS), r"the tokenizer can't take these texts"),
    "marks for a pretrained tokenizer": (tokenizer(WORDS, "task.data.case=mark"), r"knows no marks; set case='keep'"),
    "a configuration cut off": (pretrained({"config.json": '{"a'}), r"can't make the encoder of .*encoder"),
    "a configuration of nothing": (pretrained({"config.json": "{}"}), r"can't make the encoder of .*encoder"),
    "no configuration": (pretrained({}), r"start\.run: .*encoder has no config\.json"),
    "weights cut off": (
        pretrained({"config.json": TINY, "model.safetensors": "torn"}),
        r"start\.run: .*encoder can't be read as safetensors",
    ),
    "weights under a prefix": (
        weights(lambda name: f"module.{name}"),
        r"of .* no tensor has a place in this model: .* start\.take = \{ .module\.\*. = .network\.\*. \} has a place",
    ),
    "a layer lost": (
        weights(lambda name: name.replace("layer.0", "layer.7"), "start.strict=true"),
        r"of .* encoder\.layer\.7.* have no place in this model",
    ),
    "nothing to be partial with": (
        weights(lambda name: name, "model.partial=true"),
        r"model\.partial: .* any more: start\.strict=false takes what there is",
    ),
    "weights of another size": (
        weights(lambda name: name, "model.options={hidden_size = 16}"),
        r"start\.take: 'embeddings.* has shape \(8,\), and 'network\.embeddings.* here shape \(16,\)",
    ),
    "texts longer than an encoder reads": (weights(lambda name: name, max_position_embeddings=32), r"32 positions"),
    "an encoder of fewer tokens": (
        weights(lambda name: name, vocab_size=5),
        r"knows 5 tokens, the data's tokenizer has",
    ),
    "an encoder of pictures": (
        labelled(GOOD, "model=nlp/encoder", "model.architecture=vit", SMALL),
        r"a text can't be given",
    ),
    "an encoder that can't be built": (
        labelled(
            GOOD,
            "model=nlp/encoder",
            "model.architecture=bert",
            "model.options={hidden_size = 7, num_attention_heads = 2}",
        ),
        r"can't build an encoder 'bert'",
    ),
    "no encoder": (labelled(GOOD, "model=nlp/encoder"), r"which encoder\?"),
}


@pytest.mark.parametrize("what", CASES)
def test_a_slip_with_an_encoder_is_answered_with_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(CASES[what], tmp_path, capsys, monkeypatch)
