"""Recurrent networks over a text. B batch, T tokens, D features of a token."""

from __future__ import annotations

from abc import ABC
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from labwright import Choice, Classes, Integers, PerTrial, Tokens, Uniform, Values
from labwright_tasks.heads import width_of
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.masks import filled, mean

Pooling = Literal["max", "mean", "last"]


class Recurrent(nn.Module, ABC):
    """What both kinds share: embedding, recurrent layers, pooling over the text, a linear layer.

    Args:
        embedding: numbers in a token's vector.
        width: units of a layer in each direction.
        depth: recurrent layers, one upon the other.
        bidirectional: whether a layer reads the text from its end as well, with `width` units more.
        pooling: what goes to the last layer: of each feature the largest value over the text or the mean, or what was
            read last, in each direction.
        dropout: share of the features that are zeroed, while training: of tokens' vectors, between layers and before
            the last.
    """

    unit: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes | Values,
        *,
        embedding: Annotated[int, Field(ge=1), Integers(32, 256, log=True)] = 128,
        width: Annotated[int, Field(ge=1), Integers(32, 256, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 2)] = 1,
        bidirectional: bool = True,
        pooling: Annotated[Pooling, Choice("max", "mean", "last")] = "max",
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.7), PerTrial()] = 0.5,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.embedding = nn.Embedding(inputs.vocab_size, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        wide = width * (2 if bidirectional else 1)
        sizes = [embedding, *[wide] * (depth - 1)]
        self.layers = nn.ModuleList(Layer(self.unit, size, width, bidirectional) for size in sizes)
        self.head = nn.Linear(wide, width_of(outputs))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        back_BT = from_the_end(there_BT, lengths_B)
        x_BTD = self.dropout(self.embedding(ids_BT))
        last_BD = x_BTD[:, 0]
        with float32_on_the_cpu(x_BTD.device):
            for layer in self.layers:
                x_BTD, last_BD = layer(x_BTD, back_BT, lengths_B)
                x_BTD = self.dropout(x_BTD)
        match self.pooling:
            case "max":
                pooled_BD = x_BTD.masked_fill(~there_BT[:, :, None], -1e4).amax(dim=1)
            case "mean":
                pooled_BD = mean(x_BTD, there_BT)
            case "last":
                pooled_BD = self.dropout(last_BD)
        logits: Tensor = self.head(pooled_BD)
        return logits


@final
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; bidirectional: Graves & Schmidhuber 2005).

    An embedding, recurrent layers, pooling over the text and a linear layer. Padding changes nothing.
    """

    unit = nn.LSTM


@final
class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014).

    An embedding, recurrent layers, pooling over the text and a linear layer. Padding changes nothing.
    """

    unit = nn.GRU


class Layer(nn.Module):
    """One layer, in one direction or in both: each reads its own way from a text's first token on."""

    def __init__(self, unit: type[nn.LSTM] | type[nn.GRU], size: int, width: int, bidirectional: bool) -> None:
        super().__init__()
        self.forth = unit(size, width, batch_first=True)
        self.back = unit(size, width, batch_first=True) if bidirectional else None

    def forward(self, x_BTD: Tensor, back_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs at each place, (B, T, D), and of each direction what it gave last, (B, D)."""
        outputs = [self.forth(x_BTD)[0]]
        last = [_at(outputs[0], lengths_B[:, None] - 1)[:, 0]]
        if self.back is not None:
            outputs.append(_at(self.back(_at(x_BTD, back_BT))[0], back_BT))
            last.append(outputs[1][:, 0])
        return torch.cat(outputs, dim=2), torch.cat(last, dim=1)


def float32_on_the_cpu(device: torch.device) -> AbstractContextManager[Any]:
    """Without autocast on the CPU: torch has an LSTM in bfloat16 for few processors, and fails on the others."""
    autocast = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return torch.autocast("cpu", enabled=False) if autocast else nullcontext()


def from_the_end(there_BT: Tensor, lengths_B: Tensor) -> Tensor:
    """The place that each step reads from a text's end on, (B, T); behind the end its own."""
    steps_T = torch.arange(there_BT.shape[1], device=there_BT.device)
    return torch.where(there_BT, lengths_B[:, None] - 1 - steps_T, steps_T)


def _at(x_BTD: Tensor, places_BS: Tensor) -> Tensor:
    """The features at these places, (B, S, D)."""
    return x_BTD.gather(1, places_BS[:, :, None].expand(-1, -1, x_BTD.shape[2]))
