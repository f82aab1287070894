"""The keys and values that transformers keeps of a text, as tensors with a row for each, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def filled_cache(tensors: Sequence[Tensor]) -> Any:
    """A cache with the keys and values of each layer in turn, (B, H, T, d)."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(len(tensors) // 2):
        cache.update(tensors[2 * layer], tensors[2 * layer + 1], layer)
    return cache


def in_cache(cache: Any) -> list[Tensor]:
    """The keys and values of each layer in turn."""
    return [tensor for layer in cache for tensor in layer[:2]]
