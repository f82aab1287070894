"""Ranking all items and predicting clicks: what is left out, measured, drawn, answered, kept and resumed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import evaluate, generator
from labwright_recsys.clicks import Clicks
from labwright_recsys.data.movielens import MovieLens
from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import TEST, TRAIN, VALID
from labwright_recsys.data.synthetic import Synthetic
from labwright_recsys.data.table import Table
from labwright_recsys.models.matrix_factorization import MatrixFactorization
from labwright_recsys.ports import Feedback
from labwright_recsys.top_n import TopN
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn

CPU = torch.device("cpu")
SMALL = {"name": "recsys/synthetic", "users": 60, "items": 50, "activity": 15}
Made = Callable[..., Recommendation]


class Fixed(nn.Module):
    """Scores that were given."""

    def __init__(self, scores_UI: Tensor) -> None:
        super().__init__()
        self.scores_UI = scores_UI

    def scores(self, users_B: Tensor) -> Tensor:
        return self.scores_UI[users_B]


def top_n(**changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {
        "task": {"name": "recsys/top-n", "data": SMALL},
        "model": {"name": "recsys/bpr-mf", "dim": 8},
        "loss": "recsys/bpr",
        "optimizer": {"name": "adam", "lr": 0.02},
        "device": {"name": "cpu", "threads": 1},
        "train": {"epochs": 3, "batch_size": 128},
        "log": (),
    } | changed
    return lw.Experiment(**settings)


def clicks(**changed: Any) -> lw.Experiment:
    return top_n(
        **{
            "task": {"name": "recsys/clicks", "data": SMALL},
            "model": {"name": "recsys/deepfm", "dim": 4, "width": 8},
            "loss": "recsys/binary-cross-entropy",
        }
        | changed
    )


@pytest.mark.parametrize("split", ["valid", "test"])
def test_what_was_seen_before_stands_in_no_list(split: str) -> None:
    task = TopN(Synthetic(users=40, items=30, activity=14), top=8)
    task.prepare()
    data = task.data
    scores_UI = torch.rand(40, 30, generator=generator(0))
    (batch,) = task.batches(split, size=16, seed=0, epoch=0)
    hits, relevant, top = task.evaluate(Fixed(scores_UI), batch)
    before = (TRAIN,) if split == "valid" else (TRAIN, VALID)
    part = VALID if split == "valid" else TEST
    for row, user in enumerate(batch.inputs[0].tolist()):
        mine = data.users_N == user
        seen = set(data.items_N[mine & sum(data.parts_N == one for one in before).bool()].tolist())
        wanted = set(data.items_N[mine & (data.parts_N == part)].tolist())
        ranked = sorted(set(range(30)) - seen, key=lambda item: -float(scores_UI[user, item]))[:8]
        assert top[row].tolist() == ranked
        assert hits[row].tolist() == [item in wanted for item in ranked]
        assert int(relevant[row]) == len(wanted)
    measured = {user for user in range(40) if ((data.users_N == user) & (data.parts_N == part)).any()}
    assert set(batch.inputs[0].tolist()) == measured


def test_knowing_what_is_held_out_is_perfect() -> None:
    task = TopN(Synthetic(users=40, items=60, activity=20))
    task.prepare()
    data = task.data
    scores_UI = torch.zeros(40, 60)
    scores_UI[data.users_N, data.items_N] = 1.0  # training items too: they must be left out
    metrics = evaluate(task, Fixed(scores_UI), "test", device=CPU, size=7, seed=0).metrics
    assert (metrics["ndcg"], metrics["hit"], metrics["recall"], metrics["mrr"]) == pytest.approx((1, 1, 1, 1))


def test_liked_says_what_counts_and_the_rest_is_only_seen(made: Made) -> None:
    count = 30
    ratings = np.array([5.0, 1.0] * (count // 2))
    table = Table(["a"] * count, [str(item) for item in range(count)], ratings)
    task = TopN(made(table), top=5, liked=4.0)
    task.prepare()
    data = task.data
    assert (task.pairs.ratings_N == 5).all()
    inputs, _ = task.ports()
    assert isinstance(inputs, Feedback)
    assert set(inputs.pairs[1].tolist()) == set(task.pairs.items_N.tolist())
    (batch,) = task.batches("test", size=9, seed=0, epoch=0)
    assert int(batch.targets) == int(((data.parts_N == TEST) & (data.ratings_N == 5)).sum())
    assert batch.seen.shape[1] == int((data.parts_N < TEST).sum())


def test_negatives_are_drawn_anew_for_each_pair_and_never_had_in_training() -> None:
    task = TopN(Synthetic(users=40, items=30, activity=14), negatives=3)
    task.prepare()
    (batch,) = task.batches("train", size=10**6, seed=0, epoch=0)
    drawn, again, other = (task.draw(batch, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(drawn.negatives, again.negatives)
    assert not torch.equal(drawn.negatives, other.negatives)
    had = set(zip(task.pairs.users_N.tolist(), task.pairs.items_N.tolist(), strict=True))
    for user, items in zip(drawn.inputs[0].tolist(), drawn.negatives.tolist(), strict=True):
        assert not any((user, item) in had for item in items)


def test_training_batches_are_a_function_of_seed_and_epoch() -> None:
    task = TopN(Synthetic(users=20, items=30, activity=12))
    task.prepare()

    def items(**changed: int) -> list[list[int]]:
        settings = {"size": 32, "seed": 0, "epoch": 0} | changed
        return [batch.inputs[1].tolist() for batch in task.batches("train", **settings)]

    assert items() == items()
    assert items(start=2) == items()[2:]
    assert items() != items(epoch=1) and items() != items(seed=1)


@pytest.mark.parametrize(
    "experiment",
    [
        top_n(),
        top_n(model={"name": "recsys/light-gcn", "dim": 8}),
        top_n(model={"name": "recsys/neumf", "dim": 4, "dropout": 0.2}, loss="recsys/pointwise"),
        clicks(),
    ],
    ids=["bpr", "light-gcn", "neumf", "deepfm"],
)
def test_a_resumed_run_is_the_uninterrupted_one(experiment: lw.Experiment) -> None:
    verdict = verify_resume(experiment, 3)
    assert verdict.exact, verdict


def test_a_run_answers_for_a_user_with_titles_and_without_what_was_had(tmp_path: Path, labwright: Callable) -> None:
    run = top_n(train={"steps": 2, "batch_size": 128}).run(tmp_path / "run")
    said = labwright("predict", tmp_path / "run", "--user", "7", "--json")
    assert said.code == 0, said.errors
    answer = json.loads(said.out)
    data = run.task.data
    had = {data.items[item] for item in data.items_N[data.users_N == data.users.index("7")].tolist()}
    assert len(answer["items"]) == 10 and had.isdisjoint(answer["items"])
    name, found = next(iter(answer["items"].items()))
    assert found["title"] == data.titles[data.items.index(name)]
    assert [one["score"] for one in answer["items"].values()] == sorted(
        (one["score"] for one in answer["items"].values()), reverse=True
    )
    plain = labwright("predict", tmp_path / "run", "--user", "7", "--set", "task.top=2")
    assert plain.out.startswith("7\t") and plain.out.count("item ") == 2


def test_clicks_are_predicted_for_a_user_and_an_item(tmp_path: Path, labwright: Callable) -> None:
    clicks(train={"steps": 2, "batch_size": 128}).run(tmp_path / "run")
    said = labwright("predict", tmp_path / "run", "--pair", "7 12", "--json")
    assert said.code == 0, said.errors
    answer = json.loads(said.out)
    assert 0 < answer["probability"] < 1 and answer["title"].startswith("item 12 of kind")


def test_a_pair_that_is_none_is_answered_with_what_is_one() -> None:
    task = Clicks(Synthetic(users=30, items=40, activity=12))
    task.prepare()
    assert [int(one) for one in task.parse("7\t12")] == [int(one) for one in task.parse(" 7.0  12 ")]
    for line, message in (
        ("7", "given '7'; a pair is a user and an item with a blank between them"),
        ("7 12 3", "a pair is a user and an item"),
        ("7 film", "no item is called 'film'; there are"),
        ("nobody\t12", "no user is called 'nobody'"),
    ):
        with pytest.raises(lw.LabwrightError, match=message):
            task.parse(line)


@pytest.mark.parametrize("experiment", [top_n(log=["report"]), clicks(log=["report"])], ids=["top-n", "clicks"])
def test_the_report_has_lists_and_figures(experiment: lw.Experiment, tmp_path: Path) -> None:
    run = experiment.run(tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert "This part is missing" not in text
    titles = (
        ("Recommended", "Users by activity", "Items by popularity")
        if isinstance(run.task, TopN)
        else ("Probabilities and clicks", "Misjudged most")
    )
    assert all(title in text for title in titles)


def test_closed_form_models_run_like_any_other(tmp_path: Path) -> None:
    for name in ("popularity", "item-knn", "ease"):
        settings = {"loss": None, "optimizer": None, "train": {"batch_size": 100}}
        run = top_n(model=f"recsys/{name}", **settings).run(tmp_path / name)
        assert run.outcome.status == "finished"
        assert 0 < run.metrics["test"]["ndcg"] < 1


def test_rankings_of_the_training_part_are_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    ease = {"model": "recsys/ease", "loss": None, "optimizer": None}
    for number, settings in enumerate(({"train": {"epochs": 1}}, {**ease, "train": {}})):
        settings["train"]["evaluate_train"] = "all"
        with pytest.raises(lw.LabwrightError, match=r"held out.* leave train\.evaluate_train out"):
            top_n(**settings).run(tmp_path / str(number))
        assert not (tmp_path / str(number)).exists()


def test_clicks_of_a_known_model_have_its_auc_and_log_loss() -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    task = Clicks(Synthetic(users=60, items=50, activity=20), threshold=3.0)
    task.prepare()
    torch.manual_seed(0)
    model = MatrixFactorization(*task.ports(), dim=8, spread=1.0)
    metrics = evaluate(task, model, "test", device=CPU, size=17, seed=0).metrics
    part = task.data.split("test")
    logits = model(part.users_N, part.items_N).detach().double()
    clicked = part.ratings_N >= 3
    assert metrics["auc"] == pytest.approx(roc_auc_score(clicked, logits), abs=1e-9)
    assert metrics["log_loss"] == pytest.approx(log_loss(clicked, logits.sigmoid()), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(float(((logits > 0) == clicked).double().mean()))


def rated(made: Made, ratings: list[float], **settings: Any) -> Recommendation:
    """One user's interactions with as many items as there are ratings."""
    return made(Table(["a"] * len(ratings), [str(item) for item in range(len(ratings))], np.array(ratings)), **settings)


