"""labwright: a plugin-based research framework on PyTorch. `import labwright as lw`.

Every public name is in `__init__.pyi`, with the module that it is from. It is imported on first use, so that plugins
can be listed without torch: `attach_stub` of SPEC 1 of Scientific Python, in a few lines.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from labwright.base import ranks as ranks
from labwright.base.elsewhere import brought

_IMPORTS = re.finditer(
    r"^from (labwright[.\w]+) import (?:\(([^)]+)\)|(.+))", Path(__file__).with_suffix(".pyi").read_text("utf-8"), re.M
)
_MODULE_OF = {name: line[1] for line in _IMPORTS for name in re.findall(r"as (\w+)", line[2] or line[3])}
_OF_STUDIES = ("Comparison", "Study", "compare", "tune")  # found through the entry point that is called study

__all__ = [*_MODULE_OF, *_OF_STUDIES]


def __getattr__(name: str) -> Any:
    if name in _OF_STUDIES:
        value = brought("study", name)
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'labwright' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
