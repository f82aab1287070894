"""Models that are computed rather than descended to, and models with something to remark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from labwright.data.batching import IndexedBatches


class ClosedForm(nn.Module, ABC):
    """A model that is computed rather than descended to: its state are buffers, and one call of `fit` is its training.

    Its recipe has no loss, no optimizer, and neither epochs nor steps.

    Example: `class Popularity(lw.ClosedForm): ...`
    """

    @abstractmethod
    def fit(self, batches: IndexedBatches) -> None:
        """Compute the buffers from the training batches, on the CPU, which may be gone through more than once."""

    def cost(self) -> Mapping[str, int]:
        """What `fit` will take, such as `fit_memory_bytes`, ready for JSON: a dry run says it, and doesn't fit.

        Raises LabwrightError, with the numbers and what to do, where the machine hasn't got it.
        """
        return {}


@runtime_checkable
class Remarking(Protocol):
    """A model with something to know about how it was made, such as how many of its weights a file had."""

    def remarks(self) -> Sequence[str]:
        """A sentence each; said at the start of a run."""
        ...
