"""All that first-party plugins bring is held to the conformance kit; data of one's own is tried on small files."""

from __future__ import annotations

import atexit
import csv
import io
import json
import random
import shutil
import tarfile
import tomllib
from pathlib import Path
from tempfile import mkdtemp

import labwright as lw
import numpy as np
import pyarrow
import pytest
import soundfile
import torch
from labwright_testing import conformance
from PIL import Image
from pyarrow import parquet
from torch import Tensor

pytestmark = pytest.mark.slow

HERE = Path(mkdtemp(prefix="labwright-"))
atexit.register(shutil.rmtree, HERE, ignore_errors=True)
CHANCE = np.random.default_rng(0)


def census() -> Path:
    """People made by chance: those above 40 with a degree have a high income, mostly."""
    file = HERE / "census.csv"
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["age", "hours", "school", "joined", "income"])
        for _ in range(200):
            age, hours, school = CHANCE.integers(20, 60), CHANCE.uniform(10, 50), CHANCE.choice(["none", "degree", ""])
            income = "high" if age + CHANCE.integers(10) > 45 and school == "degree" else "low"
            writer.writerow([age, hours, school, f"2024-{CHANCE.integers(1, 13):02d}-01", income])
    return file


def pictures() -> Path:
    for label in ("cat", "dog", "owl"):
        (HERE / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            pixels = CHANCE.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(HERE / "pictures" / label / f"{number}.png")
    return HERE / "pictures"


def generator() -> Path:
    """A run that makes pictures like those of `pictures`, after one step."""
    folder = HERE / "generator"
    data = f'task.data={{name="vision/image-folder",folder="{HERE}/pictures",size=12}}'
    short = ["train.epochs=", "train.steps=1", "task.judge_epochs=1", "model.width=4", "log=[]"]
    lw.Experiment.from_recipe("gan/digits", [data, *short]).run(folder)
    return folder


def masks() -> Path:
    for side in ("images", "masks"):
        (HERE / "masked" / side).mkdir(parents=True)
    for number in range(30):
        pixels = CHANCE.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(HERE / "masked" / "images" / f"{number}.png")
        Image.fromarray((pixels[..., 0] > 127).astype(np.uint8)).save(HERE / "masked" / "masks" / f"{number}.png")
    return HERE / "masked"


def shards() -> Path:
    folder = HERE / "shards"
    folder.mkdir()
    for number in range(3):
        with tarfile.open(folder / f"train-{number}.tar", "w") as tar:
            for picture in range(20):
                content = (HERE / "pictures" / ("cat", "dog", "owl")[number] / f"{picture}.png").read_bytes()
                label = ("cat", "dog", "owl")[picture % 3].encode()
                for name, data in ((f"{picture}.png", content), (f"{picture}.cls", label)):
                    header = tarfile.TarInfo(name)
                    header.size = len(data)
                    tar.addfile(header, io.BytesIO(data))
    return folder


def row_groups() -> Path:
    file = HERE / "texts.parquet"
    rows = [json.loads(line) for line in (HERE / "texts.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=8)
    return file


def token_files() -> Path:
    folder = HERE / "tokens"
    folder.mkdir()
    for name, count in (("train-0", 4000), ("train-1", 6000), ("val", 900)):
        CHANCE.integers(0, 60, count, dtype=np.uint16).tofile(folder / f"{name}.bin")
    (folder / "tokens.json").write_text('{"vocab_size": 60}')
    return folder


def mnist() -> Path:
    folder = HERE / "mnist"
    folder.mkdir()
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"x_{part}"] = CHANCE.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez(folder / "mnist.npz", **arrays)
    return folder


def named_pictures() -> Path:
    file = HERE / "pictures.csv"
    rows = [f"{label}/{number}.png,{label}" for label in ("cat", "dog", "owl") for number in range(20)]
    file.write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    return file


def picture_set() -> Path:
    """The pictures in Parquet, as the Hugging Face hub has them."""
    folder = HERE / "picture-set"
    folder.mkdir()
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name}
        for path in sorted((HERE / "pictures").glob("*/*.png"))
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return folder


def cifar() -> Path:
    folder = HERE / "cifar"
    folder.mkdir()
    for name in ("data_batch_1.bin", "test_batch.bin"):
        rows = CHANCE.integers(0, 256, (60, 1 + 3 * 32 * 32), dtype=np.uint8)
        rows[:, 0] = np.arange(60) % 10
        (folder / name).write_bytes(rows.tobytes())
    return folder


def texts() -> Path:
    file = HERE / "texts.jsonl"
    names = ("apple", "pear", "plum")
    rows = [{"text": f"number {n} is a ripe {names[n % 3]} !", "label": names[n % 3]} for n in range(90)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / "hub").mkdir()
    shutil.copy(file, HERE / "hub" / "train.jsonl")
    return file


def conversations() -> Path:
    """40 prompts with a response each."""
    path = HERE / "conversations.jsonl"
    rows = ({"prompt": f"say {number} twice", "response": f"{number} {number}"} for number in range(40))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def pairs() -> Path:
    file = HERE / "pairs.jsonl"
    chance = random.Random(0)
    rows = [
        {"text": " ".join(words), "translation": " ".join(words[::-1])}
        for words in (chance.choices(["one", "two", "three", "four", "five"], k=3 + n % 4) for n in range(300))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def alike() -> Path:
    file = HERE / "alike.jsonl"
    rows = [{"text": f"number {n} of many", "other": f"it has {n} before it"} for n in range(80)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tagged() -> Path:
    file = HERE / "tagged.jsonl"
    rows = [
        {
            "tokens": [*names.split(), "was", "in", "town", str(n)],
            "tags": ["B-PER", *["I-PER"] * names.count(" "), *"OOOO"],
        }
        for n in range(60)
        for names in ("Ada Lovelace", "Alan")
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def questions() -> Path:
    file = HERE / "questions.jsonl"
    rows = []
    for n in range(60):
        town = ("London", "Rotterdam", "Lima")[n % 3]
        context = f"Person {n} was born in {town} and stayed."
        answer = {"text": town, "answer_start": context.index(town)}
        rows.append({"title": f"{n}", "context": context, "question": "where was that ?", "answers": [answer]})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def running_text() -> Path:
    file = HERE / "text.txt"
    words = random.Random(0)
    file.write_text(" ".join("".join(words.choices("abcdefgh", k=5)) for _ in range(2000)))
    return file


def ratings() -> Path:
    file = HERE / "ratings.csv"
    chance = random.Random(0)
    pairs = sorted({(chance.randrange(40), chance.randrange(30)) for _ in range(700)})
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("user", "item", "rating"), *((u, i, chance.randint(1, 5)) for u, i in pairs)])
    return file


def movielens() -> Path:
    folder = HERE / "movielens"
    folder.mkdir()
    rows = list(csv.reader((HERE / "ratings.csv").read_text().splitlines()))[1:]
    (folder / "u.data").write_text("".join(f"{u}\t{i}\t{r}\t{time}\n" for time, (u, i, r) in enumerate(rows)))
    return folder


def recordings() -> Path:
    folder = HERE / "recordings"
    rows = []
    for word in ("yes", "no"):
        (folder / word).mkdir(parents=True)
        for number in range(20):
            wave = CHANCE.standard_normal(4000).astype(np.float32) * 0.1
            soundfile.write(folder / word / f"{number}.wav", wave, 8000)
            rows.append({"path": f"{word}/{number}.wav", "text": word, "label": word, "speaker": str(number % 5)})
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def yesno() -> Path:
    folder = HERE / "waves_yesno"
    folder.mkdir()
    for number in range(20):
        name = "_".join(str(number >> bit & 1) for bit in range(8))
        soundfile.write(folder / f"{name}.wav", CHANCE.standard_normal(16_000).astype(np.float32) * 0.1, 8000)
    return folder


class Line(lw.Data):
    """Points near a plane."""

    item = lw.Features
    target = lw.Values
    source = "made by a test"
    licence = "none needed"

    def prepare(self) -> None:
        x_ND = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
        self.x_ND, self.y_N1 = x_ND, x_ND.sum(1, keepdim=True)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((3,)), lw.Values(1)

    def split(self, name: str) -> lw.Split | None:
        rows = {"train": slice(0, 40), "test": slice(40, 60)}.get(name)
        return None if rows is None else Rows(self.x_ND[rows], self.y_N1[rows])


class Rows:
    """A part of them."""

    def __init__(self, x_ND: Tensor, y_N1: Tensor) -> None:
        self.x_ND, self.y_N1 = x_ND, y_N1

    def __len__(self) -> int:
        return len(self.x_ND)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.x_ND[indices],), self.y_N1[indices])


