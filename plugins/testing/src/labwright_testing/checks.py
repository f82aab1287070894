"""Every check there is: to import this module brings those of each kind."""

from labwright_testing import data, devices, every, losses, metrics, models, optimizers, tasks  # noqa: F401 - they add theirs
from labwright_testing.kit import CHECKS

__all__ = ["CHECKS"]
