"""Language modelling: the next token of a text, and texts made that way. B batch, T tokens, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import torch
from labwright import (
    LEFT_OUT,
    Batch,
    Classes,
    Data,
    Goal,
    IndexedBatches,
    Input,
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
    evaluating,
    generator,
    listed,
)
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from labwright_tasks.chosen_metrics import asked, chosen, chosen_goal, counted, new_metrics
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.continuing import Beginnings, Continuations, best_continuations, shown
from labwright_tasks.intervals import MeanInterval
from labwright_tasks.metrics import BitsPerCharacter, NatsPerToken
from labwright_tasks.model_output import output
from labwright_tasks.next_token import (
    Length,
    MinP,
    RepetitionPenalty,
    Sampling,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
)
from labwright_tasks.prompts import Prompting, parted, prompts_at
from labwright_tasks.tables import JSON_LINES, suffix_of

if TYPE_CHECKING:
    from labwright import Section

# what a metric is called with, the targets that are there, and what else it may ask for: see `LanguageModel.evaluate`
_TAKES = ("logits", "labels")
_TABLE = (*_TAKES, "nats_sum", "tokens", "characters")

_LENGTH_PENALTY = 0.6  # of Wu et al.
_TEXTS, _PROMPT, _WRITTEN = 4, 16, 200  # of a report: texts, tokens of a prompt, most pieces written after it
_COUNTED = 2_000_000  # tokens that a floor is counted in
_CELLS, _CELLS_AT_ONCE = 2_000_000_000, 4_000_000  # of a floor: tokens times the vocabulary, altogether and at once
_WINDOWS, _BATCHES = 64, 20  # of a report: windows together, and batches of them; enough for a smooth curve


@dataclass(frozen=True)
class NextTokens(Port):
    """What follows each token: forward returns logits_BTV; the target is next_BT, int64, -100 where nothing follows.

    `characters` says that the data counts the characters its tokens stand for. Behind `end_id` nothing follows: a text
    that is written ends with it.
    """

    vocab_size: int
    length: int
    characters: bool = False
    end_id: int | None = None

    @property
    def classes(self) -> Classes:
        """The vocabulary as classes, called by their ids."""
        return Classes(tuple(map(str, range(self.vocab_size))))

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, self.vocab_size, (batch_size, self.length), generator=generator),)


@dataclass(frozen=True)
class TokenBatch(Batch):
    """Windows of text: inputs (ids_BT, lengths_B), targets next_BT, how many targets and characters these are."""

    tokens: int
    characters: int = 0

    def rows(self, some: slice) -> TokenBatch:
        """Some of the windows. Their characters aren't counted: training, which cuts batches, has no use for them."""
        inputs, targets = tuple(values[some] for values in self.inputs), self.targets[some]
        return TokenBatch(inputs, targets, int((targets != LEFT_OUT).sum()))


