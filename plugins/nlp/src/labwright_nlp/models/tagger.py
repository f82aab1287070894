"""Letters, words and a chain of labels. B batch, T words, L letters of a word, D features, C classes."""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Integers, PerTrial, Uniform
from labwright_tasks.dense_labels import PositionClasses, SpelledWords
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.models.masks import filled
from labwright_nlp.models.recurrent import Layer, float32_on_the_cpu, from_the_end


class Tagger(nn.Module):
    """Convolutions over letters, a bidirectional LSTM over words, a conditional random field (Ma & Hovy 2016).

    A word is its own vector, and the largest answer of each filter over its letters. Padding changes nothing.

    Args:
        embedding: numbers in a word's own vector.
        letter_embedding: numbers in a letter's vector.
        letter_width: filters over three letters.
        width: units that read the sentence, each way.
        chain: whether labels are scored by the one before as well, and forward returns (B, T, C, C), see
            `labwright_tasks.chains`; else logits (B, T, C).
        dropout: share of the features that are zeroed, while training: of letters' and words' vectors, and before the
            last layer.
        word_dropout: share of the words that count as unknown, while training, so that their letters must tell.
    """

    def __init__(
        self,
        inputs: SpelledWords,
        outputs: PositionClasses,
        *,
        embedding: Annotated[int, Field(ge=1), Integers(32, 256, log=True)] = 100,
        letter_embedding: Annotated[int, Field(ge=1)] = 30,
        letter_width: Annotated[int, Field(ge=1), Integers(16, 128, log=True)] = 50,
        width: Annotated[int, Field(ge=1), Integers(32, 256, log=True)] = 100,
        chain: bool = True,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.7), PerTrial()] = 0.5,
        word_dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        classes = len(outputs.names)
        self.embedding = nn.Embedding(inputs.vocab_size, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.letters = nn.Embedding(inputs.alphabet, letter_embedding, padding_idx=0)
        self.filters = nn.Conv1d(letter_embedding, letter_width, 3, padding=1)
        self.dropout, self.word_dropout = nn.Dropout(dropout), nn.Dropout(word_dropout)
        self.layer = Layer(nn.LSTM, embedding + letter_width, width, bidirectional=True)
        self.head = nn.Linear(2 * width, classes)
        self.after = nn.Parameter(torch.zeros(classes, classes)) if chain else None
        self.first = nn.Parameter(torch.zeros(classes)) if chain else None
        self.last = nn.Parameter(torch.zeros(classes)) if chain else None

    def forward(self, ids_BT: Tensor, lengths_B: Tensor, letters_BTL: Tensor) -> Tensor:
        """Scores of each label behind each, (B, T, C, C), or logits (B, T, C)."""
        there_BT = filled(ids_BT.shape[1], lengths_B)
        words_BTD = self.embedding(self._some_unknown(ids_BT))
        x_BTD = self.dropout(torch.cat([words_BTD, self._spelled(letters_BTL)], 2))
        with float32_on_the_cpu(x_BTD.device):
            x_BTD, _ = self.layer(x_BTD, from_the_end(there_BT, lengths_B), lengths_B)
        logits_BTC: Tensor = self.head(self.dropout(x_BTD))
        return logits_BTC if self.after is None else self._chained(logits_BTC, there_BT, lengths_B)

    def _some_unknown(self, ids_BT: Tensor) -> Tensor:
        """The words, of which a share counts as unknown, id 1, while training."""
        kept_BT = self.word_dropout(torch.ones(ids_BT.shape, device=ids_BT.device))
        return ids_BT.where(kept_BT > 0, 1)

    def _spelled(self, letters_BTL: Tensor) -> Tensor:
        """What the filters find in each word, (B, T, D); behind its last letter they find nothing."""
        letters_NL = letters_BTL.flatten(0, 1)
        found_NDL = self.filters(self.dropout(self.letters(letters_NL)).transpose(1, 2))
        found_NDL = found_NDL.masked_fill((letters_NL == 0)[:, None], -1e4)
        found_BTD: Tensor = found_NDL.amax(2).relu().view(*letters_BTL.shape[:2], -1)
        return found_BTD

    def _chained(self, logits_BTC: Tensor, there_BT: Tensor, lengths_B: Tensor) -> Tensor:
        assert self.after is not None and self.first is not None and self.last is not None
        places_T = torch.arange(logits_BTC.shape[1], device=logits_BTC.device)
        is_last_BT = places_T == lengths_B[:, None] - 1
        own_BTC = logits_BTC + is_last_BT[..., None] * self.last
        before_TCC = self.after.where(places_T[:, None, None] > 0, self.first)
        scores_BTCC: Tensor = (own_BTC[:, :, None] + before_TCC) * there_BT[..., None, None]
        return scores_BTCC
