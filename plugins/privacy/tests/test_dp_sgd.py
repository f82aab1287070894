"""DP-SGD: what a step is, what it spends, and that nothing of it falls when a run goes on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import numpy
import pytest
import torch
from labwright_privacy.differential.accounting import Part, spent
from labwright_privacy.differential.method import DifferentiallyPrivate
from labwright_privacy.differential.secrets import Secret
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn

ROWS = 60


class Points(lw.Data):
    """Two blobs; `without` leaves out one row, or all rows of one user."""

    item, target = lw.Features, lw.Classes
    source, licence = "made by a test", "none needed"

    def __init__(self, *, without: int = -1) -> None:
        self.without = without

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(0)
        y_N = torch.arange(ROWS) % 2
        x_ND = torch.randn(ROWS, 3, generator=random) * 3 + y_N[:, None]
        kept = torch.arange(ROWS) != self.without
        self.rows = lw.TensorSplit((x_ND[kept],), y_N[kept])

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((3,)), lw.Classes(("low", "high"))

    def split(self, name: str) -> lw.Split | None:
        return self.rows if name in ("train", "test") else None


class Net(nn.Sequential):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


class Seen(lw.Method):
    """A method that is looked at: the batch of each step, and the gradients it leaves."""

    def __init__(self, method: DifferentiallyPrivate) -> None:
        self.method = method
        self.check, self.begin, self.feed = method.check, method.begin, method.feed
        self.batches: list[lw.Batch] = []
        self.gradients_of: list[list[Tensor]] = []
        self.rows: list[int] = []
        self.expected: list[list[Tensor]] = []

    def gradients(self, update: Any, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        self.expected.append(bounded_sum(update, batches[0], self.method.bound))
        losses = self.method.gradients(update, batches, weights)
        self.batches.append(batches[0])
        self.rows.append(len(self.method.sizes))
        self.gradients_of.append([parameter.grad.clone() for parameter in update.parameters])
        return losses


def bounded_sum(update: Any, batch: lw.Batch, bound: float) -> list[Tensor]:
    """The definition: autograd of one row after another, each cut to its length."""
    sums = [torch.zeros_like(parameter) for parameter in update.parameters]
    for row in range(len(batch)):
        gradients = torch.autograd.grad(update.losses(batch.rows(slice(row, row + 1))), update.parameters)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient * min(1.0, bound / float(norm))
    return sums


def points(method: Any = None, **changes: Any) -> lw.Experiment:
    private = method
    if method is None or isinstance(method, dict):
        usual = {"name": "privacy/dp-sgd", "delta": 1e-3, "accountant": "rdp"}  # which is quicker
        private = usual | ({"noise": 1.0} if method is None else method)
    return lw.Experiment(
        task={"name": "classification", "data": Points},
        model=Net,
        loss="cross-entropy",
        optimizer={"name": "sgd", "lr": 0.1},
        method=private,
        device={"name": "cpu", "threads": 1},
        train={"steps": 12, "batch_size": 15, "log_every": 2, "save_every": "4 steps"},
        log=[],
    ).varied(changes)


def epsilon_of(folder: Path) -> float:
    figures = json.loads((folder / "outcome.json").read_text())["figures"]
    assert figures["delta"] == 1e-3
    return float(figures["epsilon"])


# --------------------------------------------------------------------------------------------------------------- a step


def test_a_step_is_the_sum_of_bounded_gradients_over_the_expected_number(tmp_path: Path):
    method = DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, bound=0.7)
    seen = Seen(method)
    points(seen).run(tmp_path / "run")
    assert len(set(map(len, seen.batches))) > 3  # Poisson: another number each time
    for expected, found in zip(seen.expected, seen.gradients_of, strict=True):
        for sums, gradient in zip(expected, found, strict=True):
            torch.testing.assert_close(gradient, sums / 15, rtol=1e-5, atol=1e-7)


def test_a_penalty_of_the_weights_is_part_of_each_gradient(tmp_path: Path):
    seen = Seen(DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, bound=0.7))
    loss = {"name": "penalized", "loss": "cross-entropy", "l2": 0.1}
    points(seen, **{"loss": loss, "train.steps": 2}).run(tmp_path / "run")
    for sums, gradient in zip(seen.expected[1], seen.gradients_of[1], strict=True):
        torch.testing.assert_close(gradient, sums / 15, rtol=1e-5, atol=1e-7)


def test_how_many_go_through_the_model_together_changes_nothing(tmp_path: Path):
    seen = Seen(DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, at_once=4))
    points(seen, **{"train.steps": 3}).run(tmp_path / "run")
    for sums, gradient in zip(seen.expected[2], seen.gradients_of[2], strict=True):
        torch.testing.assert_close(gradient, sums / 15, rtol=1e-5, atol=1e-7)


def test_a_step_that_draws_nobody_still_takes_its_noise(tmp_path: Path):
    seen = Seen(DifferentiallyPrivate(noise=2.0, accountant="rdp", delta=1e-3, bound=0.5))
    points(seen, **{"train.batch_size": 1, "train.steps": 30}).run(tmp_path / "run")
    empty = [number for number, rows in enumerate(seen.rows) if rows == 0]
    assert len(empty) > 3  # of 30 steps, each empty with probability 0.36
    drawn = torch.cat([gradient.flatten() for number in empty for gradient in seen.gradients_of[number]])
    assert float(drawn.std()) == pytest.approx(2.0 * 0.5, rel=0.15)  # over an expected number of 1
    assert abs(float(drawn.mean())) < 0.15


def test_a_row_more_or_less_moves_the_sum_by_its_bound_at_most(tmp_path: Path):
    sums = []
    for without in (-1, 5, 17):
        seen = Seen(DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, bound=0.3))
        changes = {"train.batch_size": ROWS, "train.steps": 1, "task.data.without": without}
        points(seen, **changes).run(tmp_path / str(without))
        rows = ROWS - (without >= 0)
        sums.append(torch.cat([gradient.flatten() for gradient in seen.gradients_of[0]]) * rows)
    for without in sums[1:]:
        assert 0.1 < float((sums[0] - without).norm()) <= 0.3 * (1 + 1e-4)


def test_noise_and_units_are_drawn_anew_in_each_run_and_step(tmp_path: Path):
    seen = [Seen(DifferentiallyPrivate(noise=1.0, accountant="rdp", delta=1e-3)) for _ in range(2)]
    for number, one in enumerate(seen):
        points(one).run(tmp_path / str(number))
    assert [len(batch) for batch in seen[0].batches] != [len(batch) for batch in seen[1].batches]
    steps = [torch.cat([gradient.flatten() for gradient in step]) for step in seen[0].gradients_of]
    assert len({float(step[0]) for step in steps}) == len(steps)


def test_noise_depends_on_more_of_the_secret_than_can_be_tried_out():
    """PyTorch's generators on the CPU take 32 bits of a seed: 2^32 of them are tried in hours."""

    class Alike(Secret):
        """Secrets whose digests differ in few bits, which `manual_seed` leaves out."""

        def digest(self, *texts: str) -> bytes:
            return bytes([int(self.content), *[0] * 31])

    def noise_of(secret: Secret, dtype: torch.dtype = torch.float32) -> Tensor:
        method = DifferentiallyPrivate(noise=2.0, bound=0.5)
        method.ledger, method.drawn_from, method.step = secret, "", 0
        method.parts = [Part("", 2.0, 0.1, 1)]
        total = torch.zeros(100, 200, dtype=dtype)
        method._add_noise([total])
        return total

    first, second = (noise_of(Alike("", content, Path())) for content in "12")
    assert torch.equal(first, noise_of(Alike("", "1", Path())))
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.05
    assert float(first.std()) == pytest.approx(2.0 * 0.5, rel=0.03) and abs(float(first.mean())) < 0.03
    # noise with fewer digits than the sum would leave its last ones as they are
    fine = noise_of(Alike("", "1", Path()), torch.float64)
    assert bool((fine != fine.float()).float().mean() > 0.9)


