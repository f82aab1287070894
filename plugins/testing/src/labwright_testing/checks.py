"""Every check there is: to import this module brings those of each kind."""

from labwright_testing import (  # noqa: F401 - they add theirs
    answers,
    data,
    devices,
    every,
    losses,
    methods,
    metrics,
    models,
    optimizers,
    schedules,
    tasks,
)
from labwright_testing.kit import TRIED_IN_RECIPES
from labwright_testing.quick_checks import QUICK_CHECKS

CHECKS = {check.name: check for check in (*QUICK_CHECKS, *TRIED_IN_RECIPES)}
"""What `labwright check` tries, by name; the quick checks come first, as they explain what others find.

Example: `CHECKS["trains-every-parameter"].mend`
"""
