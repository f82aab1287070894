"""Wide and deep. B batch, N numbers, C categories."""

from __future__ import annotations

from typing import Annotated

from labwright import Classes, Integers, PerTrial, Uniform, Values
from pydantic import Field
from torch import Tensor, nn

from labwright_tabular.models.encoding import Dim, Levels, Piecewise
from labwright_tabular.models.mlp import MLP
from labwright_tabular.ports import Fields


class WideAndDeep(nn.Module):
    """The sum of a linear model, which remembers, and a perceptron, which generalises (Cheng et al. 2016).

    The wide part has a weight for each level of a category and each bin of a number, so that it is additive in the
    columns; there are no crossed columns. The deep part is `tabular/mlp` with piecewise linear numbers.

    Args:
        dim: length of the deep part's vector of each number and each category's level.
        bins: most bins that a number is cut into in both parts, by the values it has in training.
        width: units of each hidden layer of the deep part.
        depth: hidden layers of the deep part.
        dropout: share of each hidden layer's units that is zeroed behind its ReLU, while training.
    """

    def __init__(
        self,
        inputs: Fields,
        outputs: Classes | Values,
        *,
        dim: Dim = 8,
        bins: Annotated[int, Field(ge=1, le=256), Integers(4, 64, log=True)] = 16,
        width: Annotated[int, Field(ge=1), Integers(32, 512, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        self.deep = MLP(inputs, outputs, dim=dim, bins=bins, width=width, depth=depth, dropout=dropout)
        answers = self.deep.head.linear.out_features
        self.of_numbers = Piecewise(inputs, bins, answers) if inputs.numbers else None
        self.of_levels = Levels(inputs, answers) if inputs.categories else None
        for wide in (self.of_numbers, self.of_levels):  # as a linear model begins
            for parameter in () if wide is None else wide.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x_BN: Tensor, codes_BC: Tensor) -> Tensor:
        """Logits (B, classes), or numbers (B, D)."""
        deep = self.deep
        answers = deep.head.linear(deep.hidden(deep.encoding(x_BN, codes_BC)))
        if self.of_numbers is not None:
            answers = answers + self.of_numbers(x_BN).sum(1)
        if self.of_levels is not None:
            answers = answers + self.of_levels(codes_BC).sum(1)
        return deep.head.in_unit(answers)