class LanguageModel(Task):
    """Predict what comes next in a text, token by token. Lower is better: cross_entropy, in nats per token.

    `perplexity` is its exponential; `bits_per_char` is there if the data counts characters. All are means over every
    token of a split, each predicted from what stands before it in its own window.

    A prediction goes on with a prompt for `length` tokens, or up to one of the texts of `stop`. What is set of drawing
    applies in this order: penalty, temperature, top-k, top-p, min-p. With `beams` above 1 nothing is drawn: it is the
    continuation found by a search, the best by log P / ((5 + tokens) / 6) ** length_penalty (Wu et al. 2016), whatever
    the temperature, cut at a text of `stop`.

    Prompts that are asked about together go through the model together; what is written for one doesn't depend on the
    others but for rounding. A model that keeps what it made of a text (`Continuing`) takes one token at a time as long
    as its window isn't full; then the window slides and is computed anew for each token. The data shows tokens as text
    by `Data.show`.

    Args:
        data: running text, in windows of tokens.
        stop: texts that end what is written, and aren't shown.
        beams: beginnings that a search for the most probable text goes on with; left out or 1, tokens are drawn.
        length_penalty: power by which a search with `beams` favours long texts, 0 compares log P alone; left out, 0.6.
        metrics: what is measured in place of the metrics above; those of classes are given every token that follows
            another.
        goal: metric by which models are compared and the best weights chosen, or with its direction `NAME:minimize`;
            left out, `cross_entropy`.
    """

    goal = Goal("cross_entropy", "minimize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        temperature: Annotated[Temperature, When("beams", None, 1)] = 0.8,
        top_k: TopK | None = None,
        top_p: TopP | None = None,
        min_p: MinP | None = None,
        # left out where they are as usual: a recipe without them, of an older run, is the same recipe
        repetition_penalty: RepetitionPenalty | None = None,
        stop: tuple[Stop, ...] | None = None,
        beams: Annotated[int, Field(ge=1, le=1000)] | None = None,
        length_penalty: Annotated[float, Field(ge=0)] | None = None,
        length: Length = 300,
        sample_seed: Annotated[Seed, When("beams", None, 1)] = 0,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
    ) -> None:
        if not issubclass(data.target, NextTokens):
            raise LabwrightError(
                f"task.data: a language model needs running text; {type(data).__name__} has targets "
                f"{data.target.__name__}, not NextTokens. `labwright list data --for RECIPE` shows what fits a recipe."
            )
        usual: dict[str, Metric] = {
            "cross_entropy": NatsPerToken(),
            "perplexity": Perplexity(),
            "bits_per_char": BitsPerCharacter(),
        }
        self.chosen = chosen(metrics, usual, Classes, _TAKES, table=_TABLE)
        self.goal = chosen_goal(goal, self.chosen, LanguageModel.goal)
        self.by_token = any("logits" in asked(metric, _TAKES, _TABLE) for metric in self.chosen.values())
        self.data = data
        self.how = Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty or 1.0,
            length=length,
            stop=stop or (),
            sample_seed=sample_seed,
        )
        self.beams, self.length_penalty = beams or 1, _LENGTH_PENALTY if length_penalty is None else length_penalty
        drawn = {"top_k": top_k, "top_p": top_p, "min_p": min_p}
        if self.beams > 1 and (given := [name for name, value in drawn.items() if value is not None]):
            raise LabwrightError(
                f"task.beams: a search of {beams} beams draws nothing, and task.{given[0]} is about what is drawn; "
                "leave one of the two out."
            )
        if self.beams > 1 and self.how.repetition_penalty != 1:
            raise LabwrightError(
                f"task.beams: a search of {beams} beams is for the most probable text, which task.repetition_penalty="
                f"{self.how.repetition_penalty:g} would change; leave one of the two out."
            )
        if self.beams == 1 and length_penalty is not None:
            raise LabwrightError("task.length_penalty: a search has one; set task.beams too, such as 4.")
        self.closely = False  # whether an interval is measured as well

    @property
    def settable(self) -> tuple[str, ...]:
        """The settings that a prompt may have of its own."""
        return tuple(Sampling.model_fields) if self.beams == 1 else ("length", "stop")

    def weight(self, batch: TokenBatch) -> float:
        return batch.tokens

    def loss(self, model: nn.Module, batch: TokenBatch, criterion: ClassificationLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return criterion(output(model, batch).flatten(0, 1), batch.targets.flatten())

    def evaluate(self, model: nn.Module, batch: TokenBatch) -> dict[str, Tensor | int]:
        """The `nats_sum` of the targets, how many `tokens` they are and how many `characters`.

        Where a metric takes them, `logits` and `labels` of the targets.
        """
        logits_BTV = output(model, batch)
        nats_BT = _nats(logits_BTV, batch.targets)
        sums: dict[str, Tensor | int] = {
            "nats_sum": nats_BT.sum(),
            "tokens": batch.tokens,
            "characters": batch.characters,
        }
        if self.closely:
            sums |= {"nats_of_each": nats_BT.sum(1), "tokens_of_each": (batch.targets != LEFT_OUT).sum(1)}
        return sums | (counted(logits_BTV, batch.targets) if self.by_token else {})

    def nats(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """Each target's negative log-likelihood, (B, T) in nats; 0 where there is none."""
        return _nats(output(model, batch), batch.targets)

    def metrics(self) -> dict[str, Metric]:
        inputs, outputs = self.data.ports()
        assert isinstance(outputs, NextTokens)
        fitting = {
            name: metric for name, metric in self.chosen.items() if name != "bits_per_char" or outputs.characters
        }
        if "bits-per-char" in fitting and not outputs.characters:
            raise LabwrightError(
                f"task.metrics: 'bits-per-char' needs data that counts the characters its tokens stand for, which "
                f"{type(self.data).__name__} doesn't; leave it out."
            )
        metrics = new_metrics(fitting, inputs, outputs.classes, _TAKES, _TABLE)
        of_windows = Of(MeanInterval(), "nats_of_each", "tokens_of_each")
        return metrics | {"cross_entropy_95": of_windows} if self.closely else metrics

    def on(self, path: Path) -> Self:
        """Over other text, with the interval of the cross-entropy over windows drawn anew.

        Windows of one text are alike, so that it speaks of more of this text, not of other texts.
        """
        other = super().on(path)
        other.closely = True
        return other

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Counted n-grams, smoothed as Kneser & Ney do; how long they are is chosen on a piece of the training part.

        They are counted over the edges of windows, in the last tokens of a long text, and measured on the first windows
        of a long split.
        """
        from labwright_tasks.floors import of_model
        from labwright_tasks.kneser_ney import KneserNey, running_text

        train, part = self.part("train", plain=True), self.part(split)
        inputs = self.ports()[0]
        if not train or not part or not isinstance(inputs, Tokens):
            return {}
        text_N, cells = running_text(train, _COUNTED), inputs.length * inputs.vocab_size
        model = KneserNey(inputs.vocab_size)
        model.fit(text_N)
        size, most = max(1, _CELLS_AT_ONCE // cells), max(1, _CELLS // cells)
        name = f"Kneser-Ney counts of up to {model.order} tokens"
        name += f", learned from {len(text_N):,} tokens" if len(text_N) < len(train) * inputs.length else ""
        name += f", on {most:,} of {len(part):,} windows" if len(part) > most else ""
        return {name: of_model(self, split, model, size=size, most=-(-most // size))}

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A prompt, padded to the model's window, so that short ones of any length go through it together."""
        return self._padded(self.data.parse(line))

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The prompts of a file. In JSON Lines each may have settings of its own, such as `{"temperature": 0}`."""
        if suffix_of(path) in JSON_LINES and path.is_file():
            return prompts_at(path, self._of_row)
        found = self.data.inputs(path)
        return found and ((name, partial(self._read_padded, read)) for name, read in found)

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each row a continuation, as an iterator of pieces of text; those of a search with beams are whole."""
        rows = [ids[:length] for ids, length in zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)]
        hows = [origin if isinstance(origin, Sampling) else self.how for origin in origins]
        return [{"continuation": text} for text in self.continuations(model, rows, hows)]

    def continuations(
        self, model: nn.Module, rows: Sequence[Sequence[int]], hows: Sequence[Sampling] | None = None, number: int = 0
    ) -> list[Iterator[str]]:
        """What the model writes after each of these tokens, piece by piece; `number` tells one text from another."""
        hows = [self.how] * len(rows) if hows is None else hows
        inputs, outputs = self.data.ports()
        assert isinstance(inputs, Tokens) and isinstance(outputs, NextTokens)
        if self.beams > 1 and len({how.length for how in hows}) > 1:  # a search is for texts of one length
            return [self.continuations(model, [row], [how], number)[0] for row, how in zip(rows, hows, strict=True)]
        apart = isinstance(self.data, Prompting)  # an answer is a text of its own
        beginnings = Beginnings(model, rows, window=inputs.length, device=next(model.parameters()).device)
        if self.beams > 1:
            found = best_continuations(
                beginnings,
                beams=self.beams,
                penalty=self.length_penalty,
                longest=hows[0].length,
                end_id=outputs.end_id,
            )
            before = [[] if apart else row for row in rows]
            texts = zip(found, before, [how.stop for how in hows], strict=True)
            return [iter((shown(*text, self._text),)) for text in texts]
        draws = [generator(how.sample_seed, number) for how in hows]
        together = Continuations(beginnings, hows, draws, self._text, end_id=outputs.end_id, apart=apart)
        return [together.pieces(row) for row in range(len(rows))]

    def continuation(self, model: nn.Module, ids: Sequence[int], number: int = 0) -> Iterator[str]:
        """What the model writes after these tokens, piece by piece; `number` tells one text from another."""
        return self.continuations(model, [ids], number=number)[0]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Texts the model wrote, and the loss by the place in the window."""
        from labwright_tasks.language_model_report import by_place, written

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        with evaluating(model):
            prompts, continuations = self._samples(model, part)
            nats_T = self._nats_by_place(model, part, device)
        how = self.how.words() if self.beams == 1 else f"a search with {self.beams} beams"
        return [written(prompts, continuations, how), by_place(nats_T)]

    def _samples(self, model: nn.Module, part: Split) -> tuple[list[str], list[str]]:
        """Beginnings of some windows, evenly spread over the part, and how the model goes on with them."""
        windows = torch.unique(torch.arange(_TEXTS) * len(part) // _TEXTS)
        batch = part.fetch(windows, 0, 0)
        ids_BT, lengths_B = batch.inputs
        # all that stands before the first target, where something does
        firsts_B = (batch.targets != LEFT_OUT).int().argmax(dim=1)
        prompts, continuations = [], []
        rows = zip(ids_BT.tolist(), lengths_B.tolist(), firsts_B.tolist(), strict=True)
        for number, (ids, length, first) in enumerate(rows):
            prompt = ids[: first + 1 if first else min(length, _PROMPT)]
            prompts.append(self._text(prompt))
            continuations.append("".join(islice(self.continuation(model, prompt, number), _WRITTEN)))
        return prompts, continuations

    def _nats_by_place(self, model: nn.Module, part: Split, device: torch.device) -> Tensor:
        """The mean loss at each place of a window, (T,) in nats; no number where nothing was predicted."""
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Tokens)
        sum_T = count_T = torch.zeros(inputs.length, dtype=torch.float64)
        for batch in islice(IndexedBatches.in_order(part, _WINDOWS), _BATCHES):
            room = (0, inputs.length - batch.targets.shape[1])  # a batch may be as long as its longest window
            nats_BT = self.nats(model, cast(TokenBatch, batch.to(device)))
            sum_T = sum_T + functional.pad(nats_BT.sum(dim=0).cpu().double(), room)
            count_T = count_T + functional.pad((batch.targets != LEFT_OUT).sum(dim=0), room)
        return sum_T / count_T

    def _of_row(self, row: Mapping[str, Any]) -> Input:
        """The prompt of an object in a file, and how to go on with it."""
        keys = self.data.prompt_keys if isinstance(self.data, Prompting) else (self.line,)
        said, how = parted(row, self.how, keys, self.settable)
        if isinstance(self.data, Prompting):
            return Input(self._padded(self.data.prompt(said)), how)
        text = said.get(self.line)
        if not isinstance(text, str):
            raise LabwrightError(f"there is no text under {self.line!r}, which has the prompt; there is {listed(row)}.")
        return Input(self.parse(text), how)

    def _read_padded(self, read: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return self._padded(read())

    def _padded(self, prompt: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A prompt that is as long as the window, or longer."""
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Tokens)
        room = max(0, inputs.length - prompt[0].shape[1])
        return (functional.pad(prompt[0], (0, room), value=inputs.pad_id), *prompt[1:])

    def _text(self, ids: Sequence[int]) -> str:
        (text,) = self.data.show((torch.tensor([ids]), torch.tensor([len(ids)])))
        assert isinstance(text, str)
        return text


def _nats(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Each target's negative log-likelihood, (B, T) in nats; 0 where there is none."""
    logits_NV, targets_N = logits_BTV.float().flatten(0, 1), targets_BT.flatten()
    nats_N = functional.cross_entropy(logits_NV, targets_N, ignore_index=LEFT_OUT, reduction="none")
    return nats_N.view_as(targets_BT)
