"""A search from one call: what `labwright tune` does, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labwright import Experiment, LabwrightError, Plugins

from labwright_study.findings import Findings
from labwright_study.study import Study


def tune(
    recipe: Experiment | Path | str,
    overrides: Sequence[str] = (),
    trials: int = 50,
    *,
    search: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    fixed: Sequence[str] = (),
    confirm: int = 0,
    seeds: int = 5,
    plugins: Plugins | Sequence[object] = (),
    **how: Any,
) -> Findings:
    """Search for better settings of a recipe, as `labwright tune` does; the same call goes on with the same study.

    Args:
        recipe: A recipe's name, a file that ends in .toml, or an experiment.
        overrides: `field=value`, which hold for all trials; what they set isn't searched.
        trials: How many, with those that are there already.
        search: Where to look, beside the recipe's own table: `{"model.width": {"low": 32, "high": 256, "log": True}}`.
        only: Paths and patterns outside of which nothing is searched.
        fixed: Paths and patterns of what isn't searched.
        confirm: So many of the best are run again over fresh seeds: `confirmed` of what is returned.
        seeds: How many fresh seeds.
        plugins: Those among which a recipe's names are looked up, or further ones; all that are installed by default.
        how: What else `Study` takes, such as `workers`, `goals`, `sampler` and `folder`.

    Raises LabwrightError for what doesn't fit, and where every trial fails.

    Example: `lw.tune("vision/digits-mlp", ["task.data.valid=0.2"], trials=20, workers=2).best`
    """
    if min(confirm, seeds) < 0 or (confirm and not seeds):
        raise LabwrightError(f"given confirm={confirm} and seeds={seeds}; they are numbers of trials and of seeds.")
    if not isinstance(recipe, Experiment):
        recipe = Experiment.from_recipe(recipe, overrides, plugins=plugins)
    elif overrides:
        raise LabwrightError("overrides are of a recipe; of an experiment, give `experiment.varied({...})` instead.")
    study = study_of(recipe, overrides, trials, search=search, only=only, fixed=fixed, **how)
    findings = study.run()
    return (
        replace(findings, confirmed=study.confirm(confirm, seeds)) if confirm and not findings.interrupted else findings
    )


def study_of(
    experiment: Experiment,
    overrides: Iterable[str],
    trials: int,
    *,
    search: Mapping[str, Any] | None,
    only: Sequence[str] | None,
    fixed: Sequence[str] | None,
    **how: Any,
) -> Study:
    """The study of an experiment that was made with overrides: what they set isn't searched."""
    marks = experiment.marks()
    pinned = [path for path in (text.partition("=")[0] for text in overrides) if path in marks]
    table = dict(search or {}) | ({"only": list(only)} if only else {})
    return Study(experiment, trials, search=table, fixed=[*(fixed or ()), *pinned], **how)
