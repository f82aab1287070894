"""A device."""

from __future__ import annotations

import labwright as lw
import torch


class Sample(lw.Device):
    """Where it is computed: the processor, until `find` returns another torch.device."""

    def find(self) -> torch.device:
        """The device. Raise lw.LabwrightError if it isn't there, saying what is."""
        return torch.device("cpu")
