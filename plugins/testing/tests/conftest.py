"""The core's own site of installed plugins and its command line, for the kit's tests."""

from conftest import command, site  # noqa: F401 - fixtures
