"""Language modelling: the next token of a text, and texts made that way. B batch, T tokens, V vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, cast, runtime_checkable

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
    evaluating,
    generator,
)
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from labwright_tasks.chosen_metrics import asked, chosen, chosen_goal, counted, new_metrics
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.intervals import MeanInterval
from labwright_tasks.metrics import BitsPerCharacter, NatsPerToken
from labwright_tasks.model_output import output

if TYPE_CHECKING:
    from labwright import Section

# what a metric is called with, the targets that are there, and what else it may ask for: see `LanguageModel.evaluate`
_TAKES = ("logits", "labels")
_TABLE = (*_TAKES, "nats_sum", "tokens", "characters")

_UNFINISHED = "\ufffd"  # what a decoder gives for a character some of whose bytes are still to come
_LONGEST = 4  # bytes of a character
_TEXTS, _PROMPT, _WRITTEN = 4, 16, 200  # of a report: texts, tokens of a prompt, most pieces written after it
_COUNTED = 2_000_000  # tokens that a floor is counted in
_CELLS, _CELLS_AT_ONCE = 2_000_000_000, 4_000_000  # of a floor: tokens times the vocabulary, altogether and at once
_WINDOWS, _BATCHES = 64, 20  # of a report: windows together, and batches of them; enough for a smooth curve


@dataclass(frozen=True)
class NextTokens(Port):
    """What follows each token: forward returns logits_BTV; the target is next_BT, int64, -100 where nothing follows.

    `characters` says that the data counts the characters its tokens stand for.
    """

    vocab_size: int
    length: int
    characters: bool = False

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


@runtime_checkable
class Continuing(Protocol):
    """What a model may have beside `forward`, so that writing takes one token at a time instead of all again.

    `begin` reads texts, ids (B, T) of which each row has the first `lengths` (B,), and gives logits (B, V) of the token
    after each. The state is tensors with a row for each text, such as the keys and values of its tokens, so that rows
    can be left out, repeated and put into another order. `extend` adds one token to each text, `tokens` (B,), and gives
    the logits of what follows it and the state with it. Neither changes what it was given. No text becomes longer than
    the length of the model's `Tokens`.
    """

    def begin(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]: ...

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]: ...


class LanguageModel(Task):
    """Predict what comes next in a text, token by token. Lower is better: cross_entropy, in nats per token.

    `perplexity` is its exponential; `bits_per_char` is there if the data counts characters. All are means over every
    token of a split, each predicted from what stands before it in its own window. `metrics` names others: those of
    classes are given every token that follows another. `goal` is one of the metrics, or with a direction,
    `NAME:minimize`.

    A prediction goes on with a prompt for `length` tokens. `temperature` divides the logits, 0 always takes the most
    probable token; `top_k` leaves the choice between that many; `sample_seed` says which of many texts it is. The data
    shows tokens as text by `Data.show`.
    """

    goal = Goal("cross_entropy", "minimize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        temperature: Annotated[float, Field(ge=0)] = 0.8,
        top_k: Annotated[int, Field(ge=1)] | None = None,
        length: Annotated[int, Field(ge=1, description="tokens a prediction adds to its prompt")] = 300,
        sample_seed: Annotated[int, Field(ge=0)] = 0,
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
        self.temperature, self.top_k, self.length, self.sample_seed = temperature, top_k, length, sample_seed
        self.closely = False  # whether an interval is measured as well

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

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row a continuation, as an iterator of pieces of text."""
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [{"continuation": self.continuation(model, ids[:length])} for ids, length in rows]

    def continuation(self, model: nn.Module, ids: Sequence[int], number: int = 0) -> Iterator[str]:
        """What the model writes after these tokens, piece by piece; `number` tells one text from another."""
        pending = list(ids[-1:])  # with the token before it, a piece has the space that parts it from that one
        before = self._text(pending)
        for token in self._tokens(model, list(ids), number):
            pending.append(token)
            text = self._text(pending)
            if text.endswith(_UNFINISHED) and len(pending) <= _LONGEST:
                continue
            yield text[len(before) :]
            pending = [token]
            before = self._text(pending)
        yield self._text(pending)[len(before) :]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Texts the model wrote, and the loss by the place in the window."""
        from labwright_tasks.language_model_report import by_place, written

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        with evaluating(model):
            prompts, continuations = self._samples(model, part)
            nats_T = self._nats_by_place(model, part, device)
        how = "the most probable token each time" if self.temperature == 0 else f"temperature {self.temperature:g}"
        if self.top_k and self.temperature:
            how += f", among the {self.top_k} most probable tokens"
        return [written(prompts, continuations, how), by_place(nats_T)]

    def _samples(self, model: nn.Module, part: Split) -> tuple[list[str], list[str]]:
        """Beginnings of some windows, evenly spread over the part, and how the model goes on with them."""
        windows = torch.unique(torch.arange(_TEXTS) * len(part) // _TEXTS)
        ids_BT, lengths_B = part.fetch(windows, 0, 0).inputs
        prompts, continuations = [], []
        for number, (ids, length) in enumerate(zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)):
            prompt = ids[: min(length, _PROMPT)]
            prompts.append(self._text(prompt))
            continuations.append("".join(islice(self.continuation(model, prompt, number), _WRITTEN)))
        return prompts, continuations

    def _nats_by_place(self, model: nn.Module, part: Split, device: torch.device) -> Tensor:
        """The mean loss at each place of a window, (T,) in nats; no number where nothing was predicted."""
        sum_T = count_T = torch.zeros(())
        for batch in islice(IndexedBatches.in_order(part, _WINDOWS), _BATCHES):
            nats_BT = self.nats(model, cast(TokenBatch, batch.to(device)))
            sum_T = sum_T + nats_BT.sum(dim=0).cpu().double()
            count_T = count_T + (batch.targets != LEFT_OUT).sum(dim=0)
        return sum_T / count_T

    def _tokens(self, model: nn.Module, ids: list[int], number: int) -> Iterator[int]:
        """Tokens drawn one after the other, each from the last window of what stands before it."""
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Tokens)
        device = next(model.parameters()).device
        draws = generator(self.sample_seed, number)
        for _ in range(self.length):
            window = torch.tensor([ids[-inputs.length :]], device=device)
            logits_V = model(window, torch.tensor([window.shape[1]], device=device))[0, -1].float().cpu()
            ids.append(drawn(logits_V, draws, temperature=self.temperature, top_k=self.top_k))
            yield ids[-1]

    def _text(self, ids: Sequence[int]) -> str:
        (text,) = self.data.show((torch.tensor([ids]), torch.tensor([len(ids)])))
        assert isinstance(text, str)
        return text


def _nats(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Each target's negative log-likelihood, (B, T) in nats; 0 where there is none."""
    logits_NV, targets_N = logits_BTV.float().flatten(0, 1), targets_BT.flatten()
    nats_N = functional.cross_entropy(logits_NV, targets_N, ignore_index=LEFT_OUT, reduction="none")
    return nats_N.view_as(targets_BT)


def drawn(logits_V: Tensor, draws: Generator, *, temperature: float, top_k: int | None) -> int:
    """A token with the probability its logit gives it at a temperature, among the `top_k` most probable."""
    if temperature == 0:
        return int(logits_V.argmax())
    values, tokens = logits_V.topk(min(top_k or len(logits_V), len(logits_V)))
    shares = ((values - values[0]) / temperature).softmax(0)
    return int(tokens[torch.multinomial(shares, 1, generator=draws)])
