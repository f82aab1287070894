"""What must hold of everything that labwright-geometry brings; what fails says how to mend it."""

from labwright_testing import conformance

test_conformance = conformance("labwright-geometry")
