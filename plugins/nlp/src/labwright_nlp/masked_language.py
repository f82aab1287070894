"""Masked language modelling: hidden tokens, told from those around. B batch, T tokens, M hidden, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from labwright import (
    LEFT_OUT,
    Classes,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Metric,
    Part,
    Perplexity,
    Port,
    Section,
    Split,
    Task,
    Tokens,
    evaluating,
)
from labwright_tasks.chosen_metrics import asked, chosen, chosen_goal, counted, new_metrics
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.intervals import of_nats
from labwright_tasks.metrics import NatsPerToken, TokenAccuracy
from labwright_tasks.model_output import output
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_nlp.hiding import Hidden, Hiding, MaskedBatch
from labwright_nlp.ports import EncoderTokens, HiddenTokens, MaskedTokens
from labwright_nlp.tokenizing import Pieces

# what a metric is called with, the hidden tokens, and what else it may ask for: see `MaskedLanguageModel.evaluate`
_TAKES = ("logits", "labels")
_TABLE = (*_TAKES, "nats_sum", "right", "tokens")
_COUNTED = 2_000_000  # tokens that a floor is counted in
_CELLS, _CELLS_AT_ONCE = 1_000_000_000, 4_000_000  # of a floor: hidden tokens times the vocabulary, in all and at once
_READ = 256  # texts of a floor that are read together
_SHOWN = 12  # texts of a report

Probability = Annotated[float, Field(ge=0, le=1)]


class MaskedLanguageModel(Task):
    """Tell tokens of a text that are hidden from those around them. Lower is better: cross_entropy, in nats per token.

    Where a token is hidden the mask stands, or another token, or else the token itself, which is to be told as well. It
    is drawn anew for each epoch of training, and the same each time a model is measured. Padding and tokens of special
    meaning are never hidden, nor what the tokenizer doesn't know.

    A learned tokenizer is given a token for the mask, a pretrained one has to have it. `masked_accuracy` is the share
    of hidden tokens whose most probable one is right, `perplexity` the exponential of the cross-entropy. A prediction
    fills in each mask of a text.

    Args:
        data: running text, or texts with labels, which aren't looked at.
        share: share of a text's tokens that is hidden.
        masked: probability that the mask stands where a token is hidden.
        random: probability that a token drawn at random stands there; with `masked` it is 1 or less.
        whole_words: whether all pieces of a word are hidden, or none.
        answers: tokens that a prediction gives for each mask, with their probabilities.
        metrics: measured of hidden tokens; left out, cross_entropy, masked_accuracy and perplexity.
        goal: the metric that tells which weights are best, or with a direction, `NAME:minimize`; left out,
            cross_entropy.

    Source: Devlin et al. 2019, "BERT", section 3.1 and appendix C.2; whole words: its code, of May 2019.
    """

    goal = Goal("cross_entropy", "minimize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        share: Annotated[float, Field(gt=0, lt=1)] = 0.15,
        masked: Probability = 0.8,
        random: Probability = 0.1,
        whole_words: bool = False,
        answers: Annotated[int, Field(ge=1)] = 5,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
    ) -> None:
        if not issubclass(data.item, Tokens) or not callable(getattr(data, "hides", None)):
            raise LabwrightError(
                f"task.data: tokens are hidden of running text or of texts with labels; {type(data).__name__} has "
                "none that could be. nlp/plain-text, nlp/pydoc, nlp/tokens and nlp/text-files have."
            )
        if masked + random > 1:
            raise LabwrightError(
                f"task.masked: {masked:g} of the hidden tokens are masked and {random:g} are others (task.random), "
                f"{masked + random:g} together; it is 1 or less."
            )
        usual: dict[str, Metric] = {
            "cross_entropy": NatsPerToken(),
            "masked_accuracy": TokenAccuracy(),
            "perplexity": Perplexity(),
        }
        self.chosen = chosen(metrics, usual, Classes, _TAKES, table=_TABLE)
        self.goal = chosen_goal(goal, self.chosen, MaskedLanguageModel.goal)
        self.by_token = any("logits" in asked(metric, _TAKES, _TABLE) for metric in self.chosen.values())
        self.data, self.answers = data, answers
        self.share, self.masked, self.random, self.whole_words = share, masked, random, whole_words
        self.hiding: Hiding  # once the tokenizer is there

    def prepare(self) -> None:
        super().prepare()
        self._learn()

    def load(self, folder: Path) -> None:
        super().load(folder)
        self._learn()

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return MaskedTokens, HiddenTokens

    def ports(self) -> tuple[MaskedTokens, HiddenTokens]:
        inputs, hidden = self._inputs(), self.hiding.most
        folder = inputs.folder if isinstance(inputs, EncoderTokens) else None
        size = inputs.vocab_size
        return MaskedTokens(size, inputs.length, inputs.pad_id, hidden, folder), HiddenTokens(size, hidden)

    def view(self, split: str, part: Split) -> Split:
        if getattr(part, "weights", None) is not None:
            raise LabwrightError(
                "task.data.weight: hidden tokens count alike, whatever their text weighs; leave it out."
            )
        return Hidden(part, self.hiding, fixed=split != "train")

    def weight(self, batch: MaskedBatch) -> float:
        return batch.tokens

    def loss(self, model: nn.Module, batch: MaskedBatch, criterion: ClassificationLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        logits_BMV = output(model, batch)
        if not batch.tokens:  # a mean of none would be no number
            return logits_BMV.sum() * 0.0
        return criterion(logits_BMV.flatten(0, 1), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: MaskedBatch) -> dict[str, Tensor | int]:
        """The `nats_sum` of the hidden tokens, how many are `right`, and how many `tokens` they are.

        Where a metric takes them, `logits` and `labels` of these.
        """
        logits_BMV = output(model, batch)
        self.ports()[1].check(logits_BMV, batch.targets)
        nats_BM = _nats(logits_BMV, batch.targets)
        results: dict[str, Tensor | int] = {
            "nats_sum": nats_BM.sum(),
            "right": (logits_BMV.argmax(2) == batch.targets).sum(),
            "tokens": batch.tokens,
            "nats_of_each": nats_BM.sum(1),
            "tokens_of_each": (batch.targets != LEFT_OUT).sum(1),
        }
        return results | (counted(logits_BMV, batch.targets) if self.by_token else {})

    def metrics(self) -> dict[str, Metric]:
        inputs, outputs = self.ports()
        metrics = new_metrics(self.chosen, inputs, outputs.classes, _TAKES, _TABLE)
        return metrics | (of_nats(self.chosen) if self.data.independent else {})

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """How often a token stands between these two, and how often it stands at all, counted in the training part.

        Of a long one in the first tokens, and measured on the first texts of a long split.
        """
        from labwright_tasks.floors import of_model

        from labwright_nlp.neighbours import Neighbours

        train, part = self.data.split("train"), self.part(split)
        if train is None or not len(train) or not part:
            return {}
        inputs, outputs = self.ports()
        between = Neighbours(inputs.vocab_size)
        count = between.fit(_texts(train, _COUNTED))
        cells = outputs.hidden * inputs.vocab_size
        size, most = max(1, _CELLS_AT_ONCE // cells), max(1, _CELLS // cells)
        learned = f", learned from {count:,} tokens" if count >= _COUNTED else ""
        learned += f", on {most:,} of {len(part):,} texts" if len(part) > most else ""
        rules = {"counts of left and right neighbours": between, "most frequent token": between.alone()}
        return {
            f"{name}{learned}": of_model(self, split, rule, size=size, most=-(-most // size))
            for name, rule in rules.items()
        }

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A text with a mask in it, or several."""
        return self._asked(self.data.parse(line))

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        rows = self.data.inputs(path)
        return None if rows is None else self._each(rows)

    def _each(
        self, rows: Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]]
    ) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        for where, read in rows:
            yield where, partial(_after, read, self._asked)

    def _asked(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        ids_BT, lengths_B = inputs[:2]
        places_BM = self._places(ids_BT)
        if self.hiding.mask_id not in ids_BT.tolist()[0]:
            raise LabwrightError(
                f"the text has no {self._tokens().mask} in the {self._inputs().length:,} tokens that the model reads: "
                "write it where a token is to be filled in."
            )
        return ids_BT, lengths_B, places_BM

    def _places(self, ids_BT: Tensor) -> Tensor:
        """Where masks stand, (B, M), 0 behind the last of a row. Raises LabwrightError for texts that are too long."""
        if ids_BT.shape[1] > (most := self._inputs().length):
            raise LabwrightError(f"the text has {ids_BT.shape[1]:,} tokens, and the run learned from {most:,} at most.")
        rows = [(ids_T == self.hiding.mask_id).nonzero()[:, 0] for ids_T in ids_BT]
        most = max(1, *map(len, rows))
        return torch.stack([functional.pad(places, (0, most - len(places))) for places in rows])

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each text: with each mask filled in, and for each mask the most probable tokens."""
        ids_BT, lengths_B = inputs[:2]
        places_BM = self._places(ids_BT)
        shares_BMV = model(ids_BT, lengths_B, places_BM).float().softmax(2).cpu()
        shares_BMK, tokens_BMK = shares_BMV.topk(min(self.answers, shares_BMV.shape[2]))
        filled_BT, masks_B = ids_BT.cpu().clone(), (ids_BT == self.hiding.mask_id).sum(1).tolist()
        answers: list[dict[str, Any]] = []
        for row, places in enumerate(places_BM.tolist()):
            told = []
            for number, place in enumerate(places[: masks_B[row]]):
                best = zip(tokens_BMK[row, number].tolist(), shares_BMK[row, number].tolist(), strict=True)
                told.append([{"token": self.shown(token), "probability": share} for token, share in best])
                filled_BT[row, place] = tokens_BMK[row, number, 0]
            (text,) = self.data.show((filled_BT[row : row + 1], lengths_B[row : row + 1]))
            answers.append({"text": text, "masks": told})
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Texts with hidden tokens, and what the model says stands there."""
        from labwright_nlp.masked_report import told

        part = self.part(split, plain=True)
        if not part:
            return ()
        rows = torch.unique(torch.arange(_SHOWN) * len(part) // _SHOWN)  # evenly over the part
        batch = part.fetch(rows, 0, 0)
        assert isinstance(batch, MaskedBatch)
        with evaluating(model):
            logits_BMV = output(model, batch.to(device)).float().cpu()
        return told(batch, logits_BMV, self.shown, self.texts_of)

    def shown(self, token: int) -> str:
        """A token as text, with its blank if it has one."""
        return str(self._tokens().inner.decode([token], skip_special_tokens=False))

    def texts_of(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """Stretches of a text, to be put together as they are."""
        tokens = self._tokens()
        between = "" if tokens.exact else " "
        return [f"{between}{tokens.decode(ids)}{between}" for ids in pieces]

    def _tokens(self) -> Pieces:
        tokens: Pieces = self.data.hides()  # type: ignore[attr-defined]
        return tokens

    def _inputs(self) -> Tokens:
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Tokens)
        return inputs

    def _learn(self) -> None:
        self.hiding = Hiding(
            self._tokens(),
            length=self._inputs().length,
            share=self.share,
            masked=self.masked,
            random=self.random,
            whole_words=self.whole_words,
        )


def _after(read: Callable[[], tuple[Tensor, ...]], change: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return change(read())


def _nats(logits_BMV: Tensor, targets_BM: Tensor) -> Tensor:
    """Each hidden token's negative log-likelihood, (B, M) in nats; 0 where there is none."""
    logits_NV, targets_N = logits_BMV.float().flatten(0, 1), targets_BM.flatten()
    return functional.cross_entropy(logits_NV, targets_N, ignore_index=LEFT_OUT, reduction="none").view_as(targets_BM)


def _texts(part: Split, most: int) -> Iterator[np.ndarray]:
    """The tokens of a part's texts, of each by itself, until there are `most`."""
    count = 0
    for batch in IndexedBatches.in_order(part, _READ):
        ids_BT, lengths_B = batch.inputs[:2]
        for ids_T, length in zip(ids_BT.numpy(), lengths_B.tolist(), strict=True):
            yield ids_T[:length]
            count += length
        if count >= most:
            return
