"""All that first-party plugins bring is held to the conformance kit; data of one's own is tried on small files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import labwright as lw
import numpy as np
import pytest
import torch
from labwright_testing import conformance
from PIL import Image
from small_data import (
    CHANCE,
    HERE,
    alike,
    census,
    cifar,
    conversations,
    generator,
    masks,
    mnist,
    movielens,
    named_pictures,
    pairs,
    picture_set,
    pictures,
    questions,
    ratings,
    recordings,
    row_groups,
    running_text,
    shards,
    tagged,
    texts,
    token_files,
    yesno,
)
from torch import Tensor

pytestmark = pytest.mark.slow


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

test_labwright = conformance(
    "labwright",
    recipes={f"optimizer {name}": ["vision/digits-mlp", f"optimizer={name}"] for name in ("adam", "adamw", "sgd")}
    | {"schedule constant": "vision/digits-mlp"},
)
test_study = conformance("labwright-study")
test_testing = conformance("labwright-testing")
test_export = conformance("labwright-export")
test_instruments = conformance("labwright-instruments")
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
        **{
            f"schedule {name}": ["vision/digits-mlp", f"optimizer.schedule={name}"]
            for name in ("linear", "cosine", "exponential", "one-cycle", "polynomial", "cosine-restarts")
        },
        "schedule reduce-on-plateau": ["vision/digits-mlp", "optimizer.schedule=reduce-on-plateau"],
        "schedule step": ["vision/digits-mlp", 'optimizer.schedule={name="step",at=[0.5,"4 epochs"]}'],
        "schedule torch/*": ["vision/digits-mlp", "optimizer.schedule=torch/ConstantLR"],
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
        "task language-model": [
            "nlp/shakespeare",
            f"task.data.path={running_text()}",
            "task.data.context=16",
            "model.width=32",
            "model.depth=1",
            "model.heads=2",
        ],
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
