"""Models learn: on made-up users whose tastes are known, and on MovieLens against a linear model and known figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import evaluate
from labwright_recsys.clicks import Clicks
from labwright_recsys.data.synthetic import Synthetic
from labwright_recsys.top_n import TopN
from torch import Tensor, nn

CPU = torch.device("cpu")
CUT = {"name": "recsys/synthetic", "users": 300, "items": 150, "activity": 30}


class Known(nn.Module):
    def __init__(self, scores_UI: Tensor) -> None:
        super().__init__()
        self.scores_UI = scores_UI

    def scores(self, users_B: Tensor) -> Tensor:
        return self.scores_UI[users_B]


@pytest.fixture(scope="module")
def bounds() -> tuple[float, float]:
    """NDCG on the test part of ranking by popularity as it was drawn, and by what users want."""
    settings = {key: value for key, value in CUT.items() if key != "name"}
    data = Synthetic(**settings)
    task = TopN(data)
    task.prepare()
    want_UI, popular_I = (torch.from_numpy(one).float() for one in data.wants())
    users, items = ([int(name) - 1 for name in names] for names in (data.users, data.items))
    both = popular_I.expand(want_UI.shape), want_UI
    low, high = (
        evaluate(task, Known(scores[users][:, items]), "test", device=CPU, size=1, seed=0).metrics["ndcg"]
        for scores in both
    )
    return low, high


LEARNERS: dict[str, dict[str, Any]] = {
    "bpr-mf": {"model": {"name": "recsys/bpr-mf", "dim": 16}, "train": {"epochs": 40, "batch_size": 1024}},
    "light-gcn": {"model": {"name": "recsys/light-gcn", "dim": 16}, "train": {"epochs": 30, "batch_size": 1024}},
    "neumf": {
        "model": {"name": "recsys/neumf", "dim": 16, "width": 32},
        "loss": "recsys/pointwise",
        "train": {"epochs": 30, "batch_size": 1024},
    },
    "softmax": {
        "task": {"name": "recsys/top-n", "data": CUT, "negatives": 8},
        "model": {"name": "recsys/bpr-mf", "dim": 16},
        "loss": "recsys/sampled-softmax",
        "train": {"epochs": 30, "batch_size": 1024},
    },
    "item-knn": {"model": "recsys/item-knn"},
    "ease": {"model": {"name": "recsys/ease", "l2": 50.0}},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_tastes_are_learned_beyond_popularity(name: str, bounds: tuple[float, float], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"task": {"name": "recsys/top-n", "data": CUT}, "device": {"name": "cpu", "threads": 1}}
    if "train" in LEARNERS[name]:
        settings |= {"loss": "recsys/bpr", "optimizer": {"name": "adamw", "lr": 0.02, "weight_decay": 0.1}}
    settings |= LEARNERS[name]
    if "train" in settings:
        rare = {"evaluate_every": "5 epochs", "save_every": "30 epochs", "final": "best"}
        settings["train"] = settings["train"] | rare
    ndcg = lw.Experiment(**settings, log=()).run(tmp_path / "run").metrics["test"]["ndcg"]
    low, high = bounds
    assert low + 0.25 * (high - low) < ndcg < high


def one_hot(task: Clicks, name: str) -> tuple[Any, np.ndarray]:
    """The fields DeepFM sees as a sparse matrix, each field's values summing to 1, and the clicks."""
    from scipy import sparse

    part = task.data.split(name)
    blocks = []
    for names, own, sides in (
        (part.users_N, len(task.data.users), task.data.user_sides),
        (part.items_N, len(task.data.items), task.data.item_sides),
    ):
        tables = [sparse.eye(own, format="csr")]
        for side in sides:
            codes = side.codes_NV.numpy()
            rows, places = np.nonzero(codes)
            shares = 1 / np.count_nonzero(codes, axis=1)[rows]
            tables.append(sparse.csr_matrix((shares, (rows, codes[rows, places] - 1)), shape=(own, len(side.values))))
        blocks += [table[names.numpy()] for table in tables]
    return sparse.hstack(blocks, format="csr"), (part.ratings_N >= task.threshold).numpy()


def linear(task: Clicks) -> float:
    """The AUC on the test part of a logistic regression on the same fields, its penalty chosen on valid."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    found = []
    for c in (0.1, 0.3, 1.0):
        model = LogisticRegression(C=c, max_iter=300, solver="liblinear").fit(*one_hot(task, "train"))
        valid, test = (
            roc_auc_score(y, model.decision_function(x)) for x, y in (one_hot(task, name) for name in ("valid", "test"))
        )
        found.append((valid, test))
    return max(found)[1]


def test_deepfm_beats_a_linear_model_on_the_same_fields(tmp_path: Path) -> None:
    run = lw.Experiment(
        task={"name": "recsys/clicks", "data": CUT | {"activity": 50}},
        model={"name": "recsys/deepfm", "dim": 8, "width": 32},
        loss="recsys/binary-cross-entropy",
        optimizer={"name": "adamw", "lr": 0.005, "weight_decay": 0.3},
        device={"name": "cpu", "threads": 1},
        train={"epochs": 15, "batch_size": 512, "final": "best", "save_every": "15 epochs"},
        log=(),
    ).run(tmp_path / "run")
    assert run.metrics["test"]["auc"] > linear(run.task) + 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "floor"), [("movielens-popularity", 0.13), ("movielens-item-knn", 0.26), ("movielens-ease", 0.31)]
)
def test_a_closed_form_recipe_reaches_its_figure_on_movielens(
    recipe: str, floor: float, movielens: Path, tmp_path: Path
) -> None:
    experiment = lw.Experiment.from_recipe(f"recsys/{recipe}", [f"task.data.folder={movielens}"]).quiet()
    assert experiment.run(tmp_path / "run").metrics["test"]["ndcg"] > floor
