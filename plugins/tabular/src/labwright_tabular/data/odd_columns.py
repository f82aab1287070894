"""Columns that say nothing, that name rows, or that say the target itself. R rows, N numbers, C categories."""

from __future__ import annotations

import numpy as np
import torch
from labwright import Classes, Finding, TensorSplit, listed
from torch import Tensor

from labwright_tabular.data.columns import Columns

_TOLD = 0.99  # of the held-out rows' classes, or of their variance, that one column says
_FEWEST = 20  # rows that are held out


def odd_columns(columns: Columns, parts: dict[str, TensorSplit], outputs: object) -> list[Finding]:
    """What is odd about the columns of a table, the target aside; rows are no matter."""
    naming = [column.name for column in columns.columns if column.role == "ignore"]
    constant = [column.name for column in columns.columns if column.role != "ignore" and column not in columns.used]
    leaks = _leaks(columns, parts, outputs)
    sentences = []
    if naming:
        sentences.append((f"columns that name rows and are ignored: {listed(naming)}.", False))
    if constant:
        sentences.append((f"columns alike in all rows, or whose levels are too rare: {listed(constant)}.", False))
    if leaks:
        told = ", ".join(f"{name!r} tells {share:.1%}" for name, share in leaks.items())
        text = f"columns that say the target by themselves ({told}): is it known when an answer is wanted?"
        sentences.append((f"{text} Leave them out by task.data.roles.NAME=ignore.", True))
    return [Finding("columns", sentence, wrong=wrong) for sentence, wrong in sentences]


def _leaks(columns: Columns, parts: dict[str, TensorSplit], outputs: object) -> dict[str, float]:
    """Columns of which one alone tells nearly all of the target in rows that are held out, and how much of it.

    It is asked as a rule that learns from `train`: the row with the nearest value, or the most frequent class or the
    mean of its level. A column that tells no more than the most frequent class does isn't one.
    """
    held_out = parts.get("test") or parts.get("valid")
    if held_out is None or len(held_out) < _FEWEST:
        return {}
    train = parts["train"]
    told = _classes_told if isinstance(outputs, Classes) else _variance_told
    usual = _most_frequent(train.labels, held_out.labels) if isinstance(outputs, Classes) else 0.0
    shares: dict[str, float] = {}
    port = columns.port()
    for names, seen_RF, new_RF in (
        (port.numbers, train.inputs[0], held_out.inputs[0]),
        (port.categories, train.inputs[1], held_out.inputs[1]),
    ):
        for name, seen_R, new_R in zip(names, seen_RF.unbind(1), new_RF.unbind(1), strict=True):
            if len(seen_R.unique()) > 1:
                shares[name] = told(seen_R, train.labels, new_R, held_out.labels)
    return {name: share for name, share in shares.items() if share >= _TOLD and 1 - share < (1 - usual) / 2}


def _most_frequent(seen_R: Tensor, new_R: Tensor) -> float:
    return float((new_R == seen_R.bincount().argmax()).double().mean())


def _classes_told(seen_R: Tensor, labels_R: Tensor, new_R: Tensor, new_labels_R: Tensor) -> float:
    values, place_R = seen_R.unique(return_inverse=True)
    counts_VC = torch.zeros(len(values), int(labels_R.max()) + 1)
    counts_VC.index_put_((place_R, labels_R), torch.ones(()), accumulate=True)
    return float((counts_VC.argmax(1)[_nearest(values, new_R)] == new_labels_R).double().mean())


def _variance_told(seen_R: Tensor, labels_R: Tensor, new_R: Tensor, new_labels_R: Tensor) -> float:
    values, place_R = seen_R.unique(return_inverse=True)
    means_V = torch.zeros(len(values), dtype=torch.float64).index_add_(0, place_R, labels_R[:, 0].double())
    means_V /= place_R.bincount()
    answers_R = np.interp(new_R.double(), values.double(), means_V)
    missed = np.square(new_labels_R[:, 0].double().numpy() - answers_R).mean()
    return 1 - float(missed / new_labels_R.double().var(correction=0).clamp_min(1e-12))


def _nearest(values_V: Tensor, new_R: Tensor) -> Tensor:
    """The place of the nearest of ascending values."""
    after_R = torch.searchsorted(values_V, new_R.contiguous()).clamp(1, len(values_V) - 1)
    return after_R - ((new_R - values_V[after_R - 1]) <= (values_V[after_R] - new_R)).long()
