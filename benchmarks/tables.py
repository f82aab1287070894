"""Recipes of labwright-tabular beside scikit-learn on the same rows: prints TABLES.md.

python benchmarks/tables.py > benchmarks/TABLES.md: breast cancer, wine and diabetes by five folds (scikit-learn's,
shuffled, seed 0, classes in proportion), each recipe as it is shipped; adult and California housing on the recipe's own
test part, seeds 0 to 2, and how many rows of adult a second one core trains on (processor time of whole steps).
The floors learn from the valid part as well: logistic or ridge regression from standard numbers and one-hot levels,
histogram gradient boosting from the same with levels as categories; scikit-learn's defaults.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import labwright as lw
import numpy as np
import torch
from labwright_tabular.data import embedded
from labwright_tabular.data.parts import TEST, TRAIN
from labwright_tabular.data.tabular import Tabular
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

FOLDS, SEEDS = 5, 3
SMALL = {"breast-cancer": embedded.BreastCancer, "wine": embedded.Wine, "diabetes": embedded.Diabetes}
LARGE = {"adult": "adult/adult.csv.gz", "california": "california_housing/california.csv.gz"}
OTHERS = {  # models beside the recipe's own on adult, seed 0
    "wide-and-deep": ('model={name="tabular/wide-and-deep",bins=128,dropout=0.0}',),
    "resnet": ('model={name="tabular/resnet",bins=128,dropout=0.1}', "optimizer.lr=2e-3"),
    "ft-transformer": (
        'model={name="tabular/ft-transformer",numbers="piecewise",bins=128,dim=32,heads=4,depth=2}',
        "optimizer.lr=1e-3",
        "train.batch_size=512",
        "train.epochs=8",
    ),
}
METRICS = {"breast-cancer": "accuracy", "wine": "accuracy", "diabetes": "r2", "adult": "auroc", "california": "rmse"}


HEAD = """# Tables

Recipes of labwright-tabular beside scikit-learn's linear models (logistic and ridge regression) and histogram gradient
boosting, on the same test rows; breast cancer, wine and diabetes by five folds, adult and California housing on the
recipe's test part, three seeds of training. The floors learn from the valid part as well. `tables.py` measures them.

| table | metric | model | mean | standard error | each |
| --- | --- | --- | --: | --: | --- |"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", nargs="*", default=[*SMALL, *LARGE])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD, flush=True)
    for name in arguments.only:
        scores = by_folds(name) if name in SMALL else by_seeds(name, arguments.data / LARGE[name])
        for model, each in scores.items():
            error = f"{statistics.stdev(each) / len(each) ** 0.5:.4f}" if len(each) > 1 else "-"
            values = " ".join(f"{score:.4f}" for score in each)
            print(
                f"| {name} | {METRICS[name]} | {model} | {statistics.mean(each):.4f} | {error} | {values} |",
                flush=True,
            )
    if "adult" in arguments.only:
        rate = rows_a_second(arguments.data / LARGE["adult"])
        print(f"\nadult trains at {rate:,.0f} rows a second of one core: whole steps, by the processor's time.")


def by_folds(name: str) -> dict[str, list[float]]:
    """The score on each fold by each model."""
    whole = SMALL[name]()
    table = whole.table()
    rows = np.zeros(len(table))
    if name == "diabetes":
        folds = KFold(FOLDS, shuffle=True, random_state=0).split(rows)
    else:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows, table[whole.answer])
    scores: dict[str, list[float]] = {}
    for _, test in folds:
        data = fold_of(SMALL[name], test)
        for model, score in [("recipe", trained(name, data)), *floors(name, data)]:
            scores.setdefault(model, []).append(score)
    return scores


