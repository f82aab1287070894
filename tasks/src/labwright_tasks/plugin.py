"""What labwright-tasks brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

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
    yield lw.Component("task", "two-views", f"{here}.two_views:TwoViews", "a representation, learned without labels")
    yield lw.Component("model", "projected", f"{here}.projected:Projected", "any encoder, and a projector of views")
    yield lw.Component(
        "model", "with-teacher", f"{here}.projected:WithTeacher", "any encoder that predicts an average of itself"
    )
    yield lw.Component("model", "headed", f"{here}.projected:Headed", "any encoder, and a linear layer on its features")
    yield lw.Component("loss", "nt-xent", f"{here}.views_losses:NtXent", "SimCLR's: a view's pair among all others")
    yield lw.Component("loss", "vicreg", f"{here}.views_losses:VICReg", "variance, invariance and covariance of views")
    yield lw.Component("loss", "byol", f"{here}.views_losses:Byol", "the distance from what a teacher gives")
