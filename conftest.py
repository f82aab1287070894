"""What holds for all tests: hypothesis looks at no clock, since a busy machine is no fault of what is tested."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# beginnings of plugins, with tests of their own that pass where they are copied to
collect_ignore = ["plugins/testing/src/labwright_testing/templates"]

# checks of the kit that train, build or look at a component many times: of all the project's own they are long
THOROUGH = (
    "answers-each-row-by-itself",
    "can-be-built-with-sampled-settings",
    "gives-the-same-losses-for-the-same-seed",
    "has-no-order-and-no-size-of-batches",
    "leaves-gradients-and-gives-the-losses",
    "learns-one-batch-by-heart",
    "reads-inputs-without-its-data",
    "repeats-and-resumes-exactly",
    "reports-without-a-trace",
    "says-what-it-goes-with",
    "works-at-the-ends-of-its-search",
)


# more than two minutes
LONGEST = ("model vision/torchvision-detector: says-what-it-goes-with",)


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what isn't asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/test_conformance.py"):
            if item.name.rpartition("[")[2].rstrip("]") in LONGEST:
                item.add_marker(pytest.mark.release)
            elif item.name.rpartition(": ")[2].rstrip("]") in THOROUGH:
                item.add_marker(pytest.mark.long)
