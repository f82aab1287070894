"""Convolutions over a text. B batch, T tokens, W width of a token's vector, K kernel, F filters."""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Classes, Integers, PerTrial, Tokens, Uniform, Values
from labwright_tasks.heads import width_of
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.masks import filled


class TextCNN(nn.Module):
    """The network of Kim 2014, "Convolutional neural networks for sentence classification" (CNN-rand).

    Filters over each of the `kernels` with ReLU; the largest value of each over the text; dropout and a linear layer. A
    text is surrounded by zeros, so that one shorter than a kernel is read as well.

    Args:
        width: numbers in a token's vector.
        filters: filters of each kernel.
        kernels: tokens that a filter sees at once, for each layer of filters.
        dropout: share of the features that are zeroed before the last layer, while training, and half that share of the
            numbers in tokens' vectors.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes | Values,
        *,
        width: Annotated[int, Field(ge=1), Integers(32, 300, log=True)] = 128,
        filters: Annotated[int, Field(ge=1), Integers(32, 200, log=True)] = 100,
        kernels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 4, 5),
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.7), PerTrial()] = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(inputs.vocab_size, width)
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, kernel, padding=kernel - 1) for kernel in kernels)
        self.kernels = kernels
        self.word_dropout, self.dropout = nn.Dropout(dropout / 2), nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(kernels), width_of(outputs))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        x_BWT = (self.word_dropout(self.embedding(ids_BT)) * there_BT[:, :, None]).transpose(1, 2)
        best = []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            y_BFT = convolution(x_BWT).relu()  # T + K - 1 places, of which those that touch the text count
            touches_BT = filled(y_BFT.shape[2], lengths_B + kernel - 1)
            best.append((y_BFT * touches_BT[:, None]).amax(dim=2))  # nothing is below 0
        logits: Tensor = self.head(self.dropout(torch.cat(best, dim=1)))
        return logits
