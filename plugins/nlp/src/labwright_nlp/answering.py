"""Answers that stand in a text: where they begin and end. B questions, W windows, T tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from labwright import Data, Goal, IndexedBatches, LabwrightError, Mean, Metric, Of, Part, Section, Task, evaluating
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.intervals import over_samples
from labwright_tasks.model_output import output
from pydantic import Field
from torch import Tensor, nn

from labwright_nlp.answer_scores import exact, overlap
from labwright_nlp.data.questions import Asked, AskedBatch, AskedTexts, Window, batch_of, spans, without_blanks
from labwright_nlp.models.masks import filled
from labwright_nlp.ports import Spans

_NOWHERE = -1e4  # the logit of what is no token of the text
_AT_ONCE = 32  # questions of a report that the model sees together
_SHOWN = 12
_KEPT = "answers.json"


class Answering(Task):
    """Find the answer to a question in a text: the tokens it begins and ends with. Higher is better: f1.

    A model is called with windows of a question and a part of its text, and learns the place of the first and of the
    last token of the answer (Devlin et al. 2019, section 4.2); of a window that hasn't the answer, that there is none:
    the window's first token. The loss is the mean over windows and both places.

    An answer is the stretch, in any window, whose two logits have the largest sum. `exact` and `f1` are SQuAD's, means
    over questions, of the answers meant the best.

    Args:
        data: questions about texts.
        longest: most tokens of an answer that is given.
        threshold: where some training questions have no answer, it is none if every window is surer of that than of any
            stretch by more than this, in logits. Where all have one it has no effect, and a run says so.
    """

    goal = Goal("f1", "maximize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        longest: Annotated[int, Field(ge=1)] = 30,
        threshold: float = 0.0,
    ) -> None:
        if not issubclass(data.target, Spans):
            raise LabwrightError(
                f"task.data: answers need questions about texts; {type(data).__name__} has targets "
                f"{data.target.__name__}, not Spans. `labwright list data --for RECIPE` shows what fits a recipe."
            )
        self.data, self.longest, self.threshold = data, longest, threshold
        self.none_meant = False  # whether some questions have no answer
        self.tried: ClassificationLoss | None = None  # the loss that is known to suit

    def prepare(self) -> None:
        super().prepare()
        train = self.data.split("train")
        asked = (one for batch in IndexedBatches.in_order(train, _AT_ONCE) for one in batch.asked) if train else ()  # type: ignore[attr-defined]
        self.none_meant = not all(one.question.answers for one in asked)
        if self.threshold and not self.none_meant and isinstance(self.data, AskedTexts):
            every = "every training question has an answer, so that one is always given"
            self.data.noted = (f"task.threshold={self.threshold:g} has no effect: {every}.",)

    def weight(self, batch: AskedBatch) -> float:
        return len(batch.targets)

    def loss(self, model: nn.Module, batch: AskedBatch, criterion: ClassificationLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        """Raises LabwrightError for a loss that would have places beside the text be likely, such as a smoothed one."""
        first_WT, last_WT = self._logits(model, batch).unbind(2)
        beside_12, first_1 = torch.tensor([[0.0, _NOWHERE]]), torch.zeros(1, dtype=torch.int64)
        on = first_WT.device
        if self.tried is not criterion and float(criterion(beside_12.to(on), first_1.to(on))) > 1:  # once in a run
            raise LabwrightError(
                "loss.label_smoothing: an answer begins and ends in the text, and a share of its probability would go "
                "to padding and to the question. Leave it out, or set it to 0."
            )
        self.tried = criterion
        return (criterion(first_WT, batch.targets[:, 0]) + criterion(last_WT, batch.targets[:, 1])) / 2

    def evaluate(self, model: nn.Module, batch: AskedBatch) -> dict[str, Tensor | list[str]]:
        """Of each question (B,), how well it was answered, `exact` and `f1`, and the text that it asks about."""
        answers = self.answers(model, batch)
        pairs = [(answer, one.question.answers) for answer, one in zip(answers, batch.asked, strict=True)]
        return {
            "exact": torch.tensor([exact(*pair) for pair in pairs]),
            "f1": torch.tensor([overlap(*pair) for pair in pairs]),
            "texts": [one.question.context for one in batch.asked],
        }

    def metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"f1": Of(_Share(), "f1"), "exact": Of(_Share(), "exact")}
        return metrics | {f"{name}_95": Of(_ByText(), name, "texts") for name in metrics}

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The sentence that has most words of the question, rare ones counting more."""
        from labwright_nlp.answer_floor import nearest_sentences

        part = self.data.split(split)
        if not part:
            return {}
        asked = part.fetch(torch.arange(len(part)), 0, 0).asked  # type: ignore[attr-defined]
        pairs = [
            (answer, one.question.answers)
            for answer, one in zip(nearest_sentences([one.question for one in asked]), asked, strict=True)
        ]
        scores = {"f1": overlap, "exact": exact}
        return {
            "the sentence most like the question": {
                name: sum(score(*pair) for pair in pairs) / len(pairs) for name, score in scores.items()
            }
        }

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:  # noqa: ARG002 - whatever they are
        """Says so where answers are longer than any that can be given."""
        part = self.data.split(split)
        if not part:
            return None
        batches = IndexedBatches.in_order(part, _AT_ONCE)
        answered = [one for batch in batches for one in batch.asked if one.question.answers]  # type: ignore[attr-defined]
        long = sum(max(last - first for first, last in spans(one)) >= self.longest for one in answered)
        if not long:
            return None
        return (
            f"{long:,} answers of {split} have more than task.longest={self.longest} tokens, so that they are never "
            "given whole: a larger task.longest allows them."
        )

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each question its answer, and the letters of the text that it is."""
        batch = batch_of(origins, self.data.ports()[0].pad_id).to(inputs[0].device)  # type: ignore[attr-defined]
        return [
            {"answer": one.question.context[low:high], "start": low, "end": high}
            for one, (low, high) in zip(origins, self._found(model, batch), strict=True)
        ]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """The questions that are answered worst, each with its text."""
        from labwright_nlp.answering_report import sections

        part = self.data.split(split)
        if not part:
            return ()
        asked: list[Asked] = []
        found: list[tuple[int, int]] = []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                assert isinstance(batch, AskedBatch)
                asked += batch.asked
                found += self._found(model, batch.to(device))
        return sections(asked, found, _SHOWN)

    def answers(self, model: nn.Module, batch: AskedBatch) -> list[str]:
        """The answer to each question, "" for none."""
        places = self._found(model, batch)
        return [one.question.context[low:high] for one, (low, high) in zip(batch.asked, places, strict=True)]

    def _found(self, model: nn.Module, batch: AskedBatch) -> list[tuple[int, int]]:
        """The letters of the text that answer each question, (0, 0) for none."""
        logits_WT2 = self._logits(model, batch).float().cpu()
        none_W = logits_WT2[:, 0].sum(1).tolist()
        windows = [window for one in batch.asked for window in one.windows]
        of_windows = [self._best(*row) for row in zip(logits_WT2, windows, strict=True)]
        found, row = [], 0
        for one in batch.asked:
            rows = range(row, row + len(one.windows))
            row = rows.stop
            score, place = max((of_windows[at] for at in rows), key=lambda best: best[0])
            none = self.none_meant and min(none_W[at] for at in rows) > score + self.threshold
            found.append((0, 0) if none else without_blanks(one.question.context, *place))
        return found

    def _best(self, logits_T2: Tensor, window: Window) -> tuple[float, tuple[int, int]]:
        """The best stretch of a window: the sum of its logits, and its letters."""
        count = len(window.letters)
        text_T = torch.tensor([low < high for low, high in window.letters])
        first_T, last_T = logits_T2[:count].masked_fill(~text_T[:, None], -torch.inf).unbind(1)
        every_TT = torch.ones(count, count, dtype=torch.bool)
        allowed_TT = every_TT.triu() & ~every_TT.triu(self.longest)
        sums_TT = (first_T[:, None] + last_T).masked_fill(~allowed_TT, -torch.inf)
        best = int(sums_TT.argmax())
        first, last = divmod(best, count)
        return float(sums_TT[first, last]), (window.letters[first][0], window.letters[last][1])

    def _logits(self, model: nn.Module, batch: AskedBatch) -> Tensor:
        """Of each token that an answer begins there, and that it ends there, (W, T, 2); none behind a window's end."""
        logits_WT2 = output(model, batch)
        self.data.ports()[1].check(logits_WT2, batch.targets)
        there_WT = filled(logits_WT2.shape[1], batch.inputs[1])
        return logits_WT2.masked_fill(~there_WT[..., None], _NOWHERE)

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / _KEPT).write_text(json.dumps({"none_meant": self.none_meant}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.none_meant = json.loads((folder / _KEPT).read_text(encoding="utf-8"))["none_meant"]


class _Share(Mean):
    higher_is_better = True


class _ByText:
    """The interval, on `test`, of a mean over questions, over texts drawn anew: questions of one text are alike."""

    splits = ("test",)

    def __init__(self) -> None:
        self.reset()

    def update(self, scores_B: Tensor, texts: Sequence[str]) -> None:
        for score, text in zip(scores_B.tolist(), texts, strict=True):
            total, count = self._sums.get(text, (0.0, 0))
            self._sums[text] = total + score, count + 1

    def compute(self) -> dict[str, float]:
        sums_N2 = torch.tensor([*self._sums.values()]).view(-1, 2)
        return over_samples(sums_N2, lambda sums_R2: sums_R2[:, 0] / sums_R2[:, 1])

    def reset(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}
