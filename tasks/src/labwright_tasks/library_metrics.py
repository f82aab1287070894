"""The metrics of torchmetrics by their names. It takes seconds to import, so that only who uses one does. C classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from labwright import Classes, Family, LabwrightError, Port, Values, listed, nearest
from torch import Tensor, nn

from labwright_tasks.metrics import Splits, probabilities


class LibraryMetric(nn.Module):
    """A metric of torchmetrics.

    Of classes it is given probabilities and labels, and `task = "multiclass"` and `num_classes` where it takes them and
    they aren't among the options; with `task = "binary"` the probability of the second of two classes. Of numbers it is
    given predictions and targets, and `num_outputs` where there are several. A result for each class or number becomes
    a table.

    Args:
        options: the metric's own settings, by the names that torchmetrics has for them; left out, its own defaults.

    Raises ValueError with its own complaint for options that it doesn't take, LabwrightError for what it can't compute.
    """

    label: ClassVar[str]
    library: ClassVar[Callable[..., Any]]
    defaults: ClassVar[Mapping[str, Any]]
    higher_is_better: ClassVar[bool | None]

    def __init_subclass__(cls) -> None:
        # a name that stands for several tasks leaves it to the class of each
        of_classes = getattr(_library().classification, f"Multiclass{cls.__name__}", None)
        directions = [getattr(one, "higher_is_better", None) for one in (cls.library, of_classes)]
        cls.higher_is_better = next((one for one in directions if one is not None), None)

    def __init__(self, outputs: Port, *, options: dict[str, Any] | None = None, splits: Splits | None = None) -> None:
        super().__init__()
        self.outputs, self.splits = outputs, splits
        known = [name for name in inspect.signature(self.library).parameters if name not in ("args", "kwargs")]
        given = {key: value for key, value in self._of_port().items() if key in known} | (options or {})
        self.binary = given.get("task") == "binary"
        try:
            self.metric = self.library(**given)
        except Exception as error:  # whatever it has to say
            unknown = [key for key in options or {} if key not in known]
            hint = nearest(unknown[0], known, "") if unknown else ""
            raise ValueError(f"{error}{hint}. Its options are {listed(known, most=40)}") from error

    def update(self, *results: Tensor) -> None:
        predictions, *others = results
        if not len(predictions):  # of a batch in which nothing counts; some metrics of the library mind
            return
        if isinstance(self.outputs, Classes):
            predictions, others = probabilities(predictions), [other.flatten() for other in others]
            predictions = predictions[:, 1] if self.binary else predictions
        self._tried(self.metric.update, predictions, *others)

    def compute(self) -> Any:
        return self._table(self._tried(self.metric.compute))

    def reset(self) -> None:
        self.metric.reset()

    def _table(self, value: Any) -> Any:
        """A result for each class or number, by their names."""
        if not isinstance(value, Tensor) or not value.dim():
            return value
        names = self.outputs.names if isinstance(self.outputs, Classes) else tuple(map(str, range(len(value))))
        fits = len(names) == len(value)
        return {name: self._table(one) for name, one in zip(names, value, strict=True)} if fits else value

    def _of_port(self) -> dict[str, Any]:
        if isinstance(self.outputs, Classes):
            return {"task": "multiclass", "num_classes": len(self.outputs.names)}
        return {"num_outputs": self.outputs.dim} if isinstance(self.outputs, Values) and self.outputs.dim > 1 else {}

    def _tried(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, TypeError, RuntimeError) as error:
            raise LabwrightError(f"metric {self.label!r} can't be computed here: {error}") from error


def _library() -> Any:
    try:
        import torchmetrics
    except ImportError as error:
        raise LabwrightError(
            "metrics called torchmetrics/NAME need torchmetrics: pip install labwright-tasks[torchmetrics]"
        ) from error
    return torchmetrics


def _names() -> list[str]:
    library = _library()
    exported = {name: getattr(library, name) for name in library.__all__ if name != "Metric"}
    return [name for name, one in exported.items() if inspect.isclass(one) and issubclass(one, library.Metric)]


def _found(name: str) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    return getattr(_library(), name), {}


TORCHMETRICS: Mapping[str, type[LibraryMetric]] = Family("torchmetrics", _names, _found, LibraryMetric)