class Plane(torch.nn.Linear):
    """A linear layer."""

    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__(inputs.shape[0], outputs.dim)


def regression(loss: object) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "regression", "data": Line},
        model=Plane,
        loss=loss,
        optimizer={"name": "adamw", "lr": 0.1},
        train={"steps": 10, "batch_size": 8},
        log=[],
    )


MADE = Path(__file__).parents[1] / "tasks" / "tests" / "made"


def made(recipe: str, *overrides: str) -> lw.Experiment:
    """A recipe of the tests of labwright-tasks, with their data."""
    plugins = lw.Plugins.discover(local=[MADE / "labels.py"])
    return lw.Experiment.from_recipe(str(MADE / f"{recipe}.toml"), overrides, plugins=plugins)


BERT = "hidden_size=32,num_hidden_layers=1,num_attention_heads=2,intermediate_size=64"

TWICE = '{name="joined",sets={plain="vision/digits",turned={name="vision/digits",rotate=15.0}}}'

LABELLED = texts()

test_labwright = conformance("labwright")
test_study = conformance("labwright-study")
test_testing = conformance("labwright-testing")
test_export = conformance("labwright-export")
test_tensorboard = conformance("labwright-tensorboard")
test_cluster = conformance("labwright-cluster")
test_sharded = conformance("labwright-sharded")
test_privacy = conformance(
    "labwright-privacy",
    recipes={
        "method privacy/dp-sgd": ["privacy/digits", "method.secret=kit"],
        "method privacy/federated": ["privacy/digits-federated", "method.secure=true", "method.dropped=0.2"],
        "method privacy/federated-dp": [
            "privacy/digits-federated",
            'method={name="privacy/federated-dp",noise=1.0,secret="kit",clients=20,per_round=5}',
        ],
        "data privacy/masked": [
            "nlp/polarity-bag",
            f'task.data={{name="privacy/masked",data={{name="nlp/text-files",path="{LABELLED}"}}}}',
        ],
    },
    inputs={"data privacy/masked": ["write to anna@example.org"]},
    exempt={
        f"method privacy/federated-server: {check}": "its clients are other processes; its tests start some"
        for check in (
            "can-be-built-with-sampled-settings",
            "leaves-gradients-and-gives-the-losses",
            "repeats-and-resumes-exactly",
        )
    },
)
test_tasks = conformance(
    "labwright-tasks",
    recipes={
        **{f"loss {name}": regression(name) for name in ("mse", "mae", "huber")},
        "loss sum": ["vision/digits-mlp", 'loss={name="sum",losses={nats="cross-entropy",focal="focal"}}'],
        "loss penalized": regression({"name": "penalized", "loss": "mse", "l2": 0.01}),
        "task regression": regression("mse"),
        "model headed": ["vision/digits-mlp", "model=headed", "model.trunk=vision/mlp"],
        "model calibrated": ["vision/digits-mlp", "model=calibrated", "model.model=vision/mlp"],
        "method temperature-scaling": [
            "vision/digits-mlp",
            "model=calibrated",
            "model.model=vision/mlp",
            "method=temperature-scaling",
            'optimizer={name="sgd",lr=1.0}',
        ],
        "method pcgrad": ["vision/digits-heads", "method=pcgrad", "loss.weights="],
        "task dense-labels": made("shapes"),
        "task sequence-to-sequence": made("digits"),
        "metric entity-f1": made("tagged", 'task.metrics=["entity-f1"]', "task.goal=entity-f1"),
        "metric strict-entity-f1": made("tagged", 'task.metrics=["strict-entity-f1"]', "task.goal=strict-entity-f1"),
        "metric boundary-f1": made("shapes", 'task.metrics=["boundary-f1"]', "task.goal=boundary-f1"),
        "metric exact-match": made("digits", 'task.metrics=["exact-match"]', "task.goal=exact-match"),
        **{f"metric {name}": regression("mse") for name in ("rmse", "mae", "r2")},
        "data joined": ["vision/digits-heads", "task.data.valid=", "loss.weights=", f"task.data={TWICE}"],
        "data fold": ["vision/digits-mlp", 'task.data={name="fold",number=2,of=5,data="vision/digits"}'],
    },
)


