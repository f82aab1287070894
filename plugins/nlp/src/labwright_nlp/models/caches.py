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


def of_keys_and_values(told: Any, ids_BT: Tensor) -> bool:
    """Whether a network's cache is nothing but keys and values of each token, (B, H, T, d)."""
    from transformers import DynamicCache

    cache = getattr(told, "past_key_values", None)
    if not isinstance(cache, DynamicCache) or not len(cache):
        return False
    shapes = [one.shape if isinstance(one, Tensor) else () for layer in cache for one in layer[:2]]
    return all(len(shape) == 4 and (shape[0], shape[2]) == tuple(ids_BT.shape) for shape in shapes)
