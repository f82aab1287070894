"""Trials that differ only in settings declared PerTrial, trained as one program over stacked parameters.

`fuse_key` says which experiments can share a program, `why_not` why one can't; `fit_fused` trains.
See docs/explanation/fused.md.
"""

from labwright_study.fused.fuse_key import CannotFuse, fuse_key, why_not
from labwright_study.fused.fused_loop import Fused, fit_fused
from labwright_study.fused.program import FORMS, Form

__all__ = ["FORMS", "CannotFuse", "Form", "Fused", "fit_fused", "fuse_key", "why_not"]
