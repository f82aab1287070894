"""Floors: what simple rules reach, against closed forms and scikit-learn, and how a run says it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright_tasks import linear_floor
from labwright_tasks.boosting_floor import boosting
from labwright_tasks.classification import Classification
from labwright_tasks.features import dense, ngrams, width
from labwright_tasks.regression import Regression
from sklearn.linear_model import Ridge

Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]


class Made(lw.Data):
    """Data made of inputs and targets for each split."""

    item, target = lw.Image, lw.Classes
    source, licence = "made by a test", "none needed"

    def __init__(self, parts: Parts, ports: tuple[lw.Port, lw.Port]) -> None:
        self.parts, self.offered = parts, ports
        self.target = type(ports[1])  # type: ignore[misc]

    def prepare(self) -> None: ...

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return self.offered

    def split(self, name: str) -> lw.Split | None:
        return lw.TensorSplit(self.parts[name][:1], self.parts[name][1]) if name in self.parts else None


def prepared(task: lw.Task) -> lw.Task:
    task.prepare()
    return task


def test_the_most_frequent_class_of_training_is_measured_where_another_may_be() -> None:
    x = torch.rand(10, 1, 4, 4)
    labels, others = torch.tensor([0] * 6 + [1] * 3 + [2]), torch.tensor([0] * 2 + [1] * 8)
    data = Made({"train": (x, labels), "test": (x, others)}, (lw.Image(1, 4, 4), lw.Classes(("a", "b", "c"))))
    floor = prepared(Classification(data)).floors("test")["most frequent class"]
    assert floor == {
        "accuracy": pytest.approx(0.2),
        "cross_entropy": pytest.approx(-(2 * math.log(0.6) + 8 * math.log(0.3)) / 10),
    }


def test_a_split_that_is_not_there_has_no_floors(classes: Callable[..., lw.Data], values: lw.Data) -> None:
    assert prepared(Classification(classes([0, 1, 2] * 20))).floors("valid") == {}
    assert prepared(Regression(values)).floors("valid") == {}


def test_the_mean_explains_nothing_and_ridge_is_that_of_scikit_learn(values: Any) -> None:
    x, y = (tensor.double().numpy() for tensor in values.parts["train"])
    floors = prepared(Regression(values)).floors("test")
    assert floors["mean"]["r2"] == pytest.approx(0, abs=1e-5)
    assert floors["mean"]["rmse"] == pytest.approx(np.sqrt(((y - y.mean(0)) ** 2).mean()), rel=1e-4)
    x = (x - x.mean(0)) / x.std(0)
    model = Ridge(alpha=0.001 * len(x)).fit(x, y)
    rmse = np.sqrt(((model.predict(x) - y) ** 2).mean())
    assert floors["ridge regression on features"]["rmse"] == pytest.approx(rmse, rel=1e-4)


def test_a_logistic_regression_finds_what_is_linear_and_learns_from_some_rows_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(400, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0, 0].sum(1) > 0).long()
    data = Made(
        {"train": (x[:300], labels[:300]), "test": (x[300:], labels[300:])},
        (lw.Image(1, 4, 4), lw.Classes(("no", "yes", "never"))),
    )
    task = prepared(Classification(data))
    whole = task.floors("test")
    assert whole["logistic regression on pixels"]["accuracy"] > 0.95
    monkeypatch.setattr(linear_floor, "_CELLS", 100 * 16 * 3)
    some = task.floors("test")
    assert some["logistic regression on pixels, learned from 100 of 300 samples"]["accuracy"] > 0.85
    assert some == task.floors("test")  # the same rows each time


def test_without_scikit_learn_there_is_no_logistic_regression(
    classes: Callable[..., lw.Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_floor, "find_spec", lambda name: None)
    assert list(prepared(Classification(classes([0, 1, 2] * 20))).floors("test")) == ["most frequent class"]


def test_n_grams_are_of_two_words_or_four_letters() -> None:
    assert ngrams(lw.Tokens(5000, 10))[1]([1, 2, 3]) == [(1,), (2,), (3,), (1, 2), (2, 3)]
    assert (1, 2, 3, 4) in ngrams(lw.Tokens(60, 10))[1]([1, 2, 3, 4, 5])


def test_texts_are_told_apart_by_pairs_of_tokens() -> None:
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 3, (300, 6), generator=random)
    labels = ((ids[:, :-1] == 1) & (ids[:, 1:] == 2)).any(1).long()  # 1 before 2, whatever else there is
    lengths = torch.full((300,), 6)

    class Texts(Made):
        item = lw.Tokens

        def split(self, name: str) -> Any:
            return lw.TensorSplit((ids, lengths), labels)

    task = prepared(Classification(Texts({}, (lw.Tokens(2000, 6), lw.Classes(("no", "yes"))))))
    assert task.floors("test")["logistic regression on TF-IDF of 1 to 2 tokens"]["accuracy"] > 0.95


def test_a_high_tone_is_loudest_in_a_high_band_and_padding_changes_nothing() -> None:
    port = lw.Audio(8000, 8000)
    time = torch.arange(8000) / 8000
    tones = torch.stack([torch.sin(2 * math.pi * hertz * time) for hertz in (200, 1000, 3000)])
    name, bands = dense(port, (tones, torch.full((3,), 8000)))
    loudest = bands[:, :40].argmax(1)
    mel = 2595 * np.log10(1 + np.array([200, 1000, 3000]) / 700)
    assert name == "the loudness of bands"
    assert np.abs(loudest + 1 - mel / (2595 * np.log10(1 + 4000 / 700) / 41)).max() < 1
    padded = torch.cat([tones[:, :4000], torch.zeros(3, 4000)], dim=1)
    assert np.allclose(
        dense(port, (padded, torch.full((3,), 4000)))[1], dense(port, (tones[:, :4000], torch.full((3,), 4000)))[1]
    )


@dataclass(frozen=True)
class Rows(lw.Port):
    """A table's columns, as `features.Columns` says."""

    numbers: tuple[str, ...]
    levels: tuple[int, ...]

    def example(self, batch_size: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return torch.randn(batch_size, len(self.numbers)), torch.zeros(batch_size, len(self.levels), dtype=torch.int64)


def test_of_a_table_linear_models_see_levels_one_by_one_and_boosting_is_scikit_learns() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    draws = torch.Generator().manual_seed(0)
    x, codes = torch.randn(600, 2, generator=draws), torch.randint(0, 3, (600, 1), generator=draws)
    labels = ((codes[:, 0] == 1) ^ (x[:, 0] > 0)).long()  # neither says it alone
    port = Rows(("a", "b"), (3,))
    name, dense_NF = dense(port, (x, codes))
    assert name == "columns" and width(port) == 5
    np.testing.assert_array_equal(dense_NF[:, 2:], np.eye(3)[codes[:, 0].numpy()])
    train = lw.TensorSplit((x[:400], codes[:400]), labels[:400])
    given = boosting(port, train, 2)
    assert given is not None and given[0] == "gradient boosting"
    log_shares = given[1](x[400:], codes[400:])
    table = np.hstack([x.double().numpy(), codes.double().numpy()])
    reference = HistGradientBoostingClassifier(categorical_features=[2], random_state=0).fit(table[:400], labels[:400])
    np.testing.assert_allclose(log_shares.exp(), reference.predict_proba(table[400:]), atol=1e-5)
    assert (log_shares.argmax(1) == labels[400:]).float().mean() > 0.95


def test_boosting_is_of_tables_alone() -> None:
    pictures = lw.TensorSplit((torch.rand(30, 1, 4, 4),), torch.arange(30) % 2)
    assert boosting(lw.Image(1, 4, 4), pictures, 2) is None
    numbers = lw.TensorSplit((torch.randn(60, 3),), torch.randn(60, 1))
    given = boosting(lw.Features((3,)), numbers)
    assert given is not None and given[1](torch.randn(5, 3)).shape == (5, 1)


@pytest.mark.parametrize("recipe", ["shapes", "tagged"])
def test_the_most_frequent_class_of_positions_is_right_where_the_labels_are_that(
    made: Callable[..., lw.Experiment], recipe: str
) -> None:
    task = made(recipe).prepared()
    train, test = (
        split.fetch(torch.arange(len(split)), 0, 0).targets for split in map(task.data.split, ("train", "test"))
    )  # type: ignore[union-attr, arg-type]
    counted, known = test[test != lw.LEFT_OUT], train[train != lw.LEFT_OUT]
    shares_C = known.bincount() / len(known)
    floor = task.floors("test")["most frequent class"]
    assert floor["accuracy"] == pytest.approx(float((counted == shares_C.argmax()).double().mean()))
    assert floor["cross_entropy"] == pytest.approx(float(-shares_C[counted].log().mean()), rel=1e-4)
