"""Trials that differ only in settings declared PerTrial, trained as one program over stacked parameters.

`fuse_key` says which experiments can share a program, `why_not` why one can't; `fit_fused` trains.
See docs/explanation/fused.md.
"""

from labwright.fused.alike import CannotFuse, fuse_key, why_not
from labwright.fused.program import FORMS, Form
from labwright.fused.training import Fused, fit_fused

__all__ = ["FORMS", "CannotFuse", "Form", "Fused", "fit_fused", "fuse_key", "why_not"]
