"""LightGCN. B batch, U users, I items, N = U + I nodes, D dim, M = 2 E directed edges."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from labwright import Integers
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_recsys.ports import Feedback, Preference


class LightGCN(nn.Module):
    """Vectors of users and items, smoothed over the graph of who has had what (He et al. 2020).

    One layer of smoothing takes e_n to the sum over n's neighbours m of e_m / sqrt(degree(n) degree(m)); a node's final
    vector is the mean over layers 0 to `depth`; the score is the inner product of two. Only layer 0 is learned.

    The graph are the port's training pairs, in buffers that aren't stored.

    Args:
        dim: numbers of a node's vector.
        depth: layers of smoothing.
        spread: standard deviation of a score of two vectors of layer 0 at the start.
    """

    starts_N1: Tensor
    neighbours_M: Tensor
    weights_M: Tensor

    def __init__(
        self,
        inputs: Feedback,
        outputs: Preference,  # noqa: ARG002 - says what it returns
        *,
        dim: Annotated[int, Field(ge=1), Integers(16, 256, log=True)] = 64,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        spread: Annotated[float, Field(gt=0)] = 0.1,
    ) -> None:
        super().__init__()
        self.counts, self.depth = [inputs.users, inputs.items], depth
        self.nodes = nn.Parameter(torch.randn(inputs.users + inputs.items, dim) * (spread / dim**0.5) ** 0.5)
        graph = _graph(inputs.pairs, inputs.users, inputs.items)
        for name, tensor in zip(("starts_N1", "neighbours_M", "weights_M"), graph, strict=True):
            self.register_buffer(name, tensor, persistent=False)

    def smoothed(self) -> tuple[Tensor, Tensor]:
        """The final vectors of all users (U, D) and items (I, D)."""
        layer_ND: Tensor = self.nodes
        total_ND: Tensor = self.nodes
        for _ in range(self.depth):
            if torch.compiler.is_exporting():
                layer_ND = _plain(layer_ND, self.starts_N1, self.neighbours_M, self.weights_M)
            else:
                layer_ND = _Smooth.apply(layer_ND, self.starts_N1, self.neighbours_M, self.weights_M)  # type: ignore[no-untyped-call]
            total_ND = total_ND + layer_ND
        users_UD, items_ID = torch.split(total_ND / (self.depth + 1), self.counts)
        return users_UD, items_ID

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        users_UD, items_ID = self.smoothed()
        of_users_BD = functional.embedding(users_B, users_UD)
        return (of_users_BD * functional.embedding(items_B, items_ID)).sum(1)

    def scores(self, users_B: Tensor) -> Tensor:
        users_UD, items_ID = self.smoothed()
        return users_UD[users_B] @ items_ID.T


class _Smooth(torch.autograd.Function):
    """One layer: each node's weighted sum over its neighbours. Its matrix is symmetric, so it is its own gradient."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, starts_N1: Tensor, neighbours_M: Tensor, weights_M: Tensor) -> Tensor:
        ctx.save_for_backward(starts_N1, neighbours_M, weights_M)
        return _sums(x_ND, starts_N1, neighbours_M, weights_M)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _sums(gradients[0].contiguous(), *ctx.saved_tensors), None, None, None


def _sums(x_ND: Tensor, starts_N1: Tensor, neighbours_M: Tensor, weights_M: Tensor) -> Tensor:
    """An embedding bag for each node: the fastest product with a sparse matrix that every device has."""
    return functional.embedding_bag(
        neighbours_M, x_ND, starts_N1, mode="sum", per_sample_weights=weights_M, include_last_offset=True
    )


def _plain(x_ND: Tensor, starts_N1: Tensor, neighbours_M: Tensor, weights_M: Tensor) -> Tensor:
    """The same by operations that ONNX has."""
    places_M = torch.arange(len(neighbours_M), device=x_ND.device)
    nodes_M = torch.bucketize(places_M, starts_N1[1:], right=True)
    return torch.zeros_like(x_ND).index_add(0, nodes_M, x_ND[neighbours_M] * weights_M[:, None])


def _graph(pairs: Tensor, users: int, items: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each node in order its neighbours: where they start (N + 1,), which (M,), and their weights (M,)."""
    user_E, item_E = pairs[0], pairs[1] + users
    from_M, to_M = torch.cat([user_E, item_E]), torch.cat([item_E, user_E])
    order_M = (from_M * (users + items) + to_M).argsort()
    from_M, to_M = from_M[order_M], to_M[order_M]
    degrees_N = torch.bincount(from_M, minlength=users + items)
    weights_M = (degrees_N[from_M] * degrees_N[to_M]).float().rsqrt()
    return torch.cat([torch.zeros(1, dtype=torch.int64), degrees_N.cumsum(0)]), to_M, weights_M
