"""Which classifier measures: one that was given the same numbers, and that a run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError, generator
from labwright_gan import judge as judges
from labwright_gan.task import Adversarial


class Dots(lw.Data):
    """Dark pictures of 4x4 pixels, a bright one of which is on the left or on the right; `seed` draws others."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def prepare(self) -> None:
        labels = torch.arange(20) % 2
        x = torch.rand(20, 1, 4, 4, generator=generator(self.seed))
        x[torch.arange(20), 0, 1, 3 * labels] += 2
        x[0, 0, 0, 1], x[1, 0, 0, 1] = -1, 4  # of one range, whatever is drawn
        self.parts = dict.fromkeys(("train", "test"), lw.TensorSplit((x,), labels))

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 4, 4), lw.Classes(("left", "right"))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


def task(data: lw.Data | None = None, **settings: Any) -> Adversarial:
    return Adversarial(data or Dots(), **({"judge_epochs": 1} | settings))


def test_a_run_that_is_gone_on_with_has_the_judge_that_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned anew, on another number of threads or another machine, it has other last digits: that was refused."""
    first = task()
    first.prepare()
    first.save(tmp_path)
    learned_anew = []

    def trained(*given: Any) -> Any:
        learned_anew.append(given)
        return first.judge

    monkeypatch.setattr(judges, "trained", trained)
    again = task()
    again.resumes_from(tmp_path)
    again.prepare()
    x = torch.rand(3, 1, 4, 4)
    assert first.judge is not None and again.judge is not None and not learned_anew
    assert all(torch.equal(*both) for both in zip(first.judge(x), again.judge(x), strict=True))
    for number, other in enumerate((task(judge_epochs=2), task(Dots(seed=1))), 1):  # these are compared, as ever
        other.resumes_from(tmp_path)
        other.prepare()
        assert len(learned_anew) == number
    (tmp_path / "facts.json").write_text(json.dumps({"training": "of a run of before"}))
    again.prepare()
    assert len(learned_anew) == 3


def test_a_judge_that_learned_from_other_numbers_for_the_same_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As data that is scaled by its own mean gives them; a run that has begun with it is gone on with."""

    class Scaled(Dots):
        def save(self, folder: Path) -> None:
            (folder / "scale.json").write_text("0.5")

    judge, run = tmp_path / "judge", tmp_path / "run"
    (judge / "task").mkdir(parents=True)
    monkeypatch.setattr(judges, "of_run", lambda *_: judges.Pixels())
    (judge / "task" / "scale.json").write_text("0.5")
    Adversarial(Scaled(), judge=judge).prepare()
    (judge / "task" / "scale.json").write_text("0.4")
    with pytest.raises(LabwrightError, match=r"task\.judge: what .* \(scale\.json in its task/\), .* other numbers"):
        Adversarial(Scaled(), judge=judge).prepare()
    (run / "judge").mkdir(parents=True)
    (run / "judge.json").write_text(json.dumps({"run": str(judge)}))
    resumed = Adversarial(Scaled(), judge=judge)
    resumed.resumes_from(run)
    resumed.prepare()
