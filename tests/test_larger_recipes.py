"""Recipes of base size and of large sets, by dry run on little data of their layouts, small and at their own size."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
from labwright_instruments.dry_run import dry_run
from PIL import Image

CHANCE = random.Random(0)
VOCABULARY = list(dict.fromkeys("".join(CHANCE.choices("abcdefgh", k=5)) for _ in range(300)))


def text(words: int) -> str:
    return " ".join(CHANCE.choices(VOCABULARY, k=words))


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def documents(folder: Path) -> str:
    for number in range(12):
        (folder / "documents").mkdir(exist_ok=True)
        (folder / "documents" / f"{number}.txt").write_text(text(2000), encoding="utf-8")
    return f"task.data.path={folder}/documents"


def labelled(folder: Path) -> str:
    rows = [{"text": text(80), "label": ("good", "bad")[number % 2]} for number in range(60)]
    return f"task.data.path={lines(folder / 'texts.jsonl', rows)}"


def tagged(folder: Path) -> str:
    rows = [{"tokens": text(20).split(), "tags": ["B-PER", "I-PER", *"O" * 18]} for _ in range(60)]
    return f"task.data.path={lines(folder / 'tagged.jsonl', rows)}"


def questions(folder: Path) -> str:
    """In the layout of SQuAD 2.0: 500 words, three questions about each, of which one has no answer."""
    articles = []
    for number in range(20):
        context = text(500)
        answer = {"text": context[60:71], "answer_start": 60}
        asked = [
            {
                "id": f"{number}-{of}",
                "question": f"{text(6)} ?",
                "answers": [answer] * (of < 2),
                "is_impossible": of == 2,
            }
            for of in range(3)
        ]
        articles.append({"title": str(number), "paragraphs": [{"context": context, "qas": asked}]})
    path = folder / "questions.json"
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return f"task.data.path={path}"


def translated(folder: Path) -> str:
    for part, count in (("train", 60), ("valid", 8), ("test", 8)):
        rows = [{"text": text(20), "translation": text(20)} for _ in range(count)]
        lines(folder / "pairs" / f"{part}.jsonl", rows)
    return f"task.data.path={folder}/pairs"


def summed_up(folder: Path) -> str:
    rows = [{"text": text(300), "summary": text(12)} for _ in range(60)]
    return f"task.data.path={lines(folder / 'summaries.jsonl', rows)}"


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def imagenet(folder: Path) -> str:
    """train/ and val/ with a folder for each of WordNet's numbers."""
    for part, count in (("train", 4), ("val", 2)):
        for synset in ("n01440764", "n01443537", "n02102040"):
            for number in range(count):
                picture(folder / part / synset / f"{synset}_{number}.JPEG", pixels(60, 80, 3))
    return f"task.data.folder={folder}"


def coco(folder: Path) -> str:
    """annotations/ beside train2017/ and val2017/; category ids have holes, one picture has nothing, one a crowd."""
    for part, count in (("train2017", 8), ("val2017", 4)):
        images, boxes = [], []
        for number in range(count):
            name = f"{number:012}.jpg"
            picture(folder / part / name, pixels(60, 80, 3))
            images.append({"id": number, "file_name": name, "height": 60, "width": 80})
            if number < count - 1:
                row = {"image_id": number, "category_id": (1, 90)[number % 2], "bbox": [5, 5, 30, 20], "area": 600}
                boxes.append({"id": number, "iscrowd": int(number == 2), "segmentation": [], **row})
        told = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(told))
    return f"task.data.folder={folder}"


def ade20k(folder: Path) -> str:
    """images/ and annotations/ with training/ and validation/ in each; 0 is what has no name."""
    for part, count in (("training", 6), ("validation", 3)):
        for number in range(count):
            name = f"ADE_{part}_{number:08}"
            picture(folder / "images" / part / f"{name}.jpg", pixels(60, 80, 3))
            picture(folder / "annotations" / part / f"{name}.png", pixels(60, 80) % 5)
    return f"task.data.folder={folder}"


