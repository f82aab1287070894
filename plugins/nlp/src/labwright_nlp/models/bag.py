"""A bag of n-grams. B batch, T tokens, W width."""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Classes, Integers, PerTrial, Tokens, Uniform, Values
from labwright_tasks.heads import width_of
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.models.masks import filled

MULTIPLIER = 1_000_003  # a prime, so that an n-gram's order of tokens matters


class Bag(nn.Module):
    """The mean of the vectors of a text's n-grams, and a linear layer (Joulin et al. 2017, "fastText").

    A text has a boundary before and behind it, a token like any other. Single tokens have a vector each, longer n-grams
    share some by a hash of their tokens (Weinberger et al. 2009).

    Args:
        width: numbers in the vector of an n-gram.
        ngrams: most tokens of an n-gram; all from single tokens up to these are read.
        buckets: vectors that all n-grams of one length share, from two tokens on.
        dropout: share of the n-grams that is left out whole, while training (Iyyer et al. 2015, section 3).
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: Classes | Values,
        *,
        width: Annotated[int, Field(ge=1), Integers(8, 128, log=True)] = 32,
        ngrams: Annotated[int, Field(ge=1, le=8), Integers(1, 4)] = 2,
        buckets: Annotated[int, Field(ge=1)] = 32_768,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.7), PerTrial()] = 0.0,
    ) -> None:
        super().__init__()
        self.dropout, self.buckets, self.pad_id = dropout, buckets, inputs.pad_id
        sizes = [inputs.vocab_size, *[buckets] * (ngrams - 1)]
        words, *more = tables = [nn.Embedding(size, width) for size in sizes]
        nn.init.uniform_(words.weight, -1 / width, 1 / width)
        for table in more:
            nn.init.zeros_(table.weight)  # what was never seen says nothing
        self.tables = nn.ModuleList(tables)
        self.head = nn.Linear(width, width_of(outputs))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        ids_BT = functional.pad(ids_BT.where(there_BT, self.pad_id), (1, 1), value=self.pad_id)  # it is the boundary
        lengths_B = lengths_B + 2
        length = ids_BT.shape[1]
        steps_T = torch.arange(length, device=ids_BT.device)
        after_BT = functional.pad(ids_BT, (0, len(self.tables)), value=self.pad_id)
        keys_BT = ids_BT
        total_B1W: Tensor | float = 0.0
        count_B1: Tensor | float = 0.0
        for size, table in enumerate(self.tables, 1):
            if size > 1:  # the n-gram that begins here is the shorter one and the token after it
                keys_BT = (keys_BT * MULTIPLIER + after_BT[:, size - 1 : size - 1 + length]) % self.buckets
            whole_BT = (steps_T + size <= lengths_B[:, None]).to(self.head.weight.dtype)
            kept_B1T = functional.dropout(whole_BT, self.dropout, self.training)[:, None]
            total_B1W = total_B1W + kept_B1T @ table(keys_BT)
            count_B1 = count_B1 + kept_B1T.sum(dim=2)
        assert isinstance(total_B1W, Tensor) and isinstance(count_B1, Tensor)
        logits: Tensor = self.head(total_B1W[:, 0] / count_B1.clamp(min=1))
        return logits
