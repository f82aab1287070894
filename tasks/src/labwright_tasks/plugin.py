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
    yield lw.Component("task", "language-model", f"{here}.language_model:LanguageModel", "what comes next in a text")
    yield lw.Component("task", "regression", f"{here}.regression:Regression", "real numbers that belong to an input")
    yield lw.Component("task", "multi", f"{here}.multi:MultiTask", "several answers about each input, a head for each")
    yield lw.Component(
        "data", "joined", f"{here}.joined:Joined", "several data sets of like inputs, each of them a head"
    )
    yield lw.Component("model", "heads", f"{here}.heads:HeadsOnTrunk", "linear heads on any model as their trunk")
    yield lw.Component("loss", "weighted", f"{here}.head_losses:Weighted", "heads' losses by weights that are given")
    yield lw.Component("loss", "uncertainty", f"{here}.head_losses:Uncertainty", "heads' losses by learned variances")
    yield lw.Component("method", "sam", f"{here}.sam:SharpnessAware", "the gradient where the loss is worst nearby")
    yield lw.Component("method", "pcgrad", f"{here}.pcgrad:ProjectedGradients", "parts' gradients without conflicts")
