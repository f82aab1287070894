"""What holds for all tests: hypothesis looks at no clock, since a busy machine is no fault of what is tested."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# beginnings of plugins, with tests of their own that pass where they are copied to
collect_ignore = ["plugins/testing/src/labwright_testing/templates"]

# checks of the kit that train, build or look at a component many times: of all the project's own they are long
THOROUGH = (
    "answers-each-row-by-itself",
    "begins-anew-after-reset",
    "can-be-built-with-sampled-settings",
    "gives-the-same-losses-for-the-same-seed",
    "has-no-order-and-no-size-of-batches",
    "keeps-its-splits-apart",
    "leaves-gradients-and-gives-the-losses",
    "learns-one-batch-by-heart",
    "reads-inputs-without-its-data",
    "repeats-and-resumes-exactly",
    "reports-without-a-trace",
    "works-at-the-ends-of-its-search",
)


# to trace a network takes up to minutes, nothing that is said of it is a failure, and the kit's own tests try the check
LONGEST = ("says-what-it-goes-with",)


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what isn't asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/test_conformance.py"):
            check = item.name.rpartition(": ")[2].rstrip("]")
            if check in LONGEST:
                item.add_marker(pytest.mark.release)
            elif check in THOROUGH:
                item.add_marker(pytest.mark.long)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: to look through it again and again is a twentieth of all tests' time."""
    gc.collect()
    gc.freeze()
