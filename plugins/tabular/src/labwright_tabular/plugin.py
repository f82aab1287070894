"""What labwright-tabular brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    here = "labwright_tabular"
    yield lw.Component(
        "task", "tabular/quantiles", f"{here}.quantiles:QuantileRegression", "between which numbers an answer lies"
    )
    data = f"{here}.data"
    yield lw.Component("data", "tabular/table", f"{data}.table:ClassTable", "your own table, to tell classes")
    yield lw.Component("data", "tabular/number-table", f"{data}.table:NumberTable", "your own table, to tell a number")
    yield lw.Component("data", "tabular/breast-cancer", f"{data}.embedded:BreastCancer", "569 tumours, two classes")
    yield lw.Component("data", "tabular/wine", f"{data}.embedded:Wine", "178 wines of three growers")
    yield lw.Component("data", "tabular/diabetes", f"{data}.embedded:Diabetes", "442 patients, how far a disease goes")
    models = f"{here}.models"
    yield lw.Component("model", "tabular/mlp", f"{models}.mlp:MLP", "perceptron over embedded numbers and categories")
    yield lw.Component("model", "tabular/resnet", f"{models}.resnet:ResNet", "residual network for tables")
    yield lw.Component(
        "model", "tabular/ft-transformer", f"{models}.ft_transformer:FTTransformer", "transformer over a row's columns"
    )
    yield lw.Component(
        "model", "tabular/wide-and-deep", f"{models}.wide_and_deep:WideAndDeep", "linear model and perceptron, summed"
    )
    losses = f"{here}.losses"
    yield lw.Component("loss", "tabular/standardized", f"{losses}:Standardized", "another loss in standard deviations")
    yield lw.Component("loss", "tabular/pinball", f"{losses}:Pinball", "least at the quantiles of the target")
    yield lw.Component(
        "suggester", "tabular/columns", f"{here}.suggesting:columns", "a table of numbers and categories"
    )


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name, summary in (
        ("breast-cancer", "a perceptron on scikit-learn's tumours"),
        ("wine", "a perceptron on scikit-learn's wines"),
        ("diabetes", "a perceptron on scikit-learn's patients"),
        ("diabetes-quantiles", "between which numbers the disease goes on"),
        ("table", "a perceptron on your own table, to tell classes"),
        ("number-table", "a perceptron on your own table, to tell a number"),
        ("adult", "who earns more than 50,000, in the census of 1994"),
        ("california", "prices of houses, in the census of 1990"),
    ):
        yield lw.Recipe(f"tabular/{name}", folder / f"{name}.toml", summary)