class Dropped(nn.Sequential):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_what_dropout_draws_follows_from_the_secret(tmp_path: Path):
    """Whoever knows train.seed would know it, and it moves from sample to sample when one more is drawn."""
    seen = [Seen(DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, secret=name)) for name in "ab"]
    for number, one in enumerate(seen):
        changes = {"model": Dropped, "train.steps": 1, "train.batch_size": ROWS}
        points(one, **changes).run(tmp_path / str(number))
    assert seen[0].rows == seen[1].rows == [ROWS]
    assert not torch.allclose(seen[0].gradients_of[0][0], seen[1].gradients_of[0][0], atol=1e-4)


class Scaled(nn.Module):
    """A model with a parameter that is one number."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 2), nn.Parameter(torch.tensor(2.0))

    def forward(self, x_BF: Tensor) -> Tensor:
        return self.layer(x_BF) * self.scale


def test_a_parameter_of_one_number_is_bounded_with_the_others(tmp_path: Path):
    seen = Seen(DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-3, bound=0.7))
    points(seen, **{"model": Scaled, "train.steps": 2}).run(tmp_path / "run")
    for sums, gradient in zip(seen.expected[1], seen.gradients_of[1], strict=True):
        torch.testing.assert_close(gradient, sums / 15, rtol=1e-5, atol=1e-7)


def test_windows_of_a_text_are_the_same_rows_in_each_epoch(tmp_path: Path):
    """If they began elsewhere in each, what is in one row would be in two of them then."""
    letters = torch.randint(97, 123, (2000,), generator=torch.Generator().manual_seed(0))
    (tmp_path / "text.txt").write_text("".join(map(chr, letters.tolist())))
    seen = Seen(DifferentiallyPrivate(noise=1.0, accountant="rdp", delta=1e-3))
    lw.Experiment(
        task={
            "name": "language-model",
            "data": {"name": "nlp/plain-text", "path": str(tmp_path / "text.txt"), "context": 16},
        },
        model={"name": "nlp/gpt", "width": 8, "depth": 1, "heads": 1},
        loss="cross-entropy",
        optimizer={"name": "sgd", "lr": 0.1},
        method=seen,
        device={"name": "cpu", "threads": 1},
        train={"epochs": 4, "batch_size": 40},
        log=[],
    ).run(tmp_path / "run")
    rows = torch.cat([batch.inputs[0] for batch, number in zip(seen.batches, seen.rows, strict=True) if number])
    assert len(rows) > 2 * len(rows.unique(dim=0)) > 0
    assert len(rows.unique(dim=0)) <= seen.method.units.count


# ------------------------------------------------------------------------------------------------- users as the unit


def ratings(**method: Any) -> lw.Experiment:
    changes = {
        "model": {"name": "recsys/bpr-mf", "dim": 4},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "method": {"name": "privacy/dp-sgd", "noise": 1.0, "delta": 1e-4, "accountant": "rdp", **method},
        "train": {"steps": 3, "batch_size": 500},
        "log": [],
    }
    return lw.Experiment.from_recipe("recsys/synthetic").varied(changes)


def test_recommendations_protect_a_user_with_all_interactions(tmp_path: Path):
    experiment = ratings(most=5)
    method: Any = experiment.build().method
    assert method.units.name == "user"
    run = experiment.run(tmp_path / "run")
    assert any("differential privacy of each user, one of" in note for note in run.notes)
    rows, sizes = method.units.drawn(0.3, numpy.random.default_rng(0))
    assert int(sizes.max()) == 5 and len(rows) == int(sizes.sum()) == len(rows.unique())
    users = run.task.part("train").fetch(rows, 0, 0).inputs[0].split(sizes.tolist())
    assert all(len(own.unique()) == 1 for own in users)
    with pytest.raises(lw.LabwrightError, match=r"method\.unit: TopN draws for a row items that stand in none of its"):
        ratings(unit="row", delta=1e-5).build()


def test_what_a_user_adds_is_bounded_together(tmp_path: Path):
    """With one user drawn the whole sum is no longer than the bound, whatever the number of rows."""
    method = DifferentiallyPrivate(noise=1e-9, accountant="rdp", delta=1e-5, bound=0.01)
    seen = Seen(method)
    seen.gradients = lambda update, batches, weights: _gathered(seen, update, batches, weights)  # type: ignore[method-assign]
    ratings().varied({"method": seen}).run(tmp_path / "run")
    for users, norm in seen.norms:  # type: ignore[attr-defined]
        assert 0 < norm <= users * 0.01 * (1 + 1e-4)


def _gathered(seen: Any, update: Any, batches: Any, weights: Any) -> Any:
    losses = seen.method.gradients(update, batches, weights)
    flat = torch.cat([parameter.grad.flatten() for parameter in update.parameters])
    expected = seen.method.rate * seen.method.units.count
    seen.norms = [*getattr(seen, "norms", []), (len(seen.method.sizes), float(flat.norm()) * expected)]
    return losses


# ---------------------------------------------------------------------------------------------------------- going on


def test_with_its_secret_a_run_is_exact_again():
    verdict = verify_resume(points({"noise": 1.0, "secret": "kept"}), 6)
    assert verdict.exact


def test_a_run_goes_on_with_its_own_secret(tmp_path: Path, secrets: Path):
    experiment = points()
    experiment.trainer(tmp_path / "run").fit(until=6)
    (file,) = secrets.glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    ends = []
    for folder in ("run", "copy"):
        trainer, notes = experiment.resumed(tmp_path / folder)
        trainer.fit()
        assert not [note for note in [*notes, *trainer.run.notes] if "secret" in note]
        ends.append(trainer.model.state_dict()["0.weight"])
    assert torch.equal(*ends)
    assert epsilon_of(tmp_path / "run") == spent([Part("", 1.0, 0.25, 12)], 1e-3, "rdp")


def test_without_its_secret_it_says_so_and_counts_what_may_be_lost(tmp_path: Path, secrets: Path):
    experiment = points()
    experiment.trainer(tmp_path / "run").fit(until=6)
    for file in secrets.iterdir():
        file.unlink()
    trainer, _ = experiment.resumed(tmp_path / "run")
    trainer.fit()
    (note,) = [note for note in trainer.run.notes if "secret" in note]
    assert "isn't exact any more" in note and "at most 4, count as made" in note
    assert epsilon_of(tmp_path / "run") == spent([Part("a", 1.0, 0.25, 10), Part("b", 1.0, 0.25, 6)], 1e-3, "rdp")


def test_parts_with_other_settings_are_composed(tmp_path: Path):
    points().trainer(tmp_path / "run").fit(until=6)
    changed = points({"noise": 2.0}, **{"train.batch_size": 20, "train.steps": 16})
    # an epoch has another length, which a run doesn't take up; noise and length alone it does
    with pytest.raises(lw.LabwrightError, match="an epoch had 4 steps and has 3 now"):
        changed.resumed(tmp_path / "run")
    trainer, _ = changed.varied({"train.batch_size": 15}).resumed(tmp_path / "run")
    trainer.fit()
    assert epsilon_of(tmp_path / "run") == spent([Part("a", 1.0, 0.25, 6), Part("b", 2.0, 0.25, 10)], 1e-3, "rdp")
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    epsilons = [record["epsilon"] for record in log if record["event"] == "train"]
    assert epsilons == sorted(epsilons) and len(epsilons) == 8


def test_steps_made_with_another_rounding_are_other_steps(tmp_path: Path):
    """The difference of two of them with the same noise would be without any."""
    points({"noise": 1.0}).trainer(tmp_path / "run").fit(until=6)
    trainer, _ = points({"noise": 1.0}, **{"device.precision": "bf16"}).resumed(tmp_path / "run")
    trainer.fit()
    method: Any = trainer.built.method
    assert [part.steps for part in method.parts] == [6, 6]
    assert len({part.key for part in method.parts}) == 2


@pytest.mark.parametrize("name", ["my run, the 2nd", "Größe", "x" * 200, ".hidden"])
def test_a_folder_of_any_name_has_a_secret(name: str, tmp_path: Path, secrets: Path):
    outcome = points(**{"train.steps": 1}).run(tmp_path / name).outcome
    assert outcome is not None and outcome.status == "finished"
    assert len(list(secrets.glob("*.json"))) == 1


def test_steps_whose_checkpoint_is_gone_count_when_the_settings_change(tmp_path: Path):
    points().run(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000012")
    trainer, _ = points({"noise": 2.0}).resumed(tmp_path / "run")
    trainer.fit()
    assert trainer.run.step == 12
    assert epsilon_of(tmp_path / "run") == spent([Part("a", 1.0, 0.25, 12), Part("b", 2.0, 0.25, 4)], 1e-3, "rdp")


@pytest.mark.long
def test_a_longer_run_keeps_to_its_epsilon_or_is_refused(tmp_path: Path):
    points({"epsilon": 4.0}).run(tmp_path / "run")
    assert 3.95 < epsilon_of(tmp_path / "run") <= 4.0
    trainer, _ = points({"epsilon": 4.0}, **{"train.steps": 20}).resumed(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match=r"method\.epsilon: 4 is spent: the steps so far took 3\.9"):
        trainer.fit()
    trainer, _ = points({"epsilon": 6.0}, **{"train.steps": 20}).resumed(tmp_path / "run")
    trainer.fit()
    assert 5.9 < epsilon_of(tmp_path / "run") <= 6.0


# --------------------------------------------------------------------------------------------------------- what is told


def test_epsilon_stands_in_log_progress_outcome_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    points(log=["progress", "report"]).run(tmp_path / "run")
    told = capsys.readouterr().err
    epsilon = f"{epsilon_of(tmp_path / 'run'):.4g}"
    assert re.search(rf"epsilon {epsilon}0* +delta 0\.001", told)
    assert "note: differential privacy of each row, one of 60: epsilon" in told
    assert "metrics.jsonl, report.html, outcome.json and state.json aren't" in told
    assert f"<span>epsilon <b>{epsilon}</b></span>" in (tmp_path / "run" / "report.html").read_text()


def test_what_is_told_before_is_what_is_spent_when_batches_are_left_out(tmp_path: Path):
    changes = {"train.steps": None, "train.epochs": 4, "train.batch_size": 16, "train.drop_last": True}
    run = points(**changes).run(tmp_path / "run")
    assert run.total_steps == 12  # of 60 rows 12 are left out
    told = next(note for note in run.notes if "differential privacy of each row" in note)
    assert f"epsilon {epsilon_of(tmp_path / 'run'):.4g} at" in told


def test_what_was_learned_from_the_data_is_named():
    experiment = lw.Experiment.from_recipe(
        "nlp/languages",
        ["method=privacy/dp-sgd", "method.noise=1.0", "method.accountant=rdp", "log=[]", "train.final=last"],
    )
    assert any("before the first step: " in note and "in task/" in note for note in experiment.build().notes)


def test_others_may_not_read_a_secret(tmp_path: Path, secrets: Path):
    points({"noise": 1.0, "secret": "open"}).run(tmp_path / "run")
    (secrets / "open.json").chmod(0o644)
    with pytest.raises(lw.LabwrightError, match=r"open.json may be read by others"):
        points({"noise": 1.0, "secret": "open"}).run(tmp_path / "again")
    (secrets / "torn.json").write_text("{")
    with pytest.raises(lw.LabwrightError, match=r"torn.json can't be read as a secret"):
        Secret.kept("torn", secrets)


def test_a_study_says_that_it_isnt_covered():
    from labwright_study.space import Space

    private = lw.Experiment.from_recipe("privacy/digits", ["method.accountant=rdp", "log=[]"])
    (note,) = [note for note in Space.of(private).notes if "privacy" in note]
    assert "each trial spends its own epsilon" in note and "isn't covered" in note
    assert not [note for note in Space.of(private.varied({"method": "descent"})).notes if "privacy" in note]


@pytest.mark.long
def test_what_a_teacher_tells_of_its_data_is_said_not_to_be_counted(tmp_path: Path):
    short = ["task.data.valid=0.0", "train.epochs=", "train.steps=1", "log=[]"]
    lw.Experiment.from_recipe("vision/digits-mlp", short).run(tmp_path / "teacher")
    taught = [*short, "method.secret=kit", f"task.teacher.run={tmp_path / 'teacher'}"]
    for overrides, said in ((taught, True), (taught[:-1], False)):
        notes = lw.Experiment.from_recipe("privacy/digits", overrides).build().notes
        assert any("may be known of its data by its teacher isn't counted" in note for note in notes) is said
