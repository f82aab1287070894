"""Running text with spans taken out, to be written from what is left: T5's objective. B batch, T tokens of a window."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from labwright import Batch, Data, LabwrightError, Part, Port, Sharded, Split, Tokens, derived_seed
from labwright_tasks.around import Around
from labwright_tasks.language_model import NextTokens
from labwright_tasks.sequence_to_sequence import PairedTokens, TargetTokens
from pydantic import Field
from torch import Tensor

from labwright_nlp.ports import EncoderTokens
from labwright_nlp.tokenizing import Pieces

_STREAM = 32  # of the seeds of spans, among derived seeds
_NAME = "<extra_id_{}>"  # as T5's tokenizer calls sentinels
_NAMED = re.compile(r"\s*<extra_id_(\d+)>")
_END = "</s>"  # of T5


class CorruptedSpans(Around):
    """Windows of running text of which spans are taken out, for the task `sequence-to-sequence`.

    Spans are drawn anew for each epoch of training, and the same each time a model is measured. Where a span stood, the
    source has a sentinel of its own. The target has each sentinel and the span behind it, in order, and one sentinel
    more.

    Sentinels are `<extra_id_0>`, `<extra_id_1>` and so on: the tokenizer's own where it has them, as T5's, else tokens
    behind its last. A text that is predicted from has them typed.

    Args:
        data: running text, whose windows lose spans.
        share: share of a window's tokens that is taken out.
        mean_length: tokens of a span, on average.

    Source: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer",
    section 3.1.4, and `random_spans_noise_mask` of its code. There a window always ends with a span; here, as in the
    paper's figure 2, it may end without.
    """

    item = Tokens
    target = TargetTokens
    source = "the data whose spans are taken out"
    licence = "that of the data whose spans are taken out"
    no_folds = "windows of a running text go on in one another, so that folds of them would leak."

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        share: Annotated[float, Field(gt=0, lt=1)] = 0.15,
        mean_length: Annotated[float, Field(ge=1)] = 3.0,
    ) -> None:
        if not issubclass(data.target, NextTokens):
            raise LabwrightError(
                f"task.data.data: spans are taken out of running text; {type(data).__name__} has targets "
                f"{data.target.__name__}, not NextTokens. nlp/plain-text, nlp/pydoc and nlp/tokens have."
            )
        super().__init__(data)
        self.item, self.target = Tokens, TargetTokens  # type: ignore[misc]
        self.share, self.mean_length = share, mean_length

    def ports(self) -> tuple[Port, Port]:
        inputs = self._inputs()
        (taken, spans), size = sizes(inputs.length, self.share, self.mean_length), self._size()
        begin_id, end_id = self._begin_and_end()
        outputs = TargetTokens(max(size, begin_id + 1, end_id + 1), taken + spans + 2, inputs.pad_id, begin_id, end_id)
        if isinstance(inputs, EncoderTokens):
            return replace(inputs, vocab_size=size), outputs
        return Tokens(size, inputs.length, inputs.pad_id), outputs

    def split(self, name: str) -> Split | None:
        part = self.data.split(name)
        return None if part is None else Corrupted(part, self, fixed=name != "train")

    def on(self, path: Path) -> Self:
        other = copy(self)
        other.data = self.data.on(path)
        return other

    def remarks(self) -> Sequence[str]:
        count = sizes(self._inputs().length, self.share, self.mean_length)[1] + 1
        own = self._size() == self._inputs().vocab_size
        where = "are the tokenizer's own" if own else "stand behind its last token"
        return [*self.data.remarks(), f"up to {count:,} sentinels of spans {where}: {self._size():,} tokens in all."]

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A text with sentinels where spans are to be written: "Thank you <extra_id_0> me to your party"."""
        known, parts = len(self.sentinels()), _NAMED.split(line)
        numbers = [int(number) for number in parts[1::2]]
        if not numbers or max(numbers) >= known:
            raise LabwrightError(
                f"the text {line[:60]!r} has {'no sentinel' if not numbers else f'sentinel {max(numbers)}'}: write "
                f"{_NAME.format(0)}, and {_NAME.format(1)} to {_NAME.format(known - 1)} if there are more, where "
                "something is to be filled in."
            )
        ids: list[int] = []
        for number, part in enumerate(parts):
            if number % 2:
                ids.append(self.sentinels()[int(part)])
            elif part.strip():
                ids += self.data.parse(part)[0][0].tolist()
        if len(ids) > (most := self._inputs().length):
            raise LabwrightError(
                f"the text has {len(ids):,} tokens, and the model reads {most:,}, as task.data.data.context was: give "
                "less of what is around the sentinels."
            )
        return torch.tensor([ids]), torch.tensor([len(ids)])

    def read(self, path: Path) -> tuple[Tensor, ...]:
        from labwright_nlp.data.reading import read_text

        return self.parse(read_text(path))

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.written(ids[:length]) for ids, length in rows]

    def written(self, ids: Sequence[int]) -> str:
        """See `PairedData`; sentinels stand among the text."""
        names = {token: _NAME.format(number) for number, token in enumerate(self.sentinels())}
        size, parts, run = self._inputs().vocab_size, [""], list[int]()
        for token in [*ids, -1]:
            if token in names or token == -1:
                if run:
                    parts.append(str(self.data.show((torch.tensor([run]), torch.tensor([len(run)])))[0]))
                parts.append(names.get(token, ""))
                run = []
            elif 0 <= token < size:
                run.append(token)
        return " ".join(part for part in parts if part)

    def sentinels(self) -> list[int]:
        """The ids of the sentinels that windows may need, in their order."""
        inputs = self._inputs()
        count = sizes(inputs.length, self.share, self.mean_length)[1] + 1
        own = [self._known(_NAME.format(number)) for number in range(count)]
        known = [token for token in own if token is not None]
        return known if len(known) == count else list(range(inputs.vocab_size, inputs.vocab_size + count))

    def ends_with(self) -> int:
        """The id behind each target."""
        return self._begin_and_end()[1]

    def _begin_and_end(self) -> tuple[int, int]:
        """T5 begins with its padding; others have both behind all other tokens."""
        end, size = self._known(_END), self._size()
        return (size, size + 1) if end is None or size > self._inputs().vocab_size else (self._inputs().pad_id, end)

    def _size(self) -> int:
        """How many tokens there are, sentinels among them."""
        return max(self._inputs().vocab_size, max(self.sentinels()) + 1)

    def _known(self, name: str) -> int | None:
        tokens = getattr(self.data, "tokens", None)
        return tokens.inner.token_to_id(name) if isinstance(tokens, Pieces) else None

    def _inputs(self) -> Tokens:
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Tokens)
        return inputs


