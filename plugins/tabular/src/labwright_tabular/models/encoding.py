"""What a row becomes before a network sees it. B batch, N numbers, C categories, T bins, K frequencies, D dim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from labwright import Choice, Classes, Integers, Uniform, Values, When
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_tabular.ports import Fields, Scaled

Embedding = Annotated[
    Literal["plain", "piecewise", "periodic"],
    Field(
        description="what a number becomes: itself, `plain`; or a vector, linear within each of its bins (`piecewise`) "
        "or made of its sines and cosines (`periodic`)."
    ),
    Choice("plain", "piecewise", "periodic"),
]
Dim = Annotated[
    int,
    Field(ge=1, description="length of the vector of a category's level, and of a number that isn't `plain`."),
    Integers(4, 32, log=True),
]
Bins = Annotated[
    int,
    Field(
        ge=1,
        le=256,
        description="most bins that a number is cut into, by the values it has in training.",
    ),
    Integers(4, 64, log=True),
    When("numbers", "piecewise"),
]
Sigma = Annotated[
    float,
    Field(gt=0, description="standard deviation at the start of the frequencies."),
    Uniform(0.01, 10.0, log=True),
    When("numbers", "periodic"),
]
DIM = 8  # unless a recipe says otherwise
_FREQUENCIES = 24
_NARROWEST = 1e-3  # of a bin, in standard units: one that is narrower would make its input huge


class Encoding(nn.Module):
    """A row as one vector, (B, width): its numbers, and a vector of `dim` for the level of each category.

    Numbers are `plain`; or each becomes a vector of `dim`, learned from its `piecewise` linear code over bins of
    equally many values or from sines and cosines of it, `periodic` (PLE and PLR of Gorishniy, Rubachev & Babenko 2022,
    sections 3.2 and 3.3).
    """

    def __init__(self, inputs: Fields, numbers: Embedding, *, dim: int, bins: int, sigma: float) -> None:
        super().__init__()
        self.numbers = numbers_of(inputs, numbers, dim=dim, bins=bins, sigma=sigma) if inputs.numbers else None
        self.levels = Levels(inputs, dim) if inputs.categories else None
        self.unread = dim if numbers == "plain" and not inputs.categories else None  # nothing has vectors of it
        each = 1 if numbers == "plain" else dim
        self.width = len(inputs.numbers) * each + len(inputs.categories) * dim

    def forward(self, x_BN: Tensor, codes_BC: Tensor) -> Tensor:
        parts = [] if self.numbers is None else [self.numbers(x_BN).flatten(1)]
        if self.levels is not None:
            parts.append(self.levels(codes_BC).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def remarks(self) -> Sequence[str]:
        """That `dim` has no effect, where it was given and nothing becomes a vector."""
        why = "numbers are plain, and there are no categories."
        return (f"model.dim={self.unread} has no effect: {why}",) if self.unread not in (None, DIM) else ()


def numbers_of(inputs: Fields, numbers: Embedding, *, dim: int, bins: int, sigma: float) -> nn.Module:
    """What makes (B, N, D) of numbers, or leaves them (B, N) where they are `plain`."""
    if numbers == "plain":
        return nn.Identity()
    return Piecewise(inputs, bins, dim) if numbers == "piecewise" else Periodic(inputs, dim, sigma)


class Levels(nn.Module):
    """A vector for each category's level, (B, C, D)."""

    def __init__(self, inputs: Fields, dim: int) -> None:
        super().__init__()
        starts = torch.tensor([0, *inputs.levels]).cumsum(0)
        self.register_buffer("starts_C", starts[:-1], persistent=False)  # of each category in the one table
        self.table = nn.Embedding(int(starts[-1]), dim)
        nn.init.uniform_(self.table.weight, -1 / math.sqrt(dim), 1 / math.sqrt(dim))
        with torch.no_grad():  # a level that no training row has stays at nothing
            self.table.weight[starts[:-1]] = 0.0

    def forward(self, codes_BC: Tensor) -> Tensor:
        vectors_BCD: Tensor = self.table(codes_BC + self.get_buffer("starts_C"))
        return vectors_BCD


