"""What labwright-tasks brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_tasks"
    yield lw.Component(
        "task", "classification", f"{here}.classification:Classification", "which of several classes an input is"
    )
    yield lw.Component(
        "task", "dense-labels", f"{here}.dense_labels:DenseLabels", "a class for each word or pixel of an input"
    )
    yield lw.Component("task", "language-model", f"{here}.language_model:LanguageModel", "what comes next in a text")
    yield lw.Component("task", "regression", f"{here}.regression:Regression", "real numbers that belong to an input")
    yield lw.Component(
        "task", "sequence-to-sequence", f"{here}.sequence_to_sequence:SequenceToSequence", "one sequence out of another"
    )
    yield from _metrics(here)
    yield lw.Component("task", "multi", f"{here}.multi:MultiTask", "several answers about each input, a head for each")
    yield lw.Component(
        "data", "joined", f"{here}.joined:Joined", "several data sets of like inputs, each of them a head"
    )
    yield lw.Component("data", "fold", f"{here}.fold_data:Fold", "one fold of other data, for cross-validation")
    yield lw.Component("model", "heads", f"{here}.heads:HeadsOnTrunk", "linear heads on any model as their trunk")
    yield lw.Component("loss", "cross-entropy", f"{here}.losses:CrossEntropy", "negative log-likelihood of the class")
    yield lw.Component("loss", "mse", f"{here}.losses:MeanSquaredError", "mean squared error")
    yield lw.Component("loss", "mae", f"{here}.losses:MeanAbsoluteError", "mean absolute error")
    yield lw.Component("loss", "huber", f"{here}.losses:Huber", "squared near zero, absolute beyond a threshold")
    yield lw.Component("loss", "focal", f"{here}.rare_losses:Focal", "cross-entropy of what isn't well told yet")
    yield lw.Component("loss", "dice", f"{here}.rare_losses:Dice", "overlap of each class, rare ones alike")
    yield lw.Component("loss", "tversky", f"{here}.rare_losses:Tversky", "dice that minds what is missed more")
    yield lw.Component(
        "loss", "generalized-dice", f"{here}.rare_losses:GeneralizedDice", "overlap of all classes, weighed by size"
    )
    yield lw.Component("loss", "sum", f"{here}.losses:Summed", "several losses over classes together, each logged")
    yield lw.Component("loss", "penalized", f"{here}.losses:Penalized", "another loss plus L1 and L2 penalties")
    yield lw.Component("loss", "weighted", f"{here}.head_losses:Weighted", "heads' losses by weights that are given")
    yield lw.Component("loss", "uncertainty", f"{here}.head_losses:Uncertainty", "heads' losses by learned variances")
    yield lw.Component(
        "optimizer", "torch/*", f"{here}.library_optimizers:TORCH", "any optimizer of torch.optim by its name"
    )
    yield from (*_schedules(here), *_stops(here))
    yield lw.Component("method", "sam", f"{here}.sam:SharpnessAware", "the gradient where the loss is worst nearby")
    yield lw.Component("method", "pcgrad", f"{here}.pcgrad:ProjectedGradients", "parts' gradients without conflicts")
    yield lw.Component("task", "two-views", f"{here}.two_views:TwoViews", "a representation, learned without labels")
    yield lw.Component("model", "projected", f"{here}.projected:Projected", "any encoder, and a projector of views")
    yield lw.Component(
        "model", "with-teacher", f"{here}.projected:WithTeacher", "any encoder that predicts an average of itself"
    )
    yield lw.Component("model", "headed", f"{here}.projected:Headed", "any encoder, and a linear layer on its features")
    yield lw.Component(
        "model", "calibrated", f"{here}.calibration.model:Calibrated", "any classifier, its logits over a temperature"
    )
    yield lw.Component(
        "method",
        "temperature-scaling",
        f"{here}.calibration.method:TemperatureScaling",
        "the temperature that fits the valid part",
    )
    yield lw.Component("loss", "in-batch", f"{here}.views_losses:InBatch", "which of a batch belongs to which")
    yield lw.Component("loss", "nt-xent", f"{here}.views_losses:NtXent", "SimCLR's: a view's pair among all others")
    yield lw.Component("loss", "vicreg", f"{here}.views_losses:VICReg", "variance, invariance and covariance of views")
    yield lw.Component("loss", "byol", f"{here}.views_losses:Byol", "the distance from what a teacher gives")


def _stops(here: str) -> Iterator[lw.Component]:
    yield lw.Component("stop", "early", f"{here}.stopping:Early", "end when a metric has not improved for a while")
    yield lw.Component("stop", "seconds", f"{here}.stopping:Seconds", "end after a stretch of time")


def _schedules(here: str) -> Iterator[lw.Component]:
    here += ".schedules"
    yield lw.Component("schedule", "linear", f"{here}:Linear", "along a line to the end")
    yield lw.Component("schedule", "cosine", f"{here}:Cosine", "along half a cosine to the end")
    yield lw.Component("schedule", "exponential", f"{here}:Exponential", "by the same factor at each update")
    yield lw.Component("schedule", "one-cycle", f"{here}:OneCycle", "up for the first 0.3 of the run, then down")
    yield lw.Component("schedule", "polynomial", f"{here}:Polynomial", "as a power of what is left of the run")
    yield lw.Component("schedule", "step", f"{here}:Step", "by a factor at places of the run")
    yield lw.Component("schedule", "cosine-restarts", f"{here}:CosineRestarts", "half a cosine again and again: SGDR")
    yield lw.Component(
        "schedule", "reduce-on-plateau", f"{here}:ReduceOnPlateau", "by a factor when valid has stopped improving"
    )
    yield lw.Component(
        "schedule", "torch/*", "labwright_tasks.library_schedules:TORCH", "any of torch.optim.lr_scheduler by its name"
    )


def _metrics(here: str) -> Iterator[lw.Component]:
    yield lw.Component("metric", "top-k", f"{here}.metrics:TopK", "share of labels among the k highest logits")
    yield lw.Component("metric", "f1", f"{here}.metrics:F1", "precision and recall, over classes alike and of each")
    yield lw.Component("metric", "auroc", f"{here}.metrics:AUROC", "area under the ROC curve, a class against others")
    yield lw.Component(
        "metric", "calibration-error", f"{here}.metrics:CalibrationError", "how far confidence is from accuracy"
    )
    yield lw.Component("metric", "confusion", f"{here}.metrics:Confusion", "how often each class was given for each")
    yield lw.Component(
        "metric", "mean-iou", f"{here}.overlap:MeanIoU", "intersection over union, the mean over classes"
    )
    yield lw.Component("metric", "iou", f"{here}.overlap:IoU", "intersection over union of each class")
    yield lw.Component("metric", "dice", f"{here}.overlap:Dice", "twice the overlap over both sizes, of each class")
    yield lw.Component(
        "metric", "boundary-f1", f"{here}.boundaries:BoundaryF1", "how well borders between classes are met"
    )
    yield lw.Component("metric", "entity-f1", f"{here}.overlap:EntityF1", "F1 of whole entities, of tags B- and I-")
    yield lw.Component(
        "metric", "strict-entity-f1", f"{here}.overlap:StrictEntityF1", "F1 of whole entities that begin with B-"
    )
    yield lw.Component(
        "metric", "bits-per-char", f"{here}.metrics:BitsPerCharacter", "bits a character of a text takes"
    )
    yield lw.Component(
        "metric", "exact-match", f"{here}.metrics:ExactMatch", "share of texts written as they are meant"
    )
    yield lw.Component("metric", "rmse", f"{here}.regression:RootMeanSquare", "root of the mean squared difference")
    yield lw.Component("metric", "mae", f"{here}.regression:MeanAbsolute", "mean absolute difference")
    yield lw.Component("metric", "r2", f"{here}.regression:Explained", "share of the variance explained")
    yield lw.Component(
        "metric", "torchmetrics/*", f"{here}.library_metrics:TORCHMETRICS", "any metric of torchmetrics by its name"
    )


@lw.hookimpl
def labwright_kinds() -> Iterator[lw.Kind]:
    yield lw.Kind("suggester", "", "suggesters", "`labwright suggest --as`")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    here, look = "labwright_tasks", "Look"
    yield lw.Verb(
        "calibrate",
        f"{here}.calibration.verb:verb",
        "probabilities of a run that mean what they say, in a new one",
        "Train",
        trains=True,
    )
    yield lw.Verb("check-data", f"{here}.checking.verb:verb", "what may be amiss with data", look)
    yield lw.Verb(
        "cross-validate",
        f"{here}.cross_validation.verb:verb",
        "train a recipe on each fold of its data",
        "Train",
        trains=True,
    )
    yield lw.Verb("schema", f"{here}.schemas.verb:verb", "the JSON Schema of recipes, for editors", look)
    yield lw.Verb("suggest", f"{here}.suggesting.verb:verb", "what data is, and a recipe for it", look)


@lw.hookimpl
def labwright_preflight(experiment: lw.Experiment, built: lw.Built, folder: Path | None) -> None:
    from labwright_tasks.preflight import check  # here: nothing of it is needed before there is a run

    check(experiment, built, folder)
