"""What labwright-recsys brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_recsys"
    yield lw.Component("task", "recsys/top-n", f"{here}.top_n:TopN", "the items a user wants next, out of all")
    yield lw.Component("task", "recsys/clicks", f"{here}.clicks:Clicks", "whether a user takes to an item")
    data = f"{here}.data"
    yield lw.Component("data", "recsys/movielens", f"{data}.movielens:MovieLens", "a folder of MovieLens' ratings")
    yield lw.Component(
        "data", "recsys/interactions", f"{data}.interactions:OwnInteractions", "a CSV or Parquet file of yours"
    )
    yield lw.Component("data", "recsys/synthetic", f"{data}.synthetic:Synthetic", "users with known tastes, made anew")
    models = f"{here}.models"
    yield lw.Component("model", "recsys/popularity", f"{models}.closed:Popularity", "the same list for everyone")
    yield lw.Component("model", "recsys/item-knn", f"{models}.closed:ItemKNN", "similar items, by who has had them")
    yield lw.Component("model", "recsys/ease", f"{models}.closed:EASE", "linear autoencoder in closed form")
    yield lw.Component(
        "model", "recsys/bpr-mf", f"{models}.matrix_factorization:MatrixFactorization", "matrix factorisation"
    )
    yield lw.Component("model", "recsys/neumf", f"{models}.neumf:NeuMF", "neural matrix factorisation")
    yield lw.Component("model", "recsys/light-gcn", f"{models}.light_gcn:LightGCN", "vectors smoothed over the graph")
    yield lw.Component("model", "recsys/deepfm", f"{models}.deepfm:DeepFM", "factorisation machine and perceptron")
    losses = f"{here}.losses"
    yield lw.Component("loss", "recsys/bpr", f"{losses}:BPR", "Bayesian personalised ranking")
    yield lw.Component("loss", "recsys/pointwise", f"{losses}:Pointwise", "positives are 1, negatives 0")
    yield lw.Component("loss", "recsys/sampled-softmax", f"{losses}:SampledSoftmax", "one positive among its negatives")
    yield lw.Component(
        "loss", "recsys/binary-cross-entropy", f"{losses}:BinaryCrossEntropy", "log likelihood of clicks"
    )
    interactions = "labwright_recsys.suggesting:interactions"
    yield lw.Component("suggester", "recsys/interactions", interactions, "a table of users and items")


@lw.hookimpl
def labwright_preflight(experiment: lw.Experiment, built: lw.Built) -> None:
    # a model in closed form is measured only once it is computed: too late to refuse it
    if experiment.train.evaluate_train and experiment.closed_form:
        from labwright_recsys.top_n import HELD_OUT, TopN

        if isinstance(built.task, TopN):
            raise lw.LabwrightError(HELD_OUT)


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name, summary in (
        ("synthetic", "LightGCN on users with known tastes"),
        ("movielens-popularity", "the same list for everyone: the floor"),
        ("movielens-item-knn", "similar items, by who has had them"),
        ("movielens-ease", "linear autoencoder in closed form"),
        ("movielens-bpr", "matrix factorisation by pairwise ranking"),
        ("movielens-neumf", "neural matrix factorisation"),
        ("movielens-lightgcn", "vectors smoothed over the graph of ratings"),
        ("movielens-deepfm", "whether a film is rated 4 or higher"),
    ):
        yield lw.Recipe(f"recsys/{name}", folder / f"{name}.toml", summary)
