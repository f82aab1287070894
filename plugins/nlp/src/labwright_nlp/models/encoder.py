"""Any encoder of the transformers library with a classifier on top. B batch, T tokens, D width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from labwright import Choice, Classes, Tokens, Uniform
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.backbones import backbone
from labwright_nlp.models.masks import filled, mean


class Encoder(nn.Module):
    """A transformer encoder (Wolf et al. 2020), pooled over the text, with dropout and a linear layer on top.

    With `task.data.tokenizer="pretrained"` it is the encoder of the tokenizer's folder, `task.data.pretrained`, which
    holds config.json and weights as safetensors. `pretrained` is another such folder, for the same tokens. Nothing is
    downloaded and no code of a folder is run. A folder has all of the encoder's weights, or with `partial` some: the
    others are random then. With `architecture`, a model type of transformers such as "bert" or "distilbert", it starts
    from random weights. `options` change its configuration. Of a model with an encoder and a decoder, such as T5, it is
    the encoder. `pooling` is the mean over the tokens, or the vector of one (`cls`): the first, or the last where a
    token sees only those before it, as in GPT-2.

    Raises LabwrightError for a name transformers doesn't have, for a folder that can't be used or whose weights are
    others, and for texts longer than the encoder's positions or tokens it doesn't know.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes,
        *,
        architecture: str | None = None,
        pretrained: Path | None = None,
        options: dict[str, Any] | None = None,
        partial: bool = False,
        pooling: Annotated[Literal["mean", "cls"], Choice("mean", "cls")] = "mean",
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.1,
    ) -> None:
        super().__init__()
        made = backbone(inputs, architecture, pretrained, options or {}, partial=partial)
        self.network, self._remarks, self.causal = made.network, made.remarks, made.causal
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(made.width, len(outputs.names))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        x_BTD = self.network(input_ids=ids_BT, attention_mask=there_BT.long()).last_hidden_state
        if self.pooling == "mean":
            pooled_BD = mean(x_BTD, there_BT)
        elif self.causal:
            pooled_BD = x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), lengths_B - 1]
        else:
            pooled_BD = x_BTD[:, 0]
        logits: Tensor = self.head(self.dropout(pooled_BD))
        return logits

    def remarks(self) -> Sequence[str]:
        return self._remarks
