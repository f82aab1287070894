"""What newcomers ask is answered within two clicks from the home page, and what the answers name is there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import yaml
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ASKED = "how-to/questions.md"

# as a newcomer asks, the page and the heading that answer ("" is the whole page), and what stands there
QUESTIONS = [
    ("My own torch Dataset?", "how-to/notebook.md", "A dataset of PyTorch or Hugging Face", "Datasets("),
    ("How do I use a model of my own?", "how-to/notebook.md", "A model", "class Linear(nn.Module)"),
    ("How do I write a loss of my own?", "how-to/notebook.md", "A loss", "class Focal(lw.Loss)"),
    ("My own metric?", "how-to/choose-metrics.md", "Of your own", "def update(self, logits, labels)"),
    ("How do I set a learning rate schedule, or my own?", "how-to/schedules.md", "", "optimizer.schedule"),
    ("How do I train on several GPUs?", "how-to/several-processes.md", "On one machine", "--processes 2"),
    ("How do I train on several machines?", "how-to/several-processes.md", "On several machines", "torchrun --nnodes"),
    ("How do I turn on mixed precision?", ASKED, "Mixed precision", "device.precision=bf16"),
    ("How do I accumulate gradients?", ASKED, "Gradient accumulation: larger batches than fit", "device.accumulate=4"),
    ("How do I clip gradients?", ASKED, "Gradients explode", "train.clip=1.0"),
    ("How do I start from pretrained weights?", "how-to/start-from-a-run.md", "", "start.run=runs/first"),
    ("How do I fine-tune BERT?", "how-to/start-from-a-run.md", "A pretrained encoder of language", "start.run=FOLDER"),
    ("How do I freeze layers?", "how-to/start-from-a-run.md", "Train a part of it", "frozen = true"),
    ("How do I log to W&B?", "how-to/track-runs.md", "Weights & Biases", '"wandb"'),
    ("How do I log to MLflow?", "how-to/track-runs.md", "MLflow", '"mlflow"'),
    ("How do I stop early?", "how-to/resume.md", "Stop by itself", "patience = 5"),
    ("How do I weigh classes?", "how-to/choose-metrics.md", "Classes that are rare", 'weights = "balanced"'),
    ("How do I do k-fold cross-validation?", "how-to/cross-validate.md", "", "--folds"),
    ("How do I export to ONNX?", "how-to/predict.md", "Export", "labwright export"),
    ("How do I load a trained model in Python?", "how-to/notebook.md", "Afterwards", "lw.load(run)"),
    ("How do I submit to SLURM?", "how-to/slurm.md", "", "labwright submit"),
    ("Why is it slow? How do I profile?", "how-to/look-before-training.md", "Where the time goes", "labwright profile"),
    ("CUDA out of memory", ASKED, "CUDA out of memory (OOM)", "device.accumulate=4"),
    ("Which batch size fits?", "how-to/look-before-training.md", "A batch size", "labwright find-batch-size"),
    ("Which learning rate?", "how-to/look-before-training.md", "A learning rate", "labwright find-lr"),
    ("How do I resume after a crash?", "how-to/resume.md", "Go on", "labwright resume"),
    ("How do I search hyperparameters?", "how-to/tune.md", "", "labwright tune"),
    ("Where is the callback?", "how-to/notebook.md", "Listen to a run", "lw.hookimpl"),
    ("I come from Lightning", "how-to/coming-from.md", "Lightning", "L.LightningModule"),
    ("I come from Hugging Face's Trainer", "how-to/coming-from.md", "Hugging Face Trainer", "TrainingArguments("),
    ("I come from Keras", "how-to/coming-from.md", "Keras", "model.compile("),
    ("I come from Hydra", "how-to/coming-from.md", "Hydra", "--multirun"),
]


@pytest.mark.parametrize(("question", "page", "heading", "answer"), QUESTIONS, ids=[one[0] for one in QUESTIONS])
def test_a_question_is_answered_within_two_clicks(question: str, page: str, heading: str, answer: str) -> None:
    if not (DOCS / page).is_file():
        page, heading = ASKED, "A schedule, and warm-up"
    place = sections(page)[heading] if heading else ""
    assert (page, place) in reached_in_two_clicks(), f"{question!r}: no link leads to {page}#{place}"
    assert answer in section(page, heading), f"{question!r}: {page}#{place} doesn't say {answer!r}"


@pytest.mark.long  # timm, transformers and mlflow are imported
def test_what_the_answers_set_can_be_set() -> None:
    others = {
        "context": "nlp/pydoc",
        "length": "nlp/languages",
        "flip": "vision/image-folder",
        "lora": "nlp/texts-base",
    }
    text = re.sub(r"```.*?```", "", (DOCS / ASKED).read_text(encoding="utf-8"), flags=re.DOTALL)
    tried = 0
    for code in re.findall(r"`([^`\n]+=[^`\n]+)`", text):
        words = shlex.split(code)  # as a shell reads them: without quotes a table would lose those of its texts
        if not all(re.match(r"[a-z]+(\.[a-z_]+)*=", word) for word in words) or "FOLDER" in code:
            continue
        setting = words[0].partition("=")[0].rpartition(".")[2]
        lw.Experiment.from_recipe(others.get(setting, "vision/digits"), words)
        tried += 1
    assert tried >= 20


# ------------------------------------------------------------------------------------------------------- what is linked


@cache
def reached_in_two_clicks() -> set[tuple[str, str]]:
    """Pages, and places on them, as (page, anchor): by a link, a tab, the page's contents, the list beside it."""
    first = links("index.md") | {(pages[0], "") for pages in tabs()}
    reached = set(first)
    for page in {page for page, _ in first}:
        reached |= links(page) | {(page, place) for place in sections(page).values()}
        reached |= {(neighbour, "") for pages in tabs() if page in pages for neighbour in pages}
    return reached


@cache
def tabs() -> list[list[str]]:
    """The pages below each tab of the site."""
    entries = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return [list(_pages(entry)) for entry in entries]


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [page for one in (entry.values() if isinstance(entry, dict) else entry) for page in _pages(one)]


def links(page: str) -> set[tuple[str, str]]:
    """Where a page leads, within the documentation; a generated page leads nowhere."""
    found = set()
    for target in re.findall(r"\]\(([^)\s]+\.md(?:#[^)\s]+)?)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        there = (DOCS / page).parent.joinpath(file).resolve()
        found.add((there.relative_to(DOCS.resolve()).as_posix(), anchor))
    return found


@cache
def sections(page: str) -> dict[str, str]:
    """The headings of a page below its title, each with its anchor."""
    plain = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    titles = re.findall(r"^#{2,3} (.+)$", plain, re.MULTILINE)
    return {title: slugify(title.replace("`", ""), "-") for title in titles}


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next of its rank or of a higher one."""
    if not heading:
        return text_of(page)
    below = rf"^(##+) {re.escape(heading)}\n(.*?)(?=^(?!\1#)##+ |\Z)"
    found = re.search(below, text_of(page), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no {heading!r}"
    return found[2]


@cache
def text_of(page: str) -> str:
    file = DOCS / page
    return file.read_text(encoding="utf-8") if file.is_file() else ""
