"""Language for labwright. `labwright_nlp.write_tokens(texts, "tokens", "gpt2")` makes the files `nlp/tokens` reads."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_nlp.data.token_writing import write_tokens as write_tokens

__all__ = ["write_tokens"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'labwright_nlp' has no attribute {name!r}")
    return getattr(importlib.import_module("labwright_nlp.data.token_writing"), name)