class Corrupted:
    """A part of running text with spans taken out: a function of (seed, epoch, index), or of the index alone."""

    def __init__(self, part: Split, about: CorruptedSpans, *, fixed: bool) -> None:
        self.part, self.fixed = part, fixed
        self.share, self.mean_length = about.share, about.mean_length
        self.sentinels, self.end_id, self.pad_id = about.sentinels(), about.ends_with(), about.ports()[0].pad_id  # type: ignore[attr-defined]
        if isinstance(part, Sharded):
            self.shards, self.window = part.shards, part.window

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        ids_BT, lengths_B = self.part.fetch(indices, epoch, seed).inputs[:2]
        draw = (0, 0) if self.fixed else (seed, epoch)
        sources, targets = [], []
        for ids, length, index in zip(ids_BT.tolist(), lengths_B.tolist(), indices.tolist(), strict=True):
            chance = np.random.default_rng(derived_seed(*draw, index, _STREAM))
            source, target = parted(ids[:length], spans(length, self.share, self.mean_length, chance), self.sentinels)
            sources.append(source)
            targets.append([*target, self.end_id])
        return PairedTokens(sources, targets, pad_id=self.pad_id).fetch(torch.arange(len(sources)), 0, 0)


def sizes(length: int, share: float, mean_length: float) -> tuple[int, int]:
    """How many of so many tokens are taken out, and in how many spans."""
    taken = min(max(round(length * share), 1), max(length - 1, 1))
    return taken, min(max(round(taken / mean_length), 1), max(length - taken, 1))


def spans(length: int, share: float, mean_length: float, chance: np.random.Generator) -> list[tuple[int, int]]:
    """Where spans begin and end, in order: every way of taking so many tokens in so many spans is as probable."""
    taken, count = sizes(length, share, mean_length)
    inside = _cut(taken, count, chance)
    # what stays is before, between and behind them: something between any two, before and behind perhaps nothing
    stays = _cut(length - taken + 2, count + 1, chance)
    stays[0], stays[-1] = stays[0] - 1, stays[-1] - 1
    found, place = [], 0
    for before, size in zip(stays, inside, strict=False):
        found.append((place + before, place + before + size))
        place += before + size
    return found


def parted(
    ids: Sequence[int], taken: Sequence[tuple[int, int]], sentinels: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The source and the target, without its end: see `CorruptedSpans`."""
    source: list[int] = []
    target: list[int] = []
    place = 0
    for (start, end), sentinel in zip(taken, sentinels, strict=False):
        source += [*ids[place:start], sentinel]
        target += [sentinel, *ids[start:end]]
        place = end
    return [*source, *ids[place:]], [*target, sentinels[len(taken)]]


def _cut(length: int, count: int, chance: np.random.Generator) -> list[int]:
    """Whole numbers from 1 on that sum up to `length`, `count` of them, each way as probable."""
    cuts = np.sort(chance.choice(length - 1, count - 1, replace=False) + 1)
    sizes_: Any = np.diff([0, *cuts, length])
    return [int(size) for size in sizes_]