def boxes() -> Path:
    """Each picture with the box of what is bright in it, of one of two shapes."""
    folder = HERE / "boxes"
    folder.mkdir()
    rows = []
    for number in range(40):
        pixels = CHANCE.integers(0, 100, (48, 64, 3), dtype=np.uint8)
        (left, top), tall = CHANCE.integers(2, 20, 2).tolist(), number % 2
        right, bottom = left + (12 if tall else 24), top + (24 if tall else 12)
        pixels[top:bottom, left:right] += 120
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(
            {"file": f"{number}.png", "boxes": [[left, top, right, bottom]], "labels": ["tall" if tall else "wide"]}
        )
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


PICTURES, SHARDS, BOXES = pictures(), shards(), boxes()
FEW = ("task.data.train=64", "task.data.valid=16", "task.data.test=16")
SMALL = ("model.width=8", "model.head_width=16", "model.head_depth=1")
FILES = [str(PICTURES / label / "0.png") for label in ("cat", "dog")]
test_vision = conformance(
    "labwright-vision",
    recipes={
        "data vision/mnist": ["vision/mnist", f"task.data.folder={mnist()}"],
        "data vision/image-folder": ["vision/image-folder", f"task.data.folder={PICTURES}", "task.data.size=12"],
        "data vision/table": [
            "vision/image-folder",
            f'task.data={{name="vision/table",path="{named_pictures()}",folder="{PICTURES}",size=12}}',
        ],
        "data vision/npz": ["vision/mnist", f'task.data={{name="vision/npz",path="{HERE / "mnist" / "mnist.npz"}"}}'],
        "data vision/cifar": ["vision/mnist", f'task.data={{name="vision/cifar",folder="{cifar()}"}}'],
        "model vision/vit": [
            "vision/digits-mlp",
            "model=vision/vit",
            "model.patch=2",
            "model.width=16",
            "model.depth=1",
        ],
        "model vision/mae": ["vision/digits-mae"],
        "task vision/masked-pictures": ["vision/digits-mae"],
        "data vision/shards": ["vision/image-folder", f'task.data={{name="vision/shards",folder="{SHARDS}",size=12}}'],
        "data vision/datasets": [
            "vision/image-folder",
            f'task.data={{name="vision/datasets",dataset="{picture_set()}",size=12}}',
        ],
        "data vision/segmentation-folder": [
            "vision/segmentation-folder",
            *(f"task.data.{setting}" for setting in (f"folder={masks()}", "height=24", "width=32")),
            "model.width=8",
            "model.depth=2",
        ],
        "model vision/deeplab": ["vision/shapes-segmentation", "model=vision/deeplab", "model.backbone=test_resnet"],
        "model vision/timm": ["vision/digits-mlp", "model=vision/timm", "model.architecture=test_resnet"],
        "data vision/detection-folder": [
            "vision/detection-folder",
            f"task.data.folder={BOXES}",
            "task.data.height=48",
            "task.data.width=64",
            *SMALL,
        ],
        **{
            f"{kind} vision/torchvision-{name}": [
                "vision/shapes-instances",
                *FEW,
                "task.data.size=64",
                "model.width=16",
            ]
            for kind, name in (("model", "detector"), ("loss", "losses"))
        },
        **{
            f"{kind} vision/{name}": ["vision/shapes-detection", *FEW, *SMALL]
            for kind, name in (("task", "detection"), ("data", "shapes"), ("model", "detector"), ("loss", "detection"))
        },
    },
    inputs={
        f"data vision/{name}": FILES
        for name in (
            *("digits", "digits-heads", "mnist", "image-folder", "table", "npz", "cifar", "shards"),
            *("detection-folder", "shapes", "segmentation-folder", "shapes-masks"),
        )
    }
    | {"task vision/detection": FILES},
    exempt={
        "loss vision/detection: has-the-gradient-of-its-value": "which points get a box follows their answers",
        "loss vision/torchvision-losses: has-the-gradient-of-its-value": "what it learns from in a picture is drawn",
    },
)
OWN = f'{{name="vision/image-folder",folder="{PICTURES}",size=12}}'
UNASKED = ["gan/digits", "task.conditional=false", "task.judge_epochs=1"]
ADAPTIVE = '{name="gan/adaptive",data="vision/digits",conditional=true,judge_epochs=1,ramp=100}'
test_gan = conformance(
    "labwright-gan",
    recipes={
        "model gan/dcgan": [*UNASKED, "model=gan/dcgan"],
        "model gan/resnet": ["gan/digits", "model=gan/resnet", "model.width=8", "task.judge_epochs=1"],
        "model gan/unet": ["gan/digits-diffusion", "task.judge_epochs=1", "task.sampling_steps=2", "model.width=16"],
        "task gan/adaptive": ["gan/digits", f"task={ADAPTIVE}"],
        "task gan/diffusion": ["gan/ring-diffusion", "task.sampling_steps=2"],
        "data gan/augmented": [
            "vision/image-folder",
            f'task.data={{name="gan/augmented",data={OWN},run="{generator()}",count=30}}',
        ],
    },
    inputs={
        "task gan/adversarial": ["3", "7"],
        "task gan/adaptive": ["3", "7:1"],
        "task gan/diffusion": ["3", "7"],
        "data gan/augmented": FILES,
    },
    exempt={
        "data gan/augmented: measures-other-data-by-what-it-has-learned": "the folder of its own is a run; other "
        "data is read by the data within",
    },
)
TAGGED = ["nlp/tags", f"task.data.path={tagged()}"]
GOING_ON: dict[str, object] = {
    "task": {"name": "language-model", "data": {"name": "nlp/plain-text", "path": str(running_text()), "context": 16}},
    "model": {"name": "nlp/decoder", "architecture": "gpt2", "options": {"n_embd": 32, "n_layer": 1, "n_head": 2}},
    "loss": "cross-entropy",
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "device": {"name": "cpu", "threads": 1},
    "train": {"epochs": 1, "batch_size": 32},
    "log": [],
}
PAIRS = ["nlp/translation", f"task.data.path={HERE}/pairs.jsonl"]
T5 = "d_model=16,num_layers=1,num_heads=2,d_ff=32,d_kv=8"