def by_seeds(name: str, path: Path) -> dict[str, list[float]]:
    """The score on the recipe's test part of the recipe over seeds, and of the floors."""
    scores: dict[str, list[float]] = {"recipe": []}
    for seed in range(SEEDS):
        experiment = lw.Experiment.from_recipe(f"tabular/{name}", [f"task.data.path={path}", f"train.seed={seed}"])
        scores["recipe"].append(tested(experiment, METRICS[name]))
    for model, overrides in OTHERS.items() if name == "adult" else ():
        other = lw.Experiment.from_recipe(f"tabular/{name}", [f"task.data.path={path}", *overrides])
        scores[model] = [tested(other, METRICS[name])]
    data = experiment.task.build().data
    data.prepare()
    return scores | {model: [score] for model, score in floors(name, data)}


def fold_of(kind: Callable[[], Tabular], test: np.ndarray) -> Tabular:
    """The data with these rows as its test part, and all others to train on."""

    class Fold(kind):  # type: ignore[misc,valid-type]
        def divide(self, groups_R: np.ndarray) -> np.ndarray:
            parts_R = np.full(len(groups_R), TRAIN, np.uint8)
            parts_R[test] = TEST
            return parts_R

    data: Tabular = Fold()
    return data


def trained(name: str, data: Tabular) -> float:
    recipe = lw.Plugins.discover().recipe(f"tabular/{name}")
    parts: dict[str, Any] = tomllib.loads(recipe.path.read_text(encoding="utf-8"))
    parts["task"]["data"] = data
    return tested(lw.Experiment(**parts), METRICS[name])


def tested(experiment: lw.Experiment, metric: str) -> float:
    with TemporaryDirectory() as scratch:
        return experiment.run(Path(scratch) / "run").metrics["test"][metric]


def floors(name: str, data: Tabular) -> Iterator[tuple[str, float]]:
    """What a linear model and gradient boosting reach, trained on all rows but those of test."""
    data.scale = "standard"
    data.prepare()
    x, y = (np.concatenate(both) for both in zip(*arrays(data, "train", "valid"), strict=True))
    ((x_test, y_test),) = arrays(data, "test")
    count = len(data.columns.port().numbers)
    levels = list(range(count, x.shape[1]))
    classes = METRICS[name] in ("accuracy", "auroc")
    linear = LogisticRegression(max_iter=2000) if classes else Ridge()
    coded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), levels), remainder="passthrough")
    boosting = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
        categorical_features=levels, random_state=0
    )
    for model, fitted in (("linear", make_pipeline(coded, linear)), ("boosting", boosting)):
        fitted.fit(x, y)
        if METRICS[name] == "auroc":
            yield model, float(roc_auc_score(y_test, fitted.predict_proba(x_test)[:, 1]))
        else:
            of = {"accuracy": accuracy_score, "r2": r2_score, "rmse": root_mean_squared_error}[METRICS[name]]
            yield model, float(of(y_test, fitted.predict(x_test)))


def arrays(data: Tabular, *splits: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The numbers and codes of each split that there is, side by side, and its answers."""
    parts = [part for split in splits if (part := data.split(split)) is not None]
    return [(np.hstack([x.numpy() for x in part.inputs]), part.labels.numpy().ravel()) for part in parts]


def rows_a_second(path: Path) -> float:
    """Rows of adult that training goes through in a second of processor time: batches, losses, gradients, updates."""
    moments: list[tuple[int, float]] = []

    class Clock:
        @lw.hookimpl
        def labwright_step_ended(self, step: int) -> None:
            moments.append((step, time.process_time()))

    overrides = [f"task.data.path={path}", "train.evaluate_every=12 epochs", "train.save_every=12 epochs"]
    experiment = lw.Experiment.from_recipe("tabular/adult", overrides, plugins=[Clock()])
    size = experiment.table()["train"]["batch_size"]
    with TemporaryDirectory() as scratch:
        experiment.run(Path(scratch) / "run")
    (first, begun), (last, ended) = moments[10], moments[-5]
    return (last - first) * size / (ended - begun)


if __name__ == "__main__":
    main()