class Piecewise(nn.Module):
    """A vector for each number, (B, N, D): linear in its code, which says of each bin how far the number fills it.

    A bin that the number lies above has 1, one it lies below 0; the first and the last go on beyond their ends. So the
    vector is the sum of the weights of the bins below, and a share of that of the number's own: only these are read.
    """

    def __init__(self, inputs: Fields, bins: int, dim: int) -> None:
        super().__init__()
        edges = [_edges(values, bins) for values in inputs.values]
        most = max(map(len, edges)) - 1
        # the bin is the count of those that the number lies above
        between_NT = torch.full((len(edges), most - 1), math.inf)
        start_and_slope_NT2 = torch.zeros(len(edges), most, 2)
        for number, each in enumerate(edges):
            between_NT[number, : len(each) - 2] = each[1:-1]
            start_and_slope_NT2[number, : len(each) - 1] = torch.stack([each[:-1], 1 / each.diff()], dim=1)
        self.register_buffer("between_NT", between_NT, persistent=False)
        self.register_buffer("start_and_slope_X2", start_and_slope_NT2.flatten(0, 1), persistent=False)
        self.register_buffer("first_N", torch.arange(len(edges)) * most, persistent=False)
        self.weight_NTD, self.bias_ND = _linear(len(edges), most, dim)

    def forward(self, x_BN: Tensor) -> Tensor:
        bin_BN = self._bins(x_BN) + self.get_buffer("first_N")
        start_BN, slope_BN = F.embedding(bin_BN, self.get_buffer("start_and_slope_X2")).unbind(-1)
        filled_BN1 = ((x_BN - start_BN) * slope_BN).unsqueeze(-1)
        below_NTD = self.weight_NTD.cumsum(1) - self.weight_NTD + self.bias_ND.unsqueeze(1)
        both_XD2 = torch.cat([below_NTD, self.weight_NTD], dim=-1).flatten(0, 1)
        below_BND, own_BND = F.embedding(bin_BN, both_XD2).chunk(2, dim=-1)
        return below_BND + filled_BN1 * own_BND

    def _bins(self, x_BN: Tensor) -> Tensor:
        """The bin of each number, counted from 0, (B, N) int64."""
        between_NT = self.get_buffer("between_NT")
        if torch.compiler.is_exporting():  # ONNX has no search, which takes a quarter of the time
            return (x_BN.unsqueeze(-1) >= between_NT).sum(-1)
        return torch.searchsorted(between_NT, torch.stack(x_BN.unbind(1)), right=True).T


class Linear(nn.Module):
    """A vector for each number, (B, N, D), that is linear in it."""

    def __init__(self, inputs: Fields, dim: int) -> None:
        super().__init__()
        self.weight_NTD, self.bias_ND = _linear(len(inputs.numbers), 1, dim)

    def forward(self, x_BN: Tensor) -> Tensor:
        return x_BN.unsqueeze(-1) * self.weight_NTD.squeeze(1) + self.bias_ND


class Periodic(nn.Module):
    """A vector for each number, (B, N, D): ReLU of a linear function of its sines and cosines.

    Their frequencies are learned, and begin normal with deviation `sigma`.
    """

    def __init__(self, inputs: Fields, dim: int, sigma: float) -> None:
        super().__init__()
        numbers = len(inputs.numbers)
        self.frequency_NK = nn.Parameter(torch.randn(numbers, _FREQUENCIES) * sigma)
        self.weight_NTD, self.bias_ND = _linear(numbers, 2 * _FREQUENCIES, dim)

    def forward(self, x_BN: Tensor) -> Tensor:
        angle_BNK = 2 * math.pi * self.frequency_NK * x_BN.unsqueeze(-1)
        waves_BNT = torch.cat([angle_BNK.sin(), angle_BNK.cos()], dim=-1)
        return torch.relu(_each_by_its_own(waves_BNT, self.weight_NTD) + self.bias_ND)


class Head(nn.Module):
    """Logits, or numbers in the unit of the table, from features (B, width)."""

    def __init__(self, width: int, outputs: Classes | Values) -> None:
        super().__init__()
        self.linear = nn.Linear(width, len(outputs.names) if isinstance(outputs, Classes) else outputs.dim)
        self.scaled = isinstance(outputs, Scaled)
        if isinstance(outputs, Scaled):
            self.register_buffer("mean_D", torch.tensor(outputs.mean), persistent=False)
            self.register_buffer("deviation_D", torch.tensor(outputs.deviation), persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        return self.in_unit(self.linear(features_BF))

    def in_unit(self, answers: Tensor) -> Tensor:
        """Logits as they are; numbers in standard units in that of the table."""
        return answers * self.get_buffer("deviation_D") + self.get_buffer("mean_D") if self.scaled else answers


def _edges(values: tuple[float, ...], bins: int) -> Tensor:
    """The ends of up to so many bins that have equally many of the values between them."""
    places = torch.linspace(0, len(values) - 1, bins + 1).round().long().tolist()
    chosen = [values[place] for place in places]
    edges = chosen[:1]
    for edge in chosen[1:]:
        if edge - edges[-1] > _NARROWEST:
            edges.append(edge)
    return torch.tensor(edges if len(edges) > 1 else [edges[0], edges[0] + 1.0])


def _linear(numbers: int, inputs: int, dim: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights (N, T, D) and biases (N, D) of a linear layer for each number, as nn.Linear begins with."""
    limit = 1 / math.sqrt(inputs)
    return (
        nn.Parameter(torch.empty(numbers, inputs, dim).uniform_(-limit, limit)),
        nn.Parameter(torch.empty(numbers, dim).uniform_(-limit, limit)),
    )


def _each_by_its_own(code_BNT: Tensor, weight_NTD: Tensor) -> Tensor:
    return torch.einsum("bnt,ntd->bnd", code_BNT, weight_NTD)
