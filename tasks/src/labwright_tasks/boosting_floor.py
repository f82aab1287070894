"""Gradient boosting of trees on columns, as a floor: what a network for tables has to beat.

scikit-learn is imported here alone, where it is installed. N samples, F columns, C classes.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from labwright import Features, Port, Split
from torch import Tensor, nn

from labwright_tasks.features import Columns
from labwright_tasks.linear_floor import Answering, drawn, learned_from, log_shares
from labwright_tasks.weights import weights_in

_CELLS = 3_000_000  # samples times columns times trees of a round: a few seconds a fit
_LEVELS = 255  # of a category, more than which scikit-learn's trees don't tell apart


def boosting(port: Port, train: Split, classes: int = 0) -> tuple[str, nn.Module] | None:
    """What histogram gradient boosting is called, and itself; None without scikit-learn, or for no table.

    Of so many `classes`, or of one number. It is scikit-learn's as it comes, after LightGBM (Ke et al. 2017).
    """
    if find_spec("sklearn") is None or not (isinstance(port, Columns) or _is_flat(port)):
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    width = _table(*port.example(1, torch.Generator())).shape[1]
    rows = drawn(train, max(1, _CELLS // (width * max(1, classes if classes > 2 else 1))))
    batch = train.fetch(rows, 0, 0)
    x_NF, targets_N, weights_N = _table(*batch.inputs), batch.targets.numpy(), weights_in(batch)
    if classes and len(np.unique(targets_N)) < 2:
        return None
    levels = port.levels if isinstance(port, Columns) else ()
    categories = [width - len(levels) + place for place, count in enumerate(levels) if count <= _LEVELS]
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(categorical_features=categories, random_state=0)
    model.fit(x_NF, targets_N.ravel(), sample_weight=None if weights_N is None else weights_N.numpy())

    def answer(*inputs: Tensor) -> Tensor:
        if not classes:
            return torch.from_numpy(model.predict(_table(*inputs))).float()[:, None]
        return log_shares(model, _table(*inputs), classes)

    return f"gradient boosting{learned_from(rows, train)}", Answering(answer)


def _is_flat(port: Port) -> bool:
    return isinstance(port, Features) and len(port.shape) == 1


def _table(*inputs: Tensor) -> np.ndarray:
    """Numbers and codes side by side."""
    return torch.cat([columns.double() for columns in inputs], dim=1).numpy()