def measured(metric: str, goal: str) -> list[str]:
    return [*PAIRS, f'task.metrics=["{metric}"]', f"task.goal={goal}", "model.width=16", "model.depth=1"]


ANSWERS: dict[str, object] = {
    "task": {
        "name": "nlp/answers",
        "data": {"name": "nlp/questions", "path": str(questions()), "tokenizer": "word", "length": 32, "stride": 4},
    },
    "model": {"name": "nlp/encoder", "architecture": "bert", "options": tomllib.loads(f"of = {{{BERT}}}")["of"]},
    "loss": "cross-entropy",
    "optimizer": "adamw",
    "device": {"name": "cpu", "threads": 1},
    "train": {"epochs": 2, "batch_size": 8},
    "log": [],
}
MASKED = ["nlp/pydoc-masked", "task.data.vocabulary=300", "task.data.context=16"]
test_nlp = conformance(
    "labwright-nlp",
    recipes={
        "task nlp/masked-language-model": MASKED,
        "data nlp/corrupted-spans": [
            "nlp/translation",
            'task.data={name="nlp/corrupted-spans",data={name="nlp/pydoc",tokenizer="bpe",vocabulary=300,context=16}}',
            "task.write=false",
            "model.width=32",
        ],
        "data nlp/tagged-texts": TAGGED,
        "model nlp/tagger": TAGGED,
        "data nlp/questions": lw.Experiment(**ANSWERS),  # type: ignore[arg-type]
        "task nlp/answers": lw.Experiment(**ANSWERS),  # type: ignore[arg-type]
        "data nlp/text-files": ["nlp/polarity-bag", f"task.data.path={LABELLED}"],
        "data nlp/datasets": ["nlp/polarity-bag", f'task.data={{name="nlp/datasets",dataset="{HERE}/hub"}}'],
        "data nlp/parquet": ["nlp/polarity-bag", f'task.data={{name="nlp/parquet",path="{row_groups()}"}}'],
        "data nlp/tokens": ["nlp/shakespeare", f'task.data={{name="nlp/tokens",path="{token_files()}",context=32}}'],
        "data nlp/plain-text": ["nlp/shakespeare", f"task.data.path={running_text()}"],
        "data nlp/instructions": [
            *("nlp/instructions-gpt", f"task.data.path={conversations()}", "task.data.tokenizer=char"),
            *("task.data.context=64", "task.length=9", "model.width=16", "model.depth=1", "model.heads=2"),
        ],
        "data nlp/text-pairs": ["nlp/translation", f"task.data.path={pairs()}"],
        "model nlp/transformer-encoder": ["nlp/languages", "model=nlp/transformer-encoder", "model.width=32"],
        "data nlp/territories": ["nlp/territories", "model.width=16", "model.depth=1", "train.epochs=1"],
        "model nlp/transformer": [*PAIRS, "model.width=32"],
        "model nlp/encoder-decoder": [
            *PAIRS,
            f'model={{name="nlp/encoder-decoder",architecture="t5",options={{{T5}}}}}',
        ],
        "model nlp/decoder": lw.Experiment(**GOING_ON),  # type: ignore[arg-type]
        "metric nlp/bleu": measured("nlp/bleu", "bleu"),
        "metric nlp/chrf": measured("nlp/chrf", "chrf"),
        "metric nlp/cer": measured("nlp/cer", "cer"),
        "metric nlp/rouge": measured("nlp/rouge", "rouge/rougeL"),
        "data nlp/alike-texts": ["nlp/alike-texts", f"task.data.path={alike()}"],
        "data nlp/synthetic-tags": ["nlp/synthetic-tags", "task.data.train=100", "task.data.valid=20"],
        "data nlp/synthetic-questions": [
            *("nlp/synthetic-questions", "task.data.train=100", "task.data.valid=20", "task.data.test=20"),
            *(f"model.options.{part}=16" for part in ("hidden_size", "intermediate_size")),
        ],
        "model nlp/encoder": ["nlp/languages", f'model={{name="nlp/encoder",architecture="bert",options={{{BERT}}}}}'],
    },
    inputs={
        "task nlp/masked-language-model": ["the [MASK] of a class", "[MASK]"],
        "data nlp/corrupted-spans": ["the <extra_id_0> of a class", "<extra_id_0>"],
    },
)
RATINGS, MOVIELENS = ratings(), f"task.data.folder={movielens()}"
test_recsys = conformance(
    "labwright-recsys",
    recipes={
        "data recsys/interactions": ["recsys/synthetic", f'task.data={{name="recsys/interactions",file="{RATINGS}"}}'],
        "data recsys/movielens": ["recsys/movielens-bpr", MOVIELENS],
        "task recsys/clicks": ["recsys/movielens-deepfm", MOVIELENS],
        "loss recsys/binary-cross-entropy": ["recsys/movielens-deepfm", MOVIELENS],
    }
    | {f"model recsys/{name}": [f"recsys/movielens-{name}", MOVIELENS] for name in ("popularity", "item-knn", "ease")},
    inputs={
        "task recsys/clicks": ["1 2", "3 4"],
        **{f"data recsys/{name}": ["1", "2"] for name in ("interactions", "movielens")},
    },
)
test_rl = conformance(
    "labwright-rl",
    inputs={
        "data rl/gymnasium": ["1", "2"],
        "task rl/on-policy": ["1", "2"],
        "task rl/off-policy": ["1", "2"],
    },
)
CENSUS = census()
test_tabular = conformance(
    "labwright-tabular",
    recipes={
        "data tabular/table": ["tabular/adult", f"task.data.path={CENSUS}"],
        "data tabular/number-table": ["tabular/california", f"task.data.path={CENSUS}", "task.data.target=age"],
        "loss tabular/pinball": ["tabular/diabetes-quantiles", "loss=tabular/pinball"],
    },
    inputs={
        **{f"data tabular/{name}": ['{"age": 40, "school": "none"}', '{"age": 20}'] for name in ("table",)},
        "data tabular/number-table": ['{"school": "none"}', '{"income": "high"}'],
    },
)
SOUNDS = recordings()
LISTED = f'manifest="{SOUNDS}/all.jsonl",audio="{SOUNDS}"'
PACE = "a stride of 4 is too long for some data, which the message says"
test_speech = conformance(
    "labwright-speech",
    recipes={
        "data speech/folder": ["speech/commands", f'task.data={{name="speech/folder",folder="{SOUNDS}"}}'],
        "data speech/manifest": ["speech/phrases", f'task.data={{name="speech/manifest",{LISTED}}}'],
        "data speech/manifest-words": ["speech/commands", f'task.data={{name="speech/manifest-words",{LISTED}}}'],
        "model speech/conformer": ["speech/phrases", 'model={name="speech/conformer",stride=2}'],
        "data speech/yesno": ["speech/phrases", f'task.data={{name="speech/yesno",folder="{yesno()}"}}'],
    },
    inputs={
        f"data speech/{name}": [str(SOUNDS / "yes" / "0.wav"), str(SOUNDS / "no" / "0.wav")]
        for name in ("folder", "manifest", "manifest-words", "synthetic-phrases")
    },
    exempt={
        f"model speech/{name}: {check}": PACE
        for name in ("crnn", "conformer")
        for check in ("can-be-built-with-sampled-settings", "works-at-the-ends-of-its-search")
    },
)
