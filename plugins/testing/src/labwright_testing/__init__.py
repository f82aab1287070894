"""The conformance kit, for tests of a plugin: what must hold of everything that a distribution brings.

    from labwright.testing import conformance

    test_conformance = conformance("labwright-proteins")

It needs pytest: `pip install 'labwright[testing]'`.
"""

from labwright_testing import data, devices, every, losses, models, optimizers, tasks  # noqa: F401 - they bring the checks
from labwright_testing.kit import CHECKS, conformance

__all__ = ["CHECKS", "conformance"]
