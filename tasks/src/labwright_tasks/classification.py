"""Classification: which of several classes an input is. N samples, B batch, C classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

import torch
from labwright import (
    Accuracy,
    Batch,
    Classes,
    Data,
    Goal,
    Image,
    IndexedBatches,
    Labelled,
    LabwrightError,
    LogLoss,
    Metric,
    Part,
    Port,
    Ragged,
    Split,
    Task,
    bucketed,
    evaluating,
    generator,
    nearest,
)
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_tasks.chosen_metrics import chosen, chosen_goal, new_metrics
from labwright_tasks.distillation import Teacher, Teaching
from labwright_tasks.intervals import ByClass, with_intervals
from labwright_tasks.mixing import MixedBatch, check_mixing, mixed, mixed_loss
from labwright_tasks.model_output import output, together
from labwright_tasks.weights import weight_of, weighted_loss

if TYPE_CHECKING:
    from labwright import Section

Mixing = Annotated[float, Field(ge=0, description="alpha of the Beta distribution of shares; 0 is off")]

_MIRRORED = "Answers are the mean probability of each picture and its mirror image."
_TOP = 5  # how many probabilities a prediction names
_ROUNDING = 1e-9
_AT_ONCE = 1024  # samples fetched together when labels are looked at
_SEEN_AT_ONCE = 256  # samples the model sees together for a report


class ClassificationLoss(Protocol):
    """What a loss is called with: logits of shape (B, C) and labels of shape (B,), int64 in 0..C-1."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...


