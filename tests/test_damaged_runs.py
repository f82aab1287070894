"""A run folder in which one file is damaged gives the same result, or says a word: never another result in silence.

`LABWRIGHT_DAMAGED=400 pytest --timeout=0 tests/test_damaged_runs.py` tries more than the suite has time
for, one in twenty of them by `export` and one in twenty through the command, and prints how they went.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright.plugin.registry import Plugins
from labwright.runs.load import built_from, evaluated, experiment_of, predictions
from labwright.runs.resume import resume
from PIL import Image

BUDGET = int(os.environ.get("LABWRIGHT_DAMAGED", "40"))
VERBS = ("resume", "evaluate", "predict")
RECIPE = ["train.epochs=3", "train.keep=2", "model.width=16", "device=cpu", "device.threads=1", "log=[]"]


@dataclass(frozen=True)
class Answer:
    """What a verb came to, and what it said."""

    result: Any
    said: list[str]


def truncated(path: Path, chance: random.Random, _: Path) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(max(path.stat().st_size, 1))])


def flipped(path: Path, chance: random.Random, _: Path) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def replaced(path: Path, chance: random.Random, other: Path) -> None:
    path.write_bytes(chance.choice([one for one in sorted(other.rglob("*")) if one.is_file()]).read_bytes())


def replaced_by_its_like(path: Path, _: random.Random, other: Path) -> None:
    """By the file of that name of another run."""
    alike = sorted(other.rglob(path.name))
    path.write_bytes(alike[0].read_bytes() if alike else b"")


def removed(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()


def linked(path: Path, _: random.Random, __: Path) -> None:
    there = path.parent.parent / f"elsewhere-{path.name}"
    path.rename(there)
    path.symlink_to(there)


def made_a_folder(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_pipe(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def emptied(path: Path, _: random.Random, __: Path) -> None:
    path.write_bytes(b"")


def appended(path: Path, chance: random.Random, _: Path) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 40)))


WAYS: tuple[Callable[[Path, random.Random, Path], None], ...] = (
    truncated,
    flipped,
    replaced,
    replaced_by_its_like,
    removed,
    linked,
    made_a_folder,
    made_a_pipe,
    emptied,
    appended,
)


def ask(verb: str, run: Path, picture: Path, plugins: Plugins) -> Answer:
    """What a verb comes to in this process."""
    if verb == "resume":
        trainer, notes = resume(run, plugins)
        outcome = trainer.fit()
        return Answer((outcome.status, outcome.step, outcome.metrics, weights(trainer.model)), notes)
    if verb == "evaluate":
        evaluation = evaluated(run, plugins, "test", "final")
        return Answer((evaluation.step, evaluation.metrics), evaluation.notes)
    if verb == "export":
        from labwright_export import export

        facts = export(run, run.parent / "exported", plugins=plugins)
        return Answer((facts["inputs"], facts["input_port"], facts["output_port"]), facts["notes"])
    built = built_from(run, experiment_of(run, plugins))
    ((_, answer),) = predictions(built, [("eight", lambda: built.task.data.read(picture))])
    return Answer(answer, built.notes)


def weights(model: torch.nn.Module) -> list[float]:
    return torch.cat([one.detach().double().flatten() for one in model.state_dict().values()]).tolist()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An interrupted run, a finished one with another seed, and a picture."""
    pytest.importorskip("labwright_vision", reason="the digits come with labwright-vision")
    place = tmp_path_factory.mktemp("damaged")
    lw.Experiment.from_recipe("vision/digits-mlp", RECIPE).trainer(place / "run").fit(until=50)
    lw.Experiment.from_recipe("vision/digits-mlp", [*RECIPE, "train.seed=1"]).trainer(place / "other").fit(until=50)
    Image.fromarray((np.arange(64).reshape(8, 8) * 4).astype(np.uint8)).save(place / "eight.png")
    return place / "run", place / "other", place / "eight.png"


@pytest.mark.long
def test_a_damaged_file_never_gives_another_result_in_silence(
    kept: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, other, picture = kept
    plugins = Plugins.discover()
    chance = random.Random(0)
    right: dict[str, tuple[Answer, Answer]] = {}
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    cases = [(file, way) for file in files for way in WAYS]
    chance.shuffle(cases)
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for number in range(BUDGET):
        file, way = cases[number % len(cases)]
        verb = "export" if number % 20 == 10 and BUDGET >= 400 else VERBS[number % len(VERBS)]
        run = tmp_path / str(number) / "run"
        shutil.copytree(whole, run)
        if verb not in right:
            right[verb] = (from_checkpoint(50, verb, kept, tmp_path), from_checkpoint(42, verb, kept, tmp_path))
        way(run / file, chance, other)
        told = by_command(verb, run, picture) if number % 20 == 19 else None
        if told is None:
            told = in_this_process(verb, run, picture, plugins, *right[verb])
        counts[way.__name__, told] += 1
        if told.startswith("WRONG"):
            wrong.append(f"{verb} with {file} {way.__name__}: {told}")
        elsewhere = run.parent / f"elsewhere-{file.name}"
        if elsewhere.exists():
            assert elsewhere.read_bytes() == (whole / file).read_bytes(), f"{verb} wrote through {file}"
        shutil.rmtree(run.parent)
    with capsys.disabled():
        if BUDGET >= 400:
            for (way_name, told), count in sorted(counts.items()):
                print(f"{way_name:22} {told:42} {count}")
    assert not wrong, "\n".join(wrong)


def from_checkpoint(step: int, verb: str, kept: tuple[Path, Path, Path], place: Path) -> Answer:
    """What a verb comes to from a checkpoint of an undamaged run, as if it were its newest."""
    whole, _, picture = kept
    run = place / f"{verb}-{step}" / "run"
    shutil.copytree(whole, run)
    for checkpoint in (run / "checkpoints").iterdir():
        if checkpoint.name > f"step-{step:08d}":
            shutil.rmtree(checkpoint)
    answer = ask(verb, run, picture, Plugins.discover())
    assert answer.said == []
    return answer


def in_this_process(verb: str, run: Path, picture: Path, plugins: Plugins, right: Answer, older: Answer) -> str:
    try:
        answer = ask(verb, run, picture, plugins)
    except lw.LabwrightError:
        return "one message"
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {error}"
    if answer.result == right.result:
        return "the same result, and a note" if answer.said else "the same result"
    if answer.said and answer.result == older.result:
        return "the older checkpoint's result, and a note"
    if any("isn't the one that" in note or note.startswith("changed: ") for note in answer.said):
        return "what a setting that is named makes"
    return f"WRONG: another result, and it said {answer.said}: {answer.result!r:.200}"


def by_command(verb: str, run: Path, picture: Path) -> str:
    command = [sys.executable, "-m", "labwright", verb, str(run), *([str(picture)] if verb == "predict" else [])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "Traceback" in ended.stderr or ended.returncode not in (0, 2):
        return f"WRONG: exit code {ended.returncode}: {ended.stderr[-300:]}"
    if ended.returncode == 2:
        told = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        return "command: one message" if len(told) == 1 else f"WRONG: {ended.stderr[-300:]}"
    return "command: a note" if "note: " in ended.stderr else "command: a result"
