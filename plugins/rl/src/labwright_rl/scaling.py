"""Rewards in deviations of the discounted return. N environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch


@final
class RewardScale:
    """Divides rewards by the standard deviation of the discounted returns so far, and bounds them to 10 either way.

    Source: Engstrom et al. 2020, "Implementation matters in deep policy gradients", section 3 (reward scaling).
    """

    def __init__(self, count: int, discount: float) -> None:
        self.discount = discount
        self.returns_N = np.zeros(count)
        self.mean, self.variance, self.count = 0.0, 1.0, 1e-4

    def __call__(self, rewards_N: np.ndarray, done_N: np.ndarray) -> np.ndarray:
        self.returns_N = self.returns_N * self.discount + rewards_N
        size = len(rewards_N)
        total, distance = self.count + size, float(self.returns_N.mean()) - self.mean
        spread = self.variance * self.count + float(self.returns_N.var()) * size
        self.variance = (spread + distance**2 * self.count * size / total) / total
        self.mean += distance * size / total
        self.count = total
        self.returns_N[done_N] = 0.0
        scaled: np.ndarray = (rewards_N / np.sqrt(self.variance + 1e-8)).clip(-10, 10)
        return scaled

    def state(self) -> dict[str, Any]:
        return {
            "scale/returns": torch.from_numpy(self.returns_N.copy()),
            "scale/statistics": [self.mean, self.variance, self.count],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.returns_N = state["scale/returns"].numpy().copy()
        self.mean, self.variance, self.count = state["scale/statistics"]