def test_a_threshold_that_leaves_nearly_one_kind_is_said(made: Made) -> None:
    task = Clicks(rated(made, [5.0] * 97 + [1.0] * 3, valid=0.0, test=0.0))
    task.prepare()
    (said,) = (one for one in task.data.remarks() if "rated" in one)
    assert said == (
        "97 of 100 training interactions (97.0%) are rated at or above 4: is this the task.threshold that is meant?"
    )
    ranking = TopN(rated(made, [5.0] * 3 + [1.0] * 97, valid=0.0, test=0.0), liked=4.0)
    ranking.prepare()
    assert "97 of 100 training interactions (97.0%) are rated below 4: is this the task.liked that is" in str(
        ranking.data.remarks()
    )
    even = Clicks(rated(made, [5.0] * 50 + [1.0] * 50, valid=0.0, test=0.0))
    even.prepare()
    assert even.data.remarks() == []


def test_a_held_out_part_of_one_kind_has_no_auc_and_it_is_said(made: Made) -> None:
    data = rated(made, [5.0] * 20)
    data.prepare()
    kinds = [1.0 if part == TRAIN and item % 2 else 5.0 for item, part in enumerate(data.parts_N.tolist())]
    task = Clicks(rated(made, kinds))
    task.prepare()
    assert [one for one in task.data.remarks() if "auc" in one] == [
        f"all 2 pairs of {split} are rated at or above task.threshold, 4: there is no auc of one kind."
        for split in ("valid", "test")
    ]


