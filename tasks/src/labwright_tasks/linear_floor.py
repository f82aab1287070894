"""Linear models on simple features, as floors: within seconds, from some of the samples where there are many.

scikit-learn is imported here alone, where it is installed. N samples, F features, C classes, D numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from labwright import Batch, Port, Split, Tokens
from torch import Tensor, nn

from labwright_tasks.features import dense, ngrams, width
from labwright_tasks.weights import weights_in

_CELLS = 20_000_000  # samples times features times classes: about a second a fit
_GRAMS = 2_000_000  # n-grams of all texts that are learned from, or a few more
_WEIGHTS = 150_000  # of a model of texts
_FEW = 100  # texts, below which an n-gram of one of them counts
_HELD_OUT = 10  # one sample of so many says how strongly weights are held back
_STRENGTHS = {"numbers": (0.001, 0.01, 0.1), "texts": (1.0, 10.0)}  # scikit-learn's C
_ITERATIONS = 100
_RIDGE = 0.001  # how strongly weights of standardised features are held back, a sample
_UNSEEN = 1e-6  # the probability of a class that isn't among the samples learned from


class Answering(nn.Module):
    """A model that is a function of its inputs."""

    def __init__(self, answer: Callable[..., Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.answer(*inputs)


def logistic(port: Port, train: Split, classes: int) -> tuple[str, nn.Module] | None:
    """What a logistic regression is called, and itself; None without scikit-learn, simple features or enough samples.

    Features are standardised numbers, or the TF-IDF of n-grams. How strongly weights are held back is chosen on a tenth
    of the samples it learns from.
    """
    if find_spec("sklearn") is None:
        return None
    numbers = width(port)
    if isinstance(port, Tokens):
        rows = drawn(train, max(1, _GRAMS // (2 * port.length)))
        (name, x_NF, features), batch = _of_tokens(port, train, rows, _WEIGHTS // classes)
    elif numbers is None:
        return None
    else:
        rows = drawn(train, max(1, _CELLS // (numbers * classes)))
        (name, x_NF, features), batch = _of_numbers(port, train, rows)
    labels_N = batch.targets.numpy()
    if len(np.unique(labels_N)) < 2 or len(labels_N) < 2 * _HELD_OUT:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it isn't done after so many iterations is as it should be
        strengths = _STRENGTHS["texts" if isinstance(port, Tokens) else "numbers"]
        model = _chosen(x_NF, labels_N, _weights(batch), strengths)

    answering = Answering(lambda *inputs: log_shares(model, features(*inputs), classes))
    return f"logistic regression on {name}{learned_from(rows, train)}", answering


def ridge(port: Port, train: Split) -> tuple[str, nn.Module] | None:
    """What a ridge regression is called, and itself; None for inputs that aren't a few numbers."""
    numbers = width(port)
    if numbers is None:
        return None
    rows = drawn(train, max(1, _CELLS // numbers))
    (name, x_NF, features), batch = _of_numbers(port, train, rows)
    targets_ND, counts_N = batch.targets.numpy(), _weights(batch)
    mean_F, mean_D = (np.average(values, 0, counts_N) for values in (x_NF, targets_ND.astype(np.float64)))
    centred_NF, counted_FN = x_NF - mean_F, (x_NF - mean_F).T * counts_N
    held_FF = np.eye(numbers) * _RIDGE * counts_N.sum()
    weights_FD = np.linalg.solve(counted_FN @ centred_NF + held_FF, counted_FN @ (targets_ND - mean_D))
    answering = Answering(lambda *inputs: torch.from_numpy((features(*inputs) - mean_F) @ weights_FD + mean_D).float())
    return f"ridge regression on {name}{learned_from(rows, train)}", answering


def drawn(part: Split, most: int) -> Tensor:
    """The rows of a part that a rule learns from, sorted: all, or `most` drawn at random, always the same."""
    if len(part) <= most:
        return torch.arange(len(part))
    return torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:most].sort().values


def log_shares(model: Any, x_BF: Any, classes: int) -> Tensor:
    """The log-probabilities (B, C) of a classifier of scikit-learn, which may not have seen all classes."""
    shares_BK = torch.from_numpy(model.predict_proba(x_BF))
    shares_BC = torch.full((len(shares_BK), classes), _UNSEEN, dtype=torch.float64)
    shares_BC[:, torch.from_numpy(model.classes_)] = shares_BK.clamp(min=_UNSEEN)
    return shares_BC.log().float()


def learned_from(rows: Tensor, train: Split) -> str:
    """What a rule's name says where it didn't learn from all samples."""
    return "" if len(rows) == len(train) else f", learned from {len(rows):,} of {len(train):,} samples"


def _of_numbers(port: Port, train: Split, rows: Tensor) -> tuple[tuple[str, Any, Callable[..., Any]], Batch]:
    """The features' name, those of some rows, and what makes them of inputs; and the rows."""
    batch = train.fetch(rows, 0, 0)
    name, x_NF = dense(port, batch.inputs)
    mean_F, deviation_F = x_NF.mean(0), x_NF.std(0)
    deviation_F[deviation_F == 0] = 1.0

    def features(*inputs: Tensor) -> np.ndarray:
        standardised_BF: np.ndarray = (dense(port, inputs)[1] - mean_F) / deviation_F
        return standardised_BF

    return (name, (x_NF - mean_F) / deviation_F, features), batch


def _of_tokens(
    port: Tokens, train: Split, rows: Tensor, most: int
) -> tuple[tuple[str, Any, Callable[..., Any]], Batch]:
    """As `_of_numbers`, of texts: their `most` frequent n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    name, of = ngrams(port)
    rare = 2 if len(rows) >= _FEW else 1
    vectorizer = TfidfVectorizer(analyzer=of, sublinear_tf=True, min_df=rare, max_features=most)
    batch = train.fetch(rows, 0, 0)
    x_NF = vectorizer.fit_transform(_texts(*batch.inputs))
    return (name, x_NF, lambda *inputs: vectorizer.transform(_texts(*inputs))), batch


def _weights(batch: Batch) -> np.ndarray:
    """How much each row counts."""
    weights_N = weights_in(batch)
    return np.ones(len(batch)) if weights_N is None else weights_N.double().numpy()


def _texts(ids_NT: Tensor, lengths_N: Tensor) -> list[list[int]]:
    return [ids[:length] for ids, length in zip(ids_NT.tolist(), lengths_N.tolist(), strict=True)]


def _chosen(x_NF: Any, labels_N: np.ndarray, counts_N: np.ndarray, strengths: Sequence[float]) -> Any:
    """A logistic regression of all samples, with the strength that gave those held out the lowest loss."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    apart = np.arange(len(labels_N)) % _HELD_OUT == 0
    apart &= np.isin(labels_N, labels_N[~apart])  # of a class that is seen nowhere else nothing can be said
    losses = {}
    for strength in strengths if apart.any() and len(np.unique(labels_N[~apart])) > 1 else ():
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(
            x_NF[~apart], labels_N[~apart], counts_N[~apart]
        )
        losses[strength] = log_loss(labels_N[apart], model.predict_proba(x_NF[apart]), labels=model.classes_)
    best = min(losses, key=lambda strength: losses[strength], default=strengths[0])
    return LogisticRegression(C=best, max_iter=_ITERATIONS).fit(x_NF, labels_N, counts_N)
