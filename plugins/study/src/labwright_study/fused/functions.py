"""Functions of torch that need another way for stacks: dropout and other draws, attention, results written to `out`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from labwright_study.fused.batching import as_stack, as_trial, at_level
from labwright_study.fused.drawing import Masks
from labwright_study.fused.fuse_key import CannotFuse


class Functions(TorchFunctionMode):
    """Within it, draws are each trial's own, attention folds the trials into the batch, and `out=` may be a row.

    `used` says whether any of them was called, so that it can be left out where they aren't.
    """

    def __init__(self, count: int, masks: Masks) -> None:
        super().__init__()
        self.count, self.masks = count, masks
        self.level = 0
        self.used = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        instead = _INSTEAD.get(func)
        if instead is not None:
            self.used = True
            return instead(self, *args, **named)
        if func in _DRAWS and named.get("generator") is None:
            self.used = True
            return self._drawn(_DRAWS[func], args, named)
        return func(*args, **named)

    def shares(self, p: float | Tensor) -> list[float]:
        """Each trial's share of what is left out."""
        if isinstance(p, Tensor):
            shares: list[float] = as_stack(p, self.level, self.count).tolist()
            return shares
        return [float(p)] * self.count

    def _drawn(self, draw: Callable[..., Tensor], args: Sequence[Any], named: dict[str, Any]) -> Tensor:
        if args and isinstance(args[0], Tensor):  # rand_like(x)
            like, *args = args
            named = {"dtype": like.dtype, "device": like.device} | named
            args = [like.shape, *args]
        if torch.device(named.get("device") or "cpu").type != "cpu":
            raise CannotFuse("on a GPU a trial's own draws can't be repeated")
        return self.masks.drawn(lambda random: draw(*args, **(named | {"generator": random})), self.level)

    def _dropout(self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002, ARG002
        return self.masks.dropout(input, self.shares(p), self.level) if training else input

    def _feature_dropout(self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002, ARG002
        if not training:
            return input
        return self.masks.dropout(input, self.shares(p), self.level, feature_shape(input))

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: Any = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        shares = self.shares(dropout_p)
        plain = attn_mask is None and not enable_gqa and query.dim() == 4
        if plain and not any(shares) and at_level(self.level):
            stacks = [as_stack(one, self.level, self.count) for one in (query, key, value)]
            folded = [stack.reshape(-1, *stack.shape[2:]) for stack in stacks]
            attended = functional.scaled_dot_product_attention
            y = attended(folded[0], folded[1], folded[2], is_causal=is_causal, scale=scale)
            return as_trial(y.view(self.count, -1, *y.shape[1:]), self.level)
        # The formula of torch's own reference, in its order: it is what runs on a CPU where there is dropout.
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        factor = math.sqrt(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        scores = (query * factor) @ (key * factor).transpose(-2, -1)
        if is_causal:
            later = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        if attn_mask is not None:
            bare = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if bare else scores + attn_mask
        return self.masks.dropout(scores.softmax(-1), shares, self.level) @ value

    def _normalize(
        self,
        input: Tensor,  # noqa: A002
        p: float = 2.0,
        dim: int = 1,
        eps: float = 1e-12,
        out: Tensor | None = None,
    ) -> Tensor:
        y = functional.normalize(input, p, dim, eps)
        return y if out is None else out.copy_(y)


def feature_shape(x: Tensor) -> tuple[int, ...]:
    """The shape of a mask that leaves out whole channels."""
    return (x.shape[0], x.shape[1], *(1,) * (x.dim() - 2))


_DRAWS: Mapping[Any, Callable[..., Tensor]] = {
    torch.rand: torch.rand,
    torch.randn: torch.randn,
    torch.rand_like: torch.rand,
    torch.randn_like: torch.randn,
}
_INSTEAD: Mapping[Any, Callable[..., Any]] = {
    functional.dropout: Functions._dropout,
    functional.dropout1d: Functions._feature_dropout,
    functional.dropout2d: Functions._feature_dropout,
    functional.dropout3d: Functions._feature_dropout,
    functional.normalize: Functions._normalize,
    functional.scaled_dot_product_attention: Functions._attention,
}
