"""What simple rules write for a sequence, as floors: what is frequent, the sequence itself, what a like one had.

B batch, S source tokens, T target tokens, V vocabulary, N pairs.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from labwright import LEFT_OUT, Split, Tokens
from torch import Tensor, nn

from labwright_tasks.features import ngrams
from labwright_tasks.linear_floor import drawn, learned_from

_TOKENS = 1_000_000  # of sources that are learned from, or a few more
_AT_ONCE = 1024  # pairs


class SameTokens(nn.Module):
    """A model that gives every token the share it has among the targets of `train`, counted once more than it is."""

    def __init__(self, train: Split, vocabulary: int) -> None:
        super().__init__()
        counts_V = torch.ones(vocabulary)
        for rows in torch.arange(len(train)).split(_AT_ONCE):
            targets = train.fetch(rows, 0, 0).targets
            counts_V += targets[targets != LEFT_OUT].bincount(minlength=vocabulary)
        self.logits_V = (counts_V / counts_V.sum()).log()

    def encode(self, ids_BS: Tensor, lengths_B: Tensor) -> Tensor:  # noqa: ARG002 - whatever the source
        return torch.zeros(len(ids_BS), 1)

    def decode(self, memory: Tensor, lengths_B: Tensor, target_BT: Tensor) -> Tensor:  # noqa: ARG002
        return self.logits_V.expand(*target_BT.shape, -1)


def nearest(port: Tokens, train: Split, part: Split) -> tuple[str, Tensor] | None:
    """What the rule is called, and for each pair of a part the training pair whose source is most like its own, (N,).

    By the cosine of their TF-IDF; None without scikit-learn.
    """
    if find_spec("sklearn") is None:
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer

    name, of = ngrams(port)
    rows = drawn(train, max(1, _TOKENS // port.length))
    vectorizer = TfidfVectorizer(analyzer=of, sublinear_tf=True)
    known_NF = vectorizer.fit_transform(_sources(train, rows))
    likest = [
        np.asarray((vectorizer.transform(_sources(part, some)) @ known_NF.T).argmax(1)).ravel()
        for some in torch.arange(len(part)).split(_AT_ONCE)
    ]
    return f"what the source most like it had, by {name}{learned_from(rows, train)}", rows[np.concatenate(likest)]


def _sources(part: Split, rows: Tensor) -> list[list[int]]:
    ids_NS, lengths_N = part.fetch(rows, 0, 0).inputs
    return [ids[:length] for ids, length in zip(ids_NS.tolist(), lengths_N.tolist(), strict=True)]
