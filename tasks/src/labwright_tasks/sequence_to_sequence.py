"""Sequence to sequence: tokens out of other tokens. B batch, S tokens of a source, T of a target, V vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, runtime_checkable

import torch
from labwright import (
    LEFT_OUT,
    Batch,
    Classes,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Metric,
    Of,
    Part,
    Perplexity,
    Port,
    Split,
    Task,
    Tokens,
    When,
    bucketed,
    epoch_order,
    evaluating,
)
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from labwright_tasks.beam_search import beam_search
from labwright_tasks.chosen_metrics import asked, chosen, chosen_goal, counted, new_metrics
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.intervals import MatchInterval, of_nats
from labwright_tasks.metrics import ExactMatch, NatsPerToken, Signed, TokenAccuracy
from labwright_tasks.weights import WeightedBatch, weighed, weighted_loss, weights_in

if TYPE_CHECKING:
    from labwright import Section

# what a metric is called with, the target tokens, and what else it may ask for: see `SequenceToSequence.evaluate`
_TAKES = ("logits", "labels")
_TABLE = (*_TAKES, "nats_sum", "right", "tokens")
_TEXTS = ("texts", "references")

_CELLS_AT_ONCE = 20_000_000  # logits of a simple rule
_EXAMPLES = 24  # of a report


@dataclass(frozen=True)
class TargetTokens(Port):
    """The tokens of a target: `decode` returns logits_BTV; the target is ids_BT, int64, -100 behind a row's end.

    Each row ends with `end_id`, which counts in `length`, the most there are. What `decode` is given begins with
    `begin_id`, and holds `pad_id` behind its end.
    """

    vocab_size: int
    length: int
    pad_id: int = 0
    begin_id: int = 1
    end_id: int = 2

    @property
    def classes(self) -> Classes:
        """The vocabulary as classes, called by their ids."""
        return Classes(tuple(map(str, range(self.vocab_size))))

    def check(self, output: Any, target: Tensor) -> None:
        wanted = (*target.shape, self.vocab_size)
        if not isinstance(output, Tensor) or output.shape != wanted:
            came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise LabwrightError(
                f"the model's decode returned {came}; TargetTokens stands for {wanted}, {self.vocab_size} logits for "
                "each token it was given."
            )

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        ids_BT = torch.randint(0, self.vocab_size, (batch_size, self.length), generator=generator)
        lengths_B = torch.randint(1, self.length + 1, (batch_size,), generator=generator)
        ids_BT[torch.arange(batch_size), lengths_B - 1] = self.end_id
        return (ids_BT.masked_fill(torch.arange(self.length) >= lengths_B[:, None], LEFT_OUT),)


class EncoderDecoder(Protocol):
    """What the task calls on a model: `encode` once for each source, `decode` with what was written so far.

    `ids` are the source (B, S), int64, padded behind `lengths` (B,). `memory` is whatever `encode` made of it: a tensor
    with a row for each source. `target` (B, T) are tokens from the begin on; the answer is logits (B, T, V), each of
    the token that follows, from those up to it alone.
    """

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor: ...

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor: ...


@runtime_checkable
class Incremental(Protocol):
    """What a model may have beside `decode`, so that writing takes one token at a time instead of all again.

    The state is tensors with a row for each target, such as the keys and values of its tokens. `extend` gives logits
    (B, V) of the token after `tokens` (B,), and the state with those in it.
    """

    def begin(self, memory: Tensor, lengths: Tensor) -> tuple[Tensor, ...]: ...

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]: ...


class PairedData(Data, ABC):
    """Data of sources and targets, both tokens, that can write a target down."""

    item = Tokens
    target = TargetTokens

    @abstractmethod
    def written(self, ids: Sequence[int]) -> str:
        """Tokens of a target, without begin and end, as text."""


@runtime_checkable
class RaggedPairs(Protocol):
    """A split that knows how long its sources and its targets are, (N,) int64 each."""

    lengths: Tensor
    target_lengths: Tensor


class PairedTokens:
    """A split in memory: sources and targets of ids, any number of each; a target ends with the port's `end_id`.

    A batch is as long as its longest source, and its longest target. `groups` and `times` (N,) are there where they are
    known. Raises LabwrightError if one is empty.
    """

    weights: Tensor | None = None  # (N,)
    groups: Tensor
    times: Tensor

    def __init__(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], *, pad_id: int) -> None:
        self.sources, self.targets, self.pad_id = sources, targets, pad_id
        self.lengths, self.target_lengths = (
            torch.tensor([len(ids) for ids in side], dtype=torch.int64) for side in (sources, targets)
        )
        for name, lengths in (("source", self.lengths), ("target", self.target_lengths)):
            if not bool(lengths.all()):
                row = int((lengths == 0).nonzero()[0, 0])
                raise LabwrightError(f"pair {row}, counted from 0, has a {name} without any token; leave it out.")

    def __len__(self) -> int:
        return len(self.sources)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        rows = indices.tolist()
        ids_BS = _padded([self.sources[row] for row in rows], self.pad_id)
        batch = Batch((ids_BS, self.lengths[indices]), _padded([self.targets[row] for row in rows], LEFT_OUT))
        return weighed(batch, self.weights, indices)


class SequenceToSequence(Task):
    """Write the sequence that belongs to another, such as a translation. Lower is better: cross_entropy.

    It is in nats per target token. A model learns each token of a target from the source and the tokens before it
    (teacher forcing), and `perplexity` and `token_accuracy` are measured so. `exact_match` is the share of texts that
    are the target's when the model writes by itself, which takes most of the time of an evaluation. The loss is a mean
    over target tokens, each of which weighs what its pair does where data weighs pairs; metrics count each alike.
    Batches of training hold pairs whose sources, and then targets, are of like length.

    Texts are found by a search. Among texts that ended, it is the best by log P / ((5 + tokens) / 6) ** length_penalty
    (Wu et al. 2016).

    Args:
        data: pairs of sequences, a source and its target.
        beams: beginnings that the search goes on with at once; 1 always takes the most probable token.
        length_penalty: power by which the search favours long texts; 0 compares log P alone.
        length: most tokens of a text that is written, its end among them; left out, as many as the longest target,
            which are the most there can be.
        write: whether texts are written when it is evaluated, for `exact_match` and metrics of texts.
        metrics: what is measured in place of the metrics above; those of classes are given every target token, and
            texts are written where one takes them.
        goal: metric by which models are compared and the best weights chosen, or with its direction `NAME:minimize`;
            left out, `cross_entropy`.

    `prepare` raises LabwrightError for a target that has other tokens than its port says, or doesn't end.
    """

    goal = Goal("cross_entropy", "minimize")
    contract = ClassificationLoss
    model_contract = EncoderDecoder

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        beams: Annotated[int, Field(ge=1, le=1000)] = 1,
        length_penalty: Annotated[float, Field(ge=0), When("beams", but=(1,))] = 0.6,
        length: Annotated[int, Field(ge=1, description="most tokens of a text, its end among them")] | None = None,
        write: bool = True,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
    ) -> None:
        # data around such data passes its `written` on
        if not hasattr(data, "written") or not issubclass(data.target, TargetTokens):
            raise LabwrightError(
                f"task.data: this task needs pairs of sequences; {type(data).__name__} has targets "
                f"{data.target.__name__} and is no PairedData. Task 'language-model' takes running text."
            )
        usual: dict[str, Metric] = {
            "cross_entropy": NatsPerToken(),
            "perplexity": Perplexity(),
            "token_accuracy": TokenAccuracy(),
        }
        usual |= {"exact_match": ExactMatch()} if write else {}
        self.table = (*_TABLE, *_TEXTS) if write else _TABLE
        self.chosen = chosen(metrics, usual, Classes, _TAKES, table=self.table)
        self.goal = chosen_goal(goal, self.chosen, SequenceToSequence.goal)
        self.asked = {name for metric in self.chosen.values() for name in asked(metric, _TAKES, self.table)}
        self.data: PairedData = cast("PairedData", data)
        self.beams, self.length_penalty, self.length = beams, length_penalty, length

    @property
    def port(self) -> TargetTokens:
        outputs = self.data.ports()[1]
        assert isinstance(outputs, TargetTokens)
        return outputs

    def prepare(self) -> None:
        super().prepare()
        split = self.data.split("train")
        if not self.data.in_memory or split is None or not len(split):
            return
        data, port = type(self.data).__name__, self.port
        for batch in IndexedBatches.in_order(split, 1024):
            counted_BT = batch.targets != LEFT_OUT
            ids = batch.targets[counted_BT]
            for token in (int(ids.min()), int(ids.max())):
                if not 0 <= token < port.vocab_size:
                    raise LabwrightError(f"{data}: a target has token {token}; there are 0 to {port.vocab_size - 1}.")
            last_B = batch.targets.gather(1, counted_BT.sum(1, keepdim=True) - 1)[:, 0]
            if bool((last_B != port.end_id).any()):
                raise LabwrightError(
                    f"{data}: a target ends with token {int(last_B[last_B != port.end_id][0])}, not with end_id, "
                    f"{port.end_id}: a model couldn't learn when to stop."
                )
            if batch.targets.shape[1] > port.length:
                raise LabwrightError(
                    f"{data}: a target has {batch.targets.shape[1]} tokens, its port says {port.length} at most."
                )

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        """As every task's, but where a split knows both lengths, batches are of like sources, and of like targets."""
        if split != "train" or not isinstance(part, RaggedPairs) or not len(part):
            return super().order(split, part, size=size, seed=seed, epoch=epoch)
        batches = torch.split(epoch_order(len(part), seed=seed, epoch=epoch), size)
        by_both_N = part.lengths * (int(part.target_lengths.max()) + 1) + part.target_lengths
        return bucketed(batches, by_both_N, seed=seed, epoch=epoch)

    def weight(self, batch: Batch) -> float:
        counted_BT = batch.targets != LEFT_OUT
        weights_B = weights_in(batch)
        return int(counted_BT.sum()) if weights_B is None else float((weights_B * counted_BT.sum(1)).sum())

    def loss(self, model: nn.Module, batch: Batch, criterion: ClassificationLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        logits_NV, targets_N = self._forced(model, batch)[0].flatten(0, 1), batch.targets.flatten()
        weights_B = weights_in(batch)
        if weights_B is None:
            return criterion(logits_NV, targets_N)
        counted_N = targets_N != LEFT_OUT
        weights_N = weights_B.repeat_interleave(batch.targets.shape[1]) * counted_N
        # a token that doesn't count would have no loss of its own: any other stands there, and weighs nothing
        tokens = WeightedBatch((), targets_N.where(counted_N, 0), weights_N)
        return weighted_loss(criterion, logits_NV, tokens)

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """The `nats_sum` of the targets, how many are `right`, the most probable token, and how many `tokens` they are.

        Where a metric takes them, the `texts` written and the `references`, those of the targets; and `logits` and
        `labels` of the target tokens.
        """
        logits_BTV, memory = self._forced(model, batch)
        exact = logits_BTV if logits_BTV.dtype == torch.float64 else logits_BTV.float()
        nats_BT = functional.cross_entropy(
            exact.flatten(0, 1), batch.targets.flatten(), ignore_index=LEFT_OUT, reduction="none"
        )
        nats_BT = nats_BT.view_as(batch.targets)
        nats = nats_BT.sum(dtype=torch.float32 if exact.device.type == "mps" else torch.float64)
        right = (logits_BTV.argmax(-1) == batch.targets).sum()
        results: dict[str, Any] = {"nats_sum": nats, "right": right, "tokens": int((batch.targets != LEFT_OUT).sum())}
        results |= {"nats_of_each": nats_BT.sum(1), "tokens_of_each": (batch.targets != LEFT_OUT).sum(1)}
        if "texts" in self.asked or "references" in self.asked:
            texts = self.texts(model, memory, batch.inputs[1])
            results |= {"texts": texts, "references": self.references(batch)}
        return results | (counted(logits_BTV, batch.targets) if "logits" in self.asked else {})

    def metrics(self) -> dict[str, Metric]:
        metrics = new_metrics(self.chosen, self.data.ports()[0], self.port.classes, _TAKES, self.table)
        return metrics | (self._intervals() if self.data.independent else {})

    def _intervals(self) -> dict[str, Metric]:
        """On `test` the intervals of usual metrics, over pairs."""
        intervals = of_nats(self.chosen)
        of_texts = {"texts", "references"} <= self.asked
        for name in ("exact_match", "exact-match"):
            if name in self.chosen and of_texts:
                intervals[f"{name}_95"] = Of(MatchInterval(), "texts", "references", splits=["test"])
        return intervals

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """How frequent each token is, and of texts the source itself and what the most similar source had.

        Of data in memory. The latter two give no probabilities, so that they have metrics of texts alone.
        """
        from labwright_tasks.floors import of_model
        from labwright_tasks.sequence_floors import SameTokens, nearest

        train, part, inputs = self.data.split("train"), self.data.split(split), self.data.ports()[0]
        if not self.data.in_memory or not train or not part or not isinstance(inputs, Tokens):
            return {}
        cells = self.port.vocab_size * self.port.length
        same = SameTokens(train, self.port.vocab_size)
        floors = {"how frequent each token is": of_model(self, split, same, size=max(1, _CELLS_AT_ONCE // cells))}
        of_texts = {name for name in self.chosen if {*asked(self.chosen[name], _TAKES, self.table)} <= {*_TEXTS}}
        if not of_texts:
            return floors
        whole = part.fetch(torch.arange(len(part)), 0, 0)
        sources = self.data.show(whole.inputs)
        written = {"the source itself": [*map(str, sources)]} if sources else {}
        like = nearest(inputs, train, part)
        written |= {like[0]: self.references(train.fetch(like[1], 0, 0))} if like else {}
        for rule, texts in written.items():
            metrics = {name: metric for name, metric in self.metrics().items() if name in of_texts}
            for metric in metrics.values():
                metric.update({"texts": texts, "references": self.references(whole)})
            floors[rule] = _table({name: metric.compute() for name, metric in metrics.items()})
        return floors

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row the text."""
        memory = model.encode(*inputs)  # type: ignore[operator]
        return [{"text": text} for text in self.texts(model, memory, inputs[1])]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Sources, targets and what the model writes."""
        from labwright_tasks.sequence_to_sequence_report import examples

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        batch = part.fetch(torch.unique(torch.arange(_EXAMPLES) * len(part) // _EXAMPLES), 0, 0)
        with evaluating(model):
            moved = batch.to(device)
            texts = self.texts(model, model.encode(*moved.inputs), moved.inputs[1])  # type: ignore[operator]
        inner = [metric.metric for metric in self.metrics().values() if isinstance(metric, Of)]
        signatures = [metric.signature() for metric in inner if isinstance(metric, Signed)]
        return [examples(self.data.show(batch.inputs), self.references(batch), texts, self.beams, signatures)]

    @torch.no_grad()
    def texts(self, model: nn.Module, memory: Tensor, lengths_B: Tensor) -> list[str]:
        """What the model writes for sources whose `encode` gave this memory."""
        port = self.port
        memory_N, lengths_N = (rows.repeat_interleave(self.beams, dim=0) for rows in (memory, lengths_B))
        state = model.begin(memory_N, lengths_N) if isinstance(model, Incremental) else ()

        def next_logits(ids_NT: Tensor, grown_N: Tensor) -> Tensor:
            nonlocal state
            if not isinstance(model, Incremental):
                logits_NTV: Tensor = model.decode(memory_N, lengths_N, ids_NT)  # type: ignore[operator]
                return logits_NTV[:, -1]
            logits_NV, state = model.extend(tuple(tensor[grown_N] for tensor in state), ids_NT[:, -1])
            return logits_NV

        found = beam_search(
            next_logits,
            len(memory),
            beams=self.beams,
            begin_id=port.begin_id,
            end_id=port.end_id,
            longest=min(self.length or port.length, port.length),
            penalty=self.length_penalty,
            device=memory.device,
        )
        return [self.data.written(ids) for ids in found]

    def references(self, batch: Batch) -> list[str]:
        """The targets as text."""
        left_out = (LEFT_OUT, self.port.end_id)
        return [self.data.written([token for token in ids if token not in left_out]) for ids in batch.targets.tolist()]

    def _forced(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits of each target token from those before it, (B, T, V), and the memory of the sources."""
        port, targets_BT = self.port, batch.targets
        begin_B1 = torch.full_like(targets_BT[:, :1], port.begin_id)
        before_BT = torch.cat(
            [begin_B1, targets_BT[:, :-1].masked_fill(targets_BT[:, :-1] == LEFT_OUT, port.pad_id)], 1
        )
        memory = model.encode(*batch.inputs)  # type: ignore[operator]
        logits_BTV: Tensor = model.decode(memory, batch.inputs[1], before_BT)  # type: ignore[operator]
        port.check(logits_BTV, targets_BT)
        return logits_BTV, memory


def _table(values: Mapping[str, Any]) -> dict[str, float]:
    """What metrics gave, those that give a table with a name for each entry."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        of_each = {f"{name}/{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
        flat |= {key: float(one) for key, one in of_each.items()}
    return flat


def _padded(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows], dtype=torch.int64)
