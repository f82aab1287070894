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
