"""Texts some of whose tokens are hidden, to be told from the others. B batch, T tokens, M hidden ones, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from labwright import LEFT_OUT, Batch, Ragged, Sharded, Split, derived_seed
from torch import Tensor

from labwright_nlp.tokenizing import Pieces
from labwright_nlp.words_of_pieces import seams

_STREAM = 31  # of the seeds of what is hidden, among derived seeds
ALWAYS = (0, 0)  # the seed and the epoch of what is hidden where a model is measured


class Hides(Protocol):
    """Data of texts whose tokenizer has a token that stands for what is hidden, or is given one."""

    def hides(self) -> Pieces:
        """Its tokenizer with such a token, after `prepare()` or `load()`. Raises LabwrightError if it can have none."""
        ...


@dataclass(frozen=True)
class MaskedBatch(Batch):
    """Texts with hidden tokens: inputs (ids_BT, lengths_B, places_BM), targets (B, M), and how many these are."""

    tokens: int

    def rows(self, some: slice) -> MaskedBatch:
        inputs, targets = tuple(values[some] for values in self.inputs), self.targets[some]
        return MaskedBatch(inputs, targets, int((targets != LEFT_OUT).sum()))


class Hiding:
    """Which tokens of a text are hidden, and what stands there instead (Devlin et al. 2019, section 3.1).

    Of a text's ordinary tokens it is the share `share`, one at least; `most` in a text of `length`. Each is the mask
    with the probability `masked`, an ordinary token drawn at random with `random`, and else stays as it is. With
    `whole_words` all pieces of a word are hidden or none; words that are too long for what is left of the share aren't.
    """

    def __init__(
        self, tokens: Pieces, *, length: int, share: float, masked: float, random: float, whole_words: bool
    ) -> None:
        assert tokens.mask_id is not None
        self.share, self.masked, self.random, self.mask_id = share, masked, random, tokens.mask_id
        self.most = max(1, round(share * length))
        self.ordinary_V = tokens.ordinary()
        self.ordinary = np.flatnonzero(self.ordinary_V)
        self.seams = seams(tokens.inner, tokens.size) if whole_words else None

    def places(self, ordinary_T: np.ndarray, go_on_T: np.ndarray | None, chance: np.random.Generator) -> np.ndarray:
        """The places of what is hidden of a text, rising."""
        candidates = np.flatnonzero(ordinary_T)
        count = min(max(1, round(self.share * len(candidates))), len(candidates))
        if go_on_T is None:
            return np.sort(chance.permutation(candidates)[:count])
        begins = np.flatnonzero(~go_on_T[candidates])
        words = np.split(candidates, begins[begins > 0]) if len(candidates) else []
        taken: list[np.ndarray] = []
        for number in chance.permutation(len(words)):
            # the first word is taken if there is room for it at all, so that something is hidden
            if len(words[number]) <= (count if taken else max(count, self.most)):
                taken.append(words[number])
                count -= len(words[number])
            if count <= 0:
                break
        return np.sort(np.concatenate(taken)) if taken else candidates[:0]

    def instead(self, ids_M: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """What stands where these tokens are hidden."""
        which_M, others_M = (
            chance.random(len(ids_M)),
            self.ordinary[chance.integers(len(self.ordinary), size=len(ids_M))],
        )
        seen_M = np.where(which_M < self.masked + self.random, others_M, ids_M)
        return np.where(which_M < self.masked, self.mask_id, seen_M)


class Hidden:
    """A part of data with tokens hidden: a function of (seed, epoch, index), or of the index alone if it is `fixed`."""

    def __init__(self, part: Split, hiding: Hiding, *, fixed: bool) -> None:
        self.part, self.hiding, self.fixed = part, hiding, fixed
        if isinstance(part, Sharded):
            self.shards, self.window = part.shards, part.window
        if isinstance(part, Ragged):
            self.lengths = part.lengths

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> MaskedBatch:
        ids_BT, lengths_B = self.part.fetch(indices, epoch, seed).inputs
        ids = ids_BT.numpy().copy()
        draw = ALWAYS if self.fixed else (seed, epoch)
        chances = [np.random.default_rng(derived_seed(*draw, index, _STREAM)) for index in indices.tolist()]
        return hidden(ids, lengths_B, self.hiding, chances)


def hidden(ids_BT: np.ndarray, lengths_B: Tensor, hiding: Hiding, chances: list[np.random.Generator]) -> MaskedBatch:
    """Texts with tokens hidden, which are changed in `ids_BT`; each text has its own chance."""
    ordinary_BT = hiding.ordinary_V[ids_BT] & (np.arange(ids_BT.shape[1]) < lengths_B.numpy()[:, None])
    go_on_BT = None if hiding.seams is None else hiding.seams.go_on(ids_BT)
    found = [
        hiding.places(ordinary_BT[row], None if go_on_BT is None else go_on_BT[row], chance)
        for row, chance in enumerate(chances)
    ]
    most = max(1, max(map(len, found), default=1))
    places_BM = np.zeros((len(found), most), dtype=np.int64)
    targets_BM = np.full((len(found), most), LEFT_OUT, dtype=np.int64)
    for row, (places, chance) in enumerate(zip(found, chances, strict=True)):
        places_BM[row, : len(places)] = places
        targets_BM[row, : len(places)] = ids_BT[row, places]
        ids_BT[row, places] = hiding.instead(ids_BT[row, places], chance)
    inputs = torch.from_numpy(ids_BT), lengths_B, torch.from_numpy(places_BM)
    return MaskedBatch(inputs, torch.from_numpy(targets_BM), sum(map(len, found)))
