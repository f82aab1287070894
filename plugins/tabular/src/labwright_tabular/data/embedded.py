"""Small tables that come with scikit-learn, imported where they are read."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

from labwright import Classes
from labwright_tasks.tables import Table
from pydantic import Field

from labwright_tabular.data.columns import Scale
from labwright_tabular.data.parts import Share
from labwright_tabular.data.tabular import Tabular
from labwright_tabular.ports import Scaled


class _Embedded(Tabular):
    def __init__(
        self,
        *,
        scale: Scale = "standard",
        valid: Share = 0.1,
        test: Share = 0.2,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(valid=valid, test=test, seed=seed, scale=scale)

    @property
    def answer(self) -> str:
        return "target"

    @abstractmethod
    def bunch(self) -> Any:
        """scikit-learn's data, features and target as they were measured."""

    def table(self) -> Table:
        bunch = self.bunch()
        columns = {
            name: list(map(repr, values.tolist()))
            for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)
        }
        names = bunch.get("target_names")
        target = [repr(value) if names is None else str(names[value]) for value in bunch.target.tolist()]
        return Table(
            f"scikit-learn's {type(self).__name__}", {**columns, "target": target}, range(1, len(target) + 1), "row"
        )


class BreastCancer(_Embedded):
    """569 tumours, malignant or benign, by 30 measurements of cell nuclei."""

    target = Classes
    source = "scikit-learn; UCI Machine Learning Repository, Breast Cancer Wisconsin (Diagnostic), Wolberg et al. 1993"
    licence = "CC BY 4.0"

    def bunch(self) -> Any:
        from sklearn.datasets import load_breast_cancer

        return load_breast_cancer()


class Wine(_Embedded):
    """178 wines of three growers by 13 chemical measurements."""

    target = Classes
    source = "scikit-learn; UCI Machine Learning Repository, Wine, Aeberhard & Forina 1992"
    licence = "CC BY 4.0"

    def bunch(self) -> Any:
        from sklearn.datasets import load_wine

        return load_wine()


class Diabetes(_Embedded):
    """442 patients: how far the disease goes in a year, 25 to 346, by ten measurements (Efron et al. 2004).

    Args:
        seed: of the draw of what is held out.
    """

    target = Scaled
    source = "scikit-learn; Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression"
    licence = "free to use, as published by its authors"

    def bunch(self) -> Any:
        from sklearn.datasets import load_diabetes

        return load_diabetes(scaled=False)