def test_an_accuracy_that_always_clicking_has_too_is_said() -> None:
    task = Clicks(Synthetic(users=60, items=50, activity=20), threshold=2.0)
    task.prepare()
    part = task.data.split("test")
    share = float((part.ratings_N >= 2).double().mean())
    assert share > 0.5
    assert task.remark("test", {"accuracy": share, "auc": 0.6}) == (
        f"accuracy {share:.4g} on test is no better than always answering a click, which is right for {share:.4g} of "
        "its pairs."
    )
    assert task.remark("test", {"accuracy": share + 0.01}) is None


def test_what_is_known_of_the_interactions_is_said_before_a_run(
    write: Callable[..., Path], labwright: Callable
) -> None:
    rows = [f"u{n % 20},i{n // 20},{5 if n % 50 else 1}" for n in range(400)]
    write("mine.csv", ["user,item,is", *rows, *rows[:4], "u1,i3,", "alone,i3,5"])
    write(
        "mine.toml",
        ['task = { name = "recsys/clicks", data = { name = "recsys/interactions", file = "mine.csv", rating = "is" } }'
         '\nmodel = { name = "recsys/deepfm", dim = 2, width = 4 }\nloss = "recsys/binary-cross-entropy"'
         '\noptimizer = "adam"\ndevice = "cpu"\ntrain = { steps = 2, batch_size = 64 }'],
    )  # fmt: skip
    said = labwright("run", "mine.toml", "--folder", "run")
    assert said.code == 0, said.errors
    whole = " ".join(said.errors.split())
    assert "train 321, valid 40, test 40; 1 row left out: no rating, as in mine.csv, line 406; 4 interactions" in whole
    assert "1 of 21 users are never measured" in whole
    assert "(97.8%)" in whole and "is this the task.threshold that is meant?" in whole
    assert "is no better than always answering a click" in whole