class Classification(Task):
    """Tell which of several classes an input is, of any kind. Higher is better: accuracy, unless `goal` says otherwise.

    With `sampling` an epoch is as long as before, but no longer sees every sample once. Where data weighs its samples,
    the loss is their weighted mean; metrics count each alike, as those of scikit-learn do unless they are given
    weights. With `mixup` and `cutmix` training samples are mixed in pairs, and their losses with them; of both, a batch
    gets either. With a `teacher` the model also learns what that run's model answers to the same samples, augmented and
    mixed alike.

    Args:
        data: inputs of any kind, each of one of several classes.
        metrics: what is measured; left out, `accuracy` and `cross_entropy`, in nats, the mean over samples.
        goal: metric by which models are compared and the best weights chosen, such as `f1/macro`, or with its direction
            `NAME:minimize`; left out, accuracy.
        sampling: how often training samples are drawn: "balanced" draws a class at random, then one of its samples; a
            table says how often a class is drawn beside the others, 1 if it isn't named. Left out, each is seen once.
        mixup: alpha of Beta(alpha, alpha), from which the share is drawn by which pictures or features of two samples
            are averaged (Zhang et al. 2018); 0 is off.
        cutmix: alpha of Beta(alpha, alpha), from which the area is drawn that a picture keeps beside a rectangle of
            another (Yun et al. 2019); 0 is off.
        test_time: "flip" shows each picture that is measured or predicted mirrored as well, and answers with the mean
            of the probabilities.
        explanations: method by which the report shows what the worst mistakes rest on, of pictures and texts:
            `integrated-gradients`, `occlusion`, `grad-cam` or `grad-cam:LAYER`. Captum computes it: extra `explain`.
        teacher: finished run of the same classes and inputs, whose probabilities are learned beside the labels:
            its folder `run`, `checkpoint`, `temperature` and `weight`, as `Teacher` describes them.

    `prepare` raises LabwrightError if the training labels are outside the classes, or all the same, and for a teacher
    of other classes or inputs; data that is neither in memory nor `Labelled` is taken on trust, and can't be balanced.
    """

    goal = Goal("accuracy", "maximize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
        sampling: Literal["balanced"] | dict[str, float] | None = None,
        mixup: Mixing = 0.0,
        cutmix: Mixing = 0.0,
        test_time: Literal["flip"] | None = None,
        explanations: str | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        if not issubclass(data.target, Classes):
            raise LabwrightError(
                f"task.data: classification needs classes to tell apart; {type(data).__name__} has targets "
                f"{data.target.__name__}. Task 'regression' takes Values."
            )
        if isinstance(sampling, dict) and (wrong := next((name for name in sampling if not sampling[name] >= 0), "")):
            raise LabwrightError(f"task.sampling: {wrong!r} is given {sampling[wrong]}; a share is a number from 0 on.")
        check_mixing(data, mixup=mixup, cutmix=cutmix)
        if test_time and not issubclass(data.item, Image):
            raise LabwrightError(
                f"task.test_time: pictures can be mirrored; {type(data).__name__} has {data.item.__name__}."
            )
        if explanations:
            from labwright_tasks.explaining import check_explanations

            check_explanations(explanations, data.item)
        self.mixup, self.cutmix, self.test_time, self.explanations = mixup, cutmix, test_time, explanations
        self.teaching = Teaching(teacher) if teacher else None
        usual: dict[str, Metric] = {"accuracy": Accuracy(), "cross_entropy": LogLoss()}
        self.chosen = chosen(metrics, usual, data.target, ("logits", "labels"))
        self.goal = chosen_goal(goal, self.chosen, Classification.goal)
        self.data, self.sampling, self.replacement = data, sampling, sampling is not None
        self.labels_N: Tensor | None = None  # of the training samples
        self.counts: tuple[int, ...] | None = None  # of each class among them
        self.closely = False  # whether classes are measured as well

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their labels."""
        outputs = self.data.ports()[1]
        assert isinstance(outputs, Classes)
        return outputs.names

    def prepare(self) -> None:
        super().prepare()
        if self.teaching:
            self.teaching.take_up(self.data)
        split = self.data.split("train")
        labels = None if split is None or not len(split) else _labels(split, self.data.in_memory)
        if labels is None:
            if self.sampling:
                raise LabwrightError(
                    f"task.sampling: {type(self.data).__name__} doesn't tell its training labels before every sample "
                    "is fetched, so that they can't be balanced; leave it out."
                )
            return
        data, classes = type(self.data).__name__, len(self.names)
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= classes:
            raise LabwrightError(
                f"{data}: a training label is {lowest if lowest < 0 else highest}, but its {classes} classes have "
                f"labels 0 to {classes - 1}."
            )
        if lowest == highest:
            raise LabwrightError(
                f"{data}: all {len(labels):,} training samples are of class {self.names[lowest]!r}; there is nothing "
                "to tell apart."
            )
        self.labels_N, self.counts = labels, tuple(labels.bincount(minlength=classes).tolist())

    def resumes_from(self, folder: Path) -> None:
        """The teacher is the copy that the run keeps. Raises LabwrightError if another one is asked for."""
        if self.teaching:
            self.teaching.resume(folder)

    def save(self, folder: Path) -> None:
        """The data's own, and a copy of the teacher."""
        super().save(folder)
        if self.teaching:
            self.teaching.save(folder)

    def load(self, folder: Path) -> None:
        super().load(folder)
        if self.teaching:
            self.teaching.load(folder)

    def ports(self) -> tuple[Port, Port]:
        """Those of the data; the classes with how many training samples each has."""
        inputs, outputs = self.data.ports()
        assert isinstance(outputs, Classes)
        return inputs, replace(outputs, counts=self.counts)

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        if split != "train" or self.sampling is None or self.labels_N is None:
            return super().order(split, part, size=size, seed=seed, epoch=epoch)
        drawn = torch.split(drawn_by_class(self.labels_N, self._shares(), generator(seed, epoch, 10)), size)
        return bucketed(drawn, part.lengths, seed=seed, epoch=epoch) if isinstance(part, Ragged) else drawn

    def _shares(self) -> Tensor:
        """How often each class is drawn, beside the others, (C,). Raises LabwrightError for no such class."""
        wanted = self.sampling if isinstance(self.sampling, dict) else {}
        if unknown := next((name for name in wanted if name not in self.names), ""):
            raise LabwrightError(f"task.sampling: no class is called {unknown!r}{nearest(unknown, self.names)}")
        shares_C = torch.tensor([wanted.get(name, 1.0) for name in self.names], dtype=torch.float64)
        shares_C *= torch.tensor(self.counts) > 0  # what no sample has can't be drawn
        if not shares_C.any():
            raise LabwrightError("task.sampling: every class that has training samples is drawn 0 times; raise one.")
        return shares_C

    def draw(self, batch: Batch, generator: Generator) -> Batch:
        if not (self.mixup or self.cutmix):
            return batch
        return mixed(batch, generator, mixup=self.mixup, cutmix=self.cutmix)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        criterion: ClassificationLoss,
        phase: str,  # noqa: ARG002 - one phase
    ) -> Tensor | dict[str, Tensor]:
        logits_BC = output(model, batch)
        of_labels = mixed_loss if isinstance(batch, MixedBatch) else weighted_loss
        loss: Tensor | dict[str, Tensor] = of_labels(criterion, logits_BC, batch)  # type: ignore[arg-type]
        return self.teaching.added(loss, logits_BC, batch, criterion) if self.teaching else loss

    def weight(self, batch: Batch) -> float:
        return weight_of(batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and labels (B,)."""
        logits_BC = self._answered(model, batch)
        self.data.ports()[1].check(logits_BC, batch.targets)
        return logits_BC, batch.targets

    def metrics(self) -> dict[str, Metric]:
        metrics = with_intervals(new_metrics(self.chosen, *self.ports()), self.data)
        return metrics | {"class": ByClass(self.names)} if self.closely else metrics

    def on(self, path: Path) -> Self:
        """Over other data, with figures of each class."""
        other = super().on(path)
        other.closely = True
        return other

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        """Says so where the accuracy is no better than that of always answering the most frequent class.

        And where the teacher may have learned from what is measured.
        """
        told = (self._no_better(split, metrics), self._seen_by_teacher(split))
        return " ".join(filter(None, told)) or None

    def _seen_by_teacher(self, split: str) -> str | None:
        if self.teaching is None or self.teaching.same_samples or split == "train":
            return None
        return (
            f"the teacher {self.teaching.teacher.run} has learned from other samples than this run: if those of "
            f"{split} were among them, the figures on {split} are better than they would be on new ones."
        )

    def _no_better(self, split: str, metrics: Mapping[str, float]) -> str | None:
        part = self.data.split(split)
        labels = None if part is None or not len(part) else _labels(part, self.data.in_memory)
        if labels is None or "accuracy" not in metrics:
            return None
        counts = labels.bincount(minlength=len(self.names))
        name, share = self.names[int(counts.argmax())], int(counts.max()) / len(labels)
        if metrics["accuracy"] > share + _ROUNDING:
            return None
        return (
            f"accuracy {metrics['accuracy']:.4g} on {split} is no better than always answering {name!r}, which is "
            f"{share:.4g} of it."
        )

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The most frequent class of the training part, and models of scikit-learn where it is installed.

        Of what is in memory: logistic regression of pictures, features, texts, sounds and tables, and gradient boosting
        of features and tables.
        """
        from labwright_tasks.boosting_floor import boosting
        from labwright_tasks.floors import measured, of_model
        from labwright_tasks.linear_floor import logistic

        train, part = self.part("train", plain=True), self.part(split)
        labels = None if not part else _labels(part, self.data.in_memory)
        if not train or labels is None or self.counts is None:
            return {}
        logits_C = torch.tensor(self.counts, dtype=torch.float64).clamp(min=1e-6).log().float()
        floors = {"most frequent class": measured(self, split, logits_C.expand(len(labels), -1), labels)}
        learners = (logistic, boosting) if self.data.in_memory else ()
        models = filter(None, (learner(self.ports()[0], train, len(self.names)) for learner in learners))
        return floors | {name: of_model(self, split, model) for name, model in models}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row the most probable class, its probability, and the five most probable with theirs."""
        probabilities_BC = _probabilities(self._answered(model, Batch(inputs, None)))
        values_BK, classes_BK = probabilities_BC.topk(min(_TOP, len(self.names)), dim=1)
        answers = []
        for values, classes in zip(values_BK.tolist(), classes_BK.tolist(), strict=True):
            ranked = {self.names[label]: value for label, value in zip(classes, values, strict=True)}
            answers.append({"label": self.names[classes[0]], "probability": values[0], "probabilities": ranked})
        return answers

    def explain(self, model: nn.Module, inputs: tuple[Tensor, ...], method: str) -> list[dict[str, Any]]:
        """For each row an `explanation` of its most probable class, by `integrated-gradients`, `occlusion` or
        `grad-cam`, of a convolution that may be named: `grad-cam:LAYER`. Captum computes them.

        Of a picture it is one, red for what speaks for the class and blue for what speaks against it; of a text each
        token with its score; of anything else a score for each number.
        """
        from labwright_tasks.explaining import explained, shown

        with torch.no_grad():  # what is answered, also where that is a mean over views
            classes_B = self._answered(model, Batch(inputs, None)).argmax(1)
        return shown(self.data, inputs, explained(model, self.data.ports()[0], inputs, method, classes_B))

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """A confusion matrix, each class's precision and recall, and of pictures the worst mistakes."""
        from labwright_tasks.classification_report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        probabilities, labels = [], []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _SEEN_AT_ONCE):
                logits_BC, labels_B = self.evaluate(model, batch.to(device))
                probabilities.append(_probabilities(logits_BC))
                labels.append(labels_B.cpu())
        reasons = partial(self._reasons, model, device) if self.explanations else None
        shown = sections(torch.cat(probabilities), torch.cat(labels), self.names, part, self.data.show, reasons)
        if self.test_time:
            shown[0] = replace(shown[0], note=f"{shown[0].note} {_MIRRORED}")
        return shown

    def _reasons(self, model: nn.Module, device: torch.device, batch: Batch, classes_B: Tensor) -> Sequence[Section]:
        """What these answers rest on, of a batch that isn't on the device yet."""
        from labwright_tasks.explaining import explained, section

        assert self.explanations
        port, inputs = self.data.ports()[0], batch.to(device).inputs
        with evaluating(model):
            scores = explained(model, port, inputs, self.explanations, classes_B.to(device))
        given = [self.names[label] for label in classes_B.tolist()]
        true = [self.names[label] for label in batch.targets.tolist()]
        return section(self.data, inputs, scores, given, true, self.explanations)

    def views(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits (V, B, C) of each way in which a sample is shown: as it is, and mirrored if that is asked for."""
        logits_BC = output(model, batch)
        if self.test_time is None:
            return logits_BC[None]
        mirrored = output(model, replace(batch, inputs=(batch.inputs[0].flip(-1), *batch.inputs[1:])))
        return torch.stack([logits_BC, mirrored])

    def _answered(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits (B, C); of the mean probability of all views, if there are several."""
        return together(self.views(model, batch))


def drawn_by_class(labels_N: Tensor, shares_C: Tensor, draws: Generator) -> Tensor:
    """As many samples as there are labels, int64 indices (N,): each of a class drawn by its share, then one of its own.

    A class of a share above 0 has samples.
    """
    by_class_N = labels_N.argsort(stable=True)
    counts_C = labels_N.bincount(minlength=len(shares_C))
    drawn_N = torch.multinomial(shares_C, len(labels_N), replacement=True, generator=draws)
    within_N = torch.rand(len(labels_N), generator=draws, dtype=torch.float64)
    starts_C = counts_C.cumsum(0) - counts_C
    return by_class_N[starts_C[drawn_N] + (within_N * counts_C[drawn_N]).long()]


def _labels(split: Split, in_memory: bool) -> Tensor | None:
    if isinstance(split, Labelled):
        return split.labels
    if not in_memory:
        return None
    starts = range(0, len(split), _AT_ONCE)
    chunks = (torch.arange(start, min(start + _AT_ONCE, len(split))) for start in starts)
    return torch.cat([split.fetch(indices, 0, 0).targets for indices in chunks])


def _probabilities(logits_BC: Tensor) -> Tensor:
    return logits_BC.detach().float().softmax(dim=1).cpu()
