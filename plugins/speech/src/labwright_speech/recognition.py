"""Speech recognition: the text of what was said. B batch, T samples or frames, C blank and symbols, L symbols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, runtime_checkable

import torch
from labwright import (
    Audio,
    Batch,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Metric,
    Part,
    Task,
    evaluating,
)
from labwright_tasks.intervals import bootstrapped, named, with_intervals
from pydantic import Field
from torch import Tensor, nn

from labwright_speech.decoding import beam_search, greedy
from labwright_speech.language_model import NGrams
from labwright_speech.ports import Transcript

if TYPE_CHECKING:
    from labwright import Section

_KEPT = "language_model.json"
_AT_ONCE = 32  # recordings the model hears together for a report


class RecognitionLoss(Protocol):
    """What a loss is called with: log-probabilities (B, T, C), the ids of symbols (B, L), how many they are (B,)."""

    def __call__(self, log_probs: Tensor, targets: Tensor, lengths: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Utterances(Batch):
    """Recordings and transcripts: `inputs` are x_BT and its lengths, `targets` ids_BL, 0 after `target_lengths`."""

    target_lengths: Tensor


@runtime_checkable
class Timed(Protocol):
    """A split that knows how long its recordings are, in samples (N,), and the transcripts of all."""

    lengths: Tensor
    texts: Sequence[str]


class Recognition(Task):
    """Write down what was said. Lower is better: word error rate.

    `wer` and `cer` are wrong words and characters, substituted, left out or put in, per word and character said. The
    loss is a mean over utterances, and training batches hold recordings of like length.

    A search, with `beam`, scores a text by its log-probability and what a character n-gram model adds. That model is
    made of the training transcripts by `prepare` and kept in the run folder, so that
    `labwright predict RUN --set task.beam=16 --set task.lm_weight=0.5` needs no training.

    Args:
        data: recordings and their transcripts.
        beam: texts that a prefix search keeps after each frame; 0 takes the most probable symbol of each frame instead.
        lm_order: order of the character n-gram model: characters of its longest n-grams. At most that of training
            where a run is evaluated.
        lm_weight: factor of the n-gram model's log-probability in a text's score; 0: no such model. Needs `beam`.
        lm_bonus: what the search adds to a text's score for each of its characters, in nats.

    `prepare` raises LabwrightError if there is nothing to learn from.
    """

    goal = Goal("wer", "minimize")
    contract = RecognitionLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        beam: Annotated[int, Field(ge=0, le=1000)] = 0,
        lm_order: Annotated[int, Field(ge=1, le=12)] = 6,
        lm_weight: Annotated[float, Field(ge=0)] = 0.0,
        lm_bonus: float = 0.0,
    ) -> None:
        if not issubclass(data.target, Transcript):
            raise LabwrightError(
                f"task.data: recognition needs transcripts; {type(data).__name__} has targets {data.target.__name__}. "
                "Task 'classification' takes Classes."
            )
        if lm_weight and not beam:
            raise LabwrightError("task.lm_weight: a language model goes with a search; set task.beam too, such as 16.")
        if lm_bonus and not beam:
            raise LabwrightError("task.lm_bonus: it is a search that adds it; set task.beam too, such as 16.")
        self.data = data
        self.beam, self.lm_order, self.lm_weight, self.lm_bonus = beam, lm_order, lm_weight, lm_bonus
        self.language_model: NGrams | None = None

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols in the order of their classes."""
        outputs = self.data.ports()[1]
        assert isinstance(outputs, Transcript)
        return outputs.alphabet

    def prepare(self) -> None:
        super().prepare()
        split = self.data.split("train")
        if isinstance(split, Timed):
            self.language_model = NGrams.learned(split.texts, self.lm_order)

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self.language_model is not None:
            self.language_model.save(folder / _KEPT)

    def load(self, folder: Path) -> None:
        super().load(folder)
        if self.lm_weight:
            kept = NGrams.load(folder / _KEPT)
            if self.lm_order > kept.order:
                raise LabwrightError(
                    f"task.lm_order: given {self.lm_order}; the run has kept n-grams up to {kept.order}."
                )
            self.language_model = NGrams(self.lm_order, kept.letters, kept.counts)

    def loss(self, model: nn.Module, batch: Utterances, criterion: RecognitionLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return criterion(model(*batch.inputs), batch.targets, batch.target_lengths)

    def evaluate(self, model: nn.Module, batch: Utterances) -> tuple[list[str], list[str]]:
        """The texts found and the true ones."""
        return self.texts(model(*batch.inputs)), transcripts(batch, self.alphabet)

    def metrics(self) -> dict[str, Metric]:
        return with_intervals(_rates(), self.data)

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """An empty transcript, and for each the training part's most frequent transcript, or its most frequent word."""
        train, part = self.data.split("train"), self.data.split(split)
        if not isinstance(train, Timed) or not isinstance(part, Timed) or not any(train.texts):
            return {}
        words = Counter(word for text in train.texts for word in text.split())
        rules = {
            "an empty transcript": "",
            "the most frequent transcript": Counter(train.texts).most_common(1)[0][0],
            "the most frequent word": words.most_common(1)[0][0],
        }
        floors = {}
        for rule, text in rules.items():
            rates = _rates()
            for rate in rates.values():
                rate.update([text] * len(part.texts), [*part.texts])
            floors[rule] = {name: float(rate.compute()) for name, rate in rates.items()}
        return floors

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row the text."""
        return [{"text": text} for text in self.texts(model(*inputs))]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """The hardest recordings to see and to hear, transcripts with their errors, what was mistaken for what."""
        from labwright_speech.recognition_report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        found: list[str] = []
        true: list[str] = []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                texts = self.evaluate(model, cast(Utterances, batch.to(device)))
                found += texts[0]
                true += texts[1]
        return sections(found, true, part, self.data.show, cast(Audio, self.data.ports()[0]).sample_rate)

    def texts(self, log_probs_BTC: Tensor) -> list[str]:
        """What log-probabilities stand for, by the task's settings."""
        log_probs_BTC = log_probs_BTC.detach().float().cpu()
        if not self.beam:
            return greedy(log_probs_BTC, self.alphabet)
        scorer = self._score if self.lm_weight or self.lm_bonus else None
        return [beam_search(rows, self.alphabet, self.beam, scorer)[0][0] for rows in log_probs_BTC.tolist()]

    def _score(self, text: str, letter: str) -> float:
        bonus = self.lm_bonus if letter else 0.0
        if not self.lm_weight or self.language_model is None:
            return bonus
        return self.lm_weight * self.language_model.log_prob(text, letter) + bonus


class ErrorRate:
    """Wrong words, or characters, per word or character of the true texts (jiwer's alignment); nan before the first."""

    def __init__(self, *, characters: bool = False) -> None:
        self.characters = characters
        self.reset()

    def update(self, found: list[str], true: list[str]) -> None:
        """Take in the texts found and the true ones."""
        import jiwer

        process = jiwer.process_characters if self.characters else jiwer.process_words
        for one, meant in zip(found, true, strict=True):
            counts = process([meant], [one])
            self.wrong.append(counts.substitutions + counts.deletions + counts.insertions)
            self.all.append(counts.substitutions + counts.deletions + counts.hits)

    def compute(self) -> float:
        return sum(self.wrong) / sum(self.all) if any(self.all) else float("nan")

    def interval_95(self) -> dict[str, float]:
        """Over recordings drawn anew (Bisani & Ney 2004)."""
        low, high = bootstrapped(torch.tensor(self.wrong), torch.tensor(self.all))
        return named((low, high)) if low < high else {}

    def reset(self) -> None:
        self.wrong: list[int] = []
        self.all: list[int] = []


def _rates() -> dict[str, ErrorRate]:
    return {"wer": ErrorRate(), "cer": ErrorRate(characters=True)}


def transcripts(batch: Utterances, alphabet: Sequence[str]) -> list[str]:
    """The true texts of a batch."""
    return ["".join(alphabet[symbol - 1] for symbol in ids if symbol) for ids in batch.targets.tolist()]