def pretrained(folder: Path, kind: str, sizes: dict[str, Any]) -> str:
    """A network of random weights as transformers saves it, with the tokenizer that its family has."""
    import tokenizers
    import transformers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if kind == "bert" else ["<pad>", "</s>", "<unk>"]
    ids = {token: number for number, token in enumerate([*special, *VOCABULARY, "?"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token=special[1 if kind == "bert" else 2]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if kind == "bert":
        tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(special)
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(ids), **sizes)
    made = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForMaskedLM
    made.from_config(config).save_pretrained(folder / "start")
    tokenizer.save(str(folder / "start" / "tokenizer.json"))
    return f"start.run={folder}/start"


BERT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
T5 = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32, "d_kv": 8, "decoder_start_token_id": 0}
T5_BASE = {"d_model": 768, "num_layers": 12, "num_heads": 12, "d_ff": 3072, "decoder_start_token_id": 0}
OF_BERT = 'start.take={"bert.*"="network.*"}'
# the data, what makes the network small, and what a small network is started from
RECIPES: dict[str, tuple[Callable[[Path], str], tuple[str, ...], str]] = {
    "nlp/bert-base": (documents, (f"model.options={{{','.join(f'{k}={v}' for k, v in BERT.items())}}}",), ""),
    "nlp/gpt-base": (documents, ("model.width=32", "model.depth=1", "model.heads=2"), ""),
    "nlp/translation-base": (translated, ("model.width=32", "model.depth=1", "model.heads=2"), ""),
    "nlp/texts-base": (labelled, (), "bert"),
    "nlp/tags-base": (tagged, (), "bert"),
    "nlp/answers-base": (questions, (), "bert"),
    "nlp/summaries-base": (summed_up, (), "t5"),
    "vision/imagenet": (imagenet, ("model.architecture=test_resnet", "task.data.size=32"), ""),
    "vision/coco": (coco, ("model.backbone=residual", "model.head_width=8", "task.data.height=64"), ""),
    "vision/ade20k": (ade20k, ("model.backbone=test_resnet", "model.width=8", "task.data.height=64"), ""),
}
BASE = {  # millions of parameters, without those of tokens, and what else is smaller than in the recipe
    "nlp/bert-base": 85,
    "nlp/gpt-base": 85,
    "nlp/translation-base": 44,
    "nlp/texts-base": 85,
    "nlp/tags-base": 85,
    "nlp/answers-base": 85,
    "nlp/summaries-base": 198,
    "vision/imagenet": 23,
    "vision/coco": 24,
    "vision/ade20k": 40,
}


def looked_at(name: str, folder: Path, small: bool) -> dict[str, Any]:
    data, smaller, kind = RECIPES[name]
    overrides = [data(folder), "device={name='cpu',threads=1}", "train.batch_size=2", *(smaller if small else ())]
    if kind == "bert":
        overrides += [pretrained(folder, "bert", BERT if small else {}), OF_BERT]
    elif kind:
        overrides += [pretrained(folder, "t5", T5 if small else T5_BASE)]
    return dry_run(lw.Experiment.from_recipe(name, overrides))


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_a_larger_recipe_goes_through_with_a_small_network(name: str, tmp_path: Path) -> None:
    cost = looked_at(name, tmp_path, small=True)
    assert cost["steps"] > 2
    assert any(math.isfinite(value) for value in cost["one_batch"]["valid"].values())  # a class may not be there


@pytest.mark.release
@pytest.mark.parametrize("name", RECIPES)
def test_a_larger_recipe_goes_through_at_its_own_size(name: str, tmp_path: Path) -> None:
    cost = looked_at(name, tmp_path, small=False)
    shutil.rmtree(tmp_path)  # a gigabyte
    assert BASE[name] <= cost["parameters"] / 1e6 <= 1.2 * BASE[name]