@pytest.mark.timing
def test_all_users_of_movielens_100k_are_ranked_together(movielens: Path) -> None:
    """In calls and returns, which are as many on any machine: a loop over 943 users makes two more for each."""
    task = TopN(MovieLens(folder=movielens))
    task.prepare()
    torch.manual_seed(0)
    model = MatrixFactorization(*task.ports(), dim=64)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    evaluate(task, model, "test", device=CPU, size=1, seed=0)  # what is imported late, and counts only once
    sys.setprofile(count)
    try:
        evaluate(task, model, "test", device=CPU, size=1, seed=0)
    finally:
        sys.setprofile(None)
    assert 0 < calls < 3 * 943  # about two without one


def test_popularity_is_the_floor_of_a_ranking_and_an_items_share_of_clicks_that_of_clicks(tmp_path: Path) -> None:
    none = ("loss=", "optimizer=", "train.epochs=", "log=[]")
    ranked = lw.Experiment.from_recipe("recsys/synthetic", ["model=recsys/popularity", *none])
    metrics = ranked.run(tmp_path / "run").metrics["test"]
    assert ranked.prepared().floors("test") == {
        "popularity": {name: value for name, value in metrics.items() if "_95/" not in name}
    }

    task = Clicks(Synthetic(users=30, items=40, activity=12))
    task.prepare()
    floor = task.floors("test")["popularity"]
    train, test = task.data.split("train"), task.data.split("test")
    clicks = [
        (item, rating >= 4) for item, rating in zip(train.items_N.tolist(), train.ratings_N.tolist(), strict=True)
    ]
    mean = float(sum(clicked for _, clicked in clicks)) / len(clicks)
    nats = []
    for item, rating in zip(test.items_N.tolist(), test.ratings_N.tolist(), strict=True):
        of_item = [clicked for one, clicked in clicks if one == item]
        share = (sum(of_item) + 10 * mean) / (len(of_item) + 10)
        nats.append(-np.log(share if rating >= 4 else 1 - share))
    assert floor["log_loss"] == pytest.approx(np.mean(nats), rel=1e-5)
