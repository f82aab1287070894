"""A sampler: how a study comes to its points. It needs `labwright[study]` among the plugin's dependencies."""

from __future__ import annotations

from typing import Any

from labwright_study.samplers import Sampler


class Sample(Sampler):
    """Independent random points, which is what any other sampler has to be better than."""

    def make(self, seed: int, space: Any) -> Any:
        """An Optuna sampler, made anew for each trial with a seed of its own; `seed` is below 2**32."""
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)
