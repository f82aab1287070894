"""What must hold of everything that labwright-geometry brings; what fails says how to mend it."""

from labwright_testing import conformance

LINES = ["0.5,0.1 -0.2,0.9", "0.1,0.1"]  # as `labwright predict RUN --points LINE` takes them

test_conformance = conformance(
    "labwright-geometry",
    inputs={"task geometry/points": LINES, "data geometry/spirals": LINES},
)
