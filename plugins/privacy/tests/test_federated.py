"""Federated averaging: closed forms, a loop written by hand in float64, sums under masks, and who has which samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright_privacy.differential.accounting import Part, spent
from labwright_privacy.federated import secure_sum
from labwright_privacy.federated.averaging import secure_means, weighted_means
from labwright_privacy.federated.clients import divided
from labwright_privacy.federated.local_training import ClientUpdate
from labwright_privacy.federated.method import FederatedAveraging
from labwright_privacy.federated.private import PrivateFederatedAveraging
from labwright_testing.verify_resume import verify_resume
from torch import Generator, Tensor, nn
from torch.nn import functional

ROWS, BATCH, STEPS = 48, 16, 7


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Rows(lw.Data):
    """Rows of five numbers and a number that follows from them; three rows to a group."""

    item, target = lw.Features, lw.Values
    source = "made by this test"
    licence = "CC0-1.0"

    def prepare(self) -> None:
        random = Generator().manual_seed(1)
        self.x_ND = torch.randn(ROWS, 5, generator=random)
        self.y_N1 = self.x_ND @ torch.tensor([[1.0], [-2.0], [0.5], [0.0], [3.0]]) + 0.1

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((5,)), lw.Values(1)

    def split(self, name: str) -> lw.TensorSplit | None:
        split = lw.TensorSplit((self.x_ND,), self.y_N1)
        object.__setattr__(split, "groups", torch.arange(ROWS) // 3)
        return split if name in ("train", "valid") else None

    def place(self, split: str, index: int) -> str:
        return f"/clients/{index % 4}/{split}-{index}.txt"


class Fit(lw.Task):
    """Least squares, with a part of the input hidden by chance if asked."""

    goal = lw.Goal("error", "minimize")

    def __init__(self, data: lw.Data, *, hide: bool = False) -> None:
        self.data, self.hide = data, hide

    def draw(self, batch: lw.Batch, generator: Generator) -> lw.Batch:
        if not self.hide:
            return batch
        kept_BD = torch.rand(batch.inputs[0].shape, generator=generator) < 0.7
        return lw.Batch((batch.inputs[0] * kept_BD,), batch.targets)

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return functional.mse_loss(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor]:
        return (functional.mse_loss(model(*batch.inputs), batch.targets),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"error": lw.Mean()}


class Net(nn.Module):
    """A hidden layer; with dropout and running statistics where a class below has them."""

    dropout_share, has_norm = 0.0, False

    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.hidden = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8) if self.has_norm else nn.Identity()
        self.dropout = nn.Dropout(self.dropout_share)
        self.head = nn.Linear(8, 1)

    def forward(self, x_BD: Tensor) -> Tensor:
        y_B1: Tensor = self.head(self.dropout(self.norm(self.hidden(x_BD)).tanh()))
        return y_B1


class Dropping(Net):
    dropout_share = 0.3


class Normed(Net):
    has_norm = True


def experiment(method: Any = None, optimizer: Any = None, *, model: Any = Net, hide: bool = False, **train: Any) -> Any:
    return lw.Experiment(
        task=Fit(Rows(), hide=hide),
        model=model,
        method=method or "descent",
        optimizer=optimizer or {"name": "sgd", "lr": 1.0, "momentum": 0.0},
        train={"steps": STEPS, "batch_size": BATCH, **train},
        device={"name": "cpu", "threads": 1},
    )


def weights(run: lw.Run) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])


def updates(*sizes: int, seed: int = 0) -> dict[int, ClientUpdate]:
    random = Generator().manual_seed(seed)
    return {
        number: ClientUpdate(
            size,
            [torch.randn(4, 3, generator=random), torch.randn(3, generator=random)],
            [torch.randn(2, generator=random)],
            {"train": torch.tensor(1.0)},
        )
        for number, size in enumerate(sizes)
    }


# ------------------------------------------------------------------------------------------------ against plain descent


@pytest.mark.parametrize("how", [{}, {"hide": True}, {"model": Dropping}])
def test_one_client_with_one_local_step_takes_the_step_of_plain_descent(
    tmp_path: Path, float64: None, how: dict[str, Any]
) -> None:
    # FedAvg with one client and one step is SGD at the client's rate (McMahan et al. 2017, section 2)
    plain = experiment(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.0}, **how).run(tmp_path / "plain")
    method = FederatedAveraging(clients=1, local_steps=1, local_lr=0.1)
    rounds = experiment(method, **how).run(tmp_path / "rounds")
    assert (weights(plain) - weights(rounds)).abs().max() < 1e-12


def test_rounds_of_several_clients_are_those_of_a_loop_written_by_hand(tmp_path: Path, float64: None) -> None:
    method = FederatedAveraging(division="group", per_round=5, local_epochs=2, local_lr=0.05, proximal=0.3)
    run = experiment(method).run(tmp_path / "run")

    model, data = experiment().build().model, Rows()
    data.prepare()
    for number in range(STEPS):
        start = [parameter.detach().clone() for parameter in model.parameters()]
        sums = [torch.zeros_like(parameter) for parameter in start]
        chosen = torch.randperm(ROWS // 3, generator=lw.generator(0, number, 33))[:5]
        for client in chosen.tolist():
            rows = torch.arange(client * 3, client * 3 + 3)
            for parameter, before in zip(model.parameters(), start, strict=True):
                parameter.data = before.clone()
            for _ in range(2):  # a client's batch holds all three rows, in any order
                loss = functional.mse_loss(model(data.x_ND[rows]), data.y_N1[rows])
                distance = sum((p - s).square().sum() for p, s in zip(model.parameters(), start, strict=True))
                slopes = torch.autograd.grad(loss + 0.15 * distance, list(model.parameters()))
                for parameter, slope in zip(model.parameters(), slopes, strict=True):
                    parameter.data -= 0.05 * slope
            for total, before, after in zip(sums, start, model.parameters(), strict=True):
                total += (before - after.detach()) / 5
        for parameter, before, total in zip(model.parameters(), start, sums, strict=True):
            parameter.data = before - total
    by_hand = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert (by_hand - weights(run)).abs().max() < 1e-12


def test_the_servers_step_is_any_optimizers(tmp_path: Path, float64: None) -> None:
    # FedAdam (Reddi et al. 2021, algorithm 2): Adam over the pseudo-gradient, by torch's own Adam
    adam = {"name": "adamw", "lr": 0.02, "weight_decay": 0.0}
    once = experiment(FederatedAveraging(clients=4), adam, steps=1).run(tmp_path / "once")
    plain = experiment(FederatedAveraging(clients=4), steps=1).run(tmp_path / "plain")
    model = experiment().build().model
    start = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    point = nn.Parameter(start.clone())
    point.grad = start - weights(plain)
    torch.optim.Adam([point], lr=0.02).step()
    assert (point.detach() - weights(once)).abs().max() < 1e-10


def test_running_statistics_are_averaged_by_samples(tmp_path: Path) -> None:
    def means(method: FederatedAveraging) -> Tensor:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        run = experiment(method, model=Normed, steps=1, batch_size=ROWS).run(folder)
        mean: Tensor = run.model.get_buffer("norm.running_mean")
        return mean

    alone = means(FederatedAveraging(clients=1))
    together = means(FederatedAveraging(clients=4))
    # statistics move by a tenth of a batch's mean: the mean over clients' means of all rows is that of all rows
    assert torch.allclose(alone, together, atol=1e-6)
    assert alone.abs().max() > 1e-3


class Hiding(Net):
    """With a mask among its buffers, whose infinities stay what they are."""

    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD) * self.get_buffer("mask").softmax(0)[0]


@pytest.mark.parametrize("secure", [False, True])
def test_infinite_buffers_stay_as_they_are(tmp_path: Path, secure: bool) -> None:
    run = experiment(FederatedAveraging(clients=4, secure=secure), model=Hiding, steps=2).run(tmp_path / "run")
    assert run.model.get_buffer("mask").tolist() == [0.0, -math.inf]


def test_a_run_is_resumed_exactly_with_clients_that_drop_out_and_secure_sums() -> None:
    method = {"name": "privacy/federated", "clients": 6, "per_round": 4, "dropped": 0.4, "secure": True}
    recipe = lw.Experiment(
        task={"name": "classification", "data": "vision/digits"},
        model={"name": "vision/mlp", "width": 16, "depth": 1, "dropout": 0.2},
        loss="cross-entropy",
        method=method | {"division": "dirichlet", "alpha": 0.5},
        optimizer={"name": "sgd", "lr": 1.0, "momentum": 0.5},
        train={"steps": 6, "batch_size": 32},
    )
    assert verify_resume(recipe, 3).exact


# ------------------------------------------------------------------------------------- differential privacy of clients


def private(**settings: Any) -> PrivateFederatedAveraging:
    return PrivateFederatedAveraging(**{"clients": 8, "per_round": 8, "delta": 1e-3, "local_lr": 0.05} | settings)


def test_without_noise_and_bound_each_client_counts_alike(tmp_path: Path, float64: None) -> None:
    # all eight clients have six samples, so that the mean over clients is that over samples
    plain = experiment(FederatedAveraging(clients=8, local_lr=0.05)).run(tmp_path / "plain")
    alike = experiment(private(noise=1e-14, bound=100.0)).run(tmp_path / "alike")
    assert (weights(plain) - weights(alike)).abs().max() < 1e-10


def test_what_a_client_changes_is_bounded_and_hidden(tmp_path: Path, float64: None) -> None:
    start = torch.cat([parameter.detach().flatten() for parameter in experiment().build().model.parameters()])
    bounded = experiment(private(noise=1e-12, bound=0.01), steps=1).run(tmp_path / "bounded")
    assert 0.003 < (weights(bounded) - start).norm() <= 0.01 + 1e-9
    noisy = experiment(private(noise=2.0, bound=0.01, per_round=4), steps=1).run(tmp_path / "noisy")
    # normal noise of 2 * 0.01 / 4 on 57 weights, whose length lies within a third of what is expected
    assert (weights(noisy) - start).norm() == pytest.approx(0.005 * math.sqrt(57), rel=0.45)


@pytest.mark.long
def test_epsilon_is_that_of_the_same_noise_and_rate_on_rows(tmp_path: Path) -> None:
    run = experiment(private(epsilon=3.0, per_round=2)).run(tmp_path / "run")
    assert run.outcome is not None
    noise = run_noise(run)
    expected = spent([Part("", noise, 2 / 8, STEPS)], 1e-3)
    assert run.outcome.figures["epsilon"] == pytest.approx(expected, rel=1e-3)  # the note rounds the noise
    assert 2.9 < run.outcome.figures["epsilon"] <= 3.0
    assert any("differential privacy of each client, one of 8: epsilon" in note for note in run.notes)


def run_noise(run: lw.Run) -> float:
    words = next(note for note in run.notes if "noise" in note).split("noise ")[1]
    return float(words.split(",")[0])


def test_a_private_federation_is_resumed_exactly() -> None:
    method = 'method={name="privacy/federated-dp", noise=1.0, secret="test", clients=20, per_round=5}'
    recipe = lw.Experiment.from_recipe("privacy/digits-federated", [method, "train.steps=4", "model.width=8"])
    assert verify_resume(recipe, 2).exact


# ------------------------------------------------------------------------------------------------------- sums and masks


def test_masks_cancel_exactly_and_hide_what_each_client_sends() -> None:
    random = np.random.default_rng(0)
    clients = [0, 3, 4, 9]
    words = {client: secure_sum.encoded(random.normal(size=5000), len(clients)) for client in clients}
    sent = {client: secure_sum.masked(words[client], client, clients, seed=7) for client in clients}
    assert np.array_equal(secure_sum.total(sent, clients, 7), sum(words.values(), np.uint64(0)))
    for client in clients:
        # uniform over all words: the mean of 5,000 lies within 5 standard errors of a half
        share = sent[client].astype(np.float64) / 2**64
        assert abs(share.mean() - 0.5) < 5 / math.sqrt(12 * 5000)
        assert not np.array_equal(sent[client], words[client])


@pytest.mark.parametrize("missing", [[3], [0, 9]])
def test_the_masks_of_clients_that_dropped_out_are_taken_out_again(missing: list[int]) -> None:
    clients = [0, 3, 4, 9]
    words = {client: secure_sum.encoded(np.full(50, client + 0.25), len(clients)) for client in clients}
    answering = [client for client in clients if client not in missing]
    sent = {client: secure_sum.masked(words[client], client, clients, seed=7) for client in answering}
    total = secure_sum.decoded(secure_sum.total(sent, clients, 7))
    assert np.array_equal(total, np.full(50, sum(client + 0.25 for client in answering)))  # quarters are exact


def test_a_secure_mean_is_the_mean_to_the_fixed_point() -> None:
    answers = updates(5, 11, 2)
    plain = weighted_means(list(answers.values()))
    secure = secure_means(answers, [*answers, 7], seed=3)
    for mean, other in zip(plain, secure, strict=True):
        # each addend is rounded to a multiple of 2**-32, and the sum is divided by 18 samples
        assert mean.shape == other.shape
        assert (mean.double() - other).abs().max() < 3 * 2**-33 / 18 + 1e-6 * mean.abs().max()


def test_a_change_that_would_go_round_ends_the_run() -> None:
    with pytest.raises(lw.RunFailed, match=r"method\.secure.*2\.15e\+09.*local_lr lower"):
        secure_sum.encoded(np.array([1e10]), 1)
    with pytest.raises(lw.RunFailed, match="nan"):
        secure_sum.encoded(np.array([math.nan]), 2)


# ----------------------------------------------------------------------------------------------- who has which samples


def digits() -> tuple[lw.Split, lw.Data]:
    task = lw.Experiment.from_recipe("vision/digits-mlp").prepared()
    part = task.part("train")
    assert part is not None
    return part, task.data


def shares_of_classes(alpha: float) -> Tensor:
    """The largest share that a class has at each of 20 clients."""
    part, data = digits()
    labels = part.labels  # type: ignore[attr-defined]
    members = divided(part, data, "dirichlet", clients=20, alpha=alpha, seed=0)
    assert torch.cat(members).sort()[0].equal(torch.arange(len(part)))  # each sample at one client
    return torch.tensor([float(labels[rows].bincount().max() / len(rows)) for rows in members])


def test_a_small_alpha_gives_clients_few_classes_and_a_large_one_all_alike() -> None:
    assert shares_of_classes(0.1).mean() > 0.5
    assert shares_of_classes(100.0).mean() < 0.2


def test_samples_are_dealt_out_evenly_by_column_or_by_folder() -> None:
    data = Rows()
    data.prepare()
    part = data.split("train")
    assert part is not None
    even = divided(part, data, "even", clients=5, alpha=1.0, seed=0)
    assert sorted(map(len, even)) == [9, 9, 10, 10, 10]
    assert [rows.tolist() for rows in divided(part, data, "group", clients=None, alpha=1.0, seed=0)][1] == [3, 4, 5]
    by_folder = divided(part, data, "folder", clients=None, alpha=1.0, seed=0)
    assert [rows[:3].tolist() for rows in by_folder] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_clients_take_part_by_seed_and_round_and_one_always_answers() -> None:
    run = experiment(FederatedAveraging(clients=8, per_round=3, dropped=0.9))
    method = run.build().method
    rounds = [method.taking_part(round_of(number)) for number in range(200)]
    assert rounds == [method.taking_part(round_of(number)) for number in range(200)]
    assert all(len(chosen) == 3 and 1 <= len(answering) <= 3 for chosen, answering in rounds)
    answered = [client for _, answering in rounds for client in answering]
    assert set(answered) == set(range(8))
    # of three a tenth answers each, and the first if none does: 3 * 0.1 + 0.9**3 a round
    assert len(answered) / 200 == pytest.approx(1.03, abs=0.12)


def round_of(number: int) -> Any:
    from labwright_privacy.federated.local_training import Round

    return Round(number, 0, BATCH)


def test_a_run_says_who_its_clients_are_and_what_was_learned_of_all() -> None:
    notes = (
        lw.Experiment(
            task={"name": "classification", "data": {"name": "nlp/languages", "vocabulary": 60}},
            model={"name": "nlp/bag", "width": 4},
            loss="cross-entropy",
            method={"name": "privacy/federated", "clients": 3, "per_round": 2},
            optimizer="sgd",
            train={"steps": 1},
        )
        .build()
        .notes
    )
    assert "3 clients of 5,952 to 5,952 samples (median 5,952), 2 in a round." in notes
    assert any("from all clients' samples together" in note and "characters.json, texts.json" in note for note in notes)


# -------------------------------------------------------------------------------------------------- what can't be right


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["method.clients=4", "method.per_round=5"], "method.per_round: given 5, of 4 clients"),
        (["method.clients=0"], "method.clients"),
        (["method.division=column"], "even"),
        (["method.clients=4", "method.division=group"], "given 4, which has no effect: it counts where division"),
        (["method.division=group"], "the data doesn't say which samples belong together"),
        (["method.division=folder"], "makes one client of all 1,293 samples"),
        (["method.alpha=0", "method.division=dirichlet"], "method.alpha"),
        (["method.local_lr=-1"], "method.local_lr"),
        (["method.dropped=1.0"], "method.dropped"),
        (["train.drop_last=true"], "train.drop_last: a client may have fewer samples than a batch"),
        (["device.accumulate=2"], "device.accumulate: clients take small batches"),
        (["device.precision=fp16"], "device.precision: what clients change has no loss scale"),
        (["method.per_round=11"], "method.per_round: given 11; 10 clients have samples"),
    ],
)
def test_what_cannot_be_is_said_before_there_is_a_folder(
    labwright: Any, tmp_path: Path, changes: list[str], words: str
) -> None:
    given = labwright("run", "vision/digits-mlp", 'method={name="privacy/federated"}', *changes, "train.steps=1")
    assert given.code == 2
    assert words in given.errors.replace("\n       ", " ")
    assert not (tmp_path / "runs").exists()


def test_a_task_of_phases_and_samples_without_classes_are_refused() -> None:
    with pytest.raises(lw.LabwrightError, match="has the phases critic, generator"):
        lw.Experiment.from_recipe("gan/ring", ["method=privacy/federated"]).build()
    with pytest.raises(lw.LabwrightError, match="the samples have no classes"):
        experiment(FederatedAveraging(division="dirichlet")).build()


@pytest.mark.long
@pytest.mark.parametrize(("alpha", "floor"), [(100.0, 0.955), (0.1, 0.92)])
def test_twenty_clients_reach_what_federated_averaging_should(tmp_path: Path, alpha: float, floor: float) -> None:
    reached = []
    for seed in range(3):
        overrides = [f"method.alpha={alpha}", f"train.seed={seed}"]
        run = lw.Experiment.from_recipe("privacy/digits-federated", overrides).run(tmp_path / str(seed))
        reached.append(run.metrics["test"]["accuracy"])
    assert sum(reached) / 3 >= floor
