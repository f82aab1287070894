"""Studies and comparisons for labwright: Optuna's search over what plugins declare, fused trials, paired tests.

`labwright.Study`, `labwright.tune` and `labwright.compare` are these; the verbs tune, study, worker and compare call
them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_study.comparing.comparison import compare as compare
    from labwright_study.comparing.result import Comparison as Comparison
    from labwright_study.study import Study as Study
    from labwright_study.tuning import tune as tune

_MODULE_OF = {"Comparison": "comparing.result", "Study": "study", "compare": "comparing.comparison", "tune": "tuning"}

__all__ = ["Comparison", "Study", "compare", "tune"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright_study' has no attribute {name!r}")
    import warnings

    with warnings.catch_warnings():  # red lines in a notebook without ipywidgets, as Optuna imports tqdm
        warnings.filterwarnings("ignore", "IProgress not found")
        return getattr(importlib.import_module(f"labwright_study.{_MODULE_OF[name]}"), name)
