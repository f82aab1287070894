"""Any encoder of the transformers library with a classifier on top. B batch, T tokens, C classes, D width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from labwright import Choice, Classes, LabwrightError, Tokens, Uniform, Values
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.heads import width_of
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models import lora as adapters
from labwright_nlp.models.backbones import Backbone, backbone
from labwright_nlp.models.hidden_head import HiddenHead
from labwright_nlp.models.lora import Lora
from labwright_nlp.models.masks import filled, mean, pooling_unread
from labwright_nlp.ports import HiddenTokens, Spans


class Encoder(nn.Module):
    """A transformer encoder (Wolf et al. 2020), pooled over the text, with dropout and a linear layer on top.

    With `task.data.tokenizer="pretrained"` it is the encoder of the folder that the run starts from, `start.run`, which
    holds config.json, tokenizer.json and weights as safetensors; `start.take` says under which names it has them here,
    such as `{"*" = "network.*"}`. Nothing is downloaded and no code of a folder is run. Of a model with an encoder and
    a decoder, such as T5, it is the encoder. Hidden tokens are told as BERT's are: see `HiddenHead`.

    Args:
        architecture: a model type of transformers, such as bert or distilbert, to start from random weights; left out,
            it is the folder's.
        options: values of the configuration, by transformers' names, such as `{ num_hidden_layers = 4 }`.
        pooling: what a class or a number is said of: the mean over the tokens, or the vector of one (cls): the first,
            or the last where a token sees only those before it, as in GPT-2. Where each token, or hidden ones, are
            told, it has no effect, and a run says so.
        dropout: share of the features that are zeroed before the layer on top, while training; within the network its
            configuration says it. Of hidden tokens it isn't read.
        lora: adapters of low rank, which are trained with the layer on top, all else left as it is; left out, all
            weights are trained.

    Raises LabwrightError for a name transformers doesn't have, for a configuration that can't be used, for texts longer
    than the encoder's positions or tokens it doesn't know, and for hidden tokens where one sees only those before it.
    """

    moved: ClassVar = {
        "pretrained": "start.run=FOLDER names it once, for the tokenizer, the configuration and the weights.",
        "partial": "start.strict=false takes what there is of a folder's weights; else leave it out.",
    }

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes | Values | PositionClasses | Spans | HiddenTokens,
        *,
        architecture: str | None = None,
        options: dict[str, Any] | None = None,
        pooling: Annotated[Literal["mean", "cls"], Choice("mean", "cls")] = "mean",
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.1,
        lora: Lora | None = None,
    ) -> None:
        super().__init__()
        made = backbone(inputs, architecture, options or {})
        self.network, self._remarks, self.causal = made.network, made.remarks, made.causal
        self.pooling, self.lora = pooling, lora
        adapters.adapt(self.network, lora)
        self.dropout = nn.Dropout(dropout)
        self.each = isinstance(outputs, PositionClasses | Spans)
        self.head = self._hidden(made, outputs) if isinstance(outputs, HiddenTokens) else _linear(made, outputs)

    def _hidden(self, made: Backbone, outputs: HiddenTokens) -> HiddenHead:
        if made.causal:
            raise LabwrightError(
                "model: in this network a token sees only those before it, and hidden ones are told from both sides: "
                "take an encoder such as bert."
            )
        embedded = self.network.get_input_embeddings().weight.shape[1]
        eps = getattr(self.network.config, "layer_norm_eps", 1e-12)
        return HiddenHead(made.width, embedded, outputs.vocab_size, eps=eps)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor, places_BM: Tensor | None = None) -> Tensor:
        """Logits of shape (B, C), or (B, T, C) where something is said of each token, or (B, M, V) of hidden ones."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        x_BTD = self.network(input_ids=ids_BT, attention_mask=there_BT.long()).last_hidden_state
        if isinstance(self.head, HiddenHead):
            hidden_BMV: Tensor = self.head(x_BTD, places_BM, self.network.get_input_embeddings().weight)
            return hidden_BMV
        if self.each:
            pooled_BD = x_BTD
        elif self.pooling == "mean":
            pooled_BD = mean(x_BTD, there_BT)
        elif self.causal:
            pooled_BD = x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), lengths_B - 1]
        else:
            pooled_BD = x_BTD[:, 0]
        logits: Tensor = self.head(self.dropout(pooled_BD))
        return logits

    def merged(self) -> nn.Module:
        """The same model with its adapters added to its weights."""
        return self if self.lora is None else adapters.merged(self)

    def remarks(self) -> Sequence[str]:
        unread = pooling_unread(self.pooling, each=self.each or isinstance(self.head, HiddenHead))
        return [*self._remarks, *adapters.about(self, self.lora), *unread]


def _linear(made: Backbone, outputs: Classes | Values | PositionClasses | Spans) -> nn.Linear:
    """A layer with as many numbers as are to be given."""
    if isinstance(outputs, PositionClasses):
        return nn.Linear(made.width, len(outputs.names))
    return nn.Linear(made.width, 2 if isinstance(outputs, Spans) else width_of(outputs))
