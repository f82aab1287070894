"""Any decoder of the transformers library, as a language model. B batch, T tokens, V vocabulary."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from labwright import Tokens
from labwright_tasks.language_model import NextTokens
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models import lora as adapters
from labwright_nlp.models.backbones import before_text, language_model
from labwright_nlp.models.caches import filled_cache, in_cache
from labwright_nlp.models.lora import Lora
from labwright_nlp.models.masks import filled


class Decoder(nn.Module):
    """A decoder of transformers (Wolf et al. 2020) that goes on with a text, such as GPT-2, Llama or Qwen.

    With `task.data.tokenizer="pretrained"` it is the network of the folder that the run starts from, `start.run`, which
    holds config.json, tokenizer.json and weights as safetensors; `start.take` says under which names it has them here,
    such as `{"*" = "network.*"}`. Nothing is downloaded and no code of a folder is run.

    Tokens of the configuration that the data's tokenizer doesn't have are never written, and have no share of the
    probability.

    Args:
        architecture: a model type of transformers, such as gpt2 or llama, to start from random weights; left out, it is
            the folder's.
        options: values of the configuration, by transformers' names, such as `{ num_hidden_layers = 4 }`.
        lora: adapters of low rank, which alone are trained; left out, all weights are.

    Raises LabwrightError for a name transformers doesn't have, for a configuration that can't be used or isn't a
    decoder's, and for windows longer than the positions or tokens it doesn't know.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: NextTokens,
        *,
        architecture: str | None = None,
        options: dict[str, Any] | None = None,
        lora: Lora | None = None,
    ) -> None:
        super().__init__()
        self.network, self.cached = language_model(inputs, architecture, options or {})
        self.placed = "position_ids" in inspect.signature(self.network.forward).parameters
        self.first = before_text(self.network.config)  # the position of a text's first token
        self.lora, self.size, self.length = lora, outputs.vocab_size, inputs.length
        adapters.adapt(self.network, lora)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002 - no token sees one after it
        """Logits of shape (B, T, V): of the token after each."""
        logits_BTV: Tensor = self.network(input_ids=ids_BT, use_cache=False).logits
        return logits_BTV[..., : self.size]

    def begin(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after each text of ids (B, T), and the state.

        The state is how long texts are, (B,), at which places they have a token, (B, T), and the keys and values of
        each layer, (B, H, T, d), all texts ending at the last: some networks measure distances by these places. Of a
        network that keeps something else the state is the texts themselves: (B,) and (B, T).
        """
        rows_B = torch.arange(len(ids), device=ids.device)
        if not self.cached:
            return self(ids, lengths)[rows_B, lengths - 1], (lengths, ids)
        places_T = torch.arange(ids.shape[1], device=ids.device)
        logits_BTV, kept = self._told(ids, filled(ids.shape[1], lengths), places_T.expand_as(ids), ())
        from_BT = places_T - (ids.shape[1] - lengths)[:, None]
        ended = (one.gather(2, from_BT.clamp(min=0)[:, None, :, None].expand_as(one)) for one in kept)
        return logits_BTV[rows_B, lengths - 1], (lengths, from_BT >= 0, *ended)

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, V) of the token after `tokens` (B,), given the state before it; and the state with it."""
        lengths_B, known_BT, *before = state
        if not self.cached:
            grown_BT = functional.pad(known_BT, (0, 1)).scatter(1, lengths_B[:, None], tokens[:, None])
            return self.begin(grown_BT[:, : self.length], lengths_B + 1)  # no text has a token behind that
        if known_BT.shape[1] >= self.length:  # no text has a token there
            known_BT, before = known_BT[:, 1 - self.length :], [one[:, :, 1 - self.length :] for one in before]
        there_BT = functional.pad(known_BT, (0, 1), value=True)
        logits_B1V, kept = self._told(tokens[:, None], there_BT, lengths_B[:, None], before)
        return logits_B1V[:, 0], (lengths_B + 1, there_BT, *kept)

    def merged(self) -> nn.Module:
        """The same model with its adapters added to its weights."""
        return self if self.lora is None else adapters.merged(self)

    def remarks(self) -> Sequence[str]:
        kind = self.network.config.model_type
        again = f"{kind!r} has no cache of keys and values for whole texts: one is read again for each token written."
        return [*adapters.about(self, self.lora), *([] if self.cached else [again])]

    def _told(
        self, ids_BT: Tensor, there: Tensor, places_BT: Tensor, before: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, T, V) of what follows tokens at their places, and keys and values of those and all before."""
        placed = {"position_ids": places_BT + self.first} if self.placed else {}
        told = self.network(
            input_ids=ids_BT,
            attention_mask=there.long(),
            past_key_values=filled_cache(before),
            use_cache=True,
            **placed,
        )
        return told.logits[..., : self.size], in_cache(told.past_key_values)
