"""The temperature by which logits explain labels best, and how sure it is. V views, N samples, C classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from labwright_tasks.metrics import CalibrationError
from labwright_tasks.model_output import together

_FURTHEST = math.log(100)  # a temperature beyond 100, or below 1/100, is none
_Z = 1.959963984540054  # of the normal distribution, 97.5% lie below
_FEW_WRONG = 20
_WIDE = 1.5  # how many times the lower end of an interval the upper may be


@dataclass(frozen=True)
class Fit:
    """What was fitted: a temperature with its 95% interval, 1 where nothing could be; `notes` say what to mind."""

    temperature: float
    low: float
    high: float
    notes: tuple[str, ...] = ()


def fitted(views_VNC: Tensor, labels_N: Tensor) -> Fit:
    """The temperature T with the least mean cross-entropy of logits / T, by LBFGS over its logarithm, in float64.

    Its interval is that of an estimate by a mean of scores (the sandwich of White 1982), which holds for many samples.
    Where all are right the best T is 0, and where answers are no better than chance it is infinite: then it stays 1.
    Source: Guo et al. 2017, section 4.2.
    """
    views_VNC = views_VNC.double()
    wrong = int((together(views_VNC).argmax(-1) != labels_N).sum())
    count = len(labels_N)
    if not wrong:
        return _none(f"all {count:,} samples are right, so that no temperature is too low: it stays 1.")
    own_VN = views_VNC.gather(-1, labels_N.expand(len(views_VNC), -1).unsqueeze(-1)).squeeze(-1)
    if float((own_VN - views_VNC.mean(-1)).mean()) <= 0:
        return _none("the answers are no better than chance, so that no temperature is too high: it stays 1.")
    log_t = _least(views_VNC, labels_N)
    if abs(log_t) > _FURTHEST:
        return _none("no temperature from 0.01 to 100 is the best one: it stays 1.")
    reach = _Z * _error(views_VNC, labels_N, log_t)
    low, high = math.exp(log_t - reach), math.exp(log_t + reach)
    notes = []
    if wrong < _FEW_WRONG:
        notes.append(f"only {wrong} of {count:,} samples are wrong, on which the temperature rests: it is saturated.")
    if high > _WIDE * low:
        notes.append(f"{count:,} samples are few: the temperature may be anything from {low:.3g} to {high:.3g}.")
    elif low < 1 < high:
        notes.append(f"its 95% interval, {low:.3g} to {high:.3g}, has 1 in it: nothing says that scaling is needed.")
    return Fit(math.exp(log_t), low, high, tuple(notes))


def nats(views_VNC: Tensor, labels_N: Tensor, log_t: Tensor) -> Tensor:
    """The cross-entropy of each sample, (N,), at a temperature."""
    return functional.cross_entropy(together(views_VNC / log_t.exp()), labels_N, reduction="none")


def measured(views_VNC: Tensor, labels_N: Tensor, temperature: float) -> tuple[float, float]:
    """Mean cross-entropy in nats, and the expected calibration error, at a temperature."""
    logits_NC = together(views_VNC.double() / temperature)
    error = CalibrationError()
    error.update(logits_NC, labels_N)
    return float(functional.cross_entropy(logits_NC, labels_N)), error.compute()


def _none(why: str) -> Fit:
    return Fit(1.0, 0.0, math.inf, (why,))


def _least(views_VNC: Tensor, labels_N: Tensor) -> float:
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_t], max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def again() -> float:
        optimizer.zero_grad()
        mean = nats(views_VNC, labels_N, log_t).mean()
        torch.autograd.backward(mean)
        return float(mean.detach())

    with torch.enable_grad():
        optimizer.step(again)  # type: ignore[no-untyped-call]
    return float(log_t.detach())


def _error(views_VNC: Tensor, labels_N: Tensor, log_t: float) -> float:
    """The standard error of the temperature's logarithm: by the slopes of single samples, and how they change."""
    step = 1e-3
    at = [nats(views_VNC, labels_N, torch.tensor(log_t + shift, dtype=torch.float64)) for shift in (-step, 0, step)]
    before_N, after_N = ((right - left) / step for left, right in pairwise(at))
    bend = float((after_N - before_N).mean()) / step
    slope_N = (before_N + after_N) / 2
    return float(slope_N.square().mean().sqrt()) / (bend * math.sqrt(len(labels_N))) if bend > 0 else math.inf
